//! Encrypted, to a server that has to prove who it is.

use std::time::Duration;

use sessile::store::{MySqlStore, SessionStore};
use sessile_test_network::{Authority, Certificate};
use sessile_test_servers::MariaDb;

use crate::support::{id, insert};

async fn connects(url: &str) -> Result<MySqlStore, String> {
    let options = MySqlStore::options().timeout(Duration::from_secs(10));
    options.connect(url).await.map_err(|error| error.to_string())
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
            store.init().await.unwrap();
            store.apply(insert(1)).await.unwrap();
            assert!(store.load(id(1)).await.unwrap().is_some());
        }
    }
}
