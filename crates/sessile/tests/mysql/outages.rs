//! A server that fails, and a way to it that does: an error in time, no write told that was not made, and
//! back by itself.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mysql_async::Opts;
use mysql_async::prelude::Queryable;
use sessile::store::{MySqlStore, Outcome, SessionStore, StoreError, Write};
use sessile_test_servers::MariaDb;
use tokio::task::JoinSet;

use crate::mysql_server::{Database, server};
use crate::support::{id, insert, until};
use sessile_test_network::Proxy;

/// Through the proxy, everything else as it is.
async fn through() -> (Database, Proxy, String) {
    let database = Database::new().await;
    let opts = Opts::from_url(server().split('?').next().unwrap()).unwrap();
    let (host, port) = (opts.ip_or_hostname().to_owned(), opts.tcp_port());
    let address: SocketAddr = tokio::net::lookup_host((&*host, port)).await.unwrap().next().unwrap();
    let proxy = Proxy::to(address).await;
    let url = database.url().replace(&format!("{host}:{port}"), &proxy.address.to_string());
    assert!(url.contains(&proxy.address.to_string()));
    (database, proxy, url)
}

/// [R01] A read goes on over another connection; a write that finds none is told so.
#[tokio::test]
async fn a_cut_is_mended_by_itself() {
    let (_database, proxy, url) = through().await;
    let store = MySqlStore::connect(&url).await.unwrap();
    store.init().await.unwrap();
    store.apply(insert(1)).await.unwrap();
    store.load(id(1)).await.unwrap();
    for _ in 0..5 {
        proxy.cut();
        // At once, over another connection.
        assert!(store.load(id(1)).await.unwrap().is_some());
        until(async || match store.apply(insert(1)).await {
            Ok(outcome) => outcome == Outcome::Unmatched,
            Err(error) => {
                assert!(error.is_transient(), "{error}");
                false
            }
        })
        .await;
    }
}

/// [R01] [R02] While the server is gone every caller is told at once, and the server is not hammered.
#[tokio::test]
async fn a_server_that_is_gone_is_an_error_at_once() {
    let (_database, proxy, url) = through().await;
    let store = MySqlStore::connect(&url).await.unwrap();
    store.init().await.unwrap();
    store.load(id(1)).await.unwrap();
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
    assert!((1..=20).contains(&attempts), "{attempts} attempts in 2 s");
    proxy.open();
    until(async || store.load(id(1)).await.is_ok()).await;
    until(async || store.apply(insert(1)).await.is_ok()).await;
}

/// [R04] The server commits and the answer is lost: nobody is told that the write was made, nor that it
/// was not.
#[tokio::test]
async fn a_write_whose_answer_is_lost_is_an_error() {
    let (database, proxy, url) = through().await;
    let store = MySqlStore::connect(&url).await.unwrap();
    store.init().await.unwrap();
    store.apply(insert(1)).await.unwrap();
    proxy.mute();
    let error = store.apply(insert(2)).await.unwrap_err();
    proxy.open();
    assert!(error.is_transient() && error.to_string().contains("may be made or not"), "{error}");
    let rows = "SELECT CAST(COUNT(*) AS CHAR) FROM sessions";
    until(async || database.value(rows).await == "2").await;
    until(async || store.apply(Write::Delete(id(2))).await.is_ok_and(|done| done == Outcome::Applied)).await;
    // A batch that was cut off before its commit is not made at all.
    proxy.mute();
    for outcome in store.apply_many(vec![insert(3), insert(4)]).await {
        assert!(outcome.unwrap_err().is_transient());
    }
    proxy.open();
    until(async || store.apply(Write::Delete(id(3))).await.is_ok_and(|done| done == Outcome::Unmatched))
        .await;
}

/// [R01] Nothing comes back: a bounded wait, then other connections.
#[tokio::test]
async fn a_stalled_way_is_given_up() {
    let (_database, proxy, url) = through().await;
    let options = MySqlStore::options().timeout(Duration::from_secs(2));
    let store = options.connect(&url).await.unwrap();
    store.init().await.unwrap();
    store.apply(insert(1)).await.unwrap();
    store.load(id(1)).await.unwrap();
    proxy.stall();
    let started = Instant::now();
    let (read, write) = tokio::join!(store.load(id(1)), store.apply(insert(2)));
    assert!(read.unwrap_err().is_transient() && write.unwrap_err().is_transient());
    assert!(started.elapsed() < Duration::from_secs(20));
    proxy.open();
    until(async || store.load(id(1)).await.is_ok()).await;
    until(async || store.apply(insert(3)).await.is_ok()).await;
}

