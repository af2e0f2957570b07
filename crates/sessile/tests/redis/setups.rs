//! Servers as others have set them up: what is not fit for sessions is refused with the remedy, before anything is
//! written.

use std::time::Duration;

use sessile::Sessions;
use sessile::engine::NewSession;
use sessile::store::{
    ListQuery, Outcome, PurgeLimits, RedisStore, SessionStore, StoreError, StoreUrl, Write,
};
use sessile_test_servers::Redis;

use crate::outages::{own, through};
use crate::support::{Log, everything, id, insert, listed, record, time, until, user};

/// The problem and the remedy.
async fn refusal(url: &str) -> (String, String) {
    match RedisStore::connect(url).await.map(drop).unwrap_err() {
        StoreError::Unsupported { problem, remedy, .. } => (problem, remedy),
        error => panic!("{error}"),
    }
}

/// The socket's path, in both spellings of the scheme, with a database and the password in either place.
#[tokio::test]
async fn a_unix_socket_is_a_server_too() {
    let server = own(&[]).await;
    let url = server.socket_url();
    let path = url.rsplit_once('@').unwrap().1;
    for url in [
        format!("{url}?db=3"),
        url.replace("redis+unix://", "unix://") + "?db=3",
        format!("redis+unix://{path}?db=3&pass={}", server.password()),
    ] {
        let parsed: StoreUrl = url.parse().unwrap();
        assert!(!format!("{parsed} {parsed:?}").contains(server.password()), "{parsed}");
        let store = parsed.connect().await.unwrap();
        store.apply(insert(1)).await.unwrap();
        assert!(store.load(id(1)).await.unwrap().is_some());
    }
    assert!(server.command(&["INFO", "keyspace"]).unwrap().contains("db3:keys=3"));
    // The feed and the cache take the same way.
    let here = crate::cache::of(&url, Duration::from_secs(3)).await;
    let credential = crate::coherence::session(&here).await;
    crate::coherence::warm(&here, &credential, 1).await;
    crate::cache::set_data(&server, "sessile:", credential.id(), 2);
    until(async || crate::coherence::read(&here, &credential).await == Some(2)).await;
    server.stop().unwrap();
    let error = RedisStore::connect(&url).await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("redis.sock"), "{error}");
}

/// [R19] Redis 5, or a proxy: HELLO is not known. What the server is comes from the server itself.
#[tokio::test]
async fn a_server_without_resp3_is_refused_with_the_remedy() {
    let server = own(&[("rename-command", "HELLO \"\"")]).await;
    let (problem, remedy) = refusal(&server.url()).await;
    assert!(problem.contains("does not speak RESP3") && problem.starts_with("Redis "), "{problem}");
    assert!(problem.contains(&server.port().to_string()), "{problem}");
    assert!(remedy.contains("Redis 6.2 or later, or Valkey"), "{remedy}");
    assert!(!format!("{problem}{remedy}").contains(server.password()));
}

/// [R17] A renamed command is found missing when the store is opened, not in the middle of a sign-in.
#[tokio::test]
async fn a_renamed_command_is_refused() {
    for command in ["EVALSHA", "ZREM"] {
        let rename: &'static str = Box::leak(format!("{command} \"\"").into_boxed_str());
        let settings: &'static [(&str, &str)] = Box::leak(Box::new([("rename-command", rename)]));
        let server = own(settings).await;
        let (problem, remedy) = refusal(&server.url()).await;
        assert!(problem.ends_with(&format!("does not know {command}")), "{problem}");
        assert!(remedy.contains("rename-command"), "{remedy}");
    }
}

