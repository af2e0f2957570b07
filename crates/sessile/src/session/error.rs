//! What a handler can be told.

use crate::engine::EngineError;
use crate::record::{DataError, InvalidUserId};
use crate::store::StoreError;

/// A session could not do what the handler asked.
///
/// As a response: 503 with `Retry-After` when the store is not available, 409 when the session ended
/// meanwhile, 413 when the data is too large, otherwise 500.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// Loading or committing failed.
    #[error(transparent)]
    Engine(EngineError),
    /// A value cannot be read as the type that was asked for, or cannot be written as JSON.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The user id cannot be stored: it is no user id, or the column `user_id` is too narrow for it. A login returns
    /// this before anything is written; the commit returns it where the column is narrower than the store knew.
    #[error(transparent)]
    UserId(#[from] InvalidUserId),
    /// A key that the handler requires is not there.
    #[error("the session has no value {key:?}")]
    Missing {
        /// Its name.
        key: String,
    },
    /// There is no session to rotate.
    #[error("there is no session yet: nothing was stored, so there is nothing to rotate")]
    NoSession,
    /// The response head has left, so the browser cannot be given the cookie that a sign-in, a rotation or a new
    /// session needs. Nothing was written.
    #[error(
        "the response head has left, so the browser cannot be given a new session cookie: sign in, rotate or store the first value before the response, or call `save` there"
    )]
    HeadLeft,
    /// The request is outside of the cookie's path, so no browser would bring back a session that it makes. Nothing was
    /// stored.
    #[error(
        "nothing was stored: browsers send the session cookie only for {path:?} and below, and this request is \
         elsewhere; use the session under that path, give the cookie the path \"/\", or call \
         `CookieConfig::path_removed_by_proxy`"
    )]
    OutsideCookiePath {
        /// The path of the cookie.
        path: String,
    },
    /// The runtime is shutting down, so the commit was not made.
    #[error("the session was not saved: the program is shutting down")]
    ShuttingDown,
    /// The route is not under the session middleware.
    #[error(
        "no session middleware here: add `.layer(SessionLayer::new(sessions))` to the router that holds this route"
    )]
    MissingLayer,
}

impl SessionError {
    /// Whether the same request may succeed a little later.
    pub fn is_transient(&self) -> bool {
        match self {
            SessionError::Engine(error) => error.is_transient(),
            SessionError::ShuttingDown => true,
            _ => false,
        }
    }
}

impl From<EngineError> for SessionError {
    fn from(error: EngineError) -> SessionError {
        match error {
            EngineError::UserId(error) => SessionError::UserId(error),
            error => SessionError::Engine(error),
        }
    }
}

impl From<StoreError> for SessionError {
    fn from(error: StoreError) -> SessionError {
        EngineError::from(error).into()
    }
}
