//! Rows, and a log of one test.

#[path = "../support/rows.rs"]
mod rows;

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use sessile::record::{SessionId, SessionRecord};
use sessile::store::{ListQuery, SessionStore};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

pub(crate) use rows::*;

pub(crate) const NOW: &str = "2090-01-02 03:04:05.000000";
pub(crate) const LATER: &str = "2090-01-02 04:00:00.000000";

/// A different id for every number, in all buckets.
pub(crate) fn id(number: u32) -> SessionId {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&number.wrapping_mul(0x9e37_79b1).to_be_bytes());
    bytes[12..].copy_from_slice(&number.to_be_bytes());
    SessionId::from_bytes(bytes)
}

pub(crate) async fn listed(store: &impl SessionStore, owner: Option<&str>) -> Vec<SessionId> {
    let page = store.list(&ListQuery { user: owner.map(user), ..everything(10_000) }).await.unwrap();
    page.records.iter().map(SessionRecord::id).collect()
}

/// What is logged on this thread while it lives.
pub(crate) struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    _guard: tracing::subscriber::DefaultGuard,
}

impl Log {
    pub(crate) fn start() -> Log {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let collect = Collect(Arc::clone(&lines));
        let guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(collect));
        Log { lines, _guard: guard }
    }

    /// The lines since the last call.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.lines.lock().unwrap())
    }
}

struct Collect(Arc<Mutex<Vec<String>>>);

impl<S: tracing::Subscriber> Layer<S> for Collect {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target().starts_with("sessile") {
            let mut line = Line(format!("{} {}", event.metadata().level(), event.metadata().target()));
            event.record(&mut line);
            self.0.lock().unwrap().push(line.0);
        }
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}
