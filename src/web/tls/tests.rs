//! What cannot be served is refused on one line that names key and file, and never a part of a key.

use std::path::{Path, PathBuf};
use std::process::Command;

use chrono::TimeDelta;

use super::*;
use crate::config::WebConfig;

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        files.make("server", &rcgen::PKCS_ECDSA_P256_SHA256);
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes `name.crt` and `name.key`.
    fn make(&self, name: &str, algorithm: &'static rcgen::SignatureAlgorithm) {
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let certificate = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
        self.write(&format!("{name}.crt"), certificate.pem().as_bytes());
        self.write(&format!("{name}.key"), key.serialize_pem().as_bytes());
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    fn openssl(&self, arguments: &str) {
        let output = Command::new("openssl").args(arguments.split(' ')).current_dir(self.0.path()).output();
        let output = output.expect("the package openssl is needed");
        assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Certificate, key and more keys of `tls_server_config`. The files' contents may change afterwards.
    fn config(&self, certificate: &str, key: &str, more: &str) -> WebConfig {
        let yaml = format!("tls_server_config: {{cert_file: {certificate}, key_file: {key}, {more}}}");
        WebConfig::from_yaml(&yaml, &self.path("web.yml")).unwrap()
    }

    fn serve(&self, certificate: &str, key: &str, more: &str) -> Result<TlsServer, TlsError> {
        server(self.config(certificate, key, more).tls.as_ref().unwrap(), true)
    }

    /// The one line, without the directory's name.
    #[track_caller]
    fn refused(&self, certificate: &str, key: &str, more: &str) -> String {
        self.line(self.serve(certificate, key, more))
    }

    #[track_caller]
    fn line(&self, outcome: Result<TlsServer, TlsError>) -> String {
        let line = outcome.unwrap_err().to_string();
        assert!(!line.contains('\n'), "{line}");
        line.replace(&format!("{}/", self.0.path().display()), "")
    }

    /// What is said once the files have been checked and hold something else since.
    #[track_caller]
    fn refused_later(&self, name: &str, bytes: &[u8]) -> String {
        let config = self.config("server.crt", "server.key", "");
        let before = std::fs::read(self.path(name)).unwrap();
        self.write(name, bytes);
        let line = self.line(server(config.tls.as_ref().unwrap(), true));
        self.write(name, &before);
        line
    }
}

#[test]
fn keys_are_taken_in_every_form() {
    let files = Files::new();
    files.openssl("genrsa -traditional -out pkcs1.key 2048");
    files.openssl("pkey -in pkcs1.key -out pkcs8.key");
    files.openssl("ecparam -name secp384r1 -genkey -out sec1.key");
    files.openssl("genpkey -algorithm ed25519 -out ed25519.key");
    assert!(files.read("pkcs1.key").starts_with("-----BEGIN RSA PRIVATE KEY-----"));
    assert!(files.read("sec1.key").starts_with("-----BEGIN EC PARAMETERS-----"));
    for name in ["pkcs1", "pkcs8", "sec1", "ed25519"] {
        files.openssl(&format!("req -x509 -key {name}.key -subj /CN=a -days 30 -out {name}.crt"));
        files.serve(&format!("{name}.crt"), &format!("{name}.key"), "").unwrap();
        // Both in one file.
        files.write("both.pem", (files.read(&format!("{name}.key")) + &files.read(&format!("{name}.crt"))).as_bytes());
        files.serve("both.pem", "both.pem", "").unwrap();
    }
}

/// `openssl x509 -req` makes such, unless it is told to add extensions.
#[test]
fn certificates_of_version_1_are_taken() {
    let files = Files::new();
    files.openssl("req -new -key server.key -subj /CN=a -out server.csr");
    files.openssl("x509 -req -in server.csr -signkey server.key -days 30 -out v1.crt");
    files.serve("v1.crt", "server.key", "").unwrap();
}

#[test]
fn the_expiry_is_that_of_the_first_to_expire() {
    let files = Files::new();
    files.openssl("req -x509 -key server.key -subj /CN=a -days 30 -out long.crt");
    files.openssl("req -x509 -key server.key -subj /CN=a -days 3 -out short.crt");
    let expiry = |name: &str| files.serve(name, "server.key", "").unwrap().certificate_expiry;
    // They are made one after the other.
    let apart = expiry("long.crt") - expiry("short.crt") - TimeDelta::days(27);
    assert!(apart.abs() < TimeDelta::hours(1), "{apart}");
    files.write("chain.crt", (files.read("long.crt") + &files.read("short.crt")).as_bytes());
    assert_eq!(expiry("chain.crt"), expiry("short.crt"));
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let files = Files::new();
    files.make("other", &rcgen::PKCS_ED25519);
    insta::assert_snapshot!(files.refused("server.crt", "other.key", ""), @"tls_server_config.key_file: other.key: the key is not that of the certificate; give both of the same issue");
    files.write("chain.crt", (files.read("other.crt") + &files.read("server.crt")).as_bytes());
    insta::assert_snapshot!(files.refused("chain.crt", "server.key", ""), @"tls_server_config.cert_file: chain.crt: the certificate of the key is not the first in it; move it to the top");
    let many = files.read("server.crt").repeat(17);
    files.write("bundle.crt", many.as_bytes());
    insta::assert_snapshot!(files.refused("bundle.crt", "server.key", ""), @"tls_server_config.cert_file: bundle.crt: it holds 17 certificates; give the server's and those between it and its root, at most 16");
}

#[test]
fn files_that_change_into_something_else_are_refused() {
    let files = Files::new();
    let (certificate, key) = (files.read("server.crt"), files.read("server.key"));
    insta::assert_snapshot!(files.refused_later("server.crt", b""), @"tls_server_config.cert_file: server.crt: it is empty; write PEM into it");
    insta::assert_snapshot!(files.refused_later("server.crt", b"hello"), @"tls_server_config.cert_file: server.crt: it holds no certificate; give one in PEM form");
    insta::assert_snapshot!(files.refused_later("server.crt", key.as_bytes()), @"tls_server_config.cert_file: server.crt: it holds a private key and no certificate; name the certificate here");
    insta::assert_snapshot!(files.refused_later("server.crt", &certificate.as_bytes()[..200]), @"tls_server_config.cert_file: server.crt: the PEM in it is damaged; replace it");
    insta::assert_snapshot!(files.refused_later("server.key", certificate.as_bytes()), @"tls_server_config.key_file: server.key: it holds a certificate and no private key; name the private key here");
    insta::assert_snapshot!(files.refused_later("server.key", b"\n"), @"tls_server_config.key_file: server.key: it is empty; write PEM into it");
    insta::assert_snapshot!(files.refused_later("server.key", &key.as_bytes()[..100]), @"tls_server_config.key_file: server.key: the PEM in it is damaged; replace it");
    files.openssl("pkcs8 -topk8 -in server.key -passout pass:hunter2 -out encrypted.key");
    insta::assert_snapshot!(files.refused_later("server.key", files.read("encrypted.key").as_bytes()), @"tls_server_config.key_file: server.key: the key is encrypted, and nobody is there to give its password; decrypt it with `openssl pkey`");
    files.openssl("genrsa -traditional -aes128 -passout pass:hunter2 -out legacy.key 2048");
    assert!(files.refused_later("server.key", files.read("legacy.key").as_bytes()).contains("the key is encrypted"));
    files.openssl("ecparam -name secp521r1 -genkey -noout -out p521.key");
    insta::assert_snapshot!(files.refused_later("server.key", files.read("p521.key").as_bytes()), @"tls_server_config.key_file: server.key: the key is damaged or of no kind that can be used; make one of RSA with 2048 to 4096 bits, ECDSA on P-256 or P-384, or Ed25519");
    files.openssl("genrsa -out short.key 1024");
    assert!(
        files.refused_later("server.key", files.read("short.key").as_bytes()).contains("of no kind that can be used")
    );

    let config = files.config("server.crt", "server.key", "");
    std::fs::remove_file(files.path("server.key")).unwrap();
    insta::assert_snapshot!(files.line(server(config.tls.as_ref().unwrap(), true)), @"tls_server_config.key_file: server.key: cannot be read (No such file or directory (os error 2)); check the name and the permissions");
}

#[test]
fn what_would_let_nobody_in_is_refused() {
    let files = Files::new();
    let only = |suites: &str, more: &str| format!("cipher_suites: [{suites}]{more}");
    let rsa = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256";
    insta::assert_snapshot!(files.refused("server.crt", "server.key", &only(rsa, ", max_version: TLS12")), @"tls_server_config.cipher_suites: none of them is for the certificate's kind of key, and max_version leaves no TLS 1.3; name suites with RSA for an RSA key, with ECDSA for others");
    // Clients of TLS 1.3 remain.
    files.serve("server.crt", "server.key", &only(rsa, "")).unwrap();
    let strong = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384";
    insta::assert_snapshot!(files.refused("server.crt", "server.key", &only(strong, "")), @"tls_server_config.cipher_suites: HTTP/2 over TLS 1.2 needs TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 or TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256; add one, or set http_server_config.http2 to false");
    files.serve("server.crt", "server.key", &only(strong, ", min_version: TLS13")).unwrap();
    let config = files.config("server.crt", "server.key", &only(strong, ""));
    server(config.tls.as_ref().unwrap(), false).unwrap();
}

#[test]
fn inline_text_is_named_by_its_key() {
    let files = Files::new();
    files.make("other", &rcgen::PKCS_ECDSA_P256_SHA256);
    let yaml =
        serde_json::json!({"tls_server_config": {"cert": files.read("server.crt"), "key": files.read("other.key")}});
    let config = WebConfig::from_yaml(&yaml.to_string(), Path::new("web.yml")).unwrap();
    insta::assert_snapshot!(files.line(server(config.tls.as_ref().unwrap(), true)), @"tls_server_config.key: the key is not that of the certificate; give both of the same issue");
}

#[test]
fn nothing_shows_the_key() {
    let files = Files::new();
    let served = files.serve("server.crt", "server.key", "").unwrap();
    let key: String = files.read("server.key").lines().filter(|line| !line.contains("-----")).collect();
    let der = rcgen::KeyPair::from_pem(&files.read("server.key")).unwrap().serialize_der();
    let shown = format!("{served:?} {served:#?}");
    assert!(shown.contains("ServerConfig"));
    assert!(!shown.contains(&key[..20]), "{shown}");
    let bytes = der[40..48].iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    assert!(!shown.contains(&bytes), "{shown}");
}
