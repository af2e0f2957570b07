//! A store that notes when the cache has heard of each session.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sessile::SessionId;
use sessile::record::{Timestamp, UserId};
use sessile::store::{
    Feed, FeedListener, Hearer, ListPage, ListQuery, Loaded, News, Outcome, PurgeBatch, PurgeLimits,
    SessionStore, StoreError, StoreStats, Write,
};

use crate::stage::now;

/// When the cache had heard of each.
pub(crate) type Times = Arc<Mutex<HashMap<SessionId, u64>>>;

pub(crate) struct Heard {
    pub(crate) store: Arc<dyn SessionStore>,
    pub(crate) times: Times,
}

struct Noting {
    hearer: Hearer,
    times: Times,
}

impl FeedListener for Noting {
    fn hear(&self, news: News) {
        self.hearer.hear(news);
        // From here on the cache does not give it out.
        if let News::Changed(id) = news {
            self.times.lock().entry(id).or_insert_with(now);
        }
    }
}

#[async_trait::async_trait]
impl SessionStore for Heard {
    fn name(&self) -> &'static str {
        self.store.name()
    }
    fn user_id_limit(&self) -> usize {
        self.store.user_id_limit()
    }
    async fn load(&self, id: SessionId) -> Loaded {
        self.store.load(id).await
    }
    async fn apply(&self, write: Write) -> Result<Outcome, StoreError> {
        self.store.apply(write).await
    }
    async fn list(&self, query: &ListQuery) -> Result<ListPage, StoreError> {
        self.store.list(query).await
    }
    async fn delete_user(
        &self,
        user: &UserId,
        keep: Option<SessionId>,
    ) -> Result<Vec<SessionId>, StoreError> {
        self.store.delete_user(user, keep).await
    }
    async fn purge(&self, now: Timestamp, limits: PurgeLimits) -> Result<PurgeBatch, StoreError> {
        self.store.purge(now, limits).await
    }
    async fn stats(&self, now: Timestamp) -> Result<StoreStats, StoreError> {
        self.store.stats(now).await
    }
    async fn init(&self) -> Result<(), StoreError> {
        self.store.init().await
    }
    async fn check(&self) -> Result<(), StoreError> {
        self.store.check().await
    }
    async fn feed(&self, hearer: Hearer, bound: Duration) -> Result<Option<Feed>, StoreError> {
        let times = Arc::clone(&self.times);
        self.store.feed(Arc::new(Noting { hearer, times }), bound).await
    }
}
