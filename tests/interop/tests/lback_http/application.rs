//! The application in Rust: the same paths as the one in Python, the same fields in its forms.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::{Form, Request};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::StatusCode;
use serde_json::{Value, json};
use sessile::{Session, SessionError, SessionLayer, Sessions};

type Fields = Form<BTreeMap<String, String>>;

/// The name of a form's hidden field: lback's.
pub(crate) const TOKEN_FIELD: &str = "csrfmiddlewaretoken";

pub(crate) fn routes(sessions: Sessions) -> Router {
    let forms = Router::new()
        .route("/flash", post(flash))
        .route("/change", post(change))
        .route("/count", post(count))
        .route("/remove", post(remove))
        .route("/slow", post(slow))
        .route("/fail", post(fail))
        .route("/sign-in", post(sign_in))
        .route("/sign-out", post(sign_out))
        .layer(middleware::from_fn(check_token));
    Router::new()
        .route("/show", get(show))
        .route("/token", get(token))
        .route("/flashes", get(flashes))
        .merge(forms)
        .layer(SessionLayer::new(sessions))
}

/// As lback's middleware does: a form without the session's token is refused before its handler runs.
async fn check_token(session: Session, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let submitted =
        url::form_urlencoded::parse(&body).find(|(name, _)| name == TOKEN_FIELD).map(|(_, value)| value);
    if !submitted.is_some_and(|token| session.verify_csrf(&token)) {
        return (StatusCode::FORBIDDEN, "Forbidden").into_response();
    }
    next.run(Request::from_parts(head, body.into())).await
}

/// The value of a key, as the text it is stored as.
struct Raw(String);

impl serde::Serialize for Raw {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // What plain JSON cannot say is not asked for here.
        serde_json::from_str::<Value>(&self.0).unwrap_or_default().serialize(serializer)
    }
}

async fn show(session: Session) -> impl IntoResponse {
    let data: BTreeMap<String, Raw> =
        session.keys().into_iter().map(|key| (key.clone(), Raw(session.raw(&key).unwrap()))).collect();
    Json(json!({ "user": session.user_id().map(|user| user.to_string()), "data": data }))
}

async fn token(session: Session) -> Result<String, SessionError> {
    session.csrf_token()
}

async fn flashes(session: Session) -> Result<Response, SessionError> {
    Ok(Json(json!(session.flashes()?)).into_response())
}

async fn flash(session: Session, Form(fields): Fields) -> Result<&'static str, SessionError> {
    session.flash(&fields["category"], fields["message"].as_str())?;
    Ok("said")
}

async fn change(session: Session, Form(fields): Fields) -> Result<&'static str, SessionError> {
    let value: Value = serde_json::from_str(&fields["value"]).unwrap();
    session.insert(fields["key"].as_str(), &value)?;
    Ok("changed")
}

async fn count(session: Session, Form(fields): Fields) -> Result<String, SessionError> {
    Ok(session.update(fields["key"].as_str(), |count: &mut u64| *count += 1)?.to_string())
}

async fn remove(session: Session, Form(fields): Fields) -> &'static str {
    session.remove(fields["key"].as_str());
    "removed"
}

async fn slow(session: Session, fields: Fields) -> Result<&'static str, SessionError> {
    tokio::time::sleep(Duration::from_secs_f64(fields["seconds"].parse().unwrap())).await;
    change(session, fields).await
}

async fn fail(session: Session, fields: Fields) -> Result<(StatusCode, &'static str), SessionError> {
    change(session, fields).await?;
    Ok((StatusCode::INTERNAL_SERVER_ERROR, "the handler fails after its change"))
}

async fn sign_in(session: Session, Form(fields): Fields) -> Response {
    let user_type = fields.get("type").map_or("user", String::as_str);
    match session.login_as(&fields["user"], user_type) {
        Ok(()) => "signed in".into_response(),
        Err(_) => (StatusCode::UNPROCESSABLE_ENTITY, "refused").into_response(),
    }
}

async fn sign_out(session: Session) -> &'static str {
    session.logout();
    "signed out"
}
