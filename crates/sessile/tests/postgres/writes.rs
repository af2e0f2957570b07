//! What is sent, how often it is committed, and who waits for whom.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use sessile::engine::NewSession;
use sessile::record::{InvalidUserId, ManualClock, Now, StoredData, UserId};
use sessile::store::{
    ListQuery, Liveness, Outcome, PostgresStore, PurgeLimits, Rotation, SessionStore, StoreError, Touch,
    Update, Write,
};
use sessile::{LazySession, Sessions};
use tokio::task::JoinSet;

use crate::postgres_server::Schema;
use crate::support::{LATER, NOW, SqlLog, change, id, insert, record, time, until, update};

#[tokio::test]
async fn each_operation_is_one_statement() {
    let schema = Schema::new().await;
    let store = schema.store(PostgresStore::options()).await;
    let log = SqlLog::of(&schema.name);
    for (write, word) in [
        (insert(1), "INSERT"),
        (insert(1), "INSERT"),
        (update(1, "{}", "{ }"), "UPDATE"),
        (Write::Delete(id(1)), "DELETE"),
        (Write::Delete(id(1)), "DELETE"),
    ] {
        store.apply(write).await.unwrap();
        assert_eq!(log.take(), [word]);
    }
    store.load(id(1)).await.unwrap();
    assert_eq!(log.take(), ["SELECT"]);
    for ids in [1, 2, 300] {
        let ids: Vec<_> = (0..ids).map(id).collect();
        assert_eq!(store.load_many(&ids).await.len(), ids.len());
        assert_eq!(log.take(), ["SELECT"]);
    }
    let batch = (0..300).map(insert).collect();
    assert!(store.apply_many(batch).await.iter().all(|done| matches!(done, Ok(Outcome::Applied))));
    assert_eq!(log.take(), ["INSERT"]);
    let mixed = vec![insert(1_000), Write::Delete(id(1)), insert(1_001), Write::Delete(id(2))];
    assert!(store.apply_many(mixed).await.iter().all(|done| matches!(done, Ok(Outcome::Applied))));
    assert_eq!(log.take(), ["INSERT", "DELETE"]);
    store.delete_user(&UserId::new("ada").unwrap(), Some(id(1))).await.unwrap();
    assert_eq!(log.take(), ["DELETE", "SELECT"]);
    let list = ListQuery { user: None, liveness: Liveness::Any, now: time(NOW), after: None, limit: 10 };
    store.list(&list).await.unwrap();
    assert_eq!(log.take(), ["SELECT"]);
    store.stats(time(NOW)).await.unwrap();
    assert_eq!(log.take(), ["SELECT"]);
    store.purge(time(NOW), PurgeLimits::default()).await.unwrap();
    assert_eq!(log.take(), ["DELETE"]);
    assert!(store.load_many(&[]).await.is_empty() && store.apply_many(Vec::new()).await.is_empty());
    assert!(log.take().is_empty());
}

/// A commit for each moment, not for each write.
#[tokio::test]
async fn writes_that_come_together_are_committed_together() {
    let schema = Schema::new().await;
    let store = schema.store(PostgresStore::options()).await;
    let log = SqlLog::of(&schema.name);
    let mut tasks = JoinSet::new();
    for number in 0..200 {
        let store = store.clone();
        tasks.spawn(async move { store.apply(insert(number)).await.unwrap() });
    }
    assert!(tasks.join_all().await.iter().all(|&outcome| outcome == Outcome::Applied));
    let statements = log.take().len();
    assert!(statements <= 10, "{statements}");
    assert_eq!(store.stats(time(NOW)).await.unwrap().live, 200);
    let transactions = "SELECT count(DISTINCT xmin::text) FROM sessions";
    assert_eq!(schema.value(transactions).await, statements.to_string());
}

