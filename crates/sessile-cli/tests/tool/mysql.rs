//! The tool on a real MariaDB, one of its own, so that its settings can be wrong.

use serde_json::Value;
use sessile_test_servers::MariaDb;

use crate::doctor::{about, bad, examined};
use crate::support::Place;

#[track_caller]
fn doctor(url: &str) -> Vec<Value> {
    examined(Place::empty().run(["doctor", "--json", "--store", url]))
}

/// What `init --sql` prints, the client executes, twice; and all is good then. [R07]
#[test]
fn the_sql_of_init_makes_a_table_that_is_good_and_nothing_is_left_behind() {
    let server = MariaDb::start_with(&[("sync-binlog", "1")]).unwrap();
    for option in ["", "?table=web%20%60sessions%60"] {
        let url = server.url() + option;
        assert_eq!(bad(&doctor(&url)), ["wrong table"]);
        let sql = Place::empty().run(["init", "--sql", "--store", &url]).done();
        server.query(&sql).unwrap();
        let findings = doctor(&url);
        assert_eq!(bad(&findings), [""; 0], "{sql}");
        for subject in [
            "server",
            "connections",
            "clock",
            "table",
            "indexes",
            "privileges",
            "writing",
            "innodb_flush_log_at_trx_commit",
            "innodb_doublewrite",
            "replication",
            "sql_mode",
            "time_zone",
        ] {
            about(&findings, subject);
        }
        server.query(&sql).unwrap();
    }
    assert_eq!(server.query("SELECT COUNT(*) FROM sessions").unwrap(), "0");
    // Only the end of the transaction takes away what a deletion leaves.
    server.query("CREATE TABLE kept AS SELECT * FROM sessions").unwrap();
    server
        .query("CREATE TRIGGER t AFTER DELETE ON sessions FOR EACH ROW INSERT INTO kept SELECT OLD.id, NULL, '', NULL, OLD.expires_at, NULL")
        .unwrap();
    assert_eq!(bad(&doctor(&server.url())), [""; 0]);
    assert_eq!(server.query("SELECT COUNT(*) FROM kept").unwrap(), "0");
}

