//! Session variables that the server's configuration, an administrator or `init_connect` sets for each new
//! connection, and connections that the server closes.

use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder};
use sessile::record::SessionId;
use sessile::store::mysql::MySqlOptions;
use sessile::store::{
    ListQuery, Liveness, MySqlStore, Outcome, PurgeLimits, SessionStore, StoreError, Write,
};
use sessile_test_servers::MariaDb;

use crate::mysql_server::Database;
use crate::support::{NOW, everything, id, insert, record, rotate, time, touch, until, update, user};

/// Starts a server for one test: the variables of the shared one are left alone.
async fn own(settings: &'static [(&str, &str)]) -> MariaDb {
    tokio::task::spawn_blocking(move || MariaDb::start_with(settings)).await.unwrap().unwrap()
}

async fn plain(url: &str) -> Conn {
    let opts = OptsBuilder::from_opts(Opts::from_url(url).unwrap()).prefer_socket(false);
    Conn::new(opts).await.unwrap()
}

async fn value(connection: &mut Conn, variable: &str) -> String {
    connection.query_first(format!("SELECT CAST(@@session.{variable} AS CHAR)")).await.unwrap().unwrap()
}

const ROWS: u32 = 12;

/// Every kind of write, listing and ending, through new connections. `seen` is a connection that was made before.
async fn live(url: &str, seen: &mut Conn, hostile: &str) {
    let store = MySqlStore::connect(url).await.unwrap_or_else(|error| panic!("{hostile}: {error}"));
    store.init().await.unwrap();
    let applied = async |write: Write| {
        let outcome = store.apply(write).await.unwrap_or_else(|error| panic!("{hostile}: {error}"));
        assert_eq!(outcome, Outcome::Applied, "{hostile}");
    };
    let batch = async |writes: Vec<Write>| {
        for outcome in store.apply_many(writes).await {
            assert_eq!(outcome.unwrap(), Outcome::Applied, "{hostile}");
        }
    };
    let mut rows =
        async || -> u64 { seen.query_first("SELECT COUNT(*) FROM sessions").await.unwrap().unwrap() };
    const DATA: &str = "{\"a\": \"\u{1f469} \\\\ \\\" é\"}";
    let of_ada = |number| Write::Insert(record(number, Some("ada"), "{}"));
    applied(of_ada(0)).await;
    batch((1..ROWS).map(of_ada).collect()).await;
    assert_eq!(rows().await, u64::from(ROWS), "{hostile}: an acknowledged write is not committed");
    applied(update(0, "{}", DATA)).await;
    batch(vec![update(1, "{}", DATA), touch(2, "2030-01-02 05:00:00", NOW)]).await;
    applied(touch(3, "2030-01-02 05:00:00", NOW)).await;
    applied(rotate(4, "{}", record(ROWS, Some("ada"), DATA))).await;
    applied(insert(100)).await;
    applied(Write::Delete(id(100))).await;
    assert_eq!(rows().await, u64::from(ROWS), "{hostile}: an acknowledged write is not committed");

    let ids: Vec<SessionId> = [0, 1, ROWS].into_iter().map(id).collect();
    let loaded = store.load_many(&ids).await;
    for (row, number) in loaded.into_iter().zip([0, 1, ROWS]) {
        assert_eq!(row.unwrap(), Some(record(number, Some("ada"), DATA)), "{hostile}");
    }
    let listed = store.list(&everything(5)).await.unwrap();
    assert_eq!(listed.records.len(), 5, "{hostile}");
    let next = ListQuery { after: listed.next, ..everything(100) };
    let rest = store.list(&next).await.unwrap().records;
    assert_eq!(rest.len(), ROWS as usize - 5, "{hostile}");
    assert!(rest.is_sorted_by_key(|record| record.id()), "{hostile}");
    assert_eq!(store.stats(time(NOW)).await.unwrap().live, u64::from(ROWS), "{hostile}");

    let of_user = ListQuery { user: Some(user("ada")), liveness: Liveness::Live, ..everything(100) };
    assert_eq!(store.list(&of_user).await.unwrap().records.len(), ROWS as usize, "{hostile}");
    batch(vec![insert(200), insert(201), insert(202)]).await;
    store.delete_user(&user("ada"), None).await.unwrap();
    assert_eq!(rows().await, 3, "{hostile}: a session of an ended user is still there");
    let purged = store.purge(time("2031-01-01 00:00:00"), PurgeLimits::default()).await.unwrap();
    assert_eq!(purged.removed.len(), 3, "{hostile}");
    assert_eq!(rows().await, 0, "{hostile}");
}

