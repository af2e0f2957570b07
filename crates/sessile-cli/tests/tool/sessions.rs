//! `create` and `show`.

use serde_json::Value;
use sessile::SessionToken;
use sessile::record::{Realm, Timestamp};

use crate::support::{Place, UNKNOWN};

/// The shape that programs rely on.
#[test]
fn show_gives_the_row_as_json() {
    let place = Place::new();
    let id = place.id(&["--user", "ada", "--ttl", "600", "--data", r#"{"z": 1, "a": [true, null]}"#]);
    let shown = place.show(&id);
    let keys: Vec<&str> = shown.as_object().unwrap().keys().map(String::as_str).collect();
    for key in [
        "id",
        "user_id",
        "data_text",
        "data",
        "created_at",
        "expires_at",
        "updated_at",
        "live",
        "repr",
        "remembered",
        "device",
        "authenticated_at",
    ] {
        assert!(keys.contains(&key), "{key}: {keys:?}");
    }
    assert!(!keys.contains(&"token") && !keys.contains(&"data_error"));
    assert_eq!(shown["id"], *id);
    assert_eq!(shown["live"], true);
    assert_eq!(shown["data"]["a"], serde_json::json!([true, null]));
    let time = |key: &str| {
        let text = shown[key].as_str().unwrap();
        assert!(text.ends_with('Z') && text.contains('T'), "{text}");
        Timestamp::parse(text).unwrap()
    };
    assert_eq!(time("expires_at").saturating_since(time("created_at")).as_secs(), 600);
    assert_eq!(time("updated_at"), time("created_at"));
    assert_eq!(
        shown["repr"],
        format!("<Session(id='{id}', user_id='ada', expires_at='{}')>", time("expires_at"))
    );
}

#[test]
fn people_get_times_relative_and_exact() {
    let place = Place::new();
    let out = place.run(["create", "--user", "ada", "--ttl", "7230"]).done();
    let line = |name: &str| out.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim();
    assert_eq!(line("user "), "ada");
    assert_eq!(line("state "), "live");
    assert!(line("expires ").starts_with("in 2 h (") && line("expires ").ends_with(" UTC)"), "{out}");
    assert!(!out.contains('\x1b'));
}

/// Big integers, the order of keys, duplicate keys and lone surrogates pass through untouched.
#[test]
fn data_goes_in_and_out_as_the_text_it_is() {
    let place = Place::new();
    let data = "{\"z\":12345678901234567890123456789, \"a\": 1.0,\n \"f\": 1e400, \"\\ud800\": \"\\udfff\", \"b\": {\"y\":1,\"x\":2}}";
    // Not by serde_json, which cannot hold all of that.
    let created = place.run(["create", "--data", data, "--json"]).done();
    let id = &created["{\"id\":\"".len()..][..36];
    let out = place.run(["show", id, "--json"]).done();
    assert_eq!(out.lines().count(), 1);
    let (_, after) = out.split_once("\"data\":").unwrap();
    assert!(after.starts_with(&data.replace('\n', " ")), "{out}");
    let text = serde_json::to_string(data).unwrap();
    assert!(out.contains(&format!("\"data_text\":{text}")), "{out}");
}

#[test]
fn what_strict_json_lacks_is_null_with_the_reason() {
    let place = Place::new();
    let shown = place.show(&place.id(&["--data", r#"{"a": NaN}"#]));
    assert_eq!(shown["data_text"], r#"{"a": NaN}"#);
    assert!(shown["data"].is_null());
    assert!(shown["data_error"].as_str().unwrap().contains("`a` holds NaN"), "{shown}");
}

/// [R08]
#[test]
fn rows_that_others_wrote_are_shown_as_they_are() {
    let place = Place::new();
    for (data, text, object, problem) in [
        ("NULL", None, Some("{}"), None),
        ("''", Some(""), Some("{}"), None),
        ("'[1]'", Some("[1]"), None, Some("an array, not an object")),
        ("'{\"a\":'", Some("{\"a\":"), None, Some("not JSON at byte 5")),
        ("CAST(x'ff' AS TEXT)", None, None, Some("not UTF-8")),
        ("CAST('{\"a\":1}' AS BLOB)", Some("{\"a\":1}"), Some("{\"a\":1}"), None),
    ] {
        place.sql(&format!(
            "DELETE FROM sessions; INSERT INTO sessions VALUES ('{UNKNOWN}', NULL, {data}, NULL, \
             '2999-01-01 00:00:00.000000', NULL)"
        ));
        let shown = place.show(UNKNOWN);
        assert_eq!(shown["data_text"].as_str(), text, "{data}");
        let wanted: Option<Value> = object.map(|object| serde_json::from_str(object).unwrap());
        assert_eq!(shown["data"], wanted.unwrap_or_default(), "{data}");
        let said = shown["data_error"].as_str();
        assert_eq!(said.is_some(), problem.is_some(), "{shown}");
        assert!(said.unwrap_or_default().contains(problem.unwrap_or_default()), "{shown}");
        assert!(shown["created_at"].is_null() && shown["updated_at"].is_null());
        assert!(shown["repr"].as_str().unwrap().contains("user_id='None'"));
        place.run(["show", UNKNOWN]).done();
    }
}

/// [A26] What sessile keeps for itself stands beside the columns.
#[test]
fn what_is_remembered_of_a_session_is_shown() {
    let place = Place::new();
    let id = place.id(&["--user", "ada"]);
    let shown = place.show(&id);
    assert_eq!(shown["data_text"], "{}", "nobody has signed in here: nothing is noted");
    assert!(shown["authenticated_at"].is_null());
    place.sql(
        "UPDATE sessions SET data = '{\"_sessile\": {\"remember\": true, \"device\": \"Firefox on Android\", \
         \"authenticated_at\": \"2030-01-02T03:04:05Z\"}}'",
    );
    let shown = place.show(&id);
    assert_eq!((&shown["remembered"], &shown["device"]), (&true.into(), &"Firefox on Android".into()));
    assert_eq!(shown["authenticated_at"], "2030-01-02T03:04:05Z");
    let out = place.run(["show", &id]).done();
    assert!(out.contains("remembered  yes\ndevice      Firefox on Android\n"), "{out}");
}

/// What is in the table cannot speak to the terminal.
#[test]
fn control_characters_are_shown_and_not_obeyed() {
    let place = Place::new();
    place.sql(&format!(
        "INSERT INTO sessions VALUES ('{UNKNOWN}', 'a' || char(27) || '[2Jb', 'x' || char(27) || char(10) || 'y', \
         NULL, '2999-01-01 00:00:00.000000', NULL)"
    ));
    for arguments in [&["show", UNKNOWN][..], &["list"]] {
        let out = place.run(arguments).done();
        assert!(!out.contains('\x1b') && out.contains("a\\u{1b}[2Jb"), "{out}");
    }
}

#[test]
fn an_expired_session_is_shown_and_is_not_live() {
    let place = Place::new();
    let id = place.id(&[]);
    place.sql("UPDATE sessions SET expires_at = '2020-01-01 00:00:00.000000'");
    assert_eq!(place.show(&id)["live"], false);
    let out = place.run(["show", &id]).done();
    assert!(
        out.contains("state       expired") && out.contains(" years ago (1 Jan 2020, 00:00 UTC)"),
        "{out}"
    );
}

/// The absolute lifetime is the policy's, so it depends on which one the service uses.
#[test]
fn a_session_beyond_the_absolute_lifetime_is_over_by_the_default_policy_only() {
    let place = Place::new();
    let id = place.id(&["--ttl", "999999"]);
    place.sql("UPDATE sessions SET created_at = '2020-01-01 00:00:00.000000'");
    assert_eq!(place.show(&id)["live"], false);
    assert!(place.run(["list"]).done().contains("over"));
    assert_eq!(place.run(["show", &id, "--json", "--policy", "lback"]).json()["live"], true);
}

/// [S14] The token is shown when it is asked for, and by nothing else.
#[test]
fn only_print_token_prints_the_token() {
    let place = Place::new();
    let created = place.create(&["--user", "ada", "--print-token"]);
    let token = created["token"].as_str().unwrap();
    let id = created["id"].as_str().unwrap();
    assert_eq!(SessionToken::parse(token.as_bytes()).unwrap().id().to_string(), id);

    assert!(place.run(["create", "--print-token"]).done().contains("\ntoken "));
    assert!(place.create(&["--user", "ada"]).get("token").is_none());
    assert!(!place.run(["create"]).done().contains("token"));
    for arguments in [
        &["show", id][..],
        &["show", id, "--json"],
        &["set", id, "a", "1"],
        &["touch", id, "--json"],
        &["list", "--json"],
        &["list"],
        &["stats"],
        &["revoke", id],
    ] {
        let ran = place.run(arguments);
        assert!(!ran.out.contains(token) && !ran.err.contains(token), "{arguments:?}");
        ran.done();
    }
    assert!(!std::fs::read(place.file()).unwrap().windows(token.len()).any(|part| part == token.as_bytes()));
}

/// [S14] A token typed in the place of something else is not repeated.
#[test]
fn a_token_on_the_command_line_is_refused_and_not_repeated() {
    let place = Place::new();
    let created = place.create(&["--print-token"]);
    let token = created["token"].as_str().unwrap();
    for arguments in [&["show", token][..], &[token], &["list", token], &["revoke", token]] {
        assert_eq!(
            place.run(arguments).refused(2),
            "a token is a secret and never an argument: name the session by its id"
        );
    }
}

/// [S28] The token of a realm names its session in that realm alone; what keeps nothing apart is refused.
#[test]
fn a_token_is_made_for_a_realm() {
    let place = Place::new();
    let created = place.create(&["--user", "root", "--print-token", "--realm", "admin"]);
    let token = created["token"].as_str().unwrap().as_bytes();
    let named = |realm: Option<&Realm>| SessionToken::parse_in(realm, token).unwrap().id().to_string();
    assert_eq!(created["id"], named(Some(&Realm::new("admin").unwrap())));
    assert_ne!(created["id"], named(None));
    let refused = place.run(["create", "--print-token", "--realm", "a b"]).refused(2);
    assert!(refused.contains("\"a b\" is no name of a realm"), "{refused}");
    let refused = place.run(["create", "--print-token", "--realm", "admin", "--policy", "lback"]).refused(2);
    assert!(refused.contains("Naming::Token"), "{refused}");
}

/// As lback does: the id itself stands in the cookie, and the user in the data too.
#[test]
fn create_by_the_lback_policy() {
    let place = Place::new();
    let created = place.create(&["--user", "ada", "--policy", "lback", "--print-token"]);
    assert_eq!(created["token"], created["id"]);
    assert_eq!(created["data"]["user_id"], "ada");
}

#[test]
fn a_ttl_beyond_the_absolute_lifetime_is_remarked() {
    let place = Place::new();
    let ran = place.run(["create", "--ttl", "100000", "--json"]);
    assert_eq!(ran.err, "note: the policy ends it after 1 day all the same\n");
    assert_eq!(ran.json()["live"], true);
    assert_eq!(place.run(["create", "--ttl", "86400"]).err, "");
    assert_eq!(place.run(["create", "--ttl", "100000", "--policy", "lback"]).err, "");
}

#[test]
fn create_refuses_what_cannot_be_stored() {
    let place = Place::new();
    for (data, says) in [
        ("{\"a\": }", "not JSON at byte 6: found a punctuation"),
        ("{'a': 1}", "not JSON at byte 1"),
        ("[1]", "session data is an array, not an object"),
        ("", "the text is empty"),
    ] {
        let said = place.run(["create", "--data", data]).refused(2);
        assert!(said.starts_with("--data <JSON>: ") && said.contains("a JSON object is needed"), "{said}");
        assert!(said.contains(says.split(": found").next().unwrap()), "{said}");
    }
    assert!(place.run(["create", "--data", "{\"_sessile\": {}}"]).refused(2).contains("reserved"));
    let deep = format!("{{\"a\": {}{}}}", "[".repeat(950), "]".repeat(950));
    let ran = place.run(["create", "--data", &deep]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("nested deeper than 900 levels"), "{}", ran.err);
    assert!(place.run(["create", "--ttl", "0"]).refused(2).starts_with("--ttl <SECONDS>: "));
    assert!(place.run(["create", "--user", &"u".repeat(256)]).refused(2).contains("at most 255 characters"));
    assert_eq!(place.run(["stats", "--json"]).json()["live"], 0);
}

/// [F04] A user id of 255 characters is shown whole, and found and ended by all of it.
#[test]
fn a_long_user_id_is_kept_whole() {
    let place = Place::new();
    let user = "é".repeat(254) + "z";
    let created = place.run(["create", "--user", &user, "--json"]).json();
    assert_eq!(created["user_id"], user);
    let id = created["id"].as_str().unwrap();
    assert_eq!(place.run(["show", id, "--json"]).json()["user_id"], user);
    assert!(place.run(["show", id]).done().contains(&user));
    assert!(place.run(["list", "--user", &user]).done().contains(id));
    assert!(!place.run(["list", "--user", &"é".repeat(254)]).done().contains(id));
    place.run(["revoke", "--user", &"é".repeat(254), "--yes"]).done();
    assert_eq!(place.run(["stats", "--json"]).json()["live"], 1);
    place.run(["revoke", "--user", &user, "--yes"]).done();
    assert_eq!(place.run(["stats", "--json"]).json()["live"], 0);
}

/// [S22]
#[test]
fn data_over_the_limit_is_refused_before_the_store() {
    let place = Place::new();
    let data = |bytes: usize| format!("{{\"a\": \"{}\"}}", "x".repeat(bytes - 9));
    let said = place.run(["create", "--data", &data(65_536)]).refused(1);
    assert!(said.contains("65536 bytes, 65535 are allowed"), "{said}");
    place.run(["create", "--data", &data(65_535)]).done();
    assert_eq!(place.run(["stats", "--json"]).json()["live"], 1);
}

#[test]
fn an_unknown_id_is_3_and_no_id_is_2() {
    let place = Place::new();
    for arguments in [&["show"][..], &["touch"], &["revoke"], &["set", "k", "1"], &["unset", "k"]] {
        let with = |id| [&arguments[..1], &[id], &arguments[1..]].concat();
        assert_eq!(place.run(with(UNKNOWN)).refused(3), format!("no session {UNKNOWN}"));
        for wrong in ["1", "6F1C4B1E-8A0F-4C57-9D0A-3F6C2B7E5D11", "../../etc", ""] {
            let said = place.run(with(wrong)).refused(2);
            assert!(said.contains("not a session id: expected a UUID of 36 lower-case characters"), "{said}");
        }
    }
}
