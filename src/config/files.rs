//! The rules for files that the configuration names. They are read once at load, so that a wrong
//! name or permission is told at start and not hours later; whoever uses them reads them anew.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::rules::Checked;

/// The largest secret, token or certificate with its key that is read: tokens reach some 10 KiB with many
/// claims.
pub const MAX_SECRET_BYTES: u64 = 64 * 1024;
/// The largest bundle of certificates: the public web's roots take some 250 KiB.
pub const MAX_CERTIFICATES_BYTES: u64 = 4 * 1024 * 1024;

/// A file with a secret or a token.
pub(super) fn secret(name: &str, base: &Path) -> Checked<PathBuf> {
    let (path, bytes) = read(name, base, MAX_SECRET_BYTES)?;
    match std::str::from_utf8(&bytes) {
        Ok(text) if text.trim().is_empty() => Err("the file is empty; write the secret into it".to_owned()),
        Ok(_) => Ok(path),
        Err(_) => Err("the file is not text; write the secret into it and nothing else".to_owned()),
    }
}

/// A file with a certificate and its private key. What is in it is told when it is used: a password may
/// be needed for that, and both files may be exchanged at any time.
pub(super) fn key_pair(name: &str, base: &Path) -> Checked<PathBuf> {
    let (path, bytes) = read(name, base, MAX_SECRET_BYTES)?;
    if bytes.trim_ascii().is_empty() {
        return Err("the file is empty; give certificate and private key as PEM, or PKCS #12".to_owned());
    }
    Ok(path)
}

/// A file with PEM certificates.
pub(super) fn certificates(name: &str, base: &Path) -> Checked<PathBuf> {
    let (path, bytes) = read(name, base, MAX_CERTIFICATES_BYTES)?;
    let mut found = CertificateDer::pem_slice_iter(&bytes).peekable();
    if found.peek().is_none() || found.any(|certificate| certificate.is_err()) {
        return Err("the file holds no readable certificate; give certificates in PEM form".to_owned());
    }
    Ok(path)
}

/// Names are relative to the configuration's directory, as Prometheus has it.
pub(super) fn read(name: &str, base: &Path, limit: u64) -> Checked<(PathBuf, Vec<u8>)> {
    if name.is_empty() {
        return Err("empty; give the file's name".to_owned());
    }
    let path = base.join(name);
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::FileTooLarge => {
            format!("the file is larger than {} KiB; it is likely the wrong one", limit / 1024)
        }
        io::ErrorKind::InvalidInput => "not a regular file; name one".to_owned(),
        _ => format!(
            "the file cannot be read ({error}); check its name, relative to this configuration, and its permissions"
        ),
    };
    let bytes = contents(&path, limit).map_err(unreadable)?;
    Ok((path, bytes))
}

/// What a regular file holds, `limit` bytes at most.
pub(super) fn contents(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    // A pipe can be read once only, and would block here until somebody writes.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {} KiB", limit / 1024)));
    }
    Ok(bytes)
}
