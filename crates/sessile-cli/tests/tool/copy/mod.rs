//! `copy`: a switch to another store logs nobody out and brings nobody back.

mod foreign;
mod foul;
#[cfg(all(feature = "mysql", feature = "postgres", feature = "redis"))]
mod pairs;
#[cfg(all(feature = "mysql", feature = "postgres", feature = "redis"))]
mod servers;
mod twice;

use rusqlite::types::Value as Cell;
use serde_json::Value;

use crate::support::{Place, Ran};

/// A folder with a store and the name of another one.
pub(crate) struct Pair {
    pub(crate) place: Place,
}

/// The six columns of a row as they are.
type Row = Vec<Cell>;

impl Pair {
    pub(crate) fn new() -> Pair {
        Pair { place: Place::new() }
    }

    pub(crate) fn target(&self) -> String {
        format!("{}.new", self.place.store())
    }

    /// `copy` from the store to the other one, with more arguments.
    pub(crate) fn copy(&self, arguments: &[&str]) -> Ran {
        let (from, to) = (self.place.store(), self.target());
        self.place.run([&["copy", "--from", &from, "--to", &to], arguments].concat())
    }

    /// What `copy --json` says of itself.
    #[track_caller]
    pub(crate) fn counts(&self, arguments: &[&str]) -> Value {
        self.copy(&[&["--json"], arguments].concat()).json()
    }

    pub(crate) fn rows(&self) -> Vec<Row> {
        rows(&self.place.file())
    }

    pub(crate) fn target_rows(&self) -> Vec<Row> {
        rows(&self.target_file())
    }

    pub(crate) fn target_file(&self) -> std::path::PathBuf {
        self.place.file().with_file_name("s.db.new")
    }

    /// SQL on the target, as anybody may run it.
    pub(crate) fn target_sql(&self, sql: &str) {
        rusqlite::Connection::open(self.target_file()).unwrap().execute_batch(sql).expect(sql);
    }

    /// The tool on the target.
    pub(crate) fn at_target(&self, arguments: &[&str]) -> Ran {
        self.place.run([arguments, &["--store", &self.target()]].concat())
    }

    pub(crate) fn journal(&self) -> std::path::PathBuf {
        self.place.file().with_file_name("sessile-copy.journal")
    }
}

fn rows(file: &std::path::Path) -> Vec<Row> {
    let connection = rusqlite::Connection::open(file).unwrap();
    let mut statement = connection.prepare("SELECT * FROM sessions ORDER BY id").unwrap();
    let rows = statement.query_map((), |row| (0..6).map(|column| row.get(column)).collect()).unwrap();
    rows.map(Result::unwrap).collect()
}

/// Checks the counts that are named, and that all others are 0.
#[track_caller]
pub(crate) fn assert_counts(said: &Value, expected: &[(&str, u64)]) {
    for key in
        ["read", "copied", "present", "newer_there", "ended_there", "ended_here", "malformed", "failed"]
    {
        let wanted = expected.iter().find(|(name, _)| *name == key).map_or(0, |(_, count)| *count);
        assert_eq!(said[key], wanted, "{key}: {said}");
    }
}

/// Rows as they come in the wild: text in many spellings, NULLs, no user.
const WILD: &str = r#"
INSERT INTO sessions VALUES
 ('00000000-0000-4000-8000-000000000001', 'ada',  '{"a": 1.0, "b":[ 1 ],  "ü": "\ud800", "a": 2}', '2026-01-01 00:00:00.000001', '2999-12-31 23:59:59.999999', '2026-01-02 00:00:00.000000'),
 ('00000000-0000-4000-8000-000000000002', NULL,   NULL, NULL, '2999-01-01 00:00:00.000000', NULL),
 ('00000000-0000-4000-8000-000000000003', '',     '', '2026-01-01 00:00:00.000000', '2999-01-01 00:00:00.000000', NULL),
 ('00000000-0000-4000-8000-000000000004', 'grüße', 'no JSON at all', NULL, '2999-01-01 00:00:00.000000', '2026-01-02 00:00:00.000000'),
 ('00000000-0000-4000-8000-000000000005', 'bob',  '{"n": NaN, "i": 123456789012345678901234567890}', NULL, '2999-01-01 00:00:00.000000', NULL),
 ('00000000-0000-4000-8000-00000000000e', 'gone', '{}', NULL, '2020-01-01 00:00:00.000000', NULL)
"#;

