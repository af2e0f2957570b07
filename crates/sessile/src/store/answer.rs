//! What becomes of one write of a batch: known now, or later than its neighbours.

use tokio::sync::oneshot;

use super::{Outcome, StoreError};

/// What a write came to.
pub(super) type Applied = Result<Outcome, StoreError>;

/// What becomes of a write.
pub(super) enum Answer {
    Now(Applied),
    /// It waits for a row that somebody else has locked.
    Later(oneshot::Receiver<Applied>),
}

impl Answer {
    /// The outcome, in the store of this name.
    pub(super) async fn get(self, store: &'static str) -> Applied {
        match self {
            Answer::Now(applied) => applied,
            Answer::Later(applied) => applied.await.unwrap_or_else(|_| {
                let reason = "the runtime is shutting down; the write may be made or not".to_owned();
                Err(StoreError::Unavailable { store, reason, source: None })
            }),
        }
    }
}
