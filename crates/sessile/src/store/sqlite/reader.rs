//! The read connections.
//!
//! A read of a few rows takes microseconds, so it happens where it is asked for, on the first
//! connection that is free. It must never wait there for a lock in the file: the connections have no
//! busy timeout, and a read that meets a lock is done again off the worker, with one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use rusqlite::Connection;

use super::fault::{self, Place, unavailable};
use crate::store::StoreError;
use crate::store::group::Bounds;

/// Rows in one transaction, at most: a task reads them without a break.
pub(super) const WIDEST: usize = 64;

/// Where reads by id happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReadMode {
    /// In the task that asks: it blocks its worker for the microseconds that a lookup by primary key
    /// takes, where a hop to another thread costs several times that. Page faults on a cold file on a
    /// slow disk block it longer. The default.
    #[default]
    Inline,
    /// On tokio's threads for blocking work: no worker ever waits for the disk.
    Offloaded,
}

pub(super) type Shared = Arc<Mutex<Connection>>;

/// Connections that only read.
pub(super) struct Readers {
    short: Vec<Shared>,
    /// For reads of many rows, so that these never keep a request from a connection.
    long: Shared,
    turn: AtomicUsize,
    mode: ReadMode,
    place: Arc<Place>,
}

impl Readers {
    pub(super) fn new(short: Vec<Shared>, long: Shared, mode: ReadMode, place: Arc<Place>) -> Readers {
        Readers { short, long, turn: AtomicUsize::new(0), mode, place }
    }

    /// How loads that meet are grouped. Inline, one batch at a time is the fastest, for two would fight for
    /// SQLite's locks: another one begins only where a whole batch waits, as when the rows have to come from a slow
    /// disk. Off the workers, where that is expected, each batch that finds a connection goes.
    pub(super) fn bounds(&self) -> Bounds {
        let crowd = match self.mode {
            ReadMode::Inline => WIDEST,
            ReadMode::Offloaded => 1,
        };
        let bounds = Bounds::of_loads(self.short.len(), self.place.busy_timeout);
        Bounds { batch: WIDEST, small: WIDEST, crowd, ..bounds }
    }

    /// The first connection that is free, which is also the one with the warmest cache; when none is,
    /// waits in turn for one.
    fn with<T>(&self, read: impl FnOnce(&Connection) -> T) -> T {
        for connection in &self.short {
            if let Some(connection) = connection.try_lock() {
                return read(&connection);
            }
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.short.len();
        read(&self.short[turn].lock())
    }

    /// A read of a few rows by primary key.
    pub(super) async fn short<T, R>(self: &Arc<Self>, action: &'static str, read: R) -> Result<T, StoreError>
    where
        T: Send + 'static,
        R: Fn(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        if self.mode == ReadMode::Inline {
            match self.with(&read) {
                Err(error) if fault::is_locked(&error) => {}
                done => return done.map_err(|error| self.place.error(action, error)),
            }
        }
        let readers = Arc::clone(self);
        off_the_worker(move || readers.with(|connection| readers.patiently(connection, action, &read))).await
    }

    /// A read of many rows, always off the worker.
    pub(super) async fn long<T, R>(self: &Arc<Self>, action: &'static str, read: R) -> Result<T, StoreError>
    where
        T: Send + 'static,
        R: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let readers = Arc::clone(self);
        off_the_worker(move || readers.patiently(&readers.long.lock(), action, read)).await
    }

    /// Reads and, where somebody holds the lock, waits for it.
    fn patiently<T>(
        &self,
        connection: &Connection,
        action: &str,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let done = connection.busy_timeout(self.place.busy_timeout).and_then(|()| read(connection));
        let reset = connection.busy_timeout(std::time::Duration::ZERO);
        done.and_then(|done| reset.map(|()| done)).map_err(|error| self.place.error(action, error))
    }
}

/// Runs what blocks on a thread for that.
pub(super) async fn off_the_worker<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) if error.is_cancelled() => Err(unavailable("the runtime is shutting down", None)),
        Err(error) => Err(fault::backend("run a statement: the thread panicked", error)),
    }
}
