//! What can go wrong in a store: what was wrong, what would be right, and the cause.

use std::error::Error;
use std::time::Duration;

use super::SettingError;
use super::group::Unanswered;
use crate::record::{InvalidUserId, SessionId, Visible};

type Source = Box<dyn Error + Send + Sync>;

/// A store could not do what it was asked.
///
/// None of these means "no such session", and none contains data or a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The store cannot be reached, is locked by somebody else or has stopped. Worth trying again.
    #[error("the {store} store is not available: {}", Visible(.reason))]
    Unavailable {
        /// [`SessionStore::name`](super::SessionStore::name).
        store: &'static str,
        /// What was seen.
        reason: String,
        /// The cause.
        #[source]
        source: Option<Source>,
    },

    /// No answer within the deadline. The write may or may not have been made.
    #[error("the {store} store did not answer within {} ms", .after.as_millis())]
    Timeout {
        /// [`SessionStore::name`](super::SessionStore::name).
        store: &'static str,
        /// The deadline.
        after: Duration,
    },

    /// No room left: on the disk, or in a bounded store. Reads still work.
    #[error("the {store} store is full: {}", Visible(.reason))]
    Full {
        /// [`SessionStore::name`](super::SessionStore::name).
        store: &'static str,
        /// What was full, and what would help.
        reason: String,
        /// The cause.
        #[source]
        source: Option<Source>,
    },

    /// The server does not let us in: a wrong user, password or database. Trying again does not help.
    #[error(
        "the {store} server does not let us in: {} (check user, password and database in the store URL)",
        Visible(.reason)
    )]
    Refused {
        /// [`SessionStore::name`](super::SessionStore::name).
        store: &'static str,
        /// Which server, and its own words.
        reason: String,
        /// The cause.
        #[source]
        source: Option<Source>,
    },

    /// The server, or what lies in front of it, is of a kind or in a mode that this store cannot work with.
    #[error("the {store} store cannot work here: {problem} ({remedy})")]
    Unsupported {
        /// [`SessionStore::name`](super::SessionStore::name).
        store: &'static str,
        /// What was found.
        problem: String,
        /// What would put it right.
        remedy: String,
    },

    /// An option with which the store cannot work.
    #[error(transparent)]
    Setting(#[from] SettingError),

    /// The table is missing, or is not the `sessions` table.
    #[error("{} ({})", Visible(.problem), Visible(.remedy))]
    Schema {
        /// What is wrong with it.
        problem: String,
        /// What would put it right.
        remedy: String,
    },

    /// One row cannot be read. Its neighbours can.
    #[error(transparent)]
    Malformed(#[from] MalformedRow),

    /// Some of a user's rows are deleted, and others are still locked by another program, or on a server that
    /// does not answer: see [`SessionStore::delete_user`](super::SessionStore::delete_user). Worth trying again.
    #[error(
        "the {store} store deleted {} rows of the user, and {pending} are left: another program has locked them, or \
         their server does not answer",
        .deleted.len()
    )]
    PartlyDeleted {
        /// [`SessionStore::name`](super::SessionStore::name).
        store: &'static str,
        /// The ids of the rows that are deleted.
        deleted: Vec<SessionId>,
        /// How many rows are left.
        pending: usize,
    },

    /// The user id of a write is longer than the column `user_id` holds. Nothing is written.
    #[error(transparent)]
    UserId(#[from] InvalidUserId),

    /// The database refused, for another reason.
    #[error("the {store} store failed to {}", Visible(.action))]
    Backend {
        /// [`SessionStore::name`](super::SessionStore::name).
        store: &'static str,
        /// What it was doing: `load`, `apply`, `open "x.db"`.
        action: String,
        /// The database's own words.
        #[source]
        source: Source,
    },
}

impl StoreError {
    /// Whether the same call may succeed later without anybody mending anything.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            StoreError::Unavailable { .. } | StoreError::Timeout { .. } | StoreError::PartlyDeleted { .. }
        )
    }
}

/// A row that is there and cannot be read as a session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the row {id:?} cannot be read: {}", Visible(.problem))]
pub struct MalformedRow {
    /// The primary key as it is stored, which need not be a UUID.
    pub id: String,
    /// Which column holds what, without the data.
    pub problem: String,
}

impl Unanswered {
    /// What that means for a load.
    pub(crate) fn of_load(self, store: &'static str) -> StoreError {
        self.told(store, "a load", "")
    }

    /// What that means for a write.
    pub(crate) fn of_write(self, store: &'static str) -> StoreError {
        self.told(store, "a write", "; it may be made or not")
    }

    fn told(self, store: &'static str, what: &str, doubt: &str) -> StoreError {
        let reason = match self {
            Unanswered::NoRoom => format!("too many requests wait for it already, no room for {what}"),
            Unanswered::Lost => {
                format!("{what} was lost: the store panicked or the program is shutting down{doubt}")
            }
        };
        StoreError::Unavailable { store, reason, source: None }
    }
}
