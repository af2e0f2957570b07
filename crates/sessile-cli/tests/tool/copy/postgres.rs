//! From a file to a server and back: the same rows.

use super::{Pair, WILD, assert_counts};

struct Table {
    name: String,
    url: String,
}

impl Table {
    /// A table of its own in the server that the tests share.
    fn new() -> Table {
        let server = std::env::var("SESSILE_TEST_POSTGRES")
            .expect("SESSILE_TEST_POSTGRES is not set: run the tests with `cargo xtask test`");
        let nanos = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos();
        let name = format!("copy_{}_{nanos}", std::process::id());
        let url = format!("{server}?table={name}");
        Table { name, url }
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        let server = self.url.split('?').next().unwrap_or_default().to_owned();
        let drop = format!("DROP TABLE IF EXISTS {}", self.name);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(&server, tokio_postgres::NoTls).await.unwrap();
            let connection = tokio::spawn(connection);
            client.batch_execute(&drop).await.unwrap();
            connection.abort();
        });
    }
}

#[test]
fn there_and_back() {
    let (pair, table) = (Pair::new(), Table::new());
    pair.place.sql(WILD);
    let from = pair.place.store();
    let there = |more: &[&str]| {
        pair.place.run([&["copy", "--from", &from, "--to", &table.url, "--json"], more].concat())
    };
    let ran = there(&[]);
    assert!(!format!("{ran:?}").contains(&password(&table.url)), "the password is shown");
    assert_counts(&ran.json(), &[("read", 5), ("copied", 5)]);
    assert_counts(&there(&[]).json(), &[("read", 5), ("present", 5)]);
    // Changed and ended at the source since: what the second run is for.
    pair.place.sql("DELETE FROM sessions WHERE user_id = 'bob'");
    pair.place.sql("UPDATE sessions SET user_id = 'eve', data = '{\"late\": true}', updated_at = '2026-02-01 00:00:00.000000' WHERE user_id = 'ada'");
    assert_counts(&there(&[]).json(), &[("read", 4), ("copied", 1), ("present", 3), ("ended_here", 1)]);
    let back =
        pair.place.run(["copy", "--from", &table.url, "--to", &pair.target(), "--journal", "back", "--json"]);
    assert_counts(&back.json(), &[("read", 4), ("copied", 4)]);
    let live: Vec<_> = pair.rows().into_iter().take(4).collect();
    assert_eq!(pair.target_rows(), live);
    for file in ["sessile-copy.journal", "back"] {
        let journal = std::fs::read_to_string(pair.place.file().with_file_name(file)).unwrap();
        assert!(!journal.contains(&password(&table.url)), "the password is in the journal");
    }
}

/// PostgreSQL holds no NUL character: that session stays, and is named.
#[test]
fn what_the_server_cannot_hold_is_named() {
    let (pair, table) = (Pair::new(), Table::new());
    pair.place.sql(WILD);
    pair.place.sql("UPDATE sessions SET data = '{\"a\": 1}' || char(0) WHERE user_id = 'ada'");
    let from = pair.place.store();
    let ran = pair.place.run(["copy", "--from", &from, "--to", &table.url, "--json"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("session 00000000-0000-4000-8000-000000000001 was not copied: "), "{ran:?}");
    assert_counts(&serde_json::from_str(&ran.out).unwrap(), &[("read", 5), ("copied", 4), ("failed", 1)]);
}

fn password(url: &str) -> String {
    let credentials = url.split('@').next().unwrap();
    credentials.rsplit(':').next().unwrap().to_owned()
}
