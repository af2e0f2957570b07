//! The two sides and the file between them.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::{Request, StatusCode, header};
use rusqlite::types::Value as Cell;
use serde_json::{Value, json};
use sessile::engine::{Credential, Event};
use sessile::record::{ManualClock, Timestamp};
use sessile::store::SqliteStore;
use sessile::{LazySession, Policy, Session, SessionId, SessionLayer, Sessions};
use tower::ServiceExt;

/// The interpreter that has imported the package, and forks for each who connects.
struct Interpreter {
    socket: PathBuf,
    /// Its standard input: it ends with this process.
    _life: Mutex<Child>,
}

fn interpreter() -> &'static Interpreter {
    static INTERPRETER: OnceLock<Interpreter> = OnceLock::new();
    INTERPRETER.get_or_init(|| {
        let mut process = Command::new(sessile_interop::python())
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lback_sqlite/peer.py"))
            // A zone in which a time that is taken for local is hours off.
            .env("TZ", "Asia/Tokyo")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the interpreter starts");
        let mut socket = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut socket).unwrap();
        Interpreter { socket: socket.trim_end().into(), _life: Mutex::new(process) }
    })
}

/// The package in a process of its own, which does what it is told.
pub(crate) struct Peer(BufReader<UnixStream>);

impl Peer {
    fn start(project: &Path, file: &Path) -> Peer {
        let mut peer = Peer(BufReader::new(UnixStream::connect(&interpreter().socket).unwrap()));
        peer.say(&json!([project, file]));
        assert_eq!(peer.hear(), Ok(json!("ready")));
        peer
    }

    /// What came of it, or what Python raised.
    pub(crate) fn attempt(&mut self, order: Value) -> Result<Value, String> {
        self.say(&order);
        self.hear()
    }

    /// What came of it.
    pub(crate) fn ask(&mut self, order: Value) -> Value {
        let shown = order.to_string();
        self.attempt(order).unwrap_or_else(|error| panic!("{shown}: {error}"))
    }

    /// Begins something that comes to a point where it waits for [`go_on`](Self::go_on).
    pub(crate) fn ask_until_it_waits(&mut self, order: Value) {
        assert_eq!(self.ask(order), "waiting");
    }

    /// Lets it go on, and says what came of it.
    pub(crate) fn go_on(&mut self) -> Result<Value, String> {
        self.say(&json!("go on"));
        self.hear()
    }

    /// The id of a row that the model made, good for half an hour.
    pub(crate) fn create(&mut self, data: &str) -> SessionId {
        let id = self.ask(json!(["create", data, 1800]));
        id.as_str().unwrap().parse().unwrap()
    }

    /// What the model makes of a row.
    pub(crate) fn read(&mut self, id: SessionId) -> Value {
        self.ask(json!(["read", id.to_string()]))
    }

    /// The text that `json.dumps` makes of what the model reads as the row's data.
    pub(crate) fn data_of(&mut self, id: SessionId) -> String {
        self.read(id)["data_dict"].as_str().unwrap().to_owned()
    }

    /// A request with this session's cookie through the package's WSGI application, with what its view does.
    pub(crate) fn request(&mut self, id: SessionId, steps: &[Value]) -> Value {
        self.ask(request(Some(id), steps))
    }

    fn say(&mut self, order: &Value) {
        let line = sessile::record::json::to_text(order).unwrap() + "\n";
        self.0.get_mut().write_all(line.as_bytes()).unwrap();
    }

    fn hear(&mut self) -> Result<Value, String> {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        let mut answer: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line:?}"));
        match answer.get("error") {
            Some(error) => Err(error.as_str().unwrap().to_owned()),
            None => Ok(answer["ok"].take()),
        }
    }
}

/// The order for a request with this session's cookie.
pub(crate) fn request(id: Option<SessionId>, steps: &[Value]) -> Value {
    let mut order = vec![json!("request"), json!(id.map(|id| format!("session_id={id}")))];
    order.extend_from_slice(steps);
    Value::Array(order)
}

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
        let mut python = Peer::start(directory.path(), &file);
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
