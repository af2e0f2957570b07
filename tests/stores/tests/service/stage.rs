//! A service whose way to its store can fail, and browsers in front of it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::any;
use http::header::{COOKIE, RETRY_AFTER, SET_COOKIE};
use http::{HeaderMap, Request, StatusCode};
use sessile::record::Timestamp;
use sessile::store::{ListQuery, Liveness, SessionStore, StoreUrl};
use sessile::{Policy, Session, SessionError, SessionLayer, Sessions};
use sessile_test_network::Proxy;
use sessile_test_servers::{Outcome, Server};
use sessile_test_stores::{Backend, Place};
use tower::ServiceExt as _;

/// How long something may take to come back by itself on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(60);

type Break = fn(&Proxy);

#[derive(Clone)]
pub(crate) struct Stage {
    pub(crate) place: Arc<Place>,
    pub(crate) proxy: Arc<Proxy>,
    /// Another way to the same rows, which never fails.
    direct: Arc<dyn SessionStore>,
    table: String,
    at_commit: Arc<Mutex<Option<Break>>>,
    service: Router,
}

impl Stage {
    /// A service on a server of its own, which it gives so long to answer.
    pub(crate) async fn new(backend: Backend, patience: Duration) -> Stage {
        let place = tokio::task::spawn_blocking(move || backend.start()).await.unwrap().unwrap();
        let port = place.server().unwrap().port();
        let proxy = Arc::new(Proxy::to(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await);
        let url = place.url();
        let direct = url.parse::<StoreUrl>().unwrap().connect().await.unwrap();
        direct.init().await.unwrap();
        let through = url.replace(&format!("127.0.0.1:{port}"), &proxy.address.to_string());
        assert_ne!(through, url);
        let through: StoreUrl = through.parse().unwrap();
        let table = through.table().to_owned();

        let policy = Policy::default().store_timeout(patience);
        let sessions = Sessions::builder(through.connect().await.unwrap()).policy(policy).build();
        let at_commit: Arc<Mutex<Option<Break>>> = Arc::default();
        let (breaking, way) = (Arc::clone(&at_commit), Arc::clone(&proxy));
        let break_off = Arc::new(move || {
            if let Some(breaks) = breaking.lock().unwrap().take() {
                breaks(&way);
            }
        });
        let service = routes(break_off).layer(SessionLayer::new(sessions));
        Stage { place: Arc::new(place), proxy, direct, table, at_commit, service }
    }

    /// Stops it, kills it, and so on.
    pub(crate) async fn server(&self, action: impl FnOnce(&Server) -> Outcome + Send + 'static) {
        let place = Arc::clone(&self.place);
        tokio::task::spawn_blocking(move || action(place.server().unwrap())).await.unwrap().unwrap();
    }

    /// The next handler that ends breaks the way like this, just before its changes are written.
    pub(crate) fn at_commit(&self, breaks: Break) {
        *self.at_commit.lock().unwrap() = Some(breaks);
    }

    pub(crate) fn opens_after(&self, pause: Duration) -> tokio::task::JoinHandle<()> {
        let (broken, proxy) = (Arc::clone(&self.at_commit), Arc::clone(&self.proxy));
        tokio::spawn(async move {
            while broken.lock().unwrap().is_some() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            tokio::time::sleep(pause).await;
            proxy.open();
        })
    }

    /// As a flush, or somebody's TRUNCATE.
    pub(crate) async fn empty(&self) {
        let (place, table) = (Arc::clone(&self.place), self.table.clone());
        tokio::task::spawn_blocking(move || place.empty(&table)).await.unwrap().unwrap();
    }

    pub(crate) async fn rows(&self) -> usize {
        let query =
            ListQuery { user: None, liveness: Liveness::Any, now: Timestamp::MIN, after: None, limit: 1_000 };
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.direct.list(&query).await {
                Ok(page) => return page.records.len(),
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Somebody without a cookie.
    pub(crate) fn visitor(&self) -> Visitor {
        Visitor { service: self.service.clone(), cookie: None }
    }

    pub(crate) async fn signed_in(&self, user: &str) -> Visitor {
        let mut visitor = self.visitor();
        visitor.gets(&format!("/login?{user}"), "signed in").await;
        assert!(visitor.cookie.is_some());
        visitor
    }
}

type BreakOff = Arc<dyn Fn() + Send + Sync>;

fn routes(break_off: Arc<impl Fn() + Send + Sync + 'static>) -> Router {
    let break_off: BreakOff = break_off;
    Router::new()
        .route("/who", any(who))
        .route("/change", any(change))
        .route("/login", any(login))
        .route("/logout", any(logout))
        .with_state(break_off)
}

async fn who(session: Session) -> String {
    session.user_id().map_or("nobody".to_owned(), |user| user.to_string())
}

async fn change(session: Session) -> Result<&'static str, SessionError> {
    session.update("visits", |visits: &mut u32| *visits += 1)?;
    Ok("changed")
}

async fn login(
    State(break_off): State<BreakOff>,
    session: Session,
    uri: http::Uri,
) -> Result<&'static str, SessionError> {
    session.login(uri.query().unwrap_or("ada"))?;
    break_off();
    Ok("signed in")
}

async fn logout(State(break_off): State<BreakOff>, session: Session) -> &'static str {
    session.logout();
    break_off();
    "signed out"
}

