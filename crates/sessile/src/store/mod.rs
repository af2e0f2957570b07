//! Where records live: the contract every store keeps, and the stores.
//!
//! A store is asked in batches; a single call is a batch of one. It applies [`Write`]s, each of
//! them one atomic conditional step, and it never decides anything about sessions: what a request
//! meant, how changes are merged and when to try again is the engine's business.
//!
//! The stores are siblings and never import each other; what they share stands here. To prove a
//! store of your own, run [`conformance`] against it.

#[cfg(any(feature = "postgres", feature = "mysql"))]
mod answer;
#[cfg(any(feature = "postgres", feature = "mysql", feature = "redis"))]
mod backoff;
#[cfg(any(feature = "postgres", feature = "mysql"))]
mod blocked_writes;
#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(any(feature = "postgres", feature = "mysql"))]
mod ending;
mod error;
mod feed;
pub(crate) mod finding;
pub(crate) mod finish;
mod ground;
pub(crate) mod group;
#[cfg(test)]
#[path = "group/tests.rs"]
mod group_tests;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
mod hex;
#[cfg(any(feature = "mysql", feature = "redis"))]
mod host;
#[cfg(any(feature = "postgres", feature = "mysql"))]
mod key;
pub(crate) mod limit;
mod line;
mod list;
#[cfg(any(feature = "postgres", feature = "redis"))]
mod listening;
pub(crate) mod loads;
mod memory;
#[cfg(feature = "mysql")]
pub mod mysql;
mod percent;
#[cfg(feature = "postgres")]
pub mod postgres;
mod purge;
#[cfg(feature = "redis")]
pub mod redis;
pub(crate) mod setting;
#[cfg(feature = "sqlite")]
pub mod sqlite;
#[cfg(any(feature = "postgres", feature = "mysql", feature = "redis"))]
mod tls;
#[cfg(any(feature = "sqlite", feature = "redis"))]
mod trial;
mod url;
#[cfg(any(feature = "postgres", feature = "mysql"))]
mod user_column;
#[cfg(any(feature = "postgres", feature = "redis"))]
mod wave;
mod write;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::record::{Clock, MAX_USER_ID_CHARS, SessionId, SessionRecord, Timestamp, UserId};

pub use error::{MalformedRow, StoreError};
pub use feed::{Feed, FeedListener, Hearer, News};
pub use finding::{Finding, Verdict};
pub use list::{Cursor, ListPage, ListQuery, Liveness, StoreStats};
pub use memory::MemoryStore;
#[cfg(feature = "mysql")]
pub use mysql::MySqlStore;
#[cfg(feature = "postgres")]
pub use postgres::PostgresStore;
pub use purge::{PurgeBatch, PurgeLimits, Purged};
#[cfg(feature = "redis")]
pub use redis::RedisStore;
pub use setting::SettingError;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteStore;
pub use url::{StoreUrl, StoreUrlError};
pub use write::{Expiry, NewData, Outcome, Rotation, Touch, Update, Write};

/// What loading one id gives: the row, nothing, or why not.
pub type Loaded = Result<Option<SessionRecord>, StoreError>;

/// How many batches of a kind may be on their way at once; 0: single calls are not grouped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Grouping {
    /// Batches of [`SessionStore::load_many`].
    pub loads: usize,
    /// Batches of [`SessionStore::apply_many`].
    pub writes: usize,
}

