//! What the store leaves alone in its process: a process of its own, for an application installs its crypto provider
//! once.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "the helpers of tests")]

use std::net::TcpListener;

use sessile::store::{RedisStore, SessionStore};
use sessile_test_network::{Authority, Certificate};
use sessile_test_servers::{Redis, RedisCluster};

/// [R19] An application that installs a crypto provider after the store has connected is not too late, and the store
/// needs none.
#[tokio::test(flavor = "multi_thread")]
async fn no_crypto_provider_is_installed() {
    let authority = Authority::new();
    let Certificate { certificate, key } = authority.certify("127.0.0.1");
    let root = authority.root();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let files = [
        ("tls-cert-file", &*certificate),
        ("tls-key-file", &*key),
        ("tls-ca-cert-file", &*root),
        ("tls-auth-clients", "no"),
    ];
    let server = Redis::start_with(&[&[("tls-port", &*port)][..], &files].concat()).unwrap();
    let store =
        RedisStore::connect(&format!("rediss://:{}@127.0.0.1:{port}?ssl_ca_certs={root}", server.password()))
            .await
            .unwrap();
    store.check().await.unwrap();

    // The ports of the nodes then take nothing that is not encrypted.
    let settings = [&[("tls-cluster", "no"), ("tls-replication", "no")][..], &files].concat();
    let cluster = RedisCluster::start_with(&settings).unwrap();
    let mut hosts = Vec::new();
    for node in cluster.nodes() {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
        node.command(&["CONFIG", "SET", "tls-port", &port]).unwrap();
        hosts.push(format!("127.0.0.1:{port}"));
    }
    let url = cluster.url();
    let (login, _) = url.split_once('@').unwrap();
    let url = format!("{}@{}?ssl_ca_certs={root}", login.replace("redis-", "rediss-"), hosts.join(","));
    let store = RedisStore::connect(&url).await.unwrap();
    store.check().await.unwrap();
    rustls::crypto::ring::default_provider().install_default().expect("the first one to install a provider");
}
