//! A small shop: signing in, putting things in, looking, signing out; for the tests that switch from it.

use std::collections::BTreeMap;

use axum::extract::Form;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::Value;
use tower_sessions::Session;
use tower_sessions::session::Error;

type Fields = Form<BTreeMap<String, String>>;
type Answer<T> = Result<T, (StatusCode, String)>;

pub(crate) fn routes() -> Router {
    Router::new()
        .route("/show", get(show))
        .route("/change", post(change))
        .route("/sign-in", post(sign_in))
        .route("/sign-out", post(sign_out))
}

pub(crate) fn failed(error: Error) -> (StatusCode, String) {
    (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

/// One of the form's fields.
pub(crate) fn field<'a>(fields: &'a BTreeMap<String, String>, name: &str) -> Answer<&'a str> {
    let missing = || (StatusCode::UNPROCESSABLE_ENTITY, format!("the form has no {name}"));
    fields.get(name).map(String::as_str).ok_or_else(missing)
}

/// What the session holds of the keys that are asked for; `null` for what it does not.
pub(crate) async fn show(session: Session) -> Answer<Json<BTreeMap<&'static str, Option<Value>>>> {
    let mut shown = BTreeMap::new();
    for key in ["user", "cart", "visits"] {
        shown.insert(key, session.get_value(key).await.map_err(failed)?);
    }
    Ok(Json(shown))
}

/// Puts a value, which is JSON, at a key.
pub(crate) async fn change(session: Session, Form(fields): Fields) -> Answer<&'static str> {
    let value = serde_json::from_str(field(&fields, "value")?)
        .map_err(|error| (StatusCode::UNPROCESSABLE_ENTITY, error.to_string()))?;
    session.insert_value(field(&fields, "key")?, value).await.map_err(failed)?;
    Ok("changed")
}

async fn sign_in(session: Session, Form(fields): Fields) -> Answer<&'static str> {
    session.cycle_id().await.map_err(failed)?;
    session.insert("user", field(&fields, "user")?).await.map_err(failed)?;
    Ok("signed in")
}

async fn sign_out(session: Session) -> Answer<&'static str> {
    session.flush().await.map_err(failed)?;
    Ok("signed out")
}
