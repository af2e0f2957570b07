//! `set`, `unset` and `touch`.

use crate::support::{Place, UNKNOWN};

#[test]
fn set_changes_one_key_and_leaves_the_others_as_they_are() {
    let place = Place::new();
    let id = place.id(&["--data", r#"{"a":1.50, "b": [1,2]}"#]);
    let changed = place.run(["set", &id, "c", r#"{"x":12345678901234567890}"#, "--json"]).json();
    assert_eq!(changed["data_text"], r#"{"a": 1.50, "b": [1,2], "c": {"x":12345678901234567890}}"#);
    assert_eq!(place.show(&id)["data_text"], changed["data_text"]);
    place.run(["set", &id, "a", "-1.5"]).done();
    place.run(["set", &id, "ключ", "\"ё\""]).done();
    assert_eq!(place.show(&id)["data"]["a"], -1.5);
    assert_eq!(place.show(&id)["data"]["ключ"], "ё");
}

#[test]
fn unset_takes_a_key_away_and_says_when_there_is_none() {
    let place = Place::new();
    let id = place.id(&["--data", r#"{"a": 1, "b": null}"#]);
    assert_eq!(place.run(["unset", &id, "b", "--json"]).json()["data_text"], r#"{"a": 1}"#);
    let before = place.show(&id);
    let ran = place.run(["unset", &id, "b", "--json"]);
    assert_eq!(ran.err, "note: the session has no key \"b\", nothing was changed\n");
    assert_eq!(ran.json(), before);
}

#[test]
fn a_value_that_does_not_parse_is_refused_with_its_place() {
    let place = Place::new();
    let id = place.id(&[]);
    for (value, at) in [
        ("dark", "byte 0"),
        ("{\"a\": tru}", "byte 6"),
        ("[1,]", "byte 3"),
        ("", "byte 0"),
        ("1 2", "byte 2"),
    ] {
        let said = place.run(["set", &id, "a", value]).refused(2);
        assert!(said.starts_with("<JSON>: not JSON at ") && said.contains(at), "{said}");
        assert!(said.contains("a JSON value is needed, for example 3, '\"dark\"'"), "{said}");
    }
    assert_eq!(place.show(&id)["data_text"], "{}");
}

/// [A26]
#[test]
fn the_key_that_sessile_keeps_for_itself_is_refused() {
    let place = Place::new();
    let id = place.id(&["--user", "ada"]);
    let before = place.show(&id);
    assert!(place.run(["set", &id, "_sessile", "1"]).refused(2).contains("reserved"));
    assert!(place.run(["unset", &id, "_sessile"]).refused(2).contains("reserved"));
    assert_eq!(place.show(&id), before);
}

/// [S22] Nothing is cut, and the old data stays.
#[test]
fn data_that_would_grow_over_the_limit_stays_as_it_was() {
    let place = Place::new();
    let id = place.id(&["--data", r#"{"a": 1}"#]);
    let said = place.run(["set", &id, "b", &format!("\"{}\"", "x".repeat(65_535))]).refused(1);
    assert!(said.contains("65535 are allowed"), "{said}");
    assert_eq!(place.show(&id)["data_text"], r#"{"a": 1}"#);
}

/// A change would replace what somebody may still want to see.
#[test]
fn data_that_cannot_be_read_is_not_overwritten() {
    let place = Place::new();
    let id = place.id(&[]);
    place.sql("UPDATE sessions SET data = '{\"cart\": [1, 2'");
    for arguments in [&["set", &*id, "a", "1"][..], &["unset", &id, "a"]] {
        let said = place.run(arguments).refused(1);
        assert!(
            said.contains("cannot be read, so nothing was changed") && said.contains("not JSON"),
            "{said}"
        );
    }
    assert_eq!(place.show(&id)["data_text"], "{\"cart\": [1, 2");
}

#[test]
fn the_expired_cannot_be_changed() {
    let place = Place::new();
    let id = place.id(&["--data", r#"{"a": 1}"#]);
    place.sql("UPDATE sessions SET expires_at = '2020-01-01 00:00:00.000000'");
    let before = place.show(&id);
    for arguments in [&["set", &*id, "a", "2"][..], &["unset", &id, "a"], &["touch", &id]] {
        assert_eq!(place.run(arguments).refused(3), format!("no live session {id}"));
    }
    assert_eq!(place.show(&id), before);
    assert_eq!(place.run(["touch", UNKNOWN]).refused(3), format!("no session {UNKNOWN}"));
}

#[test]
fn touch_moves_the_end_forward_and_never_back() {
    let place = Place::new();
    let short = place.create(&["--ttl", "60"]);
    let touched = place.run(["touch", short["id"].as_str().unwrap(), "--json"]).json();
    assert!(touched["expires_at"].as_str() > short["expires_at"].as_str(), "{touched}");
    let long = place.create(&["--ttl", "7200"]);
    let ran = place.run(["touch", long["id"].as_str().unwrap(), "--json"]);
    assert_eq!(ran.err, "note: the policy gives it no later end, nothing was changed\n");
    assert_eq!(ran.json(), long);
}
