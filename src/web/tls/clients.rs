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
use x509_parser::prelude::{FromDer as _, X509Certificate};

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
    issued: Arc<dyn ClientCertVerifier>,
}

impl Authorities {
    fn new(pem: &Pem, provider: &Arc<CryptoProvider>) -> Result<Self, TlsError> {
        let certificates = pem.certificates()?;
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            roots.add(certificate.clone()).map_err(|_| pem.error("a certificate in it is damaged; replace it"))?;
        }
        let issued = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone())
            .build()
            .map_err(|error| pem.error(format_args!("no client could be verified ({error}); give CA certificates")))?;
        Ok(Self { certificates, issued })
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
        self.issued.verify_client_cert(leaf, others, now).map(|_| ())
    }
}

/// What is left to verify of a certificate that is trusted itself: its time, and that it is for clients.
fn verify_known(parsed: &X509Certificate<'_>, now: UnixTime) -> Result<(), Error> {
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now < parsed.validity().not_before.timestamp() {
        return Err(CertificateError::NotValidYet.into());
    }
    if now > parsed.validity().not_after.timestamp() {
        return Err(CertificateError::Expired.into());
    }
    let usage = parsed.extended_key_usage().map_err(|_| CertificateError::BadEncoding)?;
    if usage.is_some_and(|usage| !usage.value.client_auth && !usage.value.any) {
        return Err(CertificateError::InvalidPurpose.into());
    }
    Ok(())
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    /// Tells a client with several certificates which to show.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.authorities.as_ref().map_or(&[], |authorities| authorities.issued.root_hint_subjects())
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
