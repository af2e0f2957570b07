//! A browser, a service on an injected clock, and a store that counts what it is asked.
#![allow(missing_docs, unreachable_pub, dead_code, reason = "shared by several test programs")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use http::{Request, Response, StatusCode, header};
use sessile::record::{ManualClock, Timestamp};
use sessile::store::{
    ListPage, ListQuery, Loaded, MemoryStore, Outcome, PurgeBatch, PurgeLimits, SessionStore, StoreError,
    StoreStats, Write,
};
use sessile::{Policy, SessionId, SessionLayer, Sessions, UserId};
use tower::ServiceExt;

/// Counts calls, and can be switched off as a network is.
#[derive(Clone)]
pub struct Watched {
    store: Arc<dyn SessionStore>,
    statements: Arc<AtomicUsize>,
    down: Arc<AtomicBool>,
}

impl Watched {
    pub fn new(store: impl SessionStore) -> Watched {
        Watched { store: Arc::new(store), statements: Arc::default(), down: Arc::default() }
    }

    /// Statements since the last call.
    pub fn statements(&self) -> usize {
        self.statements.swap(0, Ordering::SeqCst)
    }

    pub fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    fn count(&self) -> Result<(), StoreError> {
        self.statements.fetch_add(1, Ordering::SeqCst);
        if self.down.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable {
                store: "watched",
                reason: "switched off".into(),
                source: None,
            });
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

#[async_trait]
impl SessionStore for Watched {
    fn name(&self) -> &'static str {
        "watched"
    }
    async fn load(&self, id: SessionId) -> Loaded {
        self.count()?;
        self.store.load(id).await
    }
    async fn apply(&self, write: Write) -> Result<Outcome, StoreError> {
        self.count()?;
        self.store.apply(write).await
    }
    async fn load_many(&self, ids: &[SessionId]) -> Vec<Loaded> {
        if let Err(error) = self.count() {
            let reason = error.to_string();
            let again = || StoreError::Unavailable { store: "watched", reason: reason.clone(), source: None };
            return ids.iter().map(|_| Err(again())).collect();
        }
        self.store.load_many(ids).await
    }
    async fn list(&self, query: &ListQuery) -> Result<ListPage, StoreError> {
        self.count()?;
        self.store.list(query).await
    }
    async fn delete_user(
        &self,
        user: &UserId,
        keep: Option<SessionId>,
    ) -> Result<Vec<SessionId>, StoreError> {
        self.count()?;
        self.store.delete_user(user, keep).await
    }
    async fn purge(&self, now: Timestamp, limits: PurgeLimits) -> Result<PurgeBatch, StoreError> {
        self.count()?;
        self.store.purge(now, limits).await
    }
    async fn stats(&self, now: Timestamp) -> Result<StoreStats, StoreError> {
        self.count()?;
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
        let sessions = Sessions::builder(store.clone()).policy(policy).clock(Arc::clone(&clock)).build();
        Stage { store, clock, sessions }
    }

    pub fn browser(&self, routes: Router) -> Browser {
        Browser::new(routes.layer(SessionLayer::new(self.sessions.clone())))
    }
}

/// A browser: a jar of cookies in front of a router.
#[derive(Clone)]
pub struct Browser {
    pub router: Router,
    pub jar: BTreeMap<String, String>,
}

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

impl Browser {
    pub fn new(router: Router) -> Browser {
        Browser { router, jar: BTreeMap::new() }
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
