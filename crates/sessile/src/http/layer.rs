//! The tower middleware: puts a session into the request, commits it before the head leaves.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use ::http::header::{CONTENT_TYPE, COOKIE, SET_COOKIE};
use ::http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use bytes::Bytes;
use pin_project_lite::pin_project;
use smallvec::SmallVec;
use tower_layer::Layer;
use tower_service::Service;

use super::body::{ResponseBody, grpc_failed};
use super::cookie::{CookieConfig, CookieConfigError};
use super::old::OldCookie;
use super::response::{FailedRequest, Renderer, RequestHead};
use super::{caching, request, response};
use crate::engine::{RealmError, Sessions};
use crate::session::{CredentialChange, Head, LazySession, Named, SessionError, Shared, Shown};

/// Sessions for every request under it.
///
/// Cost: nothing for a request that does not ask for its session; see
/// [`LazySession::load`](crate::LazySession::load) and [`Session::save`](crate::Session::save) for the rest.
///
/// The changes of a request are committed before its response head leaves: when the commit fails the client gets
/// an error instead of the handler's response, see [`on_error`](Self::on_error). When the handler fails, its changes
/// are dropped and a logout is carried out all the same. A handler fails when it panics, returns an error, or
/// responds with 5xx, 408 (as tower-http's `TimeoutLayer` does) or a `grpc-status` header other than 0. The trailers
/// of a gRPC response come after the head: a failure there does not undo the commit, it is logged.
///
/// The response body is a [`ResponseBody`] around the handler's, so that the layer works around any other.
///
/// Mounted twice with one cookie name and one realm, the outer one serves both.
#[derive(Clone)]
pub struct SessionLayer {
    config: Arc<Config>,
}

#[derive(Clone)]
struct Config {
    sessions: Sessions,
    cookie: CookieConfig,
    /// Whether the cookie was chosen, and is not the default.
    has_own_cookie: bool,
    old: Option<OldCookie>,
    renderer: Option<Renderer>,
}

impl Config {
    /// Whether a layer around this one with the same cookie and realm made the session.
    fn is_of(&self, session: &Shared) -> bool {
        session.shown.is_cookie(self.cookie.cookie_name())
            && session.sessions().realm() == self.sessions.realm()
    }
}

/// What a request shows: the Cookie headers as they came, and what the page of an error depends on.
struct Cookies {
    config: Arc<Config>,
    headers: SmallVec<[HeaderValue; 1]>,
    head: RequestHead,
    /// Whether browsers send the cookie with this request, if they have it.
    is_covered: bool,
}

impl Cookies {
    fn of<B>(config: &Arc<Config>, request: &Request<B>) -> Cookies {
        Cookies {
            config: Arc::clone(config),
            headers: request.headers().get_all(COOKIE).into_iter().cloned().collect(),
            head: RequestHead::of(request, config.renderer.as_ref()),
            is_covered: config.cookie.covers(|| super::original_uri(request).path()),
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
        if !self.is_covered {
            return Named::default();
        }
        let Config { sessions, cookie, old, .. } = &*self.config;
        let ours = request::credentials(&self.headers, cookie.cookie_name(), sessions);
        let left = request::MAX_TRIED - ours.len();
        let old = old.as_ref().map(|old| old.credentials(&self.headers, left));
        Named { ours, old: old.unwrap_or_default() }
    }

    fn can_name(&self) -> Result<(), SessionError> {
        match self.is_covered {
            true => Ok(()),
            false => Err(SessionError::OutsideCookiePath { path: self.config.cookie.cookie_path().into() }),
        }
    }

    fn is_cookie(&self, name: &str) -> bool {
        self.config.cookie.cookie_name() == name
    }
}

impl SessionLayer {
    /// Sessions of this service, under the default cookie ([`CookieConfig::default`], or lback's for its
    /// policy).
    pub fn new(sessions: Sessions) -> SessionLayer {
        let cookie = default_cookie(&sessions);
        let config = Config { sessions, cookie, has_own_cookie: false, old: None, renderer: None };
        SessionLayer { config: Arc::new(config) }
    }

    /// In a realm: a token of this layer names no session of another realm or of none, and theirs none here, also over
    /// one table and one [`Sessions`]. Two layers without realms over one `Sessions` have two cookies, but one set
    /// of tokens: what signs in under one cookie signs in under the other.
    ///
    /// Unless [`cookie`](Self::cookie) chooses one, the cookie is `__Host-session-` and the name, so that a browser
    /// keeps both. Cost: none. See [`Sessions::in_realm`] for what realms do not keep apart.
    ///
    /// ```
    /// use sessile::{SessionLayer, Sessions, store::MemoryStore};
    ///
    /// let sessions = Sessions::new(MemoryStore::new());
    /// let site = SessionLayer::new(sessions.clone());
    /// let admin = SessionLayer::new(sessions).realm("admin")?;
    /// # let _ = (site, admin);
    /// # Ok::<(), sessile::engine::RealmError>(())
    /// ```
    ///
    /// # Errors
    /// As [`Sessions::in_realm`], and after [`accept_old`](Self::accept_old), whose sessions are of no realm.
    pub fn realm(mut self, name: &str) -> Result<SessionLayer, RealmError> {
        if self.config.old.is_some() {
            return Err(RealmError::OldCookie { name: name.to_owned() });
        }
        let sessions = self.config.sessions.in_realm(name)?;
        let config = Arc::make_mut(&mut self.config);
        if !config.has_own_cookie {
            config.cookie = default_cookie(&sessions);
        }
        config.sessions = sessions;
        Ok(self)
    }

