//! What is sent, how often it is committed, and who waits for whom.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use sessile::record::{InvalidUserId, ManualClock, Now, StoredData};
use sessile::store::{MySqlStore, Outcome, PurgeLimits, SessionStore, StoreError, Update, Write};
use tokio::task::JoinSet;

use crate::mysql_server::Database;
use crate::support::{
    LATER, NOW, SqlLog, change, everything, id, insert, record, rotate, time, touch, until, update, user,
};

/// Locks a row as lback does, and nothing beside it.
async fn hold(python: &mut Conn, number: u32) {
    python.query_drop("BEGIN").await.unwrap();
    let lock = format!("UPDATE sessions SET updated_at = '2000-01-01' WHERE id = '{}'", id(number));
    python.query_drop(lock).await.unwrap();
}

#[tokio::test]
async fn each_operation_is_its_statements() {
    let database = Database::new().await;
    let log = SqlLog::of(&database.name);
    let store = database.store(MySqlStore::options()).await;
    log.take();
    for (write, word) in [
        (insert(1), "INSERT"),
        (insert(1), "INSERT"),
        (update(1, "{}", "{ }"), "UPDATE"),
        (touch(1, "2031-01-01 00:00:00", NOW), "UPDATE"),
        (rotate(1, "{ }", record(9, None, "{}")), "UPDATE"),
        (Write::Delete(id(9)), "DELETE"),
        (Write::Delete(id(9)), "DELETE"),
    ] {
        store.apply(write).await.unwrap();
        assert_eq!(log.take(), [word]);
    }
    store.load(id(1)).await.unwrap();
    assert_eq!(log.take(), ["SELECT"]);
    for ids in [1, 2, 300, 512] {
        let ids: Vec<_> = (0..ids).map(id).collect();
        assert_eq!(store.load_many(&ids).await.len(), ids.len());
        assert_eq!(log.take(), ["SELECT"]);
    }
    let mixed = vec![insert(1_000), update(1_000, "{}", "[]"), insert(1_001)];
    assert!(store.apply_many(mixed).await.iter().all(|done| matches!(done, Ok(Outcome::Applied))));
    assert_eq!(log.take(), ["START", "SELECT", "SELECT", "INSERT", "UPDATE", "INSERT", "COMMIT"]);
    let known = vec![update(1_000, "[]", "{}"), Write::Delete(id(1_001))];
    assert!(store.apply_many(known).await.iter().all(|done| matches!(done, Ok(Outcome::Applied))));
    assert_eq!(log.take(), ["START", "SELECT", "UPDATE", "DELETE", "COMMIT"]);
    store.apply_many(vec![insert(2_000), insert(2_001)]).await;
    assert_eq!(log.take(), ["START", "INSERT", "INSERT", "COMMIT"]);
    store.apply_many(vec![Write::Delete(id(2_000))]).await;
    assert_eq!(log.take(), ["DELETE"]);
    store.apply(Write::Insert(record(5, Some("ada"), "{}"))).await.unwrap();
    log.take();
    store.delete_user(&user("ada"), Some(id(1))).await.unwrap();
    assert_eq!(log.take(), ["START", "SELECT", "DELETE", "COMMIT", "SELECT"]);
    store.list(&everything(10)).await.unwrap();
    store.stats(time(NOW)).await.unwrap();
    store.clock().await.unwrap();
    assert_eq!(log.take(), ["SELECT", "SELECT", "SELECT"]);
    store.purge(time(NOW), PurgeLimits::default()).await.unwrap();
    assert_eq!(log.take(), ["START", "SELECT", "COMMIT"]);
    store.purge(time("2040-01-01 00:00:00"), PurgeLimits::default()).await.unwrap();
    assert_eq!(log.take(), ["START", "SELECT", "DELETE", "COMMIT"]);
    assert!(store.load_many(&[]).await.is_empty() && store.apply_many(Vec::new()).await.is_empty());
    assert!(log.take().is_empty());
}

