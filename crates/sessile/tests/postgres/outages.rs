//! A way to the server that fails: an error in time, no write told that was not made, and back by itself.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sessile::store::{Outcome, PostgresStore, SessionStore, StoreError, Write};
use tokio_postgres::config::{Config, Host};

use crate::postgres_server::{Schema, server};
use crate::support::{id, insert, until};
use sessile_test_network::Proxy;

/// Through the proxy, everything else as it is.
pub(crate) async fn through() -> (Schema, Proxy, String) {
    let schema = Schema::new().await;
    let config: Config = server().parse().unwrap();
    let Some(Host::Tcp(host)) = config.get_hosts().first() else { panic!("the tests need a TCP port") };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let address: SocketAddr = tokio::net::lookup_host((&**host, port)).await.unwrap().next().unwrap();
    let proxy = Proxy::to(address).await;
    let url = schema.url().replace(&format!("{host}:{port}"), &proxy.address.to_string());
    assert!(url.contains(&proxy.address.to_string()));
    (schema, proxy, url)
}

/// [R01] A read goes on over another connection; a write that finds none is told so.
#[tokio::test]
async fn a_cut_is_mended_by_itself() {
    let (_schema, proxy, url) = through().await;
    let store = PostgresStore::connect(&url).await.unwrap();
    store.init().await.unwrap();
    store.apply(insert(1)).await.unwrap();
    for _ in 0..5 {
        proxy.cut();
        let started = Instant::now();
        until(async || match store.load(id(1)).await {
            Ok(row) => row.is_some(),
            Err(error) => {
                assert!(error.is_transient(), "{error}");
                false
            }
        })
        .await;
        until(async || store.apply(insert(1)).await.is_ok()).await;
        assert!(started.elapsed() < Duration::from_secs(20));
    }
}

/// [R01] [R02] While the server is gone every caller is told at once, and the server is not hammered.
#[tokio::test]
async fn a_server_that_is_gone_is_an_error_at_once() {
    let (_schema, proxy, url) = through().await;
    let store = PostgresStore::connect(&url).await.unwrap();
    store.init().await.unwrap();
    proxy.close();
    until(async || store.load(id(1)).await.is_err()).await;
    let before = proxy.accepted();
    let started = Instant::now();
    let mut asked = 0;
    while started.elapsed() < Duration::from_secs(2) {
        let error = store.load(id(1)).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
        let error = store.apply(insert(1)).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
        asked += 1;
        tokio::task::yield_now().await;
    }
    let attempts = proxy.accepted() - before;
    assert!(asked > 50, "{asked}: told at once");
    assert!((4..=40).contains(&attempts), "{attempts} attempts for four connections in 2 s");
    proxy.open();
    until(async || store.load(id(1)).await.is_ok()).await;
    until(async || store.apply(insert(1)).await.is_ok()).await;
}

/// [R04] The server commits and the answer is lost: nobody is told that the write was made, nor that it
/// was not.
#[tokio::test]
async fn a_write_whose_answer_is_lost_is_an_error() {
    let (schema, proxy, url) = through().await;
    let store = PostgresStore::connect(&url).await.unwrap();
    store.init().await.unwrap();
    store.apply(insert(1)).await.unwrap();
    proxy.mute();
    let outcomes = store.apply_many(vec![insert(2), insert(3)]).await;
    proxy.open();
    for outcome in outcomes {
        let error = outcome.unwrap_err();
        assert!(error.is_transient() && error.to_string().contains("may be made or not"), "{error}");
    }
    until(async || schema.value("SELECT count(*) FROM sessions").await == "3").await;
    until(async || store.apply(Write::Delete(id(2))).await.is_ok_and(|done| done == Outcome::Applied)).await;
}

/// [R01] Nothing comes back: a bounded wait, then other connections.
#[tokio::test]
async fn a_stalled_way_is_given_up() {
    let (_schema, proxy, url) = through().await;
    let options = PostgresStore::options().timeout(Duration::from_secs(2));
    let store = options.connect(&url).await.unwrap();
    store.init().await.unwrap();
    store.apply(insert(1)).await.unwrap();
    proxy.stall();
    let started = Instant::now();
    let (read, write) = tokio::join!(store.load(id(1)), store.apply(insert(2)));
    assert!(read.unwrap_err().is_transient() && write.unwrap_err().is_transient());
    assert!(started.elapsed() < Duration::from_secs(15));
    proxy.open();
    until(async || store.load(id(1)).await.is_ok()).await;
    until(async || store.apply(insert(3)).await.is_ok()).await;
}

/// [R03] Callers go away at every moment; those who stay get their own answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn callers_that_go_away_harm_nobody() {
    let (_schema, _proxy, url) = through().await;
    let store = PostgresStore::options().connections(1).connect(&url).await.unwrap();
    store.init().await.unwrap();
    for number in 0..100 {
        store.apply(insert(number)).await.unwrap();
    }
    for round in 0..200u64 {
        let going = tokio::spawn({
            let store = store.clone();
            async move { store.load_many(&[id(1), id(2)]).await }
        });
        let writing = tokio::spawn({
            let store = store.clone();
            async move { store.apply_many(vec![insert(1_000), Write::Delete(id(1_000))]).await }
        });
        tokio::time::sleep(Duration::from_micros(round * 10)).await;
        going.abort();
        writing.abort();
        let wanted = id((round % 100) as u32);
        assert_eq!(store.load(wanted).await.unwrap().unwrap().id(), wanted);
    }
    store.apply(Write::Delete(id(1_000))).await.unwrap();
    assert!(store.load(id(1_000)).await.unwrap().is_none());
}

/// The server ends every connection, as it does when it restarts. [R01]
#[tokio::test]
async fn a_restart_of_the_server_is_survived() {
    let (schema, _proxy, url) = through().await;
    let url = format!("{url}&application_name={}", schema.name);
    let store = PostgresStore::connect(&url).await.unwrap();
    store.init().await.unwrap();
    store.apply(insert(1)).await.unwrap();
    let end = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{}'",
        schema.name
    );
    let ended = schema.sql().await.query(&end, &[]).await.unwrap().len();
    assert_eq!(ended, 6, "two for loads, two for writes, one for endings, one for surveys");
    until(async || store.load(id(1)).await.is_ok_and(|row| row.is_some())).await;
    until(async || store.apply(Write::Delete(id(1))).await.is_ok()).await;
}

/// What a pooler or a careless trigger does to a connection.
#[tokio::test]
async fn forgotten_statements_are_prepared_again() {
    let schema = Schema::new().await;
    let store = schema.store(PostgresStore::options().connections(1)).await;
    let sql = schema.sql().await;
    sql.batch_execute(
        "CREATE FUNCTION forget() RETURNS trigger LANGUAGE plpgsql AS \
         'BEGIN EXECUTE ''DEALLOCATE ALL''; RETURN NULL; END'; \
         CREATE TRIGGER forget AFTER INSERT ON sessions EXECUTE FUNCTION forget()",
    )
    .await
    .unwrap();
    for number in 0..3 {
        assert_eq!(store.apply(insert(number)).await.unwrap(), Outcome::Applied);
        let batch = vec![insert(100 + number), Write::Delete(id(100 + number)), Write::Delete(id(999))];
        let outcomes = store.apply_many(batch).await;
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    }
}
