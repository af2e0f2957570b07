//! `Sessions`: the store, a policy and the laws. Everything that is not one request.
//!
//! This floor loads, merges, commits, renews and purges. It never sees a cookie or an HTTP request.

mod admin;
mod background;
mod batches;
mod cache;
mod changes;
mod commit;
mod credential;
mod ending;
mod error;
mod event;
mod flight;
mod kept;
mod meta;
mod owner;
mod plan;
mod policy;
mod purge;
mod renewals;
mod reported;
mod size;
mod turns;
mod watch;

use std::future::Future;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::Either;
use smallvec::SmallVec;

use crate::record::{
    Clock, InvalidUserId, Random, RandomError, Realm, SessionId, SessionRecord, SessionToken, SystemClock,
    SystemRandom, Timestamp, UserId,
};
use crate::store::finish::Finish;
use crate::store::group::{Bounds, Group};
use crate::store::limit::TimeLimit;
use crate::store::loads::Loads;
use crate::store::setting::refuse;
use crate::store::{
    Feed, FeedListener, Grouping, Loaded, News, Outcome, SessionStore, SettingError, StoreError, Write,
};

pub use admin::{Description, NewSession, Selection};
pub use cache::{CacheError, CacheOptions, CacheStats};
pub use changes::Changes;
pub(crate) use changes::{SignIn, Step, UpdateValue};
pub(crate) use commit::Committed;
pub use credential::Credential;
pub(crate) use credential::Credentials;
pub(crate) use ending::{Ending, Endings};
pub use error::{EngineError, RealmError};
pub use event::{Event, Listener, Rejection};
pub(crate) use meta::Meta;
use plan::Rules;
pub(crate) use plan::{Base, keeps_data};
pub use policy::{Lifetimes, Naming, Policy, PolicyError};
pub use purge::{PurgeReport, PurgeSchedule, PurgeTask};
pub(crate) use renewals::Renewal;
pub(crate) use size::{CSRF_TOKEN, check_value};
pub use watch::{Ended, Watch};

use background::Background;
use batches::{Rows, Writes};
use cache::Cache;
use event::Listeners;
use renewals::Renewals;
use reported::Reported;
use turns::Turns;
use watch::Watchers;

/// Intervals of background work: one of zero would keep a core and the store busy.
const INTERVALS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::MAX;

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
    realm: Option<Realm>,
}

struct Inner {
    store: Arc<dyn SessionStore>,
    policy: Policy,
    limit: TimeLimit,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    listeners: Listeners,
    reported: Reported,
    turns: Turns,
    renewals: Renewals,
    background: Background,
    /// Where the store wants single calls grouped.
    loads: Option<Group<Loads<Rows>>>,
    writes: Option<Group<Writes>>,
    cache: Option<Arc<Cache>>,
    watchers: Arc<Watchers>,
    /// What keeps the cache and the watchers told, as long as the service lives.
    feed: Option<Feed>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Its task need not wait any more.
        self.watchers.bell.notify_one();
    }
}

/// Forwards events of the feed: to the cache first, then to the watchers, which read from it.
struct Ears {
    cache: Arc<Cache>,
    watchers: Arc<Watchers>,
}

impl FeedListener for Ears {
    fn hear(&self, news: News) {
        self.cache.hear(news);
        self.watchers.hear(news);
    }
}

