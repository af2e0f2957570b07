//! What needs the writer's own connection: a full disk, a panic, the plans of the statements.

use super::*;
use crate::store::Liveness;

const LATER: Timestamp = Timestamp::MAX;

async fn store() -> (tempfile::TempDir, SqliteStore) {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path().join("x.db")).await.unwrap();
    store.init().await.unwrap();
    (directory, store)
}

fn row(number: u16, kilobytes: usize) -> Write {
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    let now = Timestamp::MIN;
    let mut data = crate::record::SessionData::new();
    data.insert("fill", &"x".repeat(kilobytes * 1024)).unwrap();
    let mut record = SessionRecord::new(SessionId::from_bytes(bytes), LATER, now);
    record.set_data(&data, now);
    Write::Insert(record)
}

async fn pragma(store: &SqliteStore, pragma: &'static str) -> String {
    let ask = move |connection: &Connection| {
        connection.query_row(pragma, (), |row| row.get::<_, rusqlite::types::Value>(0))
    };
    match store.0.writer.run("ask", ask).await.unwrap() {
        rusqlite::types::Value::Text(text) => text,
        value => format!("{value:?}"),
    }
}

/// [R05]
#[tokio::test]
async fn a_full_disk_fails_writes_and_nothing_else() {
    let (_directory, store) = store().await;
    store.apply(row(0, 1)).await.unwrap();
    pragma(&store, "PRAGMA max_page_count = 40").await;
    // One alone, several together: those for which there is no room, and those for which there is.
    let outcome = store.apply(row(1, 400)).await;
    assert!(matches!(outcome, Err(StoreError::Full { .. })), "{outcome:?}");
    let outcomes = store.apply_many(vec![row(2, 0), row(3, 400), row(4, 0), row(5, 400)]).await;
    for (at, outcome) in outcomes.iter().enumerate() {
        match outcome {
            Ok(Outcome::Applied) => assert!(at % 2 == 0, "{at}"),
            Err(error @ StoreError::Full { .. }) => {
                assert!(at % 2 == 1, "{at}");
                assert!(error.to_string().contains("x.db, free some on its disk"), "{error}");
            }
            other => panic!("{at}: {other:?}"),
        }
    }
    assert!(store.load(row(0, 0).id()).await.unwrap().is_some());
    assert_eq!(store.apply(Write::Delete(row(0, 0).id())).await.unwrap(), Outcome::Applied);
    pragma(&store, "PRAGMA max_page_count = 100000").await;
    assert_eq!(store.apply(row(1, 400)).await.unwrap(), Outcome::Applied);
    assert_eq!(pragma(&store, "PRAGMA integrity_check").await, "ok");
}

#[tokio::test]
async fn a_panic_on_the_writer_hangs_nobody() {
    let (_directory, store) = store().await;
    let fail = |connection: &Connection| -> rusqlite::Result<()> {
        sql::run(connection, sql::BEGIN)?;
        panic!("for the test")
    };
    let error = store.0.writer.run("fail", fail).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert_eq!(store.apply(row(1, 0)).await.unwrap(), Outcome::Applied);
    assert_eq!(store.stats(Timestamp::MIN).await.unwrap().live, 1);
}

#[tokio::test]
async fn commits_are_as_durable_as_was_asked_for() {
    let (_directory, store) = store().await;
    assert_eq!(pragma(&store, "PRAGMA synchronous").await, "Integer(2)");
    let directory = tempfile::tempdir().unwrap();
    let options = SqliteStore::options().synchronous(Synchronous::Normal);
    let store = options.open(directory.path().join("x.db")).await.unwrap();
    assert_eq!(pragma(&store, "PRAGMA synchronous").await, "Integer(1)");
}

/// No statement that a request waits for, and no purge, reads the whole table. [R16]
#[tokio::test]
async fn statements_use_the_indexes() {
    let (_directory, store) = store().await;
    let sql = store.sql();
    let query = ListQuery {
        user: Some(UserId::new("ada").unwrap()),
        liveness: Liveness::Live,
        now: LATER,
        after: None,
        limit: 10,
    };
    for (statement, index) in [
        (sql.load.clone(), "sqlite_autoindex_sessions_1 (id=?)"),
        (sql.rotate.clone(), "sqlite_autoindex_sessions_1 (id=?)"),
        (sql.touch.clone(), "sqlite_autoindex_sessions_1 (id=?)"),
        (sql.delete_user.clone(), "ix_sessions_user_id (user_id=?)"),
        (sql.list(&query, false), "ix_sessions_user_id (user_id=?)"),
        (sql.list(&query, true), "ix_sessions_user_id (user_id=?)"),
        (sql.purge.clone(), "ix_sessions_expires_at (expires_at>? AND expires_at<?)"),
    ] {
        let explain = format!("EXPLAIN QUERY PLAN {statement}");
        let plan = move |connection: &Connection| {
            let mut statement = connection.prepare(&explain)?;
            let mut rows = statement.raw_query();
            let mut plan = String::new();
            while let Some(row) = rows.next()? {
                plan += &format!("{}; ", row.get::<_, String>(3)?);
            }
            Ok(plan)
        };
        let plan = store.0.writer.run("explain", plan).await.unwrap();
        assert!(plan.contains(index) && !plan.contains("SCAN sessions"), "{statement}: {plan}");
    }
}

/// [R20] The bound holds however slow the thread of the checkpoints is: here it does nothing at all.
#[allow(clippy::await_holding_lock, reason = "the test is about a connection that is in use")]
#[tokio::test]
async fn a_thread_that_hangs_lets_no_log_grow() {
    let directory = tempfile::tempdir().unwrap();
    let options = SqliteStore::options().synchronous(Synchronous::Normal);
    let store = options.open(directory.path().join("x.db")).await.unwrap();
    store.init().await.unwrap();
    let [.., checkpoints, _] = &store.0.writer.connections[..] else {
        panic!("there is a connection for checkpoints")
    };
    let hangs = checkpoints.lock();
    let mut longest = 0;
    for _ in 0..20 {
        for outcome in store.apply_many((0..50).map(|number| row(number, 60)).collect()).await {
            outcome.unwrap();
        }
        for outcome in
            store.apply_many((0..50).map(|number| Write::Delete(row(number, 0).id())).collect()).await
        {
            outcome.unwrap();
        }
        longest = longest.max(directory.path().join("x.db-wal").metadata().unwrap().len());
    }
    drop(hangs);
    assert!((30 << 20..46 << 20).contains(&longest), "{longest} bytes");
}

/// A page that shows a user's sessions waits for no count of the whole table; and a count that waits for another one
/// gives up.
#[allow(clippy::await_holding_lock, reason = "the test is about a connection that is in use")]
#[tokio::test]
async fn a_users_sessions_are_listed_beside_a_count() {
    let directory = tempfile::tempdir().unwrap();
    let options = SqliteStore::options().busy_timeout(std::time::Duration::from_millis(50));
    let store = options.open(directory.path().join("x.db")).await.unwrap();
    store.init().await.unwrap();
    let [.., long, _, _] = &store.0.writer.connections[..] else {
        panic!("there is a connection for counts")
    };
    let counts = long.lock();
    let (liveness, now) = (Liveness::Any, LATER);
    let query = ListQuery { user: UserId::new("ada").ok(), liveness, now, after: None, limit: 9 };
    assert!(store.list(&query).await.unwrap().records.is_empty());
    let error = store.stats(LATER).await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("waited 50 ms to count"), "{error}");
    drop(counts);
    store.stats(LATER).await.unwrap();
}
