//! TLS: which certificates are trusted.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use rustls::CertificateError;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::errors::one_line;
use crate::config::MAX_CERTIFICATES_BYTES;
use crate::source::SourceError;
use crate::status::FailureReason;

/// The certificates that the system trusts. Finding and reading them takes some milliseconds.
pub(super) fn system_roots() -> rustls::RootCertStore {
    let mut roots = rustls::RootCertStore::empty();
    // A system without certificates can still reach a service that `ca_file` vouches for, and a
    // certificate that cannot be read is no reason to distrust the others.
    let loaded = rustls_native_certs::load_native_certs();
    for error in &loaded.errors {
        tracing::debug!(error = %one_line(&error.to_string()), "a certificate of the system cannot be read");
    }
    roots.add_parsable_certificates(loaded.certs);
    roots
}

/// Those and the certificates of `ca_file`: what a tenant's requests trust.
pub fn roots(ca_file: Option<&Path>) -> Result<rustls::RootCertStore, SourceError> {
    let mut roots = system_roots();
    if let Some(path) = ca_file {
        add_certificates(&mut roots, &read(path)?).map_err(|why| unusable(path, &one_line(&why)))?;
    }
    Ok(roots)
}

/// The text of `ca_file`.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, SourceError> {
    let mut pem = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(MAX_CERTIFICATES_BYTES + 1).read_to_end(&mut pem));
    read.map_err(|error| {
        unusable(path, &format!("{error}; it is read at start and at each reload: keep it in place"))
    })?;
    if pem.len() as u64 > MAX_CERTIFICATES_BYTES {
        let why = format!("the file has more than {MAX_CERTIFICATES_BYTES} bytes: is it the right one?");
        return Err(unusable(path, &why));
    }
    Ok(pem)
}

/// TLS that trusts these roots and the certificates in `pem`, the text of the file `path`.
pub(super) fn config(
    mut roots: rustls::RootCertStore,
    file: Option<(&Path, &[u8])>,
) -> Result<rustls::ClientConfig, SourceError> {
    if let Some((path, pem)) = file {
        add_certificates(&mut roots, pem).map_err(|why| unusable(path, &one_line(&why)))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| SourceError::new(FailureReason::Internal, format!("TLS cannot be set up: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// What mends a certificate that was refused.
pub fn certificate_remedy(why: &CertificateError) -> &'static str {
    match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "whoever runs that service has to renew it, unless this machine's clock is wrong"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "this machine's clock is likely wrong"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "name the service by the name that its certificate has"
        }
        _ => "if the service or a proxy has its certificate from a private authority, name that in ca_file",
    }
}

fn unusable(path: &Path, why: &str) -> SourceError {
    SourceError::new(FailureReason::Credential, format!("ca_file {}: {why}", path.display()))
}

fn add_certificates(roots: &mut rustls::RootCertStore, pem: &[u8]) -> Result<(), String> {
    let mut found = false;
    for (number, certificate) in CertificateDer::pem_slice_iter(pem).enumerate() {
        let fault = |why: String| format!("certificate {} of the file cannot be used: {why}", number + 1);
        roots.add(certificate.map_err(|error| fault(error.to_string()))?).map_err(|error| fault(error.to_string()))?;
        found = true;
    }
    if found { Ok(()) } else { Err("holds no PEM certificate; give certificates in PEM form".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_is_refused_has_its_own_remedy() {
        use CertificateError::*;
        let said =
            [Expired, NotValidYet, NotValidForName, UnknownIssuer, BadSignature].map(|why| certificate_remedy(&why));
        insta::assert_snapshot!(said.join("\n"), @r"
        whoever runs that service has to renew it, unless this machine's clock is wrong
        this machine's clock is likely wrong
        name the service by the name that its certificate has
        if the service or a proxy has its certificate from a private authority, name that in ca_file
        if the service or a proxy has its certificate from a private authority, name that in ca_file
        ");
    }

    #[test]
    fn what_is_no_file_of_certificates_is_told_with_the_remedy() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        let said = || match read(&path).and_then(|pem| config(system_roots(), Some((&path, &pem)))) {
            Ok(_) => panic!("accepted"),
            Err(error) => error.message.replace(directory.path().to_str().unwrap(), "DIRECTORY"),
        };
        insta::assert_snapshot!(said(), @"ca_file DIRECTORY/ca.pem: No such file or directory (os error 2); it is read at start and at each reload: keep it in place");
        std::fs::write(&path, "").unwrap();
        insta::assert_snapshot!(said(), @"ca_file DIRECTORY/ca.pem: holds no PEM certificate; give certificates in PEM form");
        std::fs::write(&path, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        insta::assert_snapshot!(said(), @"ca_file DIRECTORY/ca.pem: certificate 1 of the file cannot be used: invalid peer certificate: BadEncoding");
        std::fs::write(&path, "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n").unwrap();
        insta::assert_snapshot!(said(), @"ca_file DIRECTORY/ca.pem: certificate 1 of the file cannot be used: base64 decode error: InvalidCharacter(33)");
        std::fs::write(&path, vec![b'\n'; 5 << 20]).unwrap();
        insta::assert_snapshot!(said(), @"ca_file DIRECTORY/ca.pem: the file has more than 4194304 bytes: is it the right one?");
    }
}
