//! The tower middleware: puts a session into the request, commits it before the head leaves.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use ::http::header::{CACHE_CONTROL, COOKIE, SET_COOKIE, VARY};
use ::http::{HeaderMap, HeaderValue, Request, Response};
use pin_project_lite::pin_project;
use smallvec::SmallVec;
use tower_layer::Layer;
use tower_service::Service;

use super::cookie::{CookieConfig, CookieConfigError};
use super::old::OldCookie;
use super::{request, response};
use crate::engine::{Credential, Sessions};
use crate::record::Timestamp;
use crate::session::{Answer, Head, LazySession, Named, SessionError, Shared, Shown};

/// Sessions for every request under it.
///
/// Cost: nothing for a request that does not ask for its session; see
/// [`LazySession::load`](crate::LazySession::load) and [`Session::save`](crate::Session::save) for the rest.
///
/// The changes of a request are committed before its response head leaves: when the commit fails the
/// client gets an error instead of the handler's answer. When the handler answers 5xx, fails or panics,
/// its changes are dropped and a logout is carried out all the same.
///
/// Mounted twice with one cookie name, the outer one serves both.
#[derive(Clone)]
pub struct SessionLayer {
    config: Arc<Config>,
}

struct Config {
    sessions: Sessions,
    cookie: CookieConfig,
    old: Option<OldCookie>,
}

/// What a request shows: the Cookie headers as they came.
struct Cookies {
    config: Arc<Config>,
    headers: SmallVec<[HeaderValue; 1]>,
}

impl Cookies {
    fn of(config: &Arc<Config>, headers: &HeaderMap) -> Cookies {
        Cookies {
            config: Arc::clone(config),
            headers: headers.get_all(COOKIE).into_iter().cloned().collect(),
        }
    }

    /// Whether there is one of ours to remove, well-formed or not.
    fn has_ours(&self) -> bool {
        request::has_cookie(&self.headers, self.config.cookie.cookie_name())
    }

    fn has_old(&self) -> bool {
        self.config.old.as_ref().is_some_and(|old| old.is_in(&self.headers))
    }
}

impl Shown for Cookies {
    fn sessions(&self) -> &Sessions {
        &self.config.sessions
    }

    fn read(&self) -> Named {
        let Config { sessions, cookie, old } = &*self.config;
        let ours = request::credentials(&self.headers, cookie.cookie_name(), sessions.policy().naming());
        let left = request::MAX_TRIED - ours.len();
        let old = old.as_ref().map(|old| old.credentials(&self.headers, left));
        Named { ours, old: old.unwrap_or_default() }
    }

    fn is_cookie(&self, name: &str) -> bool {
        self.config.cookie.cookie_name() == name
    }
}

impl SessionLayer {
    /// Sessions of this service, under the default cookie ([`CookieConfig::default`], or lback's for its
    /// policy).
    pub fn new(sessions: Sessions) -> SessionLayer {
        let cookie =
            if sessions.policy().is_lback() { CookieConfig::lback() } else { CookieConfig::default() };
        SessionLayer { config: Arc::new(Config { sessions, cookie, old: None }) }
    }

    /// Under another cookie.
    ///
    /// # Errors
    /// When browsers would refuse it: see [`CookieConfigError`].
    pub fn cookie(self, cookie: CookieConfig) -> Result<SessionLayer, CookieConfigError> {
        cookie.validate()?;
        let (sessions, old) = (self.sessions().clone(), self.config.old.clone());
        if let Some(old) = &old {
            old.validate(&cookie)?;
        }
        Ok(SessionLayer { config: Arc::new(Config { sessions, cookie, old }) })
    }

    /// Also accepts the cookie of the framework that was used before, for sessions that `sessile copy` has
    /// brought over. Default: no.
    ///
    /// It is tried only where our own cookie is missing or names no live session. The first request that
    /// changes the session, or signs in or out, leaves it behind: in one atomic step the session gets a
    /// token of ours and the old value is dead, and the response removes the old cookie. Requests that
    /// only read do not move it, so that several at once, as a browser sends them, all stay signed in; of
    /// two that change it at once with the old cookie, the later one is refused with 409.
    ///
    /// Until then the old framework's table, or a copy of it, holds a secret that signs in: keep it as
    /// safe as before. The cookie has no `__Host-` prefix either. Take this out again when the longest
    /// lifetime of the old sessions is over.
    ///
    /// Cost: nothing for a request without the old cookie; one statement more where both cookies are
    /// shown and ours is dead; one more for a logout that brings both.
    ///
    /// # Errors
    /// When browsers would refuse its removal, or it has the name of ours.
    pub fn accept_old(self, old: OldCookie) -> Result<SessionLayer, CookieConfigError> {
        let (sessions, cookie) = (self.sessions().clone(), self.config.cookie.clone());
        old.validate(&cookie)?;
        Ok(SessionLayer { config: Arc::new(Config { sessions, cookie, old: Some(old) }) })
    }

