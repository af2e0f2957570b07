//! What PostgreSQL and the way to it report, as the store's errors: what is wrong, where, and what
//! would be right. Never what a row holds: the server's own details (`Failing row contains …`) are left
//! out, and so is the password.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use tokio_postgres::error::{DbError, Severity, SqlState};

use crate::record::InvalidUserId;
use crate::store::StoreError;
use crate::store::limit::TimeLimit;
use crate::store::tls;
use crate::store::url::for_shell;
use crate::store::user_column::UserColumn;

pub(super) const NAME: &str = "postgres";

const ADD_COLUMN: &str = "add it, or name another table: the columns are id, user_id, data, created_at, \
    expires_at and updated_at";

const POOLED: &str =
    "a pooler in transaction mode (such as PgBouncer's pool_mode = transaction) is in between";

/// Which database and which table: what a message about it has to name.
#[derive(Debug)]
pub(super) struct Place {
    /// `host:port/database`.
    pub(super) server: String,
    /// The store URL without its password.
    pub(super) url: String,
    /// With its schema, where one was named.
    pub(super) table: String,
    /// How long an answer may take.
    pub(super) limit: TimeLimit,
    /// How long a write waits for a row that somebody else has locked.
    pub(super) lock_wait: Duration,
    /// How wide `user_id` is.
    pub(super) user: UserColumn,
}

/// What went wrong. It can be told to many callers, which an error cannot.
#[derive(Debug, Clone)]
pub(super) enum Fault {
    /// There is no connection, and nothing was sent.
    Away(String),
    /// The connection broke with the answer outstanding.
    Cut(String),
    /// No answer in time.
    Slow,
    /// The server refused.
    Refused(Refusal),
    /// A pooler serves each transaction by another process of the server, and the store was not told to expect
    /// that.
    Pooled,
    /// The column does not hold the user id: nothing was sent, or the server refused it.
    UserId(InvalidUserId),
    /// Anything else, such as an answer that makes no sense.
    Other(String),
}

/// The server's own words, without its details.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) code: SqlState,
    message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (SQLSTATE {})", self.message, self.code.code())
    }
}

impl Error for Refusal {}

impl From<tokio_postgres::Error> for Fault {
    fn from(error: tokio_postgres::Error) -> Fault {
        if let Some(said) = error.as_db_error() {
            let message = said.message().to_owned();
            return match ends_the_connection(said) {
                true => Fault::Cut(message),
                false => Fault::Refused(Refusal { code: said.code().clone(), message }),
            };
        }
        let words = match tls::explained(&error) {
            Some(explained) => explained.to_owned(),
            None => words(&error),
        };
        if error.is_closed() || error.source().is_some_and(|source| source.is::<io::Error>()) {
            return Fault::Cut(words);
        }
        Fault::Other(words)
    }
}

fn ends_the_connection(said: &DbError) -> bool {
    (matches!(said.parsed_severity(), Some(Severity::Fatal | Severity::Panic)) && !lets_nobody_in(said.code()))
        || said.code().code().starts_with("08")
        // A standby that was a primary: another connection may find the new one.
        || *said.code() == SqlState::READ_ONLY_SQL_TRANSACTION
}

/// Invalid authorization; invalid catalog name, which is a database that is not there.
fn lets_nobody_in(code: &SqlState) -> bool {
    matches!(&code.code()[..2], "28" | "3D")
}

/// Whether the other end may have refused a connection because of the options of its startup message: a server that
/// does not know a setting, a pooler that takes none. Poolers have no code of their own for it, and the text is not
/// looked at: a connection without options shows whether they were the cause.
pub(super) fn may_refuse_options(error: &tokio_postgres::Error) -> bool {
    let Some(said) = error.as_db_error() else { return false };
    let code = said.code();
    *code == SqlState::UNDEFINED_OBJECT
        || *code == SqlState::FEATURE_NOT_SUPPORTED
        // Class 08: connection exceptions.
        || code.code().starts_with("08")
}

