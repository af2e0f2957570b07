//! What stands in the rows: ours to the byte, others' whatever it is.

use std::sync::Arc;

use sessile::record::{StoredData, UserId};
use sessile::store::{
    Expiry, ListPage, ListQuery, Liveness, Outcome, PurgeLimits, Rotation, SessionStore, SqliteStore,
    StoreError, Touch, Update, Write,
};

use crate::support::{Database, LATER, NOW, change, id, record, time};

/// A new value in place of what was read.
fn update(number: u32, expected: StoredData) -> Update {
    change(number, expected, "{\"new\": 1}")
}

async fn list_all(store: &SqliteStore, limit: usize) -> Vec<ListPage> {
    let mut query = ListQuery { user: None, liveness: Liveness::Any, now: time(NOW), after: None, limit };
    let mut pages = Vec::new();
    loop {
        let page = store.list(&query).await.unwrap();
        query.after = page.next.clone();
        pages.push(page);
        if query.after.is_none() {
            return pages;
        }
    }
}

#[tokio::test]
async fn rows_are_what_python_writes() {
    let (database, store) = Database::with_store(SqliteStore::options()).await;
    store.apply(Write::Insert(record(1, Some("42"), "{}"))).await.unwrap();
    let row = "SELECT quote(id) || quote(user_id) || quote(data) || quote(created_at) || quote(expires_at) \
        || quote(updated_at) AS v FROM sessions";
    assert_eq!(
        database.value(row).replace("''", "'"),
        "''00010000-0000-0000-0000-000000000000''42''{}''2030-01-02 03:04:05.000000'\
         '2030-01-02 04:00:00.000000''2030-01-02 03:04:05.000000''"
    );
    let touch =
        Touch { id: id(1), expires_at: time("2030-01-02 05:00:00"), now: time("2030-01-02 03:30:00").into() };
    assert_eq!(store.apply(Write::Touch(touch)).await.unwrap(), Outcome::Applied);
    let times = "SELECT expires_at || '|' || updated_at AS v FROM sessions";
    assert_eq!(database.value(times), "'2030-01-02 05:00:00.000000|2030-01-02 03:30:00.000000'");
}