    /// The service whose sessions these are.
    pub fn sessions(&self) -> &Sessions {
        &self.config.sessions
    }
}

impl<S> Layer<S> for SessionLayer {
    type Service = SessionService<S>;

    fn layer(&self, inner: S) -> SessionService<S> {
        SessionService { inner, config: Arc::clone(&self.config) }
    }
}

/// The service [`SessionLayer`] makes.
#[derive(Clone)]
pub struct SessionService<S> {
    inner: S,
    config: Arc<Config>,
}

impl<S, RequestBody, ResponseBody> Service<Request<RequestBody>> for SessionService<S>
where
    S: Service<Request<RequestBody>, Response = Response<ResponseBody>>,
    ResponseBody: Default,
{
    type Response = Response<ResponseBody>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, ResponseBody, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<RequestBody>) -> Self::Future {
        let outer = request.extensions().get::<LazySession>();
        if outer.is_some_and(|outer| outer.shared.shown.is_cookie(self.config.cookie.cookie_name())) {
            return ResponseFuture { handler: self.inner.call(request), pending: None, step: Step::Handler };
        }
        let session = Arc::new(Shared::new(Cookies::of(&self.config, request.headers())));
        let pending = Pending { session: Arc::clone(&session), head: Head::Dropped };
        request.extensions_mut().insert(LazySession { shared: session });
        ResponseFuture { handler: self.inner.call(request), pending: Some(pending), step: Step::Handler }
    }
}

/// What has to be done once the handler has returned. Dropped before that, the request was dropped.
struct Pending {
    session: Arc<Shared<Cookies>>,
    head: Head,
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.session.release(self.head);
    }
}

type Finishing = Pin<Box<dyn Future<Output = Result<(), SessionError>> + Send>>;

/// How the handler ended, when it gave no response.
enum Failure<E> {
    Error(E),
    Panic(Box<dyn Any + Send>),
}

enum Step<B, E> {
    Handler,
    Finishing { finishing: Finishing, outcome: Option<Result<Response<B>, Failure<E>>> },
    Done,
}

pin_project! {
    /// The future of [`SessionService`].
    pub struct ResponseFuture<F, B, E> {
        #[pin]
        handler: F,
        pending: Option<Pending>,
        step: Step<B, E>,
    }
}

impl<F, B, E> Future for ResponseFuture<F, B, E>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Default,
{
    type Output = Result<Response<B>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.step {
                Step::Handler => {
                    let handler = this.handler.as_mut();
                    let outcome = match catch_unwind(AssertUnwindSafe(|| handler.poll(context))) {
                        Ok(polled) => ready!(polled).map_err(Failure::Error),
                        Err(panic) => Err(Failure::Panic(panic)),
                    };
                    let touched = this.pending.as_ref().filter(|pending| pending.shared().is_touched());
                    let outcome = match touched {
                        Some(pending) if !pending.is_settled(&outcome) => {
                            let finishing = pending.finish(&outcome);
                            *this.step = Step::Finishing { finishing, outcome: Some(outcome) };
                            continue;
                        }
                        // Nothing to wait for, as after most requests.
                        Some(pending) => outcome.map(|head| pending.answer(head, Ok(()))),
                        None => outcome,
                    };
                    *this.step = Step::Done;
                    if let Some(mut pending) = this.pending.take() {
                        pending.head = Head::Left;
                    }
                    return Poll::Ready(hand_on(outcome));
                }
                Step::Finishing { finishing, outcome } => {
                    let finished = ready!(finishing.as_mut().poll(context));
                    let outcome = outcome.take();
                    *this.step = Step::Done;
                    let (Some(mut pending), Some(outcome)) = (this.pending.take(), outcome) else { continue };
                    pending.head = Head::Left;
                    if let (Err(error), Err(_)) = (&finished, &outcome) {
                        // There is no response to say it, and a logout may not have been carried out.
                        tracing::error!(%error, "the session of a request that failed could not be ended");
                    }
                    return Poll::Ready(hand_on(outcome.map(|head| pending.answer(head, finished))));
                }
                #[expect(clippy::panic, reason = "a future must not be polled after it was ready")]
                Step::Done => panic!("polled after completion"),
            }
        }
    }
}

