//! The coherent cache over what Redis tells of its keys, on a single server and in a Cluster.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::Commands;
use redis::cluster::{ClusterClient, ClusterConnection};
use sessile::engine::{CacheError, CacheOptions};
use sessile::store::{FeedListener, News, RedisStore, SessionStore, StoreError};
use sessile::{SessionId, Sessions};
use sessile_test_servers::{Redis, RedisCluster};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::coherence::{self, Others, is_up, read, service, session, warm};
use crate::outages::{own, through};
use crate::redis_server::{Kind, Prefix, nodes};
use crate::support::{Log, id, until};

const PATIENT: Duration = Duration::from_secs(10);

fn row(prefix: &str, id: SessionId) -> String {
    format!("{prefix}{{{}}}:{id}", &id.to_string()[..2])
}

fn data(n: u32) -> String {
    format!(r#"{{"n": {n}}}"#)
}

/// Plain commands, as redis-cli writes them, on a server of our own.
impl Others for Redis {
    async fn delete(&self, id: SessionId) {
        self.command(&["DEL", &row("sessile:", id)]).unwrap();
    }

    async fn set(&self, id: SessionId, n: u32) {
        set_data(self, "sessile:", id, n);
    }

    async fn empty(&self) {
        self.command(&["FLUSHALL"]).unwrap();
    }

    async fn kill(&self) {
        self.command(&["CLIENT", "KILL", "TYPE", "normal"]).unwrap();
    }
}

/// The same in a Cluster, on the keys of one test.
pub(crate) struct ClusterCli {
    connection: Mutex<ClusterConnection>,
    prefix: String,
}

impl ClusterCli {
    pub(crate) fn at(url: &str, prefix: &str) -> ClusterCli {
        let connection = ClusterClient::new(nodes(url)).unwrap().get_connection().unwrap();
        ClusterCli { connection: Mutex::new(connection), prefix: prefix.to_owned() }
    }
}

impl Others for ClusterCli {
    async fn delete(&self, id: SessionId) {
        let _: () = self.connection.lock().unwrap().del(row(&self.prefix, id)).unwrap();
    }

    async fn set(&self, id: SessionId, n: u32) {
        let _: () = self.connection.lock().unwrap().hset(row(&self.prefix, id), "data", data(n)).unwrap();
    }

    async fn empty(&self) {
        let all = Prefix { name: self.prefix.clone(), server: crate::redis_server::server(Kind::Cluster) };
        // Dropped, it takes its keys away.
        tokio::task::spawn_blocking(move || drop(all)).await.unwrap();
    }

    async fn kill(&self) {
        unreachable!("the servers are everybody's");
    }
}

pub(crate) async fn of(url: &str, bound: Duration) -> Sessions {
    service(RedisStore::connect(url).await.unwrap(), bound).await
}

/// Changes a row as redis-cli does.
pub(crate) fn set_data(server: &Redis, prefix: &str, id: SessionId, n: u32) {
    server.command(&["HSET", &row(prefix, id), "data", &data(n)]).unwrap();
}

/// [S10] [M05] Lua, plain commands, FLUSHALL.
#[tokio::test(flavor = "multi_thread")]
async fn what_anybody_does_to_the_keys_counts_here() {
    let server = own(&[]).await;
    let here = of(&server.url(), PATIENT).await;
    let elsewhere = Sessions::new(RedisStore::connect(&server.url()).await.unwrap());
    coherence::what_anybody_does_counts(&here, &elsewhere, &server).await;
}

/// [S10] [M05] On whichever primary it is.
#[tokio::test(flavor = "multi_thread")]
async fn what_anybody_does_in_a_cluster_counts_here() {
    let prefix = Prefix::new(Kind::Cluster);
    let here = of(&prefix.url(), PATIENT).await;
    let elsewhere = Sessions::new(RedisStore::connect(&prefix.url()).await.unwrap());
    let cli = ClusterCli::at(&prefix.server, &prefix.name);
    for _ in 0..4 {
        coherence::what_anybody_does_counts(&here, &elsewhere, &cli).await;
    }
}

/// What Redis removes by itself is told like any change: at the end of a key, and for want of memory.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_removes_by_itself_counts_here() {
    let server = own(&[]).await;
    let here = of(&server.url(), PATIENT).await;
    let credential = session(&here).await;
    warm(&here, &credential, 1).await;
    server.command(&["PEXPIRE", &row("sessile:", credential.id()), "20"]).unwrap();
    until(async || read(&here, &credential).await.is_none()).await;
    let credential = session(&here).await;
    warm(&here, &credential, 1).await;
    server.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).unwrap();
    server.command(&["CONFIG", "SET", "maxmemory", "1"]).unwrap();
    until(async || {
        // Memory is made when a command asks for some.
        let _ = server.command(&["SET", "other", "1"]);
        read(&here, &credential).await.is_none()
    })
    .await;
}

/// [M01]
#[tokio::test]
async fn what_is_kept_costs_no_command() {
    let prefix = Prefix::new(Kind::Single);
    let here = of(&prefix.url(), PATIENT).await;
    let credential = session(&here).await;
    warm(&here, &credential, 1).await;
    let log = Log::start();
    for _ in 0..100 {
        assert_eq!(read(&here, &credential).await, Some(1));
    }
    let reads = log.text().lines().filter(|line| line.contains("HMGET")).count();
    assert_eq!(reads, 0);
}

