//! HTTP: the cookie, the tower middleware, the axum extractors.
//!
//! This floor carries a session between a request and a response, and decides nothing about it.

mod cookie;
#[cfg(feature = "axum")]
mod extract;
mod layer;
mod old;
mod origin;
mod request;
mod response;

pub use cookie::{CookieConfig, CookieConfigError, SameSite};
pub use layer::{ResponseFuture, SessionLayer, SessionService};
pub use old::OldCookie;
pub use origin::{OriginCheck, OriginCheckLayer};
