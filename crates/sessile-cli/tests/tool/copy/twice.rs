//! The second run, after the servers were switched: what changed, and what ended, on either side.

use super::{Pair, assert_counts};

/// Two sessions at both stores, copied once.
fn copied() -> (Pair, String, String) {
    let pair = Pair::new();
    let (one, other) = (pair.place.id(&["--user", "ada"]), pair.place.id(&["--user", "bob"]));
    assert_counts(&pair.counts(&[]), &[("read", 2), ("copied", 2)]);
    (pair, one, other)
}

#[test]
fn what_changed_at_the_source_since_then_follows() {
    let (pair, one, _) = copied();
    pair.place.run(["set", &one, "cart", "[1]"]).done();
    let new = pair.place.id(&["--user", "eve"]);
    assert_counts(&pair.counts(&[]), &[("read", 3), ("copied", 2), ("present", 1)]);
    assert_eq!(pair.target_rows(), pair.rows());
    assert_eq!(pair.at_target(&["show", &new, "--json"]).json()["user_id"], "eve");
}

#[test]
fn what_changed_at_the_target_since_then_stays() {
    let (pair, one, _) = copied();
    pair.place.run(["set", &one, "cart", "[1]"]).done();
    pair.at_target(&["set", &one, "cart", "[2]"]).done();
    let before = pair.target_rows();
    assert_counts(&pair.counts(&[]), &[("read", 2), ("newer_there", 1), ("present", 1)]);
    assert_eq!(pair.target_rows(), before);
    assert!(pair.copy(&[]).done().contains("\n1 there already, and changed there later\n"));
    // Told otherwise, either side has its way.
    assert_counts(&pair.counts(&["--prefer", "from"]), &[("read", 2), ("copied", 1), ("present", 1)]);
    assert_eq!(pair.target_rows(), pair.rows());
    pair.place.run(["set", &one, "cart", "[3]"]).done();
    assert_counts(&pair.counts(&["--prefer", "to"]), &[("read", 2), ("newer_there", 1), ("present", 1)]);
    assert_eq!(pair.at_target(&["show", &one, "--json"]).json()["data"]["cart"][0], 1);
}

/// [S09] A session that was signed out after the switch is still live in the old table.
#[test]
fn what_ended_at_the_target_is_not_brought_back() {
    let (pair, one, other) = copied();
    pair.at_target(&["revoke", &one]).done();
    pair.place.run(["set", &one, "cart", "[1]"]).done();
    for _ in 0..2 {
        let ran = pair.copy(&["--prefer", "from"]);
        assert!(ran.done().contains("\n1 ended there since an earlier run: not brought back\n"));
        assert_eq!(pair.at_target(&["show", &one]).code, 3);
    }
    pair.at_target(&["show", &other]).done();
}

/// [S09] A session that was signed out before the switch is in the new table since the first run.
#[test]
fn what_ended_at_the_source_ends_at_the_target() {
    let (pair, one, other) = copied();
    pair.place.run(["revoke", &one]).done();
    let planned = pair.counts(&["--dry-run"]);
    assert_counts(&planned, &[("read", 1), ("present", 1), ("ended_here", 1)]);
    pair.at_target(&["show", &one]).done();
    assert_counts(&pair.counts(&[]), &[("read", 1), ("present", 1), ("ended_here", 1)]);
    assert_eq!(pair.at_target(&["show", &one]).code, 3);
    pair.at_target(&["show", &other]).done();
    assert_counts(&pair.counts(&[]), &[("read", 1), ("present", 1)]);
}

