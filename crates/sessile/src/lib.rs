//! Server-side sessions in the database you already run.
//!
//! A session is one row of one `sessions` table; a secret in a cookie names it. The session stays on the
//! server, only the secret travels.
//!
//! ```no_run
//! use axum::{Router, routing::get};
//! use sessile::{Session, SessionError, SessionLayer, Sessions};
//! use sessile::store::{SessionStore, SqliteStore};
//!
//! async fn visits(session: Session) -> Result<String, SessionError> {
//!     let visits = session.update("visits", |n: &mut u32| *n += 1)?;
//!     Ok(format!("You have been here {visits} times."))
//! }
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let store = SqliteStore::open("sessions.db").await?;
//! store.init().await?;
//! let app: Router = Router::new().route("/", get(visits)).layer(SessionLayer::new(Sessions::new(store)));
//! # Ok(()) }
//! ```
//!
//! # Where things are
//!
//! Six floors, each using those below it and none above:
//!
//! | floor | holds |
//! |---|---|
//! | `sessile` (the tool) | the demo shop, the operations |
//! | [`http`] | the cookie, the tower layer, the axum extractors |
//! | [`session`] | the handle of a request: values, sign-in, flash messages, CSRF token |
//! | [`engine`] | [`Sessions`]: policy, merge and commit, renewal, purge, events |
//! | [`store`] | the contract of a store, its conformance suite, the stores |
//! | [`record`] | the row, its names, its data, time: pure values |
//!
//! # Laws
//!
//! 1. Nothing is lost: changes are merged per key onto the newest data by compare-and-swap.
//! 2. The dead stay dead: no write is an upsert, and an expired row takes none.
//! 3. A visitor for whom nothing is stored costs nothing: no statement, no row, no cookie.
//! 4. A read is 1 statement; a change, a login or a logout is 2.
//! 5. The response head leaves after the commit; a failed commit is an error.
//! 6. A store that does not answer is 503, never a user who is signed out.
//! 7. Ending wins: when a handler fails its changes are dropped, and a logout is carried out.
//!
//! # Features
//!
//! `axum` (default): the extractors. `sqlite` (default): [`store::SqliteStore`], a bundled SQLite.
//! `postgres`: `store::PostgresStore`, PostgreSQL with TLS by rustls.
//! `mysql`: `store::MySqlStore`, MySQL or MariaDB with TLS by rustls.
//! `redis`: `store::RedisStore`, Redis and Redis Cluster with TLS by rustls.
//! `conformance`: [`store::conformance`], to prove a store of your own.
#![forbid(unsafe_code)]

pub mod engine;
pub mod http;
pub mod record;
pub mod session;
pub mod store;

pub use engine::{Policy, Sessions};
pub use http::{CookieConfig, SessionLayer};
pub use record::{SessionData, SessionId, SessionRecord, SessionToken, UserId};
pub use session::{Key, LazySession, Session, SessionError};

/// The README's examples compile.
#[cfg(all(doctest, feature = "axum", feature = "sqlite"))]
#[doc = include_str!("../../../README.md")]
struct Readme;
