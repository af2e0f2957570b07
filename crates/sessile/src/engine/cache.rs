//! The coherent cache: rows in this process's memory, forgotten when the store's feed says so.
//!
//! It must never give out a row of which it cannot know whether it still holds. So a row is kept only if
//! nothing was said about it since its load began, and given out only while the feed is known to be alive.
//! It keeps rows that are there, never that one is not there.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use quick_cache::Weighter;
use tokio::time::Instant;

use super::flight::{Flight, Landed, landed, shared};
use crate::record::{SessionId, SessionRecord};
use crate::store::{FeedListener, Loaded, News, StoreError};

/// What a row takes beside its data: the columns, the key and the cache's own notes.
const ROW_BYTES: u64 = 256;

/// How much to keep, and for how long. Default: 100,000 sessions, 64 MiB, a bound of 3 seconds.
#[derive(Debug, Clone)]
#[must_use]
pub struct CacheOptions {
    max_sessions: u64,
    max_bytes: u64,
    bound: Duration,
    stale: Option<Duration>,
}

impl Default for CacheOptions {
    fn default() -> CacheOptions {
        CacheOptions {
            max_sessions: 100_000,
            max_bytes: 64 * 1024 * 1024,
            bound: Duration::from_secs(3),
            stale: None,
        }
    }
}

impl CacheOptions {
    /// A cache for a store without a feed: a read may be this old, and so may a session that was ended in
    /// another process be alive here for as long. In this process every change counts at once.
    pub fn stale_for(staleness: Duration) -> CacheOptions {
        CacheOptions { stale: Some(staleness), ..CacheOptions::default() }
    }

    /// Sessions kept at most, 100,000 by default, at least one.
    pub fn max_sessions(mut self, sessions: u64) -> CacheOptions {
        self.max_sessions = sessions.max(1);
        self
    }

    /// Bytes kept at most, 64 MiB by default: the data, the user's id and 256 for each session.
    pub fn max_bytes(mut self, bytes: u64) -> CacheOptions {
        self.max_bytes = bytes;
        self
    }

    /// For how long reads are trusted after the feed's last sign of life, 3 seconds by default. Normally a
    /// change counts here as soon as the feed tells it, and a feed that breaks is
    /// noticed at once; a feed that hangs without breaking is noticed after this time, and no read is staler.
    pub fn bound(mut self, bound: Duration) -> CacheOptions {
        self.bound = bound.max(Duration::from_millis(30));
        self
    }

    pub(super) fn feed_bound(&self) -> Option<Duration> {
        self.stale.is_none().then_some(self.bound)
    }
}

/// The cache cannot be switched on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// The store does not tell what others change in it.
    #[error(
        "the {store} store has no feed of changes: use one that has, or say with `CacheOptions::stale_for` how stale a read may be"
    )]
    NoFeed {
        /// [`SessionStore::name`](crate::store::SessionStore::name).
        store: &'static str,
    },
    /// The feed cannot be had.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What the cache holds now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStats {
    /// Sessions kept.
    pub sessions: u64,
    /// Bytes, as [`CacheOptions::max_bytes`] counts them.
    pub bytes: u64,
    /// Whether reads are answered from it: whether the feed is up.
    pub is_up: bool,
}

#[derive(Clone)]
struct Kept {
    record: SessionRecord,
    /// When its load began.
    began: Instant,
}

#[derive(Clone)]
struct Weights {
    /// No row weighs less: so the bytes bound the number, too.
    least: u64,
}

impl Weighter<SessionId, Kept> for Weights {
    fn weight(&self, _: &SessionId, kept: &Kept) -> u64 {
        let user = kept.record.user_id().map_or(0, |user| user.as_str().len());
        (ROW_BYTES + kept.record.stored_data().len() as u64 + user as u64).max(self.least)
    }
}

type Rows = quick_cache::sync::Cache<SessionId, Kept, Weights>;

/// Until when what is kept may be given out.
enum Trust {
    /// Until the feed's word runs out: nanoseconds after `origin`, 0 while it is down.
    Feed(AtomicU64),
    /// So long after its load began.
    Age(Duration),
}

pub(super) struct Cache {
    rows: Rows,
    /// Loads on their way that may still be kept, one for each session. Whatever is kept or forgotten is so
    /// under this lock.
    flights: Mutex<HashMap<SessionId, Arc<Flight>>>,
    trust: Trust,
    origin: Instant,
}

impl Cache {
    pub(super) fn new(options: &CacheOptions) -> Cache {
        let sessions = options.max_sessions;
        let weights = Weights { least: (options.max_bytes / sessions).max(1) };
        let expected = usize::try_from(sessions).unwrap_or(usize::MAX).min(1_000_000);
        let trust = options.stale.map_or_else(|| Trust::Feed(AtomicU64::new(0)), Trust::Age);
        Cache {
            rows: Rows::with_weighter(expected, options.max_bytes, weights),
            flights: Mutex::default(),
            trust,
            origin: Instant::now(),
        }
    }

    pub(super) fn stats(&self) -> CacheStats {
        CacheStats { sessions: self.rows.len() as u64, bytes: self.rows.weight(), is_up: self.is_up() }
    }

    /// Whether it may answer at all, by the clock and not by what was said last.
    fn is_up(&self) -> bool {
        match &self.trust {
            Trust::Feed(until) => self.nanos(Instant::now()) < until.load(Ordering::Acquire),
            Trust::Age(_) => true,
        }
    }

