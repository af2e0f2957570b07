//! What a client is told when a session cannot be loaded or committed: the status, never the cause,
//! which goes to the log.

use std::error::Error;

use ::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use ::http::{HeaderValue, Response, StatusCode};

use crate::engine::EngineError;
use crate::session::SessionError;
use crate::store::StoreError;

/// Seconds after which a client may try again.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// The response for an error, and a line in the log.
pub(super) fn of_error(error: &SessionError) -> Response<&'static str> {
    let (status, text) = describe(error);
    if status.is_server_error() {
        let cause = error.source().map(|cause| cause.to_string());
        tracing::error!(%error, cause, status = status.as_u16(), "session failed");
    } else {
        tracing::debug!(%error, status = status.as_u16(), "session refused");
    }
    let mut response = Response::new(text);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
    }
    response
}

fn describe(error: &SessionError) -> (StatusCode, &'static str) {
    match error {
        SessionError::MissingLayer => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "No session middleware here: add SessionLayer to the router that holds this route.\n",
        ),
        SessionError::Engine(EngineError::Ended) => {
            (StatusCode::CONFLICT, "Your session ended while this request was changing it.\n")
        }
        SessionError::Engine(EngineError::AlreadyTaken { .. } | EngineError::UserChanged) => {
            (StatusCode::CONFLICT, "Your session was changed by another request at the same time.\n")
        }
        SessionError::Engine(EngineError::TooLarge { .. }) => {
            (StatusCode::PAYLOAD_TOO_LARGE, "Your session cannot hold that much.\n")
        }
        SessionError::Engine(EngineError::Store(StoreError::Full { .. })) => {
            (StatusCode::INSUFFICIENT_STORAGE, "There is no room left to store your session.\n")
        }
        error if error.is_transient() => {
            (StatusCode::SERVICE_UNAVAILABLE, "Sessions are not available just now. Please try again.\n")
        }
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "Your session could not be used.\n"),
    }
}
