//! HTTP: the cookie, the tower middleware, the axum extractors.
//!
//! This floor carries a session between a request and a response, and decides nothing about it.

mod body;
mod caching;
mod cookie;
#[cfg(feature = "axum")]
mod extract;
mod layer;
mod old;
mod origin;
mod request;
mod response;

pub use body::ResponseBody;
pub use cookie::{CookieConfig, CookieConfigError, SameSite};
pub use layer::{ResponseFuture, SessionLayer, SessionService};
pub use old::OldCookie;
pub use origin::{InvalidOrigin, OriginCheck, OriginCheckLayer};
pub use response::FailedRequest;

/// The URI that the client sent. Nested axum routers strip their prefix from the request's own.
fn original_uri<B>(request: &::http::Request<B>) -> &::http::Uri {
    #[cfg(feature = "axum")]
    if let Some(original) = request.extensions().get::<axum::extract::OriginalUri>() {
        return &original.0;
    }
    request.uri()
}
