//! A SQLite file, which Python writes too.

use std::sync::Arc;

use http::StatusCode;
use rusqlite::{Connection, OptionalExtension as _, params};
use sessile::record::{Columns, SessionId, SessionRecord, StoredData, Timestamp, UserId};
use sessile::store::sqlite::Synchronous;
use sessile::store::{SessionStore, SqliteStore};

use crate::actors::{Part, everybody};
use crate::gate::{Actor, Did, Schedule};
use crate::model::NOW;
use crate::support::{noon, seconds};
use crate::{STARTS, Start, Table, all_pairs, random_threes, runtime};

struct File {
    store: SqliteStore,
    sql: Connection,
    _folder: tempfile::TempDir,
}

impl File {
    async fn new() -> File {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sessions.db");
        let store = SqliteStore::options().synchronous(Synchronous::Normal).open(&path).await.unwrap();
        store.init().await.unwrap();
        let sql = Connection::open(&path).unwrap();
        sql.execute_batch("PRAGMA synchronous = NORMAL; PRAGMA busy_timeout = 5000").unwrap();
        File { store, sql, _folder: folder }
    }
}

impl Table for File {
    fn store(&self) -> Arc<dyn SessionStore> {
        Arc::new(self.store.clone())
    }

    async fn rows(&self) -> Vec<SessionRecord> {
        let mut statement =
            self.sql.prepare_cached("SELECT id, user_id, data, expires_at FROM sessions").unwrap();
        let rows = statement.query_map((), |row| {
            let [id, data, expires_at] = [row.get::<_, String>(0)?, row.get(2)?, row.get(3)?];
            Ok(SessionRecord::from_columns(Columns {
                id: id.parse().unwrap(),
                user_id: row.get::<_, Option<String>>(1)?.map(|user| UserId::new(user).unwrap()),
                data: StoredData::Text(data.into()),
                created_at: None,
                expires_at: Timestamp::parse(&expires_at).unwrap(),
                updated_at: None,
            }))
        });
        rows.unwrap().map(Result::unwrap).collect()
    }

    fn reset(&mut self) {
        self.sql.prepare_cached("DELETE FROM sessions").unwrap().execute(()).unwrap();
    }

    fn python<'a>(&'a self, schedule: &'a Schedule, id: SessionId) -> Actor<'a, Option<StatusCode>> {
        Box::pin(async move {
            let id = id.to_string();
            let read = async {
                let mut select = self.sql.prepare_cached("SELECT data FROM sessions WHERE id = ?").unwrap();
                let text: Option<String> = select.query_row([&id], |row| row.get(0)).optional().unwrap();
                (text.clone(), vec![Did::Read(text)])
            };
            let text = schedule.step(read).await?;
            let mut data: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
            data.insert("python".into(), true.into());
            let text = serde_json::to_string(&data).unwrap();
            let write = async {
                let [now, until] =
                    [NOW, NOW + 30].map(|minute| noon().saturating_add(seconds(60 * minute)).to_sql_text());
                let sql = "UPDATE sessions SET data = ?, expires_at = ?, updated_at = ? WHERE id = ?";
                let mut update = self.sql.prepare_cached(sql).unwrap();
                let found = update.execute(params![text, until.as_str(), now.as_str(), id]).unwrap() == 1;
                ((), vec![Did::Overwrite(text, found)])
            };
            schedule.step(write).await;
            None
        })
    }
}

fn everybody_and_python() -> Vec<Part> {
    everybody().into_iter().chain([Part::Python]).collect()
}

/// On a file of its own. Much of the time is waiting for the store's thread, so the tests share it.
fn all_pairs_on(starts: &[Start]) {
    let orders = runtime().block_on(async {
        let mut table = File::new().await;
        all_pairs(&mut table, &everybody_and_python(), starts, false).await
    });
    println!("{orders} orders of two");
    assert!(orders >= 3_250, "{orders}");
}

/// [R12] [G01] [G02] [G04] [G14] [C20] [B13] Two requests, or one and whoever else acts, Python too, in
/// every order of their steps, as in several processes.
#[test]
fn sqlite_in_every_order_of_two() {
    all_pairs_on(&STARTS[..2]);
}

/// [R12] [G01] [G02] [S06] The same on the sessions of others, and on remembered ones.
#[test]
fn sqlite_in_every_order_of_two_on_other_sessions() {
    all_pairs_on(&STARTS[2..]);
}

/// [R12]
#[test]
fn sqlite_in_random_orders_of_three() {
    runtime().block_on(async {
        let mut table = File::new().await;
        random_threes(&mut table, &everybody_and_python(), 3_500).await
    });
}
