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
    ]), @"
    web.yml:1: tls_config: unknown key; known here: tls_server_config, http_server_config, basic_auth_users, rate_limit
    web.yml:3: http_server_config.headers.Server: unknown key; known here: Content-Security-Policy, X-Frame-Options, X-Content-Type-Options, X-XSS-Protection, Strict-Transport-Security
    web.yml:2: http_server_config.headers.x-frame-options: unknown key; known here: Content-Security-Policy, X-Frame-Options, X-Content-Type-Options, X-XSS-Protection, Strict-Transport-Security
    web.yml:3: tls_server_config: the key cert_file stands here twice; remove one
    web.yml:1: http_server_config: expected true or false
    web.yml:1: basic_auth_users: expected keys with values
    web.yml:2: basic_auth_users: has no value; give it one or remove the key
    web.yml:2: basic_auth_users: expected one plain value, not a list or a block of keys
    web.yml:3: basic_auth_users: a key stands here twice; remove one
    web.yml:1: rate_limit.burst: expected a whole number
    ");
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
    ]), @"
    web.yml:1: tls_server_config.cert_file: missing; TLS needs it: add it, or cert
    web.yml:1: tls_server_config.cert_file: empty; give the file's name
    web.yml:1: tls_server_config.cert_file: the file cannot be read (No such file or directory (os error 2)); check its name, relative to this configuration, and its permissions
    web.yml:1: tls_server_config.cert: holds no readable certificate; give certificates in PEM form
    web.yml:1: tls_server_config.key: holds no private key; give one in PEM form
    web.yml:3: tls_server_config.key: holds an encrypted key, and nobody is there to give its password; decrypt it
    ");
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
    ]), @"
    web.yml:2: tls_server_config.cert_file: cert is given as well; remove one of the two
    web.yml:3: tls_server_config.key_file: key is given as well; remove one of the two
    web.yml:4: tls_server_config.client_auth_type: unknown; choose one of NoClientCert, RequestClientCert, RequireAnyClientCert, VerifyClientCertIfGiven, RequireAndVerifyClientCert
    web.yml:2: tls_server_config.client_ca_file: missing; client_auth_type verifies by it: add it, or client_ca
    web.yml:4: tls_server_config.client_ca_file: client_auth_type lets in clients that it does not know; set that to RequireAndVerifyClientCert or VerifyClientCertIfGiven
    web.yml:4: tls_server_config.client_ca_file: the file holds no readable certificate; give certificates in PEM form
    web.yml:4: tls_server_config.client_ca_file: client_auth_type lets in clients that it does not know; set that to RequireAndVerifyClientCert or VerifyClientCertIfGiven
    web.yml:4: tls_server_config.client_allowed_sans: whoever makes a certificate writes what names he likes unless it is verified; set client_auth_type to RequireAndVerifyClientCert
    web.yml:4: tls_server_config.client_allowed_sans: has 0 names; give 1 to 1000, or remove it to let in every client that is verified
    web.yml:4: tls_server_config.client_allowed_sans[0]: not a name; give a DNS name, IP address, e-mail address or URI as the certificate has it
    web.yml:4: tls_server_config.min_version: rustls has no TLS10, which is broken; choose TLS12 or TLS13
    web.yml:4: tls_server_config.max_version: rustls has no TLS11, which is broken; choose TLS12 or TLS13
    web.yml:4: tls_server_config.min_version: unknown; choose one of TLS12, TLS13
    web.yml:2: tls_server_config: min_version is above max_version; exchange them
    web.yml:4: tls_server_config.cipher_suites[0]: rustls has no TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, which is weak; choose of TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
    web.yml:4: tls_server_config.cipher_suites[0]: unknown; choose one of TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
    web.yml:4: tls_server_config.cipher_suites: names suites of TLS 1.3 only, which are always on; name some of TLS 1.2 as well, or set min_version to TLS13
    web.yml:4: tls_server_config.curve_preferences[0]: rustls with ring has no CurveP521; choose of X25519, CurveP256, CurveP384
    web.yml:4: tls_server_config.curve_preferences[0]: unknown; choose one of X25519, CurveP256, CurveP384
    ");
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
    ].map(|line| format!("http_server_config:\n  headers:\n    {line}"))), @"
    web.yml:3: http_server_config.headers.X-Frame-Options: unknown; choose one of deny, sameorigin
    web.yml:3: http_server_config.headers.X-Content-Type-Options: unknown; choose one of nosniff
    web.yml:3: http_server_config.headers.Content-Security-Policy: not a header's value; write printable ASCII on one line
    web.yml:3: http_server_config.headers.Strict-Transport-Security: without max-age, so browsers ignore it; write it as max-age=31536000 or max-age=31536000; includeSubDomains
    web.yml:3: http_server_config.headers.Strict-Transport-Security: max-age is no whole number of seconds; write it as max-age=31536000 or max-age=31536000; includeSubDomains
    web.yml:3: http_server_config.headers.Strict-Transport-Security: a directive stands here twice, so browsers ignore all; write it as max-age=31536000 or max-age=31536000; includeSubDomains
    web.yml:3: http_server_config.headers.Strict-Transport-Security: a directive that browsers do not know; write it as max-age=31536000 or max-age=31536000; includeSubDomains
    ");
    assert_snapshot!(refused([
        "a: s3cr3t".to_owned(),
        "'a:b': s3cr3t".to_owned(),
        format!("a: {}", &HASH[..59]),
        format!("a: {}", HASH.replace("$2y", "$2x")),
        format!("a: {}", HASH.replace("$10$", "$15$")),
        format!("a: {}", HASH.replace("$10$", "$03$")),
        format!("a: {}", HASH.replace("$10$", "$+9$")),
    ].map(|line| format!("basic_auth_users:\n  {line}"))), @"
    web.yml:2: basic_auth_users: not a bcrypt hash ($2a$, $2b$ or $2y$); hash the password, such as by htpasswd -nBC 10 NAME
    web.yml:2: basic_auth_users: a name has a colon, which basic authentication cannot send; choose another
    web.yml:2: basic_auth_users: a damaged bcrypt hash, which has 60 characters; hash the password, such as by htpasswd -nBC 10 NAME
    web.yml:2: basic_auth_users: a hash of the form 2x, which a defect has made; hash the password, such as by htpasswd -nBC 10 NAME
    web.yml:2: basic_auth_users: a bcrypt hash of cost 15, which takes seconds for each new password; take 14 at most: hash the password, such as by htpasswd -nBC 10 NAME
    web.yml:2: basic_auth_users: a bcrypt hash of cost 3, which bcrypt has not; hash the password, such as by htpasswd -nBC 10 NAME
    web.yml:2: basic_auth_users: a damaged bcrypt hash, which has 60 characters; hash the password, such as by htpasswd -nBC 10 NAME
    ");
    assert_snapshot!(refused([
        "rate_limit: {interval: 1s}",
        "rate_limit: {interval: 1s, burst: 0}",
        "rate_limit: {interval: 1s, burst: 1000001}",
        "rate_limit: {interval: 1, burst: 1}",
        "rate_limit: {interval: -1s, burst: 1}",
        "rate_limit: {interval: 25h, burst: 1}",
    ]), @"
    web.yml:1: rate_limit.burst: missing; without it every request would be refused, add it
    web.yml:1: rate_limit.burst: out of bounds; choose 1 to 100000
    web.yml:1: rate_limit.burst: out of bounds; choose 1 to 100000
    web.yml:1: rate_limit.interval: not a duration; write it as 100ms, 1s or 1m30s, or 0 for no limit
    web.yml:1: rate_limit.interval: not a duration; write it as 100ms, 1s or 1m30s, or 0 for no limit
    web.yml:1: rate_limit.interval: longer than a day; choose a shorter one, or 0 for no limit
    ");
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
