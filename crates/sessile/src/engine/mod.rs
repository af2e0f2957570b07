//! `Sessions`: the store, a policy and the laws. Everything that is not one request.
//!
//! This floor loads, merges, commits, renews and purges. It never sees a cookie or an HTTP request.

mod admin;
mod cache;
mod changes;
mod commit;
mod credential;
mod ending;
mod error;
mod event;
mod flight;
mod meta;
mod owner;
mod plan;
mod policy;
mod purge;
mod turns;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use crate::record::{
    Clock, Random, RandomError, SessionId, SessionRecord, SessionToken, SystemClock, SystemRandom, Timestamp,
};
use crate::store::group::Group;
use crate::store::{Feed, Grouping, Loaded, Outcome, SessionStore, StoreError, Write};

pub use admin::{Description, NewSession, Selection};
pub use cache::{CacheError, CacheOptions, CacheStats};
pub use changes::Changes;
pub(crate) use changes::{SignIn, UpdateValue};
pub(crate) use commit::Committed;
pub use credential::Credential;
pub use error::EngineError;
pub use event::{Event, Listener, Rejection};
pub(crate) use meta::Meta;
pub(crate) use plan::{Base, keeps_data};
pub use policy::{Lifetimes, Naming, Policy};
pub use purge::{PurgeReport, PurgeSchedule, PurgeTask};

use cache::Cache;
use event::Listeners;
use turns::Turns;

/// The service: a store, a policy, a clock. Cheap to clone; all clones are the same service.
///
/// ```
/// use sessile::{Policy, Sessions, store::MemoryStore};
/// use std::time::Duration;
///
/// let sessions = Sessions::builder(MemoryStore::new())
///     .policy(Policy::new().idle_timeout(Duration::from_secs(3600)))
///     .build();
/// # let _ = sessions;
/// ```
#[derive(Clone)]
pub struct Sessions {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn SessionStore>,
    policy: Policy,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    listeners: Listeners,
    turns: Turns,
    /// Where the store wants single calls grouped.
    loads: Option<Group<SessionId, Loaded>>,
    writes: Option<Group<Write, Result<Outcome, StoreError>>>,
    cache: Option<Arc<Cache>>,
    /// What keeps the cache told, as long as the service lives.
    _feed: Option<Feed>,
}

/// Puts a [`Sessions`] together.
pub struct SessionsBuilder {
    store: Arc<dyn SessionStore>,
    policy: Policy,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    listeners: Listeners,
    cache: Option<Arc<Cache>>,
    feed: Option<Feed>,
}

impl SessionsBuilder {
    /// Lifetimes, renewal and limits. Default: [`Policy::default`].
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> SessionsBuilder {
        self.policy = policy;
        self
    }

    /// The one source of time. Default: the operating system's.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> SessionsBuilder {
        self.clock = Arc::new(clock);
        self
    }

    /// The one source of secrets. Default: the operating system's; anything else is for simulations.
    #[must_use]
    pub fn random(mut self, random: impl Random) -> SessionsBuilder {
        self.random = Arc::new(random);
        self
    }

    /// Hears what happens to sessions. May be called several times.
    #[must_use]
    pub fn listener(mut self, listener: impl Listener) -> SessionsBuilder {
        self.listeners.add(Arc::new(listener));
        self
    }

    /// Reads from memory, and still a session that ends anywhere is dead here as soon as the store's feed
    /// tells it: see [`store::FeedListener`](crate::store::FeedListener). Default: no cache.
    ///
    /// ```no_run
    /// use sessile::{Sessions, engine::CacheOptions, store::{PostgresStore, SessionStore}};
    ///
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// let store = PostgresStore::connect("postgres://localhost/shop").await?;
    /// store.init().await?;
    /// store.init_feed().await?;
    /// let sessions = Sessions::builder(store).cache(CacheOptions::default()).await?.build();
    /// # let _ = sessions;
    /// # Ok(()) }
    /// ```
    ///
    /// A request that names a session which is kept costs 0 statements instead of 1; one that is not, 1 for all
    /// requests that want it at the moment. Writes cost what they cost, and what they write is loaded anew
    /// by the next request, once more when the feed has told of it. A write is merged onto what the store
    /// holds, never onto what is kept; lists, `get` and the other calls of this service ask the store.
    ///
    /// What changes in this process counts at once. What changes elsewhere (another process, Python, psql)
    /// counts here within the feed's delay, during which a session that has just been
    /// ended there is still alive here; never longer than [`CacheOptions::bound`], also when the network
    /// fails. While the feed is down every read asks the store, and the cache begins empty when it returns.
    ///
    /// Not worth it where most requests change their session, where the store is in this process, or where
    /// a session must be dead everywhere before its logout is answered.
    ///
    /// # Errors
    /// When the store has no feed ([`CacheOptions::stale_for`] does without), or the feed cannot be had: the
    /// server is away, or the table does not tell of its changes (`sessile init --feed`).
    pub async fn cache(mut self, options: CacheOptions) -> Result<SessionsBuilder, CacheError> {
        let cache = Arc::new(Cache::new(&options));
        if let Some(bound) = options.feed_bound() {
            let feed = self.store.feed(Arc::clone(&cache) as _, bound).await?;
            self.feed = Some(feed.ok_or(CacheError::NoFeed { store: self.store.name() })?);
        }
        self.cache = Some(cache);
        Ok(self)
    }

    /// The service.
    #[must_use]
    pub fn build(self) -> Sessions {
        let SessionsBuilder { store, policy, clock, random, listeners, cache, feed } = self;
        let Grouping { loads, writes } = store.grouping();
        let loads = (loads > 0).then(|| {
            let store = Arc::clone(&store);
            Group::new(loads, move |ids: Vec<SessionId>| {
                let store = Arc::clone(&store);
                async move { store.load_many(&ids).await }
            })
        });
        let writes = (writes > 0).then(|| {
            let store = Arc::clone(&store);
            Group::new(writes, move |writes| {
                let store = Arc::clone(&store);
                async move { store.apply_many(writes).await }
            })
        });
        let turns = Turns::default();
        let inner =
            Inner { store, policy, clock, random, listeners, turns, loads, writes, cache, _feed: feed };
        Sessions { inner: Arc::new(inner) }
    }
}