/// An error with its causes, in one line.
pub(super) fn words(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}

impl Fault {
    /// What happened, for people.
    pub(super) fn words(&self) -> String {
        match self {
            Fault::Away(why) | Fault::Cut(why) | Fault::Other(why) => why.clone(),
            Fault::Slow => "no answer".to_owned(),
            Fault::Pooled => POOLED.to_owned(),
            Fault::UserId(error) => error.to_string(),
            Fault::Refused(refusal) => refusal.to_string(),
        }
    }

    /// Whether the database undid the write for the sake of others: it may be tried again at once.
    pub(super) fn is_collision(&self) -> bool {
        self.is(&[SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED])
    }

    /// Whether somebody else held the lock for too long.
    pub(super) fn is_locked(&self) -> bool {
        self.is(&[SqlState::LOCK_NOT_AVAILABLE])
    }

    /// Whether a row with that id is there already.
    pub(super) fn is_taken(&self) -> bool {
        self.is(&[SqlState::UNIQUE_VIOLATION])
    }

    /// Whether a prepared statement may no longer be what it was: nothing was done, and preparing it again
    /// helps. The columns of its result have changed (`FEATURE_NOT_SUPPORTED`; whatever else that may mean is
    /// still so the second time), or the server has forgotten it.
    pub(super) fn is_stale(&self) -> bool {
        self.is(&[SqlState::FEATURE_NOT_SUPPORTED, SqlState::INVALID_SQL_STATEMENT_NAME])
    }

    /// Whether a text was longer than its column.
    pub(super) fn is_too_long(&self) -> bool {
        self.is(&[SqlState::STRING_DATA_RIGHT_TRUNCATION])
    }

    /// Whether the way to the server is what failed, so that nothing can be known of the statement.
    pub(super) fn is_outage(&self) -> bool {
        matches!(self, Fault::Away(_) | Fault::Cut(_) | Fault::Slow)
    }

    fn is(&self, codes: &[SqlState]) -> bool {
        matches!(self, Fault::Refused(refusal) if codes.contains(&refusal.code))
    }
}

impl Place {
    /// The error for what happened while the store was to `action`.
    pub(super) fn error(&self, action: &str, fault: Fault) -> StoreError {
        match fault {
            Fault::Away(why) => unavailable(format!("no connection to {}: {why}", self.server)),
            Fault::Cut(why) => unavailable(format!(
                "the connection to {} broke in the middle, a write may be made or not: {why}",
                self.server
            )),
            Fault::Slow => StoreError::Timeout { store: NAME, after: self.limit.length() },
            Fault::Pooled => self.pooled(),
            Fault::UserId(error) => error.into(),
            Fault::Other(what) => backend(action, what),
            Fault::Refused(refusal) => self.refused(action, refusal),
        }
    }

    fn refused(&self, action: &str, refusal: Refusal) -> StoreError {
        let code = &refusal.code;
        if *code == SqlState::UNDEFINED_TABLE || *code == SqlState::INVALID_SCHEMA_NAME {
            return self.no_table();
        }
        if *code == SqlState::UNDEFINED_COLUMN {
            return self.missing_column(&refusal);
        }
        if *code == SqlState::INVALID_COLUMN_REFERENCE {
            return self.id_not_unique();
        }
        if *code == SqlState::INSUFFICIENT_PRIVILEGE {
            return self.no_right(refusal.message);
        }
        if *code == SqlState::LOCK_NOT_AVAILABLE {
            return self.locked();
        }
        if *code == SqlState::DISK_FULL {
            let reason = format!("no room on the disk of {}: free some", self.server);
            return StoreError::Full { store: NAME, reason, source: Some(refusal.into()) };
        }
        if lets_nobody_in(code) {
            return StoreError::Refused {
                store: NAME,
                reason: format!("{}: {}", self.server, refusal.message),
                source: Some(refusal.into()),
            };
        }
        match &code.code()[..2] {
            // Insufficient resources; operator intervention; collisions that would not end.
            "53" | "57" | "40" => StoreError::Unavailable {
                store: NAME,
                reason: format!("{}: {}", self.server, refusal.message),
                source: Some(refusal.into()),
            },
            _ => backend(action, refusal),
        }
    }

