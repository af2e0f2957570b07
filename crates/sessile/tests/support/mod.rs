//! A browser, a service on an injected clock, and a store that counts what it is asked.
#![allow(
    missing_docs,
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    reason = "shared by several test programs"
)]

pub mod caller;
pub mod logs;

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::handler::Handler;
use http::{Request, Response, StatusCode, header};
use sessile::engine::Event;
use sessile::record::{ManualClock, Timestamp};
use sessile::store::{
    ListPage, ListQuery, Loaded, MemoryStore, Outcome, PurgeBatch, PurgeLimits, SessionStore, SqliteStore,
    StoreError, StoreStats, Write,
};
use sessile::{CookieConfig, Policy, Session, SessionId, SessionLayer, Sessions, UserId};
use tower::ServiceExt;

type Interference = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Counts calls, can be switched off as a network is, and lets somebody else be faster.
#[derive(Clone)]
pub struct Watched {
    store: Arc<dyn SessionStore>,
    statements: Arc<AtomicUsize>,
    looked_up: Arc<AtomicUsize>,
    down: Arc<AtomicBool>,
    writes_down: Arc<AtomicBool>,
    silent: Arc<AtomicBool>,
    loses_answer: Arc<AtomicBool>,
    before_writes: Arc<Mutex<VecDeque<Interference>>>,
}

impl Watched {
    pub fn new(store: impl SessionStore) -> Watched {
        Watched {
            store: Arc::new(store),
            statements: Arc::default(),
            looked_up: Arc::default(),
            down: Arc::default(),
            writes_down: Arc::default(),
            silent: Arc::default(),
            loses_answer: Arc::default(),
            before_writes: Arc::default(),
        }
    }

    /// Ids looked up since the last call.
    pub fn looked_up(&self) -> usize {
        self.looked_up.swap(0, Ordering::SeqCst)
    }

    /// Reads work and writes fail.
    pub fn set_writes_down(&self, down: bool) {
        self.writes_down.store(down, Ordering::SeqCst);
    }

    /// Takes every question and answers none.
    pub fn set_silent(&self, silent: bool) {
        self.silent.store(silent, Ordering::SeqCst);
    }

    /// Somebody else is faster: this happens just before the next write. Called several times, before
    /// the writes after that.
    pub fn before_next_write(&self, interference: impl Future<Output = ()> + Send + 'static) {
        self.before_writes.lock().unwrap().push_back(Box::pin(interference));
    }

    async fn ready_to_write(&self) -> Result<(), StoreError> {
        let interference = self.before_writes.lock().unwrap().pop_front();
        if let Some(interference) = interference {
            interference.await;
        }
        self.ask().await?;
        if self.writes_down.load(Ordering::SeqCst) {
            return Err(switched_off());
        }
        Ok(())
    }

    async fn ask(&self) -> Result<(), StoreError> {
        self.count()?;
        if self.silent.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        Ok(())
    }

    /// Statements since the last call.
    pub fn statements(&self) -> usize {
        self.statements.swap(0, Ordering::SeqCst)
    }

    /// The next write is made, and nobody is told.
    pub fn lose_an_answer(&self) {
        self.loses_answer.store(true, Ordering::SeqCst);
    }

    pub fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    fn count(&self) -> Result<(), StoreError> {
        self.statements.fetch_add(1, Ordering::SeqCst);
        if self.down.load(Ordering::SeqCst) {
            return Err(switched_off());
        }
        Ok(())
    }

    /// All rows, by a way that is not counted.
    pub async fn rows(&self) -> Vec<sessile::SessionRecord> {
        let query = ListQuery {
            user: None,
            liveness: sessile::store::Liveness::Any,
            now: Timestamp::MIN,
            after: None,
            limit: 100_000,
        };
        self.store.list(&query).await.unwrap().records
    }
}

fn switched_off() -> StoreError {
    StoreError::Unavailable { store: "watched", reason: "switched off".into(), source: None }
}

