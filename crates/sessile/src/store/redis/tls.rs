//! Encryption of the connection. Nothing is installed for the whole process: an application may choose its own
//! cryptography at any time.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

/// How much of the server's certificate is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum Verification {
    /// Nothing: keeps listeners out, not impostors.
    None,
    /// The chain up to a trusted root, whatever name the certificate has.
    Chain,
    /// The chain and the name of the host.
    #[default]
    Full,
}

impl Verification {
    /// Reads `ssl_cert_reqs` and `ssl_check_hostname` as redis-py writes them, or `sslmode` as libpq does.
    pub(super) fn parse(key: &str, value: &str) -> Option<Verification> {
        Some(match (key, value.to_ascii_lowercase().as_str()) {
            ("ssl_cert_reqs", "none") | ("sslmode", "require") => Verification::None,
            ("ssl_check_hostname", "false" | "0" | "no") | ("sslmode", "verify-ca") => Verification::Chain,
            ("ssl_cert_reqs", "required" | "optional")
            | ("ssl_check_hostname", "true" | "1" | "yes")
            | ("sslmode", "verify-full") => Verification::Full,
            _ => return None,
        })
    }

    /// The values that [`parse`](Self::parse) knows.
    pub(super) fn expected(key: &str) -> &'static str {
        match key {
            "ssl_cert_reqs" => "ssl_cert_reqs is required or none",
            "ssl_check_hostname" => "ssl_check_hostname is true or false",
            _ => "sslmode is require, verify-ca or verify-full",
        }
    }
}

/// What a URL says of the encryption.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct TlsFiles {
    pub(super) verification: Verification,
    /// Root certificates, in PEM; those that the system trusts where none is named.
    pub(super) roots: Option<PathBuf>,
    /// The client's certificate and the chain after it, in PEM.
    pub(super) certificate: Option<PathBuf>,
    /// The key of the client's certificate, in PEM.
    pub(super) key: Option<PathBuf>,
}

impl TlsFiles {
    /// # Errors
    /// When a client certificate is named without its key, or the other way round.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        match (&self.certificate, &self.key) {
            (Some(_), None) => {
                Err("ssl_certfile needs ssl_keyfile, the file with the key of that certificate")
            }
            (None, Some(_)) => {
                Err("ssl_keyfile needs ssl_certfile, the file with the certificate of that key")
            }
            _ => Ok(()),
        }
    }

    /// # Errors
    /// When a file cannot be read or used, in words.
    pub(super) fn config(&self) -> Result<ClientConfig, String> {
        let provider = Arc::new(ring::default_provider());
        let verifier = Arc::new(self.verifier(&provider)?);
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let (Some(certificate), Some(key)) = (&self.certificate, &self.key) else {
            return Ok(builder.with_no_client_auth());
        };
        let chain = certificates("the client certificate", certificate)?;
        let key = PrivateKeyDer::from_pem_file(key)
            .map_err(|error| format!("the client key {} cannot be read: {error}", key.display()))?;
        builder.with_client_auth_cert(chain, key).map_err(|error| {
            format!("the client certificate {} and its key cannot be used: {error}", certificate.display())
        })
    }

    fn verifier(&self, provider: &Arc<CryptoProvider>) -> Result<Verifier, String> {
        let supported = Arc::clone(provider);
        // A root that is named is used, whatever the mode says.
        let verification = match (self.verification, &self.roots) {
            (Verification::None, None) => return Ok(Verifier { chain: None, check_name: false, supported }),
            (Verification::None, Some(_)) => Verification::Chain,
            (verification, _) => verification,
        };
        let (roots, source) = match &self.roots {
            Some(path) => (certificates("the root certificate", path)?, path.display().to_string()),
            None => {
                let system = rustls_native_certs::load_native_certs().certs;
                (system, "the certificates that the system trusts".to_owned())
            }
        };
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(roots.iter().cloned());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(provider))
            .build()
            .map_err(|error| format!("no root certificate in {source}: {error}"))?;
        let check_name = verification == Verification::Full;
        Ok(Verifier { chain: Some((verifier, roots)), check_name, supported })
    }
}

fn certificates(what: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| format!("{what} {} cannot be read: {error}", path.display()))
}

#[derive(Debug)]
struct Verifier {
    /// The roots, as the verifier has them and as they are; `None` where any certificate is accepted.
    chain: Option<(Arc<WebPkiServerVerifier>, Vec<CertificateDer<'static>>)>,
    check_name: bool,
    supported: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        use rustls::Error::InvalidCertificate;
        let accepted = Ok(ServerCertVerified::assertion());
        let Some((verifier, roots)) = &self.chain else { return accepted };
        match verifier.verify_server_cert(certificate, intermediates, name, ocsp, now) {
            // The name is verified last.
            Err(InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.check_name => accepted,
            // A self-signed certificate that is its own root: often marked as a root, which no server may show.
            // That is looked at after the time, which has an error of its own.
            Err(InvalidCertificate(CertificateError::Other(_)))
                if roots.iter().any(|root| root == certificate) =>
            {
                if self.check_name {
                    verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
                }
                accepted
            }
            judged => judged,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.supported.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.supported.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.supported.signature_verification_algorithms.supported_schemes()
    }
}
