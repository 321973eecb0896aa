//! Which servers are trusted, and what is shown to those that ask for a certificate.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};
use x509_parser::prelude::{ASN1Time, FromDer as _, X509Certificate};

use crate::commands::Failure;
use crate::config::{ClientIdentity, ClientTls};

/// HTTP/1.1 by its name in ALPN: all that is asked with.
const HTTP1: &[u8] = b"http/1.1";

/// Whom to trust where the configuration names no authority.
pub(super) enum Trust {
    /// Whoever shows this certificate.
    Only(CertificateDer<'static>),
    /// Everybody.
    Any,
    /// Whom the system's authorities vouch for.
    System,
}

/// TLS for one request.
pub(super) fn client(tls: &ClientTls, trust: Trust) -> Result<ClientConfig, Failure> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::Other(format!("cannot speak TLS: {error}")))?
        .dangerous()
        .with_custom_certificate_verifier(verifier(tls, trust, &provider)?);
    let mut config = match &tls.identity {
        Some(identity) => with_identity(builder, identity)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![HTTP1.to_vec()];
    Ok(config)
}

fn verifier(
    tls: &ClientTls,
    trust: Trust,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, Failure> {
    let algorithms = provider.signature_verification_algorithms;
    let (roots, known) = match (&tls.ca_file, trust) {
        _ if tls.insecure_skip_verify => return Ok(Arc::new(Shown { only: None, algorithms })),
        (Some(file), _) => authorities(file)?,
        (None, Trust::Only(own)) => return Ok(Arc::new(Shown { only: Some(own), algorithms })),
        (None, Trust::Any) => return Ok(Arc::new(Shown { only: None, algorithms })),
        (None, Trust::System) => (system(), Vec::new()),
    };
    let issued = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
    let issued = issued.map_err(|_| {
        Failure::Other("the system trusts no authority; give ca_file in tls_config of --healthcheck.config.file".into())
    })?;
    Ok(Arc::new(Authorities { known, issued }))
}

/// The certificates of `ca_file`, as roots and as they are.
fn authorities(file: &Path) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), Failure> {
    let certificates = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = certificates.map_err(|_| unusable("ca_file", file))?;
    let mut roots = RootCertStore::empty();
    for certificate in &certificates {
        roots.add(certificate.clone()).map_err(|_| unusable("ca_file", file))?;
    }
    Ok((roots, certificates))
}

/// The system's authorities; what it has in unreadable form is passed over, as everybody does.
fn system() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

fn with_identity(
    builder: rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>,
    identity: &ClientIdentity,
) -> Result<ClientConfig, Failure> {
    let ClientIdentity { certificate, key } = identity;
    let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|_| unusable("cert_file", certificate))?;
    let der = PrivateKeyDer::from_pem_file(key).map_err(|_| unusable("key_file", key))?;
    builder.with_client_auth_cert(chain, der).map_err(|_| {
        let (certificate, key) = (certificate.display(), key.display());
        Failure::Usage(format!(
            "--healthcheck.config.file: tls_config.key_file: {key} is not the key of {certificate}; give both of the same issue"
        ))
    })
}

fn unusable(key: &str, file: &Path) -> Failure {
    let file = file.display();
    Failure::Usage(format!("--healthcheck.config.file: tls_config.{key}: {file} cannot be used; give it in PEM form"))
}

/// Trusts what authorities have issued, and servers whose own certificate is given in place of one.
#[derive(Debug)]
struct Authorities {
    known: Vec<CertificateDer<'static>>,
    issued: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for Authorities {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if !self.known.iter().any(|known| known == end_entity) {
            return self.issued.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        }
        // Often self-signed and marked as an authority, which webpki would refuse and Go does not.
        verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
        let (_, parsed) = X509Certificate::from_der(end_entity).map_err(|_| CertificateError::BadEncoding)?;
        let limit = |time: ASN1Time| {
            UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(time.timestamp()).unwrap_or_default()))
        };
        let (not_before, not_after) = (limit(parsed.validity().not_before), limit(parsed.validity().not_after));
        if now < not_before {
            return Err(CertificateError::NotValidYetContext { time: now, not_before }.into());
        }
        if now > not_after {
            return Err(CertificateError::ExpiredContext { time: now, not_after }.into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.issued.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.issued.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.issued.supported_verify_schemes()
    }
}

/// Looks at what a server shows, and not at who issued it, for whom and until when.
#[derive(Debug)]
struct Shown {
    /// The certificate that will do; any will where absent.
    only: Option<CertificateDer<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// The exporter is about to take up its new certificate, or it is not the exporter.
#[derive(Debug, thiserror::Error)]
#[error("it shows another certificate than --web.config.file names")]
pub(super) struct OtherCertificate;

impl ServerCertVerifier for Shown {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.only.as_ref().is_some_and(|only| only != end_entity) {
            return Err(CertificateError::Other(OtherError(Arc::new(OtherCertificate))).into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    /// By the key alone: certificates without extensions, as `openssl x509 -req` makes them, have one too.
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let (_, parsed) = X509Certificate::from_der(cert).map_err(|_| CertificateError::BadEncoding)?;
        let key = SubjectPublicKeyInfoDer::from(parsed.public_key().raw);
        verify_tls13_signature_with_raw_key(message, &key, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
