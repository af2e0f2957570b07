//! Encrypted, to a server that has to prove who it is.

use std::net::TcpListener;
use std::time::Duration;

use sessile::store::{RedisStore, SessionStore, StoreUrl};
use sessile_test_network::{Authority, Certificate};
use sessile_test_servers::Redis;

use crate::support::{id, insert};

#[tokio::test(flavor = "multi_thread")]
async fn only_the_server_that_was_asked_for_is_spoken_to() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (trusted, other) = (authority.root(), stranger.root());
    let Certificate { certificate, key } = authority.certify("localhost");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let settings = [
        ("tls-port", &*port),
        ("tls-cert-file", &*certificate),
        ("tls-key-file", &*key),
        ("tls-ca-cert-file", &*trusted),
        ("tls-auth-clients", "no"),
    ];
    let server = Redis::start_with(&settings).unwrap();
    let url = server.url();
    let (_, password) = url.split_once("//").unwrap();
    let password = password.split('@').next().unwrap();

    let parsed: StoreUrl =
        format!("rediss://{password}@localhost:{port}?sslrootcert={trusted}").parse().unwrap();
    let store = parsed.connect().await.unwrap();
    store.apply(insert(1)).await.unwrap();
    assert!(store.load(id(1)).await.unwrap().is_some());

    let options = RedisStore::options().timeout(Duration::from_secs(5));
    for wrong in [
        format!("rediss://{password}@localhost:{port}?sslrootcert={other}"),
        format!("rediss://{password}@localhost:{port}"),
        format!("rediss://{password}@127.0.0.1:{port}?sslrootcert={trusted}"),
        format!("rediss://{password}@localhost:{port}?sslrootcert={key}"),
        format!("rediss://{password}@localhost:{port}?sslrootcert=/nowhere.pem"),
        format!("redis://{password}@localhost:{port}"),
    ] {
        let error = options.clone().connect(&wrong).await.unwrap_err();
        assert!(!error.to_string().contains(password.trim_start_matches(':')), "{error}");
    }
}