/// A variable, a value that would change a statement, what our connections have instead, and the usual value.
const HOSTILE: [(&str, &str, &str, &str); 15] = [
    ("completion_type", "'CHAIN'", "NO_CHAIN", "'NO_CHAIN'"),
    ("completion_type", "'RELEASE'", "NO_CHAIN", "'NO_CHAIN'"),
    ("autocommit", "0", "ON", "1"),
    ("sql_select_limit", "1", "18446744073709551615", "18446744073709551615"),
    ("sql_select_limit", "0", "18446744073709551615", "18446744073709551615"),
    ("max_join_size", "1", "18446744073709551615", "18446744073709551615"),
    ("sql_safe_updates", "1", "OFF", "0"),
    ("sql_auto_is_null", "1", "OFF", "0"),
    ("max_sort_length", "64", "1024", "1024"),
    ("foreign_key_checks", "0", "ON", "1"),
    ("unique_checks", "0", "ON", "1"),
    ("time_zone", "'+05:00'", "+00:00", "'SYSTEM'"),
    ("sql_mode", "'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'", "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION", "''"),
    ("max_statement_time", "0.5", "0.000000", "0"),
    ("tx_read_only", "1", "OFF", "0"),
];

/// [R17] Each of the variables alone.
#[tokio::test(flavor = "multi_thread")]
async fn global_variables_do_not_change_a_statement() {
    let server = own(&[]).await;
    let url = server.url();
    let mut seen = plain(&url).await;
    let mut administrator = plain(&url).await;
    administrator.query_drop("SET SESSION sql_select_limit = DEFAULT").await.unwrap();
    for (variable, hostile, ours, usual) in HOSTILE {
        let set = async |administrator: &mut Conn, value: &str| {
            administrator.query_drop(format!("SET GLOBAL {variable} = {value}")).await.unwrap();
        };
        set(&mut administrator, hostile).await;
        let what = format!("{variable} = {hostile}");
        let mut client = MySqlOptions::client(&url).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        let is = value(&mut client, variable).await;
        live(&url, &mut seen, &what).await;
        set(&mut administrator, usual).await;
        // What others set by `max_join_size` is undone by `sql_big_selects`.
        let (variable, ours) =
            if variable == "max_join_size" { ("sql_big_selects", "ON") } else { (variable, ours) };
        let is = if variable == "sql_big_selects" { value(&mut client, variable).await } else { is };
        assert_eq!(is, ours, "{what}");
    }
}

/// [R17] All at once, as the server's option file sets them.
#[tokio::test(flavor = "multi_thread")]
async fn configured_variables_do_not_change_a_statement() {
    let server = own(&[
        ("completion-type", "CHAIN"),
        ("autocommit", "0"),
        ("sql-mode", "ANSI_QUOTES,PAD_CHAR_TO_FULL_LENGTH"),
        ("transaction-isolation", "SERIALIZABLE"),
        ("character-set-server", "latin1"),
        ("collation-server", "latin1_swedish_ci"),
        ("character-set-client-handshake", "0"),
        ("default-time-zone", "+05:00"),
        ("innodb-lock-wait-timeout", "1"),
        ("lock-wait-timeout", "1"),
    ])
    .await;
    let mut seen = plain(&server.url()).await;
    seen.query_drop("SET SESSION completion_type = 0, autocommit = 1").await.unwrap();
    live(&server.url(), &mut seen, "the option file").await;
    let mut client = MySqlOptions::client(&server.url()).await.unwrap();
    for (variable, ours) in [
        ("completion_type", "NO_CHAIN"),
        ("autocommit", "ON"),
        ("tx_isolation", "READ-COMMITTED"),
        ("tx_read_only", "OFF"),
        ("character_set_client", "utf8mb4"),
        ("character_set_connection", "utf8mb4"),
        ("character_set_results", "utf8mb4"),
        ("collation_connection", "utf8mb4_bin"),
        ("time_zone", "+00:00"),
    ] {
        assert_eq!(value(&mut client, variable).await, ours, "{variable}");
    }
}

