//! Random sequences of writes, against a model so plain that it can be checked by reading it.
#![allow(clippy::unwrap_used, reason = "the helpers of tests")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use sessile::record::{Columns, SessionId, SessionRecord, StoredData, Timestamp, UserId};
use sessile::store::{
    Expiry, ListQuery, Liveness, MemoryStore, NewData, Outcome, PurgeLimits, Purged, Rotation, SessionStore,
    Touch, Update, Write,
};

#[cfg(feature = "postgres")]
#[path = "support/postgres.rs"]
mod postgres_server;

#[cfg(feature = "mysql")]
#[path = "support/mysql.rs"]
mod mysql_server;

/// What a program asks of a store.
#[derive(Debug, Clone)]
enum Step {
    Write(Write),
    Batch(Vec<Write>),
    DeleteUser(UserId, Option<SessionId>),
    Purge(Timestamp, usize),
}

/// The contract in its plainest form: a map, changed by one step at a time.
#[derive(Default)]
struct Model(BTreeMap<SessionId, Columns>);

impl Model {
    fn matches(&self, id: SessionId, expected: &StoredData, now: Timestamp) -> bool {
        self.0.get(&id).is_some_and(|row| row.expires_at > now && row.data == *expected)
    }

    fn write(&mut self, write: &Write) -> Outcome {
        let done = match write {
            Write::Insert(record) => {
                let free = !self.0.contains_key(&record.id());
                if free {
                    self.0.insert(record.id(), columns(record));
                }
                free
            }
            Write::Update(update) => {
                let matches = self.matches(update.id, &update.expected, update.now.get());
                if matches {
                    let row = self.0.get_mut(&update.id).unwrap();
                    if let NewData::Text(text) = &update.data {
                        row.data = StoredData::Text(Arc::clone(text));
                    }
                    row.updated_at = Some(update.now.get());
                    if let Some(user) = &update.user_id {
                        row.user_id = user.clone();
                    }
                    match update.expires_at {
                        Expiry::Keep => {}
                        Expiry::Extend(to) => row.expires_at = row.expires_at.max(to),
                        Expiry::Set(to) => row.expires_at = to,
                    }
                }
                matches
            }
            Write::Touch(touch) => match self.0.get_mut(&touch.id) {
                Some(row) if row.expires_at > touch.now.get() && row.expires_at < touch.expires_at => {
                    row.expires_at = touch.expires_at;
                    row.updated_at = Some(touch.now.get());
                    true
                }
                _ => false,
            },
            Write::Rotate(rotation) => {
                let new = rotation.record.id();
                let free = new == rotation.id || !self.0.contains_key(&new);
                let matches = free && self.matches(rotation.id, &rotation.expected, rotation.now.get());
                if matches {
                    self.0.remove(&rotation.id);
                    self.0.insert(new, columns(&rotation.record));
                }
                matches
            }
            Write::Delete(id) => self.0.remove(id).is_some(),
        };
        if done { Outcome::Applied } else { Outcome::Unmatched }
    }

    fn delete_user(&mut self, user: &UserId, keep: Option<SessionId>) -> Vec<SessionId> {
        let ours = |id: &SessionId, row: &Columns| row.user_id.as_ref() == Some(user) && Some(*id) != keep;
        self.0.extract_if(.., |id, row| ours(id, row)).map(|(id, _)| id).collect()
    }

    fn expired(&self, now: Timestamp) -> usize {
        self.0.values().filter(|row| row.expires_at <= now).count()
    }

    fn rows(&self) -> Vec<SessionRecord> {
        self.0.values().cloned().map(SessionRecord::from_columns).collect()
    }
}

fn columns(record: &SessionRecord) -> Columns {
    Columns {
        id: record.id(),
        user_id: record.user_id().cloned(),
        data: record.stored_data().clone(),
        created_at: record.created_at(),
        expires_at: record.expires_at(),
        updated_at: record.updated_at(),
    }
}

/// Few of everything, so that the writes meet.
fn ids() -> impl Strategy<Value = SessionId> {
    prop::sample::select(vec![0u8, 3, 4, 128, 255])
        .prop_map(|first| SessionId::from_bytes([first, 0, 0, 0, 0, 0, 0x40, 0, 0x80, 0, 0, 0, 0, 0, 0, 1]))
}

fn times() -> impl Strategy<Value = Timestamp> {
    (0u64..8).prop_map(|microsecond| {
        Timestamp::parse("2100-01-01 00:00:00")
            .unwrap()
            .saturating_add(Duration::from_micros(999_996 + microsecond))
    })
}

fn users() -> impl Strategy<Value = UserId> {
    prop::sample::select(vec!["ada", "Ada", "bob"]).prop_map(|name| UserId::new(name).unwrap())
}

