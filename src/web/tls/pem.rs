//! Texts in PEM form: where they come from, and what is in them.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{PemObject, SectionKind};

use super::TlsError;
use crate::config::PemSource;

/// A text in PEM form and where it comes from.
pub(super) struct Pem {
    pub(super) text: Vec<u8>,
    key: &'static str,
    /// The file, as an error shows it; empty for a text in the web configuration itself.
    file: String,
}

impl Pem {
    /// Reads what one of two keys names: a file, or the text itself.
    pub(super) fn read(source: &PemSource, file_key: &'static str, inline_key: &'static str) -> Result<Self, TlsError> {
        let (key, file) = match source {
            // A file's name may hold anything, and the error has to stay on one line.
            PemSource::File(path) => (file_key, format!("{}: ", path.display().to_string().escape_debug())),
            PemSource::Inline(_) => (inline_key, String::new()),
        };
        match source.read() {
            Ok(text) => {
                let pem = Self { text, key, file };
                if pem.text.trim_ascii().is_empty() {
                    Err(pem.error("it is empty; write PEM into it"))
                } else {
                    Ok(pem)
                }
            }
            Err(error) => {
                Err(TlsError::new(key, format!("{file}cannot be read ({error}); check the name and the permissions")))
            }
        }
    }

    /// A problem with this text.
    pub(super) fn error(&self, problem: impl std::fmt::Display) -> TlsError {
        TlsError::new(self.key, format!("{}{problem}", self.file))
    }

    /// The certificates in it, at least one, in their order. Keys beside them are passed over, as Go does,
    /// so that one file may hold both.
    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.text).collect();
        match found {
            Err(_) => Err(self.damaged()),
            Ok(found) if !found.is_empty() => Ok(found),
            Ok(_) if self.holds(is_key) => {
                Err(self.error("it holds a private key and no certificate; name the certificate here"))
            }
            Ok(_) => Err(self.error("it holds no certificate; give one in PEM form")),
        }
    }

    /// Whether it has a section of such a kind.
    pub(super) fn holds(&self, kind: impl Fn(SectionKind) -> bool) -> bool {
        type Section = (SectionKind, Vec<u8>);
        Section::pem_slice_iter(&self.text).map_while(Result::ok).any(|(found, _)| kind(found))
    }

    /// Something in it cannot be read.
    pub(super) fn damaged(&self) -> TlsError {
        self.error("the PEM in it is damaged; replace it")
    }
}

fn is_key(kind: SectionKind) -> bool {
    matches!(kind, SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey)
}
