//! The certificate that a host shows, seen on the way to the verifier that judges it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};
use x509_parser::prelude::{FromDer as _, X509Certificate, X509Name};

use super::Trust;
use crate::source::SourceError;
use crate::source::graph::{certificate_remedy, one_line, roots};
use crate::status::FailureReason;

/// What people ask of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Whom it is for, by common name.
    pub subject: String,
    /// Who signed it, by common name or organisation.
    pub issuer: String,
    /// From when on it is valid.
    pub not_before: DateTime<Utc>,
    /// Until when.
    pub not_after: DateTime<Utc>,
}

impl Certificate {
    fn of(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let validity = certificate.validity();
        Some(Self {
            subject: name(certificate.subject()),
            issuer: name(certificate.issuer()),
            not_before: DateTime::from_timestamp(validity.not_before.timestamp(), 0)?,
            not_after: DateTime::from_timestamp(validity.not_after.timestamp(), 0)?,
        })
    }
}

fn name(name: &X509Name<'_>) -> String {
    let common = name.iter_common_name().chain(name.iter_organization()).find_map(|attribute| attribute.as_str().ok());
    one_line(&common.map_or_else(|| name.to_string(), str::to_owned))
}

/// Verifies as every connection of the exporter does, and keeps what it was shown.
pub(super) struct Witness {
    verifier: Arc<WebPkiServerVerifier>,
    shown: Mutex<Vec<CertificateDer<'static>>>,
}

impl Witness {
    /// Trusts these roots.
    pub fn new(trusted: RootCertStore) -> Result<Arc<Self>, SourceError> {
        Ok(Arc::new(Self { verifier: verifier(trusted)?, shown: Mutex::default() }))
    }

    /// The host's own certificate, after a handshake.
    pub fn certificate(&self) -> Option<Certificate> {
        Certificate::of(self.shown().first()?)
    }

    /// Who vouches for it: the system, or else `ca_file`, as it was accepted.
    pub fn trusted_by(&self, host: &ServerName<'_>) -> Option<Trust> {
        let shown = self.shown();
        let (own, chain) = shown.split_first()?;
        let system = verifier(roots(None).ok()?);
        let accepted =
            system.is_ok_and(|system| system.verify_server_cert(own, chain, host, &[], UnixTime::now()).is_ok());
        Some(if accepted { Trust::System } else { Trust::CaFile })
    }

    fn shown(&self) -> Vec<CertificateDer<'static>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn verifier(trusted: RootCertStore) -> Result<Arc<WebPkiServerVerifier>, SourceError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    WebPkiServerVerifier::builder_with_provider(Arc::new(trusted), provider).build().map_err(|_| {
        let message = "this machine trusts no certificate at all; install the system's CA certificates \
                       (the package ca-certificates), or name the authority of the service in ca_file";
        SourceError::new(FailureReason::Connection, message)
    })
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        host: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let shown = std::iter::once(own).chain(chain).map(|certificate| certificate.clone().into_owned()).collect();
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = shown;
        self.verifier.verify_server_cert(own, chain, host, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Witness").finish_non_exhaustive()
    }
}

/// Why a certificate was refused, with the remedy.
pub(super) fn refusal(error: &CertificateError, authority: &str, certificate: Option<&Certificate>) -> String {
    let by = certificate.map_or_else(String::new, |certificate| format!(" (issued by {})", certificate.issuer));
    let on = |time: fn(&Certificate) -> DateTime<Utc>| {
        certificate.map_or_else(String::new, |certificate| format!(" on {}", time(certificate).format("%Y-%m-%d")))
    };
    let problem = match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("the certificate of {authority}{by} expired{}", on(|certificate| certificate.not_after))
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            let on = on(|certificate| certificate.not_before);
            format!("the certificate of {authority}{by} becomes valid{on} only")
        }
        CertificateError::UnknownIssuer => {
            format!("no trusted authority vouches for the certificate of {authority}{by}")
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            let subject =
                certificate.map_or_else(String::new, |certificate| format!(" but for {}", certificate.subject));
            format!("the certificate of {authority}{by} is not for this name{subject}")
        }
        other => format!("the certificate of {authority}{by} is refused: {}", one_line(&other.to_string())),
    };
    format!("{problem}; {}", certificate_remedy(error))
}
