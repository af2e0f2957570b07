//! What stands in the rows: ours as Python's driver writes them, others' whatever it is, and tables that
//! somebody else made.

use std::sync::Arc;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use sessile::record::{Columns, SessionRecord, StoredData};
use sessile::store::{
    Expiry, ListQuery, MySqlStore, Outcome, PurgeLimits, SessionStore, StoreError, Update, Write,
};

use crate::mysql_server::{Database, SQLALCHEMY, server};
use crate::support::{LATER, NOW, change, everything, id, insert, record, rotate, time, touch, update, user};

/// A table that SQLAlchemy made, in a database of this character set.
async fn of_sqlalchemy(characters: &str) -> (Database, MySqlStore) {
    let database = Database::on(server(), characters).await;
    database.sql(SQLALCHEMY).await;
    let store = MySqlStore::connect(&database.url()).await.unwrap();
    store.check().await.unwrap();
    (database, store)
}

#[tokio::test]
async fn rows_are_what_python_writes() {
    let row = "SELECT CONCAT_WS('|', id, user_id, data, created_at, expires_at, updated_at) FROM sessions";
    let database = Database::new().await;
    let store = database.store(MySqlStore::options()).await;
    store.apply(Write::Insert(record(1, Some("42"), "{}"))).await.unwrap();
    let key = id(1);
    assert_eq!(
        database.value(row).await,
        format!(
            "{key}|42|{{}}|2030-01-02 03:04:05.000000|2030-01-02 04:00:00.000000|2030-01-02 03:04:05.000000"
        )
    );
    let (database, store) = of_sqlalchemy("utf8mb4").await;
    store.apply(Write::Insert(record(1, Some("42"), "{}"))).await.unwrap();
    assert_eq!(
        database.value(row).await,
        format!("{key}|42|{{}}|2030-01-02 03:04:05|2030-01-02 04:00:00|2030-01-02 03:04:05")
    );
}

/// Law 2: rounded up, an expiry would come back to life.
#[tokio::test]
async fn fractions_that_the_table_does_not_keep_are_cut() {
    let (database, store) = of_sqlalchemy("utf8mb4").await;
    let late = "2030-01-02 04:00:00.999999";
    let row = SessionRecord::from_columns(Columns {
        id: id(1),
        user_id: None,
        data: StoredData::empty(),
        created_at: Some(time("2030-01-02 03:04:05.999999")),
        expires_at: time(late),
        updated_at: Some(time("2030-01-02 03:04:05.500000")),
    });
    store.apply(Write::Insert(row.clone())).await.unwrap();
    let times = "SELECT CONCAT_WS('|', created_at, expires_at, updated_at) FROM sessions";
    assert_eq!(database.value(times).await, "2030-01-02 03:04:05|2030-01-02 04:00:00|2030-01-02 03:04:05");
    // There already, as far as the table can say.
    assert_eq!(store.apply(touch(1, late, NOW)).await.unwrap(), Outcome::Unmatched);
    for expires_at in [Expiry::Extend(time(late)), Expiry::Set(time(late))] {
        let now = time("2030-01-02 03:59:59.999999").into();
        let write =
            Write::Update(Update { expires_at, now, ..change(1, StoredData::Text("{}".into()), "{}") });
        assert_eq!(store.apply(write).await.unwrap(), Outcome::Applied);
        assert_eq!(
            database.value(times).await,
            "2030-01-02 03:04:05|2030-01-02 04:00:00|2030-01-02 03:59:59"
        );
    }
    // Within the second that was cut off, the session is over for everybody.
    let after = Update {
        now: time("2030-01-02 04:00:00.000001").into(),
        ..change(1, StoredData::Text("{}".into()), "[]")
    };
    assert_eq!(store.apply(Write::Update(after)).await.unwrap(), Outcome::Unmatched);
    let early = time("2030-01-02 03:59:59.999999");
    assert!(store.purge(early, PurgeLimits::default()).await.unwrap().removed.is_empty());
    assert!(store.purge(time(LATER), PurgeLimits::default()).await.unwrap().ids().eq([id(1)]));
    // Another program may make the column finer; the store learns it when it looks again.
    database.sql("ALTER TABLE sessions MODIFY expires_at DATETIME(6) NOT NULL").await;
    store.check().await.unwrap();
    store.apply(Write::Insert(row)).await.unwrap();
    assert_eq!(store.load(id(1)).await.unwrap().unwrap().expires_at(), time(late));
}