/// [S14]
#[test]
fn each_missing_right_and_each_weak_column_is_named() {
    let server = MariaDb::start().unwrap();
    let url = server.url();
    Place::empty().run(["init", "--store", &url]).done();
    let (head, place) = url.rsplit_once('@').unwrap();
    assert!(head.starts_with("mysql://"), "a URL with a user");
    let role = format!("mysql://ada:hunter2@{place}");
    let all = ["SELECT", "INSERT", "UPDATE", "DELETE"];
    server.query("CREATE USER ada@'127.0.0.1' IDENTIFIED BY 'hunter2'").unwrap();
    for (right, stops) in [
        ("INSERT", "Nobody can sign in"),
        ("UPDATE", "No session can be changed"),
        ("DELETE", "Nobody can sign out"),
    ] {
        let others: Vec<&str> = all.into_iter().filter(|it| *it != right).collect();
        server.query("GRANT USAGE ON *.* TO ada@'127.0.0.1'").unwrap();
        server.query(&format!("GRANT {} ON sessions TO ada@'127.0.0.1'", others.join(", "))).unwrap();
        let ran = Place::empty().run(["doctor", "--json", "--store", &role]);
        assert!(!format!("{ran:?}").contains("hunter2"), "{ran:?}");
        let findings = examined(ran);
        assert_eq!(bad(&findings), ["wrong privileges"], "{right}");
        let privileges = about(&findings, "privileges");
        assert_eq!(privileges["seen"], format!("no right to {right}"));
        assert!(privileges["meaning"].as_str().unwrap().starts_with(stops), "{privileges}");
        server.query("REVOKE ALL ON sessions FROM ada@'127.0.0.1'").unwrap();
    }

    // The remedy of each, executed as it is printed, puts it right.
    for (fault, verdict, seen) in [
        ("MODIFY data VARCHAR(4000)", "note", "data is varchar(4000)"),
        ("MODIFY data MEDIUMTEXT CHARACTER SET latin1", "note", "data is in the character set latin1"),
        ("MODIFY expires_at DATETIME NOT NULL", "note", "expires_at is datetime"),
        ("MODIFY created_at TIMESTAMP NULL", "note", "created_at is timestamp"),
        ("MODIFY id VARCHAR(32) NOT NULL", "wrong", "id is varchar(32)"),
        ("ENGINE=MyISAM", "wrong", "the table `sessions`"),
    ] {
        server.query(&format!("ALTER TABLE sessions {fault}")).unwrap();
        let findings = doctor(&url);
        assert_eq!(bad(&findings), [format!("{verdict} table")], "{fault}");
        let table = about(&findings, "table");
        assert!(table["seen"].as_str().unwrap().starts_with(seen), "{table}");
        server.query(table["remedy"].as_str().unwrap()).unwrap();
        assert_eq!(bad(&doctor(&url)), [""; 0], "{fault}");
    }
    // A UUID, an address: [F04]
    for (length, verdict) in
        [(20, "wrong user_id"), (35, "wrong user_id"), (36, "note user_id"), (254, "note user_id")]
    {
        server.query(&format!("ALTER TABLE sessions MODIFY user_id VARCHAR({length})")).unwrap();
        let findings = doctor(&url);
        assert_eq!(bad(&findings), [verdict], "{length}");
        let user = about(&findings, "user_id");
        assert_eq!(user["seen"], format!("user_id is varchar({length})"));
        let remedy = user["remedy"].as_str().unwrap();
        assert_eq!(
            remedy,
            "ALTER TABLE `sessions` MODIFY user_id VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
        );
        server.query(remedy).unwrap();
        assert_eq!(bad(&doctor(&url)), [""; 0], "{length}");
    }
    for wide in ["VARCHAR(255)", "VARCHAR(500)"] {
        server.query(&format!("ALTER TABLE sessions MODIFY user_id {wide}")).unwrap();
        assert_eq!(bad(&doctor(&url)), [""; 0], "{wide}");
    }
    server.query("DROP INDEX ix_sessions_user_id ON sessions").unwrap();
    let findings = doctor(&url);
    assert_eq!(bad(&findings), ["note indexes"]);
    assert_eq!(about(&findings, "indexes")["seen"], "none on user_id");
    Place::empty().run(["init", "--store", &url]).done();
    assert_eq!(bad(&doctor(&url)), [""; 0]);
    server.query("ALTER TABLE sessions MODIFY user_id VARCHAR(255) NOT NULL").unwrap();
    assert_eq!(bad(&doctor(&url)), ["wrong writing"]);
}

/// [R06]
#[test]
fn a_server_that_forgets_is_wrong() {
    let settings = [
        ("innodb-flush-log-at-trx-commit", "2"),
        ("innodb-doublewrite", "0"),
        ("log-bin", "log"),
        ("sync-binlog", "0"),
        ("sql-mode", ""),
    ];
    let server = MariaDb::start_with(&settings).unwrap();
    Place::empty().run(["init", "--store", &server.url()]).done();
    let findings = doctor(&server.url());
    let wrong = [
        "wrong innodb_flush_log_at_trx_commit",
        "wrong sync_binlog",
        "wrong innodb_doublewrite",
        "note sql_mode",
    ];
    assert_eq!(bad(&findings), wrong);
    server.query("SET GLOBAL read_only = 1").unwrap();
    assert!(bad(&doctor(&server.url())).contains(&"wrong read_only".to_owned()));
    server.query("SET GLOBAL read_only = 0").unwrap();
    // The remedies are statements.
    for subject in ["innodb_flush_log_at_trx_commit", "sync_binlog", "sql_mode"] {
        let remedy = about(&findings, subject)["remedy"].as_str().unwrap();
        let statement = remedy.split(": ").nth(1).unwrap().split(", and the same").next().unwrap();
        server.query(statement).unwrap();
    }
    assert_eq!(bad(&doctor(&server.url())), ["wrong innodb_doublewrite"]);
}