/// [R01]
#[tokio::test(flavor = "multi_thread")]
async fn a_feed_that_is_killed_is_never_believed() {
    let (server, proxy, url) = through().await;
    let here = of(&url, PATIENT).await;
    coherence::a_feed_that_is_killed_is_never_believed(&here, &proxy, &server).await;
}

/// [R01]
#[tokio::test(flavor = "multi_thread")]
async fn a_feed_that_hangs_is_given_up() {
    let (server, proxy, url) = through().await;
    let here = of(&url, Duration::from_secs(2)).await;
    coherence::a_feed_that_hangs_is_given_up(&here, &proxy, &server).await;
}

/// A server that has become a replica hears late of what is written on its primary, or never.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_no_primary_any_more_is_not_believed() {
    let (server, primary) = (own(&[]).await, own(&[]).await);
    let here = of(&server.url(), Duration::from_secs(3)).await;
    let credential = session(&here).await;
    warm(&here, &credential, 1).await;
    server.command(&["REPLICAOF", "127.0.0.1", &primary.port().to_string()]).unwrap();
    until(async || !is_up(&here)).await;
    server.command(&["REPLICAOF", "NO", "ONE"]).unwrap();
    until(async || is_up(&here)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_may_not_listen_is_refused_with_the_remedy() {
    let server = own(&[]).await;
    let rules = ["+@read", "+@write", "+@scripting", "+@connection", "+info", "-client|tracking"];
    let words = [&["ACL", "SETUSER", "web", "on", ">secret", "~sessile:*"][..], &rules].concat();
    server.command(&words).unwrap();
    let store =
        RedisStore::connect(&format!("redis://web:secret@127.0.0.1:{}", server.port())).await.unwrap();
    let refused = Sessions::builder(store).cache(CacheOptions::default()).await.err().unwrap();
    let CacheError::Store(StoreError::Schema { remedy, .. }) = &refused else { panic!("{refused}") };
    assert!(remedy.contains("+@connection"), "{remedy}");
}

/// [R13] A primary of the Cluster is killed and its replica takes its place: until that one is listened to the
/// feed is down, and nothing of what was kept is believed.
#[tokio::test(flavor = "multi_thread")]
async fn a_failover_is_never_believed() {
    let cluster = tokio::task::spawn_blocking(RedisCluster::start).await.unwrap().unwrap();
    let here = of(&cluster.url(), Duration::from_secs(3)).await;
    let mut credentials = Vec::new();
    for _ in 0..32 {
        let credential = session(&here).await;
        warm(&here, &credential, 1).await;
        credentials.push(credential);
    }
    cluster.kill_primary_of(0).unwrap();
    until(async || !is_up(&here)).await;
    until(async || is_up(&here)).await;
    // On the new primary, too.
    let cli = ClusterCli::at(&cluster.url(), "sessile:");
    for credential in &credentials {
        until(async || read(&here, credential).await == Some(1)).await;
        cli.set(credential.id(), 2).await;
        until(async || read(&here, credential).await == Some(2)).await;
    }
}

/// Redis answers a command before it tells of the changes that were made in the same turn. So the first answer
/// is no sign that everything was told.
#[tokio::test]
async fn a_sign_of_life_that_overtakes_news_is_not_believed() {
    let changed = id(7);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(overtaking(stream, changed));
        }
    });
    let store = RedisStore::connect(&url).await.unwrap();
    let told = Arc::new(Told::default());
    let _feed = store.feed(Arc::clone(&told) as _, PATIENT).await.unwrap().unwrap();
    let told = told.0.lock().unwrap();
    assert!(matches!(told[..], [News::Changed(id), News::Up(_), ..] if id == changed), "{told:?}");
}

#[derive(Default)]
struct Told(Mutex<Vec<News>>);

impl FeedListener for Told {
    fn hear(&self, news: News) {
        self.0.lock().unwrap().push(news);
    }
}

/// A server that answers the first sign of life, and only then tells of a change that was made before.
async fn overtaking(stream: TcpStream, changed: SessionId) {
    let mut stream = BufReader::new(stream);
    let key = row("sessile:", changed);
    let news = format!(">2\r\n$10\r\ninvalidate\r\n*1\r\n${}\r\n{key}\r\n", key.len());
    let info = "run_id:1\r\nrole:master\r\n";
    while let Some(words) = command(&mut stream).await {
        let answer = match words[0].as_str() {
            "HELLO" => "%1\r\n$5\r\nproto\r\n:3\r\n".to_owned(),
            "PING" => format!("+PONG\r\n{news}"),
            "INFO" => format!("${}\r\n{info}\r\n", info.len()),
            "CONFIG" => "%0\r\n".to_owned(),
            _ => "+OK\r\n".to_owned(),
        };
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// The words of the next command.
async fn command(stream: &mut BufReader<TcpStream>) -> Option<Vec<String>> {
    let count = number(stream).await?;
    let mut words = Vec::new();
    for _ in 0..count {
        let mut word = vec![0; number(stream).await? + 2];
        stream.read_exact(&mut word).await.ok()?;
        words.push(String::from_utf8(word).unwrap().trim_end().to_owned());
    }
    Some(words)
}

/// What follows `*` or `$`.
async fn number(stream: &mut BufReader<TcpStream>) -> Option<usize> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    line.get(1..)?.trim_end().parse().ok()
}
