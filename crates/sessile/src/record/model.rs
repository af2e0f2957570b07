//! `SessionRecord`: one row of `sessions`, with the model's defaults.

use std::fmt;

use super::data::SessionData;
use super::error::DataError;
use super::id::SessionId;
use super::stored::StoredData;
use super::time::Timestamp;
use super::user::UserId;
use super::visible::Visible;

/// One row of the `sessions` table.
///
/// The setters move `updated_at` to the `now` they are given whenever they change something, as
/// every UPDATE of the table does; setting what is there already changes nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionRecord {
    id: SessionId,
    user_id: Option<UserId>,
    data: StoredData,
    created_at: Option<Timestamp>,
    expires_at: Timestamp,
    updated_at: Option<Timestamp>,
}

/// The six columns as a store read them, for [`SessionRecord::from_columns`].
#[derive(Debug, Clone)]
pub struct Columns {
    /// Primary key.
    pub id: SessionId,
    /// Whose session it is, as stored.
    pub user_id: Option<UserId>,
    /// The data, as stored.
    pub data: StoredData,
    /// NULL only in rows written with raw SQL.
    pub created_at: Option<Timestamp>,
    /// When the session ends unless it is renewed.
    pub expires_at: Timestamp,
    /// NULL only in rows written with raw SQL.
    pub updated_at: Option<Timestamp>,
}

impl SessionRecord {
    /// A new row: no user, data `{}`, created and updated `now`.
    pub fn new(id: SessionId, expires_at: Timestamp, now: Timestamp) -> SessionRecord {
        SessionRecord {
            id,
            user_id: None,
            data: StoredData::empty(),
            created_at: Some(now),
            expires_at,
            updated_at: Some(now),
        }
    }

    /// The row a store has read.
    pub fn from_columns(columns: Columns) -> SessionRecord {
        let Columns { id, user_id, data, created_at, expires_at, updated_at } = columns;
        SessionRecord { id, user_id, data, created_at, expires_at, updated_at }
    }

    /// Primary key.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Whose session it is; `None` for an anonymous visitor.
    pub fn user_id(&self) -> Option<&UserId> {
        self.user_id.as_ref()
    }

    /// Makes it the session of `user_id`.
    pub fn set_user_id(&mut self, user_id: Option<UserId>, now: Timestamp) {
        if self.user_id != user_id {
            self.user_id = user_id;
            self.updated_at = Some(now);
        }
    }

    /// The data column exactly as it is stored.
    pub fn stored_data(&self) -> &StoredData {
        &self.data
    }

    /// The data as a JSON object. Text that is none is an error line in the log, with this id, and
    /// reads as empty: the text stays in the row until somebody writes.
    pub fn data(&self) -> SessionData {
        self.try_data().unwrap_or_else(|error| {
            tracing::error!(session = %self.id, %error, "session data cannot be read, taken as empty");
            SessionData::new()
        })
    }

    /// The data as a JSON object.
    ///
    /// # Errors
    /// When the text is not a JSON object.
    pub fn try_data(&self) -> Result<SessionData, DataError> {
        self.data.decode()
    }

    /// Replaces the data.
    pub fn set_data(&mut self, data: &SessionData, now: Timestamp) {
        let data = StoredData::from(data);
        if self.data != data {
            self.data = data;
            self.updated_at = Some(now);
        }
    }

    /// When this lifetime began; the absolute lifetime counts from here. A row without it, which raw
    /// SQL can make, is held to its [`expires_at`](Self::expires_at) alone.
    pub fn created_at(&self) -> Option<Timestamp> {
        self.created_at
    }

    /// When the session ends. At this instant it is over: it lives while `now < expires_at`.
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// Moves the end, forward or back.
    pub fn set_expires_at(&mut self, expires_at: Timestamp, now: Timestamp) {
        if self.expires_at != expires_at {
            self.expires_at = expires_at;
            self.updated_at = Some(now);
        }
    }

    /// When the row was last changed.
    pub fn updated_at(&self) -> Option<Timestamp> {
        self.updated_at
    }

    /// Whether the session has not expired yet.
    pub fn is_live(&self, now: Timestamp) -> bool {
        now < self.expires_at
    }
}

/// `<Session(id='…', user_id='…', expires_at='…')>`, to the byte what Python's model prints, unless somebody wrote a user
/// id with control characters into the table: they are shown as [`Visible`] text.
impl fmt::Display for SessionRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user_id = self.user_id.as_ref().map_or("None", UserId::as_str);
        let user_id = Visible(user_id);
        write!(f, "<Session(id='{}', user_id='{user_id}', expires_at='{}')>", self.id, self.expires_at)
    }
}

/// Without the data, which is private.
impl fmt::Debug for SessionRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionRecord")
            .field("id", &self.id)
            .field("user_id", &self.user_id)
            .field("data", &self.data)
            .field("created_at", &self.created_at)
            .field("expires_at", &self.expires_at)
            .field("updated_at", &self.updated_at)
            .finish()
    }
}
