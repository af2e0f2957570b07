//! The routes of the benchmarks, the same for every peer.

use axum::Router;
use axum::extract::Query;
use axum::http::StatusCode;
use axum::routing::{get, post};
use serde::Deserialize;
use tower_sessions::Session;
use tower_sessions::session::Error;
use tower_sessions::session_store::ExpiredDeletion;

use crate::sample;

type Answer<T> = Result<T, (StatusCode, String)>;

#[derive(Deserialize)]
struct Number {
    i: u64,
}

#[derive(Deserialize)]
struct Key {
    k: u64,
}

pub(crate) fn routes() -> Router {
    Router::new()
        .route("/plain", get(|| async { "ok" }))
        .route("/anon", get(|| async { "ok" }))
        .route("/look", get(|_: Session| async { "ok" }))
        .route("/create", get(create))
        .route("/login", get(login))
        .route("/read", get(read))
        .route("/write", post(write))
        .route("/set", post(set))
        .route("/count", get(count))
        .route("/keys", get(keys))
        .route("/slow", post(slow))
        .route("/logout", post(logout))
}

/// The store's own deletion of what has expired.
pub(crate) fn purge<Store: ExpiredDeletion + Clone>(store: Store) -> Router {
    let purge = async move || match store.clone().delete_expired().await {
        Ok(()) => Ok("ok"),
        Err(error) => Err((StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    };
    Router::new().route("/purge", post(purge))
}

fn failed(error: Error) -> (StatusCode, String) {
    (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

fn nobody() -> (StatusCode, String) {
    (StatusCode::UNAUTHORIZED, String::new())
}

async fn create(session: Session, Query(number): Query<Number>) -> Answer<&'static str> {
    for (key, value) in sample::data(number.i) {
        session.insert_value(&key, value).await.map_err(failed)?;
    }
    Ok("ok")
}

/// Over the session there is, under a new id, or with the same data in a new one.
async fn login(session: Session, number: Query<Number>) -> Answer<&'static str> {
    let i = number.i;
    if session.is_empty().await {
        create(session.clone(), number).await?;
    } else {
        session.cycle_id().await.map_err(failed)?;
    }
    session.insert("signed_in", i).await.map_err(failed)?;
    Ok("ok")
}

async fn read(session: Session) -> Answer<String> {
    session.get::<String>("user").await.map_err(failed)?.ok_or_else(nobody)
}

async fn write(session: Session) -> Answer<String> {
    let n = session.get::<i64>("n").await.map_err(failed)?.ok_or_else(nobody)? + 1;
    session.insert("n", n).await.map_err(failed)?;
    Ok(n.to_string())
}

async fn set(session: Session, Query(key): Query<Key>) -> Answer<&'static str> {
    session.insert(&format!("k{}", key.k), 1).await.map_err(failed)?;
    Ok("ok")
}

async fn count(session: Session) -> Answer<String> {
    Ok(session.get::<i64>("n").await.map_err(failed)?.unwrap_or(-1).to_string())
}

async fn keys(session: Session) -> Answer<String> {
    let mut found = 0;
    for k in 0..50 {
        found += u32::from(session.get_value(&format!("k{k}")).await.map_err(failed)?.is_some());
    }
    Ok(found.to_string())
}

async fn slow(session: Session) -> Answer<&'static str> {
    let n = session.get::<i64>("n").await.map_err(failed)?.unwrap_or(-1);
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    session.insert("n", n + 1).await.map_err(failed)?;
    Ok("ok")
}

async fn logout(session: Session) -> Answer<&'static str> {
    session.flush().await.map_err(failed)?;
    Ok("ok")
}
