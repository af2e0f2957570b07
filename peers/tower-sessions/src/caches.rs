//! The stores that only the benchmarks want.

use std::error::Error;

use axum::Router;
use tower_sessions::CachingSessionStore;
use tower_sessions_moka_store::MokaStore;
use tower_sessions_redis_store::RedisStore;
use tower_sessions_redis_store::fred::prelude::{ClientLike as _, Config, Pool};
use tower_sessions_sqlx_store::PostgresStore;
use tower_sessions_sqlx_store::sqlx::postgres::PgPoolOptions;

use crate::{CONNECTIONS, layer, measured};

/// Sessions kept in this process.
const KEPT: u64 = 200_000;

pub(crate) async fn moka_over_postgres(url: &str) -> Result<Router, Box<dyn Error>> {
    let store = PostgresStore::new(PgPoolOptions::new().max_connections(CONNECTIONS).connect(url).await?);
    store.migrate().await?;
    Ok(measured::routes().layer(layer(CachingSessionStore::new(MokaStore::new(Some(KEPT)), store))))
}

pub(crate) async fn redis(url: &str) -> Result<Router, Box<dyn Error>> {
    let pool = Pool::new(Config::from_url(url)?, None, None, None, 6)?;
    // It ends with the process.
    drop(pool.connect());
    pool.wait_for_connect().await?;
    Ok(measured::routes().layer(layer(RedisStore::new(pool))))
}