/// A batch is a statement for each kind of change, however many sessions it is about.
#[tokio::test]
async fn a_batch_is_a_few_statements() {
    let database = Database::new().await;
    let log = SqlLog::of(&database.name);
    let store = database.store(MySqlStore::options()).await;
    let applied = async |writes: Vec<Write>| {
        log.take();
        assert!(store.apply_many(writes).await.iter().all(|done| matches!(done, Ok(Outcome::Applied))));
        log.take()
    };
    let made = applied((0..100).map(insert).collect()).await;
    assert_eq!(made, [&["START"][..], &["INSERT"; 7], &["COMMIT"]].concat());
    let changed = (0..50).map(|number| update(number, "{}", "[]"));
    let renewed = (50..100).map(|number| touch(number, "2031-01-01 00:00:00", NOW));
    let both = applied(changed.chain(renewed).collect()).await;
    assert_eq!(both, ["START", "SELECT", "UPDATE", "UPDATE", "COMMIT"]);
    let again = |number| [update(number, "[]", "{}"), update(number, "{}", "{ }")];
    let renamed = (50..60).map(|number| rotate(number, "{}", record(number + 1_000, Some("ada"), "[1]")));
    let ended = (60..100).map(|number| Write::Delete(id(number)));
    let all = applied((0..50).flat_map(again).chain(renamed).chain(ended).collect()).await;
    assert_eq!(all, ["START", "SELECT", "UPDATE", "UPDATE", "DELETE", "COMMIT"]);
    let rows = store.list(&everything(200)).await.unwrap().records;
    assert_eq!(rows.len(), 60);
    for row in rows {
        let is_renamed = row.user_id() == Some(&user("ada"));
        assert_eq!(row.stored_data().as_text(), Some(if is_renamed { "[1]" } else { "{ }" }));
    }
    let (taken, free) =
        (rotate(0, "{ }", record(1, None, "{}")), rotate(2, "{ }", record(3_000, None, "{}")));
    let answers = store.apply_many(vec![taken, free, update(4, "wrong", "{}")]).await;
    let outcomes: Vec<Outcome> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(outcomes, [Outcome::Unmatched, Outcome::Applied, Outcome::Unmatched]);
}

/// [R11] A crowd at one row is a few statements.
#[tokio::test]
async fn loads_that_find_no_connection_share_statements() {
    let database = Database::new().await;
    let log = SqlLog::of(&database.name);
    let store = database.store(MySqlStore::options().connections(2)).await;
    store.apply(insert(1)).await.unwrap();
    log.take();
    let mut tasks = JoinSet::new();
    for _ in 0..1_000 {
        let store = store.clone();
        tasks.spawn(async move { store.load(id(1)).await.unwrap().unwrap().id() });
    }
    assert!(tasks.join_all().await.iter().all(|&found| found == id(1)));
    let statements = log.take().len();
    assert!(statements <= 2 + 1_000 / 128 + 4, "{statements}");
}

/// A commit for each moment, not for each write.
#[tokio::test]
async fn writes_that_come_together_are_committed_together() {
    let database = Database::new().await;
    let log = SqlLog::of(&database.name);
    let store = database.store(MySqlStore::options()).await;
    log.take();
    let mut tasks = JoinSet::new();
    for number in 0..200 {
        let store = store.clone();
        tasks.spawn(async move { store.apply(insert(number)).await.unwrap() });
    }
    assert!(tasks.join_all().await.iter().all(|&outcome| outcome == Outcome::Applied));
    let commits = log.take().iter().filter(|word| *word == "COMMIT").count();
    assert!((1..=10).contains(&commits), "{commits}");
    assert_eq!(store.stats(time(NOW)).await.unwrap().live, 200);
}