/// [R12] Batches of one process meet on two connections: of those who change the same row from the same text
/// one wins, and all others are told that they did not.
#[tokio::test]
async fn batches_side_by_side_lose_no_update() {
    let schema = Schema::new().await;
    let url = format!("{}&application_name={}", schema.url(), schema.name);
    let store = PostgresStore::connect(&url).await.unwrap();
    store.init().await.unwrap();
    let connected = schema.value("SELECT clock_timestamp()").await;
    let rows = 40;
    store.apply_many((0..rows).map(insert).collect()).await;
    let mut tasks = JoinSet::new();
    for attempt in 0..10 {
        for number in 0..rows {
            let store = store.clone();
            let write = update(number, "{}", &format!("{{\"attempt\": {attempt}}}"));
            tasks.spawn(async move { (number, attempt, store.apply(write).await.unwrap()) });
        }
    }
    let mut winners: Vec<_> = tasks.join_all().await;
    winners.retain(|(_, _, outcome)| *outcome == Outcome::Applied);
    winners.sort_unstable_by_key(|(number, ..)| *number);
    assert!(winners.iter().map(|(number, ..)| *number).eq(0..rows), "one for each row");
    for (number, attempt, _) in winners {
        let row = store.load(id(number)).await.unwrap().unwrap();
        assert_eq!(row.stored_data().as_text(), Some(&*format!("{{\"attempt\": {attempt}}}")));
    }
    let writers = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = '{}' \
         AND query ~ '^(UPDATE|COMMIT)' AND query_start > '{connected}'",
        schema.name
    );
    // Two for batches. On a slow machine a batch may wait so long for a row of the other one that it leaves the row to a
    // third connection.
    let writers: u32 = schema.value(&writers).await.parse().unwrap();
    assert!(writers >= 2, "{writers} connections wrote");
}

/// [R15] Too long for its column: only the database knows, and only the one row is told.
#[tokio::test]
async fn a_row_that_fails_fails_alone() {
    let schema = Schema::new().await;
    let store = schema.store(PostgresStore::options()).await;
    schema.sql().await.batch_execute("ALTER TABLE sessions ALTER user_id TYPE varchar(3)").await.unwrap();
    let long = Write::Insert(record(2, Some("long"), "{}"));
    let writes = vec![insert(1), long, Write::Delete(id(9)), insert(3), update(1, "{}", "{ }"), insert(3)];
    let outcomes = store.apply_many(writes).await;
    let narrow = InvalidUserId::ColumnTooNarrow { chars: 4, limit: 3 };
    assert!(matches!(outcomes[1], Err(StoreError::UserId(error)) if error == narrow), "{outcomes:?}");
    let others: Vec<Outcome> =
        outcomes.into_iter().enumerate().filter(|(at, _)| *at != 1).map(|(_, it)| it.unwrap()).collect();
    use Outcome::{Applied, Unmatched};
    assert_eq!(others, [Applied, Unmatched, Applied, Applied, Unmatched]);
    assert_eq!(schema.value("SELECT data FROM sessions ORDER BY id LIMIT 1").await, "{ }");
}

/// lback holds a row's lock while its view runs.
#[tokio::test]
async fn a_locked_row_holds_up_nobody_else() {
    let schema = Schema::new().await;
    let store = schema.store(PostgresStore::options()).await;
    for number in 0..4 {
        store.apply(insert(number)).await.unwrap();
    }
    let python = schema.sql().await;
    let lock = format!("BEGIN; UPDATE sessions SET updated_at = now() WHERE id = '{}'", id(1));
    python.batch_execute(&lock).await.unwrap();

    let mut held = JoinSet::new();
    for write in [update(1, "{}", "{\"a\": 1}"), Write::Delete(id(2)), update(3, "{}", "{\"b\": 1}")] {
        let store = store.clone();
        held.spawn(async move { (write.id(), store.apply(write).await.unwrap()) });
    }
    let mut answered = Vec::new();
    for _ in 0..2 {
        let (id, outcome) = held.join_next().await.unwrap().unwrap();
        assert_eq!(outcome, Outcome::Applied);
        answered.push(id);
    }
    answered.sort();
    assert_eq!(answered, [id(2), id(3)]);
    // Nor those who come now.
    assert_eq!(store.apply(update(0, "{}", "{\"c\": 1}")).await.unwrap(), Outcome::Applied);
    assert!(held.try_join_next().is_none());
    python.batch_execute("COMMIT").await.unwrap();
    assert_eq!(held.join_next().await.unwrap().unwrap(), (id(1), Outcome::Applied));
}

