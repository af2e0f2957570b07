//! Encryption on the way to the server, meant as users of MySQL mean `ssl-mode`.

use std::path::Path;

use mysql_async::{IoError, SslOpts, TlsError};
use rustls::CertificateError;
use rustls::crypto::{CryptoProvider, ring};

/// `ssl-mode`: whether the way is encrypted, and how sure one is of who is at its other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum SslMode {
    /// Never encrypted.
    Disabled,
    /// Encrypted where the server offers it.
    #[default]
    Preferred,
    /// Encrypted or not at all; by whom, nobody asks.
    Required,
    /// The server's certificate comes from a trusted root.
    VerifyCa,
    /// And is made out to the host that was asked for.
    VerifyIdentity,
}

impl SslMode {
    /// As the server's own tools write it, in any case.
    pub(super) fn parse(text: &str) -> Option<SslMode> {
        Some(match text.to_ascii_lowercase().replace('-', "_").as_str() {
            "disabled" => SslMode::Disabled,
            "preferred" => SslMode::Preferred,
            "required" => SslMode::Required,
            "verify_ca" => SslMode::VerifyCa,
            "verify_identity" => SslMode::VerifyIdentity,
            _ => return None,
        })
    }
}

/// How to encrypt; `None` where the way is not to be encrypted.
///
/// # Errors
/// When there are no root certificates to verify against, in words.
pub(super) fn options(mode: SslMode, roots: Option<&Path>) -> Result<Option<SslOpts>, String> {
    // The driver takes the process's provider, and panics where two are built in and none is chosen.
    if CryptoProvider::get_default().is_none() {
        // Who was faster chose as well.
        let _ = ring::default_provider().install_default();
    }
    Ok(match mode {
        SslMode::Disabled => None,
        SslMode::Preferred | SslMode::Required => {
            Some(SslOpts::default().with_danger_accept_invalid_certs(true))
        }
        SslMode::VerifyCa | SslMode::VerifyIdentity => Some(verified(roots)?),
    })
}

/// A name that a certificate is made out to which is trusted and was refused for its name alone.
///
/// The driver's own way to pass names by reads the error's words, which rustls has changed since. The
/// name is the last thing that is looked at, so asking for this one is as good.
pub(super) fn another_name(error: &mysql_async::Error) -> Option<String> {
    let refused = match error {
        mysql_async::Error::Io(IoError::Io(error)) => error.get_ref()?.downcast_ref::<rustls::Error>()?,
        mysql_async::Error::Io(IoError::Tls(TlsError::Tls(error))) => error,
        _ => return None,
    };
    let rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext { presented, .. }) =
        refused
    else {
        return None;
    };
    presented.iter().find_map(|name| plain_name(name))
}

/// `DnsName("*.db.example")` as a name that it stands for.
fn plain_name(presented: &str) -> Option<String> {
    let name = presented.strip_prefix("DnsName(\"")?.strip_suffix("\")")?;
    Some(name.strip_prefix("*.").map_or_else(|| name.to_owned(), |domain| format!("any.{domain}")))
}

/// Against the certificates in this file, or those that the operating system trusts.
fn verified(roots: Option<&Path>) -> Result<SslOpts, String> {
    let certificates: Vec<Vec<u8>> = match roots {
        Some(path) => {
            let pem = std::fs::read(path).map_err(|error| {
                format!("the root certificate {} cannot be read: {error}", path.display())
            })?;
            vec![pem]
        }
        None => {
            let system = rustls_native_certs::load_native_certs().certs;
            system.into_iter().map(|certificate| certificate.to_vec()).collect()
        }
    };
    if certificates.is_empty() {
        return Err("the system trusts no root certificate: name one with ssl-ca".to_owned());
    }
    let certificates = certificates.into_iter().map(Into::into).collect();
    Ok(SslOpts::default().with_root_certs(certificates).with_disable_built_in_roots(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_from_the_certificate() {
        assert_eq!(plain_name("DnsName(\"db.example\")").as_deref(), Some("db.example"));
        assert_eq!(plain_name("DnsName(\"*.example\")").as_deref(), Some("any.example"));
        assert_eq!(plain_name("IpAddress(127.0.0.1)"), None);
    }

    #[test]
    fn a_root_certificate_that_is_not_there_is_named() {
        let error = options(SslMode::VerifyIdentity, Some(Path::new("no/such.pem"))).unwrap_err();
        assert!(error.contains("no/such.pem cannot be read"), "{error}");
    }
}