/// Puts a [`Sessions`] together.
pub struct SessionsBuilder {
    store: Arc<dyn SessionStore>,
    policy: Policy,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    listeners: Listeners,
    cache: Option<Arc<Cache>>,
    watchers: Arc<Watchers>,
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
    /// requests that want it at the moment. A change costs 1 instead of 2: it is planned on what is kept, merged
    /// onto what the store holds, as ever, and what it leaves is kept. PostgreSQL tells what each change has made of
    /// the row, so this process knows its own; Redis does not, and there a session that was changed is loaded by
    /// the next request. A request with several session cookies asks the store, for all of them but one are dead,
    /// and that a session is not there is never kept. Lists, `get` and the other calls of this service ask the store.
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
    /// When an option cannot work, the store has no feed ([`CacheOptions::stale_for`] does without), or the feed cannot be had: the
    /// server is away, or does not tell of its changes (PostgreSQL: `sessile init --feed`).
    pub async fn cache(mut self, options: CacheOptions) -> Result<SessionsBuilder, CacheError> {
        options.validate()?;
        let cache = Arc::new(Cache::new(&options));
        if let Some(bound) = options.feed_bound() {
            let ears = Ears { cache: Arc::clone(&cache), watchers: Arc::clone(&self.watchers) };
            let feed = self.store.feed(Arc::new(ears), bound).await?;
            self.feed = Some(feed.ok_or(CacheError::NoFeed { store: self.store.name() })?);
        }
        self.cache = Some(cache);
        Ok(self)
    }

    /// How often [watched](Sessions::watch) sessions are looked at where no feed tells of their ends, and while it
    /// is down. Default: 5 seconds.
    ///
    /// # Panics
    /// When it is shorter than 10 milliseconds.
    #[must_use]
    pub fn watch_interval(self, interval: Duration) -> SessionsBuilder {
        let setting = "SessionsBuilder::watch_interval";
        if let Err(error) = SettingError::check_time(setting, interval, &INTERVALS) {
            refuse(&error);
        }
        self.watchers.look_every(interval);
        self
    }

    /// Returns the service.
    ///
    /// # Panics
    /// When the policy is refused by [`Policy::validate`], with the message of its error;
    /// [`try_build`](Self::try_build) returns the error.
    #[must_use]
    pub fn build(self) -> Sessions {
        self.try_build().unwrap_or_else(|error| refuse(&error))
    }

    /// Returns the service, for a policy that comes from a file or a command line.
    ///
    /// ```
    /// use sessile::{Policy, Sessions, store::MemoryStore};
    /// use std::time::Duration;
    ///
    /// let policy = Policy::new().idle_timeout(Duration::ZERO);
    /// let refused = Sessions::builder(MemoryStore::new()).policy(policy).try_build().err().unwrap();
    /// assert_eq!(refused.to_string(), "`Policy::idle_timeout` is 0ns: at least 1s is needed");
    /// ```
    ///
    /// # Errors
    /// When the policy is refused by [`Policy::validate`].
    pub fn try_build(self) -> Result<Sessions, PolicyError> {
        self.policy.validate()?;
        let SessionsBuilder { store, policy, clock, random, listeners, cache, watchers, feed } = self;
        let Grouping { loads, writes } = store.grouping();
        let patience = policy.store_timeout;
        let limit = TimeLimit::new(patience);
        let loads = (loads > 0)
            .then(|| Group::new(Loads(Rows(Arc::clone(&store))), Bounds::of_loads(loads, patience)));
        let writes =
            (writes > 0).then(|| Group::new(Writes(Arc::clone(&store)), Bounds::new(writes, patience)));
        Ok(Sessions {
            inner: Arc::new(Inner {
                store,
                policy,
                limit,
                clock,
                random,
                listeners,
                reported: Reported::default(),
                turns: Turns::default(),
                renewals: Renewals::default(),
                background: Background::default(),
                loads,
                writes,
                cache,
                watchers,
                feed,
            }),
            realm: None,
        })
    }
}

/// Ids that a request names: none or one, but for planted cookies.
pub(crate) type SessionIds = SmallVec<[SessionId; 1]>;

fn ids(named: &[Credential]) -> SessionIds {
    named.iter().map(Credential::id).collect()
}

/// What the store knows of the sessions that a request names.
pub(crate) struct Sighting {
    /// The one that counts.
    pub(crate) found: Option<(Credential, Arc<Base>)>,
    /// Others that may be live: a sign-in and a logout end them, too.
    pub(crate) others: SessionIds,
}

