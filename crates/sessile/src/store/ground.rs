//! What a [`group`](super::group) stands on: a lock, tasks and a timer. The model checker of `tests/batcher`
//! puts its own in their place.

use std::future::Future;
use std::time::Duration;

pub(super) use parking_lot::Mutex;
/// Lets the other tasks that are ready run first.
pub(super) use tokio::task::yield_now;

/// Runs this in a task of its own.
pub(super) fn spawn(work: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(work);
}

/// What comes of this, unless it takes longer.
pub(super) async fn in_time<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(limit, work).await.ok()
}
