//! What the database undoes for the sake of others is done again, and no caller hears of it.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts};
use sessile::store::{MySqlStore, Outcome, SessionStore, Write};
use sessile_test_servers::MariaDb;

use crate::mysql_server::Database;
use crate::support::{LATER, NOW, id, insert, record, rotate, touch};

/// [R15] [R18] [S05] A login has its row and wants the new id, and another transaction that has the id wants the row:
/// the store holds no lock while it waits for one, so there is no deadlock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_that_crosses_another_transaction_is_made() {
    for isolation in ["READ-COMMITTED", "SERIALIZABLE"] {
        let server = MariaDb::start_with(&[("transaction-isolation", isolation)]).unwrap();
        let store = MySqlStore::connect(&server.url()).await.unwrap();
        store.init().await.unwrap();
        store.apply_many((1..=3).map(insert).collect()).await;
        let mut other = Conn::new(Opts::from_url(&server.url()).unwrap()).await.unwrap();
        other.query_drop("BEGIN").await.unwrap();
        let row = format!("INSERT INTO sessions VALUES ('{}', NULL, '{{}}', NULL, '{LATER}', NULL)", id(9));
        other.query_drop(row).await.unwrap();
        let write = |write| {
            let store = store.clone();
            tokio::spawn(async move { store.apply(write).await })
        };
        let rotating = write(rotate(1, "{}", record(9, Some("ada"), "{}")));
        // Beside it others go on, and the same row's later writes wait.
        for number in 2..=3 {
            assert_eq!(store.apply(Write::Delete(id(number))).await.unwrap(), Outcome::Applied);
        }
        let logout = write(Write::Delete(id(9)));
        let changed = format!("UPDATE sessions SET user_id = 'eve' WHERE id = '{}'", id(1));
        other.query_drop(changed).await.unwrap();
        other.query_drop("ROLLBACK").await.unwrap();
        assert_eq!(rotating.await.unwrap().unwrap(), Outcome::Applied);
        assert!(logout.await.unwrap().is_ok());
    }
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
