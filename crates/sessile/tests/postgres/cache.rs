//! The coherent cache over the feed of PostgreSQL: whatever is written in the table by whomever counts in
//! every process, and while nobody can know, nobody believes what was kept.

use std::time::Duration;

use sessile::engine::{CacheError, CacheOptions, Credential, NewSession};
use sessile::store::{PostgresStore, SessionStore, StoreError};
use sessile::{LazySession, SessionData, Sessions, UserId};

use crate::outages::through;
use crate::postgres_server::Schema;
use crate::support::until;

/// A service with a cache in one process, and one in another.
async fn service(url: &str) -> Sessions {
    let store = PostgresStore::connect(url).await.unwrap();
    store.init().await.unwrap();
    store.init_feed().await.unwrap();
    // Making it again changes nothing.
    store.init_feed().await.unwrap();
    let options = CacheOptions::default().bound(Duration::from_secs(10));
    Sessions::builder(store).cache(options).await.unwrap().build()
}

async fn session(sessions: &Sessions) -> Credential {
    let data = SessionData::parse(r#"{"n": 1}"#.into()).unwrap();
    let user = Some(UserId::new("ada").unwrap());
    sessions.create(NewSession { data, user, ..NewSession::default() }).await.unwrap().0
}

async fn read(sessions: &Sessions, credential: &Credential) -> Option<u32> {
    let lazy = LazySession::new(sessions.clone(), vec![credential.clone()]);
    lazy.load().await.ok()?.get("n").unwrap()
}

fn kept(sessions: &Sessions) -> u64 {
    sessions.cache_stats().unwrap().sessions
}

fn is_up(sessions: &Sessions) -> bool {
    sessions.cache_stats().unwrap().is_up
}

/// Reads until it is kept.
async fn warm(sessions: &Sessions, credential: &Credential, n: u32) {
    until(async || read(sessions, credential).await == Some(n) && kept(sessions) > 0).await;
}

/// [S10] Ends and changes from everywhere: another process, plain SQL as Python and psql write it, TRUNCATE.
#[tokio::test]
async fn what_anybody_does_to_the_table_counts_here() {
    let schema = Schema::new().await;
    let (here, elsewhere) = (service(&schema.url()).await, service(&schema.url()).await);
    let sql = schema.sql().await;
    for way in 0..5 {
        let credential = session(&elsewhere).await;
        warm(&here, &credential, 1).await;
        let (id, user) = (credential.id(), UserId::new("ada").unwrap());
        match way {
            0 => assert!(elsewhere.revoke(id).await.unwrap()),
            1 => assert!(elsewhere.revoke_user(&user).await.unwrap() > 0),
            2 => sql.batch_execute(&format!("DELETE FROM sessions WHERE id = '{id}'")).await.unwrap(),
            3 => sql.batch_execute("TRUNCATE sessions").await.unwrap(),
            _ => {
                let update = r#"UPDATE sessions SET data = '{"n": 2}' WHERE id = "#;
                sql.batch_execute(&format!("{update}'{id}'")).await.unwrap();
                until(async || read(&here, &credential).await == Some(2)).await;
                continue;
            }
        }
        until(async || read(&here, &credential).await.is_none()).await;
    }
}

/// A read that is answered from memory asks nothing: the row may be locked, or gone untold.
#[tokio::test]
async fn what_is_kept_costs_no_statement() {
    let schema = Schema::new().await;
    let here = service(&schema.url()).await;
    let credential = session(&here).await;
    warm(&here, &credential, 1).await;
    let log = crate::support::SqlLog::of(&schema.name);
    for _ in 0..100 {
        assert_eq!(read(&here, &credential).await, Some(1));
    }
    assert!(log.take().is_empty());
}

#[tokio::test]
async fn a_table_that_does_not_tell_is_refused_with_the_remedy() {
    let schema = Schema::new().await;
    let store = schema.store(PostgresStore::options()).await;
    let refused = Sessions::builder(store).cache(CacheOptions::default()).await.err().unwrap();
    let CacheError::Store(StoreError::Schema { remedy, .. }) = &refused else { panic!("{refused}") };
    assert!(remedy.contains("sessile init --feed"), "{remedy}");
}

/// [R01] The connection that listens is ended again and again. While it is known to be down no read is stale,
/// and in the end all are right.
#[tokio::test]
async fn a_feed_that_is_killed_is_never_believed() {
    let (schema, proxy, url) = through().await;
    let url = format!("{url}&application_name={}", schema.name);
    let here = service(&url).await;
    let credential = session(&here).await;
    let sql = schema.sql().await;
    let kill = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{}'",
        schema.name
    );
    let update =
        |n: u32| format!(r#"UPDATE sessions SET data = '{{"n": {n}}}' WHERE id = '{}'"#, credential.id());
    for round in 2..12 {
        warm(&here, &credential, round - 1).await;
        until(async || is_up(&here)).await;
        if round % 2 == 0 {
            sql.batch_execute(&kill).await.unwrap();
        } else {
            proxy.cut();
        }
        sql.batch_execute(&update(round)).await.unwrap();
        until(async || {
            let was_down = !is_up(&here);
            let n = read(&here, &credential).await;
            assert!(!was_down || n.is_none_or(|n| n == round), "{n:?} while the feed was down");
            n == Some(round)
        })
        .await;
    }
    until(async || is_up(&here)).await;
}

/// Nothing comes through and nothing breaks: what is kept is believed no longer than the bound.
#[tokio::test]
async fn a_feed_that_hangs_is_given_up() {
    let (schema, proxy, url) = through().await;
    let store = PostgresStore::connect(&url).await.unwrap();
    store.init().await.unwrap();
    store.init_feed().await.unwrap();
    let options = CacheOptions::default().bound(Duration::from_secs(2));
    let here = Sessions::builder(store).cache(options).await.unwrap().build();
    let credential = session(&here).await;
    warm(&here, &credential, 1).await;
    proxy.stall();
    schema.sql().await.batch_execute("DELETE FROM sessions").await.unwrap();
    until(async || !is_up(&here)).await;
    assert_eq!(read(&here, &credential).await, None, "an error, or gone: never what was kept");
    proxy.open();
    until(async || is_up(&here)).await;
    assert_eq!(read(&here, &credential).await, None);
}

/// Somebody switches the triggers off: the next sign of life finds out.
#[tokio::test]
async fn triggers_that_are_switched_off_are_noticed() {
    let schema = Schema::new().await;
    let here = service(&schema.url()).await;
    let credential = session(&here).await;
    warm(&here, &credential, 1).await;
    let sql = schema.sql().await;
    sql.batch_execute("ALTER TABLE sessions DISABLE TRIGGER sessile_changed").await.unwrap();
    until(async || !is_up(&here)).await;
    sql.batch_execute(r#"UPDATE sessions SET data = '{"n": 7}'"#).await.unwrap();
    assert_eq!(read(&here, &credential).await, Some(7));
    sql.batch_execute("ALTER TABLE sessions ENABLE TRIGGER sessile_changed").await.unwrap();
    until(async || is_up(&here)).await;
    warm(&here, &credential, 7).await;
    sql.batch_execute(r#"UPDATE sessions SET data = '{"n": 8}'"#).await.unwrap();
    until(async || read(&here, &credential).await == Some(8)).await;
}

/// Names with everything in them that SQL could take for something else.
#[tokio::test]
async fn a_table_with_any_name_tells() {
    let schema = Schema::new().await;
    for table in ["we\"b's $$ @table", "Sessions $sessile$"] {
        let store = schema.store(PostgresStore::options().table(table)).await;
        store.init_feed().await.unwrap();
        let here = Sessions::builder(store).cache(CacheOptions::default()).await.unwrap().build();
        let credential = session(&here).await;
        warm(&here, &credential, 1).await;
        let quoted = table.replace('"', "\"\"");
        schema.sql().await.batch_execute(&format!("DELETE FROM \"{quoted}\"")).await.unwrap();
        until(async || read(&here, &credential).await.is_none()).await;
    }
}
