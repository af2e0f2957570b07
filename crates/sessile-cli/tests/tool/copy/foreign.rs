//! Sessions of other frameworks, from tables as those make them. The frameworks themselves are in
//! `tests/switch`.

use serde_json::{Value, json};
use sessile::SessionId;

use super::{Pair, assert_counts};

/// What Django 5.2 made of four sessions under this key.
const KEY: &str = "a secret key of a test";
const CART: &str = ".eJylTLsKgCAU_Zc7h7gFje19QYXc9JpWKPiYon9PoaHmznDgPE8QmJMROVIQVkEHLTRvb0G5k6uB2tCtnknvUrALqxX2pJENXtHRP93PgcFoypr_RDmVGBJ0IyTCotYwZc61rKw0wXzdRuY8gA:1wShJQ:m2GY7BgkugcfE__aWQM7kKEqOwc9nKymaGif5uU9wNU";
const ANONYMOUS: &str = "eyJhIjoxfQ:1wShJQ:mFcV3we_H3iN-R97-_DyLxGNrIY30XU8HmSMtUjQtdk";
const UNTIL_CLOSED: &str = "eyJfYXV0aF91c2VyX2lkIjoiOCIsIl9zZXNzaW9uX2V4cGlyeSI6MH0:1wShJQ:Vm7CEalGGX5TRuXU1KPa-lSVkly81HxpFlL7hNbhgPQ";

const KEYS: [&str; 4] = [
    "0000000000000000000000000000aaaa",
    "0000000000000000000000000000bbbb",
    "0000000000000000000000000000cccc",
    "0000000000000000000000000000dddd",
];

impl Pair {
    /// With Django's table beside ours, which stays empty.
    fn of_django() -> Pair {
        let pair = Pair::new();
        pair.place.sql(&format!(
            "CREATE TABLE django_session (session_key varchar(40) NOT NULL PRIMARY KEY, session_data text NOT NULL, \
             expire_date datetime NOT NULL); INSERT INTO django_session VALUES \
             ('{}', '{CART}', '2999-01-01 00:00:00'), ('{}', '{ANONYMOUS}', '2999-01-01 00:00:00.5'), \
             ('{}', '{UNTIL_CLOSED}', '2999-01-01 00:00:00'), ('{}', '{ANONYMOUS}', '2020-01-01 00:00:00')",
            KEYS[0], KEYS[1], KEYS[2], KEYS[3]
        ));
        pair
    }

    #[track_caller]
    fn shown_there(&self, secret: &str) -> Value {
        let id = SessionId::of_secret(secret.as_bytes()).to_string();
        self.at_target(&["show", &id, "--json"]).json()
    }
}

const DJANGO: &[&str] = &["--from-format", "django"];

