//! What SQLite reports, as the store's errors: what is wrong, where, and what would be right.

use std::path::PathBuf;
use std::time::Duration;

use rusqlite::ErrorCode;
use rusqlite::ffi::SQLITE_IOERR_SHMSIZE;

use crate::store::StoreError;
use crate::store::percent::encoded;

pub(super) const NAME: &str = "sqlite";

/// Which database and which table: what a message about it has to name.
#[derive(Debug)]
pub(super) struct Place {
    /// `None` in memory.
    pub(super) file: Option<PathBuf>,
    pub(super) table: String,
    pub(super) busy_timeout: Duration,
}

impl Place {
    /// The error for what SQLite said while it was to `action`.
    pub(super) fn error(&self, action: &str, error: rusqlite::Error) -> StoreError {
        let Some(failure) = failure(&error) else {
            return backend(action, error);
        };
        match failure.code {
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => self.locked(Some(error)),
            ErrorCode::DiskFull => self.full(error),
            _ if failure.extended_code == SQLITE_IOERR_SHMSIZE => self.full(error),
            ErrorCode::CannotOpen => unavailable(
                format!("{} cannot be opened, look at the rights on it and its directory", self.shown()),
                Some(error),
            ),
            ErrorCode::ReadOnly => backend(
                &format!("{action}: {} is read-only, make the file and its directory writable", self.shown()),
                error,
            ),
            ErrorCode::NotADatabase => {
                backend(&format!("{action}: {} is not a SQLite database", self.shown()), error)
            }
            // What a trigger or a constraint says has other codes.
            ErrorCode::Unknown => self.schema(&error.to_string()).unwrap_or_else(|| backend(action, error)),
            _ => backend(action, error),
        }
    }

    /// Somebody else held the lock for the whole busy timeout.
    pub(super) fn locked(&self, source: Option<rusqlite::Error>) -> StoreError {
        let waited = self.busy_timeout.as_millis();
        unavailable(format!("{} is locked by another writer, waited {waited} ms", self.shown()), source)
    }

    /// A reader has held the write-ahead log until it reached its limit.
    pub(super) fn log_is_full(&self) -> StoreError {
        let reason = format!(
            "the write-ahead log of {} has reached max_log_bytes, because a reader stays in one transaction: find the \
             program (`fuser` names those that have the file open) and end it",
            self.shown()
        );
        StoreError::Full { store: NAME, reason, source: None }
    }

    fn full(&self, source: rusqlite::Error) -> StoreError {
        StoreError::Full {
            store: NAME,
            reason: format!("no room for {}, free some on its disk or raise max_page_count", self.shown()),
            source: Some(source.into()),
        }
    }

    /// What SQLite says of a table that is not there or not ours. It has no code for that.
    fn schema(&self, message: &str) -> Option<StoreError> {
        if message.starts_with("no such table") {
            return Some(self.no_table());
        }
        let column = message
            .strip_prefix("no such column: ")
            .or_else(|| message.split_once(" has no column named ").map(|(_, column)| column));
        if let Some(column) = column {
            return Some(self.no_column(column.split(' ').next().unwrap_or(column)));
        }
        message.starts_with("ON CONFLICT clause does not match").then(|| self.id_not_unique())
    }

    pub(super) fn no_table(&self) -> StoreError {
        StoreError::Schema {
            problem: format!("no table {:?} in {}", self.table, self.shown()),
            remedy: self.init(),
        }
    }

    pub(super) fn no_file(&self) -> StoreError {
        StoreError::Schema {
            problem: format!("no database file {}", self.shown()),
            remedy: match self.url() {
                Some(url) => format!("run `sessile init --store {url}` to make one, or name another store"),
                None => "name another store".to_owned(),
            },
        }
    }

    pub(super) fn no_column(&self, column: &str) -> StoreError {
        StoreError::Schema {
            problem: format!("no column {column:?} in the table {:?} in {}", self.table, self.shown()),
            remedy: "add it, or name another table: the columns are id, user_id, data, created_at, \
                expires_at and updated_at"
                .to_owned(),
        }
    }

    fn id_not_unique(&self) -> StoreError {
        StoreError::Schema {
            problem: format!(
                "the column \"id\" of the table {:?} in {} is neither primary key nor unique",
                self.table,
                self.shown()
            ),
            remedy: "make a unique index on it".to_owned(),
        }
    }

    /// The database for people.
    pub(super) fn shown(&self) -> String {
        match &self.file {
            Some(file) => file.display().to_string(),
            None => "the memory database".to_owned(),
        }
    }

    /// What makes the table and the indexes that are missing.
    pub(super) fn init(&self) -> String {
        match self.url() {
            Some(url) => format!("run `sessile init --store {url}`, or call `init()`"),
            None => "call `init()`".to_owned(),
        }
    }

    /// The URL to type into a shell.
    fn url(&self) -> Option<String> {
        let file = self.file.as_ref()?.display();
        let url = match &*self.table {
            "sessions" => format!("sqlite:{file}"),
            table => format!("sqlite:{file}?table={}", encoded(table)),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:".contains(c);
        Some(if url.chars().all(plain) { url } else { format!("'{}'", url.replace('\'', r"'\''")) })
    }
}

fn failure(error: &rusqlite::Error) -> Option<&rusqlite::ffi::Error> {
    match error {
        rusqlite::Error::SqliteFailure(failure, _) => Some(failure),
        rusqlite::Error::SqlInputError { error, .. } => Some(error),
        _ => None,
    }
}

/// Whether somebody else holds the lock.
pub(super) fn is_locked(error: &rusqlite::Error) -> bool {
    let code = failure(error).map(|failure| failure.code);
    matches!(code, Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// Whether a row with that id is there already.
pub(super) fn is_taken(error: &rusqlite::Error) -> bool {
    use rusqlite::ffi::{SQLITE_CONSTRAINT_PRIMARYKEY, SQLITE_CONSTRAINT_UNIQUE};
    let code = failure(error).map(|failure| failure.extended_code);
    matches!(code, Some(SQLITE_CONSTRAINT_PRIMARYKEY | SQLITE_CONSTRAINT_UNIQUE))
}

pub(super) fn unavailable(reason: impl Into<String>, source: Option<rusqlite::Error>) -> StoreError {
    StoreError::Unavailable { store: NAME, reason: reason.into(), source: source.map(Into::into) }
}

pub(super) fn backend(
    action: &str,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> StoreError {
    StoreError::Backend { store: NAME, action: action.to_owned(), source: source.into() }
}