/// [R17] `init_connect` runs on each connection of a user without administrative rights.
#[tokio::test(flavor = "multi_thread")]
async fn init_connect_does_not_change_a_statement() {
    let server = own(&[]).await;
    let url = server.url();
    let mut administrator = plain(&url).await;
    for statement in [
        "CREATE USER web@'127.0.0.1' IDENTIFIED BY 'w'",
        "GRANT ALL ON sessile.* TO web@'127.0.0.1'",
        "SET GLOBAL init_connect = 'SET NAMES latin1; SET completion_type = 1, autocommit = 0, \
            sql_select_limit = 1, sql_mode = \"\", time_zone = \"+05:00\", tx_isolation = \"SERIALIZABLE\"; \
            START TRANSACTION READ ONLY'",
    ] {
        administrator.query_drop(statement).await.unwrap();
    }
    let (_, place) = url.rsplit_once('@').unwrap();
    live(&format!("mysql://web:w@{place}"), &mut administrator, "init_connect").await;
}

/// [R17] A key of another table that refers to a session works as it was declared.
#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_key_is_obeyed() {
    let server = own(&[]).await;
    let mut administrator = plain(&server.url()).await;
    administrator.query_drop("SET GLOBAL foreign_key_checks = 0").await.unwrap();
    let store = MySqlStore::connect(&server.url()).await.unwrap();
    store.init().await.unwrap();
    let carts = "CREATE TABLE carts (session VARCHAR(36) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, \
        FOREIGN KEY (session) REFERENCES sessions (id) ON DELETE CASCADE)";
    administrator.query_drop(carts).await.unwrap();
    store.apply(insert(1)).await.unwrap();
    administrator.query_drop(format!("INSERT INTO carts VALUES ('{}')", id(1))).await.unwrap();
    store.apply(Write::Delete(id(1))).await.unwrap();
    let left: Option<u64> = administrator.query_first("SELECT COUNT(*) FROM carts").await.unwrap();
    assert_eq!(left, Some(0));
}

