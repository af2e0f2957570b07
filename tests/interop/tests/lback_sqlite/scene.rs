//! The two sides and the file between them.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::{Request, StatusCode, header};
use rusqlite::types::Value as Cell;
use serde_json::json;
use sessile::engine::{Credential, Event};
use sessile::record::{ManualClock, Timestamp};
use sessile::store::SqliteStore;
use sessile::{LazySession, Policy, Session, SessionId, SessionLayer, Sessions};
pub(crate) use sessile_interop::request;
use sessile_interop::{Database, Peer};
use tower::ServiceExt;

/// Noon on a day when both clocks stand still.
pub(crate) fn noon() -> Timestamp {
    Timestamp::parse("2030-01-02 12:00:00").unwrap()
}

pub(crate) fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Python and Rust on one file.
pub(crate) struct Scene {
    pub(crate) python: Peer,
    pub(crate) store: SqliteStore,
    pub(crate) sessions: Sessions,
    clock: Arc<ManualClock>,
    events: Arc<Mutex<Vec<Event>>>,
    pub(crate) file: PathBuf,
    // Last, so that everybody is gone before the directory goes.
    _directory: tempfile::TempDir,
}

impl Scene {
    /// With the table that SQLAlchemy makes.
    pub(crate) async fn new() -> Scene {
        let mut scene = Scene::without_table().await;
        scene.python.ask(json!(["create_table"]));
        scene
    }

    pub(crate) async fn without_table() -> Scene {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("sessions.db");
        let mut python = Peer::start(directory.path(), &Database::Sqlite(file.clone()));
        python.ask(json!(["clock", noon().to_string()]));
        let store = SqliteStore::open(&file).await.unwrap();
        let clock = Arc::new(ManualClock::new(noon()));
        let events = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&events);
        let sessions = Sessions::builder(store.clone())
            .policy(Policy::lback())
            .clock(Arc::clone(&clock))
            .listener(move |event: &Event| heard.lock().unwrap().push(event.clone()))
            .build();
        Scene { python, store, sessions, clock, events, file, _directory: directory }
    }

    /// Sets both clocks.
    pub(crate) fn set_clocks(&mut self, now: Timestamp) {
        self.python.ask(json!(["clock", now.to_string()]));
        self.clock.set(now);
    }

    /// What was heard since the last call.
    pub(crate) fn events(&self) -> Vec<Event> {
        std::mem::take(&mut *self.events.lock().unwrap())
    }

    /// The session that a request with this id in its cookie has, loaded.
    pub(crate) async fn session(&self, id: SessionId) -> Session {
        LazySession::new(self.sessions.clone(), vec![Credential::Id(id)]).load().await.unwrap()
    }

    /// A row as it really is: the six columns, by a connection that is neither side's.
    pub(crate) fn cells(&self, id: SessionId) -> Option<Vec<Cell>> {
        let connection = rusqlite::Connection::open(&self.file).unwrap();
        let mut statement = connection
            .prepare(
                "SELECT id, user_id, data, created_at, expires_at, updated_at FROM sessions WHERE id = ?",
            )
            .unwrap();
        let mut rows = statement.query([id.to_string()]).unwrap();
        let row = rows.next().unwrap()?;
        Some((0..6).map(|column| row.get(column).unwrap()).collect())
    }

    /// The text in the data column.
    pub(crate) fn text(&self, id: SessionId) -> String {
        match self.cells(id).expect("the row is there").swap_remove(DATA) {
            Cell::Text(text) => text,
            other => panic!("not text: {other:?}"),
        }
    }

    /// Writes by SQL, as somebody who knows neither side.
    pub(crate) fn write(&self, sql: &str, values: impl rusqlite::Params) {
        let connection = rusqlite::Connection::open(&self.file).unwrap();
        connection.execute(sql, values).unwrap();
    }

    /// A request through our layer, with the session's cookie.
    pub(crate) async fn visit<F>(&self, cookie: Option<SessionId>, handler: F) -> Answer
    where
        F: Fn(&Session) -> String + Clone + Send + Sync + 'static,
    {
        let routes = get(move |session: Session| {
            let body = handler(&session);
            async move { body }
        });
        let service = Router::new().route("/", routes).layer(SessionLayer::new(self.sessions.clone()));
        let mut request = Request::get("/");
        if let Some(id) = cookie {
            request = request.header(header::COOKIE, format!("session_id={id}"));
        }
        let response = service.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        let cookies = head.headers.get_all(header::SET_COOKIE).iter();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        Answer {
            status: head.status,
            cookies: cookies.map(|value| value.to_str().unwrap().to_owned()).collect(),
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }
}

/// Columns of [`Scene::cells`].
pub(crate) const USER: usize = 1;
pub(crate) const DATA: usize = 2;
pub(crate) const CREATED: usize = 3;
pub(crate) const EXPIRES: usize = 4;
pub(crate) const UPDATED: usize = 5;

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) cookies: Vec<String>,
    pub(crate) body: String,
}

/// The id in a `Set-Cookie` of either side.
pub(crate) fn id_in(set_cookie: &str) -> SessionId {
    let value = set_cookie.strip_prefix("session_id=").unwrap().split(';').next().unwrap();
    value.parse().unwrap()
}

/// The columns of a row that everybody could read, as texts.
pub(crate) fn shown(cell: &Cell) -> &str {
    match cell {
        Cell::Text(text) => text,
        other => panic!("not text: {other:?}"),
    }
}
