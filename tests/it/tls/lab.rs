//! An authority of its own, the certificates that it issues, and the program with a web configuration.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, SanType,
};

use crate::support::Exporter;

/// The kinds of keys that a server may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Rsa,
    P256,
    P384,
    Ed25519,
}

/// A certificate, followed by those between it and its authority, and its key. Both PEM.
#[derive(Clone, Debug)]
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

/// An authority that issues certificates.
pub struct Authority {
    params: CertificateParams,
    key: KeyPair,
    pub certificate: String,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = named(name, Vec::new());
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        Self { params, key, certificate }
    }

    /// A server's certificate for the loopback addresses and the name `localhost`.
    pub fn server(&self, kind: Kind) -> Pair {
        self.server_named("server", kind)
    }

    /// The same with a common name, by which it can be told from others.
    pub fn server_named(&self, name: &str, kind: Kind) -> Pair {
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(params, &new_key(kind))
    }

    /// A client's certificate with these names.
    pub fn client(&self, names: Vec<SanType>) -> Pair {
        self.issue(client_params(names), &new_key(Kind::P256))
    }

    /// One that was valid once.
    pub fn expired_client(&self) -> Pair {
        let mut params = client_params(Vec::new());
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        self.issue(params, &new_key(Kind::P256))
    }

    fn issue(&self, params: CertificateParams, key: &KeyPair) -> Pair {
        let issuer = Issuer::from_params(&self.params, &self.key);
        Pair { certificate: params.signed_by(key, &issuer).unwrap().pem(), key: key.serialize_pem() }
    }
}

/// A client's certificate that no authority has issued, and that `openssl req -x509` marks as an authority.
pub fn self_signed_client(names: Vec<SanType>) -> Pair {
    let key = new_key(Kind::P256);
    let mut params = client_params(names);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Pair { certificate: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
}

fn client_params(names: Vec<SanType>) -> CertificateParams {
    let mut params = named("client", names);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

fn named(name: &str, names: Vec<SanType>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.subject_alt_names = names;
    params
}

/// ring makes no RSA keys, and making one takes long: all tests share it.
static RSA: LazyLock<String> = LazyLock::new(|| {
    let output = Command::new("openssl").args(["genpkey", "-quiet", "-algorithm", "RSA"]).output();
    let output = output.expect("the package openssl is needed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
});

fn new_key(kind: Kind) -> KeyPair {
    match kind {
        Kind::Rsa => KeyPair::from_pem(&RSA).unwrap(),
        Kind::P256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap(),
        Kind::P384 => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap(),
        Kind::Ed25519 => KeyPair::generate_for(&PKCS_ED25519).unwrap(),
    }
}

/// A place for the program's files, with a configuration that reads an empty directory.
pub struct Site {
    pub directory: tempfile::TempDir,
    pub authority: Authority,
}

impl Site {
    /// With the certificate of the authority in `ca.crt`, and a server's in `server.crt` and `server.key`.
    pub fn new(kind: Kind) -> Self {
        let site = Self { directory: tempfile::tempdir().unwrap(), authority: Authority::new("Test CA") };
        fs::create_dir(site.path("reports")).unwrap();
        site.write(
            "exporter.yaml",
            "tenants: [{name: contoso, poll_interval: 1h, source: {kind: files, directory: reports}}]",
        );
        site.write("ca.crt", &site.authority.certificate);
        site.write_pair("server", &site.authority.server(kind));
        site
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// Writes `name.crt` and `name.key`.
    pub fn write_pair(&self, name: &str, pair: &Pair) {
        self.write(&format!("{name}.crt"), &pair.certificate);
        self.write(&format!("{name}.key"), &pair.key);
    }

    /// Writes the web configuration: certificate and key, more keys of `tls_server_config`, and more blocks.
    pub fn configure(&self, tls: &str, blocks: &str) -> PathBuf {
        let tls = tls.replace('\n', "\n  ");
        let yaml = format!("tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n  {tls}\n{blocks}\n");
        self.write("web.yml", &yaml)
    }

    /// The flags of a program with these files.
    pub fn flags(&self) -> Vec<String> {
        let flag = |name: &str, file: &str| format!("--{name}={}", self.path(file).display());
        vec![
            flag("config.file", "exporter.yaml"),
            flag("storage.path", "data"),
            flag("web.config.file", "web.yml"),
            "--log.level=debug".to_owned(),
        ]
    }

    /// The program with that web configuration.
    pub fn start(&self, tls: &str, blocks: &str) -> Exporter {
        self.configure(tls, blocks);
        Exporter::start(self.flags())
    }
}

/// A command of the system, run to its end: its standard output, then its standard error.
#[track_caller]
pub fn run(directory: &Path, program: &str, arguments: &[&str]) -> (bool, String) {
    let output =
        Command::new(program).args(arguments).current_dir(directory).stdin(std::process::Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}; tests/run installs it"));
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}