/// [R17] A user who may write rows and not their indexes would leave half a session behind.
#[tokio::test]
async fn a_user_who_may_write_some_of_the_keys_is_refused() {
    let server = own(&[]).await;
    let all = ["+@read", "+@write", "+@scripting", "+@connection", "+info"];
    for (keys, rules, denied) in [
        (&["~sessile:{*"][..], &[][..], "ZADD sessile:user:"),
        (&["~sessile:*"], &["-pexpireat"], "PEXPIREAT sessile:{"),
        (&["~other:*"], &[], "EXISTS sessile:{"),
    ] {
        let words = [&["ACL", "SETUSER", "web", "reset", "on", ">secret"], keys, &all, rules].concat();
        server.command(&words).unwrap();
        let (problem, remedy) = refusal(&format!("redis://web:secret@127.0.0.1:{}", server.port())).await;
        assert!(problem.contains(denied), "{problem}");
        assert!(remedy.contains("+@write"), "{remedy}");
        assert_eq!(server.command(&["DBSIZE"]).unwrap(), "0");
    }
    let words = [&["ACL", "SETUSER", "web", "reset", "on", ">secret", "~sessile:*"][..], &all].concat();
    server.command(&words).unwrap();
    let url = format!("redis://web:secret@127.0.0.1:{}", server.port());
    let store = RedisStore::connect(&url).await.unwrap();
    assert_eq!(store.apply(Write::Insert(record(1, Some("ada"), "{}"))).await.unwrap(), Outcome::Applied);
    let log = Log::start();
    RedisStore::connect(&url).await.unwrap();
    let warnings = log.warnings();
    assert!(warnings.iter().all(|line| line.contains("appendonly")), "{warnings:?}");
}

/// A number that the server does not have.
#[tokio::test]
async fn a_database_that_is_not_there_is_named() {
    let server = own(&[("databases", "2")]).await;
    let (problem, _) = refusal(&format!("{}7", server.url())).await;
    assert!(problem.ends_with("has no database 7"), "{problem}");
}

/// [R19] A node of a Cluster has some of the slots: the scheme says that there are more.
#[tokio::test]
async fn a_node_of_a_cluster_is_no_single_server() {
    let cluster = crate::redis_server::server(crate::redis_server::Kind::Cluster);
    let node = crate::redis_server::nodes(&cluster).remove(0);
    let (problem, remedy) = refusal(&node).await;
    assert!(problem.ends_with("is a node of a Cluster"), "{problem}");
    assert!(remedy.contains("redis-cluster:"), "{remedy}");
}

/// [R01] [R19] A password that is changed while the service runs: it cannot be reached, and is again with the
/// password that it knows. A wrong one from the start is refused as such.
#[tokio::test]
async fn a_rotated_password_makes_the_store_unavailable() {
    let server = own(&[]).await;
    server.command(&["ACL", "SETUSER", "web", "on", ">first", "~*", "+@all"]).unwrap();
    let url = |password: &str| format!("redis://web:{password}@127.0.0.1:{}", server.port());
    let sessions = Sessions::new(RedisStore::connect(&url("first")).await.unwrap());
    let (_, kept) = sessions.create(NewSession::default()).await.unwrap();
    server.command(&["ACL", "SETUSER", "web", "<first", ">second"]).unwrap();
    server.command(&["CLIENT", "KILL", "USER", "web"]).unwrap();
    let mut refused = 0;
    until(async || {
        match sessions.get(kept.id()).await {
            Err(error) => {
                let shown = error.to_string();
                assert!(shown.contains("not available"), "{shown}");
                refused += usize::from(shown.contains("WRONGPASS"));
            }
            Ok(_) => assert_eq!(refused, 0, "it was let in"),
        }
        refused > 5
    })
    .await;
    server.command(&["ACL", "SETUSER", "web", ">first"]).unwrap();
    until(async || sessions.get(kept.id()).await.is_ok_and(|row| row.is_some())).await;
    let error = RedisStore::connect(&url("third")).await.unwrap_err();
    assert!(matches!(&error, StoreError::Refused { .. }) && !error.is_transient(), "{error}");
}

/// [R16] [R18] Redis does nothing else while a script runs: ending very many sessions takes many scripts.
#[tokio::test]
async fn a_user_with_very_many_sessions_holds_nobody_up() {
    let server = own(&[("lua-time-limit", "5000")]).await;
    let store = RedisStore::connect(&server.url()).await.unwrap();
    const COUNT: u32 = 3_000;
    for chunk in 0..COUNT / 500 {
        let rows = (0..500).map(|at| Write::Insert(record(chunk * 500 + at, Some("bot"), "{}")));
        assert!(store.apply_many(rows.collect()).await.iter().all(Result::is_ok));
    }
    store.apply(Write::Insert(record(COUNT, Some("ada"), "{}"))).await.unwrap();
    server.command(&["CONFIG", "RESETSTAT"]).unwrap();
    let deleted = store.delete_user(&user("bot"), Some(id(7))).await.unwrap();
    let told = server.command(&["INFO", "commandstats"]).unwrap();
    let scripts = told.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
    let scripts: u32 = scripts.unwrap().split(',').next().unwrap().parse().unwrap();
    assert_eq!(deleted.len(), COUNT as usize - 1);
    assert!(scripts >= COUNT / 256, "{scripts} scripts");
    assert_eq!(listed(&store, Some("bot")).await, [id(7)]);
    assert_eq!(listed(&store, Some("ada")).await, [id(COUNT)]);
    assert_eq!(listed(&store, None).await.len(), 2);
}