/// Every kind of broken row, one by one and among good ones. [R08]
#[tokio::test]
async fn a_broken_row_is_named_and_passed_by() {
    let (database, store) = Database::with_store(SqliteStore::options()).await;
    let sql = database.sql();
    let time = "text such as 2030-01-02 03:04:05.000000";
    let broken = [
        ("expires_at", "1893553445".to_owned(), format!("expires_at is an integer: expected {time}")),
        ("expires_at", "1893553445.5".to_owned(), format!("expires_at is a real number: expected {time}")),
        ("expires_at", "x'00'".to_owned(), format!("expires_at is a BLOB: expected {time}")),
        ("expires_at", "'now'".to_owned(), format!("expires_at is text, but no time: expected {time}")),
        ("expires_at", "''".to_owned(), format!("expires_at is text, but no time: expected {time}")),
        ("created_at", "7".to_owned(), format!("created_at is an integer: expected {time}")),
        ("updated_at", "'never'".to_owned(), format!("updated_at is text, but no time: expected {time}")),
        ("user_id", "x'6164'".to_owned(), "user_id is a BLOB: expected text".to_owned()),
        ("user_id", "CAST(x'ff' AS TEXT)".to_owned(), "user_id is not UTF-8".to_owned()),
    ];
    for (number, (column, value, _)) in (1..).zip(&broken) {
        store.apply(Write::Insert(record(number, None, "{\"secret\": 1}"))).await.unwrap();
        sql.execute(
            &format!("UPDATE sessions SET {column} = {value} WHERE id = ?1"),
            [id(number).to_string()],
        )
        .unwrap();
    }
    for (number, (column, value, problem)) in (1..).zip(&broken) {
        let Err(StoreError::Malformed(row)) = store.load(id(number)).await else {
            panic!("{column} = {value} was read");
        };
        assert_eq!((row.id.as_str(), &row.problem), (id(number).to_string().as_str(), problem));
    }
    // A foreign id of every kind, before and after the good ones.
    sql.execute_batch(
        "INSERT INTO sessions (id, expires_at) VALUES ('', '2020-01-01 00:00:00'), \
         (x'beef', '2020-01-01 00:00:00'), (CAST(x'ff61' AS TEXT), '2099-01-01 00:00:00'), \
         (17, '2099-01-01 00:00:00'), ('00010000-0000-0000-0000-00000000000X', '2099-01-01 00:00:00')",
    )
    .unwrap();
    store.apply(Write::Insert(record(0, None, "{}"))).await.unwrap();
    store.apply(Write::Insert(record(999, None, "{}"))).await.unwrap();

    let mut ids: Vec<_> = (0..10).collect();
    ids.push(999);
    let ids: Vec<_> = ids.into_iter().map(id).collect();
    let loaded = store.load_many(&ids).await;
    assert_eq!(loaded[0].as_ref().unwrap(), &Some(record(0, None, "{}")));
    assert_eq!(loaded[10].as_ref().unwrap(), &Some(record(999, None, "{}")));
    assert!(loaded[1..10].iter().all(|row| matches!(row, Err(StoreError::Malformed(_)))));

    for limit in [1, 2, 3, 100] {
        let pages = list_all(&store, limit).await;
        let good: Vec<_> = pages.iter().flat_map(|page| &page.records).map(|row| row.id()).collect();
        assert_eq!(good, [id(0), id(999)], "{limit}");
        let bad: Vec<_> = pages.iter().flat_map(|page| &page.malformed).collect();
        assert_eq!(bad.len(), broken.len() + 5, "{limit}");
        assert_eq!((&*bad[0].id, &*bad[bad.len() - 1].id), ("", "X'beef'"));
        assert!(bad.iter().all(|row| !row.to_string().contains("secret")));
    }

    // The two foreign ones that have expired go; what has no readable expiry stays.
    let batch = store.purge(crate::support::time(NOW), PurgeLimits::default()).await.unwrap();
    assert_eq!((batch.removed.len(), batch.removed_foreign, batch.more), (0, 2, false));
    assert_eq!(store.stats(crate::support::time(NOW)).await.unwrap().live, 2 + 3 + 4);
}

#[tokio::test]
async fn compare_and_swap_tells_all_kinds_of_data_apart() {
    let (database, store) = Database::with_store(SqliteStore::options()).await;
    let bytes = |bytes: &[u8]| -> Arc<[u8]> { bytes.into() };
    let kinds = [
        ("NULL", StoredData::Null),
        ("''", StoredData::Text("".into())),
        ("'{}'", StoredData::Text("{}".into())),
        ("x'7b7d'", StoredData::Bytes(bytes(b"{}"))),
        ("x''", StoredData::Bytes(bytes(b""))),
        ("CAST(x'7bff7d' AS TEXT)", StoredData::InvalidText(bytes(b"{\xff}"))),
        ("CAST(x'7b7d00' AS TEXT)", StoredData::Text("{}\0".into())),
    ];
    for (sql, data) in &kinds {
        let put = format!("INSERT OR REPLACE INTO sessions (id, data, expires_at) VALUES (?1, {sql}, ?2)");
        database.sql().execute(&put, (id(1).to_string(), LATER)).unwrap();
        assert_eq!(store.load(id(1)).await.unwrap().unwrap().stored_data(), data, "{sql}");
        for (other_sql, other) in &kinds {
            if other_sql != sql {
                let outcome = store.apply(Write::Update(update(1, other.clone()))).await.unwrap();
                assert_eq!(outcome, Outcome::Unmatched, "{sql} taken for {other_sql}");
            }
        }
        let outcome = store.apply(Write::Update(update(1, data.clone()))).await.unwrap();
        assert_eq!(outcome, Outcome::Applied, "{sql}");
        assert_eq!(database.value("SELECT data AS v FROM sessions"), "'{\"new\": 1}'");
    }
}

