//! Rows, and the SQL log of one test.

#[path = "../support/rows.rs"]
mod rows;

use std::collections::HashMap;
use std::sync::{Mutex, Once};

use sessile::record::SessionId;
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

pub(crate) use rows::*;

pub(crate) const NOW: &str = "2030-01-02 03:04:05.000000";
pub(crate) const LATER: &str = "2030-01-02 04:00:00.000000";

pub(crate) fn id(number: u32) -> SessionId {
    rows::numbered(number, 0xab)
}

/// Statements by database, since the log is one for all tests of this program.
static LOG: Mutex<Option<HashMap<String, Vec<String>>>> = Mutex::new(None);

/// The SQL log of one database.
pub(crate) struct SqlLog(String);

impl SqlLog {
    pub(crate) fn of(database: &str) -> SqlLog {
        static INSTALL: Once = Once::new();
        INSTALL.call_once(|| tracing_subscriber::registry().with(Collect).init());
        SqlLog(database.to_owned())
    }

    /// The first word of each statement since the last call.
    pub(crate) fn take(&self) -> Vec<String> {
        let mut log = LOG.lock().unwrap();
        let all = log.get_or_insert_default().remove(&self.0).unwrap_or_default();
        // What only MariaDB reads stands before the statement.
        let statement = |text: &str| text.rsplit("*/ ").next().unwrap_or_default().to_owned();
        all.iter().map(|text| statement(text).split(' ').next().unwrap().to_owned()).collect()
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
        assert!(!value.contains('@'), "the SQL log names the user");
        match field.name() {
            "statement" => self.statement = value.to_owned(),
            "database" => self.database = value.rsplit('/').next().unwrap().to_owned(),
            other => panic!("the SQL log says more than it should: {other}"),
        }
    }

    fn record_debug(&mut self, field: &Field, _: &dyn std::fmt::Debug) {
        panic!("the SQL log says more than it should: {field}");
    }
}
