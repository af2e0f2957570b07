//! Writes: grouped, apart when one fails, waiting for others' locks, never lost with their caller.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};
use sessile::record::{ManualClock, Now, StoredData};
use sessile::store::sqlite::{ReadMode, Synchronous};
use sessile::store::{
    Expiry, ListQuery, Liveness, Outcome, PurgeLimits, Rotation, SessionStore, SqliteStore, StoreError,
    Touch, Update, Write,
};
use tokio::task::JoinSet;

use crate::support::{Database, LATER, NOW, SqlLog, answered, id, insert, record, time, until};

/// Holds the write lock as another process would, until it is dropped.
fn lock(database: &Database) -> rusqlite::Connection {
    let other = database.sql();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    other
}

/// Lets every task get as far as it can without the lock.
async fn all_wait() {
    for _ in 0..4 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn each_operation_is_one_statement() {
    let (database, store) = Database::with_store(SqliteStore::options()).await;
    let log = SqlLog::of(&database.path);
    let ada = sessile::record::UserId::new("ada").unwrap();
    let list = ListQuery { user: None, liveness: Liveness::Any, now: time(NOW), after: None, limit: 10 };
    for write in [insert(1), insert(1), Write::Delete(id(1)), Write::Delete(id(1))] {
        store.apply(write).await.unwrap();
        let statements = log.take();
        assert_eq!(statements.len(), 1, "{statements:?}");
        assert!(!statements[0].contains(&id(1).to_string()));
    }
    store.load(id(1)).await.unwrap();
    assert_eq!(log.take().len(), 1);
    store.load_many(&[id(1)]).await;
    assert_eq!(
        log.take(),
        ["SELECT id, user_id, data, created_at, expires_at, updated_at FROM \"sessions\" WHERE id = ?1"]
    );
    for ids in [2, 5, 64, 200, 256] {
        let ids: Vec<_> = (0..ids).map(id).collect();
        assert_eq!(store.load_many(&ids).await.len(), ids.len());
        let around = 2 * ids.len().div_ceil(64);
        assert_eq!(log.take().len(), ids.len() + around, "one for each in one look at the file");
    }
    store.delete_user(&ada, Some(id(1))).await.unwrap();
    assert_eq!(log.take().len(), 1);
    store.list(&list).await.unwrap();
    assert_eq!(log.take().len(), 1);
    store.purge(time(NOW), PurgeLimits::default()).await.unwrap();
    assert_eq!(log.take().len(), 1);
    assert!(store.load_many(&[]).await.is_empty() && store.apply_many(Vec::new()).await.is_empty());
    assert_eq!(log.take().len(), 0);
}

/// Loads that meet share a look at the file; the next one sees what was written since. [R11]
#[test]
fn loads_that_meet_are_read_together() {
    let one_thread =
        tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build();
    one_thread.unwrap().block_on(async {
        let options = SqliteStore::options().read_mode(ReadMode::Offloaded);
        let (database, store) = Database::with_store(options).await;
        let log = SqlLog::of(&database.path);
        for is_there in [false, true] {
            // The thread that reads has something else to do until all have asked, so that all meet.
            let (tell, told) = std::sync::mpsc::channel();
            let busy = tokio::task::spawn_blocking(move || told.recv().unwrap());
            let loads = join_all((0..20).map(|number| store.load(id(number / 2))));
            let (rows, ()) = join(loads, async { tell.send(()).unwrap() }).await;
            busy.await.unwrap();
            for row in rows {
                assert_eq!(row.unwrap().is_some(), is_there);
            }
            let statements = log.take();
            let count = |of: &str| statements.iter().filter(|statement| statement.starts_with(of)).count();
            // The first one is alone, and the next asks for the same row: whether it changed is not known.
            assert_eq!((count("BEGIN"), count("SELECT"), count("ROLLBACK")), (1, 11, 1), "{statements:?}");
            for number in 0..10 {
                store.apply(insert(number)).await.unwrap();
            }
            log.take();
        }
    });
}

#[tokio::test]
async fn many_are_loaded_in_the_order_asked_for() {
    let (_database, store) = Database::with_store(SqliteStore::options()).await;
    for number in (0..600).step_by(2) {
        store.apply(insert(number)).await.unwrap();
    }
    let mut ids: Vec<_> = (0..600).rev().map(id).collect();
    ids.extend([id(4), id(4), id(5)]);
    for (id, loaded) in ids.iter().zip(store.load_many(&ids).await) {
        let even = id.as_bytes()[1] % 2 == 0;
        assert_eq!(loaded.unwrap().map(|row| row.id()), even.then_some(*id));
    }
}

#[tokio::test]
async fn writes_that_wait_together_are_committed_together() {
    let (database, store) = Database::with_store(SqliteStore::options()).await;
    let log = SqlLog::of(&database.path);
    let other = lock(&database);
    let mut tasks = JoinSet::new();
    for number in 0..64 {
        let store = store.clone();
        tasks.spawn(async move { store.apply(insert(number)).await.unwrap() });
    }
    all_wait().await;
    drop(other);
    assert!(tasks.join_all().await.iter().all(|&outcome| outcome == Outcome::Applied));
    let statements = log.take();
    let commits = statements.iter().filter(|statement| *statement == "COMMIT").count();
    assert!(commits <= 2, "{statements:?}");
    let inserts = statements.iter().filter(|statement| statement.starts_with("INSERT")).count();
    assert!((64..=65).contains(&inserts), "{inserts}: one that was alone at first may have met the lock");
}

#[tokio::test]
async fn the_writes_of_one_caller_keep_their_order_in_one_transaction() {
    let (database, store) = Database::with_store(SqliteStore::options()).await;
    let log = SqlLog::of(&database.path);
    let outcomes = store
        .apply_many(vec![insert(1), insert(1), Write::Delete(id(1)), Write::Delete(id(1)), insert(1)])
        .await;
    let outcomes: Vec<_> = outcomes.into_iter().map(Result::unwrap).collect();
    use Outcome::{Applied, Unmatched};
    assert_eq!(outcomes, [Applied, Unmatched, Applied, Unmatched, Applied]);
    let statements = log.take();
    assert_eq!((&*statements[0], &*statements[6], statements.len()), ("BEGIN IMMEDIATE", "COMMIT", 7));
}

/// Once a statement that only fails, once one that takes the whole transaction with it.
#[tokio::test]
async fn a_write_that_fails_leaves_its_neighbours() {
    for kind in ["ABORT", "FAIL", "ROLLBACK"] {
        let (database, store) = Database::with_store(SqliteStore::options()).await;
        let trigger = format!(
            "CREATE TRIGGER refuse BEFORE INSERT ON sessions WHEN NEW.user_id = 'eve' \
             BEGIN SELECT RAISE({kind}, 'no eve here'); END"
        );
        database.sql().execute_batch(&trigger).unwrap();
        let writes = vec![insert(1), Write::Insert(record(2, Some("eve"), "{\"secret\": 1}")), insert(3)];
        let outcomes = store.apply_many(writes).await;
        assert!(matches!(outcomes[0], Ok(Outcome::Applied)), "{kind}: {outcomes:?}");
        assert!(matches!(outcomes[1], Err(StoreError::Backend { .. })), "{kind}: {outcomes:?}");
        assert!(!format!("{:?}", outcomes[1]).contains("secret"));
        assert!(matches!(outcomes[2], Ok(Outcome::Applied)), "{kind}: {outcomes:?}");
        assert_eq!(database.value("SELECT count(*) AS v FROM sessions"), "2", "{kind}");
        store.apply(insert(4)).await.unwrap();
    }
}

/// lback holds the lock while its view runs. [R02]
#[tokio::test]
async fn a_lock_held_too_long_is_unavailable_and_then_over() {
    let wait = Duration::from_millis(1_500);
    let (database, store) = Database::with_store(SqliteStore::options().busy_timeout(wait)).await;
    store.apply(insert(1)).await.unwrap();
    let other = lock(&database);
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for number in 2..5 {
        let store = store.clone();
        tasks.spawn(async move { store.apply(insert(number)).await });
    }
    let delete = tokio::spawn({
        let store = store.clone();
        async move { store.delete_user(&sessile::record::UserId::new("ada").unwrap(), None).await }
    });
    assert!(store.load(id(1)).await.unwrap().is_some(), "reads go on");
    for outcome in tasks.join_all().await {
        let error = outcome.unwrap_err();
        assert!(error.is_transient());
        let says = format!("{} is locked by another writer, waited 1500 ms", database.path.display());
        assert!(error.to_string().contains(&says), "{error}");
    }
    assert!(delete.await.unwrap().unwrap_err().is_transient());
    // None before its time; and all at once, not one after the other.
    assert!(started.elapsed() >= wait);
    assert!(started.elapsed() < wait * 3, "{:?}", started.elapsed());
    drop(other);
    assert_eq!(store.apply(insert(2)).await.unwrap(), Outcome::Applied);
}

/// [R10] No request waits for a chunk of a purge that stands before it in the queue only because it came earlier.
#[tokio::test]
async fn writes_that_wait_go_before_a_chunk_of_a_purge() {
    let (database, store) = Database::with_store(SqliteStore::options()).await;
    let over = "INSERT INTO sessions (id, expires_at) VALUES (?1, '2029-12-31 23:59:59.000000')";
    database.sql().execute(over, [id(9).to_string()]).unwrap();
    let log = SqlLog::of(&database.path);
    let other = lock(&database);
    let mut writes = JoinSet::new();
    let first = store.clone();
    writes.spawn(async move { first.apply(insert(1)).await });
    tokio::task::yield_now().await;
    // The writer waits for the lock with the first one; the others stand behind the purge.
    let purged = store.clone();
    let purge = tokio::spawn(async move { purged.purge(time(NOW), PurgeLimits::default()).await });
    tokio::task::yield_now().await;
    for number in 2..5 {
        let store = store.clone();
        writes.spawn(async move { store.apply(insert(number)).await });
    }
    tokio::task::yield_now().await;
    drop(other);
    for outcome in writes.join_all().await {
        assert_eq!(outcome.unwrap(), Outcome::Applied);
    }
    assert!(purge.await.unwrap().unwrap().ids().eq([id(9)]));
    let log = log.take();
    let is_chunk = |statement: &String| statement.starts_with("DELETE");
    assert_eq!(log.iter().position(is_chunk), Some(log.len() - 1), "{log:?}");
}

/// [S08] [R12] A write is judged when it is made, not when it was planned.
#[tokio::test]
async fn who_expires_while_a_write_waits_for_a_lock_stays_dead() {
    let (database, store) = Database::with_store(SqliteStore::options()).await;
    let clock = Arc::new(ManualClock::new(time(NOW)));
    let now = || Now::by(clock.clone(), time(NOW));
    let expires_at = time("2031-01-01 00:00:00");
    for number in 1..=3 {
        store.apply(insert(number)).await.unwrap();
    }
    let touch = Write::Touch(Touch { id: id(1), expires_at, now: now() });
    let update = Write::Update(Update {
        id: id(2),
        expected: StoredData::empty(),
        data: "{\"a\": 1}".into(),
        user_id: None,
        expires_at: Expiry::Extend(expires_at),
        now: now(),
    });
    let expected = StoredData::empty();
    let rotate = Write::Rotate(Rotation { id: id(3), expected, record: record(4, None, "{}"), now: now() });
    let before: Vec<_> = store.load_many(&[id(1), id(2), id(3)]).await;
    // A write that is alone, then several: they leave in different ways.
    for writes in [vec![touch.clone()], vec![touch, update, rotate]] {
        clock.set(time(NOW));
        let log = SqlLog::of(&database.path);
        let other = lock(&database);
        let applying = tokio::spawn({
            let store = store.clone();
            async move { store.apply_many(writes).await }
        });
        let mut seen = Vec::new();
        until(async || {
            seen.extend(log.take());
            seen.iter().any(|statement| statement == "BEGIN IMMEDIATE")
        })
        .await;
        clock.set(time(LATER));
        drop(other);
        for outcome in applying.await.unwrap() {
            assert_eq!(outcome.unwrap(), Outcome::Unmatched);
        }
    }
    let after = store.load_many(&[id(1), id(2), id(3)]).await;
    assert_eq!(format!("{before:?}"), format!("{after:?}"));
}

#[tokio::test]
async fn a_full_queue_makes_writes_wait_and_then_fail() {
    let wait = Duration::from_millis(150);
    let options = SqliteStore::options().busy_timeout(wait).queue(2);
    let (database, store) = Database::with_store(options).await;
    let other = lock(&database);
    let mut tasks = JoinSet::new();
    for number in 0..6 {
        let store = store.clone();
        tasks.spawn(async move { store.apply(insert(number)).await });
    }
    let errors: Vec<_> =
        tasks.join_all().await.into_iter().map(|outcome| outcome.unwrap_err().to_string()).collect();
    let full = errors.iter().filter(|error| error.contains("2 writes are waiting already")).count();
    let locked = errors.iter().filter(|error| error.contains("is locked")).count();
    assert_eq!(full + locked, 6, "{errors:?}");
    assert!(full >= 1 && locked >= 2, "{errors:?}");
    drop(other);
    // More at once than there are places.
    let outcomes = store.apply_many((0..5).map(insert).collect()).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(Outcome::Applied))));
}

