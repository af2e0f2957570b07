//! An event stream that closes when its session ends, wherever that happens.
//!
//! `cargo run --example live`, then open <http://127.0.0.1:3000> in two browsers (or in one and a private
//! window), sign in as the same user in both, and press "Sign out everywhere" in one: the other is told at once.
//! End it from a terminal, too: `sessile revoke --store sqlite:live.db --user ada --yes`.

use std::convert::Infallible;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::Html;
use axum::response::sse::{Event, Sse};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::Stream;
use futures_util::stream::unfold;
use sessile::engine::Ended;
use sessile::http::CookieConfigError;
use sessile::store::{SessionStore, SqliteStore};
use sessile::{CookieConfig, Session, SessionError, SessionLayer, Sessions};
use tokio::time::interval;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = SqliteStore::open("live.db").await?;
    store.init().await?;
    // SQLite cannot tell what other programs do: it is looked at every second. PostgreSQL and Redis tell.
    let sessions = Sessions::builder(store).watch_interval(Duration::from_secs(1)).build();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    println!("http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, app(sessions)?).await?)
}

/// The routes. The cookie is one for plain HTTP, as on this machine.
pub fn app(sessions: Sessions) -> Result<Router, CookieConfigError> {
    let router = Router::new()
        .route("/", get(page))
        .route("/events", get(events))
        .route("/sign-in", post(sign_in))
        .route("/sign-out-everywhere", post(sign_out_everywhere));
    Ok(router.layer(SessionLayer::new(sessions).cookie(CookieConfig::insecure())?))
}

async fn sign_in(session: Session, Json(user): Json<String>) -> Result<(), SessionError> {
    session.login(user.trim())
}

async fn sign_out_everywhere(session: Session) -> Result<(), SessionError> {
    match session.user_id() {
        Some(user) => session.sessions().revoke_user(&user).await.map(drop).map_err(SessionError::from),
        None => Ok(()),
    }
}

/// The time, every second, until the session has ended; then how it ended, and nothing more.
async fn events(session: Session) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, StatusCode> {
    let end = session.watch().ok_or(StatusCode::UNAUTHORIZED)?;
    let open = Some((end, interval(Duration::from_secs(1))));
    let events = unfold(open, |open| async {
        let (mut end, mut ticks) = open?;
        tokio::select! {
            ended = &mut end => Some((Event::default().event("ended").data(words(ended)), None)),
            _ = ticks.tick() => Some((Event::default().data("alive"), Some((end, ticks)))),
        }
    });
    Ok(Sse::new(futures_util::StreamExt::map(events, Ok)))
}

fn words(ended: Ended) -> &'static str {
    match ended {
        Ended::Expired => "your session has expired",
        Ended::Rotated { .. } => "you have signed in anew",
        _ => "you were signed out",
    }
}

async fn page(session: Session) -> Html<&'static str> {
    Html(if session.user_id().is_some() { SIGNED_IN } else { SIGNED_OUT })
}

const SIGNED_OUT: &str = r#"<!doctype html><title>live</title>
<button onclick="send('ada')">Sign in as ada</button>
<script>
  const send = user => fetch('/sign-in', { method: 'POST', headers: { 'content-type': 'application/json' },
    body: JSON.stringify(user) }).then(() => location.reload());
</script>"#;

const SIGNED_IN: &str = r#"<!doctype html><title>live</title>
<p>ada, signed in. <span id=state></span></p>
<button onclick="fetch('/sign-out-everywhere', { method: 'POST' })">Sign out everywhere</button>
<script>
  const events = new EventSource('/events'), show = text => document.getElementById('state').textContent = text;
  events.onmessage = event => show(event.data);
  events.addEventListener('ended', event => { events.close(); show(event.data); });
</script>"#;
