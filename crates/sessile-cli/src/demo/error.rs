//! Why a handler could not do what was asked, and the status that says so.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use sessile::SessionError;
use sessile::engine::EngineError;

use super::users::CheckFailed;

/// A handler gave up. The page that the visitor sees is made from the status, outside the handlers.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ShopError {
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error(transparent)]
    PasswordCheck(#[from] CheckFailed),
    #[error("the shop has no such good")]
    NoSuchGood,
    #[error("only for those who are signed in")]
    NotSignedIn,
}

/// From [`Sessions`](sessile::Sessions), which is asked directly where a handler is about more than its own session.
impl From<EngineError> for ShopError {
    fn from(error: EngineError) -> Self {
        Self::Session(error.into())
    }
}

impl IntoResponse for ShopError {
    fn into_response(self) -> Response {
        match self {
            // The library knows which status means what, and logs the cause.
            Self::Session(error) => error.into_response(),
            Self::PasswordCheck(error) => {
                tracing::error!(%error, "nobody can sign in");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
            Self::NoSuchGood => StatusCode::NOT_FOUND.into_response(),
            Self::NotSignedIn => Redirect::to("/sign-in").into_response(),
        }
    }
}