fn texts() -> impl Strategy<Value = Arc<str>> {
    prop::sample::select(vec!["{}", r#"{"a": 1}"#, r#"{"A": 1}"#]).prop_map(Arc::from)
}

fn data() -> impl Strategy<Value = StoredData> {
    prop_oneof![9 => texts().prop_map(StoredData::Text), 1 => Just(StoredData::Null)]
}

prop_compose! {
    fn records()(
        id in ids(),
        user_id in prop::option::of(users()),
        data in data(),
        created_at in prop::option::of(times()),
        expires_at in times(),
        updated_at in prop::option::of(times()),
    ) -> SessionRecord {
        SessionRecord::from_columns(Columns { id, user_id, data, created_at, expires_at, updated_at })
    }
}

prop_compose! {
    fn updates()(
        id in ids(),
        expected in data(),
        data in texts(),
        user_id in prop::option::of(prop::option::of(users())),
        expires_at in prop_oneof![
            Just(Expiry::Keep),
            times().prop_map(Expiry::Extend),
            times().prop_map(Expiry::Set),
        ],
        now in times(),
    ) -> Update {
        Update { id, expected, data: data.into(), user_id, expires_at, now: now.into() }
    }
}

fn writes() -> impl Strategy<Value = Write> {
    prop_oneof![
        3 => records().prop_map(Write::Insert),
        4 => updates().prop_map(Write::Update),
        2 => (ids(), times(), times())
            .prop_map(|(id, expires_at, now)| Write::Touch(Touch { id, expires_at, now: now.into() })),
        3 => (ids(), data(), records(), times()).prop_map(|(id, expected, record, now)| {
            Write::Rotate(Rotation { id, expected, record, now: now.into() })
        }),
        1 => ids().prop_map(Write::Delete),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => writes().prop_map(Step::Write),
        3 => prop::collection::vec(writes(), 0..8).prop_map(Step::Batch),
        1 => (users(), prop::option::of(ids())).prop_map(|(user, keep)| Step::DeleteUser(user, keep)),
        1 => (times(), 1usize..4).prop_map(|(now, rows)| Step::Purge(now, rows)),
    ]
}

/// Both do the same, and the same rows are there after every step.
async fn agrees(store: &dyn SessionStore, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut model = Model::default();
    for step in steps {
        match &step {
            Step::Write(write) => {
                let outcome = store.apply(write.clone()).await.unwrap();
                prop_assert_eq!(outcome, model.write(write), "{:?}", step);
            }
            Step::Batch(writes) => {
                let outcomes: Vec<_> =
                    store.apply_many(writes.clone()).await.into_iter().map(Result::unwrap).collect();
                let wanted: Vec<_> = writes.iter().map(|write| model.write(write)).collect();
                prop_assert_eq!(outcomes, wanted, "{:?}", step);
            }
            Step::DeleteUser(user, keep) => {
                let mut deleted = store.delete_user(user, *keep).await.unwrap();
                deleted.sort();
                prop_assert_eq!(deleted, model.delete_user(user, *keep), "{:?}", step);
            }
            Step::Purge(now, max_rows) => {
                let limits = PurgeLimits { max_rows: *max_rows, ..PurgeLimits::default() };
                let expired = model.expired(*now);
                let batch = store.purge(*now, limits).await.unwrap();
                prop_assert!(batch.removed.len() <= *max_rows);
                prop_assert!(batch.more || batch.removed.len() == expired, "said too early that it was done");
                prop_assert!(expired == 0 || !batch.removed.is_empty(), "an idle batch");
                for Purged { id, user_id } in batch.removed {
                    let row = model.0.remove(&id);
                    let is_it = |row: &Columns| row.expires_at <= *now && row.user_id == user_id;
                    prop_assert!(row.as_ref().is_some_and(is_it), "{id} was not to be removed");
                }
            }
        }
        prop_assert_eq!(rows(store).await, model.rows(), "{:?}", step);
    }
    Ok(())
}

/// All rows, two in a page.
async fn rows(store: &dyn SessionStore) -> Vec<SessionRecord> {
    let mut rows = Vec::new();
    let mut query =
        ListQuery { user: None, liveness: Liveness::Any, now: Timestamp::MIN, after: None, limit: 2 };
    loop {
        let page = store.list(&query).await.unwrap();
        rows.extend(page.records);
        query.after = page.next;
        if query.after.is_none() {
            return rows;
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// [R12] [E14] [E19] [G01] [G02]
    #[test]
    fn memory_agrees_with_the_model(steps in prop::collection::vec(steps(), 1..60)) {
        runtime().block_on(agrees(&MemoryStore::new(), steps))?;
    }
}

#[cfg(feature = "sqlite")]
proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    /// [R12] [E14] [E19] [G01] [G02]
    #[test]
    fn sqlite_agrees_with_the_model(steps in prop::collection::vec(steps(), 1..60)) {
        runtime().block_on(async {
            let store = sessile::store::SqliteStore::options().open_in_memory().await.unwrap();
            store.init().await.unwrap();
            agrees(&store, steps).await
        })?;
    }
}

#[cfg(feature = "postgres")]
proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// [R12] [E14] [E19] [G01] [G02]
    #[test]
    fn postgres_agrees_with_the_model(steps in prop::collection::vec(steps(), 1..60)) {
        runtime().block_on(async {
            let schema = postgres_server::Schema::new().await;
            let store = schema.store(sessile::store::PostgresStore::options()).await;
            agrees(&store, steps).await
        })?;
    }
}

#[cfg(feature = "mysql")]
proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// [R12] [E14] [E19] [G01] [G02] Its batches are judged in this process: to the same end.
    #[test]
    fn mysql_agrees_with_the_model(steps in prop::collection::vec(steps(), 1..60)) {
        runtime().block_on(async {
            let database = mysql_server::Database::new().await;
            let store = database.store(sessile::store::MySqlStore::options()).await;
            agrees(&store, steps).await
        })?;
    }
}