#[test]
fn djangos_sessions_keep_their_user_their_data_and_their_end() {
    let pair = Pair::of_django();
    let ran = pair.copy(&[DJANGO, &["--json", "--secret-key", "not this one", "--secret-key", KEY]].concat());
    assert_eq!(ran.err, "");
    assert_counts(&ran.json(), &[("read", 3), ("copied", 3)]);
    let ada = pair.shown_there(KEYS[0]);
    assert_eq!((&ada["user_id"], &ada["data"]["cart"]), (&json!("7"), &json!(["tea", "grüße"])));
    assert_eq!(ada["data"]["_auth_user_backend"], "django.contrib.auth.backends.ModelBackend");
    assert_eq!((&ada["expires_at"], &ada["remembered"]), (&json!("2999-01-01T00:00:00Z"), &json!(false)));
    assert_eq!(ada["created_at"], ada["updated_at"]);
    let anonymous = pair.shown_there(KEYS[1]);
    assert_eq!((&anonymous["user_id"], &anonymous["data_text"]), (&Value::Null, &json!(r#"{"a":1}"#)));
    assert_eq!(anonymous["expires_at"], "2999-01-01T00:00:00.500000Z");
    assert_counts(&pair.counts(DJANGO), &[("read", 3), ("present", 3)]);
}

/// One URL names one table, whichever command reads it.
#[test]
fn the_name_of_a_foreign_table_is_decoded() {
    let pair = Pair::of_django();
    pair.place.sql("ALTER TABLE django_session RENAME TO \"old sessions\"");
    let (from, to) = (format!("{}?table=old%20sessions", pair.place.store()), pair.target());
    let copy = ["copy", "--from", &from, "--to", &to, "--json", "--secret-key", KEY];
    assert_counts(&pair.place.run([&copy[..], DJANGO].concat()).json(), &[("read", 3), ("copied", 3)]);
}

#[test]
fn djangos_signatures_are_verified_where_the_key_is_known() {
    let pair = Pair::of_django();
    let ran = pair.copy(&[DJANGO, &["--json"]].concat());
    assert!(ran.err.contains("signatures are not verified"), "{ran:?}");
    assert_counts(&ran.json(), &[("read", 3), ("copied", 3)]);
    let other = pair.target().replace(".new", ".other");
    let mut command = pair.place.command(["copy", "--from", &pair.place.store(), "--to", &other, "--json"]);
    command.args(DJANGO).args(["--journal", "other"]).env("SESSILE_DJANGO_SECRET_KEY", "hunter2");
    let ran = crate::support::Ran::of(command.output().unwrap());
    assert_eq!(ran.err.matches("its signature is not by this secret key").count(), 3);
    assert!(!format!("{ran:?}").contains("hunter2"));
    assert_counts(&ran.json(), &[("malformed", 3)]);
}

#[test]
fn remembered_sessions_outlive_the_browser_but_for_those_that_must_not() {
    let pair = Pair::of_django();
    assert_counts(&pair.counts(&[DJANGO, &["--remember"]].concat()), &[("read", 3), ("copied", 3)]);
    let remembered = |key| pair.shown_there(key)["remembered"].clone();
    assert_eq!(
        [remembered(KEYS[0]), remembered(KEYS[1]), remembered(KEYS[2])],
        [json!(true), json!(true), json!(false)]
    );
    assert_eq!(pair.shown_there(KEYS[1])["data"]["a"], 1);
}

/// Their rows do not say when they were changed: ours gives way until somebody has used it.
#[test]
fn a_second_run_follows_the_source_until_the_session_is_used_at_the_target() {
    let pair = Pair::of_django();
    pair.counts(DJANGO);
    pair.place.sql(&format!(
        "UPDATE django_session SET session_data = '{CART}' WHERE session_data = '{ANONYMOUS}'"
    ));
    assert_counts(&pair.counts(DJANGO), &[("read", 3), ("copied", 1), ("present", 2)]);
    assert_eq!(pair.shown_there(KEYS[1])["user_id"], "7");
    pair.place.sql(&format!(
        "UPDATE django_session SET session_data = '{ANONYMOUS}' WHERE session_key = '{}'",
        KEYS[1]
    ));
    let id = SessionId::of_secret(KEYS[1].as_bytes()).to_string();
    pair.at_target(&["set", &id, "here", "true"]).done();
    assert_counts(&pair.counts(DJANGO), &[("read", 3), ("newer_there", 1), ("present", 2)]);
    // A sign-out on either side holds.
    pair.at_target(&["revoke", &id]).done();
    pair.place.sql(&format!("DELETE FROM django_session WHERE session_key = '{}'", KEYS[0]));
    let said = pair.counts(DJANGO);
    assert_counts(&said, &[("read", 2), ("ended_there", 1), ("ended_here", 1), ("present", 1)]);
}

/// [S14] The key of a foreign row is the secret of its cookie.
#[test]
fn no_foreign_key_is_ever_shown() {
    let pair = Pair::of_django();
    pair.place.sql("UPDATE django_session SET session_data = 'broken' WHERE session_key LIKE '%bbbb'");
    pair.place.sql("UPDATE django_session SET expire_date = 'never' WHERE session_key LIKE '%cccc'");
    let ran = pair.copy(DJANGO);
    assert!(
        ran.err.contains("its data has no signature") && ran.err.contains("its expiry is no time"),
        "{ran:?}"
    );
    assert!(ran.err.contains(&SessionId::of_secret(KEYS[1].as_bytes()).to_string()), "{ran:?}");
    let journal = std::fs::read_to_string(pair.journal()).unwrap();
    let listed = pair.at_target(&["list", "--json"]).done();
    for key in KEYS {
        assert!(!format!("{ran:?}{journal}{listed}").contains(key));
    }
}

#[test]
fn tower_sessions_from_their_own_table() {
    let pair = Pair::new();
    pair.place.sql(
        "CREATE TABLE tower_sessions (id text primary key not null, data blob not null, expiry_date integer not null)",
    );
    let connection = rusqlite::Connection::open(pair.place.file()).unwrap();
    let insert = |key: &str, data: &[u8]| {
        let row = (key, data, "2999-01-01T00:00:00.123456789Z");
        connection.execute("INSERT INTO tower_sessions VALUES (?1, ?2, ?3)", row).unwrap();
    };
    let packed = |data: Value| rmp_serde::to_vec(&(1i128, data, (2030, 1, 0, 0, 0, 0, 0, 0, 0))).unwrap();
    insert("AAAAAAAAAAAAAAAAAAAAAA", &packed(json!({"user": {"id": 42}, "cart": ["tea"]})));
    insert("AAAAAAAAAAAAAAAAAAAAAQ", &packed(json!({"cart": []})));
    insert(
        "AAAAAAAAAAAAAAAAAAAAAg",
        &rmp_serde::to_vec(&(1i128, std::collections::HashMap::from([(1, 2)]), 0)).unwrap(),
    );
    let copy = ["--from-format", "tower-sessions", "--user-key", "/user/id", "--json"];
    let ran = pair.copy(&copy);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("was not copied: its data is no"), "{ran:?}");
    assert_counts(&serde_json::from_str(&ran.out).unwrap(), &[("read", 2), ("copied", 2), ("failed", 1)]);
    let ada = pair.shown_there("AAAAAAAAAAAAAAAAAAAAAA");
    assert_eq!((&ada["user_id"], &ada["data"]["cart"]), (&json!("42"), &json!(["tea"])));
    assert_eq!(ada["expires_at"], "2999-01-01T00:00:00.123456Z");
    assert_eq!(pair.shown_there("AAAAAAAAAAAAAAAAAAAAAQ")["user_id"], Value::Null);
}

#[test]
fn an_option_without_its_format_is_usage() {
    let pair = Pair::of_django();
    for (arguments, says) in [
        (&["--user-key", "u"][..], "--user-key means nothing with --from-format sessile"),
        (&["--remember"], "--remember means nothing"),
        (
            &["--user-key", "u", "--from-format", "django"],
            "--user-key means nothing with --from-format django",
        ),
        (&["--from-format", "rails"], ""),
    ] {
        let ran = pair.copy(arguments);
        assert!(ran.code == 2 && ran.err.contains(says), "{ran:?}");
    }
    let ran = pair.copy(&["--from-format", "tower-sessions"]);
    assert!(
        ran.err.contains("the table to copy from cannot be read") && ran.err.contains("no such table"),
        "{ran:?}"
    );
    assert!(!pair.target_file().exists());
}
