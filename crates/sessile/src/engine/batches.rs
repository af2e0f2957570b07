//! What single requests load and write, in batches, where the store wants them so.

use std::sync::Arc;

use crate::record::SessionId;
use crate::store::finish::Finish;
use crate::store::group::{Unanswered, Work};
use crate::store::loads::Loader;
use crate::store::{Loaded, Outcome, SessionStore, StoreError, Write};

/// Loads from any store, also one that does not keep the contract.
pub(super) struct Rows(pub(super) Arc<dyn SessionStore>);

impl Loader for Rows {
    async fn one(&self, id: SessionId) -> Loaded {
        self.0.load(id).await
    }

    async fn many(&self, ids: &[SessionId]) -> Vec<Loaded> {
        self.0.load_many(ids).await
    }
}

/// Writes through any store, also one that does not keep the contract.
pub(super) struct Writes(pub(super) Arc<dyn SessionStore>);

impl Work for Writes {
    type Job = Write;
    type Key = SessionId;
    type Answer = Result<Outcome, StoreError>;

    const KEEPS: bool = true;

    async fn one(&self, write: Write) -> Result<Outcome, StoreError> {
        let store = Arc::clone(&self.0);
        Finish::new(async move { store.apply(write).await }).await
    }

    async fn many(&self, writes: &[Write]) -> Vec<Result<Outcome, StoreError>> {
        self.0.apply_many(writes.to_vec()).await
    }

    /// Every write has a condition that does not hold once it is made. So one that is applied now was not
    /// made before, and one that is unmatched may have been.
    async fn again(&self, write: &Write) -> Option<Result<Outcome, StoreError>> {
        match self.0.apply(write.clone()).await {
            Ok(Outcome::Unmatched) => Some(Err(Unanswered::Lost.of_write(self.0.name()))),
            outcome => Some(outcome),
        }
    }
}