/// Where records live.
///
/// # Contract
/// * [`load`](Self::load) returns the row whatever its expiry: the engine judges that with its clock.
///   An unknown id is `Ok(None)`, never an error, and creates nothing.
/// * [`apply`](Self::apply) makes one [`Write`] atomically: wholly done ([`Outcome::Applied`]), or
///   nothing done because its condition does not hold ([`Outcome::Unmatched`]). It is never an upsert.
/// * `Ok` means committed as durably as the store promises. An error may leave the write done or not
///   done, never half done.
/// * Dropping a returned future neither cancels other callers' work nor leaves a write half done: it is made
///   or it is not. Where the store or the engine puts writes into batches, one that was accepted is made though
///   its caller has gone, and a load whose batch has not left is not asked for.
/// * An operational fault is an error, never "not found".
///
/// Only the methods without a body are needed. A store that can do many in one round trip overrides
/// [`load_many`](Self::load_many) and [`apply_many`](Self::apply_many).
#[async_trait]
pub trait SessionStore: Send + Sync + 'static {
    /// A short name for messages: `sqlite`, `memory`. No address, no password.
    fn name(&self) -> &'static str;

    /// Returns the characters of the longest user id that the store holds, at most [`MAX_USER_ID_CHARS`]: the width
    /// of its column, where that limits it. Costs no statement. A store whose column is narrower overrides it, and
    /// refuses a longer id in a write with [`StoreError::UserId`]: it never cuts one.
    fn user_id_limit(&self) -> usize {
        MAX_USER_ID_CHARS
    }

    /// Bytes of the longest data that the store holds, where that is less than policies usually allow.
    fn data_limit(&self) -> Option<usize> {
        None
    }

    /// The row with this id, live or expired. One statement.
    async fn load(&self, id: SessionId) -> Loaded;

    /// Makes one write, atomically, if its condition holds. One statement.
    async fn apply(&self, write: Write) -> Result<Outcome, StoreError>;

    /// The rows with these ids, answers in the order of `ids`. One statement where the store can.
    async fn load_many(&self, ids: &[SessionId]) -> Vec<Loaded> {
        let mut loaded = Vec::with_capacity(ids.len());
        for &id in ids {
            loaded.push(self.load(id).await);
        }
        loaded
    }

    /// Makes these writes, in this order, each on its own condition: one that fails or does not match
    /// never fails its neighbours. Outcomes in the order of `writes`.
    async fn apply_many(&self, writes: Vec<Write>) -> Vec<Result<Outcome, StoreError>> {
        let mut outcomes = Vec::with_capacity(writes.len());
        for write in writes {
            outcomes.push(self.apply(write).await);
        }
        outcomes
    }

    /// Whether the engine is to group what single requests ask into batches. Worth it where a batch is
    /// one round trip; not where a read is microseconds, or where the store groups by itself.
    fn grouping(&self) -> Grouping {
        Grouping::default()
    }

    /// A page of rows in a stable order. A row that cannot be read is reported and passed by.
    async fn list(&self, query: &ListQuery) -> Result<ListPage, StoreError>;

    /// Deletes all rows of `user`, but not `keep`, and returns their ids.
    ///
    /// A session of the user that is rotated at the same time is deleted under its old id or its new one, never
    /// missed in between. A row that another program has locked does not protect the others: they are deleted at
    /// once, then the store waits for the locked ones within its own bound. What is still locked after that is
    /// [`StoreError::PartlyDeleted`], and the caller repeats the call later.
    async fn delete_user(&self, user: &UserId, keep: Option<SessionId>)
    -> Result<Vec<SessionId>, StoreError>;

    /// Deletes one batch of rows that expired at or before `now`, within `limits`. A row that is
    /// renewed meanwhile stays. Limits of no rows are [`StoreError::Setting`].
    /// Each row is reported by exactly one call, with its user.
    async fn purge(&self, now: Timestamp, limits: PurgeLimits) -> Result<PurgeBatch, StoreError>;

    /// Counts. Reads the whole table: for people, not for requests.
    async fn stats(&self, now: Timestamp) -> Result<StoreStats, StoreError>;

    /// Makes the table and its indexes where they are missing; changes nothing that is there.
    async fn init(&self) -> Result<(), StoreError>;

    /// What [`init`](Self::init) would execute, for people with migration tools of their own. Empty
    /// for stores that need none.
    fn schema(&self) -> String {
        String::new()
    }

    /// Whether the store can be used as it stands: reachable, the table there with the six columns.
    async fn check(&self) -> Result<(), StoreError>;

    /// The time by the store's own clock, for stores on another machine; `None` where it is ours.
    async fn clock(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(None)
    }

    /// Looks at all that decides whether sessions are safe here: the table, what we may do to it, the
    /// clock against `clock`, what a commit is worth. For people, not for requests: it may take seconds.
    /// It leaves nothing behind. Without a body of its own it tells what [`check`](Self::check) and
    /// [`clock`](Self::clock) tell.
    ///
    /// What is wrong is a [`Finding`]; an error means that the store could not be asked at all.
    async fn examine(&self, clock: &dyn Clock) -> Result<Vec<Finding>, StoreError> {
        finding::basics(self, clock).await
    }

    /// Tells `hearer` what changes in the store, whoever changes it, until the feed is dropped; `None` where
    /// the store cannot know. When this returns the feed is up: [`News::Up`] has been told.
    ///
    /// `bound`: how old the feed's last sign of life may be, at most. A feed that breaks says so at once; one
    /// that hangs is taken for down when no sign of life was seen for so long.
    async fn feed(&self, hearer: Hearer, bound: Duration) -> Result<Option<Feed>, StoreError> {
        let _ = (hearer, bound);
        Ok(None)
    }

    /// Makes what the [`feed`](Self::feed) needs beside the table, which must be there; changes nothing that
    /// is there.
    async fn init_feed(&self) -> Result<(), StoreError> {
        Err(StoreError::Schema {
            problem: format!("the {} store has no feed of changes", self.name()),
            remedy: "use one that has, such as PostgreSQL".to_owned(),
        })
    }

    /// What [`init_feed`](Self::init_feed) would execute. Empty for stores that need nothing for it, or have
    /// no feed.
    fn feed_schema(&self) -> String {
        String::new()
    }
}

