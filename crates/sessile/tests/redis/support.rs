//! Rows, and a log of one test.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sessile::record::{Columns, SessionId, SessionRecord, StoredData, Timestamp, UserId};
use sessile::store::{Expiry, ListQuery, Liveness, Rotation, SessionStore, Update, Write};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

pub(crate) const NOW: &str = "2090-01-02 03:04:05.000000";
pub(crate) const LATER: &str = "2090-01-02 04:00:00.000000";

pub(crate) fn time(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

/// A different id for every number, in all buckets.
pub(crate) fn id(number: u32) -> SessionId {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&number.wrapping_mul(0x9e37_79b1).to_be_bytes());
    bytes[12..].copy_from_slice(&number.to_be_bytes());
    SessionId::from_bytes(bytes)
}

pub(crate) fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

/// A live row.
pub(crate) fn record(number: u32, owner: Option<&str>, data: &str) -> SessionRecord {
    SessionRecord::from_columns(Columns {
        id: id(number),
        user_id: owner.map(user),
        data: StoredData::Text(data.into()),
        created_at: Some(time(NOW)),
        expires_at: time(LATER),
        updated_at: Some(time(NOW)),
    })
}

pub(crate) fn insert(number: u32) -> Write {
    Write::Insert(record(number, None, "{}"))
}

pub(crate) fn update(number: u32, expected: &str, data: &str) -> Write {
    Write::Update(Update {
        id: id(number),
        expected: StoredData::Text(expected.into()),
        data: data.into(),
        user_id: None,
        expires_at: Expiry::Keep,
        now: time(NOW).into(),
    })
}

pub(crate) fn rotate(from: u32, to: SessionRecord, expected: &str) -> Write {
    Write::Rotate(Rotation {
        id: id(from),
        expected: StoredData::Text(expected.into()),
        record: to,
        now: time(NOW).into(),
    })
}

pub(crate) fn everything() -> ListQuery {
    ListQuery { user: None, liveness: Liveness::Any, now: time(NOW), after: None, limit: 10_000 }
}

pub(crate) async fn listed(store: &impl SessionStore, owner: Option<&str>) -> Vec<SessionId> {
    let page = store.list(&ListQuery { user: owner.map(user), ..everything() }).await.unwrap();
    page.records.iter().map(SessionRecord::id).collect()
}

/// Waits for what has to happen.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < Duration::from_secs(60), "{what}: it did not happen");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
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