    fn pooled(&self) -> StoreError {
        StoreError::Unsupported {
            store: NAME,
            problem: format!("{} is not the server itself: {POOLED}", self.server),
            remedy:
                "add ?pooler=transaction to the store URL, name the server itself, or a pool in session mode"
                    .to_owned(),
        }
    }

    pub(super) fn no_listening(&self) -> StoreError {
        StoreError::Unsupported {
            store: NAME,
            problem: format!("no feed of changes comes through {}: {POOLED}", self.server),
            remedy: "name the server itself for it: ?feed_url=, or PostgresOptions::feed_url".to_owned(),
        }
    }

    pub(super) fn no_schema(&self) -> StoreError {
        StoreError::Schema {
            problem: format!("the search_path in {} names no schema that is there", self.server),
            remedy: "name one in the store URL: ?schema=public".to_owned(),
        }
    }

    /// The error for a write whose row another transaction had locked all the time.
    pub(super) fn locked(&self) -> StoreError {
        let waited = self.lock_wait.as_millis();
        unavailable(format!("the row is locked by another transaction, waited {waited} ms"))
    }

    pub(super) fn no_table(&self) -> StoreError {
        StoreError::Schema {
            problem: format!("no table {} in {}", self.table, self.server),
            remedy: self.init(),
        }
    }

    /// Which one it is stands in the server's words alone, in the language that it is set to.
    fn missing_column(&self, refusal: &Refusal) -> StoreError {
        StoreError::Schema {
            problem: format!("the table {} in {} lacks a column: {refusal}", self.table, self.server),
            remedy: ADD_COLUMN.to_owned(),
        }
    }

    pub(super) fn no_column(&self, column: &str) -> StoreError {
        StoreError::Schema {
            problem: format!("no column {column:?} in the table {} in {}", self.table, self.server),
            remedy: ADD_COLUMN.to_owned(),
        }
    }

    pub(super) fn wrong_column(&self, column: &str, is: &str, wanted: &str) -> StoreError {
        StoreError::Schema {
            problem: format!(
                "the column {column:?} of the table {} in {} is of type {is}",
                self.table, self.server
            ),
            remedy: format!("make it {wanted}"),
        }
    }

    pub(super) fn id_not_unique(&self) -> StoreError {
        StoreError::Schema {
            problem: format!(
                "the column \"id\" of the table {} in {} is neither primary key nor unique",
                self.table, self.server
            ),
            remedy: "make a unique index on it".to_owned(),
        }
    }

    pub(super) fn no_right(&self, problem: String) -> StoreError {
        StoreError::Schema {
            problem: format!("{problem} in {}", self.server),
            remedy: format!(
                "as its owner: GRANT SELECT, INSERT, UPDATE, DELETE ON {} TO the user of the URL",
                self.table
            ),
        }
    }

    /// What makes the table and the indexes that are missing.
    pub(super) fn init(&self) -> String {
        format!("run `sessile init --store {}`, or call `init()`", for_shell(&self.url))
    }

    pub(super) fn no_feed(&self) -> StoreError {
        StoreError::Schema {
            problem: format!(
                "the table {} in {} does not tell of its changes: its triggers are missing or switched off",
                self.table, self.server
            ),
            remedy: format!(
                "run `sessile init --feed --store {}`, or call `init_feed()`",
                for_shell(&self.url)
            ),
        }
    }
}

pub(super) fn unavailable(reason: impl Into<String>) -> StoreError {
    StoreError::Unavailable { store: NAME, reason: reason.into(), source: None }
}

pub(super) fn backend(action: &str, source: impl Into<Box<dyn Error + Send + Sync>>) -> StoreError {
    StoreError::Backend { store: NAME, action: action.to_owned(), source: source.into() }
}
