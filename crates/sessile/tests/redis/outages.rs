//! A server that fails, and a way to it that does: an error in time, no write told that was not made, and back
//! by itself.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use sessile::store::{Outcome, RedisStore, SessionStore, StoreError, Write};
use sessile_test_servers::Redis;

use crate::support::{id, insert, listed, record, rotate, until, update, user};
use sessile_test_network::Proxy;

/// A server of our own, for what nobody else should feel; on a blocking thread, as it asks for.
pub(crate) async fn own(settings: &'static [(&str, &str)]) -> Redis {
    tokio::task::spawn_blocking(move || Redis::start_with(settings)).await.unwrap().unwrap()
}

/// Through the proxy, to a server of our own.
pub(crate) async fn through() -> (Redis, Proxy, String) {
    let server = own(&[]).await;
    let proxy = Proxy::to(SocketAddr::from((Ipv4Addr::LOCALHOST, server.port()))).await;
    let url = server.url().replace(&server.port().to_string(), &proxy.address.port().to_string());
    (server, proxy, url)
}

fn is_unavailable(error: &StoreError) -> bool {
    matches!(error, StoreError::Unavailable { .. })
}

/// [R01] [R13] Down is an error, never nobody; what comes back empty is nobody, never an error.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_and_comes_back_empty() {
    let server = own(&[]).await;
    let store = RedisStore::connect(&server.url()).await.unwrap();
    store.apply(Write::Insert(record(1, Some("ada"), "{}"))).await.unwrap();
    for kill in [false, true] {
        if kill { server.kill() } else { server.stop() }.unwrap();
        for _ in 0..50 {
            for error in [store.load(id(1)).await.unwrap_err(), store.apply(insert(2)).await.unwrap_err()] {
                assert!(error.is_transient(), "{error}");
            }
        }
        assert!(is_unavailable(&store.list(&crate::support::everything(10_000)).await.unwrap_err()));
        assert!(is_unavailable(&store.delete_user(&user("ada"), None).await.unwrap_err()));
        server.restart().unwrap();
        until(async || store.load(id(1)).await.is_ok()).await;
        assert!(store.load(id(1)).await.unwrap().is_none());
        assert_eq!(store.apply(update(1, "{}", "[]")).await.unwrap(), Outcome::Unmatched);
        assert_eq!(store.apply(rotate(1, "{}", record(3, None, "{}"))).await.unwrap(), Outcome::Unmatched);
        assert_eq!(listed(&store, Some("ada")).await, []);
        let again = Write::Insert(record(1, Some("ada"), "{}"));
        assert_eq!(store.apply(again).await.unwrap(), Outcome::Applied);
        assert_eq!(listed(&store, Some("ada")).await, [id(1)]);
    }
}

/// [R06] With an append-only file that is written at once, a kill forgets nothing that was acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn an_append_only_file_survives_a_kill() {
    let server = own(&[("appendonly", "yes"), ("appendfsync", "always")]).await;
    let store = RedisStore::connect(&server.url()).await.unwrap();
    for number in 0..50 {
        store.apply(Write::Insert(record(number, Some("ada"), "{}"))).await.unwrap();
    }
    store.apply(Write::Delete(id(7))).await.unwrap();
    store.apply(rotate(8, "{}", record(80, Some("ada"), "{}"))).await.unwrap();
    server.kill().unwrap();
    server.restart().unwrap();
    until(async || store.load(id(1)).await.is_ok()).await;
    let left = listed(&store, Some("ada")).await;
    assert_eq!(left.len(), 49);
    assert!(!left.contains(&id(7)) && !left.contains(&id(8)) && left.contains(&id(80)));
}

/// [R13]
#[tokio::test]
async fn a_flush_is_the_end_of_all_sessions_and_of_nothing_else() {
    let server = own(&[]).await;
    let store = RedisStore::connect(&server.url()).await.unwrap();
    for number in 0..10 {
        store.apply(Write::Insert(record(number, Some("ada"), "{}"))).await.unwrap();
    }
    server.command(&["FLUSHALL"]).unwrap();
    for number in 0..10 {
        assert!(store.load(id(number)).await.unwrap().is_none());
        assert_eq!(store.apply(update(number, "{}", "[]")).await.unwrap(), Outcome::Unmatched);
    }
    assert_eq!(store.delete_user(&user("ada"), None).await.unwrap(), []);
    assert_eq!(server.command(&["DBSIZE"]).unwrap(), "0", "nothing was written by those");
    store.apply(insert(1)).await.unwrap();
    assert_eq!(listed(&store, None).await, [id(1)]);
}

/// [R01] It stands still: a bounded wait, then other connections.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stands_still_is_a_timeout() {
    let server = own(&[]).await;
    let options = RedisStore::options().timeout(Duration::from_secs(1));
    let store = options.connect(&server.url()).await.unwrap();
    store.apply(insert(1)).await.unwrap();
    server.pause().unwrap();
    let started = Instant::now();
    let (read, write) = tokio::join!(store.load(id(1)), store.apply(insert(2)));
    assert!(matches!(read.unwrap_err(), StoreError::Timeout { .. }));
    assert!(matches!(write.unwrap_err(), StoreError::Timeout { .. }));
    assert!(store.load(id(1)).await.unwrap_err().is_transient());
    assert!(started.elapsed() < Duration::from_secs(30));
    server.resume().unwrap();
    until(async || store.load(id(1)).await.is_ok_and(|row| row.is_some())).await;
    // What was sent before is made, or not; never by halves.
    let there = store.load(id(2)).await.unwrap().is_some();
    assert_eq!(listed(&store, None).await.contains(&id(2)), there);
}

