//! SQLite: prepared statements called inline, one lock around the writer, one transaction per change.

use std::path::Path;
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension};

use super::{ByHand, Id, LIFETIME, now};

const TABLE: &str = "CREATE TABLE IF NOT EXISTS hand (id BLOB PRIMARY KEY NOT NULL, data BLOB NOT NULL, \
    version INTEGER NOT NULL DEFAULT 0, expires_at INTEGER NOT NULL); \
    CREATE INDEX IF NOT EXISTS hand_expires_at ON hand (expires_at)";
pub(super) const INSERT: &str = "INSERT INTO hand (id, data, expires_at) VALUES (?1, ?2, ?3)";
const LOAD: &str = "SELECT data, version FROM hand WHERE id = ?1 AND expires_at > ?2";
pub(super) const SWAP: &str =
    "UPDATE hand SET id = ?2, data = ?3, version = version + 1 WHERE id = ?1 AND version = ?4";
pub(super) const DELETE: &str = "DELETE FROM hand WHERE id = ?1";

/// The store.
pub struct SqliteByHand {
    pub(super) readers: Readers,
    writer: Mutex<Connection>,
}

impl SqliteByHand {
    /// Opens the database `hand.db` in this folder.
    pub fn open(folder: &Path, synchronous: &str) -> SqliteByHand {
        let (readers, writer) = open(folder, synchronous);
        SqliteByHand { readers, writer: Mutex::new(writer) }
    }

    fn write(&self, statement: &str, values: impl rusqlite::Params) -> usize {
        self.writer.lock().prepare_cached(statement).unwrap().execute(values).unwrap()
    }
}

/// The connections that read, and one that writes.
pub(super) fn open(folder: &Path, synchronous: &str) -> (Readers, Connection) {
    let path = folder.join("hand.db");
    let connect = || {
        let connection = Connection::open(&path).unwrap();
        connection.busy_timeout(Duration::from_secs(5)).unwrap();
        let pragmas = format!(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous}; \
             PRAGMA cache_size = -65536; PRAGMA mmap_size = 1073741824"
        );
        connection.execute_batch(&pragmas).unwrap();
        connection
    };
    let writer = connect();
    writer.execute_batch(TABLE).unwrap();
    (Readers([Mutex::new(connect()), Mutex::new(connect())]), writer)
}

/// One for each processor.
pub(super) struct Readers([Mutex<Connection>; 2]);

impl Readers {
    pub(super) fn load<T>(&self, id: Id, read: impl FnOnce(&[u8]) -> T) -> Option<(T, i64)> {
        let free = self.0.iter().find_map(Mutex::try_lock);
        let reader = free.unwrap_or_else(|| self.0[0].lock());
        let mut statement = reader.prepare_cached(LOAD).unwrap();
        let found =
            statement.query_row((id, now()), |row| Ok((read(row.get_ref(0)?.as_blob()?), row.get(1)?)));
        found.optional().unwrap()
    }
}

impl ByHand for SqliteByHand {
    async fn create(&self, id: Id, data: Vec<u8>) {
        self.write(INSERT, (id, data, now() + LIFETIME));
    }

    async fn load<T: Send>(&self, id: Id, read: impl FnOnce(&[u8]) -> T + Send) -> Option<(T, i64)> {
        self.readers.load(id, read)
    }

    async fn swap(&self, id: Id, new: Id, data: Vec<u8>, version: i64) -> bool {
        self.write(SWAP, (id, new, data, version)) == 1
    }

    async fn delete(&self, id: Id) {
        self.write(DELETE, [id]);
    }
}
