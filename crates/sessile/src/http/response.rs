//! What a client gets when a session cannot be loaded or committed: a status and a short page, never the cause,
//! which goes to the log.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use ::http::header::{
    ACCEPT, ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    LAST_MODIFIED, RETRY_AFTER, TRANSFER_ENCODING,
};
use ::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use bytes::Bytes;

use super::body::ResponseBody;
use super::caching;
use crate::engine::EngineError;
use crate::session::SessionError;
use crate::store::StoreError;

/// Seconds after which a client may try again.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");
const PLAIN_TEXT: &str = "text/plain; charset=utf-8";

/// Makes the response for an error.
pub(super) type Renderer = Arc<dyn Fn(&FailedRequest<'_>) -> Response<Bytes> + Send + Sync>;

/// The parts of a request that the page of an error may depend on.
#[derive(Debug, Clone)]
pub(super) struct RequestHead {
    method: Method,
    accept: Option<HeaderValue>,
    /// Only for a renderer: the default page does not show it.
    uri: Option<Uri>,
}

impl RequestHead {
    pub(super) fn of<B>(request: &Request<B>, renderer: Option<&Renderer>) -> RequestHead {
        RequestHead {
            method: request.method().clone(),
            accept: request.headers().get(ACCEPT).cloned(),
            uri: renderer.map(|_| super::original_uri(request).clone()),
        }
    }
}

/// A request whose session could not be loaded or committed, for
/// [`SessionLayer::on_error`](super::SessionLayer::on_error).
pub struct FailedRequest<'a> {
    error: &'a SessionError,
    head: &'a RequestHead,
    uri: &'a Uri,
}

impl<'a> FailedRequest<'a> {
    /// What went wrong. It may name servers and files: for the log, not for the client.
    pub fn error(&self) -> &'a SessionError {
        self.error
    }

    /// The status of the response: 409 when the session ended meanwhile, 413 when its data is too large, 503 when
    /// the store is not available, 507 when the store is full, otherwise 500.
    pub fn status(&self) -> StatusCode {
        describe(self.error).0
    }

    /// One English sentence or two for the client.
    pub fn message(&self) -> &'static str {
        describe(self.error).1
    }

    /// The method of the request.
    pub fn method(&self) -> &'a Method {
        &self.head.method
    }

    /// The URI of the request, under a nested axum router the original one.
    pub fn uri(&self) -> &'a Uri {
        self.uri
    }

    /// The `Accept` header of the request, the first one if there are several.
    pub fn accept(&self) -> Option<&'a HeaderValue> {
        self.head.accept.as_ref()
    }

    /// The response of a layer without [`on_error`](super::SessionLayer::on_error): a short HTML page,
    /// `application/problem+json` (RFC 9457) or text, as `Accept` prefers.
    pub fn default_response(&self) -> Response<Bytes> {
        default_response(self.error, self.head)
    }
}

impl fmt::Debug for FailedRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FailedRequest").field("error", self.error).finish_non_exhaustive()
    }
}

/// Marks the response of an extractor or a handler that returned a [`SessionError`], so that the middleware can
/// render it.
#[derive(Clone)]
pub(super) struct Rejected(Arc<SessionError>);

