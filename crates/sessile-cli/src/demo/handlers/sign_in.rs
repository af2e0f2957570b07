//! Signing in and out.

use axum::Form;
use axum::extract::State;
use axum::http::header::USER_AGENT;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use sessile::{LazySession, Session};

use super::RETURN_TO;
use super::visit::Visit;
use crate::demo::device;
use crate::demo::error::ShopError;
use crate::demo::pages;
use crate::demo::pages::sign_in::Attempt;
use crate::demo::users::PasswordCheck;

/// `GET /sign-in`
pub(crate) async fn show(session: Session) -> Result<Response, ShopError> {
    let visit = Visit::of(&session)?;
    Ok(visit.answer(pages::sign_in::page(&visit.page(), &Attempt::default())))
}

/// What the form sends. No `Debug`: it holds a password.
#[derive(Deserialize)]
pub(crate) struct Credentials {
    user: String,
    password: String,
    /// There when the box is ticked.
    remember: Option<String>,
}

/// `POST /sign-in`
pub(crate) async fn sign_in(
    State(passwords): State<PasswordCheck>,
    session: Session,
    headers: HeaderMap,
    Form(credentials): Form<Credentials>,
) -> Result<Response, ShopError> {
    let Credentials { user: name, password, remember } = credentials;
    let remember = remember.is_some();
    let Some(user) = passwords.check(&name, password).await? else {
        return refused(&session, &name, remember);
    };
    let return_to = session.take(RETURN_TO)?.filter(|path| is_local(path));
    // A new token and a new id; what was in the cart comes along.
    session.login(user.id)?;
    session.remember(remember);
    session.set_device(&device::label(user_agent(&headers)));
    session.flash("success", format!("Welcome, {}. You are signed in.", user.id))?;
    Ok(Redirect::to(return_to.as_deref().unwrap_or("/")).into_response())
}

fn refused(session: &Session, name: &str, remember: bool) -> Result<Response, ShopError> {
    let visit = Visit::of(session)?;
    let error = "That name and password do not belong together. Those of the two people here work.";
    let attempt = Attempt { name, remember, error: Some(error) };
    let page = visit.answer(pages::sign_in::page(&visit.page(), &attempt));
    Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
}

fn user_agent(headers: &HeaderMap) -> &str {
    headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Whether a redirect to there stays in the shop: `//elsewhere` and `/\elsewhere` lead out of it.
fn is_local(path: &str) -> bool {
    path.starts_with('/') && !path.starts_with("//") && !path.contains('\\')
}

/// `POST /sign-out`
pub(crate) async fn sign_out(session: LazySession) -> Result<Redirect, ShopError> {
    // Said to the fresh, anonymous session that begins here.
    session.logout().flash("info", "You are signed out.")?;
    Ok(Redirect::to("/"))
}

#[cfg(test)]
mod tests {
    use super::is_local;

    /// [J10]
    #[test]
    fn only_paths_of_the_shop_are_returned_to() {
        assert!(is_local("/sessions") && is_local("/"));
        for elsewhere in ["//evil.example", "/\\evil.example", "https://evil.example", "sessions", ""] {
            assert!(!is_local(elsewhere), "{elsewhere}");
        }
    }
}
