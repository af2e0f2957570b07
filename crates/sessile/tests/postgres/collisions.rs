//! What the database undoes for the sake of others is done again, and no caller hears of it.

use std::time::Duration;

use sessile::store::{Outcome, PostgresStore, SessionStore, Write};
use sessile_test_servers::Postgres;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls};

use crate::postgres_server::Schema;
use crate::support::{LATER, NOW, id, insert, record, time, touch, until, user};

/// A server that looks for deadlocks sooner than a batch of ours stops waiting, and on which transactions are
/// serializable unless they say otherwise.
struct Crossing {
    server: Postgres,
    store: PostgresStore,
}

const ROWS: u32 = 20;

impl Crossing {
    async fn new() -> Crossing {
        let settings = [("deadlock_timeout", "60ms"), ("default_transaction_isolation", "serializable")];
        let server = Postgres::start_with(&settings).unwrap();
        let store = PostgresStore::connect(&server.url()).await.unwrap();
        store.init().await.unwrap();
        Crossing { server, store }
    }

    async fn client(&self) -> Client {
        let (client, wire) = tokio_postgres::connect(&self.server.url(), NoTls).await.unwrap();
        tokio::spawn(wire);
        client
    }

    /// Lets somebody else lock the last row, us those before it, and then somebody else want the first, until
    /// we are the one whom the database breaks off. What we did has been done each time.
    async fn meet<T: Send + 'static>(
        &self,
        ours: impl Fn(PostgresStore, u32) -> JoinHandle<T>,
        check: impl Fn(T),
    ) {
        let watching = self.client().await;
        let change = |number: u32| format!("UPDATE sessions SET data = '[]' WHERE id = '{}'", id(number));
        for round in 1..=40 {
            let rows = (1..=ROWS).map(|number| Write::Insert(record(number, Some("ada"), "{}")));
            self.store.apply_many(rows.collect()).await;
            let other = self.client().await;
            // Never the first to look.
            other
                .batch_execute(&format!("SET deadlock_timeout = '1min'; BEGIN; {}", change(ROWS)))
                .await
                .unwrap();
            let doing = ours(self.store.clone(), round);
            let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted";
            until(async || watching.query_one(waits, &[]).await.unwrap().get::<_, i64>(0) > 0).await;
            let got_its_way = other.batch_execute(&change(1)).await.is_ok();
            let _ = other.batch_execute("COMMIT").await;
            check(doing.await.unwrap());
            if got_its_way && self.deadlocks() > 0 {
                return;
            }
        }
        panic!("we were never the victim");
    }

    fn deadlocks(&self) -> usize {
        let log = std::fs::read_to_string(self.server.folder().join("log")).unwrap();
        log.matches("deadlock detected").count()
    }
}

/// [R15]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_survives_a_deadlock() {
    let crossing = Crossing::new().await;
    let batch = |store: PostgresStore, round: u32| {
        let later = time(LATER).saturating_add(Duration::from_secs(round.into())).to_string();
        let writes = (1..=ROWS).map(|number| touch(number, &later, NOW)).collect();
        tokio::spawn(async move { store.apply_many(writes).await })
    };
    crossing
        .meet(batch, |outcomes| {
            let applied = outcomes.into_iter().filter(|it| *it.as_ref().unwrap() == Outcome::Applied);
            assert_eq!(applied.count(), ROWS as usize);
        })
        .await;
}

/// [R15] [S10]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ending_all_of_a_user_survives_a_deadlock() {
    let crossing = Crossing::new().await;
    let deleting =
        |store: PostgresStore, _| tokio::spawn(async move { store.delete_user(&user("ada"), None).await });
    crossing.meet(deleting, |deleted| assert_eq!(deleted.unwrap().len(), ROWS as usize)).await;
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