/// What a request's credentials come to.
enum Found {
    None,
    One(Box<(Credential, Base)>),
    /// Nobody knows which one is meant.
    Several,
}

impl Found {
    fn of(one: Option<(Credential, Base)>) -> Found {
        one.map_or(Found::None, |one| Found::One(Box::new(one)))
    }
}

impl Sessions {
    /// Sessions in `store`, with the default policy.
    pub fn new(store: impl SessionStore) -> Sessions {
        Sessions::builder(store).build()
    }

    /// Sessions in `store`, with choices.
    pub fn builder(store: impl SessionStore) -> SessionsBuilder {
        SessionsBuilder {
            store: Arc::new(store),
            policy: Policy::default(),
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
            listeners: Listeners::default(),
            cache: None,
            feed: None,
        }
    }

    /// The policy in force.
    pub fn policy(&self) -> &Policy {
        &self.inner.policy
    }

    /// The store.
    pub fn store(&self) -> &dyn SessionStore {
        &*self.inner.store
    }

    /// What the cache holds, if there is one.
    pub fn cache_stats(&self) -> Option<CacheStats> {
        self.inner.cache.as_deref().map(Cache::stats)
    }

    /// Now, by the clock of this service.
    pub fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    /// The one live session among those that a request names.
    ///
    /// None when there is none, and none when there are several: one of them may have been planted.
    /// Where `named` names no live one, `old` is tried.
    /// Cost: 1 statement, 2 where `old` is tried after `named`, 0 when nothing is named.
    pub(crate) async fn find(
        &self,
        named: &[Credential],
        old: &[Credential],
    ) -> Result<Option<(Credential, Base)>, EngineError> {
        match self.find_among(named).await? {
            Found::None => {}
            Found::One(found) => return Ok(Some(*found)),
            Found::Several => return Ok(None),
        }
        Ok(match self.find_among(old).await? {
            Found::One(found) => Some(*found),
            Found::None | Found::Several => None,
        })
    }

    async fn find_among(&self, named: &[Credential]) -> Result<Found, EngineError> {
        let mut found: Option<(Credential, Base)> = None;
        let loaded = match named {
            [] => return Ok(Found::None),
            [one] => {
                if let Some(base) = self.kept(one.id()) {
                    return Ok(Found::of(Some((one.clone(), base))));
                }
                let loaded = self.load_and_keep(one.id()).await;
                if matches!(loaded, Ok(None)) {
                    self.tell(Event::Rejected { reason: Rejection::Unknown });
                }
                let found = self.judge(loaded)?;
                return Ok(Found::of(found.map(|base| (one.clone(), self.note_cached(base)))));
            }
            _ => {
                let ids: Vec<SessionId> = named.iter().map(Credential::id).collect();
                self.in_time(self.store().load_many(&ids)).await?
            }
        };
        let unknown = loaded.iter().all(|loaded| matches!(loaded, Ok(None)));
        for (credential, loaded) in named.iter().zip(loaded) {
            let Some(base) = self.judge(loaded)? else { continue };
            if found.replace((credential.clone(), base)).is_some() {
                self.tell(Event::Rejected { reason: Rejection::Ambiguous });
                return Ok(Found::Several);
            }
        }
        if unknown {
            self.tell(Event::Rejected { reason: Rejection::Unknown });
        }
        Ok(Found::of(found))
    }

