//! Encrypted, to a server that has to prove who it is.

use std::time::Duration;

use sessile::store::{MySqlStore, Outcome, SessionStore, Write};
use sessile_test_network::{Authority, Certificate, Proxy};
use sessile_test_servers::MariaDb;

use crate::support::{id, insert, record, until};

async fn connects(url: &str) -> Result<MySqlStore, String> {
    let options = MySqlStore::options().timeout(Duration::from_secs(20));
    options.connect(url).await.map_err(|error| error.to_string())
}

/// Starts a server that shows this certificate, and trusts clients with certificates of this root.
async fn showing(shown: &Certificate, root: &str) -> MariaDb {
    let Certificate { certificate, key } = shown.clone();
    let root = root.to_owned();
    tokio::task::spawn_blocking(move || {
        let settings = [("ssl-cert", &*certificate), ("ssl-key", &*key), ("ssl-ca", &*root)];
        MariaDb::start_with(&settings).unwrap()
    })
    .await
    .unwrap()
}

/// Writes and reads a row, after the connection was idle and was used again.
async fn works(store: &MySqlStore) {
    store.init().await.unwrap();
    store.apply(insert(1)).await.unwrap();
    assert!(store.load(id(1)).await.unwrap().is_some());
    let large = record(2, None, &format!("{{\"a\": \"{}\"}}", "x".repeat(300_000)));
    store.apply(Write::Insert(large.clone())).await.unwrap();
    assert_eq!(store.load(id(2)).await.unwrap(), Some(large));
    for number in [1, 2] {
        assert_eq!(store.apply(Write::Delete(id(number))).await.unwrap(), Outcome::Applied);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_mode_trusts_as_the_servers_own_tools_do() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (trusted, other) = (authority.root(), stranger.root());
    let Certificate { certificate, key } = authority.certify("localhost");
    let settings = [("ssl-cert", &*certificate), ("ssl-key", &*key), ("ssl-ca", &*trusted)];
    let server = MariaDb::start_with(&settings).unwrap();
    // Whoever comes by this name has to come encrypted.
    server.query("ALTER USER sessile@'127.0.0.1' REQUIRE SSL").unwrap();
    let url = |host: &str, options: &str| server.url().replace("127.0.0.1", host) + options;
    for (host, mode, roots, trusts) in [
        ("127.0.0.1", "disabled", None, false),
        ("127.0.0.1", "preferred", None, true),
        ("127.0.0.1", "required", None, true),
        ("127.0.0.1", "verify_ca", Some(&trusted), true),
        ("127.0.0.1", "verify_ca", Some(&other), false),
        ("127.0.0.1", "verify_ca", None, false),
        ("localhost", "verify_identity", Some(&trusted), true),
        ("127.0.0.1", "verify_identity", Some(&trusted), false),
        ("localhost", "verify_identity", Some(&other), false),
        ("localhost", "verify_identity", None, false),
        ("localhost", "verify_identity", Some(&key), false),
    ] {
        let roots = roots.map(|roots| format!("&ssl-ca={roots}")).unwrap_or_default();
        let connected = connects(&url(host, &format!("?ssl-mode={mode}{roots}"))).await;
        assert_eq!(connected.is_ok(), trusts, "{mode} {host}{roots}: {:?}", connected.err());
        if let Ok(store) = connected {
            works(&store).await;
        }
    }
    // A server that supports no TLS, and a URL that demands it.
    let plain = MariaDb::start_with(&[("skip-ssl", "1")]).unwrap();
    works(&connects(&plain.url()).await.unwrap()).await;
    let error = connects(&(plain.url() + "?ssl-mode=required")).await.unwrap_err();
    assert!(error.contains("does not support TLS"), "{error}");
}

/// [R19] The certificates that MySQL makes for itself have a common name and no other.
#[tokio::test(flavor = "multi_thread")]
async fn verify_ca_needs_no_name() {
    let authority = Authority::new();
    let root = authority.root();
    let server = showing(&authority.certify_common_name("MySQL_Server_Auto_Generated"), &root).await;
    let url = |options: &str| server.url() + options;
    works(&connects(&url(&format!("?ssl-mode=verify_ca&ssl-ca={root}"))).await.unwrap()).await;
    works(&connects(&url(&format!("?sslrootcert={root}"))).await.unwrap()).await;
    let error = connects(&url(&format!("?ssl-mode=verify_identity&ssl-ca={root}"))).await.unwrap_err();
    assert!(error.contains("not valid for name"), "{error}");
    let stranger = Authority::new();
    let other = stranger.root();
    let error = connects(&url(&format!("?ssl-mode=verify_ca&ssl-ca={other}"))).await.unwrap_err();
    assert!(error.contains("name its root with sslrootcert (ssl-ca)"), "{error}");
}

/// [R19]
#[tokio::test(flavor = "multi_thread")]
async fn a_self_signed_certificate_is_its_own_root() {
    let authority = Authority::new();
    for is_authority in [true, false] {
        let shown = authority.self_signed("localhost", is_authority);
        let server = showing(&shown, &shown.certificate).await;
        let url = server.url().replace("127.0.0.1", "localhost");
        let own = &shown.certificate;
        works(&connects(&format!("{url}?ssl-mode=verify_identity&ssl-ca={own}")).await.unwrap()).await;
        works(&connects(&format!("{}?ssl-ca={own}", server.url())).await.unwrap()).await;
        let elsewhere = format!("{}?ssl-mode=verify_identity&ssl-ca={own}", server.url());
        assert!(connects(&elsewhere).await.is_err());
        let error = connects(&format!("{url}?ssl-ca={}", authority.root())).await.unwrap_err();
        assert!(error.contains("with sslrootcert (ssl-ca)"), "{error}");
    }
}

/// [R19] Keys on the curve P-521, of the server and of its root.
#[tokio::test(flavor = "multi_thread")]
async fn p521_is_verified() {
    let authority = Authority::new();
    let (shown, root) = authority.p521();
    let server = showing(&shown, &root).await;
    let url = server.url().replace("127.0.0.1", "localhost");
    works(&connects(&format!("{url}?ssl-mode=required")).await.unwrap()).await;
    works(&connects(&format!("{url}?ssl-mode=verify_identity&ssl-ca={root}")).await.unwrap()).await;
    let other = authority.root();
    assert!(connects(&format!("{url}?ssl-mode=verify_identity&ssl-ca={other}")).await.is_err());
}

/// [R19] Certificates of X.509 version 1 cannot be verified: they are accepted where none is, and named otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn version_1_is_accepted_unverified() {
    let authority = Authority::new();
    let shown = authority.version_1();
    let server = showing(&shown, &authority.root()).await;
    works(&connects(&(server.url() + "?ssl-mode=required")).await.unwrap()).await;
    for roots in [&shown.certificate, &authority.root()] {
        let error = connects(&format!("{}?ssl-ca={roots}", server.url())).await.unwrap_err();
        assert!(error.contains("X.509 version 1"), "{error}");
    }
}

