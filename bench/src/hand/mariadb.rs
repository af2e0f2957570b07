//! MariaDB: a pool of ten connections, statements prepared, one round trip each.

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Opts, Row, Value};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{ByHand, Id, LIFETIME, now};

const TABLE: &str = "CREATE TABLE IF NOT EXISTS hand (id BINARY(16) PRIMARY KEY, data BLOB NOT NULL, \
    version BIGINT NOT NULL DEFAULT 0, expires_at BIGINT NOT NULL, KEY (expires_at))";
const INSERT: &str = "INSERT INTO hand (id, data, expires_at) VALUES (?, ?, ?)";
const LOAD: &str = "SELECT data, version FROM hand WHERE id = ? AND expires_at > ?";
const SWAP: &str = "UPDATE hand SET id = ?, data = ?, version = version + 1 WHERE id = ? AND version = ?";
const DELETE: &str = "DELETE FROM hand WHERE id = ?";

const CONNECTIONS: usize = 10;

/// The store. mysql_async's own pool hands a connection back by way of a task; this one does not.
pub struct MariaDbByHand {
    free: Mutex<Vec<Conn>>,
    count: Semaphore,
}

impl MariaDbByHand {
    /// Makes the table.
    pub async fn connect(url: &str) -> MariaDbByHand {
        let mut free = Vec::new();
        for _ in 0..CONNECTIONS {
            free.push(Conn::new(Opts::from_url(url).unwrap()).await.unwrap());
        }
        free[0].query_drop(TABLE).await.unwrap();
        MariaDbByHand { free: Mutex::new(free), count: Semaphore::new(CONNECTIONS) }
    }

    async fn connection(&self) -> Lent<'_> {
        let permit = self.count.acquire().await.unwrap();
        Lent { connection: self.free.lock().pop(), pool: self, _permit: permit }
    }
}

/// A connection, which goes back when this is dropped.
struct Lent<'a> {
    connection: Option<Conn>,
    pool: &'a MariaDbByHand,
    _permit: SemaphorePermit<'a>,
}

impl Lent<'_> {
    fn get(&mut self) -> &mut Conn {
        self.connection.as_mut().unwrap()
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        // Before the permit goes.
        self.pool.free.lock().extend(self.connection.take());
    }
}

impl ByHand for MariaDbByHand {
    async fn create(&self, id: Id, data: Vec<u8>) {
        let mut lent = self.connection().await;
        lent.get().exec_drop(INSERT, (&id[..], data, now() + LIFETIME)).await.unwrap();
    }

    async fn load<T: Send>(&self, id: Id, read: impl FnOnce(&[u8]) -> T + Send) -> Option<(T, i64)> {
        let mut lent = self.connection().await;
        let row: Option<Row> = lent.get().exec_first(LOAD, (&id[..], now())).await.unwrap();
        drop(lent);
        let row = row?;
        let Value::Bytes(data) = row.as_ref(0)? else { return None };
        Some((read(data), row.get(1)?))
    }

    async fn swap(&self, id: Id, new: Id, data: Vec<u8>, version: i64) -> bool {
        let mut lent = self.connection().await;
        lent.get().exec_drop(SWAP, (&new[..], data, &id[..], version)).await.unwrap();
        lent.get().affected_rows() == 1
    }

    async fn delete(&self, id: Id) {
        let mut lent = self.connection().await;
        lent.get().exec_drop(DELETE, (&id[..],)).await.unwrap();
    }
}
