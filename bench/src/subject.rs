//! The same routes over everything that is measured.
//!
//! | route | does |
//! |---|---|
//! | GET /login?i=N | makes session N and gives its cookie |
//! | GET /plain | does not touch the session, whether there is a cookie or not |
//! | GET /look | asks for the session and looks at nothing in it |
//! | GET /read | answers with one value of it |
//! | POST /write | adds one to another value, and loses no such addition |

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Map, Value};
use sessile::store::sqlite::Synchronous;
use sessile::store::{MemoryStore, SessionStore, SqliteStore};
use sessile::{Session, SessionError, SessionLayer, Sessions};
use tower::util::MapRequestLayer;

use crate::hand::{Hand, Id};
use crate::sample;

/// The names that [`router`] knows.
pub const NAMES: [&str; 7] =
    ["bare", "bare-layer", "hand-normal", "hand-full", "sessile-memory", "sessile-normal", "sessile-full"];

/// The router of this subject. What it stores stands in `folder`; `normal` and `full` say how SQLite
/// synchronises.
pub async fn router(name: &str, folder: &Path) -> Router {
    match name {
        "bare" => bare(),
        // What any layer costs, since axum boxes what is under it.
        "bare-layer" => bare().layer(MapRequestLayer::new(|request: Request| request)),
        "hand-normal" => hand(Hand::open(folder, "NORMAL")),
        "hand-full" => hand(Hand::open(folder, "FULL")),
        "sessile-memory" => sessile(MemoryStore::new()),
        "sessile-normal" => sessile(sqlite(folder, Synchronous::Normal).await),
        "sessile-full" => sessile(sqlite(folder, Synchronous::Full).await),
        other => panic!("no subject {other:?}: there are {NAMES:?}"),
    }
}

/// Which session a login makes.
#[derive(Deserialize)]
struct Login {
    i: u64,
}

async fn ok() -> &'static str {
    "ok"
}

/// axum alone. Its cookie is as long as the others', so that there is as much to parse.
fn bare() -> Router {
    const COOKIE: &str = "__Host-session=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA; Path=/";
    Router::new()
        .route("/login", get(|| async { ([(header::SET_COOKIE, COOKIE)], "ok") }))
        .route("/plain", get(ok))
        .route("/look", get(ok))
        .route("/read", get(ok))
        .route("/write", post(ok))
}

async fn sqlite(folder: &Path, synchronous: Synchronous) -> SqliteStore {
    let store =
        SqliteStore::options().synchronous(synchronous).open(folder.join("sessile.db")).await.unwrap();
    store.init().await.unwrap();
    store
}

fn sessile(store: impl SessionStore) -> Router {
    let login = |session: Session, Query(login): Query<Login>| async move {
        session.extend(&sample::data(login.i))?;
        Ok::<_, SessionError>("ok")
    };
    let read = |session: Session| async move { session.require::<String>("user") };
    let write =
        |session: Session| async move { session.update("n", |n: &mut u64| *n += 1).map(|n| n.to_string()) };
    Router::new()
        .route("/login", get(login))
        .route("/plain", get(ok))
        .route("/look", get(|_: Session| ok()))
        .route("/read", get(read))
        .route("/write", post(write))
        .layer(SessionLayer::new(Sessions::new(store)))
}

/// The one value that is read, the rest skipped.
#[derive(Deserialize)]
struct Peek<'a> {
    #[serde(borrow)]
    user: Cow<'a, str>,
}

fn hand(store: Arc<Hand>) -> Router {
    let login = |State(store): State<Arc<Hand>>, Query(login): Query<Login>| async move {
        // Spread over the key space as random keys are.
        let id =
            (u128::from(login.i) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes();
        store.create(id, &serde_json::to_vec(&sample::data(login.i)).unwrap());
        ([(header::SET_COOKIE, format!("id={:032x}; Path=/", u128::from_be_bytes(id)))], "ok")
    };
    let read = |State(store): State<Arc<Hand>>, headers: HeaderMap| async move {
        let Some(id) = id_of(&headers) else { return no_session() };
        let user = |data: &[u8]| serde_json::from_slice::<Peek<'_>>(data).unwrap().user.into_owned();
        store.load(id, user).map_or_else(no_session, |(user, _)| user.into_response())
    };
    let write = |State(store): State<Arc<Hand>>, headers: HeaderMap| async move {
        let Some(id) = id_of(&headers) else { return no_session() };
        loop {
            let whole = |data: &[u8]| serde_json::from_slice::<Map<String, Value>>(data).unwrap();
            let Some((mut data, version)) = store.load(id, whole) else { return no_session() };
            let n = data["n"].as_u64().unwrap_or(0) + 1;
            data.insert("n".to_owned(), n.into());
            if store.swap(id, &serde_json::to_vec(&data).unwrap(), version) {
                return n.to_string().into_response();
            }
        }
    };
    Router::new()
        .route("/login", get(login))
        .route("/plain", get(ok))
        .route("/look", get(ok))
        .route("/read", get(read))
        .route("/write", post(write))
        .with_state(store)
}

fn id_of(headers: &HeaderMap) -> Option<Id> {
    let mut pairs =
        headers.get_all(header::COOKIE).iter().flat_map(|value| value.as_bytes().split(|&b| b == b';'));
    let digits = pairs.find_map(|pair| pair.trim_ascii().strip_prefix(b"id="))?;
    let id = u128::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
    Some(id.to_be_bytes())
}

fn no_session() -> Response {
    StatusCode::UNAUTHORIZED.into_response()
}