/// What merely expired at the source after the switch may be in use at the target.
#[test]
fn what_expired_at_the_source_stays_at_the_target() {
    let pair = Pair::new();
    let one = pair.place.id(&["--ttl", "3"]);
    pair.place.id(&["--user", "bob"]);
    pair.counts(&[]);
    pair.at_target(&["touch", &one]).done();
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while pair.place.show(&one)["live"] == true {
        assert!(std::time::Instant::now() < until);
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    pair.place.run(["purge"]).done();
    assert_counts(&pair.counts(&[]), &[("read", 1), ("present", 1)]);
    assert_eq!(pair.at_target(&["show", &one, "--json"]).json()["live"], true);
}

/// A table that was emptied once the switch was done must not sign everybody out.
#[test]
fn an_emptied_source_ends_nothing() {
    let (pair, ..) = copied();
    let before = pair.target_rows();
    pair.place.sql("DELETE FROM sessions");
    let ran = pair.copy(&["--json"]);
    assert!(ran.err.contains("no live session any more; 2 that it had are left"), "{ran:?}");
    assert_counts(&ran.json(), &[]);
    assert_eq!(pair.target_rows(), before);
}

/// The way back uses the same journal: what ended after the switch ends in the old table too.
#[test]
fn the_way_back() {
    let (pair, one, other) = copied();
    pair.at_target(&["revoke", &one]).done();
    let new =
        pair.at_target(&["create", "--user", "eve", "--json"]).json()["id"].as_str().unwrap().to_owned();
    let (from, to) = (pair.target(), pair.place.store());
    let said = pair.place.run(["copy", "--from", &from, "--to", &to, "--json"]).json();
    assert_counts(&said, &[("read", 2), ("copied", 1), ("present", 1), ("ended_here", 1)]);
    assert_eq!(pair.place.run(["show", &one]).code, 3);
    for id in [&other, &new] {
        pair.place.show(id);
    }
}

/// A run that was killed is run again; half a line in the journal is no obstacle.
#[test]
fn a_run_that_was_cut_short_goes_on() {
    let (pair, one, _) = copied();
    for n in 0..600 {
        pair.place.sql(&format!(
            "INSERT INTO sessions VALUES ('{n:08x}-0000-4000-8000-000000000000', NULL, '{{}}', NULL, '2999-01-01 00:00:00.000000', NULL)"
        ));
    }
    let mut journal = std::fs::read_to_string(pair.journal()).unwrap();
    assert_eq!(journal.lines().count(), 3);
    journal.push_str("00000007-0000-4000-80");
    std::fs::write(pair.journal(), journal).unwrap();
    pair.target_sql(
        "INSERT INTO sessions VALUES ('00000007-0000-4000-8000-000000000000', NULL, '{}', NULL, '2999-01-01 00:00:00.000000', NULL)",
    );
    assert_counts(&pair.counts(&[]), &[("read", 602), ("copied", 599), ("present", 3)]);
    assert_eq!(pair.target_rows(), pair.rows());
    let journal = std::fs::read_to_string(pair.journal()).unwrap();
    assert_eq!(journal.lines().count(), 603);
    assert!(journal.contains(&one));
    assert_counts(&pair.counts(&[]), &[("read", 602), ("present", 602)]);
}

/// Without its journal a run cannot know what has ended, and says so.
#[test]
fn a_lost_journal_is_remarked_upon() {
    let (pair, one, _) = copied();
    assert_eq!(pair.copy(&[]).err, "");
    std::fs::remove_file(pair.journal()).unwrap();
    pair.at_target(&["revoke", &one]).done();
    let ran = pair.copy(&["--json"]);
    assert!(ran.err.contains("no journal of an earlier one was found"), "{ran:?}");
    assert_counts(&ran.json(), &[("read", 2), ("copied", 1), ("present", 1)]);
}

#[test]
fn a_journal_belongs_to_one_pair_of_stores() {
    let (pair, ..) = copied();
    let from = pair.place.store();
    let run = |arguments: &[&str]| {
        pair.place.run([&["copy", "--from", &from, "--to", "sqlite:third.db"], arguments].concat())
    };
    let said = run(&[]).refused(2);
    assert!(said.contains("is the journal of a copy from") && said.contains("--journal"), "{said}");
    run(&["--journal", "third"]).done();
    std::fs::write(pair.journal(), "Dear diary,\n").unwrap();
    assert!(run(&[]).refused(2).contains("is not the journal of a copy"));
    assert_eq!(std::fs::read_to_string(pair.journal()).unwrap(), "Dear diary,\n");
    assert!(
        run(&["--journal", "no/such/folder"]).refused_with_cause(1).contains("name another with --journal")
    );
}

/// For a table whose ids stand in cookies, the journal is a list of secrets.
#[cfg(unix)]
#[test]
fn nobody_else_may_read_the_journal() {
    use std::os::unix::fs::PermissionsExt as _;
    let (pair, ..) = copied();
    assert_eq!(std::fs::metadata(pair.journal()).unwrap().permissions().mode() & 0o777, 0o600);
}
