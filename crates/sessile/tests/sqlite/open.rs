//! Opening, making the table, and what is said when that does not work.

use std::error::Error;

use sessile::record::{SessionId, SystemClock};
use sessile::store::sqlite::Synchronous;
use sessile::store::{ListQuery, Liveness, Outcome, SessionStore, SqliteStore, StoreError, Verdict, Write};

use crate::support::{Database, NOW, id, record, time};

/// What a person sees: the error and its causes.
fn said(error: &dyn Error) -> String {
    let cause = error.source().map(|cause| format!(": {}", said(cause)));
    format!("{error}{}", cause.unwrap_or_default())
}

async fn refused(path: impl AsRef<std::path::Path>) -> String {
    said(&SqliteStore::open(path).await.unwrap_err())
}

#[tokio::test]
async fn opening_makes_the_file_and_init_the_table() {
    let database = Database::new();
    let store = SqliteStore::open(&database.path).await.unwrap();
    assert_eq!(database.value("SELECT count(*) AS v FROM sqlite_schema"), "0");

    let path = database.path.display();
    let missing = format!(
        "no table \"sessions\" in {path} (run `sessile init --store sqlite:{path}`, or call `init()`)"
    );
    assert_eq!(said(&store.check().await.unwrap_err()), missing);
    assert_eq!(said(&store.load(id(1)).await.unwrap_err()), missing);
    assert_eq!(said(&store.apply(Write::Delete(id(1))).await.unwrap_err()), missing);
    assert!(matches!(store.stats(time(NOW)).await, Err(StoreError::Schema { .. })));
    for loaded in store.load_many(&[id(1), id(2)]).await {
        assert_eq!(said(&loaded.unwrap_err()), missing);
    }

    store.init().await.unwrap();
    store.check().await.unwrap();
    store.init().await.unwrap();
    assert_eq!(store.load(id(1)).await.unwrap(), None);
}

/// A mistyped path makes no empty database.
#[tokio::test]
async fn without_create_a_missing_file_is_said_and_not_made() {
    let database = Database::new();
    let options = || SqliteStore::options().create(false);
    let path = database.path.display();
    assert_eq!(
        said(&options().open(&database.path).await.unwrap_err()),
        format!(
            "no database file {path} (run `sessile init --store sqlite:{path}` to make one, or name \
             another store)"
        )
    );
    assert!(!database.path.exists());
    SqliteStore::open(&database.path).await.unwrap().init().await.unwrap();
    options().open(&database.path).await.unwrap().check().await.unwrap();
    assert_eq!(SqliteStore::options().schema(), SqliteStore::open(&database.path).await.unwrap().schema());
}

#[tokio::test]
async fn the_schema_text_makes_what_init_makes() {
    let (by_init, store) = Database::with_store(SqliteStore::options()).await;
    let by_text = Database::new();
    by_text.sql().execute_batch(&store.schema()).unwrap();
    let all = "SELECT group_concat(sql, ';' ORDER BY name) AS v FROM sqlite_schema";
    assert_eq!(by_init.value(all), by_text.value(all));
    assert_eq!(
        by_init
            .value("SELECT group_concat(name || ' ' || type, ', ') AS v FROM pragma_table_info('sessions')"),
        "'id VARCHAR(36), user_id VARCHAR(255), data TEXT, created_at DATETIME, expires_at DATETIME, \
         updated_at DATETIME'"
    );
}

