//! Another server, other credentials, another language, and connections that come back one by one.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use sessile::Sessions;
use sessile::engine::CacheOptions;
use sessile::store::{Outcome, PostgresStore, SessionStore, StoreError, Write};
use sessile_test_network::Proxy;
use sessile_test_servers::Postgres;

use crate::cache::telling;
use crate::coherence::{is_up, read, session, warm};
use crate::outages::through;
use crate::settings::Role;
use crate::support::{id, insert, until, update};

fn address(server: &Postgres) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, server.port()))
}

/// [R19] After a switchover the sessions are on the new primary, and the feed's own connection still stands on the
/// old one, which answers it: the signs of life do not arrive, and the feed is made anew on the new primary.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_never_listens_to_another_server_than_the_sessions_are_on() {
    let (old, new) = (Postgres::start().unwrap(), Postgres::start().unwrap());
    // The same user and password on both.
    let password = old.url().split(':').nth(2).unwrap().split('@').next().unwrap().to_owned();
    new.query(&format!("ALTER ROLE sessile PASSWORD '{password}'")).unwrap();
    let new_url = old.url().replace(&old.port().to_string(), &new.port().to_string());
    for url in [old.url(), new_url.clone()] {
        telling(&url).await;
    }
    let (sessions_way, feed_way) = (Proxy::to(address(&old)).await, Proxy::to(address(&old)).await);
    let by =
        |proxy: &Proxy| old.url().replace(&format!("127.0.0.1:{}", old.port()), &proxy.address.to_string());
    let options = PostgresStore::options().feed_url(by(&feed_way));
    let store = options.connect(&by(&sessions_way)).await.unwrap();
    let cache = CacheOptions::default().bound(Duration::from_secs(2));
    let here = Sessions::builder(store).cache(cache).await.unwrap().build();
    let credential = session(&here).await;
    warm(&here, &credential, 1).await;

    // The replica had it, too.
    let replica = PostgresStore::connect(&new_url).await.unwrap();
    let row = here.get(credential.id()).await.unwrap().unwrap();
    assert_eq!(replica.apply(Write::Insert(row)).await.unwrap(), Outcome::Applied);
    sessions_way.lead_to(address(&new));
    feed_way.lead_to(address(&new));
    sessions_way.cut();
    // Revoked on the new primary: as long as the old one's word counts, it is served from memory.
    assert_eq!(replica.apply(Write::Delete(credential.id())).await.unwrap(), Outcome::Applied);
    until(async || read(&here, &credential).await.is_none()).await;
    until(async || is_up(&here)).await;
    // And up means up to date, there.
    let credential = session(&here).await;
    warm(&here, &credential, 1).await;
    assert_eq!(replica.apply(Write::Delete(credential.id())).await.unwrap(), Outcome::Applied);
    until(async || read(&here, &credential).await.is_none()).await;
}

/// [R19] Whatever language the server's messages are in: the columns of a kept statement's result have changed.
#[tokio::test]
async fn a_changed_table_is_noticed_in_any_language() {
    let (schema, proxy, url) = through().await;
    proxy.replace("cached plan must not change result type", "gespeicherter Plan: Typ nicht aenderbar");
    let store = PostgresStore::connect(&url).await.unwrap();
    store.init().await.unwrap();
    store.apply(insert(1)).await.unwrap();
    assert!(store.load(id(1)).await.unwrap().is_some());
    let sql = schema.sql().await;
    for (to, data) in [("varchar", "{ }"), ("text", "{}")] {
        sql.batch_execute(&format!("ALTER TABLE sessions ALTER data TYPE {to}, ALTER id TYPE {to}"))
            .await
            .unwrap();
        for _ in 0..4 {
            assert!(store.load(id(1)).await.unwrap().is_some(), "{to}");
        }
        let old = if data == "{}" { "{ }" } else { "{}" };
        assert_eq!(store.apply(update(1, old, data)).await.unwrap(), Outcome::Applied);
        let outcomes = store.apply_many(vec![insert(2), Write::Delete(id(2)), Write::Delete(id(3))]).await;
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    }
    // A column that is gone: said in the server's own words, without reading them.
    sql.batch_execute("ALTER TABLE sessions DROP COLUMN created_at").await.unwrap();
    let error = store.load(id(1)).await.unwrap_err();
    let StoreError::Schema { problem, remedy } = &error else { panic!("{error}") };
    assert!(problem.contains("lacks a column") && remedy.contains("created_at"), "{error}");
}

/// [R01] [R19] A password that is changed under a running service is an outage, not the end; at the start it is
/// refused for good.
#[tokio::test]
async fn a_rotated_password_is_an_outage() {
    let role = Role::new().await;
    let store = PostgresStore::connect(&role.url()).await.unwrap();
    store.init().await.unwrap();
    store.apply(insert(1)).await.unwrap();
    role.sql("ALTER ROLE @ PASSWORD 'another'").await;
    let refused = PostgresStore::connect(&role.url()).await.unwrap_err();
    assert!(matches!(refused, StoreError::Refused { .. }) && !refused.is_transient(), "{refused}");
    role.kill().await;
    until(async || {
        let told = [store.load(id(1)).await.err(), store.apply(insert(2)).await.err()];
        for error in told.iter().flatten() {
            assert!(error.is_transient(), "{error}");
        }
        let reasons = told.iter().flatten().map(ToString::to_string);
        reasons.filter(|reason| reason.contains("28P01")).count() == 2
    })
    .await;
    assert!(store.stats(sessile::record::Timestamp::MIN).await.unwrap_err().is_transient());
    role.sql("ALTER ROLE @ PASSWORD 'hunter2'").await;
    until(async || store.load(id(1)).await.is_ok_and(|row| row.is_some())).await;
    until(async || store.apply(Write::Delete(id(1))).await.is_ok()).await;
    drop(store);
    role.end().await;
}

/// [R01] One connection is gone and cannot be made anew: reads and writes go over the others.
#[tokio::test]
async fn whichever_connection_stands_is_used() {
    let role = Role::new().await;
    let count = {
        let store = PostgresStore::connect(&role.url()).await.unwrap();
        store.init().await.unwrap();
        role.processes().await.split(',').count()
    };
    until(async || role.processes().await.is_empty()).await;
    for lost in 0..count {
        let store = PostgresStore::connect(&role.url()).await.unwrap();
        let processes = role.processes().await;
        let process = processes.split(',').nth(lost).unwrap();
        role.sql("ALTER ROLE @ NOLOGIN").await;
        role.sql(&format!("SELECT pg_terminate_backend({process})")).await;
        // The store may take a moment to notice.
        until(async || {
            for _ in 0..20 {
                if store.load(id(1)).await.is_err() || store.apply(Write::Delete(id(1))).await.is_err() {
                    return false;
                }
            }
            true
        })
        .await;
        assert!(!role.processes().await.contains(process));
        role.sql("ALTER ROLE @ LOGIN").await;
        drop(store);
        until(async || role.processes().await.is_empty()).await;
    }
    role.end().await;
}
