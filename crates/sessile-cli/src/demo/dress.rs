//! What every response gets on its way out: the security headers, and a readable page if it is an error.

use axum::http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};

use super::pages;

/// Nothing but the shop's own style sheet and pictures; its forms lead to itself, and nobody frames it.
const ONLY_OUR_OWN_FILES: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const SECURITY_HEADERS: [(HeaderName, &str); 3] = [
    (CONTENT_SECURITY_POLICY, ONLY_OUR_OWN_FILES),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "same-origin"),
];

/// The response as a visitor should see it.
pub(super) async fn dressed(response: Response) -> Response {
    let mut response = if needs_page(&response) { with_page(response) } else { response };
    for (name, value) in SECURITY_HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The middleware and the extractors say what went wrong by the status, with a line of text at most.
fn needs_page(response: &Response) -> bool {
    let failed = response.status().is_client_error() || response.status().is_server_error();
    let html =
        response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    failed && !html
}

/// The same head, cookies and `Retry-After` included, with a page for its status. The page does not
/// show the user, because the handler may have failed before the session was loaded.
fn with_page(response: Response) -> Response {
    let (mut head, _) = response.into_parts();
    let (page_head, body) = pages::error::page(head.status).into_response().into_parts();
    head.headers.remove(CONTENT_LENGTH);
    head.headers.extend(page_head.headers);
    head.headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Response::from_parts(head, body)
}
