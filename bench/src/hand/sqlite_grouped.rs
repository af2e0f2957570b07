//! SQLite, its writes grouped: one thread commits all that came meanwhile in one transaction.

use std::path::Path;
use std::thread;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::sqlite::{self, DELETE, INSERT, Readers, SWAP};
use super::{ByHand, Id, LIFETIME, now};

/// Writes in one transaction at most.
const GROUP: usize = 256;

enum Write {
    Create(Id, Vec<u8>),
    Swap(Id, Id, Vec<u8>, i64),
    Delete(Id),
}

/// The store.
pub struct SqliteGroupedByHand {
    readers: Readers,
    writes: mpsc::UnboundedSender<(Write, oneshot::Sender<usize>)>,
}

impl SqliteGroupedByHand {
    /// Opens the database `hand.db` in this folder.
    pub fn open(folder: &Path, synchronous: &str) -> SqliteGroupedByHand {
        let (readers, writer) = sqlite::open(folder, synchronous);
        let (writes, asked) = mpsc::unbounded_channel();
        thread::spawn(move || write_all(&writer, asked));
        SqliteGroupedByHand { readers, writes }
    }

    async fn write(&self, write: Write) -> usize {
        let (sender, answer) = oneshot::channel();
        self.writes.send((write, sender)).unwrap();
        answer.await.unwrap()
    }
}

fn write_all(writer: &Connection, mut asked: mpsc::UnboundedReceiver<(Write, oneshot::Sender<usize>)>) {
    let run = |statement: &str| writer.prepare_cached(statement).unwrap().execute([]).unwrap();
    while let Some(first) = asked.blocking_recv() {
        let mut group = vec![first];
        while group.len() < GROUP
            && let Ok(next) = asked.try_recv()
        {
            group.push(next);
        }
        run("BEGIN IMMEDIATE");
        let made: Vec<_> = group.into_iter().map(|(write, sender)| (make(writer, write), sender)).collect();
        run("COMMIT");
        for (rows, sender) in made {
            // Whoever asked may be gone.
            let _ = sender.send(rows);
        }
    }
}

fn make(writer: &Connection, write: Write) -> usize {
    let prepared = |statement| writer.prepare_cached(statement).unwrap();
    let rows = match write {
        Write::Create(id, data) => prepared(INSERT).execute((id, data, now() + LIFETIME)),
        Write::Swap(id, new, data, version) => prepared(SWAP).execute((id, new, data, version)),
        Write::Delete(id) => prepared(DELETE).execute([id]),
    };
    rows.unwrap()
}

impl ByHand for SqliteGroupedByHand {
    async fn create(&self, id: Id, data: Vec<u8>) {
        self.write(Write::Create(id, data)).await;
    }

    async fn load<T: Send>(&self, id: Id, read: impl FnOnce(&[u8]) -> T + Send) -> Option<(T, i64)> {
        self.readers.load(id, read)
    }

    async fn swap(&self, id: Id, new: Id, data: Vec<u8>, version: i64) -> bool {
        self.write(Write::Swap(id, new, data, version)).await == 1
    }

    async fn delete(&self, id: Id) {
        self.write(Write::Delete(id)).await;
    }
}
