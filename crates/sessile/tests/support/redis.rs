//! A prefix of its own in the Redis server, or in the Redis Cluster, that the tests share.
#![allow(missing_docs, unreachable_pub, dead_code, reason = "shared by several test programs")]

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use redis::{Client, Commands, Connection};
use sessile::store::RedisStore;
use sessile::store::redis::RedisOptions;

/// Which of the shared servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Single,
    Cluster,
}

/// The URL of a shared server.
pub fn server(kind: Kind) -> String {
    let variable = match kind {
        Kind::Single => "SESSILE_TEST_REDIS",
        Kind::Cluster => "SESSILE_TEST_REDIS_CLUSTER",
    };
    std::env::var(variable).ok().filter(|url| !url.is_empty()).unwrap_or_else(|| {
        panic!(
            "{variable} is not set: run the tests with `cargo xtask test`, which starts the servers they need"
        )
    })
}

/// URLs of the nodes, for a client that speaks to one of them.
pub fn nodes(url: &str) -> Vec<String> {
    let (scheme, rest) = url.split_once("://").unwrap();
    let scheme = scheme.trim_end_matches("-cluster");
    let (user, hosts) = rest.rsplit_once('@').unwrap_or(("", rest));
    let hosts = hosts.trim_end_matches('/').split(',');
    hosts.map(|host| format!("{scheme}://{user}@{host}/")).collect()
}

pub fn connection(url: &str) -> Connection {
    Client::open(url).unwrap().get_connection().unwrap()
}

/// The keys that begin with it are removed when this is dropped.
pub struct Prefix {
    pub name: String,
    pub server: String,
}

impl Prefix {
    pub fn new(kind: Kind) -> Prefix {
        Prefix::on(server(kind))
    }

    pub fn on(server: String) -> Prefix {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
        Prefix { name: format!("sessile-test-{}-{nanos}-{number}:", std::process::id()), server }
    }

    /// The store URL of the keys that begin with it.
    pub fn url(&self) -> String {
        format!("{}?prefix={}", self.server, self.name)
    }

    pub async fn store(&self, options: RedisOptions) -> RedisStore {
        options.connect(&self.url()).await.unwrap()
    }

    /// All keys that there are.
    pub fn keys(&self) -> Vec<String> {
        let mut keys = Vec::new();
        for node in nodes(&self.server) {
            let mut connection = connection(&node);
            let role: Vec<redis::Value> = redis::cmd("ROLE").query(&mut connection).unwrap();
            let role: String = redis::from_redis_value(role[0].clone()).unwrap();
            if role == "master" {
                let found = connection.scan_match(format!("{}*", self.name)).unwrap();
                keys.extend(found.map(|key: redis::RedisResult<String>| key.unwrap()));
            }
        }
        keys.sort();
        keys
    }
}

impl Drop for Prefix {
    fn drop(&mut self) {
        // What remains in a server that has gone is gone with it.
        for node in nodes(&self.server) {
            let Ok(mut connection) = Client::open(&*node).and_then(|client| client.get_connection()) else {
                continue;
            };
            let Ok(keys) = connection.scan_match::<_, String>(format!("{}*", self.name)) else { continue };
            let keys: Vec<String> = keys.filter_map(Result::ok).collect();
            for key in keys {
                // A replica refuses it, and has it from its primary.
                let _: Result<(), _> = redis::cmd("UNLINK").arg(key).query(&mut connection);
            }
        }
    }
}
