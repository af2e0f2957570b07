//! Connecting, and being told what is wrong.

use std::time::{Duration, Instant};

use sessile::store::{Outcome, PurgeLimits, RedisStore, SessionStore, StoreError, StoreUrl, Write};
use sessile_test_servers::Redis;

use crate::redis_server::{Kind, Prefix, connection, nodes};
use crate::support::{Log, id, insert, listed, record, time, user};

#[tokio::test]
async fn a_store_url_opens_it() {
    for kind in [Kind::Single, Kind::Cluster] {
        let prefix = Prefix::new(kind);
        let url: StoreUrl = prefix.url().parse().unwrap();
        assert!(!url.is_in_memory() && url.schema().is_empty());
        let store = url.connect().await.unwrap();
        store.init().await.unwrap();
        store.check().await.unwrap();
        store.apply(insert(1)).await.unwrap();
        assert_eq!(prefix.keys().len(), 3, "{:?}", prefix.keys());
        assert_eq!(store.name(), "redis");
    }
}

/// A database number of its own, and a password with every kind of character.
#[tokio::test]
async fn what_the_url_says_is_used() {
    let server = Redis::start().unwrap();
    let users = "ACL SETUSER ada on >p@:/?#%é&= ~* &* +@all";
    server.command(&users.split(' ').collect::<Vec<_>>()).unwrap();
    let url = format!("redis://ada:p%40%3A%2F%3F%23%25%C3%A9%26=@127.0.0.1:{}/3", server.port());
    let store = RedisStore::connect(&url).await.unwrap();
    store.apply(insert(1)).await.unwrap();
    assert_eq!(server.command(&["INFO", "keyspace"]).unwrap().matches("db3:keys=3").count(), 1);
}

/// [S14] Neither a wrong one nor a right one, at any level of the log.
#[tokio::test]
async fn the_password_is_in_no_message() {
    let log = Log::start();
    let server = Redis::start().unwrap();
    let right = server.url();
    let (_, rest) = right.split_once("//:").unwrap();
    let (password, host) = rest.split_once('@').unwrap();
    let mut told = Vec::new();
    let parsed: StoreUrl = right.parse().unwrap();
    told.push(format!("{parsed} {parsed:?}"));
    let store = RedisStore::connect(&right).await.unwrap();
    store.apply(insert(1)).await.unwrap();
    told.push(format!("{store:?}"));
    for wrong in [
        format!("redis://ada:{password}@{host}"),
        format!("redis://:{password}x@{host}"),
        format!("redis://{host}?{password}@x"),
        format!("redis://:{password}@127.0.0.1:1"),
        format!("redis-cluster://:{password}@{host}"),
        format!("rediss://:{password}@{host}"),
    ] {
        let options = RedisStore::options().timeout(Duration::from_secs(2));
        let error = options.connect(&wrong).await.unwrap_err();
        told.push(format!("{error} {error:?}"));
    }
    told.push(log.text());
    let told = told.join("\n");
    assert!(!told.contains(password), "{told}");
    assert!(told.contains("sessile::redis"), "the log was on");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_in_time() {
    let started = Instant::now();
    for url in ["redis://127.0.0.1:1", "redis-cluster://127.0.0.1:1"] {
        let options = RedisStore::options().timeout(Duration::from_secs(3));
        let error = options.connect(url).await.unwrap_err();
        assert!(error.is_transient() && !error.to_string().contains("made or not"), "{error}");
    }
    assert!(started.elapsed() < Duration::from_secs(40));
}

#[tokio::test]
async fn a_prefix_with_braces_is_refused() {
    let error = RedisStore::options().prefix("a{b}:").connect("redis://127.0.0.1:1").await.unwrap_err();
    assert!(matches!(&error, StoreError::Schema { .. }), "{error}");
    assert!(error.to_string().contains("cannot be the prefix"), "{error}");
}

/// [R13]
#[tokio::test]
async fn settings_that_forget_sessions_are_warned_of() {
    let warnings = async |settings: &[(&str, &str)]| {
        let server = Redis::start_with(settings).unwrap();
        let log = Log::start();
        RedisStore::connect(&server.url()).await.unwrap();
        log.warnings().join("\n")
    };
    let safe = [("appendonly", "yes"), ("appendfsync", "always")];
    assert_eq!(warnings(&safe).await, "");
    let told = warnings(&[("maxmemory-policy", "allkeys-lru"), safe[0], safe[1]]).await;
    assert!(told.contains("set maxmemory-policy to noeviction") && told.contains("allkeys-lru"), "{told}");
    let told = warnings(&[("appendonly", "yes"), ("appendfsync", "everysec")]).await;
    assert!(told.contains("set appendfsync to always") && told.lines().count() == 1, "{told}");
    let told = warnings(&[("appendonly", "no")]).await;
    assert!(told.contains("set appendonly to yes") && told.lines().count() == 1, "{told}");
}

#[tokio::test]
async fn many_stores_share_a_server() {
    for kind in [Kind::Single, Kind::Cluster] {
        let prefixes = [Prefix::new(kind), Prefix::new(kind), Prefix::new(kind)];
        let mut stores = Vec::new();
        for prefix in &prefixes {
            stores.push(RedisStore::connect(&prefix.url()).await.unwrap());
        }
        for store in &stores {
            let outcome = store.apply(Write::Insert(record(1, Some("ada"), "{}"))).await.unwrap();
            assert_eq!(outcome, Outcome::Applied);
        }
        assert_eq!(stores[0].delete_user(&user("ada"), None).await.unwrap(), [id(1)]);
        let far = time("2099-01-01");
        let batch = stores[1].purge(far, PurgeLimits::default()).await.unwrap();
        assert!(batch.ids().eq([id(1)]));
        for (store, left) in stores.iter().zip([vec![], vec![], vec![id(1)]]) {
            assert_eq!(listed(store, None).await, left);
            assert_eq!(listed(store, Some("ada")).await, left);
            assert_eq!(store.stats(time("2080-01-01")).await.unwrap().live, left.len() as u64);
        }
        // In a Cluster an id leaves its user's index a minute later.
        for prefix in &prefixes[..2] {
            assert!(prefix.keys().iter().all(|key| kind == Kind::Cluster && key.ends_with("user:{ada}")));
        }
    }
}

#[tokio::test]
async fn the_servers_clock_is_told() {
    for kind in [Kind::Single, Kind::Cluster] {
        let prefix = Prefix::new(kind);
        let store = RedisStore::connect(&prefix.url()).await.unwrap();
        let theirs = store.clock().await.unwrap().unwrap();
        let ours = sessile::record::Clock::now(&sessile::record::SystemClock);
        let apart = ours.saturating_since(theirs).max(theirs.saturating_since(ours));
        assert!(apart < Duration::from_secs(600), "{theirs} and {ours}");
    }
}

/// A server or an administrator may forget all scripts at any time.
#[tokio::test]
async fn forgotten_scripts_are_sent_again() {
    for kind in [Kind::Single, Kind::Cluster] {
        let prefix = Prefix::new(kind);
        let store = RedisStore::connect(&prefix.url()).await.unwrap();
        for round in 0..5 {
            for node in nodes(&prefix.server) {
                redis::cmd("SCRIPT").arg("FLUSH").exec(&mut connection(&node)).unwrap();
            }
            let batch = (0..20).map(|number| insert(round * 100 + number)).collect();
            let outcomes = store.apply_many(batch).await;
            assert!(outcomes.iter().all(|it| matches!(it, Ok(Outcome::Applied))), "{outcomes:?}");
        }
        assert_eq!(listed(&store, None).await.len(), 100);
    }
}
