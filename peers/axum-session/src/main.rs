//! An axum service on axum_session, whose sessions also stand in the process's memory for an hour by default.
//!
//! `peer-axum-session KIND URL` listens on a free port of this host and prints its address on a line. It ends
//! when its standard input does, and so with whoever started it.

use std::error::Error;
use std::fmt::Debug;

use axum::extract::Query;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Router, serve};
use axum_session::{DatabasePool, Session, SessionConfig, SessionLayer, SessionStore};
use axum_session_redispool::SessionRedisPool;
use axum_session_sqlx::SessionPgPool;
use serde::Deserialize;
use sqlx::postgres::PgPoolOptions;
use tokio::io::AsyncReadExt as _;

#[path = "../../../bench/src/sample.rs"]
mod sample;

const USAGE: &str = "\
usage: peer-axum-session KIND URL
kinds: postgres           sqlx's pool of ten, a copy in memory
       postgres-uncached  without the copy: the database is asked every time
       redis              a copy in memory";

const CONNECTIONS: u32 = 10;

#[derive(Deserialize)]
struct Number {
    i: u64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kind, url] = arguments.as_slice() else { return Err(USAGE.into()) };
    let mut settings = SessionConfig::default().with_table_name("axum_session");
    if kind == "postgres-uncached" {
        settings = settings.with_memory_lifetime(Default::default());
    }
    let routes = match kind.as_str() {
        "postgres" | "postgres-uncached" => {
            let pool = PgPoolOptions::new().max_connections(CONNECTIONS).connect(url).await?;
            routes(SessionStore::<SessionPgPool>::new(Some(pool.into()), settings).await?)
        }
        "redis" => {
            let pool = redis_pool::RedisPool::from(redis::Client::open(url.as_str())?);
            routes(SessionStore::<SessionRedisPool>::new(Some(pool.into()), settings).await?)
        }
        _ => return Err(USAGE.into()),
    };
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
    println!("{}", listener.local_addr()?);
    serve(listener, routes).with_graceful_shutdown(end_of_input()).await?;
    Ok(())
}

fn routes<Pool>(store: SessionStore<Pool>) -> Router
where
    Pool: DatabasePool + Clone + Debug + Sync + Send + 'static,
{
    Router::new()
        .route("/plain", get(|| async { "ok" }))
        .route("/look", get(|_: Session<Pool>| async { "ok" }))
        .route("/read", get(read::<Pool>))
        .route("/write", post(write::<Pool>))
        .route("/create", get(create::<Pool>))
        .route("/login", get(login::<Pool>))
        .route("/logout", post(logout::<Pool>))
        .layer(SessionLayer::new(store))
}

trait Kept: DatabasePool + Clone + Debug + Sync + Send + 'static {}
impl<Pool: DatabasePool + Clone + Debug + Sync + Send + 'static> Kept for Pool {}

async fn read<Pool: Kept>(session: Session<Pool>) -> Result<String, StatusCode> {
    session.get::<String>("user").ok_or(StatusCode::UNAUTHORIZED)
}

async fn write<Pool: Kept>(session: Session<Pool>) -> Result<String, StatusCode> {
    let n = session.get::<i64>("n").ok_or(StatusCode::UNAUTHORIZED)? + 1;
    session.set("n", n);
    Ok(n.to_string())
}

async fn create<Pool: Kept>(session: Session<Pool>, Query(number): Query<Number>) -> &'static str {
    for (key, value) in sample::data(number.i) {
        session.set(&key, value);
    }
    "ok"
}

async fn login<Pool: Kept>(session: Session<Pool>, Query(number): Query<Number>) -> &'static str {
    if session.get::<i64>("n").is_none() {
        for (key, value) in sample::data(number.i) {
            session.set(&key, value);
        }
    } else {
        session.renew();
    }
    session.set("signed_in", number.i);
    "ok"
}

async fn logout<Pool: Kept>(session: Session<Pool>) -> &'static str {
    session.destroy();
    "ok"
}

async fn end_of_input() {
    let mut rest = Vec::new();
    // An input that cannot be read is at its end, too.
    let _ = tokio::io::stdin().read_to_end(&mut rest).await;
}
