//! The same shop with axum-login: who is signed in stands where that puts it.

use std::collections::BTreeMap;
use std::convert::Infallible;

use axum::Router;
use axum::extract::Form;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum_login::{AuthManagerLayerBuilder, AuthSession, AuthUser, AuthnBackend};
use tower_sessions::{SessionManagerLayer, SessionStore};

use crate::shop::{change, field, show};

type Answer<T> = Result<T, (StatusCode, String)>;

#[derive(Clone, Debug)]
struct User(u64);

impl AuthUser for User {
    type Id = u64;

    fn id(&self) -> u64 {
        self.0
    }

    fn session_auth_hash(&self) -> &[u8] {
        b"the hash of a password"
    }
}

/// Everybody is who they say.
#[derive(Clone)]
struct Everybody;

impl AuthnBackend for Everybody {
    type User = User;
    type Credentials = u64;
    type Error = Infallible;

    async fn authenticate(&self, number: u64) -> Result<Option<User>, Infallible> {
        Ok(Some(User(number)))
    }

    async fn get_user(&self, number: &u64) -> Result<Option<User>, Infallible> {
        Ok(Some(User(*number)))
    }
}

pub(crate) fn routes<Store>(sessions: SessionManagerLayer<Store>) -> Router
where
    Store: SessionStore + Clone,
{
    Router::new()
        .route("/show", get(show))
        .route("/user", get(user))
        .route("/change", post(change))
        .route("/sign-in", post(sign_in))
        .route("/sign-out", post(sign_out))
        .layer(AuthManagerLayerBuilder::new(Everybody, sessions).build())
}

fn failed(error: axum_login::Error<Everybody>) -> (StatusCode, String) {
    (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

/// The number of who is signed in.
async fn user(who: AuthSession<Everybody>) -> Answer<String> {
    let nobody = || (StatusCode::UNAUTHORIZED, String::new());
    who.user.map(|user| user.0.to_string()).ok_or_else(nobody)
}

async fn sign_in(
    mut who: AuthSession<Everybody>,
    Form(fields): Form<BTreeMap<String, String>>,
) -> Answer<&'static str> {
    let number = field(&fields, "user")?
        .parse()
        .map_err(|_| (StatusCode::UNPROCESSABLE_ENTITY, "the user is a number here".to_owned()))?;
    let user = who.authenticate(number).await.map_err(failed)?;
    let user = user.ok_or_else(|| (StatusCode::UNAUTHORIZED, String::new()))?;
    who.login(&user).await.map_err(failed)?;
    Ok("signed in")
}

async fn sign_out(mut who: AuthSession<Everybody>) -> Answer<&'static str> {
    who.logout().await.map_err(failed)?;
    Ok("signed out")
}
