//! Encrypted, to a server that has to prove who it is.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use sessile::store::{MySqlStore, SessionStore};
use sessile_test_servers::MariaDb;
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

async fn connects(url: &str) -> Result<MySqlStore, String> {
    let options = MySqlStore::options().timeout(Duration::from_secs(10));
    options.connect(url).await.map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_mode_trusts_as_the_servers_own_tools_do() {
    let folder = folder();
    let (trusted, issuer) = root(folder.path(), "root.pem");
    let (other, _) = root(folder.path(), "other.pem");
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = certificate.signed_by(&key, &issuer).unwrap().pem();
    let certificate = file(folder.path(), "server.pem", &certificate);
    let key = file(folder.path(), "server.key", &key.serialize_pem());
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
            store.init().await.unwrap();
            store.apply(insert(1)).await.unwrap();
            assert!(store.load(id(1)).await.unwrap().is_some());
        }
    }
}
