//! Opens the database again after it was deleted or replaced; see [`files`](super::files).

use std::sync::Arc;
use std::time::Duration;

use parking_lot::MutexGuard;
use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::checkpoint::{self, Bounds};
use super::files::{Files, Seen, incomplete};
use super::log_file::LogFile;
use super::reader::Shared;
use crate::store::StoreError;

/// How long the writer waits for each connection that is in use; then it tries again with the next job.
const PATIENCE: Duration = Duration::from_secs(1);

/// All connections to one file, and what belongs to its log.
pub(super) struct Opened {
    /// The writer's is the last: the one that is closed last tidies the log away.
    pub(super) connections: Vec<Connection>,
    pub(super) log: LogFile,
    pub(super) bounds: Bounds,
}

/// The connections of a store, and how to open them again.
pub(super) struct Reopener {
    pub(super) files: Arc<Files>,
    /// In the order of [`Opened::connections`].
    pub(super) connections: Vec<Shared>,
    pub(super) open: Box<dyn Fn() -> Result<Opened, StoreError> + Send>,
}

impl Reopener {
    /// Whether the file is the one that is open. If it was replaced, opens the new one and returns its log. To be
    /// called with no connection locked.
    ///
    /// # Errors
    /// When there is no whole database with that name.
    pub(super) fn ready(&self) -> Result<Option<(LogFile, Bounds)>, StoreError> {
        if self.files.look().is_ok() {
            return Ok(None);
        }
        match self.files.seen() {
            Seen::DatabaseDeleted => Err(self.files.error()),
            // It was moved away and back.
            Seen::Same if !self.is_closed() => {
                self.files.found();
                Ok(None)
            }
            _ => match incomplete(self.files.path()) {
                Some(problem) => {
                    Err(self.refuse(format!("was replaced while the service had it open: {problem}")))
                }
                None => self.reopen().map(Some),
            },
        }
    }

    /// Prepares the connections to be closed.
    pub(super) fn abandon(&self) {
        let is_ours = self.files.log_is_ours();
        let mut locked: Vec<_> = self.connections.iter().map(|it| it.lock()).collect();
        self.move_log(&mut locked);
        for connection in locked.iter().filter(|_| !is_ours) {
            keep_log(connection);
        }
    }

    /// SQLite does not move the log of a file that has another name by now, or none: it might delete another log.
    /// What was acknowledged belongs into the file, wherever that is; and our log must not be taken for that of
    /// another database.
    fn move_log(&self, locked: &mut [MutexGuard<'_, Connection>]) {
        if let (Seen::DatabaseDeleted | Seen::DatabaseReplaced, Some(writer)) =
            (self.files.seen(), locked.last())
        {
            checkpoint::move_all(writer);
            self.files.remove_log();
        }
    }

    fn reopen(&self) -> Result<(LogFile, Bounds), StoreError> {
        let locked: Option<Vec<_>> = self.connections.iter().map(|it| it.try_lock_for(PATIENCE)).collect();
        let mut locked = locked.ok_or_else(|| self.files.error())?;
        // All of them before the first is opened: connections of one process to one file share the log's index.
        self.move_log(&mut locked);
        let is_ours = self.files.log_is_ours();
        for connection in &mut locked {
            close(connection, is_ours).map_err(|error| self.refuse(format!("cannot be closed: {error}")))?;
        }
        let opened =
            (self.open)().map_err(|error| self.refuse(format!("cannot be opened again: {error}")))?;
        for (slot, connection) in locked.iter_mut().zip(opened.connections) {
            **slot = connection;
        }
        self.files.found();
        Ok((opened.log, opened.bounds))
    }

    fn refuse(&self, problem: String) -> StoreError {
        self.files.lose(problem);
        self.files.error()
    }

    /// Whether an attempt to open the database has failed.
    fn is_closed(&self) -> bool {
        self.connections.iter().any(|it| it.lock().path().is_none_or(str::is_empty))
    }
}

/// Puts an empty database in memory in its place. No statement runs there while the file is lost.
fn close(connection: &mut MutexGuard<'_, Connection>, is_ours: bool) -> rusqlite::Result<()> {
    if !is_ours {
        keep_log(connection);
    }
    **connection = Connection::open_in_memory()?;
    Ok(())
}

/// The connection that is closed last deletes the log by its name. That must not be the log of other programs.
fn keep_log(connection: &Connection) {
    if let Err(error) = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true) {
        tracing::error!(store = super::fault::NAME, %error, "closing may delete the log of another database");
    }
}
