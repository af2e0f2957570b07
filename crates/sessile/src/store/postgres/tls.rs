//! TLS as the driver takes it.

use tokio_postgres_rustls::MakeRustlsConnect;

use crate::store::tls::{SslMode, TlsOptions};

/// The mode in the driver's words.
pub(super) fn of_driver(mode: SslMode) -> tokio_postgres::config::SslMode {
    use tokio_postgres::config::SslMode as Driver;
    match mode {
        SslMode::Disable => Driver::Disable,
        SslMode::Prefer => Driver::Prefer,
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => Driver::Require,
    }
}

/// The connector; `None` if connections are not encrypted.
///
/// # Errors
/// Which file cannot be used, and why.
pub(super) fn connector(options: &TlsOptions) -> Result<Option<MakeRustlsConnect>, String> {
    Ok(options.config()?.map(MakeRustlsConnect::new))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener};
    use std::sync::Arc;
    use std::sync::mpsc::{Receiver, channel};

    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use rustls::{ServerConfig, ServerConnection, StreamOwned};
    use sessile_test_network::{Authority, Certificate};
    use tokio_postgres::Config;

    use super::*;

    /// Takes connections as PostgreSQL does until the client has said who it is; sends what it then reads, or
    /// nothing if the client closed the connection.
    fn server(shown: &Certificate) -> (SocketAddr, Receiver<Vec<u8>>) {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let certificates = CertificateDer::pem_file_iter(&shown.certificate).unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                certificates.map(Result::unwrap).collect(),
                PrivateKeyDer::from_pem_file(&shown.key).unwrap(),
            )
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, told) = channel();
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let (mut socket, mut request) = (socket.unwrap(), [0; 8]);
                socket.read_exact(&mut request).unwrap();
                assert_eq!(request[4..], 80_877_103u32.to_be_bytes(), "no SSLRequest");
                socket.write_all(b"S").unwrap();
                let session = ServerConnection::new(Arc::clone(&config)).unwrap();
                let (mut stream, mut startup) = (StreamOwned::new(session, socket), [0; 1_024]);
                let length = stream.read(&mut startup).unwrap_or(0);
                if tell.send(startup[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        (address, told)
    }

    fn options(mode: &str, roots: Option<&str>) -> TlsOptions {
        TlsOptions { mode: SslMode::parse(mode), roots: roots.map(Into::into), ..TlsOptions::default() }
    }

    /// Whether the client says who it is, on an encrypted connection; and the error that it ends with.
    async fn connects(shown: &Certificate, mode: &str, host: &str, roots: Option<&str>) -> (bool, String) {
        let (address, told) = server(shown);
        let options = options(mode, roots);
        let tls = connector(&options).unwrap().unwrap();
        let mut config = Config::new();
        let mode = of_driver(options.mode());
        config.host(host).hostaddr(address.ip()).port(address.port()).user("ada").ssl_mode(mode);
        // It ends here in any case: that server knows no more of the protocol.
        let Err(error) = config.connect(tls).await else { panic!("connected") };
        let explained = crate::store::tls::explained(&error)
            .map_or_else(|| super::super::fault::words(&error), str::to_owned);
        (told.recv().unwrap().windows(8).any(|part| part == b"user\0ada"), explained)
    }

    async fn trusts(shown: &Certificate, mode: &str, host: &str, roots: Option<&str>) -> bool {
        connects(shown, mode, host, roots).await.0
    }

    #[tokio::test]
    async fn each_mode_trusts_as_libpq_does() {
        let (authority, stranger) = (Authority::new(), Authority::new());
        let (root, other) = (authority.root(), stranger.root());
        let (root, other) = (Some(root.as_str()), Some(other.as_str()));
        let shown = authority.certify("db.example");
        for (mode, host, roots, trusted) in [
            ("prefer", "elsewhere.example", None, true),
            ("require", "elsewhere.example", None, true),
            ("require", "elsewhere.example", root, true),
            ("require", "db.example", other, false),
            ("verify-ca", "elsewhere.example", root, true),
            ("verify-ca", "db.example", other, false),
            ("verify-ca", "db.example", None, false),
            ("verify-full", "db.example", root, true),
            ("verify-full", "elsewhere.example", root, false),
            ("verify-full", "db.example", other, false),
            ("verify-full", "db.example", None, false),
        ] {
            assert_eq!(trusts(&shown, mode, host, roots).await, trusted, "{mode} {host} {roots:?}");
        }
    }

    /// `openssl req -x509` makes certificates that are their own root and call themselves an authority.
    #[tokio::test]
    async fn a_self_signed_certificate_is_its_own_root() {
        let authority = Authority::new();
        let other = authority.root();
        for is_authority in [false, true] {
            let shown = authority.self_signed("db.example", is_authority);
            let own = Some(shown.certificate.as_str());
            for (mode, host, roots, trusted) in [
                ("verify-ca", "elsewhere.example", own, true),
                ("verify-full", "db.example", own, true),
                ("verify-full", "elsewhere.example", own, false),
                ("verify-full", "db.example", Some(other.as_str()), false),
                ("verify-ca", "db.example", Some(other.as_str()), false),
                ("require", "elsewhere.example", None, true),
            ] {
                let (trusts, said) = connects(&shown, mode, host, roots).await;
                assert_eq!(trusts, trusted, "{is_authority} {mode} {host}: {said}");
                if roots == Some(other.as_str()) {
                    assert!(said.contains("with sslrootcert (ssl-ca)"), "{said}");
                }
            }
        }
    }

    #[tokio::test]
    async fn a_certificate_without_a_name_is_verified_by_its_root() {
        let (authority, stranger) = (Authority::new(), Authority::new());
        let (shown, root) = (authority.certify_common_name("MySQL_Server"), authority.root());
        assert!(trusts(&shown, "verify-ca", "db.example", Some(&root)).await);
        assert!(!trusts(&shown, "verify-full", "db.example", Some(&root)).await);
        assert!(!trusts(&shown, "verify-ca", "db.example", Some(&stranger.root())).await);
    }
}
