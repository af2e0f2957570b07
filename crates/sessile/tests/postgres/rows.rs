//! What stands in the rows: ours as Python's driver writes them, others' whatever it is.

use std::sync::Arc;

use sessile::record::{Columns, SessionRecord, StoredData, Timestamp};
use sessile::store::{
    Expiry, ListQuery, Liveness, Outcome, PostgresStore, PurgeLimits, Rotation, SessionStore, StoreError,
    Touch, Update, Write,
};

use crate::postgres_server::Schema;
use crate::support::{LATER, NOW, change, id, record, time};

/// A new value in place of what was read.
fn update(number: u32, expected: StoredData) -> Update {
    change(number, expected, "{\"new\": 1}")
}

#[tokio::test]
async fn rows_are_what_python_writes() {
    let schema = Schema::new().await;
    let store = schema.store(PostgresStore::options()).await;
    store.apply(Write::Insert(record(1, Some("42"), "{}"))).await.unwrap();
    let row = "SELECT concat_ws('|', id, user_id, data, created_at, expires_at, updated_at) FROM sessions";
    assert_eq!(
        schema.value(row).await,
        "00010000-0000-0000-0000-000000000000|42|{}|2030-01-02 03:04:05|2030-01-02 04:00:00|\
         2030-01-02 03:04:05"
    );
}

/// Every kind of broken row, one by one and among good ones. [R08]
#[tokio::test]
async fn a_broken_row_is_named_and_passed_by() {
    let schema = Schema::new().await;
    let store = schema.store(PostgresStore::options()).await;
    let sql = schema.sql().await;
    let range = "is out of range: expected a year from 1 to 9999";
    let broken = [
        ("expires_at", "'10000-01-01'"),
        ("created_at", "'0044-03-15 BC'"),
        ("updated_at", "'200000-01-01'"),
    ];
    for (number, (column, value)) in (1..).zip(broken) {
        store.apply(Write::Insert(record(number, None, "{\"secret\": 1}"))).await.unwrap();
        let put = format!("UPDATE sessions SET {column} = {value} WHERE id = '{}'", id(number));
        sql.batch_execute(&put).await.unwrap();
        let Err(StoreError::Malformed(row)) = store.load(id(number)).await else {
            panic!("{column} = {value} was read");
        };
        assert_eq!((row.id, row.problem), (id(number).to_string(), format!("{column} {range}")));
    }
    sql.batch_execute(
        "INSERT INTO sessions (id, expires_at) VALUES ('', '2020-01-01'), ('é', '2020-01-01'), \
         ('00010000-0000-0000-0000-00000000000X', '2099-01-01')",
    )
    .await
    .unwrap();
    store.apply(Write::Insert(record(999, None, "{}"))).await.unwrap();
    let loaded = store.load_many(&[id(1), id(999), id(2), id(3)]).await;
    assert_eq!(loaded[1].as_ref().unwrap(), &Some(record(999, None, "{}")));
    assert_eq!(loaded.iter().filter(|row| matches!(row, Err(StoreError::Malformed(_)))).count(), 3);
    for limit in [1, 2, 100] {
        let mut query = ListQuery { user: None, liveness: Liveness::Any, now: time(NOW), after: None, limit };
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        loop {
            let page = store.list(&query).await.unwrap();
            good.extend(page.records.iter().map(|row| row.id()));
            bad.extend(page.malformed);
            query.after = page.next;
            if query.after.is_none() {
                break;
            }
        }
        assert_eq!((good, bad.len()), (vec![id(999)], 6), "{limit}");
        assert!(bad.iter().all(|row| !row.to_string().contains("secret")));
    }
    let batch = store.purge(time(NOW), PurgeLimits::default()).await.unwrap();
    assert_eq!((batch.removed.len(), batch.removed_foreign, batch.more), (0, 2, false));
    assert_eq!(store.stats(time(NOW)).await.unwrap().live, 5);
}

#[tokio::test]
async fn infinity_is_the_end_of_pythons_time() {
    let schema = Schema::new().await;
    let store = schema.store(PostgresStore::options()).await;
    let put = format!(
        "INSERT INTO sessions (id, data, created_at, expires_at) VALUES ('{}', NULL, '-infinity', 'infinity')",
        id(1)
    );
    schema.sql().await.batch_execute(&put).await.unwrap();
    let row = store.load(id(1)).await.unwrap().unwrap();
    assert_eq!((row.created_at(), row.expires_at()), (Some(Timestamp::MIN), Timestamp::MAX));
    assert_eq!((row.stored_data(), row.updated_at()), (&StoredData::Null, None));
    let extend = Update { expires_at: Expiry::Extend(time(LATER)), ..update(1, StoredData::Null) };
    assert_eq!(store.apply(Write::Update(extend)).await.unwrap(), Outcome::Applied);
    assert_eq!(schema.value("SELECT expires_at FROM sessions").await, "infinity");
}

