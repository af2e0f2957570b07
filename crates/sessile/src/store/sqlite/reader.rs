//! The read connections.
//!
//! A read of a few rows takes microseconds, so it happens where it is asked for, on the first
//! connection that is free. It must never wait there for a lock in the file: the connections have no
//! busy timeout, and a read that meets a lock is done again off the worker, with one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

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
pub(super) struct Read {
    /// For reads by id.
    pub(super) short: Vec<Shared>,
    /// For one user's sessions, which a page shows.
    pub(super) listing: Shared,
    /// For reads of the whole table, which may take seconds.
    pub(super) long: Shared,
}

pub(super) struct Readers {
    read: Read,
    turn: AtomicUsize,
    mode: ReadMode,
    place: Arc<Place>,
}

impl Readers {
    pub(super) fn new(read: Read, mode: ReadMode, place: Arc<Place>) -> Readers {
        Readers { read, turn: AtomicUsize::new(0), mode, place }
    }

    /// How loads that meet are grouped. Inline, one batch at a time is the fastest, for two would fight for
    /// SQLite's locks: another one begins only where a whole batch waits, as when the rows have to come from a slow
    /// disk. Off the workers, where that is expected, each batch that finds a connection goes.
    pub(super) fn bounds(&self) -> Bounds {
        let crowd = match self.mode {
            ReadMode::Inline => WIDEST,
            ReadMode::Offloaded => 1,
        };
        let bounds = Bounds::of_loads(self.read.short.len(), self.place.busy_timeout);
        Bounds { batch: WIDEST, small: WIDEST, crowd, ..bounds }
    }

    /// The first connection that is free, which is also the one with the warmest cache; when none is,
    /// waits in turn for one.
    fn with<T>(&self, read: impl FnOnce(&Connection) -> T) -> T {
        for connection in &self.read.short {
            if let Some(connection) = connection.try_lock() {
                return read(&connection);
            }
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.read.short.len();
        read(&self.read.short[turn].lock())
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
        off_the_worker(move || readers.again(action, &read)).await
    }

    /// Reads, and tries again while somebody holds the lock. No connection is kept while it waits: reads that find
    /// none free wait on their worker.
    fn again<T>(
        &self,
        action: &'static str,
        read: impl Fn(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let started = Instant::now();
        let mut pause = Duration::from_millis(1);
        loop {
            match self.with(&read) {
                Err(error) if fault::is_locked(&error) && started.elapsed() < self.place.busy_timeout => {
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(Duration::from_millis(50));
                }
                done => return done.map_err(|error| self.place.error(action, error)),
            }
        }
    }

    /// A read of the rows of one user, always off the worker.
    pub(super) async fn listing<T, R>(
        self: &Arc<Self>,
        action: &'static str,
        read: R,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        R: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let readers = Arc::clone(self);
        off_the_worker(move || readers.patiently(&readers.read.listing, action, read)).await
    }

    /// A read of the whole table, always off the worker.
    pub(super) async fn long<T, R>(self: &Arc<Self>, action: &'static str, read: R) -> Result<T, StoreError>
    where
        T: Send + 'static,
        R: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let readers = Arc::clone(self);
        off_the_worker(move || readers.patiently(&readers.read.long, action, read)).await
    }

    /// Waits for the connection, then reads and, where somebody holds the lock, waits for that.
    fn patiently<T>(
        &self,
        connection: &Shared,
        action: &str,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let waited = self.place.busy_timeout;
        let connection = connection.try_lock_for(waited).ok_or_else(|| {
            let waited = waited.as_millis();
            unavailable(
                format!("another read of many rows is under way, waited {waited} ms to {action}"),
                None,
            )
        })?;
        let done = connection.busy_timeout(self.place.busy_timeout).and_then(|()| read(&connection));
        let reset = connection.busy_timeout(Duration::ZERO);
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
