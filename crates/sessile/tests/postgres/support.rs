//! Rows, and the SQL log of one database.

#[path = "../support/rows.rs"]
mod rows;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, Once};

use sessile::record::SessionId;
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

pub(crate) use rows::*;

pub(crate) const NOW: &str = "2030-01-02 03:04:05.000000";
pub(crate) const LATER: &str = "2030-01-02 04:00:00.000000";

pub(crate) fn id(number: u32) -> SessionId {
    rows::numbered(number, 0)
}

/// Statements by schema, since the log is one for all tests of this program.
static LOG: Mutex<Option<HashMap<String, Vec<String>>>> = Mutex::new(None);

/// The SQL log of one schema; BEGIN and COMMIT, which name none, are counted for the schema of the
/// statement between them.
pub(crate) struct SqlLog(String);

impl SqlLog {
    pub(crate) fn of(schema: &str) -> SqlLog {
        static INSTALL: Once = Once::new();
        INSTALL.call_once(|| tracing_subscriber::registry().with(Collect).init());
        let log = SqlLog(format!("\"{schema}\"."));
        log.take();
        log
    }

    /// The first word of each statement since the last call.
    pub(crate) fn take(&self) -> Vec<String> {
        let mut log = LOG.lock().unwrap();
        let all = log.get_or_insert_default().remove(&self.0).unwrap_or_default();
        all.iter().map(|statement| statement.split(' ').next().unwrap().to_owned()).collect()
    }
}

struct Collect;

impl<S: tracing::Subscriber> Layer<S> for Collect {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "sessile::sql" {
            let mut fields = Fields::default();
            event.record(&mut fields);
            let schema = fields.statement.find("\"sessile_").map(|at| {
                let rest = &fields.statement[at..];
                rest[..rest.find('.').unwrap() + 1].to_owned()
            });
            let mut log = LOG.lock().unwrap();
            log.get_or_insert_default().entry(schema.unwrap_or_default()).or_default().push(fields.statement);
        }
    }
}

#[derive(Default)]
struct Fields {
    statement: String,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "statement" => self.statement = value.to_owned(),
            "database" => assert!(!value.contains('@'), "the SQL log names the user"),
            other => panic!("the SQL log says more than it should: {other}"),
        }
    }

    fn record_debug(&mut self, field: &Field, _: &dyn fmt::Debug) {
        panic!("the SQL log says more than it should: {field}");
    }
}
