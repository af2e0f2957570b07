//! Cross-site request forgery, refused by where a request comes from: no token, no statement.
//!
//! Browsers say with `Sec-Fetch-Site` or `Origin` which page started a request. Another site's request is refused
//! when it could change something, or when it upgrades the connection: a WebSocket handshake is a `GET` with cookies,
//! and no same-origin policy keeps its page from reading the answers. Clients that are no browsers send neither
//! header and pass. (OWASP CSRF prevention cheat sheet, "Fetch Metadata"; the same rule as Go 1.25's
//! `CrossOriginProtection`, and RFC 6455, 10.2, for the handshakes.)

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ::http::header::{CONTENT_TYPE, HOST, ORIGIN, SEC_WEBSOCKET_KEY, UPGRADE};
use ::http::uri::Authority;
use ::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use bytes::Bytes;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::body::ResponseBody;
use super::caching;

const REFUSAL: &str = "This request was started by another site and was refused.\n";

/// Refuses requests that other sites start, with 403.
///
/// | request | passes |
/// |---|---|
/// | `GET`, `HEAD`, `OPTIONS` or `TRACE` without an upgrade | always |
/// | with the `Origin` of a [trusted](Self::trust) page | always |
/// | with `Sec-Fetch-Site` | `same-origin`, and `none` (typed by the user) |
/// | otherwise with `Origin` | when its host and port are those of `Host` |
/// | with neither header | always: it comes from no browser |
///
/// Pages of the same site are not of the same origin: a page of `blog.shop.example` is refused by `shop.example`
/// unless it is trusted.
///
/// Upgrades are WebSocket handshakes (an `Upgrade` or `Sec-WebSocket-Key` header, or `CONNECT` in HTTP/2 and HTTP/3) and
/// any other protocol than `h2c`. One without `Origin` passes, as other requests do: browsers always send it with a
/// handshake, and no page can suppress it. A proxy that removes `Origin` removes this protection; one that replaces
/// `Host` makes it refuse your own pages in browsers without `Sec-Fetch-Site`, unless their origin is trusted.
///
/// The scheme of `Origin` is not compared with one's own, which is not known behind a proxy that ends TLS.
#[derive(Debug, Clone, Default)]
pub struct OriginCheckLayer {
    trusted: Arc<Vec<String>>,
}

/// An origin that is not written as browsers write it, so that no request would ever match it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the origin to trust {problem}{}", Suggested(.suggestion.as_deref()))]
#[non_exhaustive]
pub struct InvalidOrigin {
    /// What is wrong with it.
    pub problem: &'static str,
    /// The origin that was probably meant, as browsers write it.
    pub suggestion: Option<String>,
}

struct Suggested<'a>(Option<&'a str>);

impl std::fmt::Display for Suggested<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(origin) => write!(f, ": write {origin:?}"),
            None => f.write_str(": an origin such as \"https://example.com\" is expected"),
        }
    }
}

impl OriginCheckLayer {
    /// Only this site's own pages may change anything.
    pub fn new() -> OriginCheckLayer {
        OriginCheckLayer::default()
    }

    /// Also the pages of this origin, written as browsers write it: `https://example.com`, in lower case, with the
    /// port unless it is the scheme's own, and without a path or a final slash.
    ///
    /// ```
    /// use sessile::http::OriginCheckLayer;
    ///
    /// let layer = OriginCheckLayer::new().trust("https://pay.example")?;
    /// let error = layer.trust("Pay.example:443/").unwrap_err();
    /// assert_eq!(error.suggestion.as_deref(), Some("https://pay.example"));
    /// # Ok::<(), sessile::http::InvalidOrigin>(())
    /// ```
    ///
    /// # Errors
    /// When browsers never write it so; the error has the right spelling where there is one.
    pub fn trust(mut self, origin: impl AsRef<str>) -> Result<OriginCheckLayer, InvalidOrigin> {
        let origin = origin.as_ref();
        validate(origin)?;
        Arc::make_mut(&mut self.trusted).push(origin.to_owned());
        Ok(self)
    }
}

