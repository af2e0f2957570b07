//! Checkpoints: moves what was committed from the write-ahead log into the file, beside the writer.
//!
//! SQLite itself would do it inside of the commit that makes the log a thousand pages long, and every other write
//! would wait for it. Here a thread of its own does it, on a connection of its own, in the mode (PASSIVE) that waits
//! for no lock and blocks no statement.
//!
//! Three things need the writer's thread:
//!
//! * SQLite syncs the file only after a checkpoint during which no commit came in, and the first such checkpoint
//!   after a long time pays for all pages since the last: so from time to time, when few pages are left to move, the
//!   writer pauses for some milliseconds until the thread has synced.
//! * The log begins anew only with a commit that finds all of it moved: when it is long and few pages are left, the
//!   writer moves those itself.
//! * The bound. While the thread is behind, the writer waits some milliseconds for it after each commit. At [`BOUND`] the writer writes nothing more before the log is moved: it waits for a checkpoint of the
//!   thread that is under way, moves the rest, and waits for readers of the log to end. However slow the thread is,
//!   the log is not longer than the bound and one transaction.
//!
//! Only a reader that stays in one transaction (in another program, or a long listing of ours) keeps the log from
//! being moved. The writer then goes on and the log grows, which is reported with each doubling. While it catches up
//! after such a reader, each commit leaves the thread some milliseconds. At [`SqliteOptions::max_log_bytes`] writes
//! are refused ([`Full`](crate::store::StoreError::Full)), except those that end sessions.
//!
//! [`SqliteOptions::max_log_bytes`]: super::SqliteOptions::max_log_bytes

use std::cell::{Cell, RefCell};
use std::ffi::c_int;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::mpsc::{self, Receiver, SendError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use rusqlite::Connection;

use super::fault;
use super::log_file::LogFile;
use super::reader::Shared;
use super::sql;

/// Bytes in the log at which the writer itself moves it.
pub(super) const BOUND: u64 = 40 << 20;

/// Pages to be moved that make a checkpoint worth it: as many as with SQLite's own default.
const WORTHWHILE: c_int = 1_000;

/// Pages that are moved in a moment.
const LITTLE: c_int = 256;

/// Pages after which the file is brought to the disk: what a disk writes in some tens of milliseconds, while it has
/// to serve commits as well.
const UNSYNCED: c_int = 1_024;

/// Pages after which that is tried again.
const SOON: c_int = 64;

/// How long the writer pauses for that.
const MOMENT: Duration = Duration::from_millis(3);

/// Pages to be moved from which on the thread is too slow, and the writer leaves it some time after each commit: many
/// short waits instead of a long one at the bound.
const BEHIND: c_int = 4_096;

/// How long the writer waits at the bound for readers, or for another program's checkpoint; and after each commit
/// for the thread, while it is behind.
const PATIENCE: Duration = Duration::from_millis(20);

const PASSIVE: &str = "PRAGMA wal_checkpoint(PASSIVE)";
const RESTART: &str = "PRAGMA wal_checkpoint(RESTART)";

/// What is done after a checkpoint, which has moved all pages, or not.
pub(super) type Told = Box<dyn FnOnce(bool) + Send>;

/// How long the log may become, in pages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// From here on the log is to begin anew.
    many: c_int,
    /// Here nothing is written before it is moved, unless a reader holds it.
    bound: c_int,
    /// Here writes are refused.
    limit: c_int,
}

impl Bounds {
    /// For pages of this size; `limit` is in bytes.
    pub(super) fn new(page_size: u64, limit: u64) -> Bounds {
        let pages = |bytes: u64| c_int::try_from(bytes / page_size.max(1)).unwrap_or(c_int::MAX).max(LITTLE);
        let bound = pages(BOUND);
        Bounds { many: bound / 5 * 4, bound, limit: pages(limit).max(bound) }
    }
}