/// [R03] Callers go away at every moment; those who stay get their own answers, and no connection is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn callers_that_go_away_harm_nobody() {
    let (_database, proxy, url) = through().await;
    let store = MySqlStore::options().connections(1).connect(&url).await.unwrap();
    store.init().await.unwrap();
    for number in 0..100 {
        store.apply(insert(number)).await.unwrap();
    }
    for round in 0..200u64 {
        let mut going = JoinSet::new();
        let (one, two, three) = (store.clone(), store.clone(), store.clone());
        going.spawn(async move { drop(one.load(id(1)).await) });
        going.spawn(async move { drop(two.load_many(&[id(1), id(2)]).await) });
        going.spawn(async move {
            three.apply_many(vec![insert(1_000), Write::Delete(id(1_000))]).await;
        });
        tokio::time::sleep(Duration::from_micros(round * 10)).await;
        drop(going);
        let wanted = id((round % 100) as u32);
        assert_eq!(store.load(wanted).await.unwrap().unwrap().id(), wanted);
    }
    // The first one asks in vain whether the server can encrypt.
    assert!(proxy.accepted() <= 1 + 1 + 1 + 2 + 4, "{} connections", proxy.accepted());
    store.apply(Write::Delete(id(1_000))).await.unwrap();
    assert!(store.load(id(1_000)).await.unwrap().is_none());
}

/// An administrator, or the server's patience, ends connections that idle.
#[tokio::test]
async fn connections_that_were_ended_are_replaced() {
    let database = Database::new().await;
    let store = database.store(MySqlStore::options()).await;
    store.apply(insert(1)).await.unwrap();
    store.load(id(1)).await.unwrap();
    let mut sql = database.connection().await;
    let ours =
        "SELECT ID FROM information_schema.PROCESSLIST WHERE DB = DATABASE() AND ID <> CONNECTION_ID()";
    let connections: Vec<u64> = sql.query(ours).await.unwrap();
    assert_eq!(connections.len(), 3, "one for loads, one for writes, one for surveys");
    for connection in connections {
        sql.query_drop(format!("KILL {connection}")).await.unwrap();
    }
    assert!(store.load(id(1)).await.unwrap().is_some());
    // The load has shown that the others are of no use either.
    assert_eq!(store.apply(Write::Delete(id(1))).await.unwrap(), Outcome::Applied);
    store.check().await.unwrap();
}

/// A server of our own, on a blocking thread, as it asks for.
async fn own(settings: &'static [(&str, &str)]) -> MariaDb {
    tokio::task::spawn_blocking(move || MariaDb::start_with(settings)).await.unwrap().unwrap()
}

/// [R01] [R06] Stopped and killed under load: what was acknowledged is there, and the store comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_is_killed_under_load_forgets_nothing() {
    let server = own(&[]).await;
    let store = MySqlStore::connect(&server.url()).await.unwrap();
    store.init().await.unwrap();
    let mut acknowledged = Vec::new();
    for (round, kill) in (0..).zip([false, true]) {
        let mut writers = JoinSet::new();
        for writer in 0..8u32 {
            let store = store.clone();
            writers.spawn(async move {
                let mut made = Vec::new();
                for number in 0..2_000 {
                    let number = round * 16_000 + writer * 2_000 + number;
                    match store.apply(insert(number)).await {
                        Ok(outcome) => {
                            assert_eq!(outcome, Outcome::Applied);
                            made.push(number);
                        }
                        Err(error) => {
                            assert!(error.is_transient(), "{error}");
                            return made;
                        }
                    }
                }
                made
            });
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        tokio::task::block_in_place(|| if kill { server.kill() } else { server.stop() }).unwrap();
        acknowledged.extend(writers.join_all().await.into_iter().flatten());
        for error in [store.load(id(1)).await.unwrap_err(), store.check().await.unwrap_err()] {
            assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
        }
        tokio::task::block_in_place(|| server.restart()).unwrap();
        until(async || store.load(id(1)).await.is_ok()).await;
        until(async || store.check().await.is_ok()).await;
    }
    assert!(acknowledged.len() > 16, "{}", acknowledged.len());
    let ids: Vec<_> = acknowledged.into_iter().map(id).collect();
    for (id, row) in ids.iter().zip(store.load_many(&ids).await) {
        assert!(row.unwrap().is_some(), "{id} was acknowledged and is gone");
    }
}

/// [R01] It accepts and says nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_paused_server_is_an_error_in_time() {
    let server = own(&[]).await;
    let store = MySqlStore::options().timeout(Duration::from_secs(1)).connect(&server.url()).await.unwrap();
    store.init().await.unwrap();
    store.load(id(1)).await.unwrap();
    server.pause().unwrap();
    until(async || store.load(id(1)).await.is_err()).await;
    let started = Instant::now();
    assert!(store.load(id(1)).await.unwrap_err().is_transient());
    assert!(store.apply(insert(1)).await.unwrap_err().is_transient());
    assert!(started.elapsed() < Duration::from_secs(20));
    server.resume().unwrap();
    until(async || store.load(id(1)).await.is_ok()).await;
}

/// [R02] The server takes no more connections: an error that passes, and no lost write.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_room_is_an_error_that_passes() {
    let server = own(&[("max-connections", "10")]).await;
    let first = MySqlStore::connect(&server.url()).await.unwrap();
    first.init().await.unwrap();
    let mut others = Vec::new();
    let error = loop {
        match MySqlStore::connect(&server.url()).await {
            Ok(other) => others.push(other),
            Err(error) => break error,
        }
        assert!(others.len() < 20);
    };
    assert!(matches!(error, StoreError::Unavailable { .. }) && error.is_transient(), "{error}");
    drop(others);
    until(async || first.apply(insert(1)).await.is_ok()).await;
}
