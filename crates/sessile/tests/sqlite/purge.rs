//! The purge: in chunks, never too early, going on past what it cannot read.

use std::time::Duration;

use sessile::record::SessionId;
use sessile::store::{PurgeLimits, SessionStore, SqliteStore, Write};

use crate::support::{Database, NOW, SqlLog, id, record, time};

/// So many rows that have expired, and one that lives.
async fn expired(database: &Database, store: &SqliteStore, rows: u32) {
    let mut sql = database.sql();
    let transaction = sql.transaction().unwrap();
    for number in 1..=rows {
        let put =
            "INSERT INTO sessions (id, data, expires_at) VALUES (?1, '{}', '2029-12-31 23:59:59.000000')";
        transaction.execute(put, [id(number).to_string()]).unwrap();
    }
    transaction.commit().unwrap();
    store.apply(Write::Insert(record(0, None, "{}"))).await.unwrap();
}

#[tokio::test]
async fn takes_no_more_than_it_may() {
    let (database, store) = Database::with_store(SqliteStore::options()).await;
    expired(&database, &store, 200).await;
    let limits = PurgeLimits { max_rows: 70, max_time: Duration::from_secs(60) };
    let mut removed: Vec<SessionId> = Vec::new();
    for (rows, more) in [(70, true), (70, true), (60, false), (0, false)] {
        let batch = store.purge(time(NOW), limits).await.unwrap();
        assert_eq!((batch.removed.len(), batch.more), (rows, more));
        removed.extend(batch.ids());
    }
    removed.sort();
    assert_eq!(removed, (1..=200).map(id).collect::<Vec<_>>());
    assert!(store.load(id(0)).await.unwrap().is_some());
}

/// One chunk per call when there is no time at all, so that others get their turn. [R10]
#[tokio::test]
async fn stops_when_its_time_is_over() {
    let (database, store) = Database::with_store(SqliteStore::options()).await;
    expired(&database, &store, 200).await;
    let log = SqlLog::of(&database.path);
    let limits = PurgeLimits { max_rows: 1_000, max_time: Duration::ZERO };
    let batch = store.purge(time(NOW), limits).await.unwrap();
    assert_eq!((batch.removed.len(), batch.more), (50, true));
    assert_eq!(log.take().len(), 1);
}

/// With much time the chunks grow: far fewer statements than of the smallest size.
#[tokio::test]
async fn chunks_grow_to_what_the_time_allows() {
    let (database, store) = Database::with_store(SqliteStore::options()).await;
    expired(&database, &store, 5_000).await;
    let log = SqlLog::of(&database.path);
    let limits = PurgeLimits { max_rows: 10_000, max_time: Duration::from_secs(60) };
    let batch = store.purge(time(NOW), limits).await.unwrap();
    assert_eq!((batch.removed.len(), batch.more), (5_000, false));
    assert!(log.take().len() < 15);
}

#[tokio::test]
async fn never_takes_a_row_whose_offset_keeps_it_alive() {
    let (database, store) = Database::with_store(SqliteStore::options()).await;
    let put = "INSERT INTO sessions (id, expires_at) VALUES (?1, ?2)";
    // The first means 05:04:05 in UTC; the second sorts late and has expired.
    for (number, expiry) in [(1, "2030-01-02 03:04:05-02:00"), (2, "2030-01-02T03:04:05")] {
        database.sql().execute(put, (id(number).to_string(), expiry)).unwrap();
    }
    let limits = PurgeLimits::default();
    assert!(store.purge(time(NOW), limits).await.unwrap().removed.is_empty());
    let removed = store.purge(time("2030-01-03 00:00:00"), limits).await.unwrap().removed;
    assert_eq!(removed.len(), 2);
}