/// [R03]
#[tokio::test]
async fn a_caller_that_goes_away_changes_nothing() {
    let (database, store) = Database::with_store(SqliteStore::options()).await;
    let other = lock(&database);
    let mut gone = Vec::new();
    for number in 0..8 {
        let store = store.clone();
        gone.push(tokio::spawn(async move { store.apply(insert(number)).await }));
    }
    let stays = tokio::spawn({
        let store = store.clone();
        async move { store.apply(insert(8)).await }
    });
    all_wait().await;
    for task in gone {
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
    }
    drop(other);
    assert_eq!(answered(stays).await.unwrap().unwrap(), Outcome::Applied);
    until(async || store.load(id(7)).await.unwrap().is_some()).await;
}

#[tokio::test]
async fn dropping_the_store_finishes_what_is_queued() {
    let (database, store) =
        Database::with_store(SqliteStore::options().synchronous(Synchronous::Normal)).await;
    let other = lock(&database);
    let task = tokio::spawn({
        let store = store.clone();
        async move { store.apply_many((0..100).map(insert).collect()).await }
    });
    all_wait().await;
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    drop(other);
    drop(store);
    assert_eq!(database.value("SELECT count(*) AS v FROM sessions"), "100");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_off_the_worker_see_what_was_committed() {
    for mode in [ReadMode::Inline, ReadMode::Offloaded] {
        let (_database, store) =
            Database::with_store(SqliteStore::options().read_mode(mode).readers(1)).await;
        let mut tasks = JoinSet::new();
        for number in 0..32 {
            let store = store.clone();
            tasks.spawn(async move {
                store.apply(insert(number)).await.unwrap();
                let update = Update {
                    id: id(number),
                    expected: StoredData::empty(),
                    data: "{\"a\": 1}".into(),
                    user_id: None,
                    expires_at: Expiry::Keep,
                    now: time(NOW).into(),
                };
                assert_eq!(store.apply(Write::Update(update)).await.unwrap(), Outcome::Applied);
                store.load(id(number)).await.unwrap().unwrap().stored_data().clone()
            });
        }
        let read = tasks.join_all().await;
        assert!(read.iter().all(|data| *data == StoredData::Text("{\"a\": 1}".into())), "{mode:?}");
    }
}

/// [R17] What a table was declared with does not change what a write means.
#[tokio::test]
async fn a_conflict_clause_of_the_table_replaces_no_session() {
    for clause in ["REPLACE", "IGNORE", "FAIL", "ROLLBACK"] {
        let database = Database::new();
        let table = format!(
            "CREATE TABLE sessions (id VARCHAR(36) NOT NULL PRIMARY KEY ON CONFLICT {clause}, user_id VARCHAR(36) \
             UNIQUE ON CONFLICT {clause}, data TEXT, created_at DATETIME, expires_at DATETIME NOT NULL, \
             updated_at DATETIME)"
        );
        database.sql().execute_batch(&table).unwrap();
        let store = SqliteStore::open(&database.path).await.unwrap();
        for (number, user) in [(1, "ada"), (2, "eve")] {
            store.apply(Write::Insert(record(number, Some(user), "{}"))).await.unwrap();
        }
        let (expected, now) = (StoredData::empty(), time(NOW).into());
        let rotate = Rotation { id: id(1), expected, record: record(2, Some("ada"), "{}"), now };
        assert_eq!(store.apply(Write::Rotate(rotate)).await.unwrap(), Outcome::Unmatched, "{clause}");
        let outcomes =
            store.apply_many(vec![insert(4), Write::Insert(record(3, Some("ada"), "{}")), insert(5)]).await;
        assert!(
            matches!(outcomes[..], [Ok(Outcome::Applied), Err(_), Ok(Outcome::Applied)]),
            "{clause}: {outcomes:?}"
        );
        let rows = "SELECT group_concat(user_id, ' ') AS v FROM (SELECT user_id FROM sessions ORDER BY id)";
        assert_eq!(database.value(rows), "'ada eve'", "{clause}");
    }
}
