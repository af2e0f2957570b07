//! Ids on their way out of their users' indexes, in a Cluster.
//!
//! Not at once: a failover may forget that a row was deleted, on its server and not on its user's. A session
//! that is back has to be found by who ends all sessions of its user. So an id leaves a minute later, and only
//! if its row is still gone. Where the process ends before, or too many wait,
//! it leaves when the index is next read after its time is over.

use std::sync::{Arc, Weak};
use std::time::Duration;

use redis::Value;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::Instant;

use super::Inner;
use super::call;
use crate::record::{SessionId, UserId};

/// A failover is over by then, and the old primary a replica.
const GRACE: Duration = Duration::from_secs(60);
/// Ids that wait for their minute, at most: some 10 MB.
const QUEUE: usize = 65_536;
/// Ids in one step, at most.
const CHUNK: usize = 256;

/// An id whose row has gone.
#[derive(Debug)]
pub(super) struct Leaver {
    user: UserId,
    id: SessionId,
    since: Instant,
}

impl Leaver {
    pub(super) fn new(user: &UserId, id: SessionId) -> Leaver {
        Leaver { user: user.clone(), id, since: Instant::now() }
    }
}

/// Where they are told.
pub(super) type Leavers = Sender<Leaver>;

pub(super) fn leavers() -> (Leavers, Receiver<Leaver>) {
    channel(QUEUE)
}

impl Inner {
    /// The row with this id is no longer this user's.
    pub(super) fn leaves(&self, user: &UserId, id: SessionId) {
        // Where nobody listens any more, or too many wait, the entry stays until its time is over.
        let _ = self.leavers.try_send(Leaver::new(user, id));
    }

    /// Takes those out whose rows are still gone.
    pub(super) async fn let_go(&self, batch: &[Leaver]) {
        let rows: Vec<_> = batch.iter().map(|it| call::plain(&["EXISTS", &self.keys.row(it.id)])).collect();
        let answers = self.link.read(&rows).await;
        let gone = batch.iter().zip(answers).filter(|(_, answer)| matches!(answer, Ok(Value::Int(0))));
        let requests: Vec<_> = gone.map(|(it, _)| self.scribe("").leave(&it.user, it.id)).collect();
        let _ = self.link.send(&requests).await;
    }
}

/// Runs until the store is gone.
pub(super) async fn sweep(inner: Weak<Inner>, mut leavers: Receiver<Leaver>) {
    let mut batch = Vec::with_capacity(CHUNK);
    while leavers.recv_many(&mut batch, CHUNK).await > 0 {
        if let Some(last) = batch.last() {
            tokio::time::sleep_until(last.since + GRACE).await;
        }
        let Some(inner): Option<Arc<Inner>> = inner.upgrade() else { return };
        inner.let_go(&batch).await;
        batch.clear();
    }
}
