//! sessile, as its documentation shows it.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use parking_lot::Mutex;
use sessile::engine::{PurgeSchedule, PurgeTask};
use sessile::{LazySession, Session, SessionError, SessionLayer, Sessions};

use super::{Visitor, ok};
use crate::sample;

/// The service, and its background purge while that runs.
type Purging = (Sessions, Arc<Mutex<Option<PurgeTask>>>);

pub(super) fn router(sessions: Sessions) -> Router {
    let purging: Purging = (sessions.clone(), Arc::default());
    Router::new()
        .route("/plain", get(ok))
        .route("/look", get(|_: Session| ok()))
        .route("/read", get(read))
        .route("/write", post(write))
        .route("/create", get(create))
        .route("/login", get(login))
        .route("/logout", post(logout))
        .layer(SessionLayer::new(sessions))
        .route("/purge", post(purge))
        .route("/purge/begin", post(begin_purge))
        .route("/purge/end", post(end_purge))
        .with_state(purging)
}

async fn read(session: Session) -> Result<String, StatusCode> {
    let user = session.get::<String>("user").map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    user.ok_or(StatusCode::UNAUTHORIZED)
}

async fn write(session: Session) -> Result<String, SessionError> {
    session.update("n", |n: &mut u64| *n += 1).map(|n| n.to_string())
}

async fn create(session: Session, Query(visitor): Query<Visitor>) -> Result<&'static str, SessionError> {
    session.extend(&sample::data(visitor.i))?;
    Ok("ok")
}

async fn login(session: Session, Query(visitor): Query<Visitor>) -> Result<&'static str, SessionError> {
    if session.is_empty() {
        session.extend(&sample::data(visitor.i))?;
    }
    session.login(visitor.i)?;
    Ok("ok")
}

async fn logout(session: LazySession) -> &'static str {
    session.logout();
    "ok"
}

async fn purge(State((sessions, _)): State<Purging>) -> String {
    sessions.purge(|_| {}).await.unwrap().removed.to_string()
}

async fn begin_purge(State((sessions, task)): State<Purging>) -> &'static str {
    // At once, and then only its own pauses: there is always something left to purge.
    let schedule =
        PurgeSchedule { interval: Duration::from_millis(1), jitter: false, ..PurgeSchedule::default() };
    *task.lock() = Some(sessions.spawn_purge(schedule));
    "ok"
}

async fn end_purge(State((_, task)): State<Purging>) -> &'static str {
    let running = task.lock().take();
    if let Some(running) = running {
        running.stop().await;
    }
    "ok"
}
