//! Encryption on the way to the server, meant as users of libpq mean `sslmode`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

/// `sslmode`: whether the way is encrypted, and how sure one is of who is at its other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum SslMode {
    /// Never encrypted.
    Disable,
    /// Encrypted where the server offers it.
    #[default]
    Prefer,
    /// Encrypted or not at all; by whom, nobody asks, unless a root certificate is named.
    Require,
    /// The server's certificate comes from a trusted root.
    VerifyCa,
    /// And is made out to the host that was asked for.
    VerifyFull,
}

impl SslMode {
    pub(super) fn parse(text: &str) -> Option<SslMode> {
        Some(match text {
            "disable" => SslMode::Disable,
            // libpq then tries encryption last instead of first: the end is the same.
            "allow" | "prefer" => SslMode::Prefer,
            "require" => SslMode::Require,
            "verify-ca" => SslMode::VerifyCa,
            "verify-full" => SslMode::VerifyFull,
            _ => return None,
        })
    }

    /// What the driver has to know of it.
    pub(super) fn of_driver(self) -> tokio_postgres::config::SslMode {
        use tokio_postgres::config::SslMode as Driver;
        match self {
            SslMode::Disable => Driver::Disable,
            SslMode::Prefer => Driver::Prefer,
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => Driver::Require,
        }
    }
}

/// The connector; `None` where the way is not to be encrypted.
///
/// # Errors
/// When there are no root certificates to verify against, in words.
pub(super) fn connector(mode: SslMode, roots: Option<&Path>) -> Result<Option<MakeRustlsConnect>, String> {
    let provider = Arc::new(ring::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match (mode, roots) {
        (SslMode::Disable, _) => return Ok(None),
        (SslMode::Prefer, _) | (SslMode::Require, None) => Arc::new(Unverified(Arc::clone(&provider))),
        (SslMode::VerifyFull, _) => verifier(roots, &provider)?,
        // As libpq: a root certificate is not named in vain.
        (SslMode::Require | SslMode::VerifyCa, _) => {
            Arc::new(AnyName(verifier(roots, &provider)?, Arc::clone(&provider)))
        }
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(Some(MakeRustlsConnect::new(config)))
}

/// Against the certificates in this file, or those that the operating system trusts.
fn verifier(
    roots: Option<&Path>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, String> {
    let (certificates, from) = match roots.filter(|path| *path != Path::new("system")) {
        Some(path) => (read(path)?, path.to_owned()),
        None => (
            rustls_native_certs::load_native_certs().certs,
            PathBuf::from("the certificates that the system trusts"),
        ),
    };
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(certificates);
    WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(provider))
        .build()
        .map_err(|error| format!("no root certificate in {}: {error}", from.display()))
}

fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| format!("the root certificate {} cannot be read: {error}", path.display()))
}

/// Takes any certificate: `require` keeps listeners out, not impostors.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

/// Verifies the chain, and takes any name.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>, Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        use rustls::Error::InvalidCertificate;
        // The name is the last thing that is looked at.
        match self.0.verify_server_cert(certificate, chain, name, ocsp, now) {
            Err(InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            judged => judged,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.1.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.1.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener};
    use std::sync::mpsc::{Receiver, channel};

    use rustls::pki_types::PrivateKeyDer;
    use rustls::{ServerConfig, ServerConnection, StreamOwned};
    use sessile_test_network::{Authority, Certificate};
    use tokio_postgres::Config;

    use super::*;

    /// Takes connections as PostgreSQL does until it knows who is there; tells what it then reads, or
    /// nothing where the client turned away.
    fn server(shown: &Certificate) -> (SocketAddr, Receiver<Vec<u8>>) {
        let provider = Arc::new(ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                read(Path::new(&shown.certificate)).unwrap(),
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

    /// Whether the client says who it is, through the encrypted way.
    async fn trusts(shown: &Certificate, mode: &str, host: &str, roots: Option<&str>) -> bool {
        let (address, told) = server(shown);
        let mode = SslMode::parse(mode).unwrap();
        let tls = connector(mode, roots.map(Path::new)).unwrap().unwrap();
        let mut config = Config::new();
        config.host(host).hostaddr(address.ip()).port(address.port()).user("ada").ssl_mode(mode.of_driver());
        // It ends here in any case: that server knows no more of the protocol.
        assert!(config.connect(tls).await.is_err());
        told.recv().unwrap().windows(8).any(|part| part == b"user\0ada")
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

    #[test]
    fn a_root_certificate_that_is_not_there_is_named() {
        let Err(error) = connector(SslMode::VerifyFull, Some(Path::new("absent.pem"))) else { panic!() };
        assert!(error.contains("absent.pem cannot be read"), "{error}");
        let authority = Authority::new();
        let shown = authority.certify("db.example");
        let Err(error) = connector(SslMode::VerifyFull, Some(Path::new(&shown.key))) else { panic!() };
        assert!(error.contains("no root certificate in "), "{error}");
    }
}
