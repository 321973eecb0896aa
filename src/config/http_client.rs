//! How to ask a server that wants TLS, a certificate or a password: the part of Prometheus' HTTP client
//! configuration that a health check needs, as `promtool check healthy --http.config.file` takes it.

mod raw;

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;

use super::block::Place;
use super::rules::Checked;
use super::{Error, MAX_SECRET_BYTES, files, read_text, yaml};

/// `--healthcheck.config.file`. The default is that of an empty file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HttpClientConfig {
    /// `tls_config`.
    pub tls: ClientTls,
    /// `basic_auth`, as the header that carries it. Its `Debug` shows nothing.
    pub authorization: Option<HeaderValue>,
}

/// `tls_config`: whom to trust, and as whom to go.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClientTls {
    /// `ca_file`: the authorities to trust in place of the system's.
    pub ca_file: Option<PathBuf>,
    /// `cert_file` and `key_file`: what to show to a server that asks for a certificate.
    pub identity: Option<ClientIdentity>,
    /// `server_name`: what the server's certificate has to be for, in place of the address's host.
    pub server_name: Option<String>,
    /// `insecure_skip_verify`: whether any certificate will do.
    pub insecure_skip_verify: bool,
}

/// A client's certificate with its key, both PEM.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientIdentity {
    /// `cert_file`.
    pub certificate: PathBuf,
    /// `key_file`.
    pub key: PathBuf,
}

impl HttpClientConfig {
    /// Reads and checks a file and those that it names, which are relative to its directory.
    ///
    /// # Errors
    /// The first problem, on one line, without any secret.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let base = path.parent().unwrap_or(Path::new(""));
        let text = read_text(path, "--healthcheck.config.file")?;
        yaml::parse(&text)
            .and_then(|document| checked(&document, base))
            .map_err(|error| error.of(path.display().to_string()))
    }
}

fn checked(raw: &raw::Document, base: &Path) -> Result<HttpClientConfig, Error> {
    let root = Place { key: String::new(), line: 0 };
    let mut config = HttpClientConfig::default();
    if let Some(block) = &raw.tls_config {
        config.tls = tls(&block.value, &root.child("tls_config", block), base)?;
    }
    if let Some(block) = &raw.basic_auth {
        config.authorization = Some(basic_auth(&block.value, &root.child("basic_auth", block), base)?);
    }
    Ok(config)
}

fn tls(raw: &raw::Tls, place: &Place, base: &Path) -> Result<ClientTls, Error> {
    let ca_file = place.optional("ca_file", &raw.ca_file, |name| files::certificates(name, base))?;
    let certificate = place.optional("cert_file", &raw.cert_file, |name| files::certificates(name, base))?;
    let key = place.optional("key_file", &raw.key_file, |name| files::secret(name, base))?;
    let identity = match (certificate, key) {
        (Some(certificate), Some(key)) => Some(ClientIdentity { certificate, key }),
        (None, None) => None,
        (Some(_), None) => return Err(place.missing("key_file", "cert_file needs its key; add it")),
        (None, Some(_)) => return Err(place.missing("cert_file", "key_file needs its certificate; add it")),
    };
    let server_name = place.optional("server_name", &raw.server_name, |name| server_name(name))?;
    let insecure_skip_verify = raw.insecure_skip_verify.as_ref().is_some_and(|skip| skip.value);
    Ok(ClientTls { ca_file, identity, server_name, insecure_skip_verify })
}

fn server_name(text: &str) -> Checked<String> {
    match rustls::pki_types::ServerName::try_from(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("not a name or an address; write it as the server's certificate has it".to_owned()),
    }
}

fn basic_auth(raw: &raw::BasicAuth, place: &Place, base: &Path) -> Result<HeaderValue, Error> {
    let username = place.required("username", &raw.username, |name| match name.contains(':') {
        // RFC 7617, §2: the first colon is where the password begins.
        true => Err("has a colon, which ends a user's name; remove it".to_owned()),
        false => Ok(name),
    })?;
    let inline = place.optional("password", &raw.password, |text| Ok(text.clone()))?;
    let file = place.optional("password_file", &raw.password_file, |name| password_file(name, base))?;
    let password = match (inline, file) {
        (Some(_), Some(_)) => {
            return Err(place.error("password and password_file are both given; remove one of the two"));
        }
        (None, None) => return Err(place.missing("password_file", "add it, or password")),
        (Some(password), None) | (None, Some(password)) => password,
    };
    let encoded = BASE64_STANDARD.encode(format!("{username}:{password}"));
    let header = HeaderValue::try_from(format!("Basic {encoded}"));
    let mut header = header.map_err(|_| place.error("cannot be sent; use a shorter user name and password"))?;
    header.set_sensitive(true);
    Ok(header)
}

/// White space around a password is an editor's, as Prometheus has it.
fn password_file(name: &str, base: &Path) -> Checked<String> {
    let (_, bytes) = files::read(name, base, MAX_SECRET_BYTES)?;
    match std::str::from_utf8(&bytes).map(str::trim) {
        Ok("") => Err("the file is empty; write the password into it".to_owned()),
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err("the file is not text; write the password into it and nothing else".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(yaml: &str) -> Result<HttpClientConfig, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("http.yml");
        std::fs::write(&path, yaml).unwrap();
        std::fs::write(directory.path().join("password"), "s3cr3t\n").unwrap();
        HttpClientConfig::read(&path).map_err(|error| error.to_string().split("/http.yml").nth(1).unwrap().to_owned())
    }

    #[test]
    fn a_password_is_sent_and_never_shown() {
        for yaml in [
            "basic_auth: {username: probe, password: s3cr3t}",
            "basic_auth: {username: probe, password_file: password}",
        ] {
            let config = read(yaml).unwrap();
            assert_eq!(config.authorization.as_ref().unwrap(), "Basic cHJvYmU6czNjcjN0");
            let shown = format!("{config:?}");
            assert!(!shown.contains("s3cr3t") && !shown.contains("cHJvYmU6"), "{shown}");
        }
    }

    #[test]
    fn an_empty_file_asks_for_nothing() {
        assert_eq!(read("").unwrap(), HttpClientConfig::default());
        assert_eq!(read("tls_config: {}").unwrap(), HttpClientConfig::default());
        assert!(read("tls_config: {insecure_skip_verify: true}").unwrap().tls.insecure_skip_verify);
    }

    #[test]
    fn each_error_names_its_key_and_remedy() {
        for (yaml, error) in [
            ("tls: {}", ":1: tls: unknown key; known here: tls_config, basic_auth"),
            ("basic_auth: {password: s3cr3t}", ":1: basic_auth.username: missing; add it"),
            ("basic_auth: {username: probe}", ":1: basic_auth.password_file: missing; add it, or password"),
            (
                "basic_auth: {username: 'a:b', password: s3cr3t}",
                ":1: basic_auth.username: has a colon, which ends a user's name; remove it",
            ),
            (
                "basic_auth: {username: a, password: s3cr3t, password_file: password}",
                ":1: basic_auth: password and password_file are both given; remove one of the two",
            ),
            (
                "tls_config: {key_file: password}",
                ":1: tls_config.cert_file: missing; key_file needs its certificate; add it",
            ),
            (
                "tls_config:\n  server_name: a b",
                ":2: tls_config.server_name: not a name or an address; write it as the server's certificate has it",
            ),
        ] {
            assert_eq!(read(yaml).unwrap_err(), error);
        }
        let error = read("tls_config: {ca_file: password}").unwrap_err();
        assert_eq!(
            error,
            ":1: tls_config.ca_file: the file holds no readable certificate; give certificates in PEM form"
        );
    }
}
