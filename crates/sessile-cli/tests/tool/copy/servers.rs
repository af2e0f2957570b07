//! Rows as they come in the wild, from a file to each kind of server and back: the same rows.

use sessile_test_stores::Backend;

use super::{Pair, WILD, assert_counts};

#[test]
fn over_postgres() {
    there_and_back(Backend::Postgres);
}

#[test]
fn over_mariadb() {
    there_and_back(Backend::MariaDb);
}

#[test]
fn over_redis() {
    there_and_back(Backend::Redis);
}

#[test]
fn over_a_redis_cluster() {
    there_and_back(Backend::RedisCluster);
}

fn there_and_back(backend: Backend) {
    let (pair, url) = (Pair::new(), backend.shared().url());
    pair.place.sql(WILD);
    let from = pair.place.store();
    let there =
        |more: &[&str]| pair.place.run([&["copy", "--from", &from, "--to", &url, "--json"], more].concat());
    let ran = there(&[]);
    assert!(!format!("{ran:?}").contains(&password(&url)), "the password is shown");
    assert_counts(&ran.json(), &[("read", 5), ("copied", 5)]);
    assert_counts(&there(&[]).json(), &[("read", 5), ("present", 5)]);
    // Changed and ended at the source since: what the second run is for.
    pair.place.sql("DELETE FROM sessions WHERE user_id = 'bob'");
    pair.place.sql("UPDATE sessions SET user_id = 'eve', data = '{\"late\": true}', updated_at = '2026-02-01 00:00:00.000000' WHERE user_id = 'ada'");
    assert_counts(&there(&[]).json(), &[("read", 4), ("copied", 1), ("present", 3), ("ended_here", 1)]);
    let back =
        pair.place.run(["copy", "--from", &url, "--to", &pair.target(), "--journal", "back", "--json"]);
    assert_counts(&back.json(), &[("read", 4), ("copied", 4)]);
    let live: Vec<_> = pair.rows().into_iter().take(4).collect();
    assert_eq!(pair.target_rows(), live);
    for file in ["sessile-copy.journal", "back"] {
        let journal = std::fs::read_to_string(pair.place.file().with_file_name(file)).unwrap();
        assert!(!journal.contains(&password(&url)), "the password is in the journal");
    }
}

/// PostgreSQL holds no NUL character: that session stays, and is named.
#[test]
fn what_the_server_cannot_hold_is_named() {
    let (pair, url) = (Pair::new(), Backend::Postgres.shared().url());
    pair.place.sql(WILD);
    pair.place.sql("UPDATE sessions SET data = '{\"a\": 1}' || char(0) WHERE user_id = 'ada'");
    let from = pair.place.store();
    let ran = pair.place.run(["copy", "--from", &from, "--to", &url, "--json"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("session 00000000-0000-4000-8000-000000000001 was not copied: "), "{ran:?}");
    assert_counts(&serde_json::from_str(&ran.out).unwrap(), &[("read", 5), ("copied", 4), ("failed", 1)]);
}

/// [F04] A table that lback made holds user ids of 36 characters: a session with a longer one stays, and is named; the
/// others are copied, and it is too when the column is wide enough. A dry run tells the same.
#[test]
fn a_user_id_that_the_column_does_not_hold_is_named() {
    for (backend, alter) in [(Backend::Postgres, "ALTER user_id TYPE"), (Backend::MariaDb, "MODIFY user_id")]
    {
        let (pair, place) = (Pair::new(), backend.shared());
        pair.place.sql(WILD);
        pair.place.sql(&format!("UPDATE sessions SET user_id = '{}' WHERE user_id = 'ada'", "é".repeat(37)));
        let (from, url) = (pair.place.store(), place.url());
        pair.place.run(["init", "--store", &url]).done();
        let table = url.rsplit_once("table=").unwrap().1;
        let widen = |length: usize| {
            place.query(&format!("ALTER TABLE {table} {alter} VARCHAR({length})")).unwrap();
        };
        widen(36);
        let copy = |more: &[&str]| {
            let ran = pair.place.run([&["copy", "--from", &from, "--to", &url, "--json"], more].concat());
            assert_eq!(ran.code, 1, "{ran:?}");
            let named = "session 00000000-0000-4000-8000-000000000001 was not copied: the user id has 37 characters, the \
                column `user_id` holds 36: ";
            assert!(ran.err.contains(named), "{ran:?}");
            let counts = serde_json::from_str(&ran.out).unwrap();
            assert_counts(&counts, &[("read", 5), ("copied", 4), ("failed", 1)]);
        };
        copy(&["--dry-run"]);
        copy(&[]);
        widen(255);
        let ran = pair.place.run(["copy", "--from", &from, "--to", &url, "--json"]);
        assert_counts(&ran.json(), &[("read", 5), ("copied", 1), ("present", 4)]);
    }
}

fn password(url: &str) -> String {
    let credentials = url.split('@').next().unwrap();
    credentials.rsplit(':').next().unwrap().to_owned()
}
