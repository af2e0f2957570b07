//! The file, its log or its name deleted or replaced while the store has it open.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sessile::record::UserId;
use sessile::store::sqlite::SqliteOptions;
use sessile::store::{
    ListQuery, Liveness, Outcome, PurgeLimits, SessionStore, SqliteStore, StoreError, Write,
};

use crate::support::{Database, NOW, id, record, time};

/// Until the condition holds, which no deadline bounds but the test runner's.
async fn until(mut condition: impl AsyncFnMut() -> bool) {
    while !condition().await {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn insert(number: u32) -> Write {
    Write::Insert(record(number, Some("ada"), "{}"))
}

fn with(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// A database with one session, and its store.
async fn with_a_row() -> (Database, SqliteStore) {
    let (database, store) = Database::with_store(SqliteStore::options()).await;
    assert_eq!(store.apply(insert(1)).await.unwrap(), Outcome::Applied);
    (database, store)
}

/// Another whole database in a file of its own, with these sessions.
async fn another(database: &Database, numbers: &[u32]) -> PathBuf {
    let path = database.path.with_file_name("other.db");
    let store = SqliteStore::open(&path).await.unwrap();
    store.init().await.unwrap();
    for &number in numbers {
        store.apply(insert(number)).await.unwrap();
    }
    drop(store);
    path
}

fn is_lost(error: &StoreError, database: &Database) {
    let said = error.to_string();
    assert!(error.is_transient(), "{said}");
    assert!(said.contains(&database.path.display().to_string()), "{said}");
}

/// [R17] No write is acknowledged and no row is read in a file that no other program sees.
#[tokio::test]
async fn a_deleted_file_is_noticed_at_every_door() {
    let (database, store) = with_a_row().await;
    std::fs::remove_file(&database.path).unwrap();
    // Writes at once.
    let error = store.apply(insert(2)).await.unwrap_err();
    is_lost(&error, &database);
    assert!(error.to_string().contains("was deleted while the service had it open"), "{error}");
    for outcome in store.apply_many(vec![insert(3), Write::Delete(id(1))]).await {
        is_lost(&outcome.unwrap_err(), &database);
    }
    let ada = UserId::new("ada").unwrap();
    is_lost(&store.delete_user(&ada, None).await.unwrap_err(), &database);
    is_lost(&store.purge(time(NOW), PurgeLimits::default()).await.unwrap_err(), &database);
    is_lost(&store.init().await.unwrap_err(), &database);
    // And reads, which know it by now.
    is_lost(&store.load(id(1)).await.unwrap_err(), &database);
    for loaded in store.load_many(&[id(1), id(2)]).await {
        is_lost(&loaded.unwrap_err(), &database);
    }
    is_lost(&store.stats(time(NOW)).await.unwrap_err(), &database);
    is_lost(&store.check().await.unwrap_err(), &database);
    for user in [None, Some(ada)] {
        let query = ListQuery { user, liveness: Liveness::Any, now: time(NOW), after: None, limit: 9 };
        is_lost(&store.list(&query).await.unwrap_err(), &database);
    }
    assert!(!database.path.exists(), "no empty database is made in its place");
}

/// [R17]
#[tokio::test]
async fn reads_notice_a_deleted_file_by_themselves() {
    let (database, store) = with_a_row().await;
    std::fs::remove_file(&database.path).unwrap();
    until(async || store.load(id(1)).await.is_err()).await;
    is_lost(&store.load(id(1)).await.unwrap_err(), &database);
}

/// [R17] [R01]
#[tokio::test]
async fn a_file_that_is_put_back_is_opened_again() {
    let (database, store) = with_a_row().await;
    let aside = database.path.with_file_name("aside.db");
    std::fs::rename(&database.path, &aside).unwrap();
    is_lost(&store.apply(insert(2)).await.unwrap_err(), &database);
    std::fs::rename(&aside, &database.path).unwrap();
    until(async || store.load(id(1)).await.is_ok_and(|row| row.is_some())).await;
    assert_eq!(store.apply(insert(2)).await.unwrap(), Outcome::Applied);
    assert_eq!(database.value("SELECT count(*) AS v FROM sessions"), "2");
}

/// [R17] [R01] Whether or not the old log is left beside it, which would be taken for the log of the new file; whether
/// the first to notice is a read or a write.
#[tokio::test]
async fn a_replaced_file_is_opened_and_written() {
    let (database, store) = with_a_row().await;
    for (leaves_log, reads) in [(true, true), (true, false), (false, true), (false, false)] {
        store.apply(insert(2)).await.unwrap();
        let other = another(&database, &[7, 8]).await;
        if !leaves_log {
            for suffix in ["-wal", "-shm"] {
                std::fs::remove_file(with(&database.path, suffix)).unwrap();
            }
        }
        std::fs::rename(other, &database.path).unwrap();
        if reads {
            until(async || store.load(id(7)).await.is_ok_and(|row| row.is_some())).await;
        }
        assert_eq!(store.apply(Write::Delete(id(8))).await.unwrap(), Outcome::Applied);
        assert!(store.load(id(7)).await.unwrap().is_some());
        assert!(store.load(id(2)).await.unwrap().is_none());
        assert_eq!(store.stats(time(NOW)).await.unwrap().live, 1);
        assert_eq!(database.value("SELECT count(*) AS v FROM sessions"), "1");
        assert_eq!(database.value("SELECT integrity_check AS v FROM pragma_integrity_check"), "'ok'");
    }
}

/// [R17] What was acknowledged stood in the log, whose name is not moved with the file's.
#[tokio::test]
async fn a_file_that_is_moved_away_has_all_that_was_acknowledged() {
    let (database, store) = with_a_row().await;
    let aside = database.path.with_file_name("aside.db");
    std::fs::rename(&database.path, &aside).unwrap();
    drop(store);
    let store = SqliteStore::open(&aside).await.unwrap();
    assert!(store.load(id(1)).await.unwrap().is_some());
}

/// A file that is being copied, or is something else, is never opened, let alone written.
#[tokio::test]
async fn what_is_no_whole_database_is_not_opened() {
    let (database, store) = with_a_row().await;
    let whole = std::fs::read(another(&database, &[7]).await).unwrap();
    let letter = b"this is a letter, and not at all a database ".repeat(100);
    for content in [&b""[..], &whole[..50], &whole[..whole.len() / 2], &letter] {
        std::fs::remove_file(&database.path).unwrap();
        std::fs::write(&database.path, content).unwrap();
        let error = store.apply(insert(2)).await.unwrap_err();
        is_lost(&error, &database);
        let said = error.to_string();
        assert!(said.contains("it is not"), "{said}");
        assert_eq!(std::fs::read(&database.path).unwrap(), content);
    }
    std::fs::write(&database.path, &whole).unwrap();
    assert_eq!(store.apply(insert(2)).await.unwrap(), Outcome::Applied);
    assert!(store.load(id(7)).await.unwrap().is_some());
}

/// What was acknowledged stood only in the log: it is not lost with the log's name.
#[tokio::test]
async fn a_deleted_log_loses_nothing() {
    for suffix in ["-wal", "-shm"] {
        let (database, store) = with_a_row().await;
        std::fs::remove_file(with(&database.path, suffix)).unwrap();
        assert_eq!(store.apply(insert(2)).await.unwrap(), Outcome::Applied, "{suffix}");
        assert_eq!(database.value("SELECT count(*) AS v FROM sessions"), "2", "{suffix}");
        assert_eq!(store.stats(time(NOW)).await.unwrap().live, 2);
        assert_eq!(database.value("SELECT integrity_check AS v FROM pragma_integrity_check"), "'ok'");
    }
}

/// The connection that is closed last deletes the log by its name, which by then is another database's.
#[tokio::test]
async fn closing_leaves_the_log_of_the_database_that_took_the_name() {
    let (database, store) = with_a_row().await;
    for suffix in ["", "-wal", "-shm"] {
        std::fs::remove_file(with(&database.path, suffix)).unwrap();
    }
    let other = database.sql();
    other.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (x); INSERT INTO t VALUES (1)").unwrap();
    let log = std::fs::metadata(with(&database.path, "-wal")).unwrap().len();
    assert!(log > 0);
    drop(store);
    assert_eq!(std::fs::metadata(with(&database.path, "-wal")).unwrap().len(), log);
    assert_eq!(other.query_row("SELECT x FROM t", (), |row| row.get::<_, i64>(0)).unwrap(), 1);
    assert_eq!(database.value("SELECT x AS v FROM t"), "1");
}

/// The path may be a link, or relative to a folder that is another one later.
#[cfg(unix)]
#[tokio::test]
async fn a_link_that_names_another_database_is_followed() {
    let (database, store) = with_a_row().await;
    drop(store);
    let link = database.path.with_file_name("link.db");
    std::os::unix::fs::symlink(&database.path, &link).unwrap();
    let store = SqliteOptions::default().open(&link).await.unwrap();
    assert!(store.load(id(1)).await.unwrap().is_some());
    assert_eq!(store.apply(insert(2)).await.unwrap(), Outcome::Applied);
    let other = another(&database, &[7]).await;
    std::fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(&other, &link).unwrap();
    assert_eq!(store.apply(insert(3)).await.unwrap(), Outcome::Applied);
    assert!(store.load(id(7)).await.unwrap().is_some());
    assert_eq!(database.value("SELECT count(*) AS v FROM sessions"), "2");
}
