//! Which certificates of servers are accepted.

use std::sync::Arc;

use rustls::CertificateError::{NotValidForName, NotValidForNameContext};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};

use super::provider;

/// Accepts any certificate. The connection is protected against eavesdroppers, not against an impostor.
#[derive(Debug)]
pub(super) struct Unverified;

/// Accepts certificates that a root has issued, and roots themselves.
#[derive(Debug)]
pub(super) struct Verified {
    issued: Arc<WebPkiServerVerifier>,
    roots: Vec<CertificateDer<'static>>,
    checks_name: bool,
}

impl Unverified {
    pub(super) fn verifier() -> Arc<dyn ServerCertVerifier> {
        Arc::new(Unverified)
    }
}

impl Verified {
    /// # Errors
    /// If none of the roots can be read.
    pub(super) fn verifier(
        roots: Vec<CertificateDer<'static>>,
        checks_name: bool,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ServerCertVerifier>, String> {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(roots.iter().cloned());
        let issued = WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(provider))
            .build()
            .map_err(|error| format!("the root certificates cannot be used: {error}"))?;
        Ok(Arc::new(Verified { issued, roots, checks_name }))
    }
}

/// A self-signed certificate usually calls itself an authority (`openssl req -x509` makes such), and webpki
/// refuses those as servers. It says so after it has checked the period of validity.
fn is_authority(error: &Error) -> bool {
    matches!(error, Error::InvalidCertificate(error) if is(error, webpki::Error::CaUsedAsEndEntity))
}

/// Whether this is the cause, for which rustls has no variant.
pub(super) fn is(error: &CertificateError, cause: webpki::Error) -> bool {
    match error {
        CertificateError::Other(OtherError(error)) => error.downcast_ref::<webpki::Error>() == Some(&cause),
        _ => false,
    }
}

impl ServerCertVerifier for Verified {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let accepted = ServerCertVerified::assertion();
        match self.issued.verify_server_cert(certificate, chain, name, ocsp, now) {
            // The name is verified last.
            Err(Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. }))
                if !self.checks_name =>
            {
                Ok(accepted)
            }
            Err(error) if is_authority(&error) && self.roots.iter().any(|root| root == certificate) => {
                if self.checks_name {
                    verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
                }
                Ok(accepted)
            }
            judged => judged,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.issued.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.issued.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.issued.supported_verify_schemes()
    }
}

/// A signature by a key that anybody may have proves nothing, so that none is verified: certificates that webpki
/// cannot read, such as those of X.509 version 1, are accepted too.
impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider::provider().signature_verification_algorithms.supported_schemes()
    }
}
