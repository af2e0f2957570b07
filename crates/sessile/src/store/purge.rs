//! The bounds of a purge, and how an SQL database keeps them: in chunks.

#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::SettingError;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
use super::StoreError;
use crate::record::{SessionId, UserId};

/// How much one batch may do before others get their turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PurgeLimits {
    /// Rows, at most; at least one.
    pub max_rows: usize,
    /// Time it may hold up writers, roughly. Zero: as little as the store can do at a time.
    pub max_time: Duration,
}

/// 1,000 rows, 10 ms.
impl Default for PurgeLimits {
    fn default() -> PurgeLimits {
        PurgeLimits { max_rows: 1_000, max_time: Duration::from_millis(10) }
    }
}

impl PurgeLimits {
    /// Checks the number of rows.
    ///
    /// # Errors
    /// When it is zero: the purge would never end.
    pub fn validate(&self) -> Result<(), SettingError> {
        SettingError::check_number("PurgeLimits::max_rows", self.max_rows as u64, 1)
    }
}

/// A session that a purge has removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purged {
    /// Its id.
    pub id: SessionId,
    /// The user in its column `user_id`; `None` also where the column held no text.
    pub user_id: Option<UserId>,
}

/// What one batch removed.
#[derive(Debug, Clone, Default)]
pub struct PurgeBatch {
    /// The sessions that are gone.
    pub removed: Vec<Purged>,
    /// Rows removed whose id is no UUID, so that nobody could have been told.
    pub removed_foreign: u64,
    /// Whether there may be more to remove.
    pub more: bool,
}

impl PurgeBatch {
    /// Returns the ids of the sessions that are gone.
    pub fn ids(&self) -> impl Iterator<Item = SessionId> + '_ {
        self.removed.iter().map(|purged| purged.id)
    }
}

/// Rows in one chunk of a purge at first and at least: what any disk deletes in a few milliseconds.
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
const MIN_CHUNK: usize = 50;

/// Rows in one chunk of a purge at most.
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
const MAX_CHUNK: usize = 10_000;

/// Puts the rows of one chunk together: a row without an id is one whose id is no UUID.
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
pub(super) fn removed(
    rows: impl ExactSizeIterator<Item = (Option<SessionId>, Option<UserId>)>,
    took: Duration,
) -> Chunk {
    let all = rows.len();
    let removed: Vec<Purged> = rows.filter_map(|(id, user_id)| id.map(|id| Purged { id, user_id })).collect();
    let removed_foreign = (all - removed.len()).try_into().unwrap_or(u64::MAX);
    Chunk { removed, removed_foreign, took }
}

/// What one chunk of a purge has removed.
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
pub(super) struct Chunk {
    pub(super) removed: Vec<Purged>,
    pub(super) removed_foreign: u64,
    /// How long it held up others.
    pub(super) took: Duration,
}

/// Purges in chunks, so that other writes get their turn, and remembers what a chunk can take in its
/// time.
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
pub(super) struct Chunks(AtomicUsize);

#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
impl Chunks {
    pub(super) fn new() -> Chunks {
        Chunks(AtomicUsize::new(MIN_CHUNK))
    }

    /// `delete` removes so many rows at most; after `max_time` of that it is over.
    pub(super) async fn purge<F>(
        &self,
        store: &'static str,
        limits: PurgeLimits,
        delete: impl Fn(usize) -> F,
    ) -> Result<PurgeBatch, StoreError>
    where
        F: Future<Output = Result<Chunk, StoreError>>,
    {
        limits.validate()?;
        let mut batch = PurgeBatch::default();
        let mut left = limits.max_rows;
        let mut held = Duration::ZERO;
        while left > 0 && held < limits.max_time.max(Duration::from_nanos(1)) {
            let rows = self.0.load(Ordering::Relaxed).min(left);
            let Chunk { removed, removed_foreign, took } = match delete(rows).await {
                Ok(chunk) => chunk,
                // What is gone has to be told; the next call meets the error again.
                Err(error) if !batch.removed.is_empty() => {
                    tracing::warn!(store, %error, "a purge ended early");
                    break;
                }
                Err(error) => return Err(error),
            };
            let gone = removed.len() + usize::try_from(removed_foreign).unwrap_or(usize::MAX);
            batch.removed.extend(removed);
            batch.removed_foreign += removed_foreign;
            batch.more = gone >= rows;
            if !batch.more {
                break;
            }
            // Each request beside the purge may wait for a chunk: a small part of the time, not all of it.
            if took > limits.max_time / 4 {
                self.0.store((rows / 2).max(MIN_CHUNK), Ordering::Relaxed);
            } else if took < limits.max_time / 8 {
                self.0.fetch_max((rows * 2).min(MAX_CHUNK), Ordering::Relaxed);
            }
            left = left.saturating_sub(gone);
            held += took;
        }
        Ok(batch)
    }
}

#[cfg(all(test, any(feature = "sqlite", feature = "postgres", feature = "mysql")))]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// [R10] What a chunk may take is a quarter of the time, on a disk that is slow from one moment to the next.
    #[tokio::test]
    async fn chunks_shrink_when_they_take_long() {
        let chunks = Chunks::new();
        let limits = PurgeLimits { max_rows: usize::MAX, max_time: Duration::from_millis(10) };
        let longest = Cell::new(Duration::ZERO);
        for (micros_a_row, slow) in [(1, false), (20, true)] {
            for round in 0..20 {
                let delete = |rows: usize| {
                    let took = Duration::from_micros(micros_a_row) * u32::try_from(rows).unwrap();
                    if slow && round > 5 {
                        longest.set(longest.get().max(took));
                    }
                    let removed_foreign = rows as u64;
                    async move { Ok(Chunk { removed: Vec::new(), removed_foreign, took }) }
                };
                assert!(chunks.purge("any", limits, delete).await.unwrap().more);
            }
            if !slow {
                assert!(chunks.0.load(Ordering::Relaxed) > 1_000, "they had grown");
            }
        }
        assert!((Duration::from_micros(1_250)..=Duration::from_micros(2_500)).contains(&longest.get()));
    }
}
