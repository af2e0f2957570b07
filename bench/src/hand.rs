//! Sessions on SQLite by hand, without a library: prepared statements called inline, one lock around the
//! writer, one transaction per change. The bound that a library is measured against.
//!
//! It keeps a version beside the document and compares that; the document is read and written whole.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension};

/// A session's key.
pub type Id = [u8; 16];

const TABLE: &str = "CREATE TABLE IF NOT EXISTS hand (id BLOB PRIMARY KEY NOT NULL, data BLOB NOT NULL, \
    version INTEGER NOT NULL DEFAULT 0, expires_at INTEGER NOT NULL); \
    CREATE INDEX IF NOT EXISTS hand_expires_at ON hand (expires_at)";
const INSERT: &str = "INSERT INTO hand (id, data, expires_at) VALUES (?1, ?2, ?3)";
const LOAD: &str = "SELECT data, version FROM hand WHERE id = ?1 AND expires_at > ?2";
const SWAP: &str = "UPDATE hand SET data = ?2, version = version + 1 WHERE id = ?1 AND version = ?3";

const LIFETIME: i64 = 86_400;

/// The store.
pub struct Hand {
    readers: [Mutex<Connection>; 2],
    writer: Mutex<Connection>,
}

impl Hand {
    /// Opens the database `hand.db` in this folder.
    pub fn open(folder: &Path, synchronous: &str) -> Arc<Hand> {
        let path: PathBuf = folder.join("hand.db");
        let connect = || {
            let connection = Connection::open(&path).unwrap();
            connection.busy_timeout(Duration::from_secs(5)).unwrap();
            let pragmas = format!(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous}; \
                 PRAGMA cache_size = -65536; PRAGMA mmap_size = 1073741824"
            );
            connection.execute_batch(&pragmas).unwrap();
            Mutex::new(connection)
        };
        let writer = connect();
        writer.lock().execute_batch(TABLE).unwrap();
        Arc::new(Hand { readers: [connect(), connect()], writer })
    }

    /// Makes a session.
    pub fn create(&self, id: Id, data: &[u8]) {
        let writer = self.writer.lock();
        writer.prepare_cached(INSERT).unwrap().execute((id, data, now() + LIFETIME)).unwrap();
    }

    /// Reads a live one: what `read` makes of the document, and its version.
    pub fn load<T>(&self, id: Id, read: impl FnOnce(&[u8]) -> T) -> Option<(T, i64)> {
        let free = self.readers.iter().find_map(Mutex::try_lock);
        let reader = free.unwrap_or_else(|| self.readers[0].lock());
        let mut statement = reader.prepare_cached(LOAD).unwrap();
        let found =
            statement.query_row((id, now()), |row| Ok((read(row.get_ref(0)?.as_blob()?), row.get(1)?)));
        found.optional().unwrap()
    }

    /// Replaces the document if its version is still this one.
    pub fn swap(&self, id: Id, data: &[u8], version: i64) -> bool {
        let writer = self.writer.lock();
        writer.prepare_cached(SWAP).unwrap().execute((id, data, version)).unwrap() == 1
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}
