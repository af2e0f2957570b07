//! What the store leaves alone in its process: a process of its own, for an application installs its crypto provider
//! once.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "the helpers of tests")]

use std::net::TcpListener;
use std::time::{Duration, Instant};

use sessile::store::{RedisStore, SessionStore};
use sessile_test_network::{Authority, Certificate};
use sessile_test_servers::Redis;

fn free_port() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string()
}

/// [R19] An application that installs a crypto provider after the store has connected is not too late, and the store
/// needs none.
#[tokio::test(flavor = "multi_thread")]
async fn no_crypto_provider_is_installed() {
    let authority = Authority::new();
    let Certificate { certificate, key } = authority.certify("127.0.0.1");
    let root = authority.root();
    let port = free_port();
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

    // A Cluster of one node.
    let (tls_port, bus) = (free_port(), free_port());
    let cluster = [
        ("tls-port", &*tls_port),
        ("cluster-enabled", "yes"),
        ("cluster-port", &*bus),
        ("tls-cluster", "yes"),
    ];
    let node = Redis::start_with(&[&cluster[..], &files].concat()).unwrap();
    node.command(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]).unwrap();
    let url = format!("rediss-cluster://:{}@127.0.0.1:{tls_port}?ssl_ca_certs={root}", node.password());
    let started = Instant::now();
    while !node.command(&["CLUSTER", "INFO"]).unwrap().contains("cluster_state:ok") {
        assert!(started.elapsed() < Duration::from_secs(60), "the slots are not served");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let store = RedisStore::connect(&url).await.unwrap();
    store.check().await.unwrap();

    rustls::crypto::ring::default_provider().install_default().expect("the first one to install a provider");
}
