//! One tenant with a little history, keys made by OpenSSL, and the program's single run.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use remote_assistance_exporter::simulator::{FederatedCredential, Tenant, TenantOptions};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

use crate::support::{Lab, Scrape};

pub const TENANT: &str = "contoso";

pub fn lab() -> Lab {
    lab_with(|_| ())
}

pub fn lab_with(change: impl FnOnce(&mut remote_assistance_exporter::simulator::Options)) -> Lab {
    let tenant = TenantOptions { sessions_per_day: 5.0, live_per_second: 0.0, ..TenantOptions::new(TENANT) };
    Lab::new(vec![tenant], change)
}

pub fn tenant(lab: &Lab) -> Tenant {
    lab.simulator.tenant(TENANT).unwrap()
}

pub fn client_id(lab: &Lab) -> String {
    tenant(lab).options().client_id.clone()
}

/// A new RSA key with a certificate of its own, in PEM: `name.key` and `name.crt` in the lab's directory.
pub fn new_key(lab: &Lab, name: &str) -> (String, String) {
    let directory = lab.directory.path();
    let made =
        format!("req -x509 -newkey rsa:2048 -noenc -subj /CN={name} -days 30 -keyout {name}.key -out {name}.crt");
    openssl(directory, &made);
    let read = |end: &str| fs::read_to_string(directory.join(format!("{name}.{end}"))).unwrap();
    (read("crt"), read("key"))
}

pub fn openssl(directory: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(directory).output();
    let output = output.expect("the package openssl is needed");
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// An issuer of tokens that the tenant's application trusts, as a cluster is.
pub struct Issuer {
    key: RsaKeyPair,
}

pub const ISSUER: &str = "https://cluster.example/";
pub const SUBJECT: &str = "system:serviceaccount:monitoring:exporter";
pub const AUDIENCE: &str = "api://AzureADTokenExchange";

impl Issuer {
    pub fn trusted(lab: &Lab) -> Self {
        let (certificate, key) = new_key(lab, "issuer");
        let trust = FederatedCredential {
            issuer: ISSUER.to_owned(),
            subject: SUBJECT.to_owned(),
            audience: AUDIENCE.to_owned(),
            certificate,
        };
        tenant(lab).change_application(|application| {
            application.secrets.clear();
            application.federated.push(trust);
        });
        let PrivateKeyDer::Pkcs8(der) = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap() else {
            panic!("not PKCS #8")
        };
        Self { key: RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).unwrap() }
    }

    /// A token with these claims in place of the right ones.
    pub fn token(&self, lab: &Lab, others: &[(&str, Value)]) -> String {
        let now = lab.now().timestamp();
        let mut claims: BTreeMap<&str, Value> = BTreeMap::from([
            ("iss", json!(ISSUER)),
            ("sub", json!(SUBJECT)),
            ("aud", json!(AUDIENCE)),
            ("nbf", json!(now - 60)),
            ("exp", json!(now + 3600)),
        ]);
        claims.extend(others.iter().cloned());
        let part = |value: String| BASE64_URL_SAFE_NO_PAD.encode(value);
        let header = part(json!({"alg": "RS256", "typ": "JWT"}).to_string());
        let signed = format!("{header}.{}", part(json!(claims).to_string()));
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }
}

/// Writes the configuration with this credential.
pub fn configuration(lab: &Lab, credential: &str) -> PathBuf {
    lab.configuration("poll_interval: 1s", &[(TENANT, &format!("credential: {credential}"))])
}

/// The command `once` with this credential.
pub fn command(lab: &Lab, credential: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_remote-assistance-exporter"));
    command.env_clear().args(lab.arguments(&configuration(lab, credential)));
    command.args(["--log.level=debug", "once"]);
    command
}

/// Runs it to its end. Nothing that must stay secret may be in what it writes.
#[track_caller]
pub fn run(lab: &Lab, command: &mut Command, secrets: &[&str]) -> Output {
    let output = command.output().unwrap();
    let written = format!("{}{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    check_secrets(lab, &written, secrets);
    output
}

/// Fails the test where a token, an assertion or one of these texts is shown.
#[track_caller]
pub fn check_secrets(lab: &Lab, written: &str, secrets: &[&str]) {
    let tokens = lab.simulator.tokens();
    for secret in tokens.iter().map(String::as_str).chain(secrets.iter().copied()) {
        assert!(!written.contains(secret), "{secret} is shown in {written}");
    }
    // A JSON Web Token begins with the encoded `{"`.
    assert!(!written.contains("eyJ"), "{written}");
}

/// What it exposed, having counted.
#[track_caller]
pub fn counted(output: &Output) -> Scrape {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let scrape = Scrape::parse(std::str::from_utf8(&output.stdout).unwrap());
    assert_eq!(scrape.value(r#"up{tenant="contoso"}"#), 1.0);
    assert!(scrape.sum("sessions_total", &[]) > 0.0);
    scrape
}

/// The reason of its failure, as it is logged.
#[track_caller]
pub fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let log = String::from_utf8(output.stderr.clone()).unwrap();
    let line = log.lines().find(|line| line.contains("level=error") || line.contains("level=warn"));
    line.unwrap_or_else(|| panic!("no failure is logged: {log}")).to_owned()
}