/// The response for an error where no request is at hand, and a line in the log.
#[cfg(feature = "axum")]
pub(super) fn of_rejection(error: SessionError) -> Response<Bytes> {
    log(&error);
    let (status, message) = describe(&error);
    let mut response = Response::new(Bytes::from(format!("{message}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(PLAIN_TEXT));
    complete(&mut response, status);
    response.extensions_mut().insert(Rejected(Arc::new(error)));
    response
}

/// The response for an error that the middleware found, and a line in the log.
pub(super) fn of_error<B>(
    error: &SessionError,
    head: &RequestHead,
    renderer: Option<&Renderer>,
) -> Response<ResponseBody<B>> {
    log(error);
    render(error, head, renderer)
}

/// Renders a response that an extractor or a handler made of a [`SessionError`]. Headers that were added to it stay.
/// A response whose status or type something else has changed is left as it is.
pub(super) fn render_rejection<B>(
    response: Response<ResponseBody<B>>,
    head: &RequestHead,
    renderer: Option<&Renderer>,
) -> Response<ResponseBody<B>> {
    let Some(Rejected(error)) = response.extensions().get::<Rejected>().cloned() else { return response };
    let (mut parts, body) = response.into_parts();
    parts.extensions.remove::<Rejected>();
    let is_unchanged = parts.status == describe(&error).0
        && parts.headers.get(CONTENT_TYPE).is_some_and(|content_type| content_type == PLAIN_TEXT);
    if !is_unchanged {
        return Response::from_parts(parts, body);
    }
    let rendered = render(&error, head, renderer);
    for described in [
        ACCEPT_RANGES,
        CONTENT_ENCODING,
        CONTENT_LENGTH,
        CONTENT_RANGE,
        CONTENT_TYPE,
        ETAG,
        LAST_MODIFIED,
        TRANSFER_ENCODING,
    ] {
        parts.headers.remove(described);
    }
    let (by_renderer, body) = rendered.into_parts();
    parts.status = by_renderer.status;
    merge(&mut parts.headers, by_renderer.headers);
    parts.extensions.extend(by_renderer.extensions);
    Response::from_parts(parts, body)
}

/// Replaces the headers of `into` that are in `from`.
fn merge(into: &mut HeaderMap, from: HeaderMap) {
    let mut last = None;
    for (name, value) in from {
        match (name, &last) {
            (Some(name), _) => {
                into.insert(name.clone(), value);
                last = Some(name);
            }
            (None, Some(name)) => {
                into.append(name.clone(), value);
            }
            (None, None) => {}
        }
    }
}

fn render<B>(
    error: &SessionError,
    head: &RequestHead,
    renderer: Option<&Renderer>,
) -> Response<ResponseBody<B>> {
    let mut response = match (renderer, &head.uri) {
        (Some(renderer), Some(uri)) => renderer(&FailedRequest { error, head, uri }),
        _ => default_response(error, head),
    };
    complete(&mut response, describe(error).0);
    if head.method == Method::HEAD {
        let length = response.body().len();
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
        *response.body_mut() = Bytes::new();
    }
    response.map(ResponseBody::text)
}

fn default_response(error: &SessionError, head: &RequestHead) -> Response<Bytes> {
    let (status, message) = describe(error);
    let (content_type, body) = match Format::preferred(head.accept.as_ref()) {
        Format::Html => ("text/html; charset=utf-8", html(status, message)),
        Format::Json => ("application/problem+json", json(status, message)),
        Format::Text => (PLAIN_TEXT, format!("{message}\n")),
    };
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Adds what every response for an error has. A renderer cannot turn an error into a success.
fn complete(response: &mut Response<Bytes>, status: StatusCode) {
    if response.status().is_success() {
        *response.status_mut() = status;
    }
    let is_unavailable = response.status() == StatusCode::SERVICE_UNAVAILABLE;
    let headers = response.headers_mut();
    caching::forbid(headers);
    if is_unavailable && !headers.contains_key(RETRY_AFTER) {
        headers.insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
    }
}

fn log(error: &SessionError) {
    let status = describe(error).0;
    if status.is_server_error() {
        let cause = error.source().map(|cause| cause.to_string());
        tracing::error!(%error, cause, status = status.as_u16(), "session failed");
    } else {
        tracing::debug!(%error, status = status.as_u16(), "session refused");
    }
}

fn describe(error: &SessionError) -> (StatusCode, &'static str) {
    match error {
        SessionError::MissingLayer => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "No session middleware here: add SessionLayer to the router that holds this route.",
        ),
        SessionError::Engine(EngineError::Ended) => {
            (StatusCode::CONFLICT, "Your session ended while this request was changing it. Please try again.")
        }
        SessionError::Engine(EngineError::AlreadyTaken { .. } | EngineError::UserChanged) => {
            (StatusCode::CONFLICT, "Your session was changed by another request at the same time.")
        }
        SessionError::Engine(EngineError::TooLarge { .. }) => {
            (StatusCode::PAYLOAD_TOO_LARGE, "Your session cannot hold that much.")
        }
        SessionError::Engine(EngineError::Store(StoreError::Full { .. })) => {
            (StatusCode::INSUFFICIENT_STORAGE, "There is no room left to store your session.")
        }
        error if error.is_transient() => {
            (StatusCode::SERVICE_UNAVAILABLE, "Sessions are not available just now. Please try again.")
        }
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "Your session could not be used."),
    }
}

/// The formats of the default response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Html,
    Json,
    Text,
}

impl Format {
    /// The format that `Accept` names with the highest weight; of several the first in the order HTML, JSON, text.
    /// Text where it names none of them, also for `*/*`.
    fn preferred(accept: Option<&HeaderValue>) -> Format {
        let Some(accept) = accept.and_then(|accept| accept.to_str().ok()) else { return Format::Text };
        let mut best = (0, Format::Text);
        for (format, weight) in accept.split(',').filter_map(Format::weighted) {
            let is_earlier = weight == best.0 && (format as u8) < best.1 as u8;
            if weight > 0 && (weight > best.0 || is_earlier) {
                best = (weight, format);
            }
        }
        best.1
    }

    /// What one part of `Accept` names, with its weight in thousandths.
    fn weighted(range: &str) -> Option<(Format, u16)> {
        let mut parts = range.split(';').map(str::trim);
        let media_type = parts.next()?.to_ascii_lowercase();
        let format = match media_type.as_str() {
            "text/html" | "application/xhtml+xml" => Format::Html,
            "text/plain" => Format::Text,
            "application/json" => Format::Json,
            other if other.starts_with("application/") && other.ends_with("+json") => Format::Json,
            _ => return None,
        };
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        Some((format, weight.map_or(1_000, thousandths)))
    }
}

/// A weight of RFC 9110 (`0.75`) in thousandths; 0 for what is none.
fn thousandths(weight: &str) -> u16 {
    let weight: f32 = weight.parse().unwrap_or_default();
    // The range is kept, and as a cast also saturates, NaN becomes 0.
    (weight.clamp(0.0, 1.0) * 1_000.0) as u16
}

fn html(status: StatusCode, message: &str) -> String {
    let title = title(status);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<h1>{title}</h1>\n<p>{message}</p>\n</html>\n"
    )
}