    fn nanos(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.origin).as_nanos()).unwrap_or(u64::MAX)
    }

    fn is_fresh(&self, began: Instant) -> bool {
        match self.trust {
            Trust::Feed(_) => true,
            Trust::Age(age) => began.elapsed() < age,
        }
    }

    /// What is kept of this session, if it can be trusted.
    pub(super) fn get(&self, id: SessionId) -> Option<SessionRecord> {
        if !self.is_up() {
            return None;
        }
        self.rows.get(&id).filter(|kept| self.is_fresh(kept.began)).map(|kept| kept.record)
    }

    /// Loads a session, together with all who want it now: 1 statement for all of them. `None`: the caller
    /// has to load by itself.
    ///
    /// The load runs in a task of its own, so that a caller who goes away takes it from nobody.
    pub(super) async fn load<F>(self: &Arc<Cache>, id: SessionId, load: impl FnOnce() -> F) -> Option<Loaded>
    where
        F: Future<Output = Loaded> + Send + 'static,
    {
        if !self.is_up() {
            return None;
        }
        let (flight, is_first) = self.board(id);
        if is_first {
            let (cache, flight, load) = (Arc::clone(self), Arc::clone(&flight), load());
            tokio::spawn(async move {
                let landing = Landing { cache: &cache, id, flight: &flight };
                let landed = landed(load.await);
                landing.keep(&landed);
                flight.land(landed);
            });
        }
        match flight.wait().await {
            Landed::Found(record) => Some(Ok(Some(record))),
            // Who came later may look for a row that was made after this load began.
            Landed::Absent => is_first.then_some(Ok(None)),
            Landed::Failed(error) => Some(Err(shared(&error))),
            Landed::Lost => None,
        }
    }

    /// The load that is on its way, or a new one. Whoever calls begins to load only now, so nothing that was
    /// said before can be missing from what it finds.
    fn board(&self, id: SessionId) -> (Arc<Flight>, bool) {
        match self.flights.lock().entry(id) {
            Entry::Occupied(flight) if self.is_fresh(flight.get().began) => (Arc::clone(flight.get()), false),
            Entry::Occupied(mut stale) => {
                let flight = Arc::new(Flight::begin());
                stale.insert(Arc::clone(&flight));
                (flight, true)
            }
            Entry::Vacant(place) => (Arc::clone(place.insert(Arc::new(Flight::begin()))), true),
        }
    }

    /// Something happened to this session: what is kept goes, and what is on its way is not kept.
    pub(super) fn forget(&self, id: SessionId) {
        let mut flights = self.flights.lock();
        flights.remove(&id);
        self.rows.remove(&id);
    }

    /// Anything may have happened.
    pub(super) fn forget_all(&self) {
        let mut flights = self.flights.lock();
        flights.clear();
        self.rows.clear();
    }

    /// Forgets these when it is dropped: also when the caller goes away in the middle of a write.
    pub(super) fn forgetting<I: IntoIterator<Item = SessionId>>(
        &self,
        ids: I,
    ) -> Forgetting<'_, I::IntoIter> {
        Forgetting { cache: self, ids: Some(ids.into_iter()) }
    }
}

impl FeedListener for Cache {
    fn hear(&self, news: News) {
        match news {
            News::Changed(id) => self.forget(id),
            News::Everything => self.forget_all(),
            News::Up(until) => {
                let Trust::Feed(trust) = &self.trust else { return };
                if trust.load(Ordering::Acquire) == 0 {
                    // Who looked just before it went down may have kept something since.
                    self.forget_all();
                }
                trust.store(self.nanos(until), Ordering::Release);
            }
            News::Down => {
                // First nobody begins to read, then it is emptied: it comes back empty.
                if let Trust::Feed(trust) = &self.trust {
                    trust.store(0, Ordering::Release);
                }
                self.forget_all();
            }
        }
    }
}

/// The end of a load, however it ends.
struct Landing<'a> {
    cache: &'a Cache,
    id: SessionId,
    flight: &'a Arc<Flight>,
}

impl Landing<'_> {
    /// Keeps what was found, unless something was said since the load began: then this is not the load that
    /// is noted any more.
    fn keep(&self, landed: &Landed) {
        let flights = self.cache.flights.lock();
        if let Landed::Found(record) = landed
            && self.is_noted(&flights)
        {
            self.cache.rows.insert(self.id, Kept { record: record.clone(), began: self.flight.began });
        }
    }

    fn is_noted(&self, flights: &HashMap<SessionId, Arc<Flight>>) -> bool {
        flights.get(&self.id).is_some_and(|noted| Arc::ptr_eq(noted, self.flight))
    }
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        let mut flights = self.cache.flights.lock();
        if self.is_noted(&flights) {
            flights.remove(&self.id);
        }
        drop(flights);
        self.flight.land(Landed::Lost);
    }
}

/// See [`Cache::forgetting`].
pub(super) struct Forgetting<'a, I: Iterator<Item = SessionId>> {
    cache: &'a Cache,
    ids: Option<I>,
}

impl<I: Iterator<Item = SessionId>> Drop for Forgetting<'_, I> {
    fn drop(&mut self) {
        for id in self.ids.take().into_iter().flatten() {
            self.cache.forget(id);
        }
    }
}