    /// Under another cookie.
    ///
    /// # Errors
    /// When browsers would refuse it: see [`CookieConfigError`].
    pub fn cookie(mut self, cookie: CookieConfig) -> Result<SessionLayer, CookieConfigError> {
        cookie.validate()?;
        if let Some(old) = &self.config.old {
            old.validate(&cookie)?;
        }
        let config = Arc::make_mut(&mut self.config);
        config.cookie = cookie;
        config.has_own_cookie = true;
        Ok(self)
    }

    /// Renders the response for a session that could not be loaded or committed, in place of the default:
    /// [`FailedRequest::default_response`]. It also renders what an extractor or a handler returns as
    /// [`SessionError`], unless something between it and this layer has changed the status or the `Content-Type`.
    ///
    /// The layer adds `Cache-Control: no-store`, and `Retry-After` to a 503 without one. A renderer cannot turn the
    /// error into a success: the status of the error replaces a 2xx.
    ///
    /// ```
    /// use http::Response;
    /// use sessile::http::FailedRequest;
    /// use sessile::{SessionLayer, Sessions, store::MemoryStore};
    ///
    /// fn page(failed: &FailedRequest<'_>) -> Response<String> {
    ///     let text = format!("<h1>{}</h1><p>{}</p>", failed.status(), failed.message());
    ///     Response::builder().header("content-type", "text/html").body(text).unwrap_or_default()
    /// }
    ///
    /// let layer = SessionLayer::new(Sessions::new(MemoryStore::new())).on_error(page);
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn on_error<R, B>(mut self, render: R) -> SessionLayer
    where
        R: Fn(&FailedRequest<'_>) -> Response<B> + Send + Sync + 'static,
        B: Into<Bytes>,
    {
        let renderer: Renderer = Arc::new(move |failed| render(failed).map(Into::into));
        Arc::make_mut(&mut self.config).renderer = Some(renderer);
        self
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
    /// When browsers would refuse its removal, it has the name of ours, or the layer is in a realm.
    pub fn accept_old(mut self, old: OldCookie) -> Result<SessionLayer, CookieConfigError> {
        old.validate(&self.config.cookie)?;
        if let Some(realm) = self.config.sessions.realm() {
            return Err(CookieConfigError::OldCookieInRealm { realm: realm.name().to_owned() });
        }
        Arc::make_mut(&mut self.config).old = Some(old);
        Ok(self)
    }

    /// The service whose sessions these are.
    pub fn sessions(&self) -> &Sessions {
        &self.config.sessions
    }
}

fn default_cookie(sessions: &Sessions) -> CookieConfig {
    match sessions.realm() {
        _ if sessions.policy().is_lback() => CookieConfig::lback(),
        Some(realm) => CookieConfig::default().name(format!("__Host-session-{}", realm.name())),
        None => CookieConfig::default(),
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

impl<S, RequestBody, B> Service<Request<RequestBody>> for SessionService<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>>,
{
    type Response = Response<ResponseBody<B>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, B, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<RequestBody>) -> Self::Future {
        let outer = request.extensions().get::<LazySession>();
        if outer.is_some_and(|outer| self.config.is_of(&outer.shared)) {
            return ResponseFuture { handler: self.inner.call(request), pending: None, step: Step::Handler };
        }
        let session = Arc::new(Shared::new(Cookies::of(&self.config, &request)));
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
{
    type Output = Result<Response<ResponseBody<B>>, E>;

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
                        None => outcome.map(|head| match this.pending.as_ref() {
                            Some(pending) => pending.render_rejection(head.map(ResponseBody::handler)),
                            None => head.map(ResponseBody::handler),
                        }),
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
                    let committed = finished.is_ok();
                    return Poll::Ready(hand_on(outcome.map(|head| {
                        let mut response = pending.answer(head, finished);
                        if committed && is_grpc(response.headers()) {
                            response.body_mut().check_trailers();
                        }
                        response
                    })));
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
            Ok(response) => !reports_failure(response) || keep_on_server_error,
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
    fn answer<B>(&self, head: Response<B>, finished: Result<(), SessionError>) -> Response<ResponseBody<B>> {
        let mut head = match finished {
            Ok(()) => self.render_rejection(head.map(ResponseBody::handler)),
            Err(error) => {
                let Cookies { head, config, .. } = &self.session.shown;
                response::of_error(&error, head, config.renderer.as_ref())
            }
        };
        let headers = head.headers_mut();
        if self.shared().consulted() {
            caching::vary_on_cookie(headers);
        }
        let change = self.shared().take_change();
        let sets = matches!(change, CredentialChange::Set { .. } | CredentialChange::Ended);
        let leaves_old = sets && self.session.shown.has_old();
        let has_nothing_to_remove =
            matches!(change, CredentialChange::Ended) && !self.session.shown.has_ours();
        if !has_nothing_to_remove {
            self.config().cookie.write_valid(change, &self.config().sessions, headers);
        }
        if let Some(removal) = self.removal_of_old().filter(|_| leaves_old) {
            headers.append(SET_COOKIE, removal);
            caching::forbid(headers);
        }
        head
    }

    /// Renders a [`SessionError`] that became the response below this layer.
    fn render_rejection<B>(&self, response: Response<ResponseBody<B>>) -> Response<ResponseBody<B>> {
        let Cookies { head, config, .. } = &self.session.shown;
        response::render_rejection(response, head, config.renderer.as_ref())
    }

    fn removal_of_old(&self) -> Option<HeaderValue> {
        self.config().old.as_ref()?.removal(&self.config().cookie)
    }
}

/// Whether the handler's response says that it failed.
fn reports_failure<B>(response: &Response<B>) -> bool {
    let status = response.status();
    status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT || grpc_failed(response.headers())
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}