/// A write that has to wait keeps its place among those of its row.
#[tokio::test]
async fn writes_behind_a_locked_row_keep_their_order() {
    let schema = Schema::new().await;
    let store = schema.store(PostgresStore::options()).await;
    store.apply(insert(1)).await.unwrap();
    let python = schema.sql().await;
    python.batch_execute("BEGIN; UPDATE sessions SET updated_at = now()").await.unwrap();
    let rotation = Rotation {
        id: id(1),
        expected: StoredData::Text("{ }".into()),
        record: record(2, None, "{ }"),
        now: time(NOW).into(),
    };
    let batch =
        vec![update(1, "{}", "{ }"), insert(7), Write::Rotate(rotation), Write::Delete(id(2)), insert(2)];
    let making = tokio::spawn({
        let store = store.clone();
        async move { store.apply_many(batch).await }
    });
    until(async || store.load(id(7)).await.unwrap().is_some()).await;
    python.batch_execute("COMMIT").await.unwrap();
    let outcomes = making.await.unwrap();
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(Outcome::Applied))), "{outcomes:?}");
    assert_eq!(store.load(id(2)).await.unwrap(), Some(record(2, None, "{}")));
}

/// [S08] [R12] [R18] A session that expires while a write waits for its row is dead when the row is free.
#[tokio::test]
async fn a_session_that_expires_during_the_wait_is_dead() {
    let schema = Schema::new().await;
    let store = schema.store(PostgresStore::options()).await;
    let clock = Arc::new(ManualClock::new(time(NOW)));
    let now = || Now::by(Arc::clone(&clock) as Arc<_>, time(NOW));
    let python = schema.sql().await;
    for number in 1..=3 {
        store.apply(insert(number)).await.unwrap();
    }
    python.batch_execute("BEGIN; SELECT * FROM sessions FOR UPDATE").await.unwrap();
    let log = SqlLog::of(&schema.name);
    let rotation =
        Rotation { id: id(3), expected: StoredData::empty(), record: record(4, None, "{}"), now: now() };
    let mut waiting = JoinSet::new();
    for write in [
        Write::Touch(Touch { id: id(1), expires_at: time("2031-01-01 00:00:00"), now: now() }),
        Write::Update(Update { now: now(), ..change(2, StoredData::empty(), "{\"a\": 1}") }),
        Write::Rotate(rotation),
    ] {
        let store = store.clone();
        waiting.spawn(async move { store.apply(write).await.unwrap() });
    }
    // All of them have been tried, and are tried again.
    let (mut tried, mut again) = (0, 0);
    until(async || {
        for word in log.take() {
            tried += usize::from(word == "UPDATE");
            again += usize::from(word == "SELECT" && tried >= 3);
        }
        again > 6
    })
    .await;
    clock.set(time(LATER));
    python.batch_execute("COMMIT").await.unwrap();
    assert!(waiting.join_all().await.iter().all(|&outcome| outcome == Outcome::Unmatched));
    for number in 1..=3 {
        assert_eq!(store.load(id(number)).await.unwrap().unwrap().expires_at(), time(LATER));
    }
}

#[tokio::test]
async fn a_lock_that_is_never_given_back_is_an_error() {
    let schema = Schema::new().await;
    let store = schema.store(PostgresStore::options().timeout(Duration::from_secs(2))).await;
    store.apply(insert(1)).await.unwrap();
    let python = schema.sql().await;
    python.batch_execute("BEGIN; UPDATE sessions SET updated_at = now()").await.unwrap();
    let started = Instant::now();
    let error = store.apply(Write::Delete(id(1))).await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("locked by another transaction"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(20));
    assert_eq!(store.apply(insert(2)).await.unwrap(), Outcome::Applied);
    python.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(store.apply(Write::Delete(id(1))).await.unwrap(), Outcome::Applied);
}

