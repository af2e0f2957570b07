//! axum extractors.

use ::http::request::Parts;
use axum::body::Body;
use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::response::{IntoResponse, Response};

use super::response;
use crate::session::{LazySession, Session, SessionError};

/// The session, loaded. Cost: 1 statement; 0 for a visitor without a cookie.
///
/// # Rejection
/// 503 when the store is not available: the visitor is not taken for anonymous. 500 outside the layer.
impl<S: Send + Sync> FromRequestParts<S> for Session {
    type Rejection = SessionError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Session, SessionError> {
        let lazy = <LazySession as FromRequestParts<S>>::from_request_parts(parts, state).await?;
        lazy.load().await
    }
}

/// The session if the visitor has a live one. Cost: 1 statement; 0 for a visitor without a cookie.
impl<S: Send + Sync> OptionalFromRequestParts<S> for Session {
    type Rejection = SessionError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Option<Session>, SessionError> {
        let session = <Session as FromRequestParts<S>>::from_request_parts(parts, state).await?;
        Ok(session.id().is_some().then_some(session))
    }
}

/// The session, to be loaded on demand. Costs nothing until then.
impl<S: Send + Sync> FromRequestParts<S> for LazySession {
    type Rejection = SessionError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<LazySession, SessionError> {
        parts.extensions.get::<LazySession>().cloned().ok_or(SessionError::MissingLayer)
    }
}

/// So that handlers may use `?`. [`SessionLayer::on_error`](super::SessionLayer::on_error) renders the response; what
/// is made here is a short text.
impl IntoResponse for SessionError {
    fn into_response(self) -> Response {
        response::of_rejection(self).map(Body::from)
    }
}
