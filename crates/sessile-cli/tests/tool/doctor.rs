//! `doctor` on SQLite files, each with one fault built in.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use serde_json::Value;

use crate::support::{Place, Ran};

const COLUMNS: &str =
    "user_id VARCHAR(36), data TEXT, created_at DATETIME, expires_at DATETIME NOT NULL, updated_at DATETIME";

/// The findings as JSON; the exit code and the verdict of all must agree with them.
#[track_caller]
pub(crate) fn examined(ran: Ran) -> Vec<Value> {
    assert_eq!(ran.out.lines().count(), 1, "{ran:?}");
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    let findings = report["findings"].as_array().unwrap().clone();
    let wrong = findings.iter().filter(|it| it["verdict"] == "wrong").count();
    assert_eq!(ran.code, i32::from(wrong > 0), "{ran:?}");
    assert_eq!(report["verdict"] == "wrong", wrong > 0, "{report}");
    assert_eq!(ran.err.lines().count(), usize::from(wrong > 0), "{ran:?}");
    assert!(findings.iter().all(|it| !it["meaning"].as_str().unwrap().is_empty()), "{report}");
    findings
}

/// Those that are not good, as `verdict subject`.
#[track_caller]
pub(crate) fn bad(findings: &[Value]) -> Vec<String> {
    let text = |it: &Value, key: &str| it[key].as_str().unwrap().to_owned();
    let bad = findings.iter().filter(|it| it["verdict"] != "good");
    bad.map(|it| format!("{} {}", text(it, "verdict"), text(it, "subject"))).collect()
}

#[track_caller]
pub(crate) fn about<'a>(findings: &'a [Value], subject: &str) -> &'a Value {
    findings.iter().find(|it| it["subject"] == subject).unwrap_or_else(|| panic!("{subject}: {findings:?}"))
}

#[track_caller]
fn doctor(place: &Place) -> Vec<Value> {
    examined(place.run(["doctor", "--json"]))
}

#[test]
fn all_is_good_with_a_table_that_init_made() {
    let place = Place::new();
    let id = place.id(&["--user", "ada"]);
    let before = place.show(&id);
    let findings = doctor(&place);
    assert_eq!(bad(&findings), [""; 0]);
    for subject in ["file", "journal_mode", "integrity", "table", "indexes", "writing", "synchronous"] {
        about(&findings, subject);
    }
    assert!(about(&findings, "synchronous")["meaning"].as_str().unwrap().contains("logout"));
    assert_eq!((place.show(&id), place.run(["stats", "--json"]).json()["live"].clone()), (before, 1.into()));

    let told = place.run(["doctor"]);
    assert_eq!((told.code, &*told.err), (0, ""));
    assert!(
        told.out.lines().all(|line| line.starts_with("good   ") || line.starts_with("       ")),
        "{told:?}"
    );
    assert!(!told.out.contains('\x1b'));
}

/// Marks, meaning and remedy in lines of their own, in any width.
#[test]
fn the_list_is_for_people() {
    let place = Place::new();
    place.sql("DROP INDEX ix_sessions_expires_at");
    for width in ["50", "100"] {
        let told = Ran::of(place.command(["doctor"]).env("COLUMNS", width).output().unwrap());
        assert_eq!((told.code, &*told.err), (0, ""));
        assert!(told.out.lines().all(|line| line.chars().count() <= width.parse().unwrap()), "{told:?}");
        assert!(told.out.contains("\nnote   indexes: none on expires_at\n"), "{told:?}");
        assert!(told.out.contains("\n       Each step of a purge reads the"), "{told:?}");
        assert!(told.out.contains("\n       To do: run `sessile init --store"), "{told:?}");
    }
}

