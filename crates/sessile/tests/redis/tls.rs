//! Encrypted connections: the certificates of the server and of the client.

use std::net::TcpListener;
use std::time::Duration;

use sessile::store::{RedisStore, SessionStore, StoreUrl};
use sessile_test_network::{Authority, Certificate};
use sessile_test_servers::Redis;

use crate::support::{id, insert};

/// A server that shows this certificate, and its port for encrypted connections.
async fn encrypted(shown: &Certificate, clients: &str, auth: &'static str) -> (Redis, String) {
    let Certificate { certificate, key } = shown.clone();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let (clients, tls_port) = (clients.to_owned(), port.clone());
    let starting = tokio::task::spawn_blocking(move || {
        Redis::start_with(&[
            ("tls-port", &*tls_port),
            ("tls-cert-file", &*certificate),
            ("tls-key-file", &*key),
            ("tls-ca-cert-file", &*clients),
            ("tls-auth-clients", auth),
        ])
    });
    (starting.await.unwrap().unwrap(), port)
}

async fn connects(url: &str) -> Result<(), String> {
    let options = RedisStore::options().timeout(Duration::from_secs(5));
    let store = options.connect(url).await.map_err(|error| {
        let causes = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        format!("{error}: {causes}")
    })?;
    store.apply(insert(1)).await.map_err(|error| error.to_string())?;
    assert!(store.load(id(1)).await.unwrap().is_some());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_server_that_was_asked_for_is_spoken_to() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (trusted, other) = (authority.root(), stranger.root());
    let shown = authority.certify("localhost");
    let (server, port) = encrypted(&shown, &trusted, "no").await;
    let (password, key) = (server.password(), &shown.key);

    let parsed: StoreUrl =
        format!("rediss://:{password}@localhost:{port}?sslrootcert={trusted}").parse().unwrap();
    let store = parsed.connect().await.unwrap();
    store.apply(insert(1)).await.unwrap();
    assert!(store.load(id(1)).await.unwrap().is_some());
    for right in [
        format!("rediss://:{password}@localhost:{port}?ssl_ca_certs={trusted}"),
        format!("rediss://:{password}@127.0.0.1:{port}?ssl_ca_certs={trusted}&ssl_check_hostname=false"),
        format!("rediss://:{password}@127.0.0.1:{port}?ssl-ca={trusted}&sslmode=verify-ca"),
        format!("rediss://:{password}@127.0.0.1:{port}?ssl_cert_reqs=none"),
    ] {
        connects(&right).await.unwrap();
    }
    for wrong in [
        format!("rediss://:{password}@localhost:{port}?sslrootcert={other}"),
        format!("rediss://:{password}@localhost:{port}"),
        format!("rediss://:{password}@127.0.0.1:{port}?sslrootcert={trusted}"),
        format!("rediss://:{password}@localhost:{port}?sslrootcert={other}&ssl_cert_reqs=none"),
        format!("rediss://:{password}@localhost:{port}?sslrootcert={key}"),
        format!("rediss://:{password}@localhost:{port}?sslrootcert=/nowhere.pem"),
        format!("rediss://:{password}@localhost:{port}?sslcert=/nowhere.pem"),
        format!("redis://:{password}@localhost:{port}"),
    ] {
        let error = connects(&wrong).await.unwrap_err();
        assert!(!error.contains(password), "{error}");
    }
}

/// [R19] As `openssl req -x509` makes it, which marks it as an authority, and without that mark.
#[tokio::test(flavor = "multi_thread")]
async fn a_self_signed_certificate_is_its_own_root() {
    let authority = Authority::new();
    for is_authority in [true, false] {
        let shown = authority.self_signed("localhost", is_authority);
        let (server, port) = encrypted(&shown, &authority.root(), "no").await;
        let (password, root) = (server.password(), &shown.certificate);
        connects(&format!("rediss://:{password}@localhost:{port}?ssl_ca_certs={root}")).await.unwrap();
        let other = connects(&format!("rediss://:{password}@127.0.0.1:{port}?ssl_ca_certs={root}")).await;
        assert!(other.is_err(), "the name is still verified");
    }
}

/// [R19] A server that wants to see a certificate, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_shows_its_certificate() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (server, port) = encrypted(&authority.certify("localhost"), &authority.root(), "yes").await;
    let url = format!("rediss://:{}@localhost:{port}?ssl_ca_certs={}", server.password(), authority.root());
    let with =
        |shown: &Certificate| format!("{url}&ssl_certfile={}&ssl_keyfile={}", shown.certificate, shown.key);
    connects(&with(&authority.certify_common_name("service"))).await.unwrap();
    assert!(connects(&with(&stranger.certify_common_name("service"))).await.is_err());
    assert!(connects(&url).await.is_err());
    let error = connects(&format!("{url}&ssl_certfile={}", authority.root())).await.unwrap_err();
    assert!(error.contains("needs sslkey"), "{error}");
}
