//! Requests whose handler borrows from the test and may panic, and a table row made by hand.

use std::convert::Infallible;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use http::{Request, Response, StatusCode, header};
use sessile::record::{Columns, SessionRecord, StoredData, Timestamp};
use sessile::store::{Outcome, SessionStore, Write};
use sessile::{LazySession, Session, SessionId, SessionLayer, SessionToken, Sessions, UserId};
use tower::{Layer, ServiceExt, service_fn};

pub const COOKIE: &str = "__Host-session";

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub set_cookie: Option<String>,
}

/// The handler panicked through the middleware.
#[derive(Debug)]
pub struct Panicked;

/// Somebody with one cookie or none, in front of the middleware.
#[derive(Clone)]
pub struct Caller {
    sessions: Sessions,
    pub cookie: Option<String>,
}

impl Caller {
    pub fn new(sessions: &Sessions) -> Caller {
        Caller { sessions: sessions.clone(), cookie: None }
    }

    pub fn with_cookie(sessions: &Sessions, cookie: &str) -> Caller {
        Caller { sessions: sessions.clone(), cookie: Some(cookie.to_owned()) }
    }

    /// The session that the cookie names.
    pub fn id(&self) -> Option<SessionId> {
        let cookie = self.cookie.as_deref()?;
        Some(SessionToken::parse(cookie.as_bytes()).unwrap().id())
    }

    /// One request. The handler answers with a status, or panics.
    pub async fn visit<F, Fut>(&mut self, handler: F) -> Result<Reply, Panicked>
    where
        F: FnOnce(LazySession) -> Fut,
        Fut: Future<Output = StatusCode>,
    {
        let mut handler = Some(handler);
        let service = SessionLayer::new(self.sessions.clone()).layer(service_fn(|request: Request<()>| {
            let session = request.extensions().get::<LazySession>().unwrap().clone();
            let answer = (handler.take().unwrap())(session);
            async move {
                let mut response = Response::new(String::new());
                *response.status_mut() = answer.await;
                Ok::<_, Infallible>(response)
            }
        }));
        let mut request = Request::new(());
        if let Some(cookie) = &self.cookie {
            let cookie = format!("{COOKIE}={cookie}").parse().unwrap();
            request.headers_mut().insert(header::COOKIE, cookie);
        }
        let response = AssertUnwindSafe(service.oneshot(request)).catch_unwind().await;
        // The next request finds what this one left to be done in the background.
        self.sessions.settled().await;
        let response = response.map_err(|_| Panicked)?.unwrap();
        let mut ours = response.headers().get_all(header::SET_COOKIE).iter();
        let set_cookie = ours.next().map(|value| value.to_str().unwrap().to_owned());
        assert!(ours.next().is_none(), "two cookies in one response");
        if let Some(set_cookie) = &set_cookie {
            let (pair, attributes) = set_cookie.split_once(';').unwrap();
            let value = pair.strip_prefix(COOKIE).unwrap().strip_prefix('=').unwrap();
            self.cookie = (!attributes.contains("Max-Age=0")).then(|| value.to_owned());
        }
        Ok(Reply { status: response.status(), set_cookie })
    }

    /// One request that succeeds, on the loaded session.
    pub async fn does(&mut self, handler: impl FnOnce(&Session)) -> Reply {
        let reply = self.tries(handler).await;
        assert_eq!(reply.status, StatusCode::OK);
        reply
    }

    /// One request whose handler succeeds; the commit may not.
    pub async fn tries(&mut self, handler: impl FnOnce(&Session)) -> Reply {
        self.visit(async |lazy| match lazy.load().await {
            Ok(session) => {
                handler(&session);
                StatusCode::OK
            }
            Err(_) => StatusCode::SERVICE_UNAVAILABLE,
        })
        .await
        .unwrap()
    }

    /// What the next request would find, without renewing anything.
    pub async fn peek<T>(&self, look: impl FnOnce(&Session) -> T) -> T {
        let named = self.cookie.as_deref().map(|cookie| SessionToken::parse(cookie.as_bytes()).unwrap());
        let named = named.map(sessile::engine::Credential::Token).into_iter().collect();
        look(&LazySession::new(self.sessions.clone(), named).load().await.unwrap())
    }

    pub async fn is_known(&self) -> bool {
        self.peek(|session| session.id().is_some()).await
    }
}

/// A row as somebody else may have left it.
pub struct Row {
    pub id: SessionId,
    pub user: Option<&'static str>,
    pub data: String,
    pub created_at: Option<Timestamp>,
    pub expires_at: Timestamp,
}

impl Row {
    pub fn new(id: SessionId, data: impl Into<String>, now: Timestamp) -> Row {
        let expires_at = now.saturating_add(Duration::from_secs(30 * 60));
        Row { id, user: None, data: data.into(), created_at: Some(now), expires_at }
    }

    pub fn record(&self) -> SessionRecord {
        SessionRecord::from_columns(Columns {
            id: self.id,
            user_id: self.user.map(|user| UserId::new(user).unwrap()),
            data: StoredData::Text(self.data.as_str().into()),
            created_at: self.created_at,
            expires_at: self.expires_at,
            updated_at: self.created_at,
        })
    }

    pub async fn put_into(&self, store: &dyn SessionStore) {
        assert_eq!(store.apply(Write::Insert(self.record())).await.unwrap(), Outcome::Applied);
    }
}

/// A cookie value, the same for the same number, and the id it names.
pub fn token(number: u32) -> (String, SessionId) {
    struct Counted(u32);
    impl sessile::record::Random for Counted {
        fn fill(&self, bytes: &mut [u8]) -> Result<(), sessile::record::RandomError> {
            bytes.fill(7);
            bytes[..4].copy_from_slice(&self.0.to_be_bytes());
            Ok(())
        }
    }
    let token = SessionToken::generate(&Counted(number)).unwrap();
    (token.expose().to_owned(), token.id())
}