#[test]
fn every_live_row_arrives_to_the_byte_and_the_expired_stay_behind() {
    let pair = Pair::new();
    pair.place.sql(WILD);
    let id = pair.place.id(&["--user", "ada", "--data", r#"{"cart": [1, 2]}"#]);
    let said = pair.counts(&[]);
    assert_counts(&said, &[("read", 6), ("copied", 6)]);
    assert_eq!((&said["from"], &said["to"]), (&pair.place.store().into(), &pair.target().into()));
    let mut live = pair.rows();
    live.retain(|row| row[1] != Cell::Text("gone".into()));
    assert_eq!(pair.target_rows(), live);
    let shown = pair.at_target(&["show", &id, "--json"]).json();
    assert_eq!(shown, pair.place.show(&id));
    assert_counts(&pair.counts(&[]), &[("read", 6), ("present", 6)]);
}

/// The bytes that lback's `set_session_data` writes are the text that everybody else means.
#[test]
fn bytes_in_the_data_become_the_text_they_are() {
    let pair = Pair::new();
    pair.place.sql(WILD);
    pair.place.sql("UPDATE sessions SET data = CAST(data AS BLOB) WHERE user_id = 'ada'");
    assert_counts(&pair.counts(&[]), &[("read", 5), ("copied", 5)]);
    let text = pair.target_rows()[0][2].clone();
    assert!(matches!(&text, Cell::Text(text) if text.starts_with(r#"{"a": 1.0, "b":[ 1 ],"#)), "{text:?}");
    assert_counts(&pair.counts(&[]), &[("read", 5), ("present", 5)]);
}

#[test]
fn many_pages() {
    let pair = Pair::new();
    pair.place.sql(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1777) INSERT INTO sessions \
         SELECT printf('%08x-0000-4000-8000-000000000000', i), 'u' || i, '{}', NULL, '2999-01-01 00:00:00.000000', NULL FROM n",
    );
    assert_eq!(pair.copy(&[]).done(), format!("copied 1777 sessions to {}\n", pair.target()));
    assert_eq!(pair.target_rows(), pair.rows());
}

#[test]
fn a_dry_run_says_the_same_and_makes_nothing() {
    let pair = Pair::new();
    pair.place.sql(WILD);
    let ran = pair.copy(&["--dry-run", "--json"]);
    assert!(ran.err.contains("the target is taken as empty: no database file"), "{ran:?}");
    let said = ran.json();
    assert_eq!(said["dry_run"], true);
    assert_counts(&said, &[("read", 5), ("copied", 5)]);
    assert!(!pair.target_file().exists() && !pair.journal().exists());
    pair.copy(&[]).done();
    pair.target_sql("DELETE FROM sessions WHERE user_id = 'bob'; UPDATE sessions SET user_id = 'eve' WHERE user_id = 'ada'");
    let (rows, journal) = (pair.target_rows(), std::fs::read(pair.journal()).unwrap());
    let said = pair.counts(&["--dry-run", "--prefer", "from"]);
    assert_counts(&said, &[("read", 5), ("copied", 1), ("present", 3), ("ended_there", 1)]);
    assert_eq!((pair.target_rows(), std::fs::read(pair.journal()).unwrap()), (rows, journal));
}

#[test]
fn a_table_that_is_there_is_filled() {
    let pair = Pair::new();
    pair.place.sql(WILD);
    let other = format!("{}?table=web sessions", pair.target());
    let from = pair.place.store();
    let said = pair.place.run(["copy", "--from", &from, "--to", &other, "--json"]).json();
    assert_counts(&said, &[("read", 5), ("copied", 5)]);
    let listed = pair.place.run(["list", "--json", "--store", &other]).done();
    assert_eq!(listed.lines().count(), 5);
    // And out of the same file again: the stores are two.
    let said =
        pair.place.run(["copy", "--from", &other, "--to", &pair.target(), "--journal", "j", "--json"]).json();
    assert_counts(&said, &[("read", 5), ("copied", 5)]);
    assert_eq!(pair.target_rows().len(), 5);
}

#[test]
fn what_cannot_be_meant_is_usage() {
    let pair = Pair::new();
    let (store, file) = (pair.place.store(), pair.target());
    for (arguments, says) in [
        (&["copy", "--from", &*store, "--to", &*store][..], "--from and --to are both sqlite:"),
        (&["copy", "--from", "memory:", "--to", &*file], "memory: is empty, and gone"),
        (&["copy", "--from", &*store, "--to", "sqlite::memory:"], "sqlite::memory: is empty, and gone"),
        (&["copy", "--from", "oracle:x", "--to", &*file], "unknown store \"oracle\""),
    ] {
        let said = pair.place.run(arguments).refused(2);
        assert!(said.contains(says), "{said}");
    }
    assert_eq!(pair.place.run(["copy", "--from", &*store]).code, 2);
    let missing = pair.place.run(["copy", "--from", "sqlite:none.db", "--to", &*file]).refused(1);
    assert!(missing.starts_with("no database file none.db"), "{missing}");
    assert!(!pair.target_file().exists() && !pair.journal().exists());
}