/// What a request's credentials come to.
enum Found {
    None,
    One(Credential, Arc<Base>),
    /// Nobody knows which one is meant.
    Several,
}

impl Found {
    fn of(credential: &Credential, base: Option<Base>) -> Found {
        base.map_or(Found::None, |base| Found::One(credential.clone(), Arc::new(base)))
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
            watchers: Arc::new(Watchers::default()),
            feed: None,
        }
    }

    /// The same service in a realm: its tokens name no session of another realm or of none, and theirs none of its.
    ///
    /// Sign-ins of the two are apart, the table is not: [`list`](Self::list), [`revoke_user`](Self::revoke_user),
    /// [`get`](Self::get) and whatever else takes a user or an id reach the sessions of all realms.
    ///
    /// ```
    /// use sessile::{Sessions, store::MemoryStore};
    ///
    /// let site = Sessions::new(MemoryStore::new());
    /// let admin = site.in_realm("admin")?;
    /// # let _ = admin;
    /// # Ok::<(), sessile::engine::RealmError>(())
    /// ```
    ///
    /// # Errors
    /// When the name cannot be one, or the policy names sessions by their id ([`Naming::Id`]), which no realm changes.
    pub fn in_realm(&self, name: &str) -> Result<Sessions, RealmError> {
        let realm = Realm::new(name)?;
        if self.policy().naming() == Naming::Id {
            return Err(RealmError::ById { name: name.to_owned() });
        }
        Ok(Sessions { inner: Arc::clone(&self.inner), realm: Some(realm) })
    }

    /// The realm of its tokens, if they have one.
    pub fn realm(&self) -> Option<&Realm> {
        self.realm.as_ref()
    }

    /// The policy in force.
    pub fn policy(&self) -> &Policy {
        &self.inner.policy
    }

    /// Bytes that a session may hold: [`Policy::max_data_bytes`], or less where the store's column holds less.
    pub(crate) fn data_limit(&self) -> usize {
        let column = self.store().data_limit().map(|bytes| bytes.saturating_sub(size::OWN_BYTES));
        column.unwrap_or(usize::MAX).min(self.policy().max_data_bytes)
    }

    /// What a row may become here.
    pub(crate) fn rules(&self) -> Rules<'_> {
        let user_chars = self.store().user_id_limit();
        Rules { policy: self.policy(), data_bytes: self.data_limit(), user_chars }
    }

    /// Refuses a user id that the store's column does not hold.
    pub(crate) fn check_user_id(&self, user: &UserId) -> Result<(), InvalidUserId> {
        user.check_fits(self.store().user_id_limit())
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

    /// Looks for the one live session among those that a request names.
    ///
    /// There is none, too, when several are live: one of them may have been planted. Where `named` names no live
    /// one, `old` is tried.
    /// Cost: 1 statement, 2 where `old` is tried after `named`, 0 when nothing is named.
    pub(crate) async fn find(
        &self,
        named: &[Credential],
        old: &[Credential],
    ) -> Result<Sighting, EngineError> {
        let (found, others) = match self.find_among(named).await? {
            Found::One(credential, base) => (Some((credential, base)), ids(old)),
            Found::Several => (None, ids(named).into_iter().chain(ids(old)).collect()),
            Found::None => match self.find_among(old).await? {
                Found::One(credential, base) => (Some((credential, base)), SessionIds::new()),
                Found::Several => (None, ids(old)),
                Found::None => (None, SessionIds::new()),
            },
        };
        Ok(Sighting { found, others })
    }

    async fn find_among(&self, named: &[Credential]) -> Result<Found, EngineError> {
        let mut found = Found::None;
        let loaded = match named {
            [] => return Ok(Found::None),
            [one] => {
                let id = one.id();
                if let Some(base) = self.kept(id) {
                    return Ok(Found::of(one, Some(base)));
                }
                let loaded = self.load_and_keep(id).await;
                if matches!(loaded, Ok(None)) {
                    self.tell(Event::Rejected { reason: Rejection::Unknown });
                }
                let base = self.judge(loaded)?.map(|base| self.note_cached(base));
                return Ok(Found::of(one, base));
            }
            _ => {
                let ids: Vec<SessionId> = named.iter().map(Credential::id).collect();
                self.in_time(self.store().load_many(&ids)).await?
            }
        };
        let unknown = loaded.iter().all(|loaded| matches!(loaded, Ok(None)));
        for (credential, loaded) in named.iter().zip(loaded) {
            let Some(base) = self.judge(loaded)? else { continue };
            if let Found::One(..) = std::mem::replace(&mut found, Found::of(credential, Some(base))) {
                self.tell(Event::Rejected { reason: Rejection::Ambiguous });
                return Ok(Found::Several);
            }
        }
        if unknown {
            self.tell(Event::Rejected { reason: Rejection::Unknown });
        }
        Ok(found)
    }

    /// The live session with this id, if the cache has it. What it holds for dead is asked for anew: others
    /// may have prolonged it.
    fn kept(&self, id: SessionId) -> Option<Base> {
        let cache = self.inner.cache.as_ref()?;
        let kept = cache.get(id)?;
        let record = kept.record.clone();
        let base = match kept.data() {
            Some(data) => Base::with(record, data, self.rules()),
            None => Base::of(record, self.rules()),
        };
        if !self.is_base_live(&base) {
            cache.forget(id);
            return None;
        }
        self.tell_problem(&base);
        Some(self.note_cached(base))
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
            Some(group) => self.in_time(group.load(id, self.store().name())).await?,
            None => self.in_time(self.store().load(id)).await?,
        }
    }

    /// One write to the store, in time, together with those of others.
    fn apply(&self, write: Write) -> impl Future<Output = Result<Outcome, StoreError>> + Send + use<'_> {
        let Some(cache) = &self.inner.cache else { return Either::Left(self.ask_apply(write)) };
        let (sessions, forgetting) = (self.clone(), cache.forgetting(write.ids()));
        Either::Right(Finish::new(async move {
            let outcome = sessions.ask_apply(write).await;
            // Before the answer leaves, whatever it is.
            drop(forgetting);
            outcome
        }))
    }

    /// The same for a write that leaves the row `after`: where there is a cache, it is kept. `before`: the row
    /// that the write was planned on, unless it makes one.
    ///
    /// With a cache the write is followed to its end though its caller goes away: the store makes it all the same,
    /// and the cache must learn when.
    fn apply_known(
        &self,
        write: Write,
        before: Option<&SessionRecord>,
        after: &SessionRecord,
    ) -> impl Future<Output = Result<Outcome, StoreError>> + Send + use<'_> {
        let Some(cache) = &self.inner.cache else { return Either::Left(self.ask_apply(write)) };
        let id = after.id();
        let forgetting = cache.forgetting(write.ids().filter(move |other| *other != id));
        let (sessions, writing) = (self.clone(), cache.writing(after.clone(), before));
        Either::Right(Finish::new(async move {
            let outcome = sessions.ask_apply(write).await;
            drop(forgetting);
            if let Ok(Outcome::Applied) = outcome {
                writing.applied();
            }
            outcome
        }))
    }

    /// Hands the write over before the first wait, so that the futures of those who call this need not carry it.
    fn ask_apply(&self, write: Write) -> impl Future<Output = Result<Outcome, StoreError>> + Send + use<'_> {
        let write = write.judged_by(&self.inner.clock);
        let unsure = Unsure { watchers: &self.inner.watchers, ids: [write.id()], is_unsure: true };
        let answer = self.send_write(write);
        async move {
            let mut unsure = unsure;
            let outcome = self.in_time(answer).await.flatten();
            unsure.is_unsure = outcome.is_err();
            outcome
        }
    }

    fn send_write(
        &self,
        write: Write,
    ) -> Pin<Box<dyn Future<Output = Result<Outcome, StoreError>> + Send + '_>> {
        let Some(group) = &self.inner.writes else { return self.store().apply(write) };
        let store = self.store().name();
        Box::pin(async move {
            group.ask(write).await.unwrap_or_else(|unanswered| Err(unanswered.of_write(store)))
        })
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
        let base = Base::of(record, self.rules());
        if !self.is_base_live(&base) {
            self.tell_end_of_life(&base);
            return Ok(None);
        }
        self.tell_problem(&base);
        Ok(Some(base))
    }

    /// Tells why a row that is there is no live session; of an expired one, unless that was told before.
    fn tell_end_of_life(&self, base: &Base) {
        let (now, record) = (self.now(), &base.record);
        let is_ahead = |began| record.is_live(now) && self.policy().is_from_the_future(began, now);
        if record.created_at().is_some_and(is_ahead) {
            return self.tell(Event::Rejected { reason: Rejection::FromTheFuture });
        }
        let id = record.id();
        // What was read before a renewal says so, too.
        self.inner.watchers.doubt(&[id]);
        if self.inner.reported.is_first_request(id) {
            self.tell(Event::Expired { id, user: base.owner().cloned() });
        }
    }

    fn is_base_live(&self, base: &Base) -> bool {
        self.policy().is_live(&base.record, || Meta::of(&base.data), self.now())
    }

    fn tell_problem(&self, base: &Base) {
        if let Some(problem) = &base.problem {
            self.tell(Event::Corrupt { id: base.record.id().to_string(), problem: problem.clone() });
        }
    }

    fn new_credential(&self) -> Result<Credential, EngineError> {
        let random = &*self.inner.random;
        Ok(match self.policy().naming() {
            Naming::Token => Credential::Token(SessionToken::generate_in(self.realm.as_ref(), random)?),
            Naming::Id => Credential::Id(SessionId::random(random)?),
        })
    }

    pub(crate) fn fill_random(&self, bytes: &mut [u8]) -> Result<(), RandomError> {
        self.inner.random.fill(bytes)
    }

    fn tell(&self, event: Event) {
        self.tell_watchers(&event);
        self.inner.listeners.tell(event);
    }

    /// Waits for the store, but not for ever.
    async fn in_time<T>(&self, answer: impl Future<Output = T>) -> Result<T, StoreError> {
        let Inner { store, limit, .. } = &*self.inner;
        let timeout = || StoreError::Timeout { store: store.name(), after: limit.length() };
        limit.keep(answer).await.ok_or_else(timeout)
    }

    /// Waits twice as long: for what may itself wait for locked rows as long as the deadline, and then says more
    /// than that it timed out.
    async fn in_twice_the_time<T>(&self, answer: impl Future<Output = T>) -> Result<T, StoreError> {
        let after = self.inner.limit.length() * 2;
        let timeout = |_| StoreError::Timeout { store: self.inner.store.name(), after };
        tokio::time::timeout(after, answer).await.map_err(timeout)
    }

    /// Where there is a cache, brings the work to its end though the caller goes away: otherwise the cache would
    /// not learn what the store does with a write whose caller has gone.
    async fn to_its_end<T: Send + 'static>(&self, work: Pin<Box<dyn Future<Output = T> + Send>>) -> T {
        if self.inner.cache.is_none() { work.await } else { Finish::new(work).await }
    }
}

/// A write of which nobody may learn what became of it: its caller went away, or it failed.
struct Unsure<'a> {
    watchers: &'a Watchers,
    ids: [SessionId; 1],
    is_unsure: bool,
}

impl Drop for Unsure<'_> {
    fn drop(&mut self) {
        if self.is_unsure {
            self.watchers.doubt(&self.ids);
        }
    }
}
