//! Rows that another program has locked.

use std::time::Duration;

use sessile::store::{ListQuery, Liveness, PostgresStore, SessionStore, Write};
use tokio_postgres::Client;

use crate::locks::{self, IMPATIENT, Locker, PATIENT};
use crate::postgres_server::{Schema, with_option};
use crate::support::{NOW, SqlLog, id, insert, record, time, until, update, user};

/// psql, or Python.
struct Sql {
    client: Client,
    other: Client,
    name: String,
}

impl Locker for Sql {
    async fn lock(&mut self, rows: &[u32]) {
        let ids: Vec<String> = rows.iter().map(|&number| id(number).to_string()).collect();
        self.client.batch_execute("BEGIN").await.unwrap();
        let change = "UPDATE sessions SET updated_at = updated_at WHERE id = ANY ($1)";
        assert_eq!(self.client.execute(change, &[&ids]).await.unwrap(), rows.len() as u64);
    }

    async fn unlock(&mut self) {
        self.client.batch_execute("COMMIT").await.unwrap();
    }

    async fn kill_retries(&mut self) {
        let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
            WHERE application_name = $1 AND (query LIKE '%LOCKED%' OR query LIKE 'SELECT id FROM%')";
        self.other.query(kill, &[&self.name]).await.unwrap();
    }
}

async fn stage(timeout: Duration) -> (Schema, PostgresStore, Sql) {
    let schema = Schema::new().await;
    let url = with_option(&schema.url(), &format!("application_name={}", schema.name));
    let store = PostgresStore::options().timeout(timeout).connect(&url).await.unwrap();
    store.init().await.unwrap();
    let (client, other) = (schema.sql().await, schema.sql().await);
    let locker = Sql { client, other, name: schema.name.clone() };
    (schema, store, locker)
}

/// [R18]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bystanders_go_on_beside_locked_rows() {
    let (_place, store, locker) = stage(PATIENT).await;
    locks::bystanders_go_on(store, locker).await;
}

/// [R18]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_free_rows_of_a_user_end_at_once() {
    let (_place, store, locker) = stage(PATIENT).await;
    locks::the_free_rows_of_a_user_end_at_once(store, locker).await;
}

/// [R18]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stays_locked_is_reported() {
    let (_place, store, locker) = stage(IMPATIENT).await;
    locks::what_stays_locked_is_reported(store, locker).await;
}

/// [R18]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endings_that_wait_hold_up_no_other() {
    let (_place, store, locker) = stage(PATIENT).await;
    locks::endings_that_wait_hold_up_no_other(store, locker).await;
}

/// [R03] [R18]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_go_away_harm_nothing() {
    let (_place, store, locker) = stage(PATIENT).await;
    locks::callers_that_go_away_harm_nothing(store, locker).await;
}

/// [R17] [R18]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_connection_loses_no_blocked_write() {
    let (_place, store, locker) = stage(PATIENT).await;
    locks::a_lost_connection_loses_no_blocked_write(store, locker).await;
}

/// [R02] [R18]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_writes_that_wait_are_bounded() {
    let (_place, store, locker) = stage(PATIENT).await;
    locks::the_writes_that_wait_are_bounded(store, locker).await;
}

/// [R12] [R18]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_of_a_locked_row_is_followed() {
    let (_place, store, locker) = stage(PATIENT).await;
    locks::a_rotation_of_a_locked_row_is_followed(store, locker).await;
}

/// [R18] Any number of locked rows occupies one connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locked_rows_occupy_one_connection() {
    let (schema, store, mut locker) = stage(PATIENT).await;
    store.apply_many((1..=60).map(insert).collect()).await;
    locker.lock(&(1..=60).collect::<Vec<_>>()).await;
    let writes: Vec<_> = (1..=60)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move { store.apply(update(number, "{}", "[1]")).await.unwrap() })
        })
        .collect();
    let ours = format!("SELECT count(*) FROM pg_stat_activity WHERE application_name = '{}'", schema.name);
    // Loads, writes, endings and surveys as always, and one for the retries.
    until(async || schema.value(&ours).await == "7").await;
    let log = SqlLog::of(&schema.name);
    let mut statements = 0;
    until(async || {
        statements += log.take().len();
        statements > 20
    })
    .await;
    assert_eq!(schema.value(&ours).await, "7");
    locker.unlock().await;
    for write in writes {
        write.await.unwrap();
    }
}

/// [R18] A user's list is read while the whole table is counted. The view makes the count wait for as long as the test
/// likes: it takes a lock for each row of one user.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_does_not_wait_for_a_count() {
    let schema = Schema::new().await;
    let sessions = schema.store(PostgresStore::options()).await;
    let rows =
        [(1, "ada"), (2, "slow")].map(|(number, owner)| Write::Insert(record(number, Some(owner), "{}")));
    sessions.apply_many(rows.to_vec()).await;
    let sql = schema.sql().await;
    let oid = schema.value("SELECT 'sessions'::regclass::oid").await;
    let view = format!(
        "CREATE FUNCTION waits() RETURNS bool LANGUAGE plpgsql VOLATILE COST 100000 AS \
         'BEGIN PERFORM pg_advisory_xact_lock({oid}); RETURN true; END'; \
         CREATE VIEW slow AS SELECT * FROM sessions WHERE user_id <> 'slow' OR {schema}.waits()",
        schema = schema.name
    );
    sql.batch_execute(&view).await.unwrap();
    sql.batch_execute(&format!("BEGIN; SELECT pg_advisory_xact_lock({oid})")).await.unwrap();
    let store = PostgresStore::options().table("slow").connect(&schema.url()).await.unwrap();
    let counting = tokio::spawn({
        let store = store.clone();
        async move { store.stats(time(NOW)).await.unwrap().live }
    });
    let waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = ";
    until(async || schema.value(&format!("{waits}{oid}")).await == "1").await;
    let query = ListQuery {
        user: Some(user("ada")),
        liveness: Liveness::Live,
        now: time(NOW),
        after: None,
        limit: 9,
    };
    for _ in 0..3 {
        assert_eq!(store.list(&query).await.unwrap().records.len(), 1);
        assert!(store.clock().await.unwrap().is_some());
    }
    assert!(!counting.is_finished());
    sql.batch_execute("COMMIT").await.unwrap();
    assert_eq!(counting.await.unwrap(), 2);
}
