//! Connecting, making the table, and being told what is wrong.

use std::time::Duration;

use mysql_async::prelude::Queryable;
use sessile::record::{Clock, SystemClock};
use sessile::store::{MySqlStore, SessionStore, StoreError, StoreUrl};

use crate::mysql_server::{Database, SQLALCHEMY, server, with_option};
use crate::support::{id, insert};

#[tokio::test]
async fn a_store_url_opens_it() {
    let database = Database::new().await;
    for (scheme, name) in [("mysql:", "web%20%60sessions%60?%3Ax"), ("mariadb:", "web2")] {
        let name = name.replace('?', "%3F");
        let url = with_option(&database.url(), &format!("table={name}&connections=1"));
        let url: StoreUrl = url.replacen("mysql:", scheme, 1).parse().unwrap();
        let store = url.connect().await.unwrap();
        assert!(store.load(id(1)).await.is_err());
        store.init().await.unwrap();
        store.apply(insert(1)).await.unwrap();
        assert!(store.load(id(1)).await.unwrap().is_some());
        assert_eq!(url.schema(), store.schema());
        store.check().await.unwrap();
    }
    assert_eq!(database.value("SELECT CAST(COUNT(*) AS CHAR) FROM `web ``sessions``?:x`").await, "1");
}

/// What `schema` says is what `init` makes.
#[tokio::test]
async fn the_schema_for_people_is_the_table() {
    let (one, other) = (Database::new().await, Database::new().await);
    let store = one.store(MySqlStore::options()).await;
    other.sql(&store.schema()).await;
    let made = async |database: &Database| {
        let row: (String, String) =
            database.connection().await.query_first("SHOW CREATE TABLE sessions").await.unwrap().unwrap();
        row.1
    };
    assert_eq!(made(&one).await, made(&other).await);
    let store = MySqlStore::connect(&other.url()).await.unwrap();
    store.init().await.unwrap();
    store.check().await.unwrap();
    assert_eq!(made(&one).await, made(&other).await);
}

/// Each process makes the table when it starts.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_may_make_the_table_at_once() {
    for made_by_sqlalchemy in [false, true, false, true] {
        let database = Database::new().await;
        if made_by_sqlalchemy {
            database.sql(SQLALCHEMY).await;
        }
        let mut stores = Vec::new();
        for _ in 0..6 {
            stores.push(MySqlStore::connect(&database.url()).await.unwrap());
        }
        let making: Vec<_> =
            stores.iter().cloned().map(|store| tokio::spawn(async move { store.init().await })).collect();
        for made in making {
            made.await.unwrap().unwrap();
        }
        let indexes = "SELECT CAST(COUNT(*) AS CHAR) FROM information_schema.STATISTICS \
            WHERE TABLE_SCHEMA = DATABASE()";
        assert_eq!(database.value(indexes).await, "3");
        stores[0].check().await.unwrap();
    }
}

#[tokio::test]
async fn what_is_missing_is_named_with_its_remedy() {
    let database = Database::new().await;
    let store = MySqlStore::connect(&database.url()).await.unwrap();
    let told = async || match store.check().await.unwrap_err() {
        StoreError::Schema { problem, remedy } => format!("{problem} ({remedy})"),
        other => panic!("{other}"),
    };
    assert!(told().await.starts_with("no table `sessions` in "));
    assert!(told().await.contains("(run `sessile init --store "));
    let StoreError::Schema { .. } = store.load(id(1)).await.unwrap_err() else { panic!() };
    let StoreError::Schema { .. } = store.apply(insert(1)).await.unwrap_err() else { panic!() };
    let mut sql = database.connection().await;
    let all = "created_at datetime, expires_at datetime, updated_at datetime";
    for (columns, problem) in [
        ("id varchar(36), expires_at datetime".to_owned(), "no column \"user_id\""),
        (
            format!("id varchar(36) PRIMARY KEY, user_id int, data text, {all}"),
            "the column \"user_id\" of the table",
        ),
        (
            format!("id varchar(36) PRIMARY KEY, user_id varchar(36), data blob, {all}"),
            "the column \"data\" of the table",
        ),
        (
            format!("id varchar(36), user_id varchar(36), data text, {all}, KEY (id)"),
            "the column \"id\" of the table",
        ),
        (
            format!("id varchar(36), user_id varchar(36), data text, {all}, UNIQUE (id, user_id)"),
            "the column \"id\" of the table",
        ),
    ] {
        sql.query_drop("DROP TABLE IF EXISTS sessions").await.unwrap();
        sql.query_drop(format!("CREATE TABLE sessions ({columns})")).await.unwrap();
        let told = told().await;
        assert!(told.starts_with(problem), "{told}");
    }
    sql.query_drop("ALTER TABLE sessions ADD PRIMARY KEY (id), ENGINE=MyISAM").await.unwrap();
    let engine = told().await;
    assert!(engine.contains("is kept by MyISAM, which has no transactions (ALTER TABLE"), "{engine}");
    sql.query_drop("ALTER TABLE sessions ENGINE=InnoDB").await.unwrap();
    store.check().await.unwrap();
    // Prepared while the table was another.
    store.apply(insert(1)).await.unwrap();
    sql.query_drop("ALTER TABLE sessions MODIFY data longtext, MODIFY expires_at datetime(3)").await.unwrap();
    assert!(store.load(id(1)).await.unwrap().is_some());
    store.apply(insert(2)).await.unwrap();
}