#[test]
fn a_missing_index_is_a_note_and_init_makes_it() {
    for (index, column) in [("ix_sessions_user_id", "user_id"), ("ix_sessions_expires_at", "expires_at")] {
        let place = Place::new();
        place.sql(&format!("DROP INDEX {index}"));
        let findings = doctor(&place);
        assert_eq!(bad(&findings), ["note indexes"]);
        assert_eq!(about(&findings, "indexes")["seen"], format!("none on {column}"));
        // Of some rows only, or beginning with something else, it is none.
        place.sql(&format!(
            "CREATE INDEX a ON sessions ({column}) WHERE data IS NULL; CREATE INDEX b ON sessions (data, {column})"
        ));
        assert_eq!(bad(&doctor(&place)), ["note indexes"]);
        place.run(["init"]).done();
        assert_eq!(bad(&doctor(&place)), [""; 0]);
    }
}

/// And it stays as it is: looking is not opening.
#[test]
fn another_journal_than_write_ahead_is_a_note_and_stays() {
    let place = Place::new();
    place.sql("PRAGMA journal_mode = DELETE");
    for _ in 0..2 {
        let findings = doctor(&place);
        assert_eq!(bad(&findings), ["note journal_mode"]);
        assert_eq!(about(&findings, "journal_mode")["seen"], "delete");
    }
    place.run(["list"]).done();
    assert_eq!(bad(&doctor(&place)), [""; 0]);
}

#[test]
fn a_table_that_is_none_of_ours_is_wrong() {
    let place = Place::empty();
    place.sql("PRAGMA journal_mode = WAL; CREATE TABLE other (x)");
    let findings = doctor(&place);
    assert_eq!(bad(&findings), ["wrong table"]);
    assert!(about(&findings, "table")["remedy"].as_str().unwrap().starts_with("run `sessile init --store"));

    place.sql("CREATE TABLE sessions (id TEXT PRIMARY KEY, data, created_at, expires_at, updated_at)");
    assert!(about(&doctor(&place), "table")["seen"].as_str().unwrap().starts_with("no column \"user_id\""));

    place.sql(&format!("DROP TABLE sessions; CREATE TABLE sessions (id VARCHAR(36), {COLUMNS})"));
    let seen = about(&doctor(&place), "table")["seen"].as_str().unwrap().to_owned();
    assert!(seen.ends_with("is neither primary key nor unique"), "{seen}");
}

/// Compare-and-swap would take one text for another.
#[test]
fn a_collation_that_ignores_case_or_blanks_is_wrong() {
    for (column, collation) in
        [("data TEXT", "NOCASE"), ("user_id VARCHAR(36)", "RTRIM"), ("id VARCHAR(36)", "NOCASE")]
    {
        let place = Place::empty();
        let table = format!("CREATE TABLE sessions (id VARCHAR(36), {COLUMNS}, PRIMARY KEY (id))");
        place.sql(&table.replacen(column, &format!("{column} COLLATE {collation}"), 1));
        place.run(["init"]).done();
        let findings = doctor(&place);
        assert_eq!(bad(&findings), ["wrong collation"], "{column}");
        let name = column.split(' ').next().unwrap();
        assert!(about(&findings, "collation")["seen"].as_str().unwrap().contains(&format!(" {name} ")));
    }
}

#[test]
fn a_column_of_numbers_for_users_is_a_note() {
    let place = Place::empty();
    let table = format!("CREATE TABLE sessions (id VARCHAR(36), {COLUMNS}, PRIMARY KEY (id))");
    place.sql(&table.replace("user_id VARCHAR(36)", "user_id INTEGER"));
    place.run(["init"]).done();
    let findings = doctor(&place);
    assert_eq!(bad(&findings), ["note table"]);
    assert!(about(&findings, "table")["meaning"].as_str().unwrap().contains("007 becomes 7"));
}

/// A trigger that swallows deletions would make every logout a false "done".
#[test]
fn a_trigger_in_the_way_is_found_and_the_row_does_not_stay() {
    let place = Place::new();
    place.sql("CREATE TRIGGER t BEFORE DELETE ON sessions BEGIN SELECT RAISE(IGNORE); END");
    assert_eq!(bad(&doctor(&place)), ["wrong writing"]);
    assert_eq!(place.run(["list", "--all", "--json"]).done(), "");
}

