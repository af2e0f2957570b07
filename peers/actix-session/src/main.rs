//! An actix-web service on actix-session, with its Redis store.
//!
//! `peer-actix-session redis URL` listens on a free port of this host and prints its address on a line. It
//! ends when its standard input does, and so with whoever started it.

use std::error::Error;
use std::io::Read as _;

use actix_session::config::PersistentSession;
use actix_session::storage::RedisSessionStore;
use actix_session::{Session, SessionMiddleware};
use actix_web::cookie::Key;
use actix_web::cookie::time::Duration;
use actix_web::error::ErrorUnauthorized;
use actix_web::{App, HttpServer, web};
use serde::Deserialize;

#[path = "../../../bench/src/sample.rs"]
mod sample;

const USAGE: &str = "usage: peer-actix-session redis URL";

type Answer<T> = Result<T, actix_web::Error>;

#[derive(Deserialize)]
struct Number {
    i: u64,
}

async fn ok() -> &'static str {
    "ok"
}

async fn look(_: Session) -> &'static str {
    "ok"
}

async fn read(session: Session) -> Answer<String> {
    session.get::<String>("user")?.ok_or_else(|| ErrorUnauthorized("no session"))
}

async fn write(session: Session) -> Answer<String> {
    let n = session.get::<i64>("n")?.ok_or_else(|| ErrorUnauthorized("no session"))? + 1;
    session.insert("n", n)?;
    Ok(n.to_string())
}

async fn create(session: Session, number: web::Query<Number>) -> Answer<&'static str> {
    for (key, value) in sample::data(number.i) {
        session.insert(key, value)?;
    }
    Ok("ok")
}

async fn login(session: Session, number: web::Query<Number>) -> Answer<&'static str> {
    if session.get::<i64>("n")?.is_none() {
        for (key, value) in sample::data(number.i) {
            session.insert(key, value)?;
        }
    } else {
        session.renew();
    }
    session.insert("signed_in", number.i)?;
    Ok("ok")
}

async fn logout(session: Session) -> &'static str {
    session.purge();
    "ok"
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kind, url] = arguments.as_slice() else { return Err(USAGE.into()) };
    if kind != "redis" {
        return Err(USAGE.into());
    }
    let store = RedisSessionStore::new(url).await?;
    let key = Key::from(&[7; 64]);
    let lifecycle = PersistentSession::default().session_ttl(Duration::days(1));
    let server = HttpServer::new(move || {
        let sessions =
            SessionMiddleware::builder(store.clone(), key.clone()).session_lifecycle(lifecycle.clone());
        App::new()
            .wrap(sessions.build())
            .route("/plain", web::get().to(ok))
            .route("/look", web::get().to(look))
            .route("/read", web::get().to(read))
            .route("/write", web::post().to(write))
            .route("/create", web::get().to(create))
            .route("/login", web::get().to(login))
            .route("/logout", web::post().to(logout))
    })
    .workers(2)
    .bind(("127.0.0.1", 0))?;
    println!("{}", server.addrs()[0]);
    std::thread::spawn(|| {
        // An input that cannot be read is at its end, too.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    server.run().await?;
    Ok(())
}
