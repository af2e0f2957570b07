//! Checkpoints: moves what was committed from the write-ahead log into the file, beside the writer.
//!
//! SQLite itself would do it inside of the commit that makes the log a thousand pages long, and everybody
//! who writes would wait for it. Here a thread of its own does it, on a connection of its own, in the mode
//! that waits for nobody and lets nobody wait.
//!
//! Two things need the writer. SQLite brings the file to the disk only after a checkpoint behind which no commit
//! came in, and whoever does the first one after many that were not so waits for all their pages: so from time to
//! time, when little is left to move, the writer holds still for the moment that this takes, and goes on while the
//! disk works. And the log begins anew only after a commit that finds all of it moved: when it is long and little
//! is left, the writer moves that itself.

use std::cell::Cell;
use std::ffi::c_int;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::mpsc::{self, Receiver, SendError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::hooks::Wal;

use super::fault;

/// Pages to be moved that make a checkpoint worth it: as many as with SQLite's own default.
const WORTHWHILE: c_int = 1_000;

/// Pages that are moved in a moment.
const LITTLE: c_int = 256;

/// Pages after which the file is brought to the disk: what a disk writes in some tens of milliseconds, while it has
/// to serve commits as well.
const UNSYNCED: c_int = 1_024;

/// Pages after which that is tried again.
const SOON: c_int = 64;

/// How long the writer holds still for that.
const MOMENT: Duration = Duration::from_millis(3);

/// Pages in the log, 32 MiB of them, from which on it is to begin anew.
const MANY: c_int = 8_192;

/// Pages in the log, 40 MiB of them, from which on that is worth a wait.
const TOO_MANY: c_int = MANY + MANY / 4;

const CHECKPOINT: &str = "PRAGMA wal_checkpoint(PASSIVE)";

thread_local! {
    /// Pages in the log after the last commit of this thread; zero once that was looked at.
    static PAGES: Cell<c_int> = const { Cell::new(0) };
}

/// Has the pages counted on the writer's thread, and SQLite no longer act on them.
pub(super) fn count(writer: &Connection) {
    writer.wal_hook(Some(note));
}

fn note(_: &Wal, pages: c_int) -> rusqlite::Result<()> {
    PAGES.set(pages);
    Ok(())
}

/// What is done after a checkpoint, which has moved all pages, or not.
pub(super) type Told = Box<dyn FnOnce(bool) + Send>;

/// The handle to the thread. Dropping it ends the thread and closes its connection.
pub(super) struct Checkpoints {
    asked: Option<Sender<Told>>,
    thread: Option<JoinHandle<()>>,
    progress: Arc<Progress>,
    /// Pages in the log, now and when each of these was last begun: a checkpoint on the thread, one for which the
    /// writer held still, one by the writer.
    pages: Cell<c_int>,
    begun: Cell<c_int>,
    held_still: Cell<c_int>,
    by_writer: Cell<c_int>,
}

/// How far the thread is.
#[derive(Default)]
struct Progress {
    /// Pages of the log that are moved. Those of the log before for a while, when it begins anew in the moment in
    /// which they are told: the next checkpoint puts that right.
    moved: AtomicI32,
    is_busy: AtomicBool,
}

impl Checkpoints {
    pub(super) fn start(connection: Connection) -> io::Result<Checkpoints> {
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
            pages: Cell::new(0),
            begun: Cell::new(0),
            held_still: Cell::new(0),
            by_writer: Cell::new(0),
        })
    }

    /// After a commit, on the writer's thread.
    pub(super) fn after_commit(&self, writer: &Connection) {
        let pages = PAGES.take();
        if pages == 0 {
            return;
        }
        if pages < self.pages.get() {
            // The log has begun anew.
            [&self.begun, &self.held_still, &self.by_writer].iter().for_each(|at| at.set(0));
            self.progress.moved.store(0, Ordering::Relaxed);
        }
        self.pages.set(pages);
        let is_little = self.left() <= LITTLE;
        let since = |at: &Cell<c_int>| pages - at.get();
        let is_synced = since(&self.held_still) < UNSYNCED;
        // The sooner little is left, the sooner the file is synced.
        let worthwhile = if is_synced { WORTHWHILE } else { LITTLE };
        let begins_anew = pages >= TOO_MANY || pages >= MANY && is_little && is_synced;
        if begins_anew && since(&self.by_writer) >= LITTLE {
            self.by_writer.set(pages);
            if let Some(Moved { pages, .. }) = checkpoint(writer) {
                self.progress.moved.store(pages, Ordering::Relaxed);
            }
        } else if is_little && !is_synced && !self.is_busy() {
            let (tell, told) = mpsc::sync_channel(1);
            self.ask(Box::new(move |all| {
                // Nobody may wait for it any more.
                let _ = tell.try_send(all);
            }));
            // Who still reads an older state is in the way: again soon.
            let is_in_vain = told.recv_timeout(MOMENT) == Ok(false);
            self.held_still.set(if is_in_vain { pages - UNSYNCED + SOON } else { pages });
        } else if self.left() >= worthwhile && since(&self.begun) >= worthwhile {
            self.begun.set(pages);
            self.ask(Box::new(|_| ()));
        }
    }

    /// For those who do much and have time: after what they did is moved, as far as readers let it. So their pages
    /// are brought to the disk little by little, and others who write wait for few of them.
    pub(super) fn tell_after(&self, told: Told) {
        match self.left() >= LITTLE {
            true => self.ask(told),
            false => told(true),
        }
    }

    /// Pages that are not moved yet.
    fn left(&self) -> c_int {
        self.pages.get() - self.progress.moved.load(Ordering::Relaxed)
    }

    fn is_busy(&self) -> bool {
        self.progress.is_busy.load(Ordering::Relaxed)
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

fn keep_up(connection: &Connection, asks: &Receiver<Told>, progress: &Progress) {
    while let Ok(first) = asks.recv() {
        progress.is_busy.store(true, Ordering::Relaxed);
        // One for all who asked by now.
        let all: Vec<Told> = [first].into_iter().chain(asks.try_iter()).collect();
        let moved = checkpoint(connection);
        if let Some(Moved { pages, .. }) = moved {
            progress.moved.store(pages, Ordering::Relaxed);
        }
        progress.is_busy.store(false, Ordering::Relaxed);
        let is_all = moved.is_some_and(|moved| moved.is_all);
        all.into_iter().for_each(|told| told(is_all));
    }
}

/// What a checkpoint found.
#[derive(Clone, Copy)]
struct Moved {
    /// Pages of the log that are moved by now.
    pages: c_int,
    /// Whether these are all that there were when it began.
    is_all: bool,
}

/// One that fails loses nothing: the next one does its work.
fn checkpoint(connection: &Connection) -> Option<Moved> {
    let moved = connection.query_row(CHECKPOINT, [], |row| {
        let (there, pages): (c_int, c_int) = (row.get(1)?, row.get(2)?);
        Ok(Moved { pages, is_all: pages == there })
    });
    if let Err(error) = &moved {
        tracing::warn!(store = fault::NAME, %error, "the write-ahead log could not be moved into the file");
    }
    moved.ok()
}
