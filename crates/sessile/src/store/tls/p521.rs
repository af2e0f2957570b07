//! Signatures by keys on the curve P-521, which ring does not know.

use p521::ecdsa::signature::hazmat::PrehashVerifier;
use p521::ecdsa::{Signature, VerifyingKey};
use rustls::pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id};
use sha2::{Digest, Sha256, Sha384, Sha512};

/// A hash of the message and the algorithm that names it.
#[derive(Debug)]
struct P521 {
    signature: AlgorithmIdentifier,
    hash: fn(&[u8]) -> Vec<u8>,
}

/// SHA-512 first: TLS uses no other with this curve. Certificates may: `openssl` signs with SHA-256 by default.
pub(super) static ALL: [&dyn SignatureVerificationAlgorithm; 3] = [
    &P521 { signature: alg_id::ECDSA_SHA512, hash: hash::<Sha512> },
    &P521 { signature: alg_id::ECDSA_SHA384, hash: hash::<Sha384> },
    &P521 { signature: alg_id::ECDSA_SHA256, hash: hash::<Sha256> },
];

/// Bytes of the longest hash.
const LONGEST: usize = 64;

/// The hash with leading zeros, which is the same number: a shorter one is not accepted.
fn hash<D: Digest>(message: &[u8]) -> Vec<u8> {
    let hash = D::digest(message);
    let mut number = vec![0; LONGEST - hash.len()];
    number.extend_from_slice(&hash);
    number
}

impl SignatureVerificationAlgorithm for P521 {
    fn verify_signature(&self, key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        let key = VerifyingKey::from_sec1_bytes(key).map_err(|_| InvalidSignature)?;
        let signature = Signature::from_der(signature).map_err(|_| InvalidSignature)?;
        key.verify_prehash(&(self.hash)(message), &signature).map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_P521
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.signature
    }
}
