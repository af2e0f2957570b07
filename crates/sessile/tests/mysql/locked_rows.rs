//! Rows that another program has locked.

use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use sessile::store::MySqlStore;

use crate::locks::{self, IMPATIENT, Locker, PATIENT};
use crate::mysql_server::Database;
use crate::support::id;

/// Another program.
struct Sql {
    conn: Conn,
    other: Conn,
}

impl Locker for Sql {
    async fn lock(&mut self, rows: &[u32]) {
        let ids: Vec<String> = rows.iter().map(|&number| format!("'{}'", id(number))).collect();
        // The rows alone, and not those that are read on the way to them.
        self.conn.query_drop("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await.unwrap();
        self.conn.query_drop("BEGIN").await.unwrap();
        let change = "UPDATE sessions SET updated_at = '2000-01-01' WHERE id IN";
        self.conn.query_drop(format!("{change} ({})", ids.join(", "))).await.unwrap();
        assert_eq!(self.conn.affected_rows(), rows.len() as u64);
    }

    async fn unlock(&mut self) {
        self.conn.query_drop("COMMIT").await.unwrap();
    }

    /// All that have locked nothing, but for the two of the test.
    async fn kill_retries(&mut self) {
        let ids = format!(
            "SELECT ID FROM information_schema.PROCESSLIST WHERE DB = DATABASE() AND ID NOT IN ({}, {})",
            self.conn.id(),
            self.other.id()
        );
        for id in self.other.query::<u64, _>(ids).await.unwrap() {
            // It may be gone already.
            let _ = self.other.query_drop(format!("KILL CONNECTION {id}")).await;
        }
    }
}

async fn stage(timeout: Duration) -> (Database, MySqlStore, Sql) {
    let database = Database::new().await;
    let store = database.store(MySqlStore::options().timeout(timeout)).await;
    let locker = Sql { conn: database.connection().await, other: database.connection().await };
    (database, store, locker)
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