/// Whatever time zone the database is set to.
#[tokio::test]
async fn times_with_a_zone_are_read_and_written_too() {
    let schema = Schema::new().await;
    let sql = schema.sql().await;
    sql.batch_execute(
        "CREATE TABLE sessions (id text PRIMARY KEY, user_id text, data text, created_at timestamptz, \
         expires_at timestamptz NOT NULL, updated_at timestamptz)",
    )
    .await
    .unwrap();
    let url = crate::postgres_server::with_option(&schema.url(), "options=-c%20TimeZone%3DAsia/Tokyo");
    let store = PostgresStore::connect(&url).await.unwrap();
    store.check().await.unwrap();
    store.apply(Write::Insert(record(1, None, "{}"))).await.unwrap();
    assert_eq!(store.load(id(1)).await.unwrap(), Some(record(1, None, "{}")));
    let utc = "SELECT expires_at AT TIME ZONE 'UTC' FROM sessions";
    assert_eq!(schema.value(utc).await, "2030-01-02 04:00:00");
    let (before, after) = (time("2030-01-02 03:59:59.999999"), time(LATER));
    let touch = |now: Timestamp| {
        Write::Touch(Touch { id: id(1), expires_at: time("2030-01-02 05:00:00"), now: now.into() })
    };
    assert_eq!(store.apply(touch(after)).await.unwrap(), Outcome::Unmatched);
    assert_eq!(store.apply(touch(before)).await.unwrap(), Outcome::Applied);
    let rotated = Rotation {
        id: id(1),
        expected: StoredData::empty(),
        record: record(2, None, "{}"),
        now: before.into(),
    };
    assert_eq!(store.apply(Write::Rotate(rotated)).await.unwrap(), Outcome::Applied);
    assert!(store.purge(after, PurgeLimits::default()).await.unwrap().ids().eq([id(2)]));
}

#[tokio::test]
async fn what_lback_wrote_as_bytes_is_read_and_compared() {
    let schema = Schema::new().await;
    let store = schema.store(PostgresStore::options()).await;
    let put = format!(
        r"INSERT INTO sessions (id, data, expires_at) VALUES ('{}', '\x7b226b223a20317d', '{LATER}')",
        id(1)
    );
    schema.sql().await.batch_execute(&put).await.unwrap();
    let row = store.load(id(1)).await.unwrap().unwrap();
    assert_eq!(row.try_data().unwrap().get::<i32>("k").unwrap(), Some(1));
    let update = update(1, row.stored_data().clone());
    assert_eq!(store.apply(Write::Update(update)).await.unwrap(), Outcome::Applied);
}

/// No text can hold it, so it is refused before it is sent, and takes nobody with it. [R15]
#[tokio::test]
async fn what_no_text_holds_is_refused_alone() {
    let schema = Schema::new().await;
    let store = schema.store(PostgresStore::options()).await;
    let bytes: Arc<[u8]> = b"{}"[..].into();
    let with_bytes = SessionRecord::from_columns(Columns {
        id: id(4),
        user_id: None,
        data: StoredData::Bytes(Arc::clone(&bytes)),
        created_at: None,
        expires_at: time(LATER),
        updated_at: None,
    });
    let outcomes = store
        .apply_many(vec![
            Write::Insert(record(1, None, "{}")),
            Write::Insert(record(2, None, "{\"secret\": \"\0\"}")),
            Write::Insert(record(3, None, "{}")),
            Write::Insert(with_bytes),
            Write::Update(update(1, StoredData::Bytes(bytes))),
            Write::Update(update(1, StoredData::Text("{}\0".into()))),
            Write::Update(Update { data: "\0".into(), ..update(1, StoredData::empty()) }),
        ])
        .await;
    let told: Vec<String> = outcomes
        .iter()
        .map(|outcome| match outcome {
            Ok(outcome) => format!("{outcome:?}"),
            Err(error @ StoreError::Backend { source, .. }) => format!("{error}: {source}"),
            Err(other) => panic!("{other}"),
        })
        .collect();
    assert!([1, 3, 6].iter().all(|&at| told[at].contains("holds only text there")), "{told:?}");
    assert!(!told.concat().contains("secret"));
    assert_eq!(
        [&*told[0], &*told[2], &*told[4], &*told[5]],
        ["Applied", "Applied", "Unmatched", "Unmatched"]
    );
    assert_eq!(store.stats(time(NOW)).await.unwrap().live, 2);
}

/// The server's own words hold the whole row, which is nobody's business. [S14]
#[tokio::test]
async fn an_error_does_not_show_the_row() {
    let schema = Schema::new().await;
    let store = schema.store(PostgresStore::options()).await;
    schema.sql().await.batch_execute("ALTER TABLE sessions ADD CHECK (user_id <> 'eve')").await.unwrap();
    let refused = Write::Insert(record(1, Some("eve"), "{\"secret\": 1}"));
    let outcomes = store.apply_many(vec![refused, Write::Insert(record(2, None, "{}"))]).await;
    let error = outcomes[0].as_ref().unwrap_err();
    let StoreError::Backend { source, .. } = error else { panic!("{error}") };
    assert!(source.to_string().contains("violates check constraint"), "{source}");
    assert!(!format!("{error} {error:?} {source} {source:?}").contains("secret"));
    assert_eq!(outcomes[1].as_ref().unwrap(), &Outcome::Applied);
}