/// Connections that the store has, besides the one that asks.
fn connections(server: &Redis) -> usize {
    server.command(&["CLIENT", "LIST"]).unwrap().lines().count() - 1
}

/// [R18] A walk over many rows and a request do not share a connection.
#[tokio::test]
async fn list_and_stats_have_a_connection_of_their_own() {
    let server = own(&[]).await;
    let store = RedisStore::connect(&server.url()).await.unwrap();
    for number in 0..3 {
        store.apply(Write::Insert(record(number, Some("ada"), "{}"))).await.unwrap();
    }
    store.purge(time("2090-01-01"), PurgeLimits::default()).await.unwrap();
    store.delete_user(&user("eve"), None).await.unwrap();
    assert_eq!(connections(&server), 1);
    let of_requests = of_requests(&server);
    let last = last_command(&server, &of_requests);
    store.list(&ListQuery { user: Some(user("ada")), ..everything(10) }).await.unwrap();
    store.list(&everything(10)).await.unwrap();
    store.stats(time("2090-01-01")).await.unwrap();
    assert_eq!(connections(&server), 2);
    assert_eq!(last_command(&server, &of_requests), last, "a walk went over it");
}

/// The id of the only connection.
fn of_requests(server: &Redis) -> String {
    let clients = server.command(&["CLIENT", "LIST"]).unwrap();
    let own = clients.lines().find(|line| !line.contains("cmd=client|list")).unwrap();
    own.split(' ').next().unwrap().to_owned()
}

/// The last command on this connection.
fn last_command(server: &Redis, id: &str) -> String {
    let clients = server.command(&["CLIENT", "LIST"]).unwrap();
    let own = clients.lines().find(|line| line.starts_with(&format!("{id} "))).unwrap();
    own.split(' ').find_map(|field| field.strip_prefix("cmd=")).unwrap().to_owned()
}

/// [R01] After an outage, long or short, no read fails any more once one has succeeded, and the next request after
/// the end of the outage makes the connection.
#[tokio::test]
async fn no_read_fails_after_the_first_that_succeeds() {
    let (_server, proxy, url) = through().await;
    let sessions = Sessions::new(RedisStore::connect(&url).await.unwrap());
    let (_, kept) = sessions.create(NewSession::default()).await.unwrap();
    proxy.close();
    // Long enough for the pauses between attempts to grow.
    let began = std::time::Instant::now();
    while began.elapsed() < Duration::from_secs(8) {
        assert!(sessions.get(kept.id()).await.is_err());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    proxy.open();
    until(async || sessions.get(kept.id()).await.is_ok()).await;
    for _ in 0..50 {
        sessions.get(kept.id()).await.unwrap();
        sessions.create(NewSession::default()).await.unwrap();
    }
}

/// [R19] Valkey tells the version of Redis that it stands for, and is named as what it is.
#[tokio::test]
async fn valkey_is_named() {
    let start = || Redis::start_valkey_with(&[("appendonly", "yes"), ("appendfsync", "always")]);
    let server = tokio::task::spawn_blocking(start).await.unwrap().unwrap();
    let store = RedisStore::connect(&server.url()).await.unwrap();
    store.apply(insert(1)).await.unwrap();
    let findings = store.examine(&sessile::record::SystemClock).await.unwrap();
    let found = findings.iter().find(|finding| finding.subject == "server").unwrap();
    assert!(found.seen.starts_with("Valkey 9."), "{}", found.seen);
    let server = {
        let start = || Redis::start_valkey_with(&[("rename-command", "HELLO \"\"")]);
        tokio::task::spawn_blocking(start).await.unwrap().unwrap()
    };
    let (problem, _) = refusal(&server.url()).await;
    assert!(problem.starts_with("Valkey 9."), "{problem}");
}
