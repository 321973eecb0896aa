//! Certificates of clients: who has to show one, and which will do.

mod names;

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore, SignatureScheme,
};
use x509_parser::prelude::{FromDer as _, Validity, X509Certificate, X509Version};

use super::TlsError;
use super::pem::Pem;
use crate::config::{ClientAuth, TlsConfig};

/// What verifies clients; `None` where none is asked for a certificate.
pub(super) fn verifier(
    tls: &TlsConfig,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
    let mandatory = match tls.client_auth {
        ClientAuth::None => return Ok(None),
        ClientAuth::Request | ClientAuth::VerifyIfGiven => false,
        ClientAuth::RequireAny | ClientAuth::RequireAndVerify => true,
    };
    let authorities = match &tls.client_authorities {
        Some(source) => Some(Authorities::new(&Pem::read(source, "client_ca_file", "client_ca")?, provider)?),
        None => None,
    };
    Ok(Some(Arc::new(Clients {
        // Whoever shows none has none of the names. So it is in Go's, where that ends the connection.
        mandatory: mandatory || !tls.client_allowed_sans.is_empty(),
        authorities: authorities.filter(|_| tls.client_auth.verifies()),
        allowed_names: tls.client_allowed_sans.clone(),
        algorithms: provider.signature_verification_algorithms,
    })))
}

/// The rules for clients' certificates. That the client has the certificate's key is verified always.
#[derive(Debug)]
struct Clients {
    /// Whether a client without a certificate is refused.
    mandatory: bool,
    /// Whose certificates will do; anybody's where absent.
    authorities: Option<Authorities>,
    /// Names of which a certificate has to have one; none where empty.
    allowed_names: Vec<String>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// `client_ca_file` or `client_ca`.
#[derive(Debug)]
struct Authorities {
    certificates: Vec<CertificateDer<'static>>,
    /// Whose they are, clients' own included: Go's clients show only what is named here.
    subjects: Vec<DistinguishedName>,
    /// Verifies what those that may issue have issued; absent where none may.
    issued: Option<Arc<dyn ClientCertVerifier>>,
    /// Those that may issue, each with the time in which its certificate is valid.
    issuers: Vec<(CertificateDer<'static>, Validity)>,
    provider: Arc<CryptoProvider>,
}

impl Authorities {
    fn new(pem: &Pem, provider: &Arc<CryptoProvider>) -> Result<Self, TlsError> {
        let certificates = pem.certificates()?;
        let damaged = || pem.error("a certificate in it is damaged; replace it");
        let mut all = RootCertStore::empty();
        let mut issuers = Vec::new();
        for certificate in &certificates {
            all.add(certificate.clone()).map_err(|_| damaged())?;
            let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| damaged())?;
            if may_issue(&parsed) && is_for_clients(&parsed) {
                issuers.push((certificate.clone(), parsed.validity().clone()));
            }
        }
        let issued = issued_by(issuers.iter().map(|(certificate, _)| certificate), provider);
        Ok(Self { certificates, subjects: all.subjects(), issued, issuers, provider: provider.clone() })
    }

    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        parsed: &X509Certificate<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        if self.certificates.iter().any(|known| known == leaf) {
            // A client's own certificate in place of its authority's: often self-signed and marked as an
            // authority, which webpki would refuse and Go does not.
            return verify_known(parsed, now);
        }
        let issued = self.issued.as_ref().ok_or(CertificateError::UnknownIssuer)?;
        issued.verify_client_cert(leaf, others, now)?;
        // webpki never looks at a root's own time.
        let time = seconds(now);
        let valid =
            |validity: &Validity| (validity.not_before.timestamp()..=validity.not_after.timestamp()).contains(&time);
        if self.issuers.iter().all(|(_, validity)| valid(validity)) {
            return Ok(());
        }
        let in_time = self.issuers.iter().filter(|(_, validity)| valid(validity)).map(|(certificate, _)| certificate);
        match issued_by(in_time, &self.provider).map(|issued| issued.verify_client_cert(leaf, others, now)) {
            Some(Ok(_)) => Ok(()),
            _ => Err(CertificateError::Other(OtherError(Arc::new(OutOfTime))).into()),
        }
    }
}

/// Verifies what these have issued; `None` without any.
fn issued_by<'a>(
    issuers: impl Iterator<Item = &'a CertificateDer<'static>>,
    provider: &Arc<CryptoProvider>,
) -> Option<Arc<dyn ClientCertVerifier>> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(issuers.cloned());
    // It fails only where it has no roots.
    WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone()).build().ok()
}

/// By Unix.
fn seconds(now: UnixTime) -> i64 {
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

/// Whether it may issue certificates. webpki takes that of every root for granted, so that a client whose
/// own certificate is known could issue others in anybody's name.
fn may_issue(certificate: &X509Certificate<'_>) -> bool {
    let authority = match certificate.basic_constraints() {
        Ok(Some(constraints)) => constraints.value.ca,
        // Before version 3 there was no such mark.
        Ok(None) => certificate.version() != X509Version::V3,
        Err(_) => false,
    };
    authority && certificate.key_usage().is_ok_and(|usage| usage.is_none_or(|usage| usage.value.key_cert_sign()))
}

/// What is left to verify of a certificate that is trusted itself: its time, and that it is for clients.
fn verify_known(parsed: &X509Certificate<'_>, now: UnixTime) -> Result<(), Error> {
    let now = seconds(now);
    if now < parsed.validity().not_before.timestamp() {
        return Err(CertificateError::NotValidYet.into());
    }
    if now > parsed.validity().not_after.timestamp() {
        return Err(CertificateError::Expired.into());
    }
    if is_for_clients(parsed) { Ok(()) } else { Err(CertificateError::InvalidPurpose.into()) }
}

/// Whether its extended key usage, where it has one, is that of clients or any.
fn is_for_clients(certificate: &X509Certificate<'_>) -> bool {
    let usage = certificate.extended_key_usage();
    usage.is_ok_and(|usage| usage.is_none_or(|usage| usage.value.client_auth || usage.value.any))
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    /// Tells a client with several certificates which to show.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.authorities.as_ref().map_or(&[], |authorities| &authorities.subjects)
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let (_, parsed) = X509Certificate::from_der(end_entity).map_err(|_| CertificateError::BadEncoding)?;
        if let Some(authorities) = &self.authorities {
            authorities.verify(end_entity, &parsed, intermediates, now)?;
        }
        if !self.allowed_names.is_empty() {
            let names = names::of(&parsed);
            if !names.iter().any(|name| self.allowed_names.contains(name)) {
                return Err(CertificateError::Other(OtherError(Arc::new(NotAllowed(names)))).into());
            }
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// A certificate of a known authority with none of the names that are let in.
#[derive(Debug, thiserror::Error)]
#[error("none of the certificate's names is in client_allowed_sans: {0:?}")]
struct NotAllowed(Vec<String>);

/// The client's certificate would do, but its authority's does not at this time.
#[derive(Debug, thiserror::Error)]
#[error("the certificate's authority has expired or is not yet valid; renew it in client_ca_file or client_ca")]
struct OutOfTime;