    /// The live session with this id, if the cache has it. What it holds for dead is asked for anew: others
    /// may have prolonged it.
    fn kept(&self, id: SessionId) -> Option<Base> {
        let cache = self.inner.cache.as_ref()?;
        let record = cache.get(id)?;
        if !self.is_live(&record) {
            cache.forget(id);
            return None;
        }
        self.judge(Ok(Some(record))).ok().flatten().map(|base| self.note_cached(base))
    }

    /// Notes that the row may be older than the request.
    fn note_cached(&self, mut base: Base) -> Base {
        base.is_cached = self.inner.cache.is_some();
        base
    }

    /// One row for a request that begins: where there is a cache, together with all who want the same.
    async fn load_and_keep(&self, id: SessionId) -> Loaded {
        if let Some(cache) = &self.inner.cache {
            let sessions = self.clone();
            let loading = cache.load(id, || async move { sessions.ask_load(id).await });
            if let Some(loaded) = loading.await {
                return loaded;
            }
        }
        self.ask_load(id).await
    }

    /// The live session with this id, from the store. Cost: 1 statement.
    pub(crate) async fn load(&self, id: SessionId) -> Result<Option<Base>, EngineError> {
        let loaded = self.ask_load(id).await;
        self.judge(loaded)
    }

    /// One row from the store, in time, together with what others ask for.
    async fn ask_load(&self, id: SessionId) -> Loaded {
        match &self.inner.loads {
            Some(group) => self.in_time(group.ask(id)).await?.unwrap_or_else(|| Err(self.lost_batch())),
            None => self.in_time(self.store().load(id)).await?,
        }
    }

    /// One write to the store, in time, together with those of others.
    async fn apply(&self, write: Write) -> Result<Outcome, StoreError> {
        let write = write.judged_by(&self.inner.clock);
        // Before the answer leaves, whatever it is.
        let _forgetting = self.inner.cache.as_deref().map(|cache| cache.forgetting(write.ids()));
        match &self.inner.writes {
            Some(group) => self.in_time(group.ask(write)).await?.unwrap_or_else(|| Err(self.lost_batch())),
            None => self.in_time(self.store().apply(write)).await?,
        }
    }

    fn lost_batch(&self) -> StoreError {
        let reason = "the batch was lost: the store panicked or the program is shutting down".to_owned();
        StoreError::Unavailable { store: self.inner.store.name(), reason, source: None }
    }

    /// What a loaded row means: nothing when it is dead or cannot be read.
    fn judge(&self, loaded: Result<Option<SessionRecord>, StoreError>) -> Result<Option<Base>, EngineError> {
        let record = match loaded {
            Ok(Some(record)) => record,
            Ok(None) => return Ok(None),
            Err(StoreError::Malformed(row)) => {
                self.tell(Event::Corrupt { id: row.id, problem: row.problem });
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        let base = Base::of(record, self.policy());
        if !self.policy().is_live(&base.record, || Meta::of(&base.data), self.now()) {
            self.tell(Event::Expired { id: base.record.id() });
            return Ok(None);
        }
        if let Some(problem) = &base.problem {
            self.tell(Event::Corrupt { id: base.record.id().to_string(), problem: problem.clone() });
        }
        Ok(Some(base))
    }

    fn new_credential(&self) -> Result<Credential, EngineError> {
        let random = &*self.inner.random;
        Ok(match self.policy().naming() {
            Naming::Token => Credential::Token(SessionToken::generate(random)?),
            Naming::Id => Credential::Id(SessionId::random(random)?),
        })
    }

    pub(crate) fn fill_random(&self, bytes: &mut [u8]) -> Result<(), RandomError> {
        self.inner.random.fill(bytes)
    }

    fn tell(&self, event: Event) {
        self.inner.listeners.tell(event);
    }

    /// Waits for the store, but not for ever.
    async fn in_time<T>(&self, answer: impl Future<Output = T>) -> Result<T, StoreError> {
        let mut answer = pin!(answer);
        // A store that answers at once, as those in this process do, needs no timer.
        let at_once = poll_fn(|context| {
            Poll::Ready(match answer.as_mut().poll(context) {
                Poll::Ready(answer) => Some(answer),
                Poll::Pending => None,
            })
        });
        if let Some(answer) = at_once.await {
            return Ok(answer);
        }
        let after = self.policy().store_timeout;
        tokio::time::timeout(after, answer)
            .await
            .map_err(|_| StoreError::Timeout { store: self.inner.store.name(), after })
    }
}