/// [R19] A user that the server only accepts with a certificate.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_is_shown() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let root = authority.root();
    let server = showing(&authority.certify("localhost"), &root).await;
    server.query("ALTER USER sessile@'127.0.0.1' REQUIRE SUBJECT '/CN=web'").unwrap();
    let (web, other) = (authority.certify_common_name("web"), stranger.certify_common_name("web"));
    let url = |client: &Certificate, names: [&str; 2]| {
        let [certificate, key] = names;
        format!("{}?ssl-ca={root}&{certificate}={}&{key}={}", server.url(), client.certificate, client.key)
    };
    for names in [["ssl-cert", "ssl-key"], ["sslcert", "sslkey"]] {
        works(&connects(&url(&web, names)).await.unwrap()).await;
        assert!(connects(&url(&other, names)).await.is_err());
    }
    let error = connects(&format!("{}?ssl-ca={root}", server.url())).await.unwrap_err();
    assert!(error.contains("does not let us in"), "{error}");
    let error = connects(&format!("{}?ssl-cert={}", server.url(), web.certificate)).await.unwrap_err();
    assert!(error.contains("failed to prepare TLS"), "{error}");
}

/// [R19] Which crypto provider the process has is the application's decision, also after a connection.
#[tokio::test(flavor = "multi_thread")]
async fn no_crypto_provider_is_installed() {
    let authority = Authority::new();
    let server = showing(&authority.certify("localhost"), &authority.root()).await;
    works(&connects(&(server.url() + "?ssl-mode=required")).await.unwrap()).await;
    works(&connects(&format!("{}?ssl-ca={}", server.url(), authority.root())).await.unwrap()).await;
    rustls::crypto::ring::default_provider().install_default().expect("the first to install one");
}

/// [R01] Encrypted connections that break or stall are replaced, and leave no task behind.
#[tokio::test(flavor = "multi_thread")]
async fn a_broken_encrypted_connection_is_replaced() {
    let authority = Authority::new();
    let server = showing(&authority.certify("localhost"), &authority.root()).await;
    let proxy = Proxy::to(([127, 0, 0, 1], server.port()).into()).await;
    let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = alive();
    let url = server.url().replace(&format!("127.0.0.1:{}", server.port()), &proxy.address.to_string());
    let options = MySqlStore::options().timeout(Duration::from_secs(2));
    let store = options.connect(&format!("{url}?ssl-ca={}", authority.root())).await.unwrap();
    store.init().await.unwrap();
    store.apply(insert(1)).await.unwrap();
    for _ in 0..5 {
        proxy.cut();
        until(async || store.load(id(1)).await.is_ok_and(|row| row.is_some())).await;
        until(async || store.apply(insert(1)).await.is_ok_and(|outcome| outcome == Outcome::Unmatched)).await;
    }
    proxy.stall();
    until(async || store.load(id(1)).await.is_err_and(|error| error.is_transient())).await;
    proxy.open();
    until(async || store.load(id(1)).await.is_ok()).await;
    drop(store);
    until(async || alive() <= before).await;
}
