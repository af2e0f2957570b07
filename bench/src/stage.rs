//! A subject in this process, called without a socket.

use std::cell::Cell;

use axum::Router;
use axum::body::Body;
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{HeaderValue, Request, StatusCode};
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use tempfile::TempDir;
use tokio::runtime::{Builder, EnterGuard, Runtime};
use tower::ServiceExt as _;

use crate::subject;

/// Logins that are under way at once while sessions are made.
const AT_ONCE: usize = 64;

/// A subject with its sessions.
pub struct Stage {
    router: Router,
    cookies: Vec<HeaderValue>,
    next: Cell<usize>,
    runtime: Runtime,
    _folder: TempDir,
}

impl Stage {
    /// Signs in as often as there are to be sessions; with none, requests carry no cookie.
    pub fn new(name: &str, sessions: usize) -> Stage {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        Stage { _folder: folder, ..Stage::over(async || subject::router(name, &path).await, sessions) }
    }

    /// The same over a router of one's own, made within the runtime.
    pub fn over(make: impl AsyncFnOnce() -> Router, sessions: usize) -> Stage {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (router, cookies) = runtime.block_on(async {
            let router = make().await;
            let mut cookies = Vec::with_capacity(sessions);
            for from in (0..sessions).step_by(AT_ONCE) {
                let logins = (from..sessions.min(from + AT_ONCE)).map(|i| login(router.clone(), i));
                cookies.extend(join_all(logins).await);
            }
            (router, cookies)
        });
        Stage { router, cookies, next: Cell::new(0), runtime, _folder: tempfile::tempdir().unwrap() }
    }

    /// The same sessions behind another router over the same store, made within the runtime.
    pub fn behind(self, make: impl AsyncFnOnce() -> Router) -> Stage {
        let router = self.runtime.block_on(make());
        Stage { router, ..self }
    }

    /// [`alone`](Self::alone) needs it.
    pub fn enter(&self) -> EnterGuard<'_> {
        self.runtime.enter()
    }

    /// What the cookies themselves take.
    pub fn cookie_bytes(&self) -> usize {
        self.cookies.iter().map(|cookie| cookie.len() + size_of::<HeaderValue>()).sum()
    }

    /// A request with the next session's cookie.
    pub fn request(&self, method: &str, path: &'static str) -> Request<Body> {
        let mut request = Request::builder().method(method).uri(path);
        if !self.cookies.is_empty() {
            let next = self.next.get();
            self.next.set((next + 1) % self.cookies.len());
            request = request.header(COOKIE, self.cookies[next].clone());
        }
        request.body(Body::empty()).unwrap()
    }

    /// Makes a request that needs nobody else to get on: its answer is ready when it is polled first.
    pub fn alone(&self, request: Request<Body>) {
        let Some(response) = self.router.clone().oneshot(request).now_or_never() else {
            panic!("the answer had to wait for something")
        };
        assert_eq!(response.unwrap().status(), StatusCode::OK);
    }

    /// Makes all these requests at once, each in a task of its own, as a busy server does.
    pub fn at_once(&self, requests: Vec<Request<Body>>) {
        let tasks = requests.into_iter().map(|request| {
            let router = self.router.clone();
            self.runtime.spawn(async move { router.oneshot(request).await.unwrap().status() })
        });
        for status in self.runtime.block_on(join_all(tasks)) {
            assert_eq!(status.unwrap(), StatusCode::OK);
        }
    }
}

/// The cookie of a new session.
async fn login(router: Router, i: usize) -> HeaderValue {
    let request = Request::get(format!("/login?i={i}")).body(Body::empty()).unwrap();
    let response = router.oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK, "login {i}");
    let cookie = response.headers()[SET_COOKIE].to_str().unwrap();
    let (pair, _) = cookie.split_once(';').unwrap();
    HeaderValue::from_str(pair).unwrap()
}
