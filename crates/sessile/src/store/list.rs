//! Listing: pages in a stable order, so that no table is ever read into memory whole.

use super::error::MalformedRow;
use crate::record::{SessionRecord, Timestamp, UserId};

/// Which rows to list.
#[derive(Debug, Clone)]
pub struct ListQuery {
    /// Only this user's sessions.
    pub user: Option<UserId>,
    /// Live ones, expired ones or both.
    pub liveness: Liveness,
    /// The engine's clock.
    pub now: Timestamp,
    /// Go on after this place: the [`ListPage::next`] of the page before.
    pub after: Option<Cursor>,
    /// Rows in the page, at most.
    pub limit: usize,
}

/// Rows by whether they have expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// Expiring after `now`.
    Live,
    /// Expired, and not purged yet.
    Expired,
    /// Both.
    Any,
}

impl Liveness {
    /// Whether a row with this expiry belongs.
    pub fn includes(self, expires_at: Timestamp, now: Timestamp) -> bool {
        match self {
            Liveness::Live => expires_at > now,
            Liveness::Expired => expires_at <= now,
            Liveness::Any => true,
        }
    }
}

/// A place in a listing. It stays valid when rows before or after it are deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(String);

impl Cursor {
    /// A place, in the words of the store that makes it.
    pub fn new(place: impl Into<String>) -> Cursor {
        Cursor(place.into())
    }

    /// The store's words. One that it cannot read means the first page.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A page of rows, ordered by id.
#[derive(Debug, Clone, Default)]
pub struct ListPage {
    /// The rows.
    pub records: Vec<SessionRecord>,
    /// Rows in the same range that cannot be read, each with the reason.
    pub malformed: Vec<MalformedRow>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<Cursor>,
}

/// Counts of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct StoreStats {
    /// Rows expiring after now.
    pub live: u64,
    /// Rows expired and not purged yet.
    pub expired: u64,
    /// Live rows without a user.
    pub anonymous: u64,
    /// Different users with a live row.
    pub users: u64,
    /// Bytes in the data of live rows.
    pub data_bytes: u64,
    /// When the oldest expired row expired: how far the purge lags behind.
    pub oldest_expired: Option<Timestamp>,
}
