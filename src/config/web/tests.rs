//! Each rule of the web configuration with its message, and what good files come to.

use std::path::Path;
use std::time::Duration;

use insta::assert_snapshot;

use super::*;

const HASH: &str = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG";

fn read(yaml: &str) -> Result<WebConfig, String> {
    WebConfig::from_yaml(yaml, Path::new("web.yml")).map_err(|error| error.to_string())
}

/// The messages of these files, a line each.
fn refused<S: AsRef<str>>(files: impl IntoIterator<Item = S>) -> String {
    let message = |yaml: S| match read(yaml.as_ref()) {
        Ok(_) => panic!("accepted: {}", yaml.as_ref()),
        Err(message) => {
            assert!(!message.contains('\n') && !message.contains("s3cr3t"), "{message}");
            message
        }
    };
    files.into_iter().map(message).collect::<Vec<_>>().join("\n")
}

/// A directory with `tls.crt` and `tls.key`, and a block that names them.
fn tls(rest: &str) -> (tempfile::TempDir, Result<WebConfig, String>) {
    let directory = tempfile::tempdir().unwrap();
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(directory.path().join("tls.crt"), pair.cert.pem()).unwrap();
    std::fs::write(directory.path().join("tls.key"), pair.signing_key.serialize_pem()).unwrap();
    let yaml = format!("tls_server_config:\n  cert_file: tls.crt\n  key_file: tls.key\n{rest}");
    let read = WebConfig::from_yaml(&yaml, &directory.path().join("web.yml")).map_err(|error| error.to_string());
    let name = format!("{}/", directory.path().display());
    (directory, read.map_err(|message| message.replace(&name, "")))
}

fn refused_tls(rests: &[&str]) -> String {
    rests.iter().map(|rest| tls(rest).1.expect_err(rest)).collect::<Vec<_>>().join("\n")
}

#[test]
fn an_empty_file_asks_for_nothing() {
    for yaml in ["", "# nothing\n", "{}", "tls_server_config: {}", "tls_server_config:", "rate_limit: {interval: 0}"] {
        assert_eq!(read(yaml), Ok(WebConfig::default()), "{yaml:?}");
    }
}

#[test]
fn keys_are_known_once_and_of_their_type() {
    assert_snapshot!(refused([
        "tls_config: {}",
        "http_server_config:\n  headers:\n    Server: s3cr3t",
        "http_server_config:\n  headers: {x-frame-options: deny}",
        "tls_server_config:\n  cert_file: a\n  cert_file: b",
        "http_server_config: {http2: yes}",
        "basic_auth_users: [s3cr3t]",
        "basic_auth_users:\n  alice:",
        "basic_auth_users:\n  s3cr3t: {a: b}",
        "basic_auth_users:\n  s3cr3t: a\n  s3cr3t: b",
        "rate_limit: {interval: 1s, burst: some}",
    ]), @"");
}

#[test]
fn tls_rules() {
    assert_snapshot!(refused([
        "tls_server_config: {min_version: TLS13}",
        "tls_server_config: {cert_file: ''}",
        "tls_server_config: {cert_file: none.crt}",
        "tls_server_config: {cert: s3cr3t}",
        "tls_server_config: {key: s3cr3t}",
        "tls_server_config:\n  key: |\n    -----BEGIN ENCRYPTED PRIVATE KEY-----\n    czNjcjN0\n    -----END ENCRYPTED PRIVATE KEY-----",
    ]), @"");
    assert_snapshot!(refused_tls(&[
        "  cert: a",
        "  key: a",
        "  client_auth_type: Always",
        "  client_auth_type: RequireAndVerifyClientCert",
        "  client_ca_file: tls.crt",
        "  client_ca_file: tls.key\n  client_auth_type: VerifyClientCertIfGiven",
        "  client_ca_file: tls.crt\n  client_auth_type: RequireAnyClientCert",
        "  client_allowed_sans: [a]\n  client_auth_type: RequireAnyClientCert",
        "  client_allowed_sans: []\n  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: tls.crt",
        "  client_allowed_sans: ['']\n  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: tls.crt",
        "  min_version: TLS10",
        "  max_version: TLS11",
        "  min_version: '1.2'",
        "  min_version: TLS13\n  max_version: TLS12",
        "  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA]",
        "  cipher_suites: [TLS_RSA_WITH_AES_128_GCM_SHA256]",
        "  cipher_suites: [TLS_AES_128_GCM_SHA256]",
        "  curve_preferences: [CurveP521]",
        "  curve_preferences: [P-256]",
    ]), @"");
}

#[test]
fn headers_users_and_rates() {
    assert_snapshot!(refused([
        "X-Frame-Options: DENY",
        "X-Content-Type-Options: sniff",
        "Content-Security-Policy: ä",
        "Strict-Transport-Security: includeSubDomains",
        "Strict-Transport-Security: max-age=1y",
        "Strict-Transport-Security: max-age=1; max-age=2",
        "Strict-Transport-Security: max-age=1; includeSubdomain",
    ].map(|line| format!("http_server_config:\n  headers:\n    {line}"))), @"");
    assert_snapshot!(refused([
        "a: s3cr3t".to_owned(),
        "'a:b': s3cr3t".to_owned(),
        format!("a: {}", &HASH[..59]),
        format!("a: {}", HASH.replace("$2y", "$2x")),
        format!("a: {}", HASH.replace("$10$", "$15$")),
        format!("a: {}", HASH.replace("$10$", "$03$")),
        format!("a: {}", HASH.replace("$10$", "$+9$")),
    ].map(|line| format!("basic_auth_users:\n  {line}"))), @"");
    assert_snapshot!(refused([
        "rate_limit: {interval: 1s}",
        "rate_limit: {interval: 1s, burst: 0}",
        "rate_limit: {interval: 1s, burst: 1000001}",
        "rate_limit: {interval: 1, burst: 1}",
        "rate_limit: {interval: -1s, burst: 1}",
        "rate_limit: {interval: 25h, burst: 1}",
    ]), @"");
}

#[test]
fn a_whole_file_is_read() {
    let (directory, config) = tls(&format!(
        "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: tls.crt\n  client_allowed_sans: [a]\n  \
         min_version: TLS12\n  max_version: TLS13\n  cipher_suites: [TLS_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]\n  \
         prefer_server_cipher_suites: false\n  curve_preferences: [CurveP256, X25519, CurveP256]\n\
         http_server_config:\n  http2: false\n  headers: {{X-Frame-Options: sameorigin, Content-Security-Policy: ''}}\n\
         basic_auth_users: {{alice: {HASH}}}\nrate_limit: {{interval: 1.5s, burst: 2}}\n"
    ));
    let config = config.unwrap();
    let tls = config.tls.as_ref().unwrap();
    assert_eq!((tls.client_auth, tls.prefer_server_cipher_suites), (ClientAuth::RequireAndVerify, false));
    assert_eq!(tls.cipher_suites, [CipherSuite::EcdheRsaAes128GcmSha256]);
    assert_eq!(tls.curves, [Curve::P256, Curve::X25519]);
    assert_eq!((config.http2, config.headers.len(), config.users[0].hash.cost()), (false, 1, 10));
    assert_eq!(config.rate_limit.map(|rate| (rate.interval, rate.burst.get())), Some((Duration::from_millis(1500), 2)));
    assert_eq!(config.files().count(), 3);
    assert!(config.files().all(|file| file.starts_with(directory.path())));
    let shown = format!("{config:?}");
    assert!(!shown.contains("$2y") && !shown.contains("BEGIN"), "{shown}");
}
