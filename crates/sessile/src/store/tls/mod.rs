//! TLS to a database server, the same for every store that speaks it through rustls: how strictly the server is
//! verified, which certificates are trusted, and which one the client shows.
//!
//! Each connection is configured with a crypto provider of its own. None is installed for the process: which one
//! that is, is the application's decision.

mod p521;
mod provider;
mod verify;

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{CertificateError, ClientConfig};

use verify::{Unverified, Verified};

/// Whether connections are encrypted, and how strictly the server is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum SslMode {
    /// Never encrypted.
    Disable,
    /// Encrypted if the server supports it.
    #[default]
    Prefer,
    /// Always encrypted. The server is not verified, unless a root certificate is named.
    Require,
    /// The server's certificate is issued by a trusted root.
    VerifyCa,
    /// And it is valid for the host of the URL.
    VerifyFull,
}

impl SslMode {
    /// As libpq or the client of MySQL writes it.
    pub(super) fn parse(text: &str) -> Option<SslMode> {
        Some(match text.to_ascii_lowercase().replace('_', "-").as_str() {
            "disable" | "disabled" => SslMode::Disable,
            // libpq's `allow` tries encryption last instead of first: the result is the same.
            "allow" | "prefer" | "preferred" => SslMode::Prefer,
            "require" | "required" => SslMode::Require,
            "verify-ca" => SslMode::VerifyCa,
            "verify-full" | "verify-identity" => SslMode::VerifyFull,
            _ => return None,
        })
    }
}

/// What a store URL says of TLS.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct TlsOptions {
    pub(super) mode: Option<SslMode>,
    /// A file of trusted root certificates, or `system`.
    pub(super) roots: Option<PathBuf>,
    /// The client's certificate, with those that lead to its root.
    pub(super) certificate: Option<PathBuf>,
    /// The key of the client's certificate.
    pub(super) key: Option<PathBuf>,
}

impl TlsOptions {
    /// Takes this option of a URL, in libpq's spelling or in that of MySQL's client; `false` if it is not one of
    /// TLS.
    ///
    /// # Errors
    /// What is wrong with the value, without the value.
    pub(super) fn take(&mut self, name: &str, value: &str) -> Result<bool, &'static str> {
        let path = || match value {
            "" => Err("the option names no file"),
            path => Ok(Some(PathBuf::from(path))),
        };
        match name {
            "sslmode" | "ssl-mode" | "ssl_mode" => self.mode = Some(SslMode::parse(value).ok_or(MODES)?),
            "sslrootcert" | "ssl-ca" | "ssl_ca" => self.roots = path()?,
            "sslcert" | "ssl-cert" | "ssl_cert" => self.certificate = path()?,
            "sslkey" | "ssl-key" | "ssl_key" => self.key = path()?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The mode that counts: a root certificate that is named without a mode is used. As for libpq, `system` alone
    /// verifies the name too, since anybody can have a certificate from a public authority.
    pub(super) fn mode(&self) -> SslMode {
        match (self.mode, &self.roots) {
            (Some(SslMode::Require), Some(_)) => SslMode::VerifyCa,
            (Some(mode), _) => mode,
            (None, Some(roots)) if is_system(roots) => SslMode::VerifyFull,
            (None, Some(_)) => SslMode::VerifyCa,
            (None, None) => SslMode::default(),
        }
    }

    /// How to encrypt; `None` if the connection is not to be encrypted.
    ///
    /// # Errors
    /// Which file cannot be used, and why.
    pub(super) fn config(&self) -> Result<Option<ClientConfig>, String> {
        let provider = Arc::new(provider::provider());
        let verifier = match self.mode() {
            SslMode::Disable => return Ok(None),
            SslMode::Prefer | SslMode::Require => Unverified::verifier(),
            mode => Verified::verifier(self.roots()?, mode == SslMode::VerifyFull, &provider)?,
        };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let (certificate, key) = match (&self.certificate, &self.key) {
            (None, None) => return Ok(Some(config.with_no_client_auth())),
            (Some(certificate), Some(key)) => (certificate, key),
            (Some(_), None) => return Err("sslcert (ssl-cert) needs sslkey (ssl-key) beside it".to_owned()),
            (None, Some(_)) => return Err("sslkey (ssl-key) needs sslcert (ssl-cert) beside it".to_owned()),
        };
        let config =
            config.with_client_auth_cert(certificates(certificate, "certificate")?, private_key(key)?);
        config.map(Some).map_err(|error| format!("the key {} cannot be used: {error}", key.display()))
    }

    /// The certificates in the file, or those that the operating system trusts.
    fn roots(&self) -> Result<Vec<CertificateDer<'static>>, String> {
        match &self.roots {
            Some(path) if !is_system(path) => certificates(path, "root certificate"),
            _ => {
                let roots = rustls_native_certs::load_native_certs().certs;
                if roots.is_empty() {
                    return Err(
                        "the system trusts no root certificate: name one with sslrootcert (ssl-ca)".into()
                    );
                }
                Ok(roots)
            }
        }
    }
}

const MODES: &str = "the mode of TLS is none of disable, prefer, require, verify-ca and verify-full, nor one of \
    disabled, preferred, required, verify_ca and verify_identity";

fn is_system(roots: &Path) -> bool {
    roots == Path::new("system")
}

/// At least one.
fn certificates(path: &Path, what: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| format!("the {what} {} cannot be read: {error}", path.display()))?;
    if certificates.is_empty() {
        return Err(format!("no {what} in {}", path.display()));
    }
    Ok(certificates)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| {
        let needs = "it has to be in PEM, without a passphrase";
        format!("the key {} cannot be read: {error} ({needs})", path.display())
    })
}

/// What a failed handshake means, if it is one that rustls does not explain by itself.
pub(super) fn explained(error: &(dyn Error + 'static)) -> Option<&'static str> {
    match refusal(error)? {
        // Another root of the same name has issued it: an authority whose key was replaced.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => Some(
            "the server's certificate is issued by none of the trusted roots: name its root with sslrootcert \
             (ssl-ca)",
        ),
        other if verify::is(other, webpki::Error::CaUsedAsEndEntity) => Some(
            "the server's certificate is its own root and not trusted: name that very certificate with sslrootcert \
             (ssl-ca)",
        ),
        other if verify::is(other, webpki::Error::UnsupportedCertVersion) => {
            Some("the server's certificate is of X.509 version 1: replace it by one of version 3")
        }
        _ => None,
    }
}

/// Why the certificate was refused, somewhere among the causes.
fn refusal<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a CertificateError> {
    if let Some(rustls::Error::InvalidCertificate(refusal)) = error.downcast_ref() {
        return Some(refusal);
    }
    // What an I/O error wraps is not its source.
    if let Some(inner) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        return refusal(inner);
    }
    refusal(error.source()?)
}

#[cfg(test)]
mod tests;
