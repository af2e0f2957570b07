//! `init`, and what is said about a store that is not there or not one.

use crate::support::{Place, Ran, UNKNOWN};

#[test]
fn init_makes_the_table_and_changes_nothing_that_is_there() {
    let place = Place::empty();
    let first = place.run(["init", "--json"]).json();
    assert_eq!((first["table"].as_str(), first["store"].as_str()), (Some("sessions"), Some(&*place.store())));
    let id = place.id(&["--user", "ada"]);
    assert!(place.run(["init"]).done().starts_with("the table \"sessions\" is ready in sqlite:"));
    assert_eq!(place.show(&id)["user_id"], "ada");
}

#[test]
fn init_prints_its_sql_without_making_anything() {
    let place = Place::empty();
    let sql = place.run(["init", "--sql"]).done();
    assert!(sql.contains("CREATE TABLE IF NOT EXISTS \"sessions\"") && sql.contains("expires_at"), "{sql}");
    assert!(!place.file().exists());
    place.sql(&sql);
    assert_eq!(place.run(["stats", "--json"]).json()["live"], 0);
}

#[test]
fn init_prints_what_the_feed_needs_only_when_asked() {
    let place = Place::empty();
    let url = "postgres://localhost:1/shop?table=web sessions";
    let sql = place.run(["init", "--sql", "--store", url]).done();
    assert!(sql.contains("\"web sessions\"") && !sql.contains("TRIGGER"), "{sql}");
    let sql = place.run(["init", "--sql", "--feed", "--store", url]).done();
    assert!(sql.contains("AFTER UPDATE OR DELETE ON \"web sessions\""), "{sql}");
    let ran = place.run(["init", "--feed"]);
    assert!(ran.code == 1 && ran.err.contains("no feed of changes"), "{ran:?}");
}

#[test]
fn no_other_command_makes_a_missing_file() {
    let place = Place::empty();
    for arguments in [
        &["create"][..],
        &["show", UNKNOWN],
        &["set", UNKNOWN, "a", "1"],
        &["unset", UNKNOWN, "a"],
        &["touch", UNKNOWN],
        &["list"],
        &["revoke", UNKNOWN],
        &["revoke", "--user", "ada", "--yes"],
        &["purge"],
        &["stats"],
    ] {
        let said = place.run(arguments).refused(1);
        assert!(said.starts_with("no database file ") && said.contains("sessile init --store"), "{said}");
        assert!(!place.file().exists(), "{arguments:?}");
    }
}

#[test]
fn without_a_store_it_is_the_demo_shops_file_in_this_folder() {
    let place = Place::empty();
    let mut list = place.command(["list"]);
    let said = Ran::of(list.env_remove("SESSILE_STORE").output().unwrap()).refused(1);
    assert!(said.starts_with("no database file sessile.db "), "{said}");
}

#[test]
fn another_table_than_sessions() {
    let place = Place::empty();
    let store = format!("{}?table=web sessions", place.store());
    place.run(["init", "--store", &store]).done();
    let id = place.create(&["--store", &store])["id"].as_str().unwrap().to_owned();
    place.run(["show", &id, "--store", &store]).done();
    let said = place.run(["show", &id]).refused(1);
    assert!(said.starts_with("no table \"sessions\" in "), "{said}");
}

#[test]
fn an_unknown_store_url_is_named_with_what_would_be_right() {
    let place = Place::empty();
    for (url, right) in [
        ("oracle:x", "expected sqlite:PATH"),
        ("s.db", "expected sqlite:PATH"),
        ("sqlite:", "for example sqlite:sessile.db"),
        ("sqlite:x?tabel=y", "?table=NAME"),
        ("sqlite:///x.db", "sqlite:x.db for a relative path"),
        ("psql://h/d?password=hunter2", "expected sqlite:PATH"),
        ("postgres://ada:hun/ter2@h/d", "write / ? # and @ as %2F"),
    ] {
        let said = place.run(["list", "--store", url]).refused(2);
        assert!(said.starts_with("--store <URL>: ") && said.contains(right), "{said}");
        assert!(!said.contains("ter2"), "{said}");
    }
}

#[test]
fn a_file_that_is_no_database_stays_as_it_is() {
    let place = Place::empty();
    let text = "Dear diary, this is not a database at all.\n".repeat(50);
    std::fs::write(place.file(), &text).unwrap();
    for arguments in [&["list"][..], &["init"], &["create"]] {
        let ran = place.run(arguments);
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(
            ran.err.starts_with("error: ") && ran.err.contains("is not a SQLite database"),
            "{}",
            ran.err
        );
        assert!(ran.err.lines().skip(1).all(|line| line.starts_with("caused by: ")), "{}", ran.err);
    }
    assert_eq!(std::fs::read_to_string(place.file()).unwrap(), text);
}

#[test]
fn a_directory_or_a_missing_folder_is_said() {
    let place = Place::empty();
    std::fs::create_dir(place.file()).unwrap();
    assert!(place.run(["list"]).refused(1).contains("it is a directory"));
    assert!(
        place
            .run(["init", "--store", "sqlite:no/such/s.db"])
            .refused(1)
            .contains("there is no directory \"no/such\"")
    );
}

#[test]
fn a_table_with_a_missing_column_is_named() {
    let place = Place::empty();
    place.sql("CREATE TABLE sessions (id TEXT PRIMARY KEY, data TEXT, created_at TEXT, expires_at TEXT, updated_at TEXT)");
    for arguments in [&["list"][..], &["init"], &["create"], &["stats"], &["show", UNKNOWN]] {
        let said = place.run(arguments).refused(1);
        assert!(said.starts_with("no column \"user_id\" in the table \"sessions\""), "{arguments:?} {said}");
    }
}

#[test]
fn a_memory_store_is_said_to_be_gone_at_the_end() {
    let place = Place::empty();
    for store in ["memory:", "sqlite::memory:"] {
        let ran = place.run(["create", "--store", store, "--json"]);
        assert!(ran.err.contains("gone when this command ends"), "{ran:?}");
        assert_eq!(ran.json()["live"], true);
    }
}
