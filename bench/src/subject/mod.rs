//! The same routes over everything that is measured.
//!
//! | route | does |
//! |---|---|
//! | GET /plain | does not touch the session, whether there is a cookie or not |
//! | GET /look | asks for the session and looks at nothing in it |
//! | GET /read | answers with one value of it; 401 without a session |
//! | POST /write | adds one to another value, and loses no such addition |
//! | GET /create?i=N | what [`sample::data`](crate::sample::data) says of N, stored for a visitor nobody knows |
//! | GET /login?i=N | signs user N in: over the session there is, or with the same data in a new one |
//! | POST /logout | ends the session |
//! | POST /purge | deletes what has expired; answers how much that was |
//! | POST /purge/begin, /purge/end | the same in the background, for as long as it takes |
//!
//! The last two only where there is a library that purges.

mod by_hand;
mod library;

use std::path::Path;

use axum::Router;
use axum::extract::Request;
use axum::http::header;
use axum::routing::{get, post};
use serde::Deserialize;
use sessile::Sessions;
use sessile::engine::CacheOptions;
use sessile::store::sqlite::Synchronous;
use sessile::store::{MemoryStore, MySqlStore, PostgresStore, RedisStore, SessionStore, SqliteStore};
use sessile_test_servers::{MYSQL, POSTGRES, REDIS, shared_url};
use tower::util::MapRequestLayer;

use crate::hand::{
    MariaDbByHand, PostgresByHand, PostgresGroupedByHand, RedisByHand, SqliteByHand, SqliteGroupedByHand,
};

/// The names that [`router`] knows.
pub const NAMES: [&str; 16] = [
    "bare",
    "bare-layer",
    "hand-sqlite-normal",
    "hand-sqlite-full",
    "hand-sqlite-grouped",
    "hand-postgres",
    "hand-postgres-grouped",
    "hand-mariadb",
    "hand-redis",
    "sessile-memory",
    "sessile-sqlite-normal",
    "sessile-sqlite-full",
    "sessile-postgres",
    "sessile-postgres-cached",
    "sessile-mariadb",
    "sessile-redis",
];

/// The router of this subject. SQLite's file stands in `folder`, `normal` and `full` say how it
/// synchronises; the servers are named by the variables of the tests.
pub async fn router(name: &str, folder: &Path) -> Router {
    match name {
        "bare" => bare(),
        // What any layer costs, since axum boxes what is under it.
        "bare-layer" => bare().layer(MapRequestLayer::new(|request: Request| request)),
        "hand-sqlite-normal" => by_hand::router(SqliteByHand::open(folder, "NORMAL")),
        "hand-sqlite-full" => by_hand::router(SqliteByHand::open(folder, "FULL")),
        "hand-sqlite-grouped" => by_hand::router(SqliteGroupedByHand::open(folder, "FULL")),
        "hand-postgres" => by_hand::router(PostgresByHand::connect(&url(POSTGRES)).await),
        "hand-postgres-grouped" => by_hand::router(PostgresGroupedByHand::connect(&url(POSTGRES)).await),
        "hand-mariadb" => by_hand::router(MariaDbByHand::connect(&url(MYSQL)).await),
        "hand-redis" => by_hand::router(RedisByHand::connect(&url(REDIS)).await),
        other => sessile(sessions(other, folder).await),
    }
}

/// The routes over sessile.
pub fn sessile(sessions: Sessions) -> Router {
    library::router(sessions)
}

/// The service of one of the subjects that are sessile.
pub async fn sessions(name: &str, folder: &Path) -> Sessions {
    match name {
        "sessile-memory" => Sessions::new(MemoryStore::new()),
        "sessile-sqlite-normal" => Sessions::new(sqlite(folder, Synchronous::Normal).await),
        "sessile-sqlite-full" => Sessions::new(sqlite(folder, Synchronous::Full).await),
        "sessile-postgres" => Sessions::new(postgres("sessions").await),
        "sessile-postgres-cached" => {
            // A table of its own: the feed's triggers would be in the other's way.
            let store = postgres("sessions_cached").await;
            store.init_feed().await.unwrap();
            Sessions::builder(store).cache(CacheOptions::default()).await.unwrap().build()
        }
        "sessile-mariadb" => Sessions::new(ready(MySqlStore::connect(&url(MYSQL)).await.unwrap()).await),
        "sessile-redis" => Sessions::new(ready(RedisStore::connect(&url(REDIS)).await.unwrap()).await),
        other => panic!("no subject {other:?}: there are {NAMES:?}"),
    }
}

fn url(variable: &str) -> String {
    shared_url(variable).unwrap()
}

async fn sqlite(folder: &Path, synchronous: Synchronous) -> SqliteStore {
    ready(SqliteStore::options().synchronous(synchronous).open(folder.join("sessile.db")).await.unwrap())
        .await
}

async fn postgres(table: &str) -> PostgresStore {
    ready(PostgresStore::options().table(table).connect(&url(POSTGRES)).await.unwrap()).await
}

async fn ready<S: SessionStore>(store: S) -> S {
    store.init().await.unwrap();
    store
}

/// Whose session it is, and what stands in it.
#[derive(Deserialize)]
struct Visitor {
    i: u64,
}

async fn ok() -> &'static str {
    "ok"
}

/// axum alone. Its cookie is as long as the others', so that there is as much to parse.
fn bare() -> Router {
    const COOKIE: &str = "__Host-session=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA; Path=/";
    let with_cookie = || async { ([(header::SET_COOKIE, COOKIE)], "ok") };
    Router::new()
        .route("/plain", get(ok))
        .route("/look", get(ok))
        .route("/read", get(ok))
        .route("/write", post(ok))
        .route("/create", get(with_cookie))
        .route("/login", get(with_cookie))
        .route("/logout", post(ok))
}
