//! Certificates in every form that people have them, made by the tool that they make them with.

use std::path::Path;
use std::process::Command;

use chrono::TimeZone as _;
use ring::signature::{RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use tempfile::TempDir;

use super::*;

/// A directory with `key.pem`, `cert.pem` and `other.pem`, another key's certificate.
fn workshop() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let new = |key: &str, cert: &str| {
        let made = format!("req -x509 -newkey rsa:2048 -noenc -subj /CN=exporter -days 30 -keyout {key} -out {cert}");
        openssl(directory.path(), &made);
    };
    new("key.pem", "cert.pem");
    new("other-key.pem", "other.pem");
    directory
}

fn openssl(directory: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(directory).output();
    let output = output.expect("the package openssl is needed");
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

fn read(directory: &TempDir, name: &str) -> Vec<u8> {
    std::fs::read(directory.path().join(name)).unwrap()
}

fn joined(directory: &TempDir, names: &[&str]) -> Vec<u8> {
    names.iter().flat_map(|name| read(directory, name)).collect()
}

fn problem(file: &[u8], password: Option<&str>) -> Problem {
    Certificate::parse(file, password).unwrap_err()
}

#[test]
fn pem_is_read_in_any_order_with_a_chain_and_every_form_of_key() {
    let directory = workshop();
    let here = directory.path();
    openssl(here, "rsa -in key.pem -traditional -out pkcs1.pem");
    openssl(here, "pkcs8 -topk8 -in key.pem -passout pass:s3cr3t -out pbkdf2.pem");
    openssl(here, "pkcs8 -topk8 -in key.pem -passout pass:s3cr3t -scrypt -out scrypt.pem");
    let expected = Certificate::parse(&joined(&directory, &["key.pem", "cert.pem"]), None).unwrap();
    for (names, password) in [
        (["cert.pem", "key.pem"].as_slice(), None),
        (&["other.pem", "cert.pem", "key.pem"], None),
        (&["cert.pem", "pkcs1.pem"], None),
        (&["cert.pem", "pbkdf2.pem"], Some("s3cr3t")),
        (&["scrypt.pem", "cert.pem"], Some("s3cr3t")),
        (&["cert.pem", "key.pem"], Some("not needed")),
    ] {
        let certificate = Certificate::parse(&joined(&directory, names), password).unwrap();
        assert_eq!(certificate.thumbprint, expected.thumbprint, "{names:?}");
        assert_eq!(certificate.not_after, expected.not_after);
    }
}

#[test]
fn pkcs12_is_read_as_new_and_old_tools_write_it() {
    let directory = workshop();
    let export = "pkcs12 -export -in cert.pem -inkey key.pem -passout pass:";
    openssl(directory.path(), &format!("{export}s3cr3t -out new.pfx"));
    openssl(
        directory.path(),
        &format!("{export}s3cr3t -keypbe PBE-SHA1-3DES -certpbe PBE-SHA1-3DES -macalg sha1 -out old.pfx"),
    );
    openssl(directory.path(), &format!("{export} -out open.pfx"));
    let expected = Certificate::parse(&joined(&directory, &["key.pem", "cert.pem"]), None).unwrap();
    for (name, password) in
        [("new.pfx", Some("s3cr3t")), ("old.pfx", Some("s3cr3t")), ("open.pfx", None), ("open.pfx", Some(""))]
    {
        let certificate = Certificate::parse(&read(&directory, name), password).unwrap();
        assert_eq!(certificate.thumbprint, expected.thumbprint, "{name}");
    }
    let new = read(&directory, "new.pfx");
    insta::assert_snapshot!(problem(&new, None), @"is PKCS #12 with a password; name it in certificate_password_file");
    insta::assert_snapshot!(problem(&new, Some("wrong")), @"is PKCS #12 that the password does not open; check certificate_password_file");
    insta::assert_snapshot!(problem(&new[..new.len() / 2], Some("s3cr3t")), @"is neither PEM nor PKCS #12 that can be read; export it again");
    openssl(directory.path(), "pkcs12 -export -in cert.pem -nokeys -passout pass:s3cr3t -out certs.pfx");
    insta::assert_snapshot!(problem(&read(&directory, "certs.pfx"), Some("s3cr3t")), @"is PKCS #12 with 0 private keys; export exactly one");
}

#[test]
fn each_problem_of_a_pem_file_has_its_line() {
    let directory = workshop();
    let here = directory.path();
    openssl(here, "pkcs8 -topk8 -in key.pem -passout pass:s3cr3t -out locked.pem");
    openssl(here, "pkcs8 -topk8 -in key.pem -passout pass:s3cr3t -v1 PBE-SHA1-3DES -out v1.pem");
    openssl(here, "rsa -in key.pem -traditional -aes128 -passout pass:s3cr3t -out old.pem");
    openssl(here, "genrsa -out small.pem 1024");
    openssl(here, "ecparam -name prime256v1 -genkey -noout -out ec.pem");
    let of = |names: &[&str], password| problem(&joined(&directory, names), password);
    insta::assert_snapshot!(of(&["cert.pem"], None), @"holds no private key; add it to the file, beside the certificate");
    insta::assert_snapshot!(of(&["key.pem"], None), @"holds no certificate; add it to the file, beside the private key");
    insta::assert_snapshot!(of(&["key.pem", "other.pem"], None), @"holds a certificate and a private key that do not belong together; export both again");
    insta::assert_snapshot!(of(&["cert.pem", "locked.pem"], None), @"holds an encrypted private key; name its password in certificate_password_file");
    insta::assert_snapshot!(of(&["cert.pem", "locked.pem"], Some("wrong")), @"holds a private key that the password does not open; check certificate_password_file");
    insta::assert_snapshot!(of(&["cert.pem", "v1.pem"], Some("s3cr3t")), @"holds a key in an encryption that is not supported; convert it with openssl pkcs8 -topk8 -v2 aes-256-cbc");
    insta::assert_snapshot!(of(&["cert.pem", "old.pem"], Some("s3cr3t")), @"holds a key in OpenSSL's old encryption; convert it with openssl pkcs8 -topk8");
    insta::assert_snapshot!(of(&["cert.pem", "small.pem"], None), @"holds a private key that cannot be used; use an RSA key of 2048 to 4096 bits");
    insta::assert_snapshot!(of(&["cert.pem", "ec.pem"], None), @"holds a private key that is not RSA; use an RSA key of 2048 to 4096 bits");
    insta::assert_snapshot!(problem(b"nothing of the kind", None), @"is neither PEM nor PKCS #12 that can be read; export it again");
    let whole = joined(&directory, &["cert.pem", "key.pem"]);
    insta::assert_snapshot!(problem(&whole[..whole.len() - 200], None), @"holds damaged PEM; export it again");
    insta::assert_snapshot!(problem(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", None), @"holds no private key; add it to the file, beside the certificate");
}

#[test]
fn an_assertion_is_signed_by_the_key_and_names_the_certificate() {
    let directory = workshop();
    let certificate = Certificate::parse(&joined(&directory, &["key.pem", "cert.pem"]), None).unwrap();
    let endpoint = Url::parse("https://login.example/t/oauth2/v2.0/token").unwrap();
    let now = Utc.timestamp_opt(1_774_000_000, 0).unwrap();
    let assertion = certificate.assertion("app", &endpoint, now).unwrap();
    let parts: Vec<_> = assertion.split('.').map(|part| BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).collect();
    let header: Value = serde_json::from_slice(&parts[0]).unwrap();
    let der = CertificateDer::from_pem_slice(&read(&directory, "cert.pem")).unwrap();
    let thumbprint = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(&der));
    assert_eq!(header, json!({"alg": "PS256", "typ": "JWT", "x5t#S256": thumbprint}));
    let claims: Value = serde_json::from_slice(&parts[1]).unwrap();
    assert_eq!(
        (&claims["aud"], &claims["iss"], &claims["sub"]),
        (&json!(endpoint.as_str()), &json!("app"), &json!("app"))
    );
    assert_eq!((&claims["nbf"], &claims["exp"]), (&json!(1_774_000_000), &json!(1_774_000_600)));
    let (signed, _) = assertion.rsplit_once('.').unwrap();
    let (_, parsed) = X509Certificate::from_der(&der).unwrap();
    let key = UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, &parsed.public_key().subject_public_key.data);
    key.verify(signed.as_bytes(), &parts[2]).unwrap();
    assert!(key.verify(b"something else", &parts[2]).is_err());
    let again = certificate.assertion("app", &endpoint, now).unwrap();
    let jti = |text: &str| {
        let claims = BASE64_URL_SAFE_NO_PAD.decode(text.split('.').nth(1).unwrap()).unwrap();
        serde_json::from_slice::<Value>(&claims).unwrap()["jti"].clone()
    };
    assert_ne!(jti(&assertion), jti(&again), "each has an id of its own");
}

#[test]
fn a_certificate_is_used_within_its_time_only() {
    let directory = workshop();
    let mut certificate = Certificate::parse(&joined(&directory, &["key.pem", "cert.pem"]), None).unwrap();
    let time = |day| Utc.with_ymd_and_hms(2026, 3, day, 12, 0, 0).unwrap();
    (certificate.not_before, certificate.not_after) = (time(1), time(20));
    assert_eq!(certificate.check(time(10)), Ok(()));
    insta::assert_snapshot!(certificate.check(time(20)).unwrap_err(), @"the certificate expired on 2026-03-20 12:00 UTC; add a new one to the app registration and put it into the file");
    insta::assert_snapshot!(certificate.check(time(1) - TimeDelta::seconds(1)).unwrap_err(), @"the certificate is valid from 2026-03-01 12:00 UTC only; check it and this machine's clock");
    assert_eq!(format!("{certificate:?}"), "Certificate { not_after: 2026-03-20T12:00:00Z, .. }");
}