#[tokio::test]
async fn numbers_in_user_id_are_users() {
    let (database, store) = Database::with_store(SqliteStore::options()).await;
    database
        .sql()
        .execute(
            "INSERT INTO sessions (id, user_id, expires_at) VALUES (?1, 42, ?2)",
            (id(1).to_string(), LATER),
        )
        .unwrap();
    let row = store.load(id(1)).await.unwrap().unwrap();
    assert_eq!(row.user_id(), Some(&UserId::new(42).unwrap()));
    assert_eq!((row.created_at(), row.updated_at(), row.stored_data()), (None, None, &StoredData::Null));
    assert_eq!(store.delete_user(&UserId::new(42).unwrap(), None).await.unwrap(), [id(1)]);
}

/// An expiry that others wrote in a form which sorts after today's texts, or with an offset.
#[tokio::test]
async fn no_form_of_expiry_brings_a_dead_row_back() {
    let (database, store) = Database::with_store(SqliteStore::options()).await;
    for expiry in
        ["2030-01-02T03:04:05", "2030-01-02 04:04:05+02:00", "2030-01-02 03:04:05Z", "2030-01-02T03:04"]
    {
        let put = "INSERT OR REPLACE INTO sessions (id, data, expires_at) VALUES (?1, '{}', ?2)";
        database.sql().execute(put, (id(1).to_string(), expiry)).unwrap();
        let expected = StoredData::empty();
        let rotated = record(2, None, "{}");
        for write in [
            Write::Update(update(1, expected.clone())),
            Write::Update(Update { expires_at: Expiry::Extend(time(LATER)), ..update(1, expected.clone()) }),
            Write::Update(Update { expires_at: Expiry::Set(time(LATER)), ..update(1, expected.clone()) }),
            Write::Touch(Touch { id: id(1), expires_at: time(LATER), now: time(NOW).into() }),
            Write::Rotate(Rotation { id: id(1), expected, record: rotated, now: time(NOW).into() }),
        ] {
            let shown = format!("{expiry}: {write:?}");
            assert_eq!(store.apply(write).await.unwrap(), Outcome::Unmatched, "{shown}");
        }
        assert_eq!(store.stats(time(NOW)).await.unwrap().expired, 1, "{expiry}");
    }
    // A row that nobody can tell the expiry of takes no write but a deletion.
    database.sql().execute("UPDATE sessions SET expires_at = 9999999999999", ()).unwrap();
    let touch = Touch { id: id(1), expires_at: time(LATER), now: time(NOW).into() };
    assert_eq!(store.apply(Write::Touch(touch)).await.unwrap(), Outcome::Unmatched);
    assert_eq!(store.apply(Write::Update(update(1, StoredData::empty()))).await.unwrap(), Outcome::Unmatched);
    assert_eq!(store.apply(Write::Delete(id(1))).await.unwrap(), Outcome::Applied);
}

#[tokio::test]
async fn a_live_row_of_another_form_is_written_in_ours() {
    let (database, store) = Database::with_store(SqliteStore::options()).await;
    let put = "INSERT INTO sessions (id, data, expires_at) VALUES (?1, '{}', '2030-01-02T05:00:00.5')";
    database.sql().execute(put, [id(1).to_string()]).unwrap();
    let extend = Update { expires_at: Expiry::Extend(time(LATER)), ..update(1, StoredData::empty()) };
    assert_eq!(store.apply(Write::Update(extend)).await.unwrap(), Outcome::Applied);
    assert_eq!(database.value("SELECT expires_at AS v FROM sessions"), "'2030-01-02 05:00:00.500000'");
}

#[tokio::test]
async fn a_rotation_to_a_taken_id_changes_nothing() {
    let (database, store) = Database::with_store(SqliteStore::options()).await;
    let rows = [record(1, Some("ada"), "{}"), record(2, Some("bob"), "{}")];
    for row in &rows {
        store.apply(Write::Insert(row.clone())).await.unwrap();
    }
    let rotation = Rotation {
        id: id(1),
        expected: StoredData::empty(),
        record: record(2, Some("ada"), "{}"),
        now: time(NOW).into(),
    };
    assert_eq!(store.apply(Write::Rotate(rotation)).await.unwrap(), Outcome::Unmatched);
    assert_eq!(store.load(id(1)).await.unwrap().as_ref(), Some(&rows[0]));
    assert_eq!(store.load(id(2)).await.unwrap().as_ref(), Some(&rows[1]));
    assert_eq!(database.value("SELECT count(*) AS v FROM sessions"), "2");
}
