//! Certificates for one test, made when it runs.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

/// Somebody whom clients can be told to trust. Its files go when it is dropped.
#[derive(Debug)]
pub struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

/// What a server shows, as files that its own user can read.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The certificate, in PEM.
    pub certificate: String,
    /// Its private key, in PEM.
    pub key: String,
}

impl Default for Authority {
    fn default() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap().pem();
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        write(folder.path(), "root.pem", &root);
        Authority { folder, issuer: Issuer::new(params, key) }
    }
}

impl Authority {
    /// A new one, whom nobody trusts yet.
    pub fn new() -> Authority {
        Authority::default()
    }

    /// Its root certificate, in PEM.
    pub fn root(&self) -> String {
        self.folder.path().join("root.pem").display().to_string()
    }

    /// Says that whoever has the key is the host of this name.
    pub fn certify(&self, host: &str) -> Certificate {
        self.issue(host, CertificateParams::new(vec![host.to_owned()]).unwrap())
    }

    /// The same without a name that a host could be compared with: only the subject's common name, as in the
    /// certificates that MySQL makes for itself, and in those of clients.
    pub fn certify_common_name(&self, name: &str) -> Certificate {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        self.issue(name, params)
    }

    /// A certificate for this host that is its own root, and says whether it is an authority: `openssl req -x509`
    /// makes those that do.
    pub fn self_signed(&self, host: &str, is_authority: bool) -> Certificate {
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.is_ca = match is_authority {
            true => IsCa::Ca(BasicConstraints::Unconstrained),
            false => IsCa::ExplicitNoCa,
        };
        params.distinguished_name.push(DnType::CommonName, host);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        self.keep(&format!("self-signed-{host}-{is_authority}"), &certificate, &key.serialize_pem())
    }

    /// A certificate for `localhost` with a key on the curve P-521, and its root, which has one too.
    pub fn p521(&self) -> (Certificate, String) {
        let (certificate, key) = (include_str!("p521/server.pem"), include_str!("p521/server.key"));
        let root = write(self.folder.path(), "p521-root.pem", include_str!("p521/root.pem"));
        (self.keep("p521", certificate, key), root)
    }

    /// A certificate of X.509 version 1, as `openssl x509 -req` makes it without an extension file.
    pub fn version_1(&self) -> Certificate {
        self.keep("version-1", include_str!("version1/server.pem"), include_str!("version1/server.key"))
    }

    fn issue(&self, name: &str, params: CertificateParams) -> Certificate {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        self.keep(name, &certificate, &key.serialize_pem())
    }

    fn keep(&self, name: &str, certificate: &str, key: &str) -> Certificate {
        Certificate {
            certificate: write(self.folder.path(), &format!("{name}.pem"), certificate),
            key: write(self.folder.path(), &format!("{name}.key"), key),
        }
    }
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    path.display().to_string()
}
