//! Who the server is: its certificates and its private key.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::{Error as PemError, PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::x509::SubjectPublicKeyInfo;

use super::TlsError;
use super::pem::Pem;
use crate::config::TlsConfig;

/// The most certificates that are shown: a leaf and those between it and its root are two to four. More are
/// a bundle of authorities by mistake, which each handshake would have to carry.
const MAX_CHAIN: usize = 16;

/// Certificates and key that belong together.
pub(super) struct Identity {
    pub(super) certified: CertifiedKey,
    pub(super) key: Arc<dyn SigningKey>,
    /// The first end of any certificate's validity.
    pub(super) expiry: DateTime<Utc>,
}

/// Reads them anew.
pub(super) fn read(tls: &TlsConfig) -> Result<Identity, TlsError> {
    let certificate = certificate_pem(tls)?;
    let key = Pem::read(&tls.key, "key_file", "key")?;
    let chain = chain(&certificate)?;
    let signing = private_key(&key)?;
    let parsed = chain
        .iter()
        .map(|der| X509Certificate::from_der(der).map(|(_, parsed)| parsed))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| certificate.error("a certificate in it is damaged; replace it"))?;
    belong_together(&parsed, &*signing, &certificate, &key)?;
    let expiry = parsed.iter().map(|certificate| certificate.validity().not_after.timestamp()).min();
    let expiry = expiry.and_then(|seconds| DateTime::from_timestamp(seconds, 0)).unwrap_or(DateTime::<Utc>::MAX_UTC);
    Ok(Identity { certified: CertifiedKey::new(chain, signing.clone()), key: signing, expiry })
}

/// The server's certificate alone, read anew.
pub(super) fn certificate(tls: &TlsConfig) -> Result<CertificateDer<'static>, TlsError> {
    // A chain has at least one.
    Ok(chain(&certificate_pem(tls)?)?.swap_remove(0))
}

fn certificate_pem(tls: &TlsConfig) -> Result<Pem, TlsError> {
    Pem::read(&tls.certificate, "cert_file", "cert")
}

fn chain(pem: &Pem) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain = pem.certificates()?;
    if chain.len() > MAX_CHAIN {
        return Err(pem.error(format_args!(
            "it holds {} certificates; give the server's and those between it and its root, at most {MAX_CHAIN}",
            chain.len()
        )));
    }
    Ok(chain)
}

fn private_key(pem: &Pem) -> Result<Arc<dyn SigningKey>, TlsError> {
    /// In `BEGIN ENCRYPTED PRIVATE KEY` of PKCS #8, and in the header of older forms.
    const ENCRYPTED: &[u8] = b"ENCRYPTED";
    if pem.text.windows(ENCRYPTED.len()).any(|part| part == ENCRYPTED) {
        return Err(
            pem.error("the key is encrypted, and nobody is there to give its password; decrypt it with `openssl pkey`")
        );
    }
    let der = PrivateKeyDer::from_pem_slice(&pem.text).map_err(|error| match error {
        PemError::NoItemsFound if pem.holds(|kind| kind == SectionKind::Certificate) => {
            pem.error("it holds a certificate and no private key; name the private key here")
        }
        PemError::NoItemsFound => pem.error("it holds no private key; give one in PEM form"),
        _ => pem.damaged(),
    })?;
    any_supported_type(&der).map_err(|_| {
        pem.error("the key is damaged or of no kind that can be used; make one of RSA with 2048 to 4096 bits, ECDSA on P-256 or P-384, or Ed25519")
    })
}

fn belong_together(
    chain: &[X509Certificate<'_>],
    signing: &dyn SigningKey,
    certificate: &Pem,
    key: &Pem,
) -> Result<(), TlsError> {
    let own = signing.public_key();
    let own = own.as_ref().and_then(|der| SubjectPublicKeyInfo::from_der(der).ok());
    // The key alone: parameters of RSA may be written in two ways.
    let own = own.map(|(_, parsed)| parsed.subject_public_key.data.to_vec());
    let position =
        chain.iter().position(|one| Some(one.public_key().subject_public_key.data.as_ref()) == own.as_deref());
    match position {
        Some(0) => Ok(()),
        Some(_) => Err(certificate.error("the certificate of the key is not the first in it; move it to the top")),
        None => Err(key.error("the key is not that of the certificate; give both of the same issue")),
    }
}
