//! The service that is switched to: axum with sessile, which takes the old cookie beside its own.

use std::collections::BTreeMap;

use axum::extract::Form;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use sessile::http::OldCookie;
use sessile::store::StoreUrl;
use sessile::{CookieConfig, Session, SessionError, SessionLayer, Sessions};

/// Its cookie.
pub(crate) const COOKIE: &str = "session";

/// Starts it on this store; returns its port. It ends with the test's runtime.
pub(crate) async fn start(store: &str, old: OldCookie) -> u16 {
    let store = store.parse::<StoreUrl>().unwrap().connect_existing().await.unwrap();
    store.check().await.unwrap();
    let layer = SessionLayer::new(Sessions::new(store));
    // Nothing here speaks TLS.
    let layer = layer.cookie(CookieConfig::insecure()).unwrap().accept_old(old).unwrap();
    let routes = Router::new()
        .route("/show", get(show))
        .route("/change", post(change))
        .route("/sign-in", post(sign_in))
        .route("/sign-out", post(sign_out))
        .layer(layer);
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    port
}

/// As the old applications show it.
async fn show(session: Session) -> Result<Json<Value>, SessionError> {
    let [cart, visits] = [session.get::<Value>("cart")?, session.get("visits")?];
    let user = session.user_id().map(|user| user.to_string());
    Ok(Json(json!({"user": user, "cart": cart, "visits": visits})))
}

async fn change(
    session: Session,
    Form(fields): Form<BTreeMap<String, String>>,
) -> Result<&'static str, SessionError> {
    let value: Value = serde_json::from_str(&fields["value"]).unwrap();
    session.insert(fields["key"].as_str(), &value)?;
    Ok("changed")
}

async fn sign_in(
    session: Session,
    Form(fields): Form<BTreeMap<String, String>>,
) -> Result<&'static str, SessionError> {
    session.login(fields["user"].as_str())?;
    Ok("signed in")
}

async fn sign_out(session: Session) -> &'static str {
    session.logout();
    "signed out"
}