/// Whether browsers would write the origin so.
fn validate(origin: &str) -> Result<(), InvalidOrigin> {
    let wrong = |problem, suggestion| Err(InvalidOrigin { problem, suggestion });
    if origin == "null" {
        return wrong("is that of every sandboxed page", None);
    }
    if origin.contains('*') {
        return wrong("has a wildcard: trust each origin by itself", None);
    }
    if !origin.is_ascii() {
        return wrong("has characters beyond ASCII: browsers write such a host as xn--", None);
    }
    if !origin.contains("://") {
        return wrong("has no scheme", canonical(&format!("https://{origin}")));
    }
    match canonical(origin) {
        Some(right) if right == origin => Ok(()),
        suggestion => wrong("is not written as browsers write it", suggestion),
    }
}

/// The origin of an address as browsers write it; `None` where it has none.
fn canonical(address: &str) -> Option<String> {
    let (scheme, rest) = address.split_once("://")?;
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "ws" => "http".to_owned(),
        "wss" => "https".to_owned(),
        other => other.to_owned(),
    };
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_lowercase())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let authority = rest.split(['/', '?', '#', '\\']).next()?;
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (host, port) = host_and_port(authority)?;
    let is_default = matches!((scheme.as_str(), port), ("http", Some(80)) | ("https", Some(443)));
    let port = port.filter(|_| !is_default).map(|port| format!(":{port}")).unwrap_or_default();
    is_scheme.then(|| format!("{scheme}://{host}{port}"))
}

/// The host in lower case, IPv6 addresses in their shortest form, and the port if there is one.
fn host_and_port(authority: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(bracketed) => {
            let (address, port) = bracketed.split_once(']')?;
            let address: std::net::Ipv6Addr = address.parse().ok()?;
            (format!("[{address}]"), port)
        }
        None => {
            let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
            let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            if host.is_empty() || !host.bytes().all(is_host) {
                return None;
            }
            (host.to_ascii_lowercase(), port)
        }
    };
    let port = match port.strip_prefix(':') {
        None => port.is_empty().then_some(None)?,
        Some("") => None,
        Some(port) if port.bytes().all(|digit| digit.is_ascii_digit()) => Some(port.parse().ok()?),
        Some(_) => return None,
    };
    Some((host, port))
}

impl<S> Layer<S> for OriginCheckLayer {
    type Service = OriginCheck<S>;

    fn layer(&self, inner: S) -> OriginCheck<S> {
        OriginCheck { inner, trusted: Arc::clone(&self.trusted) }
    }
}

/// The service [`OriginCheckLayer`] makes.
#[derive(Debug, Clone)]
pub struct OriginCheck<S> {
    inner: S,
    trusted: Arc<Vec<String>>,
}

impl<S, RequestBody, B> Service<Request<RequestBody>> for OriginCheck<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>>,
{
    type Response = Response<ResponseBody<B>>;
    type Error = S::Error;
    type Future = OriginCheckFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<RequestBody>) -> OriginCheckFuture<S::Future> {
        if is_welcome(&request, &self.trusted) {
            return OriginCheckFuture::Passed { handler: self.inner.call(request) };
        }
        tracing::warn!(method = %request.method(), path = ?request.uri().path(), "cross-site request refused");
        OriginCheckFuture::Refused { is_head: request.method() == Method::HEAD }
    }
}

pin_project! {
    /// The future of [`OriginCheck`].
    #[project = Projected]
    pub enum OriginCheckFuture<F> {
        /// The handler runs.
        #[doc(hidden)]
        Passed { #[pin] handler: F },
        /// It does not.
        #[doc(hidden)]
        Refused { is_head: bool },
    }
}

impl<F, B, E> Future for OriginCheckFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<ResponseBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            Projected::Passed { handler } => {
                handler.poll(context).map_ok(|response| response.map(ResponseBody::handler))
            }
            Projected::Refused { is_head } => Poll::Ready(Ok(refusal(*is_head))),
        }
    }
}

