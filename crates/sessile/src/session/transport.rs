//! What a transport needs of a session: the commit at the end of a request, and what the client must then keep.

use super::SessionError;
use super::lazy::{LazySession, Shared};
use super::state::Answer;
use crate::engine::{Credential, Meta};
use crate::record::Timestamp;

/// What a client has to do with its credential after a request.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum CredentialChange {
    /// Keep the one it has, or none.
    Unchanged,
    /// Keep this one instead, which names a new session, a rotated one, or one that is remembered from now on or no
    /// longer.
    Set {
        /// The credential.
        credential: Credential,
        /// When the session ends, unless it is renewed.
        expires_at: Timestamp,
        /// Whether the client keeps it after it is closed.
        remembered: bool,
    },
    /// Keep the one it has until later.
    Renewed {
        /// The credential it has.
        credential: Credential,
        /// When the session ends, unless it is renewed again.
        expires_at: Timestamp,
        /// Whether the client keeps it after it is closed.
        remembered: bool,
    },
    /// Forget the one it has: the session ended.
    Ended,
}

impl Shared {
    /// What the client has to do. Answered once.
    pub(crate) fn take_change(&self) -> CredentialChange {
        let mut state = self.state();
        let (credential, is_renewal) = match std::mem::take(&mut state.answer) {
            Answer::Keep => return CredentialChange::Unchanged,
            Answer::Remove => return CredentialChange::Ended,
            Answer::Set(credential) => (credential, false),
            Answer::Renew(credential) => (credential, true),
        };
        // A session with a name has a row.
        let Some(base) = state.base.as_deref() else { return CredentialChange::Unchanged };
        let (expires_at, remembered) = (base.record.expires_at(), Meta::of(&base.data).remember());
        match is_renewal {
            true => CredentialChange::Renewed { credential, expires_at, remembered },
            false => CredentialChange::Set { credential, expires_at, remembered },
        }
    }
}

/// For transports of your own; the middleware does this for cookies.
///
/// ```
/// use http::{Request, Response, StatusCode, header};
/// use sessile::{CookieConfig, LazySession, SessionError, Sessions};
///
/// /// A service of its own framework: reads the cookie, calls the handler, commits, writes the cookie.
/// async fn serve(sessions: &Sessions, request: Request<()>) -> Response<String> {
///     let cookie = CookieConfig::new();
///     let named = cookie.credentials(request.headers(), sessions);
///     let session = LazySession::new(sessions.clone(), named);
///     let handled = handle(&session).await;
///     let ended = if handled.is_ok() { session.commit().await } else { session.abandon().await };
///     let mut response = match handled.and_then(|text| ended.map(|()| text)) {
///         Ok(text) => Response::new(text),
///         Err(error) => {
///             let mut response = Response::new("Please try again.".to_owned());
///             *response.status_mut() = match error.is_transient() {
///                 true => StatusCode::SERVICE_UNAVAILABLE,
///                 false => StatusCode::INTERNAL_SERVER_ERROR,
///             };
///             response
///         }
///     };
///     if session.is_consulted() {
///         response.headers_mut().append(header::VARY, header::HeaderValue::from_static("Cookie"));
///     }
///     // Also after an error: an earlier save may have given the session a new name.
///     cookie.write(session.take_change(), sessions, response.headers_mut());
///     response
/// }
///
/// async fn handle(session: &LazySession) -> Result<String, SessionError> {
///     let visits = session.load().await?.update("visits", |n: &mut u32| *n += 1)?;
///     Ok(format!("You have been here {visits} times."))
/// }
///
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let sessions = Sessions::new(sessile::store::MemoryStore::new());
/// let first = serve(&sessions, Request::new(())).await;
/// let cookie = first.headers()[header::SET_COOKIE].to_str().unwrap();
/// let request = Request::get("/").header(header::COOKIE, cookie.split(';').next().unwrap());
/// let second = serve(&sessions, request.body(()).unwrap()).await;
/// assert_eq!(second.body(), "You have been here 2 times.");
/// # });
/// ```
impl LazySession {
    /// Ends a request that succeeded: commits what it changed, or renews the session when that is due.
    ///
    /// Cost: as [`Session::save`](super::Session::save); 0 where nothing was asked of the session.
    ///
    /// # Errors
    /// When the commit fails. The response must then say so.
    pub async fn commit(&self) -> Result<(), SessionError> {
        if self.shared.is_touched() { self.shared.finish(false).await } else { Ok(()) }
    }

    /// Ends a request that failed: drops what it changed, and carries out a logout.
    ///
    /// Cost: 1 statement after a logout, otherwise 0.
    ///
    /// # Errors
    /// When a logout could not be carried out.
    pub async fn abandon(&self) -> Result<(), SessionError> {
        if self.shared.is_touched() { self.shared.finish_failed().await } else { Ok(()) }
    }

    /// What the client has to be told after [`commit`](Self::commit), [`abandon`](Self::abandon) or
    /// [`Session::save`](super::Session::save), whether they failed or not. Answered once: the next call says
    /// [`Unchanged`](CredentialChange::Unchanged) unless more was committed.
    pub fn take_change(&self) -> CredentialChange {
        self.shared.take_change()
    }

    /// Whether anything depends on the credentials of the request: a cache must not serve the response to others.
    pub fn is_consulted(&self) -> bool {
        self.shared.is_touched() && self.shared.consulted()
    }
}
