//! A browser: one jar of cookies for all ports of this host, as browsers have it, and forms with a token.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cookie::Cookie;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use sessile::SessionId;
use sessile::record::{Clock, ManualClock, Timestamp};

use crate::application::TOKEN_FIELD;

/// Both sides' name for the cookie.
const COOKIE: &str = "session_id";

/// One of the two services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Lback,
    Sessile,
}

pub(crate) use Side::{Lback, Sessile};

/// Either may be the one that begins.
pub(crate) const BOTH_WAYS: [(Side, Side); 2] = [(Lback, Sessile), (Sessile, Lback)];

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.body);
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{:?}", self.body))
    }
}

/// A value and until when the browser keeps it.
#[derive(Debug, Clone)]
struct Kept {
    value: String,
    until: Option<Timestamp>,
}

#[derive(Clone)]
pub(crate) struct Browser {
    /// The ports of the two services.
    ports: [u16; 2],
    clock: Arc<ManualClock>,
    jar: BTreeMap<String, Kept>,
    client: Client<HttpConnector, Full<bytes::Bytes>>,
}

impl Browser {
    pub(crate) fn new(ports: [u16; 2], clock: Arc<ManualClock>) -> Browser {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Browser { ports, clock, jar: BTreeMap::new(), client }
    }

    pub(crate) async fn get(&mut self, side: Side, path: &str) -> Reply {
        self.send(side, Method::GET, path, String::new()).await
    }

    /// A form, as it stands.
    pub(crate) async fn post(&mut self, side: Side, path: &str, fields: &[(&str, &str)]) -> Reply {
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.send(side, Method::POST, path, form).await
    }

    /// The form's page from `page`, and then the form, sent to `to`.
    pub(crate) async fn submit(
        &mut self,
        (page, to): (Side, Side),
        path: &str,
        fields: &[(&str, &str)],
    ) -> Reply {
        let token = self.get(page, "/token").await;
        assert_eq!(token.status, 200, "{}", token.body);
        let fields = [fields, &[(TOKEN_FIELD, token.body.as_str())]].concat();
        self.post(to, path, &fields).await
    }

    /// Signs in with a form of this service itself.
    pub(crate) async fn sign_in(&mut self, side: Side, user: &str) {
        let reply = self.submit((side, side), "/sign-in", &[("user", user)]).await;
        assert_eq!((reply.status.as_u16(), reply.body.as_str()), (200, "signed in"));
    }

    /// Who is signed in there, and what the session holds.
    pub(crate) async fn shown(&mut self, side: Side) -> Value {
        self.get(side, "/show").await.json()
    }

    /// Who is signed in there.
    pub(crate) async fn user(&mut self, side: Side) -> Option<String> {
        self.shown(side).await["user"].as_str().map(str::to_owned)
    }

    /// The session that the cookie names.
    pub(crate) fn id(&self) -> Option<SessionId> {
        let kept = self.jar.get(COOKIE)?;
        self.is_kept(kept).then(|| kept.value.parse().unwrap())
    }

    /// When the browser will drop the cookie.
    pub(crate) fn keeps_until(&self) -> Option<Timestamp> {
        self.jar.get(COOKIE)?.until
    }

    /// Heeds no dates from here on: what somebody does who has copied the cookies.
    pub(crate) fn keeps_everything(&mut self) {
        self.jar.values_mut().for_each(|kept| kept.until = None);
    }

    /// Has this value in the cookie.
    pub(crate) fn holds(&mut self, value: &str) {
        self.jar.insert(COOKIE.to_owned(), Kept { value: value.to_owned(), until: None });
    }

    fn is_kept(&self, kept: &Kept) -> bool {
        kept.until.is_none_or(|until| until > self.clock.now())
    }

    async fn send(&mut self, side: Side, method: Method, path: &str, body: String) -> Reply {
        let port = self.ports[side as usize];
        let mut request = Request::builder().method(method).uri(format!("http://127.0.0.1:{port}{path}"));
        let cookies = self.jar.iter().filter(|(_, kept)| self.is_kept(kept));
        let cookies: Vec<String> = cookies.map(|(name, kept)| format!("{name}={}", kept.value)).collect();
        if !cookies.is_empty() {
            request = request.header(header::COOKIE, cookies.join("; "));
        }
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        let request = request.body(Full::from(body)).unwrap();
        let (head, body) = self.client.request(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        for set in head.headers.get_all(header::SET_COOKIE) {
            self.keep(set.to_str().unwrap());
        }
        Reply { status: head.status, body: String::from_utf8(body.into()).unwrap() }
    }

    /// `Max-Age` counts before `Expires` (RFC 6265, 5.3).
    fn keep(&mut self, set_cookie: &str) {
        let cookie = Cookie::parse(set_cookie).unwrap();
        let now = self.clock.now();
        let until = match (cookie.max_age(), cookie.expires_datetime()) {
            (Some(age), _) => Some(now.saturating_add(Duration::try_from(age).unwrap())),
            (None, Some(at)) => Timestamp::from_micros(at.unix_timestamp() * 1_000_000),
            (None, None) => None,
        };
        self.jar.insert(cookie.name().to_owned(), Kept { value: cookie.value().to_owned(), until });
    }
}
