//! The writes a store can be asked for: each one atomic step with its condition.
//!
//! None of them is an upsert. An expired row takes no write but [`Write::Delete`], so nothing that
//! was in flight brings a dead session back.

use std::sync::Arc;

use crate::record::{Clock, Now, SessionId, SessionRecord, StoredData, Timestamp, UserId};

/// One conditional step on one session.
#[derive(Debug, Clone)]
pub enum Write {
    /// Makes a row. Unmatched when the id is taken.
    Insert(SessionRecord),
    /// Changes a live row whose data is still what was read.
    Update(Update),
    /// Moves a live row's expiry forward. Unmatched also when it is there already.
    Touch(Touch),
    /// Puts another row in the place of a live one whose data is still what was read: the old id is
    /// dead in the same instant in which the new one is born.
    Rotate(Rotation),
    /// Removes a row, live or not. Unmatched when there is none.
    Delete(SessionId),
}

impl Write {
    /// The row that the condition is about.
    pub fn id(&self) -> SessionId {
        match self {
            Write::Insert(record) => record.id(),
            Write::Update(update) => update.id,
            Write::Touch(touch) => touch.id,
            Write::Rotate(rotation) => rotation.id,
            Write::Delete(id) => *id,
        }
    }

    /// The rows that it reads or makes: one, or the two of a rotation.
    pub(crate) fn ids(&self) -> impl Iterator<Item = SessionId> + use<> {
        let made = match self {
            Write::Rotate(rotation) => Some(rotation.record.id()),
            Write::Insert(_) | Write::Update(_) | Write::Touch(_) | Write::Delete(_) => None,
        };
        [Some(self.id()), made].into_iter().flatten()
    }

    /// The same, judged by what the clock says when it is made and not when it was planned.
    #[must_use]
    pub(crate) fn judged_by(mut self, clock: &Arc<dyn Clock>) -> Write {
        match &mut self {
            Write::Update(Update { now, .. })
            | Write::Touch(Touch { now, .. })
            | Write::Rotate(Rotation { now, .. }) => *now = Now::by(Arc::clone(clock), now.planned()),
            Write::Insert(_) | Write::Delete(_) => {}
        }
        self
    }
}

/// See [`Write::Update`]. Matches when the row exists, expires after `now` and its data equals
/// `expected` byte for byte. Sets `updated_at` to `now`.
#[derive(Debug, Clone)]
pub struct Update {
    /// Which row.
    pub id: SessionId,
    /// The data that was read: the compare of compare-and-swap.
    pub expected: StoredData,
    /// The new data, or that it stays.
    pub data: NewData,
    /// The new user, if it is to change: `Some(None)` makes the session anonymous.
    pub user_id: Option<Option<UserId>>,
    /// What becomes of the expiry.
    pub expires_at: Expiry,
    /// The engine's clock, to be asked when the statement leaves.
    pub now: Now,
}

/// What an [`Update`] does to `data`.
///
/// ```
/// use sessile::store::NewData;
///
/// assert_eq!(NewData::from("{}").text(), Some("{}"));
/// assert_eq!(NewData::Keep.text(), None);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewData {
    /// Leaves it, once it was compared with [`Update::expected`]: the statement changes the expiry or the user, and
    /// the store does not write the text again.
    Keep,
    /// Replaces it with this text.
    Text(Arc<str>),
}

impl NewData {
    /// Returns the text that replaces the old one, if there is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            NewData::Keep => None,
            NewData::Text(text) => Some(text),
        }
    }
}

impl From<Arc<str>> for NewData {
    fn from(text: Arc<str>) -> NewData {
        NewData::Text(text)
    }
}

impl From<&str> for NewData {
    fn from(text: &str) -> NewData {
        NewData::Text(text.into())
    }
}

impl From<String> for NewData {
    fn from(text: String) -> NewData {
        NewData::Text(text.into())
    }
}

/// What an [`Update`] does to `expires_at`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// Leaves it.
    Keep,
    /// Moves it forward to this instant; a later one stays.
    Extend(Timestamp),
    /// Sets it, also back: the lifetime itself was changed.
    Set(Timestamp),
}

/// See [`Write::Touch`]. Matches when the row exists, expires after `now` and before `expires_at`.
/// Sets `updated_at` to `now`.
#[derive(Debug, Clone)]
pub struct Touch {
    /// Which row.
    pub id: SessionId,
    /// The new, later expiry.
    pub expires_at: Timestamp,
    /// The engine's clock, to be asked when the statement leaves.
    pub now: Now,
}

/// See [`Write::Rotate`]. Matches as [`Update`] does; the row is then `record` and nothing else.
#[derive(Debug, Clone)]
pub struct Rotation {
    /// The id that dies.
    pub id: SessionId,
    /// The data that was read: the compare of compare-and-swap.
    pub expected: StoredData,
    /// The row that takes its place.
    pub record: SessionRecord,
    /// The engine's clock, to be asked when the statement leaves.
    pub now: Now,
}

/// Whether a [`Write`] was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Done and committed.
    Applied,
    /// Its condition did not hold: nothing was changed.
    Unmatched,
}
