//! Rows, and the SQL log of one test.

use std::collections::HashMap;
use std::sync::{Mutex, Once};
use std::time::{Duration, Instant};

use sessile::record::{Columns, SessionId, SessionRecord, StoredData, Timestamp, UserId};
use sessile::store::{Expiry, ListQuery, Liveness, Rotation, Touch, Update, Write};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

pub(crate) const NOW: &str = "2030-01-02 03:04:05.000000";
pub(crate) const LATER: &str = "2030-01-02 04:00:00.000000";

pub(crate) fn time(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

/// A different id for every number.
pub(crate) fn id(number: u16) -> SessionId {
    let mut bytes = [0xab; 16];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    SessionId::from_bytes(bytes)
}

pub(crate) fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

/// A live row.
pub(crate) fn record(number: u16, owner: Option<&str>, data: &str) -> SessionRecord {
    SessionRecord::from_columns(Columns {
        id: id(number),
        user_id: owner.map(user),
        data: StoredData::Text(data.into()),
        created_at: Some(time(NOW)),
        expires_at: time(LATER),
        updated_at: Some(time(NOW)),
    })
}

pub(crate) fn insert(number: u16) -> Write {
    Write::Insert(record(number, None, "{}"))
}

pub(crate) fn change(number: u16, expected: &str, data: &str) -> Update {
    Update {
        id: id(number),
        expected: StoredData::Text(expected.into()),
        data: data.into(),
        user_id: None,
        expires_at: Expiry::Keep,
        now: time(NOW).into(),
    }
}

pub(crate) fn update(number: u16, expected: &str, data: &str) -> Write {
    Write::Update(change(number, expected, data))
}

pub(crate) fn touch(number: u16, expires_at: &str, now: &str) -> Write {
    Write::Touch(Touch { id: id(number), expires_at: time(expires_at), now: time(now).into() })
}

pub(crate) fn rotate(from: u16, expected: &str, to: SessionRecord) -> Write {
    let expected = StoredData::Text(expected.into());
    Write::Rotate(Rotation { id: id(from), expected, record: to, now: time(NOW).into() })
}

pub(crate) fn everything(limit: usize) -> ListQuery {
    ListQuery { user: None, liveness: Liveness::Any, now: time(NOW), after: None, limit }
}

/// Waits for what has to happen.
pub(crate) async fn until(mut condition: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < Duration::from_secs(60), "it did not happen");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
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
        all.iter().map(|statement| statement.split(' ').next().unwrap().to_owned()).collect()
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
