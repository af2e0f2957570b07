//! Two stores on one table, as two processes have them.
#![allow(missing_docs, unreachable_pub, dead_code, reason = "shared by several test programs")]

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use sessile::record::{SessionId, Timestamp, UserId};
use sessile::store::{
    ListPage, ListQuery, Loaded, Outcome, PurgeBatch, PurgeLimits, SessionStore, StoreError, StoreStats,
    Write,
};

/// Asks one and the other in turn.
pub struct InTurn<S> {
    stores: [S; 2],
    turn: AtomicUsize,
}

impl<S: SessionStore> InTurn<S> {
    pub fn new(one: S, other: S) -> InTurn<S> {
        InTurn { stores: [one, other], turn: AtomicUsize::new(0) }
    }

    fn next(&self) -> &S {
        &self.stores[self.turn.fetch_add(1, Ordering::Relaxed) % 2]
    }
}

#[async_trait]
impl<S: SessionStore> SessionStore for InTurn<S> {
    fn name(&self) -> &'static str {
        self.next().name()
    }
    fn user_id_limit(&self) -> usize {
        self.stores.iter().map(SessionStore::user_id_limit).min().unwrap()
    }
    async fn load(&self, id: SessionId) -> Loaded {
        self.next().load(id).await
    }
    async fn apply(&self, write: Write) -> Result<Outcome, StoreError> {
        self.next().apply(write).await
    }
    async fn load_many(&self, ids: &[SessionId]) -> Vec<Loaded> {
        self.next().load_many(ids).await
    }
    async fn apply_many(&self, writes: Vec<Write>) -> Vec<Result<Outcome, StoreError>> {
        self.next().apply_many(writes).await
    }
    async fn list(&self, query: &ListQuery) -> Result<ListPage, StoreError> {
        self.next().list(query).await
    }
    async fn delete_user(
        &self,
        user: &UserId,
        keep: Option<SessionId>,
    ) -> Result<Vec<SessionId>, StoreError> {
        self.next().delete_user(user, keep).await
    }
    async fn purge(&self, now: Timestamp, limits: PurgeLimits) -> Result<PurgeBatch, StoreError> {
        self.next().purge(now, limits).await
    }
    async fn stats(&self, now: Timestamp) -> Result<StoreStats, StoreError> {
        self.next().stats(now).await
    }
    async fn init(&self) -> Result<(), StoreError> {
        self.next().init().await
    }
    async fn check(&self) -> Result<(), StoreError> {
        self.next().check().await
    }
}