#[tokio::test]
async fn a_table_made_by_sqlalchemy_works() {
    let database = Database::new();
    let table = "CREATE TABLE sessions (\n\tid VARCHAR(36) NOT NULL, \n\tuser_id VARCHAR(36), \n\tdata TEXT, \
        \n\tcreated_at DATETIME, \n\texpires_at DATETIME NOT NULL, \n\tupdated_at DATETIME, \n\tPRIMARY KEY (id)\n)";
    database.sql().execute_batch(table).unwrap();
    let store = SqliteStore::open(&database.path).await.unwrap();
    store.check().await.unwrap();
    assert_eq!(store.apply(Write::Insert(record(1, None, "{}"))).await.unwrap(), Outcome::Applied);
    assert_eq!(store.load(id(1)).await.unwrap(), Some(record(1, None, "{}")));
    assert_eq!(database.value("SELECT count(*) AS v FROM sqlite_schema WHERE sql LIKE 'CREATE INDEX%'"), "0");
}

#[tokio::test]
async fn a_table_of_another_kind_is_refused() {
    let database = Database::new();
    database.sql().execute_batch("CREATE TABLE sessions (id TEXT PRIMARY KEY, expires_at TEXT)").unwrap();
    let store = SqliteStore::open(&database.path).await.unwrap();
    let path = database.path.display();
    let missing = format!(
        "no column \"user_id\" in the table \"sessions\" in {path} (add it, or name another table: the \
         columns are id, user_id, data, created_at, expires_at and updated_at)"
    );
    assert_eq!(said(&store.check().await.unwrap_err()), missing);
    assert_eq!(said(&store.load(id(1)).await.unwrap_err()), missing);
    let insert = store.apply(Write::Insert(record(1, None, "{}"))).await.unwrap_err();
    assert_eq!(said(&insert), missing);
    assert!(matches!(store.init().await, Err(StoreError::Schema { .. })));

    let database = Database::new();
    let keyless = "CREATE TABLE sessions (id, user_id, data, created_at, expires_at, updated_at)";
    database.sql().execute_batch(keyless).unwrap();
    let store = SqliteStore::open(&database.path).await.unwrap();
    let error = said(&store.check().await.unwrap_err());
    assert!(error.contains("is neither primary key nor unique (make a unique index on it)"), "{error}");
}

#[tokio::test]
async fn what_cannot_be_opened_says_why() {
    let database = Database::new();
    let directory = database.path.parent().unwrap();

    let error = refused(directory).await;
    assert!(error.contains("it is a directory, and a file is needed"), "{error}");
    assert!(error.contains(&directory.display().to_string()), "{error}");

    let error = refused(directory.join("no/x.db")).await;
    let expected = format!("there is no directory \"{}\", make it first", directory.join("no").display());
    assert!(error.contains(&expected), "{error}");

    assert!(refused("").await.contains("the path is empty"));

    std::fs::write(&database.path, "this is a letter, and not at all a database ".repeat(100)).unwrap();
    let error = refused(&database.path).await;
    let expected = format!("{} is not a SQLite database", database.path.display());
    assert!(error.contains(&expected), "{error}");
}

/// Nobody can make files there, not even root.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_place_without_the_right_to_write_is_named() {
    let error = refused("/proc/sessile.db").await;
    let expected = "/proc/sessile.db cannot be opened, look at the rights on it and its directory";
    assert!(error.contains(expected), "{error}");
}

#[tokio::test]
async fn any_name_can_be_the_tables() {
    for name in ["web sessions", "a.b", "we\"ird", "it's", "select", "@table @index @column", "ß", "x;--"] {
        let (database, store) = Database::with_store(SqliteStore::options().table(name)).await;
        store.check().await.unwrap();
        let insert = Write::Insert(record(1, Some("ada"), "{}"));
        assert_eq!(store.apply(insert).await.unwrap(), Outcome::Applied, "{name}");
        assert_eq!(store.load(id(1)).await.unwrap(), Some(record(1, Some("ada"), "{}")), "{name}");
        let query = ListQuery { user: None, liveness: Liveness::Live, now: time(NOW), after: None, limit: 9 };
        assert_eq!(store.list(&query).await.unwrap().records.len(), 1, "{name}");
        let tables = "SELECT count(*) AS v FROM sqlite_schema WHERE tbl_name";
        assert_eq!(database.value(&format!("{tables} = '{}'", name.replace('\'', "''"))), "4", "{name}");
    }
    for name in ["", "a\0b"] {
        let error = SqliteStore::options().table(name).open_in_memory().await.unwrap_err();
        assert!(said(&error).contains("cannot be the name of a table (give one"), "{error}");
    }
}