/// [R15] Too long for its column: only the database knows, and only the one row is told.
#[tokio::test]
async fn a_row_that_fails_fails_alone() {
    let database = Database::new().await;
    let store = database.store(MySqlStore::options()).await;
    database.sql("ALTER TABLE sessions MODIFY user_id varchar(3)").await;
    let long = Write::Insert(record(2, Some("long"), "{}"));
    let writes = vec![insert(1), long, Write::Delete(id(9)), insert(3), update(1, "{}", "{ }"), insert(3)];
    let outcomes = store.apply_many(writes).await;
    let narrow = InvalidUserId::ColumnTooNarrow { chars: 4, limit: 3 };
    assert!(matches!(outcomes[1], Err(StoreError::UserId(error)) if error == narrow), "{outcomes:?}");
    let others: Vec<Outcome> =
        outcomes.into_iter().enumerate().filter(|(at, _)| *at != 1).map(|(_, it)| it.unwrap()).collect();
    use Outcome::{Applied, Unmatched};
    assert_eq!(others, [Applied, Unmatched, Applied, Applied, Unmatched]);
    assert_eq!(database.value("SELECT data FROM sessions ORDER BY id LIMIT 1").await, "{ }");
}

/// lback holds a row's lock while its view runs.
#[tokio::test]
async fn a_locked_row_holds_up_nobody_else() {
    let database = Database::new().await;
    let store = database.store(MySqlStore::options()).await;
    for number in 0..8 {
        store.apply(insert(number)).await.unwrap();
    }
    let mut python = database.connection().await;
    python.query_drop("BEGIN").await.unwrap();
    python.query_drop(format!("UPDATE sessions SET data = '[]' WHERE id = '{}'", id(1))).await.unwrap();

    let mut held = JoinSet::new();
    // More than there are connections, so that some are grouped.
    for write in (0..8).map(|number| update(number, if number == 1 { "[]" } else { "{}" }, "{\"a\": 1}")) {
        let store = store.clone();
        held.spawn(async move { (write.id(), store.apply(write).await.unwrap()) });
    }
    for _ in 0..7 {
        let (answered, outcome) = held.join_next().await.unwrap().unwrap();
        assert!(answered != id(1) && outcome == Outcome::Applied);
    }
    // Nor those who come now.
    assert_eq!(store.apply(update(0, "{\"a\": 1}", "{\"c\": 1}")).await.unwrap(), Outcome::Applied);
    let outcomes = store.apply_many(vec![Write::Delete(id(2)), insert(20)]).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(Outcome::Applied))));
    assert!(held.try_join_next().is_none());
    python.query_drop("COMMIT").await.unwrap();
    assert_eq!(held.join_next().await.unwrap().unwrap(), (id(1), Outcome::Applied));
}

/// A write that has to wait keeps its place among those of its row.
#[tokio::test]
async fn writes_behind_a_locked_row_keep_their_order() {
    let database = Database::new().await;
    let store = database.store(MySqlStore::options()).await;
    store.apply(insert(1)).await.unwrap();
    let mut python = database.connection().await;
    hold(&mut python, 1).await;
    let batch = vec![
        update(1, "{}", "{ }"),
        insert(7),
        rotate(1, "{ }", record(2, None, "{ }")),
        Write::Delete(id(2)),
        insert(2),
    ];
    let making = tokio::spawn({
        let store = store.clone();
        async move { store.apply_many(batch).await }
    });
    until(async || store.load(id(7)).await.unwrap().is_some()).await;
    python.query_drop("COMMIT").await.unwrap();
    let outcomes = making.await.unwrap();
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(Outcome::Applied))), "{outcomes:?}");
    assert_eq!(store.load(id(2)).await.unwrap(), Some(record(2, None, "{}")));
}