fn refusal<B>(is_head: bool) -> Response<ResponseBody<B>> {
    let text = if is_head { "" } else { REFUSAL };
    let mut response = Response::new(ResponseBody::text(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = StatusCode::FORBIDDEN;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    caching::forbid(headers);
    response
}

fn is_welcome<B>(request: &Request<B>, trusted: &[String]) -> bool {
    let headers = request.headers();
    if request.method().is_safe() && !is_upgrade(headers) {
        return true;
    }
    let origin = headers.get(ORIGIN).map(|origin| origin.to_str().unwrap_or("null"));
    if origin.is_some_and(|origin| trusted.iter().any(|trusted| trusted == origin)) {
        return true;
    }
    if let Some(site) = headers.get("sec-fetch-site") {
        return matches!(site.as_bytes(), b"same-origin" | b"none");
    }
    let Some(origin) = origin else { return true };
    // HTTP/2 has no Host header: the authority stands in the URI.
    let authority = request.uri().authority().map(Authority::as_str);
    let host = headers.get(HOST).map_or(authority, |host| host.to_str().ok());
    match (origin.split_once("://"), host) {
        (Some((scheme, origin)), Some(host)) => is_same_host(scheme, origin, host),
        _ => false,
    }
}

/// Whether the response may hand the connection over to another protocol. Java's clients offer `h2c` with every
/// request; it changes the framing alone.
fn is_upgrade(headers: &HeaderMap) -> bool {
    let is_other = |protocol: &HeaderValue| !protocol.as_bytes().eq_ignore_ascii_case(b"h2c");
    headers.get_all(UPGRADE).iter().any(is_other) || headers.contains_key(SEC_WEBSOCKET_KEY)
}

/// Browsers leave the scheme's own port out of `Origin`; in `Host` others may write it.
fn is_same_host(scheme: &str, origin: &str, host: &str) -> bool {
    let own_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => "",
    };
    origin.eq_ignore_ascii_case(host)
        || (!own_port.is_empty()
            && host.strip_suffix(own_port).is_some_and(|host| origin.eq_ignore_ascii_case(host)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn welcome(method: Method, headers: &[(&str, &str)]) -> bool {
        welcome_at("/", method, headers)
    }

    fn welcome_at(uri: &str, method: Method, headers: &[(&str, &str)]) -> bool {
        let request = Request::builder().method(method).uri(uri);
        let request = headers.iter().fold(request, |request, &(name, value)| request.header(name, value));
        is_welcome(&request.body(()).unwrap(), &["https://pay.example".to_owned()])
    }

    /// [S20] Without a Host header, as in HTTP/2, the URI says which site this is.
    #[test]
    fn the_authority_of_http_2_is_the_host() {
        let from = |origin| welcome_at("https://shop.example/cart", Method::POST, &[("origin", origin)]);
        assert!(from("https://shop.example"));
        assert!(!from("https://evil.example"));
    }

    /// [S20] A handshake is a GET, and is checked like a POST; `h2c` is no handshake.
    #[test]
    fn upgrades_of_another_site_are_refused() {
        let socket = ("upgrade", "websocket");
        let refused: [&[(&str, &str)]; 6] = [
            &[socket, ("sec-fetch-site", "same-site"), ("origin", "https://shop.example")],
            &[socket, ("sec-fetch-site", "cross-site")],
            &[socket, ("origin", "https://evil.shop.example")],
            &[socket, ("origin", "null")],
            &[("upgrade", "h2c, websocket"), ("origin", "https://evil.example")],
            &[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="), ("origin", "https://evil.example")],
        ];
        let passes: [&[(&str, &str)]; 6] = [
            &[socket, ("sec-fetch-site", "same-origin"), ("origin", "https://shop.example")],
            &[socket, ("origin", "https://shop.example")],
            &[socket, ("origin", "https://pay.example"), ("sec-fetch-site", "cross-site")],
            &[socket],
            &[("upgrade", "h2c"), ("sec-fetch-site", "cross-site")],
            &[("upgrade-insecure-requests", "1"), ("sec-fetch-site", "cross-site")],
        ];
        for (cases, expected) in [(refused, false), (passes, true)] {
            for headers in cases {
                let headers = [&[("host", "shop.example")], headers].concat();
                assert_eq!(welcome(Method::GET, &headers), expected, "{headers:?}");
            }
        }
        assert!(!welcome(Method::CONNECT, &[("origin", "https://evil.example"), ("host", "shop.example")]));
    }

    /// [S20] The scheme's own port may stand in Host; any other port is another origin.
    #[test]
    fn ports_are_compared() {
        let from = |origin, host| welcome(Method::POST, &[("origin", origin), ("host", host)]);
        assert!(from("https://shop.example", "shop.example:443"));
        assert!(from("http://shop.example", "shop.example:80"));
        assert!(from("http://localhost:3000", "localhost:3000"));
        assert!(!from("https://shop.example", "shop.example:80"));
        assert!(!from("https://shop.example", "shop.example:8443"));
        assert!(!from("https://shop.example:8443", "shop.example"));
    }

    /// [S20]
    #[test]
    fn an_origin_is_trusted_only_as_browsers_write_it() {
        for right in [
            "https://idp.example",
            "http://localhost:3000",
            "https://idp.example:8443",
            "http://[::1]:3000",
            "https://xn--bcher-kva.example",
            "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
            "capacitor://localhost",
        ] {
            assert!(OriginCheckLayer::new().trust(right).is_ok(), "{right}");
        }
        for (wrong, suggestion) in [
            ("idp.example", Some("https://idp.example")),
            ("idp.example:8443", Some("https://idp.example:8443")),
            ("https://idp.example/", Some("https://idp.example")),
            ("https://idp.example/login?next=1#top", Some("https://idp.example")),
            ("https://IdP.Example", Some("https://idp.example")),
            ("HTTPS://idp.example", Some("https://idp.example")),
            ("https://idp.example:443", Some("https://idp.example")),
            ("http://idp.example:80", Some("http://idp.example")),
            ("https://idp.example:", Some("https://idp.example")),
            ("https://idp.example:08443", Some("https://idp.example:8443")),
            ("wss://idp.example/socket", Some("https://idp.example")),
            ("https://[0:0::1]", Some("https://[::1]")),
            ("https://ada:secret@idp.example", Some("https://idp.example")),
            ("//idp.example", None),
            ("https://", None),
            ("https://idp example", None),
            ("https://idp.example:port", None),
            ("https://idp.example:99999", None),
            ("https://[::1", None),
            ("https://b\u{fc}cher.example", None),
            ("https://*.example.com", None),
            ("null", None),
            ("file:///index.html", None),
            ("", None),
            ("https://idp.example\r\nx: y", None),
        ] {
            let error = OriginCheckLayer::new().trust(wrong).unwrap_err();
            assert_eq!(error.suggestion.as_deref(), suggestion, "{wrong}");
            let text = error.to_string();
            assert!(!text.contains("secret") && !text.chars().any(char::is_control), "{text}");
            if let Some(suggestion) = suggestion {
                assert!(text.contains(suggestion));
                assert!(OriginCheckLayer::new().trust(suggestion).is_ok());
            }
        }
    }

    /// [S20]
    #[test]
    fn what_another_site_starts_is_refused() {
        assert!(!welcome(Method::POST, &[("sec-fetch-site", "cross-site"), ("host", "shop.example")]));
        assert!(!welcome(Method::POST, &[("sec-fetch-site", "same-site"), ("host", "shop.example")]));
        assert!(!welcome(Method::DELETE, &[("origin", "https://evil.example"), ("host", "shop.example")]));
        assert!(!welcome(Method::POST, &[("origin", "null"), ("host", "shop.example")]));
        assert!(!welcome(Method::POST, &[("origin", "https://shop.example")]));
    }

    /// [S20]
    #[test]
    fn our_own_pages_safe_methods_and_other_clients_pass() {
        assert!(welcome(Method::GET, &[("sec-fetch-site", "cross-site")]));
        assert!(welcome(Method::POST, &[("sec-fetch-site", "same-origin")]));
        assert!(welcome(Method::POST, &[("sec-fetch-site", "none")]));
        assert!(welcome(Method::POST, &[("origin", "https://shop.example"), ("host", "shop.example")]));
        assert!(welcome(Method::POST, &[("host", "shop.example")]));
        assert!(welcome(
            Method::POST,
            &[("origin", "https://pay.example"), ("sec-fetch-site", "cross-site")]
        ));
    }
}
