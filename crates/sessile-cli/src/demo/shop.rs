//! The shop put together: which address leads where, and what stands in front of it.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware::map_response;
use axum::routing::{get, post};
use sessile::http::{CookieConfigError, OriginCheckLayer};
use sessile::{CookieConfig, SessionLayer, Sessions};

use super::assets::STYLE_PATH;
use super::dress::dressed;
use super::handlers::{cart, catalogue, files, sessions as my_sessions, sign_in};
use super::users::PasswordCheck;

/// The largest form of the shop has three short fields.
const MAX_FORM_BYTES: usize = 8 * 1024;

/// The whole shop.
pub(super) fn router(sessions: Sessions) -> Result<Router, CookieConfigError> {
    let pages = Router::new()
        .route("/", get(catalogue::show))
        .route("/cart", get(cart::show))
        .route("/cart/add", post(cart::add))
        .route("/cart/remove", post(cart::remove))
        .route("/sign-in", get(sign_in::show).post(sign_in::sign_in))
        .route("/sign-out", post(sign_in::sign_out))
        .route("/sessions", get(my_sessions::show))
        .route("/sessions/end", post(my_sessions::end))
        .route("/sessions/end-others", post(my_sessions::end_others))
        .with_state(PasswordCheck::new())
        .layer(SessionLayer::new(sessions).cookie(cookie())?)
        .layer(DefaultBodyLimit::max(MAX_FORM_BYTES))
        .layer(OriginCheckLayer::new());
    Ok(Router::new()
        // Not under the session layer: they are the same for everybody, and browsers may keep them.
        .route(&STYLE_PATH, get(files::style))
        .route("/pictures/{file}", get(files::picture_of))
        .merge(pages)
        .fallback(|| async { StatusCode::NOT_FOUND })
        .layer(map_response(dressed)))
}

/// A shop of your own wants [`CookieConfig::default`]: `__Host-session`, which is `Secure`. This one has no TLS,
/// and over plain HTTP Safari and curl drop a `Secure` cookie even on the loopback address.
fn cookie() -> CookieConfig {
    CookieConfig::insecure()
}
