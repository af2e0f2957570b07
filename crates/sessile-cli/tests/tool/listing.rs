//! `list` and `stats`.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::support::Place;

/// Rows as somebody else might write them, by number.
fn fill(place: &Place, rows: std::ops::Range<u32>, user: &str, expires_at: &str) {
    let mut sql = String::from("BEGIN;");
    for row in rows {
        let id = format!("{:08x}-0000-4000-8000-000000000000", row.wrapping_mul(2_654_435_761));
        sql += &format!(
            "INSERT INTO sessions VALUES ('{id}', {user}, '{{}}', '{NOW}', '{expires_at}', '{NOW}');"
        );
    }
    place.sql(&(sql + "COMMIT"));
}

const NOW: &str = "2026-01-01 00:00:00.000000";
const LATER: &str = "2999-01-01 00:00:00.000000";
const EARLIER: &str = "2020-01-01 00:00:00.000000";

fn objects(out: &str) -> Vec<Value> {
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// [H25] Four pages, each session once, in order.
#[test]
fn two_thousand_sessions_come_page_by_page_in_order() {
    let place = Place::new();
    fill(&place, 0..2_000, "'ada'", LATER);
    let listed = objects(&place.run(["list", "--json"]).done());
    let ids: Vec<&str> = listed.iter().map(|object| object["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 2_000);
    assert!(ids.is_sorted() && ids.iter().collect::<BTreeSet<_>>().len() == 2_000);

    let table = place.run(["list", "--limit", "0"]);
    assert_eq!((table.err.as_str(), table.out.lines().count()), ("", 2_001));
    let shown: Vec<&str> = table.out.lines().skip(1).map(|line| &line[..36]).collect();
    assert_eq!(shown, ids);
}

#[test]
fn a_table_ends_after_a_hundred_and_says_that_there_are_more() {
    let place = Place::new();
    fill(&place, 0..101, "NULL", LATER);
    let ran = place.run(["list"]);
    assert_eq!(ran.err, "there are more than these 100: --limit N shows more, --limit 0 all\n");
    assert_eq!(ran.out.lines().count(), 101);
    assert_eq!(place.run(["list", "--limit", "101"]).err, "");
    assert_eq!(objects(&place.run(["list", "--json", "--limit", "7"]).done()).len(), 7);
}

#[test]
fn lists_one_users_the_expired_or_all() {
    let place = Place::new();
    fill(&place, 0..3, "'ada'", LATER);
    fill(&place, 3..5, "'bob'", LATER);
    fill(&place, 5..9, "'ada'", EARLIER);
    let count =
        |arguments: &[&str]| objects(&place.run([&["list", "--json"], arguments].concat()).done()).len();
    assert_eq!(count(&[]), 5);
    assert_eq!(count(&["--user", "ada"]), 3);
    assert_eq!(count(&["--expired"]), 4);
    assert_eq!(count(&["--all"]), 9);
    assert_eq!(count(&["--all", "--user", "ada"]), 7);
    assert_eq!(count(&["--user", "eve"]), 0);
    assert_eq!(place.run(["list", "--user", "eve"]).err, "no such sessions\n");
    assert_eq!(place.run(["list", "--all", "--expired"]).code, 2);

    let stats = place.run(["stats", "--json"]).json();
    assert_eq!(
        (&stats["live"], &stats["expired"], &stats["users"], &stats["anonymous"], &stats["oldest_expired"]),
        (&5.into(), &4.into(), &2.into(), &0.into(), &"2020-01-01T00:00:00Z".into())
    );
    assert!(place.run(["stats"]).done().contains("expired    4, the oldest "));
}

/// [R08] They are reported, and everything else is listed.
#[test]
fn rows_that_cannot_be_read_are_reported_and_passed_by() {
    let place = Place::new();
    fill(&place, 0..3, "NULL", LATER);
    place.sql(
        "INSERT INTO sessions VALUES ('5-no-uuid', NULL, '{}', NULL, '2999-01-01 00:00:00.000000', NULL)",
    );
    let ran = place.run(["list", "--json"]);
    assert!(ran.err.starts_with("the row \"5-no-uuid\" cannot be read: "), "{}", ran.err);
    let listed = objects(&ran.done());
    let ids: Vec<&str> = listed.iter().map(|object| object["id"].as_str().unwrap()).collect();
    assert!(ids.len() == 4 && ids.is_sorted(), "{ids:?}");
    let odd = listed.iter().find(|object| object["id"] == "5-no-uuid").unwrap();
    assert_eq!(odd.as_object().unwrap().keys().collect::<Vec<_>>(), ["error", "id"]);
    let table = place.run(["list"]);
    assert!(table.err.contains("5-no-uuid") && table.out.lines().count() == 4, "{table:?}");
}

/// [S24] What others wrote gives a terminal no command, in the table and as JSON, and a program reads it as it is.
#[test]
fn what_others_wrote_is_no_command_for_a_terminal() {
    let place = Place::new();
    let wild = "a\u{9b}31m\u{202e}\u{7f}";
    fill(&place, 0..1, &format!("'{wild}'"), LATER);
    place.sql(&format!("UPDATE sessions SET data = '{{\"{wild}\": \"{wild}\"}}'"));
    let json = place.run(["list", "--json"]).done();
    let objects = objects(&json);
    assert_eq!((objects[0]["user_id"].as_str(), objects[0]["data"][wild].as_str()), (Some(wild), Some(wild)));
    for shown in [json, place.run(["list"]).done(), place.run(["verify"]).done()] {
        assert!(!shown.contains(['\u{9b}', '\u{202e}', '\u{7f}']), "{shown:?}");
    }
}

/// No line is wider than the terminal, and nothing is wrapped into nonsense.
#[test]
fn a_table_fits_a_narrow_terminal() {
    let place = Place::new();
    fill(&place, 0..2, "'日本語の利用者の名前がとても長いのです'", LATER);
    let id = place.id(&["--data", &format!("{{\"a\": \"{}\"}}", "x".repeat(300))]);
    for width in ["60", "80", "100", "140"] {
        for arguments in [&["list"][..], &["show", &id]] {
            let out = place.command(arguments).env("COLUMNS", width).output().unwrap().stdout;
            let out = String::from_utf8(out).unwrap();
            for line in out.lines() {
                assert!(
                    unicode_width::UnicodeWidthStr::width(line) <= width.parse().unwrap(),
                    "{width}: {line}"
                );
                assert_eq!(line, line.trim_end());
            }
            assert!(out.contains(&id));
        }
    }
    let wide = place.run(["list"]).done();
    assert!(wide.contains("日本語の利用者の名前がとても長いのです") && wide.contains(" UTC"), "{wide}");
}

/// `sessile list | head -1`
#[test]
fn a_reader_that_has_read_enough_is_no_error() {
    let place = Place::new();
    fill(&place, 0..2_000, "NULL", LATER);
    let mut list = place.command(["list", "--json"]);
    let mut child = list.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::with_capacity(64, child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ended = child.wait_with_output().unwrap();
    assert!(line.starts_with("{\"id\":"));
    assert_eq!((ended.status.code(), &*ended.stderr), (Some(0), &b""[..]));
}
