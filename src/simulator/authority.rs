//! The certificate authority that clients are told to trust, and the leaf that the server shows.

use std::io;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::options::Protocols;

/// HTTP's versions by their names in ALPN.
pub(super) const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";
/// The names that the leaf is for, besides those that are asked for.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
/// From when to when certificates are valid: wide, since the simulated clock may stand anywhere.
const VALID_YEARS: (i32, i32) = (2000, 2100);

/// A certificate authority: a certificate and its key, both PEM.
#[derive(Clone)]
pub struct Authority {
    certificate_pem: String,
    key_pem: String,
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// If the system has no randomness to give.
    pub fn generate() -> io::Result<Self> {
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let certificate = authority_params().self_signed(&key).map_err(io::Error::other)?;
        Ok(Self { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }

    /// One that [`Authority::generate`] made earlier.
    ///
    /// # Errors
    /// If one of the two cannot be read or they do not belong together.
    pub fn from_pem(certificate_pem: &str, key_pem: &str) -> io::Result<Self> {
        let invalid = |message: &str| io::Error::new(io::ErrorKind::InvalidData, message);
        let key = KeyPair::from_pem(key_pem).map_err(|_| invalid("the authority's key is not a PEM private key"))?;
        let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes())
            .map_err(|_| invalid("the authority's certificate is not PEM"))?;
        let public = key.public_key_raw();
        if !certificate.windows(public.len()).any(|bytes| bytes == public) {
            return Err(invalid("the authority's certificate does not belong to its key"));
        }
        Ok(Self { certificate_pem: certificate_pem.into(), key_pem: key_pem.into() })
    }

    /// The certificate, for clients to trust.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The private key, to be kept for [`Authority::from_pem`].
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// TLS for a server on loopback and of these names, with a fresh leaf: a client refuses the authority itself as one.
    pub(super) fn server_config(&self, names: &[String], protocols: Protocols) -> io::Result<Arc<ServerConfig>> {
        let authority_key = KeyPair::from_pem(&self.key_pem).map_err(io::Error::other)?;
        let issuer = Issuer::new(authority_params(), authority_key);
        let leaf_key = KeyPair::generate().map_err(io::Error::other)?;
        let leaf = leaf_params(names)?.signed_by(&leaf_key, &issuer).map_err(io::Error::other)?;

        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(
                vec![leaf.into()],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf_key.serialize_der())),
            )
            .map_err(io::Error::other)?;
        config.alpn_protocols = match protocols {
            Protocols::Both => vec![HTTP2.to_vec(), HTTP1.to_vec()],
            Protocols::Http1 => vec![HTTP1.to_vec()],
            Protocols::Http2 => vec![HTTP2.to_vec()],
        };
        Ok(Arc::new(config))
    }
}

fn authority_params() -> CertificateParams {
    let mut params = valid(CertificateParams::default(), "Simulated Graph CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn leaf_params(names: &[String]) -> io::Result<CertificateParams> {
    let names: Vec<_> = NAMES.iter().map(|name| (*name).to_owned()).chain(names.iter().cloned()).collect();
    let params = CertificateParams::new(names).map_err(io::Error::other)?;
    let mut params = valid(params, "localhost");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn valid(mut params: CertificateParams, name: &str) -> CertificateParams {
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = rcgen::date_time_ymd(VALID_YEARS.0, 1, 1);
    params.not_after = rcgen::date_time_ymd(VALID_YEARS.1, 1, 1);
    params
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_kept_and_taken_up_again() {
        let made = Authority::generate().unwrap();
        let kept = Authority::from_pem(made.certificate_pem(), made.key_pem()).unwrap();
        assert_eq!(kept.certificate_pem(), made.certificate_pem());
        kept.server_config(&[], Protocols::Both).unwrap();
        let other = Authority::generate().unwrap();
        let error = |certificate, key| Authority::from_pem(certificate, key).err().unwrap().to_string();
        assert!(error(made.certificate_pem(), other.key_pem()).contains("does not belong"));
        assert!(error("", made.key_pem()).contains("certificate is not PEM"));
        assert!(error(made.certificate_pem(), "").contains("not a PEM private key"));
    }
}
