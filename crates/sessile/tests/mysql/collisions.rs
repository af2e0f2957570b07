//! What the database undoes for the sake of others is done again, and no caller hears of it.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts};
use sessile::store::{MySqlStore, Outcome, SessionStore};
use sessile_test_servers::MariaDb;

use crate::mysql_server::Database;
use crate::support::{LATER, NOW, id, insert, record, rotate, touch, until};

/// [R15] [S05] A real deadlock: a login has its row and wants the new id, and somebody who has that wants the row.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_survives_a_deadlock() {
    let server = MariaDb::start_with(&[("transaction-isolation", "SERIALIZABLE")]).unwrap();
    let store = MySqlStore::connect(&server.url()).await.unwrap();
    store.init().await.unwrap();
    // Counters, because INNODB_TRX is a copy that is not renewed while it is read more often than every 0.1 s.
    let counted = |name| -> u64 {
        let asked = format!(
            "SELECT variable_value FROM information_schema.global_status WHERE variable_name = '{name}'"
        );
        server.query(&asked).unwrap().trim().parse().unwrap()
    };
    let deadlocks = || counted("INNODB_DEADLOCKS");
    for round in 0..40 {
        let (old, new) = (round * 2 + 1, round * 2 + 2);
        store.apply(insert(old)).await.unwrap();
        let before = deadlocks();
        let mut other = Conn::new(Opts::from_url(&server.url()).unwrap()).await.unwrap();
        other.query_drop("BEGIN").await.unwrap();
        // Who has changed more is spared.
        for number in [new, new + 1_000, new + 2_000, new + 3_000] {
            let row = format!(
                "INSERT INTO sessions VALUES ('{}', NULL, '{{}}', NULL, '{LATER}', NULL)",
                id(number)
            );
            other.query_drop(row).await.unwrap();
        }
        let rotating = tokio::spawn({
            let store = store.clone();
            async move { store.apply(rotate(old, "{}", record(new, Some("ada"), "{}"))).await }
        });
        until(async || counted("INNODB_ROW_LOCK_CURRENT_WAITS") == 1).await;
        let changed = format!("UPDATE sessions SET user_id = 'ada' WHERE id = '{}'", id(old));
        let got_its_way = other.query_drop(changed).await.is_ok();
        let _ = other.query_drop("ROLLBACK").await;
        assert_eq!(rotating.await.unwrap().unwrap(), Outcome::Applied);
        if got_its_way && deadlocks() > before {
            return;
        }
    }
    panic!("we were never the victim");
}

/// [R15] A few times it is done again, and for ever it is not.
#[tokio::test]
async fn a_deadlock_is_retried_with_a_bound() {
    for (times, outcome) in [(3, Some(Outcome::Applied)), (1_000_000, None)] {
        let database = Database::new().await;
        let store = database.store(MySqlStore::options()).await;
        store.apply_many((1..=3).map(insert).collect()).await;
        // A sequence counts what is undone, too.
        database.sql("CREATE SEQUENCE attempts").await;
        database
            .sql(&format!(
                "CREATE TRIGGER break_off BEFORE UPDATE ON sessions FOR EACH ROW IF NEXTVAL(attempts) <= {times} THEN \
                 SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213, MESSAGE_TEXT = 'Deadlock found'; END IF"
            ))
            .await;
        let touches = (1..=3).map(|number| touch(number, "2031-01-01 00:00:00", NOW));
        for answer in store.apply_many(touches.collect()).await {
            match outcome {
                Some(outcome) => assert_eq!(answer.unwrap(), outcome),
                None => assert!(answer.unwrap_err().is_transient()),
            }
        }
        let next = database.value("SELECT CAST(NEXTVAL(attempts) AS CHAR)").await;
        let attempts: u32 = next.parse().unwrap();
        assert!((4..=42).contains(&attempts), "{attempts} attempts");
    }
}