/// A browser.
#[derive(Clone)]
pub(crate) struct Visitor {
    service: Router,
    pub(crate) cookie: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    headers: HeaderMap,
    pub(crate) body: String,
}

impl Visitor {
    pub(crate) async fn asks(&mut self, path: &str) -> Answer {
        let mut request = Request::post(path);
        if let Some(cookie) = &self.cookie {
            request = request.header(COOKIE, cookie);
        }
        let response = self.service.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        let answer = Answer { status: head.status, headers: head.headers, body };
        if let Some(cookie) = answer.headers.get(SET_COOKIE) {
            let cookie = cookie.to_str().unwrap();
            let pair = cookie.split(';').next().unwrap().to_owned();
            self.cookie = (!cookie.contains("Max-Age=0")).then_some(pair);
        }
        answer
    }

    /// Asks until a handler has come to its end and broken the way, and gives that answer: a connection that
    /// still mends itself after an earlier break fails requests before they get so far.
    pub(crate) async fn comes_to_commit(&mut self, stage: &Stage, path: &str) -> Answer {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.asks(path).await;
            if stage.at_commit.lock().unwrap().is_none() {
                return answer;
            }
            answer.assert_unavailable(path);
            assert!(Instant::now() < deadline, "{path} does not come to its commit");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Asks until the store is back, and then it must be this. Until then it is 503 and nothing else.
    pub(crate) async fn gets(&mut self, path: &str, body: &str) {
        let answer = self.gets_any(path).await;
        assert_eq!(answer.body, body, "{path}");
    }

    pub(crate) async fn gets_any(&mut self, path: &str) -> Answer {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.asks(path).await;
            if answer.status == StatusCode::OK {
                return answer;
            }
            answer.assert_unavailable(path);
            assert!(Instant::now() < deadline, "{path} is not served again: {answer:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Until requests are served again, whoever they are from.
    pub(crate) async fn recovers(&self) {
        let mut tab = self.clone();
        tab.gets_any("/who").await;
    }
}

impl Answer {
    pub(crate) fn set_cookies(&self) -> usize {
        self.headers.get_all(SET_COOKIE).iter().count()
    }

    /// Not now, come again: and no word about who is signed in.
    pub(crate) fn assert_unavailable(&self, what: &str) {
        assert_eq!(self.status, StatusCode::SERVICE_UNAVAILABLE, "{what}: {self:?}");
        let after = self.headers.get(RETRY_AFTER).expect("Retry-After").to_str().unwrap();
        assert!(after.parse::<u32>().unwrap() > 0, "{what}");
        assert_eq!(self.set_cookies(), 0, "{what}: no cookie is touched");
        assert!(!self.body.contains("signed") && !self.body.contains("127.0.0.1"), "{what}: {}", self.body);
    }
}
