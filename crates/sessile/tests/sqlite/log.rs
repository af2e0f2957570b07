//! The write-ahead log: moved into the file beside the writer, and bounded.

use std::process::Command;

use sessile::record::{SystemClock, UserId};
use sessile::store::sqlite::Synchronous;
use sessile::store::{
    Expiry, NewData, Outcome, PurgeLimits, SessionStore, SqliteStore, StoreError, Touch, Update, Verdict,
    Write,
};

use crate::support::{Database, NOW, SqlLog, id, record, time};

/// Data of 60 KB.
fn large() -> String {
    format!("{{\"a\": \"{}\"}}", "x".repeat(60_000))
}

fn log_bytes(database: &Database) -> u64 {
    database.path.with_extension("db-wal").metadata().unwrap().len()
}

/// Sessions of 1 KiB, many at once.
async fn insert_many(store: &SqliteStore, numbers: std::ops::Range<u32>) {
    let data = format!("{{\"cart\": \"{}\"}}", "x".repeat(1_000));
    let writes = numbers.map(|number| Write::Insert(record(number, None, &data)));
    for answer in store.apply_many(writes.collect()).await {
        answer.unwrap();
    }
}

/// Pages in the log, and those of them that are in the file by now, from the places that SQLite's description of the
/// index of the log gives. Read by another process: where this one closes the file, its locks on it are gone.
fn pages(database: &Database) -> (u32, u32) {
    let index = database.path.with_extension("db-shm");
    let read = Command::new("od").args(["-v", "-An", "-tu4", "-N100"]).arg(index).output().unwrap();
    let words = String::from_utf8(read.stdout).unwrap();
    let words: Vec<u32> = words.split_whitespace().map(|word| word.parse().unwrap()).collect();
    (words[4], words[24])
}

/// Several times as many pages as it may have go through it.
#[tokio::test]
async fn it_begins_anew_before_it_is_long() {
    let (database, store) = Database::with_store(SqliteStore::options()).await;
    let mut longest = 0;
    for round in 0..150 {
        insert_many(&store, round * 200..(round + 1) * 200).await;
        longest = longest.max(pages(&database).0);
    }
    assert!((1_000..12_288).contains(&longest), "{longest} pages of 4 KiB");
}

/// [R10] A purge leaves no heap of pages behind, for whose way to the disk writers would have to wait.
#[tokio::test]
async fn a_purge_moves_what_it_leaves_there() {
    let (database, store) = Database::with_store(SqliteStore::options()).await;
    for round in 0..20 {
        insert_many(&store, round * 200..(round + 1) * 200).await;
    }
    let (mut removed, mut most_left) = (0, 0);
    loop {
        let batch = store.purge(time("2031-01-01 00:00:00"), PurgeLimits::default()).await.unwrap();
        let (pages, moved) = pages(&database);
        most_left = most_left.max(pages - moved);
        removed += batch.removed.len();
        if !batch.more {
            break;
        }
    }
    assert_eq!(removed, 4_000);
    assert!(most_left < 256, "{most_left} pages are not in the file yet");
    store.apply(Write::Insert(record(1, None, "{}"))).await.unwrap();
    assert!(store.load(id(1)).await.unwrap().unwrap().is_live(time(NOW)));
}

/// [R20] Nothing reads, so that nothing but the speed of the checkpoints could let the log grow: and that must not.
#[tokio::test]
async fn the_log_stays_bounded() {
    let (database, store) =
        Database::with_store(SqliteStore::options().synchronous(Synchronous::Normal)).await;
    let mut longest = 0;
    for number in 0..1_500 {
        store.apply(Write::Insert(record(number, None, &large()))).await.unwrap();
        store.apply(Write::Delete(id(number))).await.unwrap();
        longest = longest.max(log_bytes(&database));
    }
    assert!(longest < 41 << 20, "{longest} bytes, of {} that were written", 1_500 * large().len());
}

