//! The web configuration, `--web.config.file`, valid and complete: who may read the pages, and over what.
//!
//! Its keys are those of Prometheus' exporter-toolkit, so that one file serves every exporter. What that
//! accepts in silence though it cannot be meant, or cannot be done here, is refused.

mod cipher;
mod headers;
mod raw;
mod rules;
#[cfg(test)]
mod tests;
mod users;
mod validate;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::{Error, MAX_CERTIFICATES_BYTES, files, read_text, yaml};

pub use cipher::{CipherSuite, Curve};
pub use users::{MAX_COST, MIN_COST, PasswordHash, User};

/// What the web server runs with besides its flags. The default is that of an empty file: plain HTTP, and
/// everybody may read.
#[derive(Clone, Debug, PartialEq)]
pub struct WebConfig {
    /// `tls_server_config`; plain HTTP where absent.
    pub tls: Option<TlsConfig>,
    /// `http_server_config.http2`: whether HTTP/2 is offered. It needs TLS.
    pub http2: bool,
    /// `http_server_config.headers`: set on every answer, each name at most once.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// `basic_auth_users`; everybody may read where there is none.
    pub users: Vec<User>,
    /// `rate_limit`; no limit where absent.
    pub rate_limit: Option<RateLimit>,
}

/// `tls_server_config`.
#[derive(Clone, Debug, PartialEq)]
pub struct TlsConfig {
    /// `cert_file` or `cert`: the server's certificate, then those between it and its authority.
    pub certificate: PemSource,
    /// `key_file` or `key`: the certificate's private key.
    pub key: PemSource,
    /// `client_auth_type`.
    pub client_auth: ClientAuth,
    /// `client_ca_file` or `client_ca`: present exactly where `client_auth` verifies.
    pub client_authorities: Option<PemSource>,
    /// `client_allowed_sans`: a client's certificate has to have one of these as DNS name, IP address,
    /// e-mail address or URI. Any will do where empty; never empty by configuration.
    pub client_allowed_sans: Vec<String>,
    /// `min_version`, not above `max_version`.
    pub min_version: TlsVersion,
    /// `max_version`.
    pub max_version: TlsVersion,
    /// `cipher_suites` of TLS 1.2, in their order and each once. All of them where empty. Those of
    /// TLS 1.3 cannot be chosen.
    pub cipher_suites: Vec<CipherSuite>,
    /// `prefer_server_cipher_suites`: whether the order of the suites is the server's or the client's.
    pub prefer_server_cipher_suites: bool,
    /// `curve_preferences`, in their order and each once. All of them where empty.
    pub curves: Vec<Curve>,
}

/// PEM text, or the file that holds it. `Debug` shows the file's name and never the text.
#[derive(Clone, PartialEq)]
pub enum PemSource {
    /// Written in the web configuration.
    Inline(Arc<str>),
    /// In a file.
    File(PathBuf),
}

/// `client_auth_type`, by the names of Go's `crypto/tls`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// `NoClientCert`: none is asked for.
    #[default]
    None,
    /// `RequestClientCert`: one is asked for, none is needed, and any will do.
    Request,
    /// `RequireAnyClientCert`, formerly `RequireClientCert`: one is needed, and any will do.
    RequireAny,
    /// `VerifyClientCertIfGiven`: none is needed, and one that is given has to be of a known authority.
    VerifyIfGiven,
    /// `RequireAndVerifyClientCert`: one of a known authority is needed.
    RequireAndVerify,
}

/// A version of TLS. Older ones are broken, and are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// `TLS12`.
    Tls12,
    /// `TLS13`.
    Tls13,
}

/// `rate_limit`: a bucket of `burst` tokens, into which one falls each `interval`. A request takes one, or
/// is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// `interval`, above 0.
    pub interval: Duration,
    /// `burst`, above 0.
    pub burst: std::num::NonZeroU32,
}

impl Default for WebConfig {
    fn default() -> Self {
        Self { tls: None, http2: true, headers: Vec::new(), users: Vec::new(), rate_limit: None }
    }
}

impl WebConfig {
    /// Reads and checks a file and those that it names, which are relative to its directory.
    ///
    /// # Errors
    /// The first problem, on one line, without any secret.
    pub fn read(path: &Path) -> Result<Self, Error> {
        Self::from_yaml(&Self::text(path)?, path)
    }

    /// The text of a file.
    ///
    /// # Errors
    /// That it cannot be read, on one line.
    pub fn text(path: &Path) -> Result<String, Error> {
        read_text(path, "--web.config.file")
    }

    /// Checks the text of the file `path`.
    ///
    /// # Errors
    /// As [`WebConfig::read`].
    pub fn from_yaml(text: &str, path: &Path) -> Result<Self, Error> {
        let base = path.parent().unwrap_or(Path::new(""));
        yaml::parse(text)
            .and_then(|document| validate::document(&document, base))
            .map_err(|error| error.of(path.display().to_string()))
    }

    /// Whether not everybody may read: a password or a known client certificate is needed.
    pub fn is_guarded(&self) -> bool {
        let certificates = self.tls.as_ref().is_some_and(|tls| tls.client_auth == ClientAuth::RequireAndVerify);
        certificates || !self.users.is_empty()
    }

    /// What one of the files that it names holds. Bounded as when it is used.
    ///
    /// # Errors
    /// That it cannot be read, or is no regular file.
    pub fn contents(path: &Path) -> io::Result<Vec<u8>> {
        files::contents(path, MAX_CERTIFICATES_BYTES)
    }

    /// The files that it names.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let sources =
            self.tls.iter().flat_map(|tls| [Some(&tls.certificate), Some(&tls.key), tls.client_authorities.as_ref()]);
        sources.flatten().filter_map(|source| match source {
            PemSource::File(path) => Some(path.as_path()),
            PemSource::Inline(_) => None,
        })
    }
}

impl ClientAuth {
    /// Whether a client's certificate has to be of a known authority.
    pub fn verifies(self) -> bool {
        matches!(self, Self::VerifyIfGiven | Self::RequireAndVerify)
    }
}

impl PemSource {
    /// The PEM text as it is now.
    ///
    /// # Errors
    /// Where the file cannot be read, or is larger than any certificate or key.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        match self {
            Self::Inline(text) => Ok(text.as_bytes().to_vec()),
            Self::File(path) => files::contents(path, MAX_CERTIFICATES_BYTES),
        }
    }
}

impl std::fmt::Debug for PemSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Inline(_) => f.write_str("Inline(<PEM>)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}