/// The collation takes them for one another; the store does not.
#[tokio::test]
async fn ids_and_users_match_exactly_on_any_collation() {
    for characters in ["utf8mb4", "latin1"] {
        let (database, store) = of_sqlalchemy(characters).await;
        let upper = id(1).to_string().to_uppercase();
        let put = format!(
            "INSERT INTO sessions (id, user_id, data, expires_at) VALUES ('{upper}', 'Ada', '{{}}', '{LATER}')"
        );
        database.sql(&put).await;
        assert!(store.load(id(1)).await.unwrap().is_none());
        assert!(store.load_many(&[id(2), id(1)]).await.into_iter().all(|row| row.unwrap().is_none()));
        let writes = [
            update(1, "{}", "[]"),
            touch(1, "2030-01-03 00:00:00", NOW),
            rotate(1, "{}", record(2, None, "{}")),
            Write::Delete(id(1)),
        ];
        for write in writes.clone() {
            assert_eq!(store.apply(write).await.unwrap(), Outcome::Unmatched);
        }
        for outcome in store.apply_many(writes.to_vec()).await {
            assert_eq!(outcome.unwrap(), Outcome::Unmatched);
        }
        assert_eq!(store.delete_user(&user("ada"), None).await.unwrap(), []);
        store.apply(Write::Insert(record(3, Some("ada"), "{\"a\": 1}"))).await.unwrap();
        assert_eq!(store.apply(update(3, "{\"A\": 1}", "[]")).await.unwrap(), Outcome::Unmatched);
        assert_eq!(store.apply(update(3, "{\"a\": 1} ", "[]")).await.unwrap(), Outcome::Unmatched);
        let of_ada = ListQuery { user: Some(user("ada")), ..everything(10) };
        assert_eq!(store.list(&of_ada).await.unwrap().records.len(), 1);
        assert_eq!(store.delete_user(&user("ada"), None).await.unwrap(), [id(3)]);
        assert_eq!(database.value("SELECT user_id FROM sessions").await, "Ada");
    }
}

/// What the table's character set lacks is refused, never replaced.
#[tokio::test]
async fn a_latin1_table_takes_what_it_can_hold() {
    let (database, store) = of_sqlalchemy("latin1").await;
    let outcomes = store
        .apply_many(vec![
            Write::Insert(record(1, Some("é"), "{\"a\": \"é\"}")),
            Write::Insert(record(2, None, "{\"secret\": \"日本\"}")),
            insert(3),
        ])
        .await;
    let error = outcomes[1].as_ref().unwrap_err();
    let StoreError::Backend { source, .. } = error else { panic!("{error}") };
    assert!(source.to_string().contains("Incorrect string value"), "{source}");
    assert!(!format!("{error:?} {source}").contains("\\x"), "{error:?}");
    assert!([0, 2].iter().all(|&at| matches!(outcomes[at], Ok(Outcome::Applied))), "{outcomes:?}");
    assert_eq!(store.load(id(1)).await.unwrap(), Some(record(1, Some("é"), "{\"a\": \"é\"}")));
    assert_eq!(store.apply(update(1, "{\"a\": \"é\"}", "{}")).await.unwrap(), Outcome::Applied);
    assert_eq!(store.delete_user(&user("é"), None).await.unwrap(), [id(1)]);
    assert_eq!(database.value("SELECT CAST(COUNT(*) AS CHAR) FROM sessions").await, "1");
}

/// Never cut: what is no JSON any more would be an empty session. [S22]
#[tokio::test]
async fn data_that_does_not_fit_is_an_error_with_its_remedy() {
    let (_database, store) = of_sqlalchemy("utf8mb4").await;
    store.apply(insert(1)).await.unwrap();
    let large = format!("{{\"secret\": \"{}\"}}", "x".repeat(70_000));
    let writes = vec![update(1, "{}", &large), insert(2), Write::Insert(record(3, None, &large))];
    let outcomes = store.apply_many(writes.clone()).await;
    for at in [0, 2] {
        for error in [outcomes[at].as_ref().unwrap_err(), &store.apply(writes[at].clone()).await.unwrap_err()]
        {
            let StoreError::Schema { problem, remedy } = error else { panic!("{error}") };
            assert!(problem.contains("too small") && remedy.contains("MODIFY data MEDIUMTEXT"), "{error}");
        }
    }
    assert_eq!(outcomes[1].as_ref().unwrap(), &Outcome::Applied);
    assert_eq!(store.load(id(1)).await.unwrap(), Some(record(1, None, "{}")));
    assert_eq!(store.load(id(3)).await.unwrap(), None);
}

