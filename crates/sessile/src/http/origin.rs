//! Cross-site request forgery, refused by where a request comes from: no token, no statement.
//!
//! Browsers say with `Sec-Fetch-Site` or `Origin` who started a request. A request that could change
//! something and was started by another site is refused; clients that are no browsers say nothing
//! and pass. (OWASP CSRF prevention cheat sheet, "Fetch Metadata"; the same rule as Go 1.25's
//! `CrossOriginProtection`.)

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ::http::header::{HOST, ORIGIN};
use ::http::uri::Authority;
use ::http::{Request, Response, StatusCode};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

/// Refuses what other sites start, with 403.
#[derive(Debug, Clone, Default)]
pub struct OriginCheckLayer {
    trusted: Arc<Vec<String>>,
}

impl OriginCheckLayer {
    /// Only this site's own pages may change anything.
    pub fn new() -> OriginCheckLayer {
        OriginCheckLayer::default()
    }

    /// Also the pages of this origin, written as browsers write it: `https://example.com`.
    #[must_use]
    pub fn trust(mut self, origin: impl Into<String>) -> OriginCheckLayer {
        Arc::make_mut(&mut self.trusted).push(origin.into());
        self
    }
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

impl<S, RequestBody, ResponseBody> Service<Request<RequestBody>> for OriginCheck<S>
where
    S: Service<Request<RequestBody>, Response = Response<ResponseBody>>,
    ResponseBody: Default,
{
    type Response = Response<ResponseBody>;
    type Error = S::Error;
    type Future = OriginCheckFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<RequestBody>) -> OriginCheckFuture<S::Future> {
        if is_welcome(&request, &self.trusted) {
            return OriginCheckFuture::Passed { handler: self.inner.call(request) };
        }
        tracing::warn!(method = %request.method(), path = request.uri().path(), "cross-site request refused");
        OriginCheckFuture::Refused
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
        Refused,
    }
}

impl<F, B, E> Future for OriginCheckFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Default,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        match self.project() {
            Projected::Passed { handler } => handler.poll(context),
            Projected::Refused => {
                let mut response = Response::new(B::default());
                *response.status_mut() = StatusCode::FORBIDDEN;
                Poll::Ready(Ok(response))
            }
        }
    }
}

fn is_welcome<B>(request: &Request<B>, trusted: &[String]) -> bool {
    let headers = request.headers();
    if request.method().is_safe() {
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
    // The scheme is not compared: behind a proxy that ends TLS we do not know our own.
    // HTTP/2 has no Host header: the authority stands in the URI.
    let authority = request.uri().authority().map(Authority::as_str);
    let host = headers.get(HOST).map_or(authority, |host| host.to_str().ok());
    match (origin.split_once("://"), host) {
        (Some((_, origin)), Some(host)) => origin.eq_ignore_ascii_case(host),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::http::Method;

    fn welcome(method: Method, headers: &[(&'static str, &'static str)]) -> bool {
        welcome_at("/", method, headers)
    }

    fn welcome_at(uri: &str, method: Method, headers: &[(&'static str, &'static str)]) -> bool {
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