/// Law 2: who expires while a write waits for the row is dead when the row is free.
#[tokio::test]
async fn a_session_that_expires_during_the_wait_is_dead() {
    let database = Database::new().await;
    let store = database.store(MySqlStore::options()).await;
    store.apply(insert(1)).await.unwrap();
    store.apply(insert(2)).await.unwrap();
    let clock = Arc::new(ManualClock::new(time(NOW)));
    let now = || Now::by(Arc::clone(&clock) as Arc<_>, time(NOW));
    let (mut python, mut other) = (database.connection().await, database.connection().await);
    hold(&mut python, 1).await;
    hold(&mut other, 2).await;
    let late = |number| Write::Update(Update { now: now(), ..change(number, StoredData::empty(), "[]") });
    let (alone, grouped) = (late(1), vec![insert(3), late(2)]);
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { tokio::join!(store.apply(alone), store.apply_many(grouped)) }
    });
    // Both have been tried, and are tried again.
    until(async || store.load(id(3)).await.unwrap().is_some()).await;
    let log = SqlLog::of(&database.name);
    let mut tried = 0;
    until(async || {
        tried += log.take().iter().filter(|word| *word == "ROLLBACK" || *word == "COMMIT").count();
        tried > 6
    })
    .await;
    clock.set(time(LATER));
    python.query_drop("COMMIT").await.unwrap();
    other.query_drop("COMMIT").await.unwrap();
    let (alone, grouped) = waiting.await.unwrap();
    assert_eq!(alone.unwrap(), Outcome::Unmatched);
    assert_eq!(grouped[1].as_ref().unwrap(), &Outcome::Unmatched);
}

#[tokio::test]
async fn a_lock_that_is_never_given_back_is_an_error() {
    let database = Database::new().await;
    let store = database.store(MySqlStore::options().timeout(Duration::from_secs(2))).await;
    store.apply(insert(1)).await.unwrap();
    let mut python = database.connection().await;
    hold(&mut python, 1).await;
    let started = Instant::now();
    let error = store.apply(Write::Delete(id(1))).await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("locked by another transaction"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(20));
    assert_eq!(store.apply(insert(2)).await.unwrap(), Outcome::Applied);
    python.query_drop("ROLLBACK").await.unwrap();
    assert_eq!(store.apply(Write::Delete(id(1))).await.unwrap(), Outcome::Applied);
}

/// [R15] Two processes whose batches meet in opposite order.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn crossing_batches_of_two_processes_are_all_made() {
    let database = Database::new().await;
    let stores = [database.store(MySqlStore::options()).await, database.store(MySqlStore::options()).await];
    for number in 0..20 {
        stores[0].apply(insert(number)).await.unwrap();
    }
    let mut tasks = JoinSet::new();
    for (at, store) in stores.into_iter().enumerate() {
        tasks.spawn(async move {
            for round in 0..50 {
                let later = time(LATER).saturating_add(Duration::from_secs(round * 2 + at as u64 + 1));
                let mut batch: Vec<Write> =
                    (0..20).map(|number| touch(number, &later.to_string(), NOW)).collect();
                if at == 1 {
                    batch.reverse();
                }
                for outcome in store.apply_many(batch).await {
                    outcome.unwrap();
                }
            }
        });
    }
    tasks.join_all().await;
}

/// [R15] [R18] Another transaction locks the last row, the store those before it, and then the other wants the first: the
/// store holds no lock while it waits for one, so there is no deadlock.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_ending_that_crosses_another_transaction_is_made() {
    let database = Database::new().await;
    let store = database.store(MySqlStore::options()).await;
    let owned = |number| Write::Insert(record(number, Some("ada"), "{}"));
    for _ in 0..5 {
        store.apply_many((1..=20).map(owned).collect()).await;
        let mut python = database.connection().await;
        python.query_drop("BEGIN").await.unwrap();
        let change = |number| format!("UPDATE sessions SET data = '[]' WHERE id = '{}'", id(number));
        python.query_drop(change(20)).await.unwrap();
        let deleting = tokio::spawn({
            let store = store.clone();
            async move { store.delete_user(&user("ada"), None).await }
        });
        until(async || store.load(id(1)).await.unwrap().is_none()).await;
        python.query_drop(change(1)).await.unwrap();
        python.query_drop("COMMIT").await.unwrap();
        assert_eq!(deleting.await.unwrap().unwrap().len(), 20);
    }
}