/// Every kind of broken row, one by one and among good ones. [R08]
#[tokio::test]
async fn a_broken_row_is_named_and_passed_by() {
    let database = Database::new().await;
    let store = database.store(MySqlStore::options()).await;
    let mut sql = database.connection().await;
    sql.query_drop("SET sql_mode = 'ALLOW_INVALID_DATES'").await.unwrap();
    let broken = [
        ("expires_at", "0000-00-00 00:00:00"),
        ("created_at", "2030-00-00 00:00:00"),
        ("updated_at", "2030-02-31 00:00:00"),
    ];
    for (number, (column, value)) in (1..).zip(broken) {
        store.apply(Write::Insert(record(number, None, "{\"secret\": 1}"))).await.unwrap();
        let put = format!("UPDATE sessions SET {column} = '{value}' WHERE id = '{}'", id(number));
        sql.query_drop(put).await.unwrap();
        let Err(StoreError::Malformed(row)) = store.load(id(number)).await else {
            panic!("{column} = {value} was read");
        };
        assert_eq!(row.id, id(number).to_string());
        assert_eq!(row.problem, format!("{column} is no time: expected one in the years 1 to 9999"));
    }
    sql.query_drop(
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
        let mut query = everything(limit);
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
    // The one that expired in the year 0 is not ours to judge, and is over for everybody.
    assert!(batch.ids().eq([id(1)]));
    assert_eq!((batch.removed_foreign, batch.more), (2, false));
    assert_eq!(store.stats(time(NOW)).await.unwrap().live, 4);
}

/// Whatever time zone the server is set to.
#[tokio::test]
async fn times_with_a_zone_are_read_and_written_too() {
    let database = Database::new().await;
    database
        .sql(
            "CREATE TABLE sessions (id char(36) PRIMARY KEY, user_id varchar(36), data longtext, \
             created_at timestamp NULL, expires_at timestamp NOT NULL, updated_at timestamp NULL)",
        )
        .await;
    let store = MySqlStore::connect(&database.url()).await.unwrap();
    store.check().await.unwrap();
    store.apply(insert(1)).await.unwrap();
    assert_eq!(store.load(id(1)).await.unwrap(), Some(record(1, None, "{}")));
    let mut python = database.connection().await;
    python.query_drop("SET time_zone = '+09:00'").await.unwrap();
    let seen: String =
        python.query_first("SELECT CAST(expires_at AS CHAR) FROM sessions").await.unwrap().unwrap();
    assert_eq!(seen, "2030-01-02 13:00:00");
}

/// No text can hold it, so it is refused before it is sent, and takes nobody with it.
#[tokio::test]
async fn what_no_text_holds_is_refused_alone() {
    let database = Database::new().await;
    let store = database.store(MySqlStore::options()).await;
    let bytes: Arc<[u8]> = b"{}"[..].into();
    let with_bytes = SessionRecord::from_columns(Columns {
        id: id(4),
        user_id: None,
        data: StoredData::Bytes(Arc::clone(&bytes)),
        created_at: None,
        expires_at: time(LATER),
        updated_at: None,
    });
    let compared =
        Update { expected: StoredData::Bytes(bytes), ..change(1, StoredData::Text("".into()), "{}") };
    let outcomes = store
        .apply_many(vec![
            insert(1),
            Write::Insert(record(2, None, "{\"nul\": \"\0\"}")),
            Write::Insert(with_bytes),
            Write::Update(compared),
        ])
        .await;
    assert!(matches!(
        outcomes[..],
        [Ok(Outcome::Applied), Ok(Outcome::Applied), Err(StoreError::Backend { .. }), Ok(Outcome::Unmatched)]
    ));
    assert_eq!(store.load(id(2)).await.unwrap(), Some(record(2, None, "{\"nul\": \"\0\"}")));
}

/// The server's own words may hold a piece of the row, which is nobody's business. [S14]
#[tokio::test]
async fn an_error_does_not_show_the_row() {
    let database = Database::new().await;
    let store = database.store(MySqlStore::options()).await;
    database.sql("ALTER TABLE sessions ADD CHECK (user_id <> 'eve')").await;
    let refused = Write::Insert(record(1, Some("eve"), "{\"secret\": 1}"));
    let outcomes = store.apply_many(vec![refused, insert(2)]).await;
    let error = outcomes[0].as_ref().unwrap_err();
    let StoreError::Backend { source, .. } = error else { panic!("{error}") };
    assert!(!format!("{error} {error:?} {source} {source:?}").contains("secret"));
    assert_eq!(outcomes[1].as_ref().unwrap(), &Outcome::Applied);
}

/// A session as large as the server takes; a larger one is an error, and the store works on. [S22]
#[tokio::test]
async fn a_packet_that_is_too_large_is_an_error() {
    let database = Database::new().await;
    let store = database.store(MySqlStore::options().timeout(Duration::from_secs(30))).await;
    let data = |megabytes: usize| format!("{{\"a\": \"{}\"}}", "x".repeat(megabytes << 20));
    store.apply(Write::Insert(record(1, None, &data(7)))).await.unwrap();
    let Write::Update(change) = update(1, &data(7), &data(7)) else { panic!() };
    assert_eq!(store.apply(Write::Update(change)).await.unwrap(), Outcome::Applied);
    let outcomes =
        store.apply_many(vec![insert(2), Write::Insert(record(3, None, &data(40))), insert(4)]).await;
    let StoreError::Backend { source, .. } = outcomes[1].as_ref().unwrap_err() else {
        panic!("{outcomes:?}")
    };
    assert!(source.to_string().contains("max_allowed_packet"), "{source}");
    for number in [2, 4] {
        assert!(store.load(id(number)).await.unwrap().is_some(), "{outcomes:?}");
    }
    assert_eq!(store.load(id(1)).await.unwrap().unwrap().stored_data().len(), data(7).len());
}