/// [S14] Neither a wrong one nor a right one; and who is not let in is told so for good.
#[tokio::test]
async fn the_password_is_in_no_message() {
    const PASSWORD: &str = "h'u nter:2@/?#%é\\\"";
    let encoded: String = PASSWORD.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let database = Database::new().await;
    let name = database.name.replace("sessile", "u");
    let mut sql = database.connection().await;
    let quoted = PASSWORD.replace('\\', "\\\\").replace('\'', "''");
    let grant = format!("GRANT CREATE ON {}.nothing TO '{name}'@'%'", database.name);
    sql.query_drop(format!("CREATE USER '{name}'@'%' IDENTIFIED BY '{quoted}'")).await.unwrap();
    sql.query_drop(grant).await.unwrap();
    let plain = database.url();
    let (_, place) = plain.rsplit_once('@').unwrap();
    let url = format!("mysql://{name}:{encoded}@{place}");

    let mut told = Vec::new();
    let parsed: StoreUrl = url.parse().unwrap();
    told.push(format!("{parsed} {parsed:?}"));
    let store = MySqlStore::connect(&url).await.unwrap();
    told.push(format!("{store:?}"));
    // May not make the table, nor see it.
    for error in [store.init().await.unwrap_err(), store.check().await.unwrap_err()] {
        told.push(format!("{error} {error:?}"));
    }
    MySqlStore::connect(&plain).await.unwrap().init().await.unwrap();
    sql.query_drop(format!("GRANT INSERT ON {}.sessions TO '{name}'@'%'", database.name)).await.unwrap();
    for error in [store.load(id(1)).await.unwrap_err(), store.check().await.unwrap_err()] {
        told.push(format!("{error} {error:?}"));
        assert!(error.to_string().contains("GRANT SELECT, INSERT, UPDATE, DELETE ON"), "{error}");
    }
    for wrong in [
        url.replace(&name, "nobody_there"),
        url.replace(&encoded, "another"),
        url.replace(&format!("/{}", database.name), "/no_such_database"),
    ] {
        let error = MySqlStore::connect(&wrong).await.unwrap_err();
        assert!(matches!(error, StoreError::Refused { .. }) && !error.is_transient(), "{error}");
        told.push(format!("{error} {error:?}"));
    }
    let told = told.join("\n");
    for form in [PASSWORD, &encoded, "nter"] {
        assert!(!told.contains(form), "{told}");
    }
    drop(store);
    sql.query_drop(format!("DROP USER '{name}'@'%'")).await.unwrap();
}

#[tokio::test]
async fn the_servers_clock_is_in_utc() {
    let store = MySqlStore::connect(&server()).await.unwrap();
    let theirs = store.clock().await.unwrap().unwrap();
    let ours = SystemClock.now();
    let apart = ours.saturating_since(theirs).max(theirs.saturating_since(ours));
    assert!(apart < Duration::from_secs(600), "{theirs} and {ours}");
}

#[tokio::test]
async fn a_name_that_cannot_be_one_is_refused() {
    for name in ["", "a\0b", "ends ", "👩", &"x".repeat(65)] {
        let error = MySqlStore::options().table(name).connect(&server()).await.unwrap_err();
        assert!(error.to_string().contains("cannot be the name"), "{error}");
    }
    let database = Database::new().await;
    database.store(MySqlStore::options().table("é".repeat(64))).await.check().await.unwrap();
}
