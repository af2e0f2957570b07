//! An axum service on tower-sessions and one of its published stores.
//!
//! `peer-tower-sessions KIND URL` makes the store's table, listens on a free port of this host, and prints its
//! address on a line. It ends when its standard input does, and so with whoever started it.

mod account;
#[cfg(feature = "caches")]
mod caches;
mod measured;
#[path = "../../../bench/src/sample.rs"]
mod sample;
mod shop;

use std::error::Error;
use std::str::FromStr as _;

use axum::Router;
use tokio::io::AsyncReadExt as _;
use tower_sessions::session_store::ExpiredDeletion;
use tower_sessions::{Expiry, SessionManagerLayer, SessionStore};
use tower_sessions_sqlx_store::sqlx::mysql::MySqlPoolOptions;
use tower_sessions_sqlx_store::sqlx::postgres::PgPoolOptions;
use tower_sessions_sqlx_store::sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use tower_sessions_sqlx_store::{MySqlStore, PostgresStore, SqliteStore};

const USAGE: &str = "\
usage: peer-tower-sessions KIND URL
kinds: sqlite           as sqlx opens a file: rollback journal, synchronous=FULL
       sqlite-wal       write-ahead log, synchronous=NORMAL
       postgres         sqlx's pool of ten
       postgres-noping  the same, without a question before each statement
       mysql            MySQL or MariaDB
       moka-postgres    PostgreSQL behind a cache in this process (feature `caches`)
       redis            fred's pool of six (feature `caches`)";

/// What sqlx's pools hold at most; its own default.
const CONNECTIONS: u32 = 10;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kind, url] = arguments.as_slice() else { return Err(USAGE.into()) };
    let routes = service(kind, url).await?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
    println!("{}", listener.local_addr()?);
    axum::serve(listener, routes).with_graceful_shutdown(end_of_input()).await?;
    Ok(())
}

async fn service(kind: &str, url: &str) -> Result<Router, Box<dyn Error>> {
    match kind {
        "sqlite" | "sqlite-wal" => {
            let mut options = SqliteConnectOptions::from_str(url)?.create_if_missing(true);
            if kind == "sqlite-wal" {
                options = options.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Normal);
            }
            let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS).connect_with(options).await?;
            let store = SqliteStore::new(pool);
            store.migrate().await?;
            Ok(routes(store))
        }
        "postgres" | "postgres-noping" => {
            let pool = PgPoolOptions::new()
                .max_connections(CONNECTIONS)
                .test_before_acquire(kind == "postgres")
                .connect(url)
                .await?;
            let store = PostgresStore::new(pool);
            store.migrate().await?;
            Ok(routes(store))
        }
        "mysql" => {
            let store =
                MySqlStore::new(MySqlPoolOptions::new().max_connections(CONNECTIONS).connect(url).await?);
            store.migrate().await?;
            Ok(routes(store))
        }
        #[cfg(feature = "caches")]
        "moka-postgres" => caches::moka_over_postgres(url).await,
        #[cfg(feature = "caches")]
        "redis" => caches::redis(url).await,
        _ => Err(USAGE.into()),
    }
}

fn layer<Store: SessionStore + Clone>(store: Store) -> SessionManagerLayer<Store> {
    SessionManagerLayer::new(store)
        // Nothing here speaks TLS.
        .with_secure(false)
        .with_expiry(Expiry::OnInactivity(time::Duration::days(1)))
}

fn routes<Store>(store: Store) -> Router
where
    Store: SessionStore + ExpiredDeletion + Clone,
{
    let layer = layer(store.clone());
    measured::routes()
        .merge(shop::routes())
        .layer(layer.clone())
        .merge(measured::purge(store))
        .nest("/account", account::routes(layer))
}

async fn end_of_input() {
    let mut rest = Vec::new();
    // An input that cannot be read is at its end, too.
    let _ = tokio::io::stdin().read_to_end(&mut rest).await;
}
