//! A feed: a store's own word on what has changed in it, whoever changed it.
//!
//! It exists for caches, so it must never be silent about a change while it says that it is up: what
//! cannot be told exactly is [`News::Everything`], and what cannot be told at all is [`News::Down`].

use std::fmt;
use std::sync::Arc;

use tokio::time::Instant;

use crate::record::{Fingerprint, SessionId};

/// What a feed tells, in the order in which it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum News {
    /// This row was changed or deleted. Making a row is no news.
    Changed(SessionId),
    /// This row was changed, and has become the one with this fingerprint. Some stores send it, so that a cache that
    /// holds the new row already keeps it: the cache of the process that made the change.
    Became(SessionId, Fingerprint),
    /// Any row may have been changed.
    Everything,
    /// All changes that were committed before now less the feed's bound have been told, and silence means
    /// no change: until this moment, unless more is said before. Told again and again.
    Up(Instant),
    /// From here on changes may go untold. What was known of the rows is worth nothing any more.
    Down,
}

/// Hears a [`Feed`]. It runs inside the task that receives the news, so it must be quick and never wait.
pub trait FeedListener: Send + Sync + 'static {
    /// Something is told.
    fn hear(&self, news: News);
}

/// A subscription. Dropping it ends it.
pub struct Feed {
    /// Whatever ends the subscription when it is dropped.
    _held: Box<dyn Send + Sync>,
}

impl Feed {
    /// `held` ends the subscription when it is dropped.
    pub fn new(held: impl Send + Sync + 'static) -> Feed {
        Feed { _held: Box::new(held) }
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").finish_non_exhaustive()
    }
}

/// Who listens, for a store.
pub type Hearer = Arc<dyn FeedListener>;
