//! `verify`: every row that is not as it should be, and no other.

use std::io::Read as _;
use std::process::Stdio;

use serde_json::Value;

use crate::support::Place;

const NOW: &str = "2026-01-01 00:00:00.000000";
const LATER: &str = "2999-01-01 00:00:00.000000";

/// One row, its columns as SQL.
fn row(place: &Place, id: &str, data: &str, created_at: &str, expires_at: &str) {
    place.sql(&format!(
        "INSERT INTO sessions VALUES ({id}, NULL, {data}, {created_at}, {expires_at}, '{NOW}')"
    ));
}

fn id(number: u32) -> String {
    format!("{number:08x}-0000-4000-8000-000000000000")
}

/// [R08] Each kind of fault, live or expired, is found once, with its id and without data.
#[test]
fn every_row_that_is_none_is_reported() {
    let place = Place::new();
    let (now, later) = (&*format!("'{NOW}'"), &*format!("'{LATER}'"));
    let faults = [
        ("'{\"secret\": [1, 2'", now, later, "session data is not JSON"),
        ("'[\"secret\"]'", now, later, "session data is an array, not an object"),
        ("'null'", now, "'2020-01-01 00:00:00'", "session data is null, not an object"),
        ("x'ff'", now, later, "session data is not UTF-8"),
        ("7", now, later, "session data is"),
        ("'{}'", "NULL", later, "created_at is NULL"),
        ("'{}'", "'secret'", later, "created_at is text, but no time"),
        ("'{}'", now, "'secret'", "expires_at is text, but no time"),
        ("'{}'", now, "1893456000", "expires_at is an integer"),
        ("'secret'", "NULL", later, "session data is not JSON"),
        ("'{}'", later, later, "created_at is 2"),
    ];
    for (number, (data, created_at, expires_at, _)) in (0..).zip(faults) {
        row(&place, &format!("'{}'", id(number)), data, created_at, expires_at);
    }
    for odd in ["'5-no-uuid'", "x'00ff'", "'6F1C4B1E-8A0F-4C57-9D0A-3F6C2B7E5D11'"] {
        row(&place, odd, "'{}'", now, later);
    }
    // As Python may write them: nothing is wrong with these.
    for (number, data) in (100..).zip(["NULL", "''", "'{\"a\": NaN}'", "x'7b7d'", "'{\"a\": 1, \"a\": 2}'"]) {
        row(&place, &format!("'{}'", id(number)), data, now, later);
    }
    row(&place, &format!("'{}'", id(200)), "'{}'", now, "'2020-01-01T00:00:00+02:00'");

    let ran = place.run(["verify", "--json"]);
    assert_eq!((ran.code, &*ran.err), (1, "error: 14 of 20 rows are not as they should be\n"));
    assert!(!ran.out.contains("secret"), "{}", ran.out);
    let reported: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(reported.len(), 14);
    for (number, (_, _, _, problem)) in (0..).zip(faults) {
        let found = reported.iter().find(|it| it["id"] == id(number)).unwrap_or_else(|| panic!("{number}"));
        assert!(found["problem"].as_str().unwrap().starts_with(problem), "{found}");
    }
    let both = reported.iter().find(|it| it["id"] == id(9)).unwrap();
    assert!(both["problem"].as_str().unwrap().contains("; created_at is NULL"), "{both}");
    for odd in ["5-no-uuid", "X'00ff'", "6F1C4B1E-8A0F-4C57-9D0A-3F6C2B7E5D11"] {
        let found =
            reported.iter().find(|it| it["id"] == odd).unwrap_or_else(|| panic!("{odd}: {}", ran.out));
        assert!(found["problem"].as_str().unwrap().contains("a UUID of 36 lower-case characters"), "{found}");
    }
    let table = place.run(["verify"]);
    assert_eq!((table.code, table.out.lines().count()), (1, 14));
    assert!(table.out.contains(&format!("{}  created_at is NULL", id(5))), "{}", table.out);
    assert!(!table.out.contains("secret"));
}

/// Page after page, and nothing is changed.
#[test]
fn thousands_of_rows_are_read_and_the_last_page_too() {
    let place = Place::new();
    let rows: String = (0..1_234)
        .map(|number| {
            format!(
                "INSERT INTO sessions VALUES ('{}', 'ada', '{{}}', '{NOW}', '{LATER}', '{NOW}');",
                id(number)
            )
        })
        .collect();
    place.sql(&format!("BEGIN; {rows} COMMIT"));
    assert_eq!(place.run(["verify"]).done(), "all 1234 rows are as they should be\n");
    assert_eq!(place.run(["verify", "--json"]).done(), "");
    place.sql(&format!("UPDATE sessions SET data = 'x' WHERE id IN ('{}', '{}')", id(0), id(1_233)));
    let ran = place.run(["verify"]);
    assert_eq!((ran.code, ran.out.lines().count()), (1, 2));
    assert_eq!(ran.err, "error: 2 of 1234 rows are not as they should be\n");
    place.sql(&format!("DELETE FROM sessions WHERE id = '{}'", id(0)));
    assert_eq!(place.run(["verify"]).err, "error: 1 of 1233 rows is not as it should be\n");
}

#[test]
fn an_empty_table_is_sound_and_a_missing_one_is_an_error() {
    assert_eq!(Place::new().run(["verify"]).done(), "all 0 rows are as they should be\n");
    assert!(Place::empty().run(["verify"]).refused(1).starts_with("no database file"));
}

/// A foreign key cannot speak to the terminal, nor fill it.
#[test]
fn a_key_is_shown_and_not_obeyed() {
    let place = Place::new();
    row(&place, "char(27) || '[2Jb'", "'{}'", "NULL", &format!("'{LATER}'"));
    row(&place, &format!("'{}'", "long".repeat(1_000)), "'{}'", "NULL", &format!("'{LATER}'"));
    let ran = place.run(["verify"]);
    assert!(!ran.out.contains('\x1b') && ran.out.contains("\\u{1b}[2Jb"), "{}", ran.out);
    assert!(ran.out.len() < 1_000, "{}", ran.out);
}

/// `sessile verify --json | head -1`
#[test]
fn a_reader_that_has_read_enough_is_no_error() {
    let place = Place::new();
    let rows: String = (0..2_000)
        .map(|number| {
            format!("INSERT INTO sessions VALUES ('{}', NULL, 'x', '{NOW}', '{LATER}', '{NOW}');", id(number))
        })
        .collect();
    place.sql(&format!("BEGIN; {rows} COMMIT"));
    let mut child =
        place.command(["verify", "--json"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdout.take().unwrap().read_exact(&mut [0; 10]).unwrap();
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), &*ended.stderr), (Some(0), &b""[..]));
}
