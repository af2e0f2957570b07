//! Encrypted connections to a server that has to prove who it is, and that asks the same of its clients.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use sessile::store::{Outcome, PostgresStore, SessionStore, Write};
use sessile_test_network::{Authority, Certificate};
use sessile_test_servers::Postgres;

use crate::support::{id, insert, until};

async fn connects(url: &str) -> Result<PostgresStore, String> {
    PostgresStore::connect(url).await.map_err(|error| error.to_string())
}

async fn works(store: &PostgresStore) {
    store.init().await.unwrap();
    store.apply(insert(1)).await.unwrap();
    assert!(store.load(id(1)).await.unwrap().is_some());
    assert_eq!(store.apply(Write::Delete(id(1))).await.unwrap(), Outcome::Applied);
}

async fn own() -> Postgres {
    tokio::task::spawn_blocking(Postgres::start).await.unwrap().unwrap()
}

/// Makes the server show this certificate to new connections, and trust clients with certificates of this root.
/// It reads no key that others can read.
async fn show(server: &Postgres, shown: &Certificate, root: &str) {
    let owner = fs::metadata(server.folder()).unwrap();
    let kept = |from: &str| {
        let name = from.replace('/', "-");
        let path = server.folder().join(name.trim_start_matches('-'));
        fs::copy(from, &path).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
        path.display().to_string()
    };
    let certificate = kept(&shown.certificate);
    for (setting, value) in [
        ("ssl_cert_file", &*certificate),
        ("ssl_key_file", &kept(&shown.key)),
        ("ssl_ca_file", &kept(root)),
        ("ssl", "on"),
    ] {
        server.query(&format!("ALTER SYSTEM SET {setting} = '{value}'")).unwrap();
    }
    server.query("SELECT pg_reload_conf()").unwrap();
    let setting = "SELECT current_setting('ssl') || current_setting('ssl_cert_file')";
    until(async || server.query(setting).unwrap().trim() == format!("on{certificate}")).await;
}

/// [R19] Certificates without a name, those that are their own root, and keys on the curve P-521.
#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_verified_as_libpq_does() {
    let server = own().await;
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (root, other) = (authority.root(), stranger.root());
    let by_address = server.url();
    let by_name = by_address.replace("127.0.0.1", "localhost");

    show(&server, &authority.certify_common_name("postgres"), &root).await;
    works(&connects(&format!("{by_address}?sslmode=verify-ca&sslrootcert={root}")).await.unwrap()).await;
    works(&connects(&format!("{by_address}?ssl-ca={root}")).await.unwrap()).await;
    assert!(connects(&format!("{by_name}?sslmode=verify-full&sslrootcert={root}")).await.is_err());
    let error = connects(&format!("{by_name}?sslmode=verify-ca&sslrootcert={other}")).await.unwrap_err();
    assert!(error.contains("name its root with sslrootcert (ssl-ca)"), "{error}");

    let shown = authority.self_signed("localhost", true);
    let itself = &shown.certificate;
    show(&server, &shown, &root).await;
    works(&connects(&format!("{by_name}?sslmode=verify-full&sslrootcert={itself}")).await.unwrap()).await;
    assert!(connects(&format!("{by_address}?sslmode=verify-full&sslrootcert={itself}")).await.is_err());
    let error = connects(&format!("{by_name}?sslmode=verify-full&sslrootcert={root}")).await.unwrap_err();
    assert!(error.contains("name that very certificate with sslrootcert (ssl-ca)"), "{error}");

    let (shown, p521) = authority.p521();
    show(&server, &shown, &root).await;
    works(&connects(&format!("{by_name}?sslmode=require")).await.unwrap()).await;
    works(&connects(&format!("{by_name}?sslmode=verify-full&sslrootcert={p521}")).await.unwrap()).await;
    assert!(connects(&format!("{by_name}?sslmode=verify-full&sslrootcert={root}")).await.is_err());
    // The application's own decision is still open.
    assert!(rustls::crypto::CryptoProvider::get_default().is_none());
}

/// [R19] A role that the server only accepts with a certificate.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_is_shown() {
    let server = own().await;
    let authority = Authority::new();
    let root = authority.root();
    show(&server, &authority.certify("localhost"), &root).await;
    server.query("CREATE ROLE web LOGIN; GRANT ALL ON SCHEMA public TO web").unwrap();
    let rules = server.folder().join("data/pg_hba.conf");
    let before = fs::read_to_string(&rules).unwrap();
    fs::write(&rules, format!("hostssl all web 127.0.0.1/32 cert\n{before}")).unwrap();
    server.query("SELECT pg_reload_conf()").unwrap();
    let loaded = "SELECT count(*) FROM pg_hba_file_rules WHERE auth_method = 'cert'";
    until(async || server.query(loaded).unwrap().trim() == "1").await;

    let url = server.url();
    let (_, place) = url.rsplit_once('@').unwrap();
    let (web, other) = (authority.certify_common_name("web"), authority.certify_common_name("other"));
    let url = |client: &Certificate, [certificate, key]: [&str; 2]| {
        let Certificate { certificate: shown, key: secret } = client;
        format!("postgres://web@{place}?sslrootcert={root}&{certificate}={shown}&{key}={secret}")
    };
    // The rules are read by the server a moment after it was told to.
    until(async || connects(&url(&web, ["sslcert", "sslkey"])).await.is_ok()).await;
    for names in [["sslcert", "sslkey"], ["ssl-cert", "ssl-key"]] {
        works(&connects(&url(&web, names)).await.unwrap()).await;
        assert!(connects(&url(&other, names)).await.is_err());
    }
    assert!(connects(&format!("postgres://web@{place}?sslrootcert={root}")).await.is_err());
}
