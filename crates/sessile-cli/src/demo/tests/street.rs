//! What the tests stand on: a shop over a store that counts and can be switched off, and browsers with cookie jars.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::header::{CONTENT_TYPE, COOKIE, HOST, HeaderMap, LOCATION, SET_COOKIE, USER_AGENT};
use axum::http::request::Builder;
use axum::http::{Request, StatusCode};
use sessile::record::{ManualClock, Timestamp};
use sessile::store::{
    ListPage, ListQuery, Loaded, MemoryStore, Outcome, PurgeBatch, PurgeLimits, SessionStore, StoreError,
    StoreStats, Write,
};
use sessile::{SessionId, Sessions, UserId};
use tower::ServiceExt as _;

use crate::demo::shop;

pub(super) const LINUX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0";
pub(super) const PHONE: &str = "Mozilla/5.0 (Android 15; Mobile; rv:143.0) Gecko/143.0 Firefox/143.0";

/// Counts what it is asked, and can be switched off as a network is.
#[derive(Clone, Default)]
pub(super) struct Watched {
    store: Arc<MemoryStore>,
    asked: Arc<AtomicUsize>,
    down: Arc<AtomicBool>,
}

impl Watched {
    /// Statements since the last call.
    pub(super) fn statements(&self) -> usize {
        self.asked.swap(0, Ordering::SeqCst)
    }

    pub(super) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    fn ask(&self) -> Result<&MemoryStore, StoreError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.down.load(Ordering::SeqCst) {
            let reason = "switched off".to_owned();
            return Err(StoreError::Unavailable { store: "watched", reason, source: None });
        }
        Ok(&self.store)
    }
}

#[async_trait]
impl SessionStore for Watched {
    fn name(&self) -> &'static str {
        "watched"
    }
    async fn load(&self, id: SessionId) -> Loaded {
        self.ask()?.load(id).await
    }
    async fn apply(&self, write: Write) -> Result<Outcome, StoreError> {
        self.ask()?.apply(write).await
    }
    async fn list(&self, query: &ListQuery) -> Result<ListPage, StoreError> {
        self.ask()?.list(query).await
    }
    async fn delete_user(
        &self,
        user: &UserId,
        keep: Option<SessionId>,
    ) -> Result<Vec<SessionId>, StoreError> {
        self.ask()?.delete_user(user, keep).await
    }
    async fn purge(&self, now: Timestamp, limits: PurgeLimits) -> Result<PurgeBatch, StoreError> {
        self.ask()?.purge(now, limits).await
    }
    async fn stats(&self, now: Timestamp) -> Result<StoreStats, StoreError> {
        self.ask()?.stats(now).await
    }
    async fn init(&self) -> Result<(), StoreError> {
        self.ask()?.init().await
    }
    async fn check(&self) -> Result<(), StoreError> {
        self.ask()?.check().await
    }
}

/// A shop whose clock stands still.
pub(super) struct Street {
    pub(super) store: Watched,
    pub(super) clock: Arc<ManualClock>,
    shop: Router,
}

impl Street {
    pub(super) fn new() -> Street {
        let store = Watched::default();
        let clock = Arc::new(ManualClock::new(Timestamp::parse("2030-01-02 12:00:00").unwrap()));
        let sessions = Sessions::builder(store.clone()).clock(Arc::clone(&clock)).build();
        Street { store, clock, shop: shop::router(sessions).unwrap() }
    }

    pub(super) fn browser(&self, user_agent: &'static str) -> Browser {
        Browser { shop: self.shop.clone(), user_agent, jar: BTreeMap::new() }
    }
}

/// Somebody's browser: it keeps cookies and follows redirects.
#[derive(Clone)]
pub(super) struct Browser {
    shop: Router,
    user_agent: &'static str,
    pub(super) jar: BTreeMap<String, String>,
}

/// What came back.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn header(&self, name: impl axum::http::header::AsHeaderName) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Whether an element with that `data-test` is there.
    pub(super) fn has(&self, hook: &str) -> bool {
        self.count(hook) > 0
    }

    pub(super) fn count(&self, hook: &str) -> usize {
        self.body.matches(&format!("data-test=\"{hook}\"")).count()
    }

    /// The text of the elements with that `data-test`.
    pub(super) fn texts(&self, hook: &str) -> Vec<&str> {
        let mark = format!("data-test=\"{hook}\">");
        self.body.split(mark.as_str()).skip(1).map(|rest| rest.split('<').next().unwrap()).collect()
    }
}

impl Browser {
    /// A page, without following a redirect.
    pub(super) async fn get(&mut self, path: &str) -> Answer {
        self.send(Request::get(path), "").await
    }

    /// A form, without following the redirect.
    pub(super) async fn post(&mut self, path: &str, form: &str) -> Answer {
        self.send(Request::post(path).header(CONTENT_TYPE, "application/x-www-form-urlencoded"), form).await
    }

    /// A form, and the page that it leads to.
    pub(super) async fn submit(&mut self, path: &str, form: &str) -> Answer {
        let answer = self.post(path, form).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{path} {form}: {}", answer.body);
        let target = answer.header(LOCATION).split('#').next().unwrap().to_owned();
        self.get(&target).await
    }

    pub(super) async fn sign_in(&mut self, name: &str, password: &str) -> Answer {
        self.submit("/sign-in", &format!("user={name}&password={password}")).await
    }

    pub(super) async fn send(&mut self, request: Builder, body: &str) -> Answer {
        let mut request = request.header(HOST, "shop.example").header(USER_AGENT, self.user_agent);
        for (name, value) in &self.jar {
            request = request.header(COOKIE, format!("{name}={value}"));
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let (head, body) = self.shop.clone().oneshot(request).await.unwrap().into_parts();
        for cookie in head.headers.get_all(SET_COOKIE) {
            let cookie = cookie.to_str().unwrap();
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            if cookie.contains("Max-Age=0") {
                self.jar.remove(name);
            } else {
                self.jar.insert(name.to_owned(), value.to_owned());
            }
        }
        let body = to_bytes(body, usize::MAX).await.unwrap();
        Answer { status: head.status, headers: head.headers, body: String::from_utf8(body.to_vec()).unwrap() }
    }
}