fn json(status: StatusCode, message: &str) -> String {
    let (title, code) = (title(status), status.as_u16());
    // Neither text has a quote or a backslash.
    format!("{{\"type\":\"about:blank\",\"title\":\"{title}\",\"status\":{code},\"detail\":\"{message}\"}}\n")
}

fn title(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or("Error")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages go into JSON and HTML as they are.
    #[test]
    fn messages_need_no_escapes() {
        let full = StoreError::Full { store: "s", reason: String::new(), source: None };
        for error in [
            SessionError::MissingLayer,
            SessionError::NoSession,
            SessionError::ShuttingDown,
            SessionError::Engine(EngineError::Ended),
            SessionError::Engine(EngineError::UserChanged),
            SessionError::Engine(EngineError::AlreadyTaken { key: "k".into() }),
            SessionError::Engine(EngineError::TooLarge { bytes: 2, limit: 1 }),
            SessionError::Engine(full.into()),
        ] {
            let message = describe(&error).1;
            assert!(message.ends_with('.') && !message.contains(['"', '\\', '<', '&', '\n']), "{message:?}");
        }
    }

    /// The headers are those of browsers, fetch(), axios and curl.
    #[test]
    fn the_format_follows_accept() {
        for (accept, expected) in [
            ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", Format::Html),
            ("*/*", Format::Text),
            ("application/json, text/plain, */*", Format::Json),
            ("application/problem+json", Format::Json),
            ("application/vnd.api+json", Format::Json),
            ("application/json;q=0.5, text/html;q=0.9", Format::Html),
            ("application/json;q=0.9, text/html;q=0.5", Format::Json),
            ("TEXT/HTML; q=0.1", Format::Html),
            ("text/html;q=0, application/json;q=0.001", Format::Json),
            ("text/html;q=0", Format::Text),
            ("text/html;q=NaN", Format::Text),
            ("image/png", Format::Text),
            ("", Format::Text),
            (";;,,;q=,", Format::Text),
        ] {
            let header = HeaderValue::from_static(accept);
            assert_eq!(Format::preferred(Some(&header)), expected, "{accept}");
        }
        assert_eq!(Format::preferred(None), Format::Text);
        assert_eq!(Format::preferred(HeaderValue::from_bytes(b"\xff").ok().as_ref()), Format::Text);
    }
}