/// [R05] No room: writes that need some are refused whole, the others and reads are not.
#[tokio::test]
async fn a_full_server_says_so_and_recovers() {
    let server = own(&[("maxmemory-policy", "noeviction")]).await;
    let store = RedisStore::connect(&server.url()).await.unwrap();
    for number in 0..4 {
        store.apply(Write::Insert(record(number, Some("ada"), "{}"))).await.unwrap();
    }
    server.command(&["CONFIG", "SET", "maxmemory", "1"]).unwrap();
    for write in [insert(9), update(1, "{}", "[]"), rotate(1, "{}", record(9, Some("ada"), "{}"))] {
        let error = store.apply(write).await.unwrap_err();
        assert!(matches!(error, StoreError::Full { .. }), "{error}");
        assert!(error.to_string().contains("maxmemory"), "{error}");
    }
    for number in 0..4 {
        assert_eq!(store.load(id(number)).await.unwrap(), Some(record(number, Some("ada"), "{}")));
    }
    assert!(store.load(id(9)).await.unwrap().is_none());
    assert_eq!(store.apply(Write::Delete(id(2))).await.unwrap(), Outcome::Applied);
    assert_eq!(store.delete_user(&user("ada"), Some(id(3))).await.unwrap().len(), 2);
    server.command(&["CONFIG", "SET", "maxmemory", "0"]).unwrap();
    store.apply(insert(9)).await.unwrap();
    assert_eq!(listed(&store, None).await.len(), 2);
}

/// [R13] The primary has become a replica, or waits for one: not available, and back by itself.
#[tokio::test]
async fn a_server_that_takes_no_writes_is_not_available() {
    let server = own(&[]).await;
    let store = RedisStore::connect(&server.url()).await.unwrap();
    store.apply(insert(1)).await.unwrap();
    for (off, on) in [
        (["REPLICAOF", "127.0.0.1", "1"], ["REPLICAOF", "NO", "ONE"]),
        (["CONFIG", "SET", "min-replicas-to-write"], ["CONFIG", "SET", "min-replicas-to-write"]),
    ] {
        let with = |words: [&'static str; 3], value: &'static str| {
            let value = (words[0] == "CONFIG").then_some(value);
            words.into_iter().chain(value).collect::<Vec<_>>()
        };
        server.command(&with(off, "3")).unwrap();
        let error = store.apply(update(1, "{}", "{}")).await.unwrap_err();
        assert!(is_unavailable(&error), "{error}");
        server.command(&with(on, "0")).unwrap();
        until(async || store.apply(update(1, "{}", "{}")).await.is_ok()).await;
    }
}

/// [R01] A read goes on over another connection; a write that finds none is told so.
#[tokio::test]
async fn a_cut_is_mended_by_itself() {
    let (_server, proxy, url) = through().await;
    let store = RedisStore::connect(&url).await.unwrap();
    store.apply(insert(1)).await.unwrap();
    for _ in 0..5 {
        proxy.cut();
        until(async || match store.load(id(1)).await {
            Ok(row) => row.is_some(),
            Err(error) => {
                assert!(is_unavailable(&error), "{error}");
                false
            }
        })
        .await;
        until(async || store.apply(insert(1)).await.is_ok()).await;
    }
}

/// [R01] [R02] While the server is gone every caller is told at once, and the server is not hammered.
#[tokio::test]
async fn a_server_that_is_gone_is_an_error_at_once() {
    let (_server, proxy, url) = through().await;
    let store = RedisStore::connect(&url).await.unwrap();
    proxy.close();
    until(async || store.load(id(1)).await.is_err()).await;
    let before = proxy.accepted();
    let started = Instant::now();
    let mut asked = 0;
    while started.elapsed() < Duration::from_secs(2) {
        assert!(is_unavailable(&store.load(id(1)).await.unwrap_err()));
        assert!(is_unavailable(&store.apply(insert(1)).await.unwrap_err()));
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

/// [R04] The server makes it and the answer is lost: nobody is told that the write was made, nor that it was
/// not.
#[tokio::test]
async fn a_write_whose_answer_is_lost_is_an_error() {
    let (server, proxy, url) = through().await;
    let store = RedisStore::connect(&url).await.unwrap();
    store.apply(insert(1)).await.unwrap();
    proxy.mute();
    let outcomes = store.apply_many(vec![insert(2), insert(3)]).await;
    proxy.open();
    for outcome in outcomes {
        let error = outcome.unwrap_err();
        assert!(is_unavailable(&error) && error.to_string().contains("may be made or not"), "{error}");
    }
    let direct = RedisStore::connect(&server.url()).await.unwrap();
    until(async || listed(&direct, None).await.len() == 3).await;
    until(async || store.apply(Write::Delete(id(2))).await.is_ok_and(|done| done == Outcome::Applied)).await;
}

/// [R01] Nothing comes back: a bounded wait, then another connection.
#[tokio::test]
async fn a_stalled_way_is_given_up() {
    let (_server, proxy, url) = through().await;
    let store = RedisStore::options().timeout(Duration::from_secs(1)).connect(&url).await.unwrap();
    store.apply(insert(1)).await.unwrap();
    proxy.stall();
    let started = Instant::now();
    let (read, write) = tokio::join!(store.load(id(1)), store.apply(insert(2)));
    assert!(read.unwrap_err().is_transient() && write.unwrap_err().is_transient());
    assert!(started.elapsed() < Duration::from_secs(30));
    proxy.open();
    until(async || store.load(id(1)).await.is_ok()).await;
    until(async || store.apply(insert(3)).await.is_ok()).await;
}

/// [R03] Callers go away at every moment; those who stay get their own answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn callers_that_go_away_harm_nobody() {
    let (_server, _proxy, url) = through().await;
    let store = RedisStore::connect(&url).await.unwrap();
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