#[async_trait]
impl SessionStore for Watched {
    fn name(&self) -> &'static str {
        "watched"
    }
    fn user_id_limit(&self) -> usize {
        self.store.user_id_limit()
    }
    async fn load(&self, id: SessionId) -> Loaded {
        self.looked_up.fetch_add(1, Ordering::SeqCst);
        self.ask().await?;
        self.store.load(id).await
    }
    async fn apply(&self, write: Write) -> Result<Outcome, StoreError> {
        self.ready_to_write().await?;
        let answer = self.store.apply(write).await;
        if self.loses_answer.swap(false, Ordering::SeqCst) { Err(switched_off()) } else { answer }
    }
    async fn load_many(&self, ids: &[SessionId]) -> Vec<Loaded> {
        self.looked_up.fetch_add(ids.len(), Ordering::SeqCst);
        if self.ask().await.is_err() {
            return ids.iter().map(|_| Err(switched_off())).collect();
        }
        self.store.load_many(ids).await
    }
    async fn apply_many(&self, writes: Vec<Write>) -> Vec<Result<Outcome, StoreError>> {
        if self.ready_to_write().await.is_err() {
            return writes.iter().map(|_| Err(switched_off())).collect();
        }
        self.store.apply_many(writes).await
    }
    async fn list(&self, query: &ListQuery) -> Result<ListPage, StoreError> {
        self.ask().await?;
        self.store.list(query).await
    }
    async fn delete_user(
        &self,
        user: &UserId,
        keep: Option<SessionId>,
    ) -> Result<Vec<SessionId>, StoreError> {
        self.ask().await?;
        self.store.delete_user(user, keep).await
    }
    async fn purge(&self, now: Timestamp, limits: PurgeLimits) -> Result<PurgeBatch, StoreError> {
        self.ask().await?;
        self.store.purge(now, limits).await
    }
    async fn stats(&self, now: Timestamp) -> Result<StoreStats, StoreError> {
        self.ask().await?;
        self.store.stats(now).await
    }
    async fn init(&self) -> Result<(), StoreError> {
        self.store.init().await
    }
    async fn check(&self) -> Result<(), StoreError> {
        self.store.check().await
    }
}

/// A service over a watched store, on a clock that stands still.
pub struct Stage {
    pub store: Watched,
    pub clock: Arc<ManualClock>,
    pub sessions: Sessions,
    events: Arc<Mutex<Vec<Event>>>,
}

pub fn noon() -> Timestamp {
    Timestamp::parse("2030-01-02 12:00:00").unwrap()
}

impl Stage {
    pub fn new() -> Stage {
        Stage::with_policy(Policy::default())
    }

    pub fn with_policy(policy: Policy) -> Stage {
        Stage::over(MemoryStore::new(), policy)
    }

    pub fn over(store: impl SessionStore, policy: Policy) -> Stage {
        let store = Watched::new(store);
        let clock = Arc::new(ManualClock::new(noon()));
        let events: Arc<Mutex<Vec<Event>>> = Arc::default();
        let heard = Arc::clone(&events);
        let sessions = Sessions::builder(store.clone())
            .policy(policy)
            .clock(Arc::clone(&clock))
            .listener(move |event: &Event| heard.lock().unwrap().push(event.clone()))
            .build();
        Stage { store, clock, sessions, events }
    }

    /// The same stage on every store that runs inside this process.
    pub async fn everywhere(policy: Policy) -> Vec<Stage> {
        let sqlite = SqliteStore::options().open_in_memory().await.unwrap();
        sqlite.init().await.unwrap();
        vec![Stage::with_policy(policy.clone()), Stage::over(sqlite, policy)]
    }

    /// A second process over the same store.
    pub fn another_process(&self) -> Stage {
        let mut other = Stage::over(self.store.clone(), self.sessions.policy().clone());
        other.store = self.store.clone();
        other
    }

    /// Events since the last call.
    pub fn events(&self) -> Vec<Event> {
        std::mem::take(&mut *self.events.lock().unwrap())
    }

    /// Somebody with an empty jar, in front of whatever handler a test has them call.
    pub fn visitor(&self) -> Visitor {
        Visitor::new(SessionLayer::new(self.sessions.clone()))
    }

    pub fn visitor_with(&self, cookie: CookieConfig) -> Visitor {
        Visitor::new(SessionLayer::new(self.sessions.clone()).cookie(cookie).unwrap())
    }