/// [R19] Connections that the server closes after a second of idleness fail no write.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_after_a_short_wait_timeout_is_applied() {
    let server = own(&[("wait-timeout", "1")]).await;
    let store = MySqlStore::connect(&server.url()).await.unwrap();
    store.init().await.unwrap();
    for round in 0..3 {
        assert_eq!(store.apply(insert(round)).await.unwrap(), Outcome::Applied);
        for outcome in store.apply_many(vec![insert(round + 100), insert(round + 200)]).await {
            assert_eq!(outcome.unwrap(), Outcome::Applied);
        }
        store.load(id(round)).await.unwrap().unwrap();
        store.purge(time(NOW), PurgeLimits::default()).await.unwrap();
        // Until the server has closed all connections but that of its own client.
        let others = "SELECT COUNT(*) FROM information_schema.PROCESSLIST \
            WHERE DB = 'sessile' AND ID <> CONNECTION_ID()";
        while tokio::task::block_in_place(|| server.query(others)).unwrap().trim() != "0" {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    assert!(store.load(id(0)).await.unwrap().is_some());
}

/// [R01] A password that is changed while the service runs is an outage, which passes.
#[tokio::test(flavor = "multi_thread")]
async fn a_changed_password_is_an_outage() {
    let database = Database::new().await;
    let name = database.name.replace("sessile", "r");
    let mut administrator = database.connection().await;
    for statement in [
        format!("CREATE USER '{name}'@'%' IDENTIFIED BY 'before'"),
        format!("GRANT ALL ON {}.* TO '{name}'@'%'", database.name),
    ] {
        administrator.query_drop(statement).await.unwrap();
    }
    let url = database.url();
    let url = format!("mysql://{name}:before@{}", url.rsplit_once('@').unwrap().1);
    let store = MySqlStore::connect(&url).await.unwrap();
    store.init().await.unwrap();
    store.apply(insert(1)).await.unwrap();
    administrator.query_drop(format!("SET PASSWORD FOR '{name}'@'%' = PASSWORD('after')")).await.unwrap();
    let connections = "SELECT ID FROM information_schema.PROCESSLIST WHERE USER = ?";
    let connections: Vec<u64> = administrator.exec(connections, (&name,)).await.unwrap();
    for connection in connections {
        administrator.query_drop(format!("KILL {connection}")).await.unwrap();
    }
    for _ in 0..3 {
        for error in [store.load(id(1)).await.unwrap_err(), store.apply(insert(2)).await.unwrap_err()] {
            assert!(matches!(error, StoreError::Unavailable { .. }) && error.is_transient(), "{error}");
        }
    }
    let error = MySqlStore::connect(&url).await.unwrap_err();
    assert!(matches!(error, StoreError::Refused { .. }), "{error}");
    administrator.query_drop(format!("SET PASSWORD FOR '{name}'@'%' = PASSWORD('before')")).await.unwrap();
    until(async || store.load(id(1)).await.is_ok_and(|row| row.is_some())).await;
    administrator.query_drop(format!("DROP USER '{name}'@'%'")).await.unwrap();
}

/// [R19] No decision depends on the text of a message.
#[tokio::test(flavor = "multi_thread")]
async fn the_language_of_messages_changes_nothing() {
    let server = own(&[("lc-messages", "de_DE")]).await;
    let mut seen = plain(&server.url()).await;
    let said = seen.query_drop("SELECT * FROM absent").await.unwrap_err().to_string();
    assert!(said.contains("existiert nicht"), "{said}");
    live(&server.url(), &mut seen, "lc_messages = de_DE").await;
    let store = MySqlStore::connect(&server.url()).await.unwrap();
    assert_eq!(store.apply(insert(1)).await.unwrap(), Outcome::Applied);
    assert_eq!(store.apply(insert(1)).await.unwrap(), Outcome::Unmatched);
    seen.query_drop("ALTER TABLE sessions MODIFY data VARCHAR(10)").await.unwrap();
    let large = update(1, "{}", "{\"secret\": \"hunter2\"}");
    let StoreError::Schema { problem, remedy } = store.apply(large).await.unwrap_err() else { panic!() };
    assert!(problem.contains("is too small") && remedy.contains("MODIFY data MEDIUMTEXT"), "{problem}");
    assert!(!problem.contains("hunter2"), "{problem}");
    seen.query_drop("ALTER TABLE sessions DROP COLUMN data").await.unwrap();
    let error = store.load(id(1)).await.unwrap_err();
    assert!(matches!(error, StoreError::Schema { .. }), "{error}");
    seen.query_drop("DROP TABLE sessions").await.unwrap();
    let error = store.load(id(1)).await.unwrap_err();
    assert!(matches!(error, StoreError::Schema { .. }), "{error}");
}

/// A message that quotes nothing is shown whole.
#[tokio::test(flavor = "multi_thread")]
async fn an_apostrophe_is_not_a_quotation_mark() {
    let server = own(&[("max-prepared-stmt-count", "1")]).await;
    let store = MySqlStore::connect(&server.url()).await.unwrap();
    let error = store.load(id(1)).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    assert!(error.to_string().contains("Can't create more than max_prepared_stmt_count"), "{error}");
}
