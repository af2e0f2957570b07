//! A database in a directory of its own, seen through the store, through plain SQL and through the
//! SQL log.

#[path = "../support/rows.rs"]
mod rows;

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once};

use sessile::record::SessionId;
use sessile::store::sqlite::SqliteOptions;
use sessile::store::{SessionStore, SqliteStore};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

pub(crate) use rows::*;

pub(crate) const NOW: &str = "2030-01-02 03:04:05.000000";
pub(crate) const LATER: &str = "2030-01-02 04:00:00.000000";

pub(crate) struct Database {
    _directory: tempfile::TempDir,
    pub(crate) path: PathBuf,
}

impl Database {
    pub(crate) fn new() -> Database {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.db");
        Database { _directory: directory, path }
    }

    /// With the table.
    pub(crate) async fn with_store(options: SqliteOptions) -> (Database, SqliteStore) {
        let database = Database::new();
        let store = options.open(&database.path).await.unwrap();
        store.init().await.unwrap();
        (database, store)
    }

    /// Another process's connection.
    pub(crate) fn sql(&self) -> rusqlite::Connection {
        let connection = rusqlite::Connection::open(&self.path).unwrap();
        connection.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
        connection
    }

    /// The first column of the first row, as SQL would write it.
    pub(crate) fn value(&self, query: &str) -> String {
        self.sql().query_row(&format!("SELECT quote(v) FROM ({query})"), (), |row| row.get(0)).unwrap()
    }
}

pub(crate) fn id(number: u32) -> SessionId {
    rows::numbered(number, 0)
}

/// Statements by database, since the log is one for all tests of this program.
static LOG: Mutex<Option<HashMap<String, Vec<String>>>> = Mutex::new(None);

/// Warnings by database: the message, and the numbers with it.
static WARNINGS: Mutex<Option<HashMap<String, Vec<Warning>>>> = Mutex::new(None);

/// A warning of a store.
#[derive(Debug, Clone, Default)]
pub(crate) struct Warning {
    pub(crate) message: String,
    pub(crate) numbers: HashMap<&'static str, i64>,
    database: String,
}

impl Visit for Warning {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "database" {
            value.clone_into(&mut self.database);
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.numbers.insert(field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        }
    }
}

/// The SQL log of one database.
pub(crate) struct SqlLog(PathBuf);

impl SqlLog {
    pub(crate) fn of(path: &Path) -> SqlLog {
        static INSTALL: Once = Once::new();
        INSTALL.call_once(|| tracing_subscriber::registry().with(Collect).init());
        let log = SqlLog(path.canonicalize().unwrap());
        log.take();
        log
    }

    /// The statements since the last call.
    pub(crate) fn take(&self) -> Vec<String> {
        let mut log = LOG.lock().unwrap();
        log.get_or_insert_default().remove(self.0.to_str().unwrap()).unwrap_or_default()
    }

    /// The warnings since the last call.
    pub(crate) fn warnings(&self) -> Vec<Warning> {
        let mut warnings = WARNINGS.lock().unwrap();
        warnings.get_or_insert_default().remove(self.0.to_str().unwrap()).unwrap_or_default()
    }
}

struct Collect;

impl<S: tracing::Subscriber> Layer<S> for Collect {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "sessile::sql" {
            let mut fields = Fields::default();
            event.record(&mut fields);
            let mut log = LOG.lock().unwrap();
            log.get_or_insert_default().entry(fields.database).or_default().push(fields.statement);
        } else if *event.metadata().level() == tracing::Level::WARN {
            let mut warning = Warning::default();
            event.record(&mut warning);
            let mut warnings = WARNINGS.lock().unwrap();
            warnings.get_or_insert_default().entry(warning.database.clone()).or_default().push(warning);
        }
    }
}

#[derive(Default)]
struct Fields {
    statement: String,
    database: String,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "statement" => self.statement = value.to_owned(),
            "database" => self.database = value.to_owned(),
            other => panic!("the SQL log says more than it should: {other}"),
        }
    }

    fn record_debug(&mut self, field: &Field, _: &dyn fmt::Debug) {
        panic!("the SQL log says more than it should: {field}");
    }
}