    pub fn browser(&self, routes: Router) -> Browser {
        let router = routes.layer(SessionLayer::new(self.sessions.clone()));
        Browser { sessions: Some(self.sessions.clone()), ..Browser::new(router) }
    }
}

/// A browser: a jar of cookies in front of a router.
#[derive(Clone)]
pub struct Browser {
    pub router: Router,
    pub jar: BTreeMap<String, String>,
    /// Whose background work is waited for after each request, so that the next one finds what it did.
    sessions: Option<Sessions>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: http::HeaderMap,
    pub body: String,
}

impl Answer {
    pub fn set_cookies(&self) -> Vec<String> {
        let values = self.headers.get_all(header::SET_COOKIE);
        values.iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    }
}

/// A browser whose every request is answered by the handler that the test hands over.
#[derive(Clone)]
pub struct Visitor {
    layer: SessionLayer,
    pub jar: BTreeMap<String, String>,
    /// Whether the next request comes before the background work of the last one is done.
    is_impatient: bool,
}

impl Visitor {
    pub fn new(layer: SessionLayer) -> Visitor {
        Visitor { layer, jar: BTreeMap::new(), is_impatient: false }
    }

    /// The same, who waits for nothing in the background.
    pub fn impatient(&self) -> Visitor {
        Visitor { is_impatient: true, ..self.clone() }
    }

    /// One request, answered by `handler`.
    pub async fn does<H, T>(&mut self, handler: H) -> Answer
    where
        H: Handler<T, ()>,
        T: 'static,
    {
        self.sends(Request::post("/"), handler).await
    }

    pub async fn sends<H, T>(&mut self, request: http::request::Builder, handler: H) -> Answer
    where
        H: Handler<T, ()>,
        T: 'static,
    {
        let router = Router::new().fallback(handler).layer(self.layer.clone());
        let sessions = (!self.is_impatient).then(|| self.layer.sessions().clone());
        let mut browser = Browser { router, jar: std::mem::take(&mut self.jar), sessions };
        let answer = browser.send(request).await;
        self.jar = browser.jar;
        answer
    }

    pub fn cookie(&self) -> Option<String> {
        self.jar.values().next().cloned()
    }

    /// Somebody else who shows this value in our cookie.
    pub fn with_cookie(&self, value: impl Into<String>) -> Visitor {
        let jar = BTreeMap::from([("__Host-session".to_owned(), value.into())]);
        Visitor { jar, ..self.clone() }
    }
}

impl Browser {
    pub fn new(router: Router) -> Browser {
        Browser { router, jar: BTreeMap::new(), sessions: None }
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        self.send(Request::get(path)).await
    }

    pub async fn post(&mut self, path: &str) -> Answer {
        self.send(Request::post(path)).await
    }

    pub fn cookie(&self) -> Option<&str> {
        self.jar.values().next().map(String::as_str)
    }

    pub async fn send(&mut self, request: http::request::Builder) -> Answer {
        let pairs: Vec<String> = self.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request =
            if pairs.is_empty() { request } else { request.header(header::COOKIE, pairs.join("; ")) };
        let response = self.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let answer = read(response).await;
        if let Some(sessions) = &self.sessions {
            sessions.settled().await;
        }
        for cookie in answer.set_cookies() {
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            if cookie.contains("Max-Age=0") {
                self.jar.remove(name);
            } else {
                self.jar.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }
}

async fn read(response: Response<Body>) -> Answer {
    let (head, body) = response.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    Answer { status: head.status, headers: head.headers, body: String::from_utf8(body.to_vec()).unwrap() }
}

pub fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Whom a request finds signed in.
pub async fn who(visitor: &mut Visitor) -> String {
    let handler =
        async |session: Session| session.user_id().map_or("nobody".to_owned(), |user| user.to_string());
    visitor.does(handler).await.body
}

/// Signs in, and is told so.
pub async fn sign_in(visitor: &mut Visitor, user: &'static str) {
    assert_eq!(visitor.does(async move |session: Session| session.login(user)).await.status, 200);
}
