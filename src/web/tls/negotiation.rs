//! What is negotiated: versions, cipher suites and curves.

use rustls::crypto::ring::{self, cipher_suite, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::version::{TLS12, TLS13};
use rustls::{SignatureAlgorithm, SupportedCipherSuite, SupportedProtocolVersion};

use super::TlsError;
use crate::config::{CipherSuite, Curve, TlsConfig, TlsVersion};

/// The versions between the two that are configured.
pub(super) fn versions(tls: &TlsConfig) -> Vec<&'static SupportedProtocolVersion> {
    [(TlsVersion::Tls13, &TLS13), (TlsVersion::Tls12, &TLS12)]
        .into_iter()
        .filter(|(version, _)| (tls.min_version..=tls.max_version).contains(version))
        .map(|(_, supported)| supported)
        .collect()
}

/// What ring can do, narrowed to what is configured, for a server whose key is of this algorithm.
///
/// # Errors
/// Where no client could connect, or no client of HTTP/2.
pub(super) fn provider(tls: &TlsConfig, http2: bool, key: SignatureAlgorithm) -> Result<CryptoProvider, TlsError> {
    let mut provider = ring::default_provider();
    if !tls.curves.is_empty() {
        provider.kx_groups = tls.curves.iter().map(|curve| group(*curve)).collect();
    }
    if !tls.cipher_suites.is_empty() {
        // Those of TLS 1.3 stay, as in Go: they are not for choice.
        provider.cipher_suites.retain(|suite| suite.tls13().is_some());
        provider.cipher_suites.extend(tls.cipher_suites.iter().map(|name| suite(*name)));
    }
    // A suite of TLS 1.2 is for keys of one algorithm.
    let fits = |suite: &SupportedCipherSuite| suite.tls13().is_some() || suite.usable_for_signature_algorithm(key);
    if tls.max_version == TlsVersion::Tls12
        && !provider.cipher_suites.iter().any(|suite| suite.tls13().is_none() && fits(suite))
    {
        return Err(TlsError::new(
            "cipher_suites",
            "none of them is for the certificate's kind of key, and max_version leaves no TLS 1.3; name suites with RSA for an RSA key, with ECDSA for others",
        ));
    }
    if http2
        && tls.min_version == TlsVersion::Tls12
        && !tls.cipher_suites.is_empty()
        && !tls.cipher_suites.iter().any(|name| is_http2s(*name))
    {
        return Err(TlsError::new(
            "cipher_suites",
            "HTTP/2 over TLS 1.2 needs TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 or TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256; add one, or set http_server_config.http2 to false",
        ));
    }
    Ok(provider)
}

/// RFC 9113, §9.2.2: every server of HTTP/2 has one of these.
fn is_http2s(name: CipherSuite) -> bool {
    matches!(name, CipherSuite::EcdheEcdsaAes128GcmSha256 | CipherSuite::EcdheRsaAes128GcmSha256)
}

fn suite(name: CipherSuite) -> SupportedCipherSuite {
    match name {
        CipherSuite::EcdheEcdsaAes128GcmSha256 => cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::EcdheEcdsaAes256GcmSha384 => cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        CipherSuite::EcdheEcdsaChacha20Poly1305Sha256 => cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        CipherSuite::EcdheRsaAes128GcmSha256 => cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::EcdheRsaAes256GcmSha384 => cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        CipherSuite::EcdheRsaChacha20Poly1305Sha256 => cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    }
}

fn group(curve: Curve) -> &'static dyn SupportedKxGroup {
    match curve {
        Curve::X25519 => kx_group::X25519,
        Curve::P256 => kx_group::SECP256R1,
        Curve::P384 => kx_group::SECP384R1,
    }
}
