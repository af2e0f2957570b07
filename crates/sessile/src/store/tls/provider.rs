//! The crypto provider of every connection: ring, and what it lacks.
//!
//! aws-lc-rs has P-521 as well, but its C sources take 64 s of processor time to build, the pure Rust of the `p521`
//! crate takes 16 s (both on one machine, in the development profile), and most programs have ring already.

use std::sync::LazyLock;

use rustls::SignatureScheme;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::SignatureVerificationAlgorithm;

use super::p521;

type Algorithm = &'static dyn SignatureVerificationAlgorithm;

static ALL: LazyLock<Vec<Algorithm>> = LazyLock::new(|| [of_ring().all, &p521::ALL].concat());

static BY_SCHEME: LazyLock<Vec<(SignatureScheme, &'static [Algorithm])>> = LazyLock::new(|| {
    let p521 = (SignatureScheme::ECDSA_NISTP521_SHA512, &p521::ALL[..1]);
    [of_ring().mapping, &[p521]].concat()
});

fn of_ring() -> WebPkiSupportedAlgorithms {
    ring::default_provider().signature_verification_algorithms
}

pub(super) fn provider() -> CryptoProvider {
    CryptoProvider {
        signature_verification_algorithms: WebPkiSupportedAlgorithms { all: &ALL, mapping: &BY_SCHEME },
        ..ring::default_provider()
    }
}
