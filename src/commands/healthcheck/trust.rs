//! Which servers are trusted, and what is shown to those that ask for a certificate.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::commands::Failure;
use crate::config::{ClientIdentity, ClientTls};

/// HTTP/1.1 by its name in ALPN: all that is asked with.
const HTTP1: &[u8] = b"http/1.1";

/// TLS for one request: `own` is the certificate of the exporter itself, where that is asked and nothing
/// else is said about whom to trust.
pub(super) fn client(tls: &ClientTls, own: Option<CertificateDer<'static>>) -> Result<ClientConfig, Failure> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::Other(format!("cannot speak TLS: {error}")))?
        .dangerous()
        .with_custom_certificate_verifier(verifier(tls, own, &provider)?);
    let mut config = match &tls.identity {
        Some(identity) => with_identity(builder, identity)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![HTTP1.to_vec()];
    Ok(config)
}

fn verifier(
    tls: &ClientTls,
    own: Option<CertificateDer<'static>>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, Failure> {
    let algorithms = provider.signature_verification_algorithms;
    let roots = match (&tls.ca_file, own) {
        _ if tls.insecure_skip_verify => return Ok(Arc::new(Shown { only: None, algorithms })),
        (Some(file), _) => authorities(file)?,
        (None, Some(own)) => return Ok(Arc::new(Shown { only: Some(own), algorithms })),
        (None, None) => system(),
    };
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
    let verifier = verifier.map_err(|_| {
        Failure::Other("the system trusts no authority; give ca_file in tls_config of --healthcheck.config.file".into())
    })?;
    Ok(verifier)
}

fn authorities(file: &Path) -> Result<RootCertStore, Failure> {
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(file).map_err(|_| unusable("ca_file", file))?;
    for certificate in certificates {
        let added = certificate.map_err(|_| ()).and_then(|certificate| roots.add(certificate).map_err(|_| ()));
        added.map_err(|()| unusable("ca_file", file))?;
    }
    Ok(roots)
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