#[tokio::test]
async fn the_remedy_can_be_pasted_into_a_shell() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("it's.db");
    let store = SqliteStore::options().table("a b").open(&path).await.unwrap();
    let error = store.check().await.unwrap_err().to_string();
    let shown = path.display().to_string().replace('\'', r"'\''");
    assert!(error.contains(&format!("--store 'sqlite:{shown}?table=a b'`")), "{error}");
}

#[tokio::test]
async fn rows_survive_and_the_log_is_tidied_away() {
    let (database, store) = Database::with_store(SqliteStore::options()).await;
    store.apply(Write::Insert(record(1, None, "{}"))).await.unwrap();
    assert_eq!(database.value("SELECT journal_mode AS v FROM pragma_journal_mode"), "'wal'");
    drop(store);
    assert!(!database.path.with_extension("db-wal").exists());
    let store = SqliteStore::open(&database.path).await.unwrap();
    assert_eq!(store.load(id(1)).await.unwrap(), Some(record(1, None, "{}")));
}

#[tokio::test]
async fn two_stores_in_memory_are_two() {
    let first = SqliteStore::open(":memory:").await.unwrap();
    let second = SqliteStore::options().open_in_memory().await.unwrap();
    first.init().await.unwrap();
    assert!(matches!(second.check().await, Err(StoreError::Schema { .. })));
    first.apply(Write::Insert(record(1, None, "{}"))).await.unwrap();
    assert!(first.load(id(1)).await.unwrap().is_some());
}

#[tokio::test]
async fn a_database_in_utf_16_works() {
    let database = Database::new();
    database.sql().execute_batch("PRAGMA encoding = 'UTF-16'; CREATE TABLE other (x)").unwrap();
    let store = SqliteStore::open(&database.path).await.unwrap();
    store.init().await.unwrap();
    let row = record(1, Some("ådä"), "{\"k\": \"é\"}");
    store.apply(Write::Insert(row.clone())).await.unwrap();
    assert_eq!(store.load(id(1)).await.unwrap().as_ref(), Some(&row));
    let ids: Vec<SessionId> = store.delete_user(row.user_id().unwrap(), None).await.unwrap();
    assert_eq!(ids, [id(1)]);
}

/// [R06] The store tells what its own connections wait for.
#[tokio::test]
async fn an_examination_knows_what_a_commit_waits_for() {
    for (synchronous, verdict) in [(Synchronous::Full, Verdict::Good), (Synchronous::Normal, Verdict::Wrong)]
    {
        let (database, store) = Database::with_store(SqliteStore::options().synchronous(synchronous)).await;
        let options = SqliteStore::options().synchronous(synchronous);
        let opened = store.examine(&SystemClock).await.unwrap();
        let unopened = options.examine(&database.path, &SystemClock).await.unwrap();
        for findings in [opened, unopened] {
            let bad: Vec<_> = findings.iter().filter(|it| it.verdict != Verdict::Good).collect();
            let found = findings.iter().find(|it| it.subject == "synchronous").unwrap();
            assert_eq!(
                (found.verdict, bad.len()),
                (verdict, usize::from(verdict != Verdict::Good)),
                "{bad:?}"
            );
        }
    }
    let memory = SqliteStore::options().open_in_memory().await.unwrap();
    memory.init().await.unwrap();
    let findings = memory.examine(&SystemClock).await.unwrap();
    let bad = findings.iter().filter(|it| it.verdict != Verdict::Good).map(|it| &*it.subject);
    assert_eq!(bad.collect::<Vec<_>>(), ["file"]);
}