/// The handle to the thread. Dropping it ends the thread and closes its connection.
pub(super) struct Checkpoints {
    asked: Option<Sender<Told>>,
    thread: Option<JoinHandle<()>>,
    progress: Arc<Progress>,
    log: RefCell<LogFile>,
    bounds: Cell<Bounds>,
    /// Whether no checkpoint may run while the writer writes: see [`has_reset_bug`].
    is_apart: bool,
    /// Pages in the log, now and when each of these was last begun: a checkpoint on the thread, one for which the
    /// writer paused, one by the writer.
    pages: Cell<c_int>,
    begun: Cell<c_int>,
    paused: Cell<c_int>,
    by_writer: Cell<c_int>,
    /// While the log is as long as the bound and cannot be moved: pages at which that is tried again.
    held: Cell<Option<c_int>>,
    /// Pages in the log when that was last reported; zero before.
    reported: Cell<c_int>,
}

/// How far the thread is.
#[derive(Default)]
struct Progress {
    /// Pages of the log that are moved. Those of the log before for a while, when it begins anew in the moment in
    /// which they are stored: the next checkpoint puts that right.
    moved: AtomicI32,
    is_busy: AtomicBool,
    /// Locked during each checkpoint of ours: SQLite refuses a second one.
    checkpoint: Mutex<()>,
}

impl Checkpoints {
    pub(super) fn start(connection: Shared, log: LogFile, bounds: Bounds) -> io::Result<Checkpoints> {
        let (asked, asks) = mpsc::channel();
        let progress = Arc::new(Progress::default());
        let thread = thread::Builder::new().name("sessile-sqlite-log".to_owned()).spawn({
            let progress = Arc::clone(&progress);
            move || keep_up(&connection, &asks, &progress)
        })?;
        Ok(Checkpoints {
            asked: Some(asked),
            thread: Some(thread),
            progress,
            log: RefCell::new(log),
            bounds: Cell::new(bounds),
            is_apart: has_reset_bug(rusqlite::version_number()),
            pages: Cell::new(0),
            begun: Cell::new(0),
            paused: Cell::new(0),
            by_writer: Cell::new(0),
            held: Cell::new(None),
            reported: Cell::new(0),
        })
    }

    /// After a commit, on the writer's thread.
    pub(super) fn after_commit(&self, writer: &Connection) {
        let (before, pages) = (self.pages.get(), self.log_pages(writer));
        if pages == before {
            return;
        }
        if pages < before {
            self.begins_anew();
        }
        self.pages.set(pages);
        match self.held.get() {
            _ if pages < self.bounds.get().bound => self.in_bounds(writer, pages),
            None => self.restart(writer),
            Some(next) if pages >= next => self.catch_up(writer),
            Some(_) => {}
        }
    }

    /// The database was opened again, and this is its log.
    pub(super) fn reopened(&self, log: LogFile, bounds: Bounds) {
        self.log.replace(log);
        self.bounds.set(bounds);
        self.pages.set(0);
        self.begins_anew();
    }

    /// Whether the log has reached the limit and still cannot be moved.
    pub(super) fn is_full(&self, writer: &Connection) -> bool {
        if self.pages.get() < self.bounds.get().limit {
            return false;
        }
        self.restart(writer);
        self.held.get().is_some()
    }

