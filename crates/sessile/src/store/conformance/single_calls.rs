//! A store that can do one thing at a time.

use async_trait::async_trait;

use crate::record::{SessionId, Timestamp, UserId};
use crate::store::{
    ListPage, ListQuery, Loaded, Outcome, PurgeBatch, PurgeLimits, SessionStore, StoreError, StoreStats,
    Write,
};

/// Passes on only the methods that every store must have; batches are the trait's own, one by one.
///
/// For proving that nothing above the store needs more than that.
#[derive(Debug, Clone)]
pub struct SingleCalls<S>(pub S);

#[async_trait]
impl<S: SessionStore> SessionStore for SingleCalls<S> {
    fn name(&self) -> &'static str {
        self.0.name()
    }
    fn user_id_limit(&self) -> usize {
        self.0.user_id_limit()
    }
    fn data_limit(&self) -> Option<usize> {
        self.0.data_limit()
    }
    async fn load(&self, id: SessionId) -> Loaded {
        self.0.load(id).await
    }
    async fn apply(&self, write: Write) -> Result<Outcome, StoreError> {
        self.0.apply(write).await
    }
    async fn list(&self, query: &ListQuery) -> Result<ListPage, StoreError> {
        self.0.list(query).await
    }
    async fn delete_user(
        &self,
        user: &UserId,
        keep: Option<SessionId>,
    ) -> Result<Vec<SessionId>, StoreError> {
        self.0.delete_user(user, keep).await
    }
    async fn purge(&self, now: Timestamp, limits: PurgeLimits) -> Result<PurgeBatch, StoreError> {
        self.0.purge(now, limits).await
    }
    async fn stats(&self, now: Timestamp) -> Result<StoreStats, StoreError> {
        self.0.stats(now).await
    }
    async fn init(&self) -> Result<(), StoreError> {
        self.0.init().await
    }
    async fn check(&self) -> Result<(), StoreError> {
        self.0.check().await
    }
}