/// A session that is rotated all the time is ended under whatever id it has.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn deleting_a_user_misses_no_rotation() {
    let database = Database::new().await;
    let stores = [database.store(MySqlStore::options()).await, database.store(MySqlStore::options()).await];
    for round in 0..60u32 {
        let first = round * 200;
        stores[0].apply(Write::Insert(record(first + 100, Some("ada"), "{}"))).await.unwrap();
        let rotating = tokio::spawn({
            let store = stores[1].clone();
            async move {
                // To and fro in the order of the index.
                let mut at = first + 100;
                for step in 1..40u32 {
                    let next = if step % 2 == 0 { first + 100 + step } else { first + 100 - step };
                    let write = rotate(at, "{}", record(next, Some("ada"), "{}"));
                    if store.apply(write).await.unwrap() == Outcome::Unmatched {
                        return true;
                    }
                    at = next;
                }
                false
            }
        });
        tokio::time::sleep(Duration::from_micros(u64::from(round) * 50)).await;
        let deleted = stores[0].delete_user(&user("ada"), None).await.unwrap();
        let was_ended = rotating.await.unwrap();
        assert!(deleted.len() == 1 && was_ended, "round {round}: {deleted:?}");
    }
    assert_eq!(stores[0].stats(time(NOW)).await.unwrap().live, 0);
}

/// [R16] No statement that a request waits for reads the whole table.
#[tokio::test]
async fn statements_use_the_indexes() {
    for characters in ["utf8mb4", "latin1"] {
        let database = Database::on(crate::mysql_server::server(), characters).await;
        if characters == "latin1" {
            database.sql(crate::mysql_server::SQLALCHEMY).await;
        }
        let store = database.store(MySqlStore::options().connections(1)).await;
        database
            .sql(
                "INSERT INTO sessions (id, user_id, data, expires_at) SELECT UUID(), UUID(), '{}', \
                 '2030-01-02 03:00:00' + INTERVAL seq SECOND FROM seq_1_to_5000",
            )
            .await;
        database.sql("ANALYZE TABLE sessions").await;
        let read = "SELECT CAST(SUM(ROWS_READ) AS CHAR) FROM information_schema.TABLE_STATISTICS \
            WHERE TABLE_SCHEMA = DATABASE()";
        let mut sql = database.connection().await;
        sql.query_drop("SET GLOBAL userstat = 1").await.unwrap();
        let rows = async || match &*database.value(read).await {
            "NULL" => 0,
            rows => rows.parse::<u64>().unwrap(),
        };
        let before = rows().await;
        let ids: Vec<_> = (0..50).map(id).collect();
        for number in 0..20 {
            store.load_many(&ids).await;
            let writes = vec![
                Write::Insert(record(number, Some("ada"), "{}")),
                update(number, "{}", "{ }"),
                touch(number, "2031-01-01 00:00:00", NOW),
                rotate(number, "{ }", record(number + 100, Some("ada"), "{}")),
            ];
            for outcome in store.apply_many(writes).await {
                assert_eq!(outcome.unwrap(), Outcome::Applied);
            }
            store.apply(touch(number + 100, "2032-01-01 00:00:00", NOW)).await.unwrap();
        }
        assert_eq!(store.delete_user(&user("ada"), None).await.unwrap().len(), 20);
        let limits = PurgeLimits { max_rows: 50, max_time: Duration::from_nanos(1) };
        assert_eq!(store.purge(time("2030-01-02 03:10:00"), limits).await.unwrap().removed.len(), 50);
        let read = rows().await - before;
        assert!((100..3_000).contains(&read), "{characters}: {read} rows were read");
    }
}
