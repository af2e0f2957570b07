//! The package in a process that does what it is told: see `peer.py`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failure here is a failed test")]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};

use serde_json::{Value, json};
use sessile::SessionId;

use crate::Database;

/// The interpreter that has imported the package, and forks for each who connects.
struct Interpreter {
    socket: PathBuf,
    /// Its standard input: it ends with this process.
    _life: Mutex<Child>,
}

fn interpreter() -> &'static Interpreter {
    static INTERPRETER: OnceLock<Interpreter> = OnceLock::new();
    INTERPRETER.get_or_init(|| {
        let mut process = Command::new(crate::python())
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/src/peer.py"))
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
#[derive(Debug)]
pub struct Peer(BufReader<UnixStream>);

impl Peer {
    /// The package with its sessions alone, in this folder and on this database.
    ///
    /// # Panics
    /// The interpreter does not start, or the package does not; the same for all below.
    #[must_use]
    pub fn start(project: &Path, database: &Database) -> Peer {
        Peer::begin(project, database, false)
    }

    /// The whole application of `application.py`, which listens from here on: at this port.
    #[must_use]
    pub fn start_application(project: &Path, database: &Database) -> (Peer, u16) {
        let mut peer = Peer::begin(project, database, true);
        let port = peer.ask(json!(["listen"])).as_u64().unwrap();
        (peer, u16::try_from(port).unwrap())
    }

    fn begin(project: &Path, database: &Database, is_application: bool) -> Peer {
        let mut peer = Peer(BufReader::new(UnixStream::connect(&interpreter().socket).unwrap()));
        peer.say(&json!({
            "project": project,
            "environment": database.environment(),
            "password": database.password(),
            "is_application": is_application,
        }));
        assert_eq!(peer.hear(), Ok(json!("ready")));
        peer
    }

    /// What came of it.
    ///
    /// # Errors
    /// What Python raised.
    pub fn attempt(&mut self, order: Value) -> Result<Value, String> {
        self.say(&order);
        self.hear()
    }

    /// What came of it.
    pub fn ask(&mut self, order: Value) -> Value {
        let shown = order.to_string();
        self.attempt(order).unwrap_or_else(|error| panic!("{shown}: {error}"))
    }

    /// Begins something that comes to a point where it waits for [`go_on`](Self::go_on).
    pub fn ask_until_it_waits(&mut self, order: Value) {
        assert_eq!(self.ask(order), "waiting");
    }

    /// Lets it go on, and says what came of it.
    ///
    /// # Errors
    /// What Python raised.
    pub fn go_on(&mut self) -> Result<Value, String> {
        self.say(&json!("go on"));
        self.hear()
    }

    /// The id of a row that the model made, good for half an hour.
    pub fn create(&mut self, data: &str) -> SessionId {
        let id = self.ask(json!(["create", data, 1800]));
        id.as_str().unwrap().parse().unwrap()
    }

    /// What the model makes of a row.
    pub fn read(&mut self, id: SessionId) -> Value {
        self.ask(json!(["read", id.to_string()]))
    }

    /// The text that `json.dumps` makes of what the model reads as the row's data.
    pub fn data_of(&mut self, id: SessionId) -> String {
        self.read(id)["data_dict"].as_str().unwrap().to_owned()
    }

    /// A request with this session's cookie through the package's WSGI application, with what its view does.
    pub fn request(&mut self, id: SessionId, steps: &[Value]) -> Value {
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
#[must_use]
pub fn request(id: Option<SessionId>, steps: &[Value]) -> Value {
    let mut order = vec![json!("request"), json!(id.map(|id| format!("session_id={id}")))];
    order.extend_from_slice(steps);
    Value::Array(order)
}