fn hand_on<R, E>(outcome: Result<R, Failure<E>>) -> Result<R, E> {
    match outcome {
        Ok(response) => Ok(response),
        Err(Failure::Error(error)) => Err(error),
        Err(Failure::Panic(panic)) => resume_unwind(panic),
    }
}

impl Pending {
    fn shared(&self) -> &Shared {
        &*self.session
    }

    fn config(&self) -> &Config {
        &self.session.shown.config
    }

    fn succeeded<B, E>(&self, outcome: &Result<Response<B>, Failure<E>>) -> bool {
        let keep_on_server_error = self.config().sessions.policy().keep_changes_on_server_error;
        match outcome {
            Ok(response) => !response.status().is_server_error() || keep_on_server_error,
            Err(_) => false,
        }
    }

    /// Whether the response may leave: there is nothing to write, or nothing that it has to wait for.
    fn is_settled<B, E>(&self, outcome: &Result<Response<B>, Failure<E>>) -> bool {
        let renews =
            || self.succeeded(outcome) && self.shared().waits_for_renewal(self.config().cookie.is_dated());
        self.shared().is_at_rest() && !renews()
    }

    fn finish<B, E>(&self, outcome: &Result<Response<B>, Failure<E>>) -> Finishing {
        let (shared, succeeded) = (Arc::clone(&self.session) as Arc<Shared>, self.succeeded(outcome));
        let tells_expiry = self.config().cookie.is_dated();
        Box::pin(async move {
            if succeeded { shared.finish(tells_expiry).await } else { shared.finish_failed().await }
        })
    }

    /// The handler's head with what the session adds, or an error's in its place.
    fn answer<B: Default>(&self, head: Response<B>, finished: Result<(), SessionError>) -> Response<B> {
        let mut head = match finished {
            Ok(()) => head,
            Err(error) => response::of_error(&error).map(|_| B::default()),
        };
        let headers = head.headers_mut();
        if self.shared().consulted() {
            vary_on_cookie(headers);
        }
        let answer = self.shared().take_answer();
        let leaves_old = matches!(answer, Answer::Set(_) | Answer::Remove) && self.session.shown.has_old();
        let set_cookie = match answer {
            Answer::Set(credential) => self.cookie_for(&credential, self.cookie_until()),
            Answer::Renew(credential) => {
                self.cookie_until().and_then(|until| self.cookie_for(&credential, Some(until)))
            }
            Answer::Remove if self.session.shown.has_ours() => self.config().cookie.removal(),
            Answer::Keep | Answer::Remove => None,
        };
        if let Some(set_cookie) = set_cookie {
            drop_our_cookies(headers, self.config().cookie.cookie_name());
            headers.append(SET_COOKIE, set_cookie);
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        if let Some(removal) = self.removal_of_old().filter(|_| leaves_old) {
            headers.append(SET_COOKIE, removal);
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        head
    }

    fn removal_of_old(&self) -> Option<HeaderValue> {
        self.config().old.as_ref()?.removal(&self.config().cookie)
    }

    /// Until when the browser is to keep the cookie; `None`: until it is closed.
    fn cookie_until(&self) -> Option<Timestamp> {
        self.shared().cookie_until(self.config().cookie.is_dated())
    }

    fn cookie_for(&self, credential: &Credential, until: Option<Timestamp>) -> Option<HeaderValue> {
        let Config { sessions, cookie, .. } = self.config();
        let max_age = until.map(|until| until.saturating_since(sessions.now()));
        match credential {
            Credential::Token(token) => cookie.set(token.expose(), max_age),
            Credential::Id(id) => cookie.set(id.to_text().as_str(), max_age),
            // Its value is not ours to give.
            Credential::Old(_) => None,
        }
    }
}

/// `Vary: Cookie`, unless it is there.
fn vary_on_cookie(headers: &mut HeaderMap) {
    let there = headers.get_all(VARY).iter().any(|value| {
        value.to_str().is_ok_and(|names| {
            names.split(',').map(str::trim).any(|name| name == "*" || name.eq_ignore_ascii_case("cookie"))
        })
    });
    if !there {
        headers.append(VARY, HeaderValue::from_static("Cookie"));
    }
}

/// Takes away what a handler set under our name: there are never two in one response.
fn drop_our_cookies(headers: &mut HeaderMap, name: &str) {
    let is_ours = |value: &HeaderValue| {
        value.as_bytes().strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b"="))
    };
    if !headers.get_all(SET_COOKIE).iter().any(is_ours) {
        return;
    }
    let others: Vec<HeaderValue> =
        headers.get_all(SET_COOKIE).iter().filter(|v| !is_ours(v)).cloned().collect();
    headers.remove(SET_COOKIE);
    for other in others {
        headers.append(SET_COOKIE, other);
    }
}