#[test]
fn somebody_elses_lock_is_said() {
    let place = Place::new();
    let other = rusqlite::Connection::open(place.file()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let findings = doctor(&place);
    assert_eq!(bad(&findings), ["wrong writing"]);
    assert!(about(&findings, "writing")["seen"].as_str().unwrap().contains("is locked by another writer"));
}

#[test]
fn a_file_that_is_missing_or_no_database_is_one_line() {
    let place = Place::empty();
    let findings = doctor(&place);
    assert_eq!(bad(&findings), ["wrong store"]);
    assert!(!place.file().exists());

    let text = "Dear diary, this is not a database at all.\n".repeat(50);
    std::fs::write(place.file(), &text).unwrap();
    let findings = doctor(&place);
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(findings[0]["seen"].as_str().unwrap().contains("is not a SQLite database"), "{findings:?}");
    assert_eq!(std::fs::read_to_string(place.file()).unwrap(), text);
}

/// Pages of the index overwritten: rows are not found by it any more.
#[test]
fn damage_is_found() {
    let place = Place::new();
    for user in ["ada", "bob", "eve"] {
        place.id(&["--user", user]);
    }
    let sql = rusqlite::Connection::open(place.file()).unwrap();
    let root: u32 = sql
        .query_row("SELECT rootpage FROM sqlite_schema WHERE name = 'ix_sessions_user_id'", (), |row| {
            row.get(0)
        })
        .unwrap();
    drop(sql);
    let mut bytes = std::fs::read(place.file()).unwrap();
    let size = usize::from(u16::from_be_bytes([bytes[16], bytes[17]]));
    let page = (usize::try_from(root).unwrap() - 1) * size;
    bytes[page..page + size].fill(0xff);
    std::fs::write(place.file(), bytes).unwrap();
    let findings = doctor(&place);
    assert!(bad(&findings).contains(&"wrong integrity".to_owned()), "{findings:?}");
    assert!(about(&findings, "integrity")["remedy"].as_str().unwrap().contains(".recover"));
}

/// As a user who may only read: root may write anything, so it becomes nobody.
#[test]
fn a_file_that_may_only_be_read_is_wrong() {
    let place = Place::new();
    place.sql("PRAGMA journal_mode = DELETE");
    let folder = place.file().parent().unwrap().to_owned();
    let tool = folder.join("sessile");
    std::fs::copy(env!("CARGO_BIN_EXE_sessile"), &tool).unwrap();
    std::fs::set_permissions(place.file(), Permissions::from_mode(0o444)).unwrap();
    std::fs::set_permissions(&folder, Permissions::from_mode(0o555)).unwrap();
    let mut command = Command::new(tool);
    command.args(["doctor", "--json", "--store", &place.store()]).current_dir(&folder);
    if rustix::process::geteuid().is_root() {
        command.uid(65_534).gid(65_534);
    }
    let ran = Ran::of(command.output().unwrap());
    std::fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
    let findings = examined(ran);
    assert!(bad(&findings).contains(&"wrong file".to_owned()), "{findings:?}");
    assert!(about(&findings, "file")["seen"].as_str().unwrap().ends_with("read-only"), "{findings:?}");
}

#[test]
fn memory_is_gone_with_the_process() {
    let place = Place::empty();
    let findings = examined(place.run(["doctor", "--json", "--store", "memory:"]));
    assert_eq!(bad(&findings), ["note durability"]);
}

/// [S14] The URL that is repeated has no password.
#[cfg(feature = "postgres")]
#[test]
fn a_server_that_cannot_be_reached_is_one_finding() {
    let place = Place::empty();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("postgres://ada:hunter2@127.0.0.1:{port}/shop");
    let ran = place.run(["doctor", "--json", "--store", &url]);
    assert!(!format!("{ran:?}").contains("hunter2"), "{ran:?}");
    let findings = examined(ran);
    assert_eq!(bad(&findings), ["wrong store"]);
    assert!(findings[0]["seen"].as_str().unwrap().contains("Connection refused"), "{findings:?}");
}