#[async_trait]
impl<S: SessionStore + ?Sized> SessionStore for Arc<S> {
    fn name(&self) -> &'static str {
        (**self).name()
    }
    fn user_id_limit(&self) -> usize {
        (**self).user_id_limit()
    }
    fn data_limit(&self) -> Option<usize> {
        (**self).data_limit()
    }
    async fn load(&self, id: SessionId) -> Loaded {
        (**self).load(id).await
    }
    async fn apply(&self, write: Write) -> Result<Outcome, StoreError> {
        (**self).apply(write).await
    }
    async fn load_many(&self, ids: &[SessionId]) -> Vec<Loaded> {
        (**self).load_many(ids).await
    }
    async fn apply_many(&self, writes: Vec<Write>) -> Vec<Result<Outcome, StoreError>> {
        (**self).apply_many(writes).await
    }
    fn grouping(&self) -> Grouping {
        (**self).grouping()
    }
    async fn list(&self, query: &ListQuery) -> Result<ListPage, StoreError> {
        (**self).list(query).await
    }
    async fn delete_user(
        &self,
        user: &UserId,
        keep: Option<SessionId>,
    ) -> Result<Vec<SessionId>, StoreError> {
        (**self).delete_user(user, keep).await
    }
    async fn purge(&self, now: Timestamp, limits: PurgeLimits) -> Result<PurgeBatch, StoreError> {
        (**self).purge(now, limits).await
    }
    async fn stats(&self, now: Timestamp) -> Result<StoreStats, StoreError> {
        (**self).stats(now).await
    }
    async fn init(&self) -> Result<(), StoreError> {
        (**self).init().await
    }
    fn schema(&self) -> String {
        (**self).schema()
    }
    async fn check(&self) -> Result<(), StoreError> {
        (**self).check().await
    }
    async fn clock(&self) -> Result<Option<Timestamp>, StoreError> {
        (**self).clock().await
    }
    async fn examine(&self, clock: &dyn Clock) -> Result<Vec<Finding>, StoreError> {
        (**self).examine(clock).await
    }
    async fn feed(&self, hearer: Hearer, bound: Duration) -> Result<Option<Feed>, StoreError> {
        (**self).feed(hearer, bound).await
    }
    async fn init_feed(&self) -> Result<(), StoreError> {
        (**self).init_feed().await
    }
    fn feed_schema(&self) -> String {
        (**self).feed_schema()
    }
}
