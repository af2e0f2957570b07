//! What the database undoes for the sake of others is done again, and no caller hears of it.

use std::time::Duration;

use sessile::store::{Outcome, PostgresStore, SessionStore, Write};
use tokio::task::JoinHandle;

use crate::postgres_server::Schema;
use crate::support::{LATER, NOW, id, insert, record, time, touch, until, user};

const ROWS: u32 = 20;

/// Another transaction locks the last row, the store those before it, and then the other wants the first. The store holds
/// no lock while it waits for one, so neither is the victim of a deadlock.
async fn cross<T: Send + 'static>(ours: impl Fn(PostgresStore, u32) -> JoinHandle<T>, check: impl Fn(T)) {
    let schema = Schema::new().await;
    let store = schema.store(PostgresStore::options()).await;
    let change = |number: u32| format!("UPDATE sessions SET updated_at = now() WHERE id = '{}'", id(number));
    for round in 1..=5 {
        let rows = (1..=ROWS).map(|number| Write::Insert(record(number, Some("ada"), "{}")));
        store.apply_many(rows.collect()).await;
        let other = schema.sql().await;
        other.batch_execute(&format!("BEGIN; {}", change(ROWS))).await.unwrap();
        let doing = ours(store.clone(), round);
        // The others have been made.
        let first =
            format!("SELECT count(*) FROM sessions WHERE id = '{}' AND expires_at < '{LATER}'", id(1));
        let made = time(LATER).saturating_add(Duration::from_secs(round.into()));
        let first = first.replace(LATER, &made.to_string());
        until(async || schema.value(&first).await == "0").await;
        other.batch_execute(&change(1)).await.unwrap();
        other.batch_execute("COMMIT").await.unwrap();
        check(doing.await.unwrap());
    }
}

/// [R15] [R18]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_crosses_another_transaction_is_made() {
    let batch = |store: PostgresStore, round: u32| {
        let later = time(LATER).saturating_add(Duration::from_secs(round.into())).to_string();
        let writes = (1..=ROWS).map(|number| touch(number, &later, NOW)).collect();
        tokio::spawn(async move { store.apply_many(writes).await })
    };
    cross(batch, |outcomes| {
        let applied = outcomes.into_iter().filter(|it| *it.as_ref().unwrap() == Outcome::Applied);
        assert_eq!(applied.count(), ROWS as usize);
    })
    .await;
}

/// [R15] [R18] [S10]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ending_that_crosses_another_transaction_is_made() {
    let deleting =
        |store: PostgresStore, _| tokio::spawn(async move { store.delete_user(&user("ada"), None).await });
    cross(deleting, |deleted| assert_eq!(deleted.unwrap().len(), ROWS as usize)).await;
}

/// [R15] [S10] What the database undoes in the middle of an ending is done again.
#[tokio::test]
async fn an_ending_survives_what_the_database_undoes() {
    for cause in ["serialization_failure", "deadlock_detected"] {
        let schema = Schema::new().await;
        let store = schema.store(PostgresStore::options()).await;
        store
            .apply_many((1..=3).map(|number| Write::Insert(record(number, Some("ada"), "{}"))).collect())
            .await;
        let undo = format!(
            "CREATE SEQUENCE attempts; \
             CREATE FUNCTION {schema}.undo() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             IF nextval('{schema}.attempts') <= 3 THEN RAISE 'undone' USING ERRCODE = '{cause}'; END IF; \
             RETURN OLD; END $$; \
             CREATE TRIGGER undo BEFORE DELETE ON sessions FOR EACH ROW EXECUTE FUNCTION undo()",
            schema = schema.name
        );
        schema.sql().await.batch_execute(&undo).await.unwrap();
        assert_eq!(store.delete_user(&user("ada"), None).await.unwrap().len(), 3, "{cause}");
    }
}

/// [R15] What a database reports that serializes by breaking off: a few times it is done again, and for ever
/// it is not.
#[tokio::test]
async fn a_serialization_failure_is_retried_with_a_bound() {
    for (times, outcome) in [(3, Some(Outcome::Applied)), (1_000_000, None)] {
        let schema = Schema::new().await;
        let store = schema.store(PostgresStore::options()).await;
        store.apply_many((1..=3).map(insert).collect()).await;
        // A sequence counts what is undone, too.
        let undo = format!(
            "CREATE SEQUENCE attempts; \
             CREATE FUNCTION {schema}.undo() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             IF nextval('{schema}.attempts') <= {times} THEN \
             RAISE 'could not serialize access' USING ERRCODE = 'serialization_failure'; END IF; \
             RETURN NEW; END $$; \
             CREATE TRIGGER undo BEFORE UPDATE ON sessions FOR EACH ROW EXECUTE FUNCTION undo()",
            schema = schema.name
        );
        schema.sql().await.batch_execute(&undo).await.unwrap();
        for answer in
            store.apply_many((1..=3).map(|number| touch(number, "2031-01-01 00:00:00", NOW)).collect()).await
        {
            match outcome {
                Some(outcome) => assert_eq!(answer.unwrap(), outcome),
                None => assert!(answer.unwrap_err().is_transient()),
            }
        }
        let attempts: u32 = schema.value("SELECT last_value FROM attempts").await.parse().unwrap();
        assert!((4..=40).contains(&attempts), "{attempts} attempts");
    }
}
