//! Certificates for one test, made when it runs.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
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
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Certificate {
            certificate: write(self.folder.path(), &format!("{host}.pem"), &certificate),
            key: write(self.folder.path(), &format!("{host}.key"), &key.serialize_pem()),
        }
    }
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    path.display().to_string()
}
