//! The coherent cache: rows in this process's memory, forgotten when the store's feed says so.
//!
//! It must never give out a row of which it cannot know whether it still holds. So a row is kept only if
//! nothing was said about it since its load began, and given out only while the feed is known to be alive.
//! It keeps rows that are there, never that one is not there.
//!
//! A write of our own is kept, too: planned on the very row that was kept, it leaves a row that is known
//! beforehand, if nothing else was said before it was answered. What the feed then says of it is recognised by the
//! row's [fingerprint](crate::record::Fingerprint), where the store tells it: news that the row has become what is
//! kept is no reason to forget it. For the feed tells in the order in which things happened: whatever comes after
//! that row comes after that news.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use quick_cache::Weighter;
use tokio::time::Instant;

use super::flight::Flight;
use super::kept::{Kept, ROW_BYTES};
use crate::record::{Fingerprint, SessionId, SessionRecord};
use crate::store::loads::{Landed, shared};
use crate::store::setting::DEADLINES;
use crate::store::{FeedListener, Loaded, News, SettingError, StoreError};

/// The shortest bound: a feed's signs of life are not closer together than a third of it.
const LEAST_BOUND: Duration = Duration::from_millis(30);

/// How much to keep, and for how long. Default: 100,000 sessions, 64 MiB, a bound of 3 seconds.
///
/// A cache pays where sessions are read much more often than changed. On PostgreSQL its feed costs those who write:
/// [`PostgresStore`](crate::store::postgres) says how much, and where to do without.
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
    /// another process be alive here for as long. In this process every change counts at once. At least one
    /// millisecond.
    pub fn stale_for(staleness: Duration) -> CacheOptions {
        CacheOptions { stale: Some(staleness), ..CacheOptions::default() }
    }

    /// Sessions kept at most, 100,000 by default, at least one.
    pub fn max_sessions(mut self, sessions: u64) -> CacheOptions {
        self.max_sessions = sessions;
        self
    }

    /// Bytes kept at most, 64 MiB by default: the data, the user's id, and 320 for each session with 8 for each
    /// of its keys. At least 320.
    pub fn max_bytes(mut self, bytes: u64) -> CacheOptions {
        self.max_bytes = bytes;
        self
    }

    /// For how long reads are trusted after the feed's last sign of life, 3 seconds by default. Normally a
    /// change counts here as soon as the feed tells it, and a feed that breaks is
    /// noticed at once; a feed that hangs without breaking is noticed after this time, and no read is staler.
    /// At least 30 milliseconds, at most a day.
    pub fn bound(mut self, bound: Duration) -> CacheOptions {
        self.bound = bound;
        self
    }

    /// Checks the options.
    ///
    /// # Errors
    /// When one of them is outside of what is allowed.
    pub fn validate(&self) -> Result<(), SettingError> {
        SettingError::check_number("CacheOptions::max_sessions", self.max_sessions, 1)?;
        SettingError::check_number("CacheOptions::max_bytes", self.max_bytes, ROW_BYTES as u64)?;
        SettingError::check_time("CacheOptions::bound", self.bound, &(LEAST_BOUND..=*DEADLINES.end()))?;
        let staleness = self.stale.unwrap_or(Duration::MAX);
        SettingError::check_time("CacheOptions::stale_for", staleness, &(*DEADLINES.start()..=Duration::MAX))
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
    /// An option with which it cannot work.
    #[error(transparent)]
    Setting(#[from] SettingError),
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
struct Weights {
    /// No row weighs less: so the bytes bound the number, too.
    least: u64,
}

impl Weighter<SessionId, Arc<Kept>> for Weights {
    fn weight(&self, _: &SessionId, kept: &Arc<Kept>) -> u64 {
        kept.bytes().max(self.least)
    }
}

type Rows = quick_cache::sync::Cache<SessionId, Arc<Kept>, Weights>;

/// What is on its way for a session, and is kept when it arrives if nothing contradicts it.
enum Coming {
    /// A load, and what the row was last said to have become since it began.
    Load { flight: Arc<Flight>, told: Option<Fingerprint> },
    /// A write, and the row that it leaves.
    Write(Arc<Kept>),
}

/// Until when what is kept may be given out.
enum Trust {
    /// Until the feed's word runs out: nanoseconds after `origin`, 0 while it is down.
    Feed(AtomicU64),
    /// So long after its load began.
    Age(Duration),
}

pub(super) struct Cache {
    rows: Rows,
    /// At most one for each session. Whatever is kept or forgotten is so under this lock.
    coming: Mutex<HashMap<SessionId, Coming>>,
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
            coming: Mutex::default(),
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

    /// Whether what it gives out is as new as what the feed has told.
    pub(super) fn is_coherent(&self) -> bool {
        matches!(self.trust, Trust::Feed(_))
    }

    fn nanos(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.origin).as_nanos()).unwrap_or(u64::MAX)
    }

    fn is_fresh(&self, since: Instant) -> bool {
        match self.trust {
            Trust::Feed(_) => true,
            Trust::Age(age) => since.elapsed() < age,
        }
    }

    /// What is kept of this session, if it can be trusted.
    pub(super) fn get(&self, id: SessionId) -> Option<Arc<Kept>> {
        if !self.is_up() {
            return None;
        }
        self.rows.get(&id).filter(|kept| self.is_fresh(kept.since))
    }

    /// Loads a session, together with all who want it now: 1 statement for all of them. `None`: the caller
    /// has to load by itself.
    ///
    /// The load runs in a task of its own, so that a caller who goes away takes it from nobody.
    pub(super) async fn load<F>(self: &Arc<Cache>, id: SessionId, load: impl FnOnce() -> F) -> Option<Loaded>
    where
        F: Future<Output = Loaded> + Send + 'static,
    {
        let (flight, is_first) = self.board(id)?;
        if is_first {
            let (cache, flight, load) = (Arc::clone(self), Arc::clone(&flight), load());
            tokio::spawn(async move {
                let landing = Landing { cache: &cache, id, flight: &flight };
                let landed = Landed::from(load.await);
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

    /// The load that is on its way, or a new one; `None` while nothing can be kept. Whoever calls begins to load
    /// only now, so nothing that was said before can be missing from what it finds.
    fn board(&self, id: SessionId) -> Option<(Arc<Flight>, bool)> {
        let mut coming = self.coming.lock();
        // Under the lock: when it goes down it is emptied, and nothing boards after that.
        if !self.is_up() {
            return None;
        }
        if let Some(Coming::Load { flight, told: None }) = coming.get(&id)
            && self.is_fresh(flight.began)
        {
            return Some((Arc::clone(flight), false));
        }
        let flight = Arc::new(Flight::begin());
        coming.insert(id, Coming::Load { flight: Arc::clone(&flight), told: None });
        Some((flight, true))
    }

    /// A write of our own begins that leaves the row `after`. It was planned on `before`; `None`: it makes a row.
    ///
    /// What was planned on anything but what is kept is not kept: news of what came between may have been told
    /// already, and is not told again.
    pub(super) fn writing(
        self: &Arc<Cache>,
        after: SessionRecord,
        before: Option<&SessionRecord>,
    ) -> Writing {
        let id = after.id();
        let after = Arc::new(Kept::new(after, Instant::now()));
        let mut coming = self.coming.lock();
        let is_kept = |before: &SessionRecord| {
            self.rows.peek(&id).is_some_and(|kept| kept.record == *before && self.is_fresh(kept.since))
        };
        if self.is_up() && before.is_none_or(is_kept) {
            coming.insert(id, Coming::Write(Arc::clone(&after)));
        }
        Writing { cache: Arc::clone(self), after, is_applied: false }
    }

    /// Something happened to this session: what is kept goes, and what is on its way is not kept.
    pub(super) fn forget(&self, id: SessionId) {
        let mut coming = self.coming.lock();
        coming.remove(&id);
        self.rows.remove(&id);
    }

    /// This session has become the row with this fingerprint: what is another one goes.
    fn compare(&self, id: SessionId, fingerprint: Fingerprint) {
        let is_same = |kept: &Arc<Kept>| kept.record.fingerprint() == Some(fingerprint);
        let mut coming = self.coming.lock();
        match coming.get_mut(&id) {
            // It may have read before or after: the row itself will tell.
            Some(Coming::Load { told, .. }) => *told = Some(fingerprint),
            Some(Coming::Write(after)) if is_same(after) => {}
            Some(Coming::Write(_)) => drop(coming.remove(&id)),
            None => {}
        }
        if self.rows.peek(&id).is_some_and(|kept| !is_same(&kept)) {
            self.rows.remove(&id);
        }
    }

    /// Anything may have happened.
    pub(super) fn forget_all(&self) {
        let mut coming = self.coming.lock();
        coming.clear();
        self.rows.clear();
    }

    /// Forgets these when it is dropped: also when the caller goes away in the middle of a write.
    pub(super) fn forgetting<I: IntoIterator<Item = SessionId>>(
        self: &Arc<Cache>,
        ids: I,
    ) -> Forgetting<I::IntoIter> {
        Forgetting { cache: Arc::clone(self), ids: Some(ids.into_iter()) }
    }
}

impl FeedListener for Cache {
    fn hear(&self, news: News) {
        match news {
            News::Changed(id) => self.forget(id),
            News::Became(id, fingerprint) => self.compare(id, fingerprint),
            News::Everything => self.forget_all(),
            News::Up(until) => {
                if let Trust::Feed(trust) = &self.trust {
                    trust.store(self.nanos(until), Ordering::Release);
                }
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
    /// Keeps what was found, unless something else was said since the load began.
    fn keep(&self, landed: &Landed) {
        let Landed::Found(record) = landed else { return };
        let kept = Arc::new(Kept::new(record.clone(), self.flight.began));
        let coming = self.cache.coming.lock();
        if let Some(Coming::Load { flight, told }) = coming.get(&self.id)
            && Arc::ptr_eq(flight, self.flight)
            && (told.is_none() || *told == record.fingerprint())
        {
            self.cache.rows.insert(self.id, kept);
        }
    }
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        let mut coming = self.cache.coming.lock();
        if let Some(Coming::Load { flight, .. }) = coming.get(&self.id)
            && Arc::ptr_eq(flight, self.flight)
        {
            coming.remove(&self.id);
        }
        drop(coming);
        self.flight.land(Landed::Lost);
    }
}

/// See [`Cache::writing`]. Dropped without a word, nobody knows what the row is: the caller went away, the write
/// failed, or did not match.
pub(super) struct Writing {
    cache: Arc<Cache>,
    after: Arc<Kept>,
    is_applied: bool,
}

impl Writing {
    /// It was made.
    pub(super) fn applied(mut self) {
        self.is_applied = true;
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        let id = self.after.record.id();
        let mut coming = self.cache.coming.lock();
        let noted = coming.remove(&id);
        match noted {
            Some(Coming::Write(after)) if self.is_applied && Arc::ptr_eq(&after, &self.after) => {
                self.cache.rows.insert(id, after);
            }
            _ => drop(self.cache.rows.remove(&id)),
        }
    }
}

/// See [`Cache::forgetting`].
pub(super) struct Forgetting<I: Iterator<Item = SessionId>> {
    cache: Arc<Cache>,
    ids: Option<I>,
}

impl<I: Iterator<Item = SessionId>> Drop for Forgetting<I> {
    fn drop(&mut self) {
        for id in self.ids.take().into_iter().flatten() {
            self.cache.forget(id);
        }
    }
}
