//! Rows that cannot be read or written: each is named and passed by, and the others arrive.

use super::{Pair, WILD, assert_counts};

const ONE: &str = "00000000-0000-4000-8000-000000000001";

/// [R08]
#[test]
fn rows_that_cannot_be_read_are_named_and_left() {
    let pair = Pair::new();
    pair.place.sql(WILD);
    pair.place.sql(
        "INSERT INTO sessions VALUES ('no uuid', NULL, '{}', NULL, '2999-01-01 00:00:00', NULL), \
         ('00000000-0000-4000-8000-0000000000f1', NULL, CAST(x'ff' AS TEXT), NULL, '2999-01-01 00:00:00', NULL), \
         ('00000000-0000-4000-8000-0000000000f2', NULL, '{}', NULL, 'tomorrow', NULL)",
    );
    let ran = pair.copy(&["--json"]);
    for says in [
        "the row \"no uuid\" cannot be read",
        "session 00000000-0000-4000-8000-0000000000f1 cannot be read: its data is not UTF-8",
        "the row \"00000000-0000-4000-8000-0000000000f2\" cannot be read: expires_at",
    ] {
        assert!(ran.err.contains(says), "{ran:?}");
    }
    // None of them was ever a session that somebody could use.
    assert_counts(&ran.json(), &[("read", 5), ("copied", 5), ("malformed", 3)]);
}

#[test]
fn a_row_that_the_target_refuses_is_named_and_the_run_fails() {
    let pair = Pair::new();
    pair.place.run(["init", "--store", &pair.target()]).done();
    pair.target_sql(
        "CREATE TRIGGER t BEFORE INSERT ON sessions WHEN new.user_id = 'ada' BEGIN SELECT RAISE(ABORT, 'not her'); END",
    );
    pair.place.sql(WILD);
    let ran = pair.copy(&["--json"]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.err.contains(&format!("session {ONE} was not copied: ")) && ran.err.contains("not her"),
        "{ran:?}"
    );
    assert!(
        ran.err
            .ends_with("error: 1 sessions could not be copied: see above, put it right and run it again\n")
    );
    assert_counts(&serde_json::from_str(&ran.out).unwrap(), &[("read", 5), ("copied", 4), ("failed", 1)]);
    pair.target_sql("DROP TRIGGER t");
    assert_counts(&pair.counts(&[]), &[("read", 5), ("copied", 1), ("present", 4)]);
}

/// What a target makes of a row is read back: one that changes it, or loses it, is found out.
#[test]
fn a_target_that_does_not_keep_what_it_is_given_is_found_out() {
    for (does, says) in [
        ("UPDATE sessions SET data = '{}' WHERE id = new.id", "what was read back is not what was written"),
        ("DELETE FROM sessions WHERE id = new.id", "it was written and is not there"),
        (
            "UPDATE sessions SET created_at = NULL WHERE id = new.id",
            "what was read back is not what was written",
        ),
    ] {
        let pair = Pair::new();
        pair.place.run(["init", "--store", &pair.target()]).done();
        pair.target_sql(&format!(
            "CREATE TRIGGER t AFTER INSERT ON sessions WHEN new.user_id = 'ada' BEGIN {does}; END"
        ));
        pair.place.sql(WILD);
        let ran = pair.copy(&["--json"]);
        assert_eq!(ran.code, 1);
        assert!(ran.err.contains(&format!("session {ONE} was not copied: {says}")), "{does}: {ran:?}");
        assert_counts(&serde_json::from_str(&ran.out).unwrap(), &[("read", 5), ("copied", 4), ("failed", 1)]);
    }
}

/// Columns of whole seconds, as SQLAlchemy makes them in MySQL: cut is not lost.
#[test]
fn a_target_with_whole_seconds_is_as_good() {
    let pair = Pair::new();
    pair.place.run(["init", "--store", &pair.target()]).done();
    pair.target_sql(
        "CREATE TRIGGER t AFTER INSERT ON sessions BEGIN UPDATE sessions SET created_at = substr(created_at, 1, 19), \
         expires_at = substr(expires_at, 1, 19), updated_at = substr(updated_at, 1, 19) WHERE id = new.id; END",
    );
    pair.place.sql(WILD);
    assert_counts(&pair.counts(&[]), &[("read", 5), ("copied", 5)]);
    assert_counts(&pair.counts(&[]), &[("read", 5), ("present", 5)]);
}

#[test]
fn a_foreign_row_in_the_way_is_named_and_left() {
    let pair = Pair::new();
    pair.place.run(["init", "--store", &pair.target()]).done();
    pair.target_sql(&format!(
        "INSERT INTO sessions VALUES ('{ONE}', 'ada', '{{}}', NULL, 'tomorrow', NULL), \
         ('00000000-0000-4000-8000-000000000005', 'eve', '{{}}', '2020-01-01 00:00:00', '2999-01-01 00:00:00', NULL)"
    ));
    pair.place.sql(WILD);
    let before = pair.target_rows();
    let ran = pair.copy(&["--prefer", "from", "--json"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("the row there cannot be read: expires_at"), "{ran:?}");
    assert!(ran.err.contains("another session with its id is there: created_at differs"), "{ran:?}");
    assert_counts(&serde_json::from_str(&ran.out).unwrap(), &[("read", 5), ("copied", 3), ("failed", 2)]);
    let after = pair.target_rows();
    assert!(before.iter().all(|row| after.contains(row)));
}

/// A row that expired at the target for want of a copy, and is live at the source.
#[test]
fn an_expired_row_at_the_target_gives_way_to_a_newer_live_one() {
    let pair = Pair::new();
    pair.place.sql(WILD);
    pair.counts(&[]);
    pair.target_sql(&format!(
        "UPDATE sessions SET expires_at = '2026-01-01 12:00:00.000000', updated_at = '2026-01-01 00:00:00.000000' WHERE id = '{ONE}'"
    ));
    assert_counts(&pair.counts(&[]), &[("read", 5), ("copied", 1), ("present", 4)]);
    assert_eq!(pair.target_rows()[0], pair.rows()[0]);
}

/// [S14] Neither the summary nor the complaints hold data.
#[test]
fn no_data_is_shown() {
    let pair = Pair::new();
    pair.place.id(&["--user", "ada", "--data", r#"{"k": "canary"}"#]);
    pair.place.run(["init", "--store", &pair.target()]).done();
    pair.target_sql("CREATE TRIGGER t AFTER INSERT ON sessions BEGIN UPDATE sessions SET data = '{}'; END");
    let ran = pair.copy(&[]);
    assert_eq!(ran.code, 1);
    assert!(!format!("{ran:?}").contains("canary"));
    let journal = std::fs::read_to_string(pair.journal()).unwrap();
    assert!(!journal.contains("canary"));
}