/// [R20] A reader that holds the log is another matter: the log grows to its limit, then only endings are written.
#[tokio::test]
async fn a_reader_that_holds_the_log_stops_writes_at_the_limit() {
    let options = SqliteStore::options().synchronous(Synchronous::Normal).max_log_bytes(60 << 20);
    let (database, store) = Database::with_store(options).await;
    let reader = database.sql();
    reader.execute_batch("BEGIN; SELECT count(*) FROM sessions").unwrap();
    let mut number = 0;
    let error = loop {
        match store.apply(Write::Insert(record(number, Some("ada"), &large()))).await {
            Ok(outcome) => assert_eq!(outcome, Outcome::Applied),
            Err(error) => break error,
        }
        number += 1;
        assert!(log_bytes(&database) < 61 << 20);
    };
    assert!(matches!(error, StoreError::Full { .. }), "{error}");
    assert!(error.to_string().contains("has reached max_log_bytes, because a reader stays"), "{error}");
    assert!(log_bytes(&database) > 59 << 20);

    let touch = Touch { id: id(1), expires_at: time("2031-02-01 00:00:00"), now: time(NOW).into() };
    let writes = vec![Write::Touch(touch), Write::Delete(id(0))];
    let outcomes = store.apply_many(writes).await;
    assert!(matches!(outcomes[..], [Err(StoreError::Full { .. }), Ok(Outcome::Applied)]), "{outcomes:?}");
    let purge = store.purge(time(NOW), PurgeLimits::default()).await;
    assert!(matches!(purge, Err(StoreError::Full { .. })), "{purge:?}");
    assert!(store.load(id(1)).await.unwrap().is_some());
    let findings = store.examine(&SystemClock).await.unwrap();
    let log = findings.iter().find(|finding| finding.subject == "log").unwrap();
    assert!(
        log.verdict == Verdict::Note && log.meaning.contains("A reader stays in one transaction"),
        "{log:?}"
    );
    let ada = UserId::new("ada").unwrap();
    assert_eq!(store.delete_user(&ada, Some(id(1))).await.unwrap().len(), number as usize - 2);

    reader.execute_batch("COMMIT").unwrap();
    assert_eq!(store.apply(Write::Insert(record(number, None, "{}"))).await.unwrap(), Outcome::Applied);
    store.purge(time(NOW), PurgeLimits::default()).await.unwrap();
    assert!(log_bytes(&database) < 43 << 20, "the file is cut when the log begins anew");
}

/// [R20] A log that a reader holds is reported while there is time: with the database, its length and the limit, and
/// again only when it has doubled. Once it is moved, a log that is held anew is reported anew.
#[tokio::test]
async fn a_log_that_a_reader_holds_is_reported() {
    let (database, store) =
        Database::with_store(SqliteStore::options().synchronous(Synchronous::Normal)).await;
    let log = SqlLog::of(&database.path);
    // Frames of 4 KiB and their headers.
    let grows_to = async |bytes: u64| {
        while log_bytes(&database) < bytes {
            store.apply(Write::Insert(record(1, None, &large()))).await.unwrap();
            store.apply(Write::Delete(id(1))).await.unwrap();
        }
    };
    for _ in 0..2 {
        let reader = database.sql();
        reader.execute_batch("BEGIN; SELECT count(*) FROM sessions").unwrap();
        grows_to(45 << 20).await;
        assert!(log.warnings().is_empty(), "the bound is 40 MiB, and a quarter more may be a moment's");
        grows_to(60 << 20).await;
        let [warning] = &log.warnings()[..] else { panic!("one warning") };
        assert!(warning.message.contains("a reader stays in one transaction and holds it"), "{warning:?}");
        assert!((12_800..15_400).contains(&warning.numbers["pages"]), "{warning:?}");
        assert_eq!(warning.numbers["limit"], 262_144, "1 GiB: {warning:?}");
        grows_to(120 << 20).await;
        let [again] = &log.warnings()[..] else { panic!("one warning for each doubling") };
        assert!(again.numbers["pages"] >= 2 * warning.numbers["pages"], "{again:?}");
        reader.execute_batch("COMMIT").unwrap();
        // The file is cut when the log begins anew.
        let mut writes = 0;
        while log_bytes(&database) > 43 << 20 {
            store.apply(Write::Insert(record(2, None, &large()))).await.unwrap();
            store.apply(Write::Delete(id(2))).await.unwrap();
            writes += 1;
            assert!(writes < 10_000, "the log is not moved");
        }
    }
}

/// A renewal that compares the data (of a remembered session) does not write it again.
#[tokio::test]
async fn a_renewal_writes_no_data() {
    let (database, store) = Database::with_store(SqliteStore::options()).await;
    let row = record(1, Some("ada"), &large());
    store.apply(Write::Insert(row.clone())).await.unwrap();
    let written = pages(&database).0;
    assert!(written >= 15);
    let mut expires_at = time("2031-02-01 00:00:00");
    let update = |data, expires_at, user_id| {
        let (expected, now) = (row.stored_data().clone(), time(NOW).into());
        Write::Update(Update {
            id: id(1),
            expected,
            data,
            user_id,
            expires_at: Expiry::Extend(expires_at),
            now,
        })
    };
    for data in [NewData::Keep, NewData::from(&*large())] {
        let before = pages(&database).0;
        expires_at = expires_at.saturating_add(std::time::Duration::from_secs(60));
        let renewal = update(data.clone(), expires_at, None);
        assert_eq!(store.apply(renewal).await.unwrap(), Outcome::Applied);
        let written = pages(&database).0 - before;
        assert!(written <= 4, "{written} pages for {data:.20?}");
    }
    // Compared, and not found: another request has changed it.
    store.apply(update(NewData::from("{}"), expires_at, None)).await.unwrap();
    assert_eq!(store.apply(update(NewData::Keep, expires_at, None)).await.unwrap(), Outcome::Unmatched);
}
