//! Checkpoints: moves what was committed from the write-ahead log into the file, beside the writer.
//!
//! SQLite itself would do it inside of the commit that makes the log a thousand pages long, and everybody
//! who writes would wait for it. Here a thread of its own does it, on a connection of its own, in the mode
//! that waits for nobody and lets nobody wait. Only when that falls far behind does the writer do it itself,
//! so that the log stays bounded.

use std::cell::Cell;
use std::ffi::c_int;
use std::io;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::{self, JoinHandle};

use rusqlite::Connection;
use rusqlite::hooks::Wal;

use super::{fault, sql};

/// Pages that have come into the log since the last checkpoint and make another one worth it: as many as
/// with SQLite's own default.
const WORTHWHILE: c_int = 1_000;

/// Pages in the log, 32 MiB of them, from which on the writer takes part: it alone can see to it that no
/// commit comes in between, after which the log begins anew.
const MANY: c_int = 8_192;

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

/// The handle to the thread. Dropping it ends the thread and closes its connection.
pub(super) struct Checkpoints {
    wake: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    /// Pages in the log at the last checkpoint.
    before: Cell<c_int>,
}

impl Checkpoints {
    pub(super) fn start(connection: Connection) -> io::Result<Checkpoints> {
        let (wake, woken) = mpsc::sync_channel(1);
        let thread = thread::Builder::new()
            .name("sessile-sqlite-log".to_owned())
            .spawn(move || keep_up(&connection, &woken))?;
        Ok(Checkpoints { wake: Some(wake), thread: Some(thread), before: Cell::new(0) })
    }

    /// After a commit, on the writer's thread.
    pub(super) fn after_commit(&self, writer: &Connection) {
        let pages = PAGES.take();
        if pages == 0 {
            return;
        }
        // Fewer than before: the log has begun anew.
        let before = if pages < self.before.get() { 0 } else { self.before.get() };
        if pages - before < WORTHWHILE {
            self.before.set(before);
            return;
        }
        self.before.set(pages);
        if pages >= MANY {
            checkpoint(writer);
        } else if let Some(wake) = &self.wake {
            // Full: one is on its way already.
            let _ = wake.try_send(());
        }
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn keep_up(connection: &Connection, woken: &Receiver<()>) {
    while woken.recv().is_ok() {
        checkpoint(connection);
    }
}

/// A checkpoint that fails loses nothing: the next one does its work.
fn checkpoint(connection: &Connection) {
    if let Err(error) = sql::value::<i64>(connection, CHECKPOINT) {
        tracing::warn!(store = fault::NAME, %error, "the write-ahead log could not be moved into the file");
    }
}
