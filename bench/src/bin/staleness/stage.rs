//! The store that is measured.

use std::sync::Arc;

use sessile::store::{PostgresStore, RedisStore, SessionStore};
use sessile::{SessionData, Sessions};

/// The table in PostgreSQL.
pub(crate) const TABLE: &str = "staleness";
/// How the keys in Redis begin.
pub(crate) const PREFIX: &str = "staleness:";

pub(crate) fn is_postgres(url: &str) -> bool {
    url.starts_with("postgres")
}

/// A connection of its own, as another process has it.
pub(crate) async fn store(url: &str) -> Arc<dyn SessionStore> {
    if is_postgres(url) {
        Arc::new(PostgresStore::options().table(TABLE).connect(url).await.unwrap())
    } else {
        Arc::new(RedisStore::options().prefix(PREFIX).connect(url).await.unwrap())
    }
}

/// Runs plain SQL.
pub(crate) async fn sql(url: &str, statements: &str) {
    client(url).await.batch_execute(statements).await.unwrap();
}

pub(crate) async fn client(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// An empty store, which tells or does not.
pub(crate) async fn fresh(url: &str, tells: bool) -> Arc<dyn SessionStore> {
    if is_postgres(url) {
        sql(url, &format!("SET client_min_messages = warning; DROP TABLE IF EXISTS {TABLE}")).await;
    }
    let store = store(url).await;
    store.init().await.unwrap();
    if tells {
        store.init_feed().await.unwrap();
    }
    store
}

/// About 1 KiB, as everywhere in these measurements.
pub(crate) fn data(number: usize) -> SessionData {
    let text = serde_json::to_string(&sessile_bench::sample::data(number as u64)).unwrap();
    SessionData::parse(text.into()).unwrap()
}

/// Makes so many sessions, many at once.
pub(crate) async fn fill(sessions: &Sessions, count: usize) -> Vec<sessile::engine::Credential> {
    let mut made = Vec::new();
    for from in (0..count).step_by(256) {
        let making = (from..count.min(from + 256)).map(|number| {
            let (sessions, data) = (sessions.clone(), data(number));
            tokio::spawn(async move {
                let new = sessile::engine::NewSession { data, ..Default::default() };
                sessions.create(new).await.unwrap().0
            })
        });
        for one in making.collect::<Vec<_>>() {
            made.push(one.await.unwrap());
        }
    }
    made
}

/// Nanoseconds of the clock that all processes of this machine share.
pub(crate) fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(time.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap()
}
