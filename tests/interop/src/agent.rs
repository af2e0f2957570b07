//! A user agent: one jar of cookies for all ports of this host, as browsers have it, and forms.
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cookie::Cookie;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use sessile::record::{Clock, Timestamp};

/// What came back.
#[derive(Debug)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its body, as text.
    pub body: String,
}

impl Reply {
    /// The body of a page that was found, as JSON.
    ///
    /// # Panics
    /// It is none.
    #[must_use]
    pub fn json(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.body);
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{:?}", self.body))
    }
}

/// Somebody with a browser.
#[derive(Clone)]
pub struct Agent {
    clock: Arc<dyn Clock>,
    /// By name and path: one is replaced, and removed, only by its like (RFC 6265, 5.3).
    jar: BTreeMap<(String, String), Kept>,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// A value and until when the browser keeps it.
#[derive(Clone)]
struct Kept {
    value: String,
    until: Option<Timestamp>,
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent").finish_non_exhaustive()
    }
}

impl Agent {
    /// With an empty jar.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Agent {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Agent { clock, jar: BTreeMap::new(), client }
    }

    /// A page.
    pub async fn get(&mut self, port: u16, path: &str) -> Reply {
        self.send(port, Method::GET, path, String::new()).await
    }

    /// A form, as it stands.
    pub async fn post(&mut self, port: u16, path: &str, fields: &[(&str, &str)]) -> Reply {
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.send(port, Method::POST, path, form).await
    }

    /// The cookie's value.
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<&str> {
        let kept = self.named(name).filter(|kept| self.is_kept(kept))?;
        Some(&kept.value)
    }

    /// When the browser will drop the cookie.
    #[must_use]
    pub fn keeps_until(&self, name: &str) -> Option<Timestamp> {
        self.named(name)?.until
    }

    /// Heeds no dates from here on: what somebody does who has copied the cookies.
    pub fn keeps_everything(&mut self) {
        self.jar.values_mut().for_each(|kept| kept.until = None);
    }

    /// Has this value in the cookie.
    pub fn holds(&mut self, name: &str, value: &str) {
        self.jar.insert((name.to_owned(), "/".to_owned()), Kept { value: value.to_owned(), until: None });
    }

    fn named(&self, name: &str) -> Option<&Kept> {
        self.jar.iter().find(|((kept, _), _)| kept == name).map(|(_, kept)| kept)
    }

    fn is_kept(&self, kept: &Kept) -> bool {
        kept.until.is_none_or(|until| until > self.clock.now())
    }

    async fn send(&mut self, port: u16, method: Method, path: &str, body: String) -> Reply {
        let mut request = Request::builder().method(method).uri(format!("http://127.0.0.1:{port}{path}"));
        let sent =
            self.jar.iter().filter(|((_, under), kept)| path.starts_with(&**under) && self.is_kept(kept));
        let sent: Vec<String> = sent.map(|((name, _), kept)| format!("{name}={}", kept.value)).collect();
        if !sent.is_empty() {
            request = request.header(header::COOKIE, sent.join("; "));
        }
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        let request = request.body(Full::from(body)).unwrap();
        let (head, body) = self.client.request(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        self.keep(&head.headers);
        Reply { status: head.status, body: String::from_utf8(body.into()).unwrap() }
    }

    /// `Max-Age` counts before `Expires` (RFC 6265, 5.3).
    fn keep(&mut self, headers: &HeaderMap) {
        for set in headers.get_all(header::SET_COOKIE) {
            let cookie = Cookie::parse(set.to_str().unwrap()).unwrap();
            let now = self.clock.now();
            let until = match (cookie.max_age(), cookie.expires_datetime()) {
                (Some(age), _) => Some(now.saturating_add(Duration::try_from(age).unwrap())),
                (None, Some(at)) => Timestamp::from_micros(at.unix_timestamp() * 1_000_000),
                (None, None) => None,
            };
            // All of them are set for this host, over plain HTTP.
            assert!(cookie.domain().is_none() && cookie.secure() != Some(true), "{cookie}");
            let key = (cookie.name().to_owned(), cookie.path().unwrap_or("/").to_owned());
            self.jar.insert(key, Kept { value: cookie.value().to_owned(), until });
        }
    }
}
