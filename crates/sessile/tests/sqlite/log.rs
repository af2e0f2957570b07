//! The write-ahead log: moved into the file beside the writer, and never long.

use std::process::Command;

use sessile::store::{PurgeLimits, SessionStore, SqliteStore, Write};

use crate::support::{Database, NOW, id, record, time};

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
