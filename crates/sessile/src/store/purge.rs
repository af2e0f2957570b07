//! The bounds of a purge.

use std::time::Duration;

use crate::record::SessionId;

/// How much one batch may do before others get their turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PurgeLimits {
    /// Rows, at most.
    pub max_rows: usize,
    /// Time it may hold up writers, roughly.
    pub max_time: Duration,
}

/// 1,000 rows, 10 ms.
impl Default for PurgeLimits {
    fn default() -> PurgeLimits {
        PurgeLimits { max_rows: 1_000, max_time: Duration::from_millis(10) }
    }
}

/// What one batch removed.
#[derive(Debug, Clone, Default)]
pub struct PurgeBatch {
    /// The sessions that are gone.
    pub removed: Vec<SessionId>,
    /// Rows removed whose id is no UUID, so that nobody could have been told.
    pub removed_foreign: u64,
    /// Whether there may be more to remove.
    pub more: bool,
}
