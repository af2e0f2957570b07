//! PostgreSQL, concurrent requests sharing one statement: those that arrive while one is on its way go
//! together in the next.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_postgres::{Client, NoTls};

use super::postgres::TABLE;
use super::{ByHand, Id};

const LOAD: &str = "SELECT id, data, version FROM hand WHERE id = ANY($1) AND expires_at > now()";
const SWAP: &str = "UPDATE hand SET id = them.new, data = them.data, version = hand.version + 1 \
    FROM unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::bigint[]) AS them (id, new, data, version) \
    WHERE hand.id = them.id AND hand.version = them.version RETURNING them.id";
const INSERT: &str = "INSERT INTO hand (id, data, expires_at) \
    SELECT them.id, them.data, now() + interval '1 day' FROM unnest($1::bytea[], $2::bytea[]) AS them (id, data)";
const DELETE: &str = "DELETE FROM hand WHERE id = ANY($1)";

/// Requests in one statement at most.
const GROUP: usize = 128;

struct Load {
    id: Id,
    answer: oneshot::Sender<Option<(Vec<u8>, i64)>>,
}

struct Swap {
    id: Id,
    new: Id,
    data: Vec<u8>,
    version: i64,
    answer: oneshot::Sender<bool>,
}

struct Create {
    id: Id,
    data: Vec<u8>,
    answer: oneshot::Sender<()>,
}

struct Delete {
    id: Id,
    answer: oneshot::Sender<()>,
}

/// The store: a connection for each kind of write, two for the reads.
pub struct PostgresGroupedByHand {
    loads: mpsc::UnboundedSender<Load>,
    swaps: mpsc::UnboundedSender<Swap>,
    creates: mpsc::UnboundedSender<Create>,
    deletes: mpsc::UnboundedSender<Delete>,
}

impl PostgresGroupedByHand {
    /// Makes the table.
    pub async fn connect(url: &str) -> PostgresGroupedByHand {
        connected(url).await.batch_execute(TABLE).await.unwrap();
        let (loads, asked) = mpsc::unbounded_channel();
        let asked = Arc::new(Mutex::new(asked));
        for _ in 0..2 {
            tokio::spawn(load_all(connected(url).await, Arc::clone(&asked)));
        }
        let (swaps, asked) = mpsc::unbounded_channel();
        tokio::spawn(swap_all(connected(url).await, asked));
        let (creates, asked) = mpsc::unbounded_channel();
        tokio::spawn(create_all(connected(url).await, asked));
        let (deletes, asked) = mpsc::unbounded_channel();
        tokio::spawn(delete_all(connected(url).await, asked));
        PostgresGroupedByHand { loads, swaps, creates, deletes }
    }
}

async fn connected(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn load_all(client: Client, asked: Arc<Mutex<mpsc::UnboundedReceiver<Load>>>) {
    let statement = client.prepare(LOAD).await.unwrap();
    let mut group = Vec::new();
    while asked.lock().await.recv_many(&mut group, GROUP).await > 0 {
        let ids: Vec<&[u8]> = group.iter().map(|load| &load.id[..]).collect();
        let rows = client.query(&statement, &[&ids]).await.unwrap();
        let found: HashMap<&[u8], _> =
            rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect();
        for load in group.drain(..) {
            // Whoever asked may be gone.
            let _ = load.answer.send(found.get(&load.id[..]).cloned());
        }
    }
}

async fn swap_all(client: Client, mut asked: mpsc::UnboundedReceiver<Swap>) {
    let statement = client.prepare(SWAP).await.unwrap();
    let mut group = Vec::new();
    while asked.recv_many(&mut group, GROUP).await > 0 {
        // A second change of one session in a group loses at once: its version is out of date.
        let mut seen = HashSet::with_capacity(group.len());
        let (first, late): (Vec<Swap>, Vec<Swap>) = group.drain(..).partition(|swap| seen.insert(swap.id));
        for swap in late {
            let _ = swap.answer.send(false);
        }
        let ids: Vec<&[u8]> = first.iter().map(|swap| &swap.id[..]).collect();
        let new: Vec<&[u8]> = first.iter().map(|swap| &swap.new[..]).collect();
        let data: Vec<&[u8]> = first.iter().map(|swap| &swap.data[..]).collect();
        let versions: Vec<i64> = first.iter().map(|swap| swap.version).collect();
        let rows = client.query(&statement, &[&ids, &new, &data, &versions]).await.unwrap();
        let made: HashSet<&[u8]> = rows.iter().map(|row| row.get(0)).collect();
        for swap in first {
            let _ = swap.answer.send(made.contains(&swap.id[..]));
        }
    }
}

async fn create_all(client: Client, mut asked: mpsc::UnboundedReceiver<Create>) {
    let statement = client.prepare(INSERT).await.unwrap();
    let mut group = Vec::new();
    while asked.recv_many(&mut group, GROUP).await > 0 {
        let ids: Vec<&[u8]> = group.iter().map(|create| &create.id[..]).collect();
        let data: Vec<&[u8]> = group.iter().map(|create| &create.data[..]).collect();
        client.execute(&statement, &[&ids, &data]).await.unwrap();
        for create in group.drain(..) {
            let _ = create.answer.send(());
        }
    }
}

async fn delete_all(client: Client, mut asked: mpsc::UnboundedReceiver<Delete>) {
    let statement = client.prepare(DELETE).await.unwrap();
    let mut group = Vec::new();
    while asked.recv_many(&mut group, GROUP).await > 0 {
        let ids: Vec<&[u8]> = group.iter().map(|delete| &delete.id[..]).collect();
        client.execute(&statement, &[&ids]).await.unwrap();
        for delete in group.drain(..) {
            let _ = delete.answer.send(());
        }
    }
}

impl ByHand for PostgresGroupedByHand {
    async fn create(&self, id: Id, data: Vec<u8>) {
        let (answer, made) = oneshot::channel();
        self.creates.send(Create { id, data, answer }).unwrap();
        made.await.unwrap();
    }

    async fn load<T: Send>(&self, id: Id, read: impl FnOnce(&[u8]) -> T + Send) -> Option<(T, i64)> {
        let (answer, found) = oneshot::channel();
        self.loads.send(Load { id, answer }).ok()?;
        let (data, version) = found.await.ok()??;
        Some((read(&data), version))
    }

    async fn swap(&self, id: Id, new: Id, data: Vec<u8>, version: i64) -> bool {
        let (answer, made) = oneshot::channel();
        self.swaps.send(Swap { id, new, data, version, answer }).is_ok() && made.await.unwrap_or(false)
    }

    async fn delete(&self, id: Id) {
        let (answer, made) = oneshot::channel();
        self.deletes.send(Delete { id, answer }).unwrap();
        made.await.unwrap();
    }
}
