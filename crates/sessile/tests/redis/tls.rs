//! Encrypted, to a server that has to prove who it is.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use sessile::store::{RedisStore, SessionStore, StoreUrl};
use sessile_test_servers::Redis;
use tempfile::TempDir;

use crate::support::{id, insert};

/// A folder that the server's user can read.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    folder
}

/// A file in it, as an argument of a server's settings.
fn file(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    path.display().to_string()
}

fn root(folder: &Path, name: &str) -> (String, Issuer<'static, KeyPair>) {
    let mut root = CertificateParams::new(Vec::new()).unwrap();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let certificate = root.self_signed(&key).unwrap().pem();
    (file(folder, name, &certificate), Issuer::new(root, key))
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_server_that_was_asked_for_is_spoken_to() {
    let folder = folder();
    let (trusted, issuer) = root(folder.path(), "root.pem");
    let (other, _) = root(folder.path(), "other.pem");
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = certificate.signed_by(&key, &issuer).unwrap().pem();
    let certificate = file(folder.path(), "server.pem", &certificate);
    let key = file(folder.path(), "server.key", &key.serialize_pem());
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