/// [R15] Two processes whose batches meet in opposite order.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn crossing_batches_of_two_processes_are_all_made() {
    let schema = Schema::new().await;
    let stores = [schema.store(PostgresStore::options()).await, schema.store(PostgresStore::options()).await];
    for number in 0..20 {
        stores[0].apply(insert(number)).await.unwrap();
    }
    let touch = |number, round: u64| {
        let later = time(LATER).saturating_add(Duration::from_secs(round));
        Write::Touch(Touch { id: id(number), expires_at: later, now: time(NOW).into() })
    };
    let mut tasks = JoinSet::new();
    for (at, store) in stores.into_iter().enumerate() {
        tasks.spawn(async move {
            for round in 0..100 {
                let round = round * 2 + at as u64 + 1;
                // Kinds in one order here, in the other there.
                let mut batch: Vec<Write> = (0..20).map(|number| touch(number, round)).collect();
                let other = update(at as u32, "no such data", "{}");
                batch.insert(if at == 0 { 0 } else { 20 }, other);
                for outcome in store.apply_many(batch).await {
                    outcome.unwrap();
                }
            }
        });
    }
    tasks.join_all().await;
}

/// [R11] [R16] No statement that a request waits for reads the whole table, whatever it was like when
/// the plan was made.
#[tokio::test]
async fn statements_use_the_indexes() {
    let schema = Schema::new().await;
    let store = schema.store(PostgresStore::options()).await;
    // Everything is planned and kept while the table is empty.
    let ids: Vec<_> = (0..50).map(id).collect();
    store.load_many(&ids).await;
    let all = |number: u32| {
        let rotation = Rotation {
            id: id(number),
            expected: StoredData::Text("{ }".into()),
            record: record(number + 10_000, None, "{}"),
            now: time(NOW).into(),
        };
        let touch = Touch { id: id(number), expires_at: time("2031-01-01 00:00:00"), now: time(NOW).into() };
        [
            update(number, "{}", "{ }"),
            Write::Touch(touch),
            Write::Rotate(rotation),
            Write::Delete(id(number + 10_000)),
        ]
    };
    for outcome in store.apply_many((0..5).flat_map(all).collect()).await {
        outcome.unwrap();
    }
    let sql = schema.sql().await;
    sql.batch_execute(
        "ALTER TABLE sessions SET (autovacuum_enabled = off); \
         INSERT INTO sessions SELECT gen_random_uuid(), NULL, '{}', now(), '2030-01-02 03:00:00', now() \
         FROM generate_series(1, 5000)",
    )
    .await
    .unwrap();
    let scans = "SELECT seq_tup_read FROM pg_stat_user_tables WHERE relid = 'sessions'::regclass";
    let scanned = async || {
        // The counters are told when a connection has been idle for a moment.
        sql.batch_execute("SELECT pg_stat_clear_snapshot()").await.unwrap();
        sql.query_one(scans, &[]).await.unwrap().get::<_, i64>(0)
    };
    let before = scanned().await;
    for round in 0..20 {
        store.load_many(&ids).await;
        for outcome in store.apply_many((round * 5..round * 5 + 5).flat_map(all).collect()).await {
            outcome.unwrap();
        }
    }
    let limits = PurgeLimits { max_rows: 50, ..PurgeLimits::default() };
    sql.batch_execute("ANALYZE sessions").await.unwrap();
    store.purge(time(NOW), limits).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    store.load_many(&ids).await;
    assert!(scanned().await - before < 5_000, "a table was read from end to end");
}

/// [R11] 10^4 requests at once for one session that nobody has loaded yet: one statement for who came first, and one
/// for all others, without any cache.
#[tokio::test]
async fn a_herd_at_one_session_is_two_statements() {
    let schema = Schema::new().await;
    let sessions = Sessions::new(schema.store(PostgresStore::options()).await);
    let (credential, _) = sessions.create(NewSession::default()).await.unwrap();
    let log = SqlLog::of(&schema.name);
    let load = async || {
        let session = LazySession::new(sessions.clone(), vec![credential.clone()]);
        session.load().await.unwrap().id()
    };
    let mut herd: Vec<_> = (0..10_000).map(|_| Box::pin(load())).collect();
    // All of them ask before anybody is answered.
    let all = poll_fn(|context| {
        herd.retain_mut(|request| match request.as_mut().poll(context) {
            Poll::Ready(id) => {
                assert_eq!(id, Some(credential.id()));
                false
            }
            Poll::Pending => true,
        });
        if herd.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    });
    tokio::task::unconstrained(all).await;
    assert_eq!(log.take(), ["SELECT", "SELECT"]);
}
