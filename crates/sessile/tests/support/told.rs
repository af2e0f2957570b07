//! A store whose loads can be held up and whose feed says what the test wants.
#![allow(missing_docs, unreachable_pub, dead_code, reason = "shared by several test programs")]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use sessile::record::Timestamp;
use sessile::store::{
    Feed, Hearer, ListPage, ListQuery, Loaded, MemoryStore, News, Outcome, PurgeBatch, PurgeLimits,
    SessionStore, StoreError, StoreStats, Write,
};
use sessile::{SessionId, UserId};
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// Rows in memory, shared by several services; loads are counted and pass a gate once they have read.
#[derive(Clone)]
pub struct Told {
    pub rows: Arc<MemoryStore>,
    hearer: Arc<Mutex<Option<Hearer>>>,
    loads: Arc<AtomicUsize>,
    gate: Arc<Semaphore>,
    /// Loads that panic.
    pub panics: Arc<AtomicUsize>,
    /// Whether it has a feed.
    pub tells: bool,
    /// Whether loads fail.
    pub is_down: Arc<AtomicBool>,
}

impl Told {
    pub fn new() -> Told {
        Told {
            rows: Arc::new(MemoryStore::new()),
            hearer: Arc::default(),
            loads: Arc::default(),
            gate: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS / 2)),
            panics: Arc::default(),
            tells: true,
            is_down: Arc::default(),
        }
    }

    pub fn tell(&self, news: News) {
        self.hearer.lock().unwrap().as_ref().unwrap().hear(news);
    }

    /// Whether somebody listens.
    pub fn is_heard(&self) -> bool {
        self.hearer.lock().unwrap().is_some()
    }

    /// Loads since the last call.
    pub fn loads(&self) -> usize {
        self.loads.swap(0, Ordering::SeqCst)
    }

    pub fn close(&self) {
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    pub fn open(&self) {
        self.gate.add_permits(1_000_000);
    }

    pub async fn loads_are(&self, loads: usize) {
        while self.loads.load(Ordering::SeqCst) < loads {
            tokio::task::yield_now().await;
        }
    }
}

#[async_trait]
impl SessionStore for Told {
    fn name(&self) -> &'static str {
        "told"
    }
    async fn load(&self, id: SessionId) -> Loaded {
        let loaded = self.rows.load(id).await;
        self.loads.fetch_add(1, Ordering::SeqCst);
        self.gate.acquire().await.unwrap().forget();
        let panics = self.panics.load(Ordering::SeqCst);
        if panics > 0 {
            self.panics.store(panics - 1, Ordering::SeqCst);
            panic!("a store that panics, as the test wants");
        }
        if self.is_down.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable { store: "told", reason: "down".into(), source: None });
        }
        loaded
    }
    async fn load_many(&self, ids: &[SessionId]) -> Vec<Loaded> {
        let mut all = self.rows.load_many(ids).await;
        if let Some(&first) = ids.first()
            && let Err(error) = self.load(first).await
        {
            all.fill_with(|| {
                Err(StoreError::Unavailable { store: "told", reason: error.to_string(), source: None })
            });
        }
        all
    }
    async fn apply(&self, write: Write) -> Result<Outcome, StoreError> {
        self.rows.apply(write).await
    }
    async fn list(&self, query: &ListQuery) -> Result<ListPage, StoreError> {
        self.rows.list(query).await
    }
    async fn delete_user(
        &self,
        user: &UserId,
        keep: Option<SessionId>,
    ) -> Result<Vec<SessionId>, StoreError> {
        self.rows.delete_user(user, keep).await
    }
    async fn purge(&self, now: Timestamp, limits: PurgeLimits) -> Result<PurgeBatch, StoreError> {
        self.rows.purge(now, limits).await
    }
    async fn stats(&self, now: Timestamp) -> Result<StoreStats, StoreError> {
        self.rows.stats(now).await
    }
    async fn init(&self) -> Result<(), StoreError> {
        Ok(())
    }
    async fn check(&self) -> Result<(), StoreError> {
        Ok(())
    }
    async fn feed(&self, hearer: Hearer, bound: Duration) -> Result<Option<Feed>, StoreError> {
        if !self.tells {
            return Ok(None);
        }
        hearer.hear(News::Up(Instant::now() + bound));
        *self.hearer.lock().unwrap() = Some(hearer);
        Ok(Some(Feed::new(())))
    }
}