    /// To be held while the writer writes, where a checkpoint must not run at the same time.
    pub(super) fn keep_out(&self) -> Option<MutexGuard<'_, ()>> {
        self.is_apart.then(|| self.progress.checkpoint.lock())
    }

    /// Should the file be unreadable, as many as make a checkpoint worth it are taken to be new.
    fn log_pages(&self, writer: &Connection) -> c_int {
        self.log.borrow_mut().pages().unwrap_or_else(|error| {
            let database = writer.path();
            tracing::warn!(store = fault::NAME, database, %error, "the length of the write-ahead log cannot be read");
            self.pages.get().saturating_add(WORTHWHILE)
        })
    }

    /// For those who do much and have time: after what they did is moved, as far as readers let it. So their pages
    /// are brought to the disk little by little, and others who write wait for few of them.
    pub(super) fn tell_after(&self, told: Told) {
        match self.left() >= LITTLE {
            true => self.ask(told),
            false => told(true),
        }
    }

    fn begins_anew(&self) {
        for at in [&self.begun, &self.paused, &self.by_writer] {
            at.set(0);
        }
        self.progress.moved.store(0, Ordering::Relaxed);
        self.held.set(None);
        if self.reported.take() > 0 {
            tracing::info!(store = fault::NAME, "the write-ahead log is moved into the file again");
        }
    }

    fn in_bounds(&self, writer: &Connection, pages: c_int) {
        let is_little = self.left() <= LITTLE;
        let since = |at: &Cell<c_int>| pages - at.get();
        let is_synced = since(&self.paused) < UNSYNCED;
        // The sooner little is left, the sooner the file is synced.
        let worthwhile = if is_synced { WORTHWHILE } else { LITTLE };
        let begins_anew = pages >= self.bounds.get().many && is_little && is_synced;
        if begins_anew && since(&self.by_writer) >= LITTLE {
            self.by_writer.set(pages);
            self.keep(checkpoint(writer, PASSIVE));
        } else if is_little && !is_synced && !self.is_busy() {
            // A reader of an older state is in the way: again soon.
            let is_in_vain = self.wait_for_thread(MOMENT) == Some(false);
            self.paused.set(if is_in_vain { pages - UNSYNCED + SOON } else { pages });
        } else if self.left() >= BEHIND {
            self.begun.set(pages);
            self.wait_for_thread(PATIENCE);
        } else if self.left() >= worthwhile && since(&self.begun) >= worthwhile {
            self.begun.set(pages);
            self.ask(Box::new(|_| ()));
        }
    }

    /// Moves all that is left, so that the next commit begins the log anew; or finds it held.
    fn restart(&self, writer: &Connection) {
        let _checkpoint = self.progress.checkpoint.lock();
        // PASSIVE first: it lets other programs write meanwhile.
        let is_moved = self.keep(patiently(|| checkpoint(writer, PASSIVE))) && {
            // It fails only for a timeout that does not fit: i32 milliseconds.
            let _ = writer.busy_timeout(PATIENCE);
            checkpoint(writer, RESTART).is_some_and(|done| !done.is_blocked)
        };
        match is_moved {
            true => self.held.set(None),
            false => self.is_held(writer),
        }
    }

    /// After a reader that held the log: the thread moves it, and the writer leaves it some time after each commit.
    fn catch_up(&self, writer: &Connection) {
        let few = 4 * LITTLE;
        let is_under_way = self.left() > few && self.wait_for_thread(PATIENCE).is_none();
        if self.left() <= few {
            self.restart(writer);
        } else if is_under_way {
            self.held.set(Some(0));
        } else {
            self.is_held(writer);
        }
    }

    /// Reports it with each doubling.
    fn is_held(&self, writer: &Connection) {
        let pages = self.pages.get();
        self.held.set(Some(pages.saturating_add(LITTLE)));
        if pages >= (self.reported.get().saturating_mul(2)).max(self.bounds.get().bound / 4 * 5) {
            self.reported.set(pages);
            tracing::warn!(
                store = fault::NAME,
                database = writer.path(),
                pages,
                limit = self.bounds.get().limit,
                "the write-ahead log grows: a reader stays in one transaction and holds it; find the program (`fuser` \
                 names those that have the file open) and end it",
            );
        }
    }

    /// Pages that are not moved yet.
    fn left(&self) -> c_int {
        self.pages.get() - self.progress.moved.load(Ordering::Relaxed)
    }

    fn is_busy(&self) -> bool {
        self.progress.is_busy.load(Ordering::Relaxed)
    }

    /// Notes how far the writer's own checkpoint came; whether it has moved all.
    fn keep(&self, done: Option<Checkpoint>) -> bool {
        done.is_some_and(|done| {
            self.progress.moved.store(done.pages, Ordering::Relaxed);
            done.is_all
        })
    }

    /// Has the thread do a checkpoint, and waits for it no longer than this; whether it has moved all pages.
    fn wait_for_thread(&self, most: Duration) -> Option<bool> {
        let (tell, told) = mpsc::sync_channel(1);
        self.ask(Box::new(move |all| {
            // The writer may not wait any more.
            let _ = tell.try_send(all);
        }));
        told.recv_timeout(most).ok()
    }

    fn ask(&self, told: Told) {
        // Where the thread is gone nothing is moved, and what was done is done all the same.
        if let Some(Err(SendError(told))) = self.asked.as_ref().map(|asked| asked.send(told)) {
            told(false);
        }
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.asked = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn keep_up(connection: &Shared, asks: &Receiver<Told>, progress: &Progress) {
    while let Ok(first) = asks.recv() {
        progress.is_busy.store(true, Ordering::Relaxed);
        // One for all who asked by now.
        let all: Vec<Told> = [first].into_iter().chain(asks.try_iter()).collect();
        let done = {
            let connection = connection.lock();
            let _checkpoint = progress.checkpoint.lock();
            let done = checkpoint(&connection, PASSIVE);
            if let Some(done) = done {
                progress.moved.store(done.pages, Ordering::Relaxed);
            }
            done
        };
        progress.is_busy.store(false, Ordering::Relaxed);
        let is_all = done.is_some_and(|done| done.is_all);
        all.into_iter().for_each(|told| told(is_all));
    }
}

/// Moves what readers leave free, once. For a log that no thread works on any more.
pub(super) fn move_all(connection: &Connection) {
    // A failure is logged, and nothing else can be done for a file that has lost its name.
    let _ = checkpoint(connection, PASSIVE);
}

/// Whether this version of SQLite may damage the file when a write resets the log beside a checkpoint of another
/// connection (<https://www.sqlite.org/wal.html#walresetbug>).
pub(super) fn has_reset_bug(version: i32) -> bool {
    let is_mended = version >= 3_051_003
        || (3_050_007..3_051_000).contains(&version)
        || (3_044_006..3_045_000).contains(&version);
    !is_mended
}

/// Tries again for a while when another program does a checkpoint.
fn patiently(checkpoint: impl Fn() -> Option<Checkpoint>) -> Option<Checkpoint> {
    let until = Instant::now() + PATIENCE;
    loop {
        let done = checkpoint();
        if done.is_some() || Instant::now() >= until {
            return done;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// What a checkpoint found.
#[derive(Clone, Copy)]
struct Checkpoint {
    /// Pages of the log that are moved by now.
    pages: c_int,
    /// Whether these are all that there were when it began.
    is_all: bool,
    /// Whether a lock kept it from doing all that its mode means.
    is_blocked: bool,
}

/// `None` when it could not begin: another program does one, or it failed. Nothing is lost then: the next one does
/// its work.
fn checkpoint(connection: &Connection, statement: &'static str) -> Option<Checkpoint> {
    sql::log(connection, statement);
    let done = connection.query_row(statement, [], |row| {
        let (is_blocked, there, pages): (bool, c_int, c_int) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok((pages >= 0).then_some(Checkpoint { pages, is_all: pages == there, is_blocked }))
    });
    done.unwrap_or_else(|error| {
        let database = connection.path();
        tracing::warn!(store = fault::NAME, database, %error, "the write-ahead log could not be moved into the file");
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_versions_with_the_reset_bug_are_known() {
        for (version, has_bug) in [
            (3_046_000, true),
            (3_050_002, true),
            (3_051_002, true),
            (3_044_006, false),
            (3_050_007, false),
            (3_051_003, false),
            (3_054_001, false),
        ] {
            assert_eq!(has_reset_bug(version), has_bug, "{version}");
        }
    }

    /// [R20] The bound is one of bytes, whatever the size of a page.
    #[test]
    fn the_bound_is_in_bytes() {
        for page_size in [512, 4_096, 65_536] {
            let bounds = Bounds::new(page_size, 0);
            assert_eq!(u64::try_from(bounds.bound).unwrap() * page_size, BOUND);
            assert!(bounds.many < bounds.bound && bounds.limit == bounds.bound);
        }
    }
}
