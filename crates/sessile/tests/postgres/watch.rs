//! Watching sessions over the feed of PostgreSQL.

use std::time::Duration;

use sessile::Sessions;
use sessile::store::PostgresStore;

use crate::cache::{Sql, telling};
use crate::coherence::service;
use crate::outages::through;
use crate::postgres_server::Schema;
use crate::watching;

async fn elsewhere(schema: &Schema) -> Sessions {
    Sessions::new(PostgresStore::connect(&schema.url()).await.unwrap())
}

/// [S10] With a cache and without; and where the table does not tell.
#[tokio::test]
async fn every_end_is_told() {
    let schema = Schema::new().await;
    let others = Sql::in_schema(&schema).await;
    let silent = schema.store(PostgresStore::options()).await;
    let silent = Sessions::builder(silent).watch_interval(Duration::from_millis(50)).build();
    watching::every_end_is_told(&silent, &elsewhere(&schema).await, &others).await;
    let plain = Sessions::new(telling(&schema.url()).await);
    watching::every_end_is_told(&plain, &elsewhere(&schema).await, &others).await;
    let cached = service(telling(&schema.url()).await, Duration::from_secs(3)).await;
    watching::every_end_is_told(&cached, &elsewhere(&schema).await, &others).await;
}

/// [R01]
#[tokio::test]
async fn ends_while_the_feed_is_down_are_told() {
    let (schema, proxy, url) = through().await;
    let here = Sessions::builder(telling(&url).await).watch_interval(Duration::from_millis(100)).build();
    watching::ends_while_the_feed_is_down_are_told(&here, &elsewhere(&schema).await, &proxy).await;
}
