//! Cipher suites and elliptic curves, by Go's names: what rustls with ring can do of what Go can.

use crate::config::rules::{Checked, one_of};

/// A cipher suite of TLS 1.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum CipherSuite {
    EcdheEcdsaAes128GcmSha256,
    EcdheEcdsaAes256GcmSha384,
    EcdheEcdsaChacha20Poly1305Sha256,
    EcdheRsaAes128GcmSha256,
    EcdheRsaAes256GcmSha384,
    EcdheRsaChacha20Poly1305Sha256,
}

/// An elliptic curve for the exchange of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Curve {
    X25519,
    P256,
    P384,
}

const SUITES: &[(&str, CipherSuite)] = &[
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", CipherSuite::EcdheEcdsaAes128GcmSha256),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", CipherSuite::EcdheEcdsaAes256GcmSha384),
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", CipherSuite::EcdheEcdsaChacha20Poly1305Sha256),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", CipherSuite::EcdheRsaAes128GcmSha256),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", CipherSuite::EcdheRsaAes256GcmSha384),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", CipherSuite::EcdheRsaChacha20Poly1305Sha256),
];
/// Go takes these names and lets nobody choose among them.
const SUITES_OF_TLS13: &[&str] = &["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];
/// Go's other suites: CBC with SHA-1, of which attacks are known.
const SUITES_WITH_CBC: &[&str] = &[
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
];
const CURVES: &[(&str, Curve)] = &[("X25519", Curve::X25519), ("CurveP256", Curve::P256), ("CurveP384", Curve::P384)];
const CURVE_P521: &str = "CurveP521";

impl CipherSuite {
    /// The suite of this name; none for one of TLS 1.3.
    pub(super) fn parse(name: &str) -> Checked<Option<Self>> {
        if SUITES_OF_TLS13.contains(&name) {
            return Ok(None);
        }
        if let Some(name) = SUITES_WITH_CBC.iter().find(|known| **known == name) {
            return Err(format!("rustls has no {name}, which is weak; choose of {}", names(SUITES)));
        }
        one_of(name, SUITES).map(Some)
    }
}

impl Curve {
    /// The curve of this name.
    pub(super) fn parse(name: &str) -> Checked<Self> {
        if name == CURVE_P521 {
            return Err(format!("rustls with ring has no {CURVE_P521}; choose of {}", names(CURVES)));
        }
        one_of(name, CURVES)
    }
}

fn names<T>(known: &[(&str, T)]) -> String {
    known.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}
