//! Connecting, making the table, and being told what is wrong.

use sessile::store::{PostgresStore, SessionStore, StoreError, StoreUrl};

use crate::postgres_server::{Schema, server, with_option};
use crate::support::{id, insert};

#[tokio::test]
async fn a_store_url_opens_it() {
    let schema = Schema::new().await;
    let url: StoreUrl =
        with_option(&schema.url(), "table=web%20%22sessions%22&connections=1").parse().unwrap();
    let store = url.connect().await.unwrap();
    store.init().await.unwrap();
    store.apply(insert(1)).await.unwrap();
    assert_eq!(schema.value("SELECT count(*) FROM \"web \"\"sessions\"\"\"").await, "1");
    assert!(store.schema().contains(".\"web \"\"sessions\"\"\" ("));
}

/// Each process makes the table when it starts.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_may_make_the_table_at_once() {
    for _ in 0..5 {
        let schema = Schema::new().await;
        let mut stores = Vec::new();
        for _ in 0..6 {
            stores.push(PostgresStore::options().connections(1).connect(&schema.url()).await.unwrap());
        }
        let making: Vec<_> =
            stores.iter().cloned().map(|store| tokio::spawn(async move { store.init().await })).collect();
        for made in making {
            made.await.unwrap().unwrap();
        }
        let indexes = format!("SELECT count(*) FROM pg_indexes WHERE schemaname = '{}'", schema.name);
        assert_eq!(schema.value(&indexes).await, "3");
        stores[0].check().await.unwrap();
    }
}

#[tokio::test]
async fn what_is_missing_is_named_with_its_remedy() {
    let schema = Schema::new().await;
    let store = PostgresStore::connect(&schema.url()).await.unwrap();
    let sql = schema.sql().await;
    let told = async || match store.check().await.unwrap_err() {
        StoreError::Schema { problem, remedy } => format!("{problem} ({remedy})"),
        other => panic!("{other}"),
    };
    assert!(told().await.starts_with(&format!("no table \"{}\".\"sessions\" in ", schema.name)));
    assert!(told().await.contains("(run `sessile init --store "));
    let StoreError::Schema { .. } = store.load(id(1)).await.unwrap_err() else { panic!() };
    let StoreError::Schema { .. } = store.apply(insert(1)).await.unwrap_err() else { panic!() };

    let wrong = [
        ("id text, expires_at timestamp", "no column \"user_id\""),
        (
            "id text, user_id int, data text, created_at timestamp, expires_at timestamp, updated_at timestamp",
            "the column \"user_id\" of the table",
        ),
        (
            "id text, user_id text, data jsonb, created_at timestamp, expires_at timestamp, updated_at timestamp",
            "the column \"data\" of the table",
        ),
        (
            "id text, user_id text, data text, created_at timestamp, expires_at timestamp, updated_at timestamp",
            "the column \"id\" of the table",
        ),
    ];
    for (columns, problem) in wrong {
        sql.batch_execute(&format!("DROP TABLE IF EXISTS sessions; CREATE TABLE sessions ({columns})"))
            .await
            .unwrap();
        let told = told().await;
        assert!(told.starts_with(problem), "{told}");
    }
    sql.batch_execute("ALTER TABLE sessions ADD PRIMARY KEY (id)").await.unwrap();
    store.check().await.unwrap();
    // Prepared while the table was another.
    store.apply(insert(1)).await.unwrap();
    sql.batch_execute("ALTER TABLE sessions ALTER data TYPE varchar, ALTER expires_at TYPE timestamptz")
        .await
        .unwrap();
    assert!(store.load(id(1)).await.unwrap().is_some());
    store.apply(insert(2)).await.unwrap();
}

/// [S14] Neither a wrong one nor a right one.
#[tokio::test]
async fn the_password_is_in_no_message() {
    const PASSWORD: &str = "h'u nter:2@/?#%é\\\"";
    let encoded: String = PASSWORD.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let schema = Schema::new().await;
    let role = schema.name.replace("sessile", "role");
    let sql = schema.sql().await;
    let quoted = PASSWORD.replace('\'', "''");
    sql.batch_execute(&format!("CREATE ROLE {role} LOGIN PASSWORD '{quoted}'")).await.unwrap();
    sql.batch_execute(&format!("GRANT USAGE ON SCHEMA {0} TO {role}", schema.name)).await.unwrap();
    let plain = schema.url();
    let (_, place) = plain.split_once("//").unwrap();
    let place = place.rsplit_once('@').map_or(place, |(_, place)| place);
    let url = format!("postgres://{role}:{encoded}@{place}");

    let mut told = Vec::new();
    let parsed: StoreUrl = url.parse().unwrap();
    told.push(format!("{parsed} {parsed:?}"));
    let store = PostgresStore::connect(&url).await.unwrap();
    told.push(format!("{store:?}"));
    // May not make the table, nor read it.
    for error in [store.init().await.unwrap_err(), store.check().await.unwrap_err()] {
        told.push(format!("{error} {error:?}"));
    }
    PostgresStore::connect(&plain).await.unwrap().init().await.unwrap();
    for error in [store.load(id(1)).await.unwrap_err(), store.check().await.unwrap_err()] {
        told.push(format!("{error} {error:?}"));
        assert!(error.to_string().contains("GRANT SELECT, INSERT, UPDATE, DELETE ON"), "{error}");
    }
    for wrong in [
        url.replace(&role, "nobody_there"),
        url.replace(&encoded, "another"),
        url.replace("/sessile?", "/no_such_database?"),
    ] {
        if wrong != url {
            let error = PostgresStore::connect(&wrong).await.unwrap_err();
            assert!(matches!(error, StoreError::Refused { .. }) && !error.is_transient(), "{error}");
            told.push(format!("{error} {error:?}"));
        }
    }
    let told = told.join("\n");
    for form in [PASSWORD, &encoded, "nter"] {
        assert!(!told.contains(form), "{told}");
    }
    drop(store);
    sql.batch_execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await.unwrap();
}

#[tokio::test]
async fn the_servers_clock_is_in_utc() {
    let url = with_option(&server(), "options=-c%20TimeZone%3DAsia/Tokyo");
    let store = PostgresStore::connect(&url).await.unwrap();
    let theirs = store.clock().await.unwrap().unwrap();
    let ours = sessile::record::Clock::now(&sessile::record::SystemClock);
    let apart = ours.saturating_since(theirs).max(theirs.saturating_since(ours));
    assert!(apart < std::time::Duration::from_secs(600), "{theirs} and {ours}");
}

#[tokio::test]
async fn a_name_that_cannot_be_one_is_refused() {
    for name in ["", "a\0b", &"x".repeat(64)] {
        let error = PostgresStore::options().table(name).connect(&server()).await.unwrap_err();
        assert!(error.to_string().contains("cannot be the name"), "{error}");
    }
}
