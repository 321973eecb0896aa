//! A certificate and its private key, from PEM or PKCS #12, and the client assertions that they sign.
//!
//! Entra takes a JSON Web Token in place of a secret: signed by the key, naming the certificate by its
//! SHA-256 thumbprint, valid for minutes. The SDK's own credential for certificates needs OpenSSL.

#[cfg(test)]
mod tests;

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use p12_keystore::Pkcs12Archive;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PSS_SHA256, RsaKeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use url::Url;
use uuid::Uuid;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// How long an assertion is valid. Long enough for a slow request and clocks that differ a little.
const ASSERTION_LIFETIME: TimeDelta = TimeDelta::minutes(10);
/// How PEM names a key that needs a password.
const ENCRYPTED_KEY: [&str; 2] = ["-----BEGIN ENCRYPTED PRIVATE KEY-----", "-----END ENCRYPTED PRIVATE KEY-----"];
/// How OpenSSL marked one before PKCS #8.
const OLD_ENCRYPTED_KEY: &str = "Proc-Type: 4,ENCRYPTED";
/// The largest RSA key and the smallest that ring signs with.
const KEY_BITS: [usize; 2] = [2048, 4096];

/// What signs client assertions. `Debug` shows nothing of the key.
pub(super) struct Certificate {
    key: RsaKeyPair,
    /// The SHA-256 digest of the certificate, as `x5t#S256` has it.
    thumbprint: String,
    not_before: DateTime<Utc>,
    not_after: DateTime<Utc>,
}

/// What is wrong with a file, in words that follow its name and quote nothing of it.
pub(super) type Problem = String;

impl Certificate {
    /// Reads PEM (certificate and key in one file, in any order) or PKCS #12.
    pub fn parse(file: &[u8], password: Option<&str>) -> Result<Self, Problem> {
        let (certificates, key) = if file.windows(10).any(|window| window == b"-----BEGIN") {
            pem(file, password)?
        } else {
            pkcs12(file, password)?
        };
        let key = rsa_key(&key)?;
        let mut last = "holds no certificate; add it to the file, beside the private key".to_owned();
        for der in &certificates {
            match Self::of_key(der, &key) {
                Ok((not_before, not_after)) => {
                    let thumbprint = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(der));
                    return Ok(Self { key, thumbprint, not_before, not_after });
                }
                Err(problem) => last = problem,
            }
        }
        Err(last)
    }

    /// From when to when a certificate is valid, if it is the key's: a file may hold the chain too.
    fn of_key(der: &[u8], key: &RsaKeyPair) -> Result<(DateTime<Utc>, DateTime<Utc>), Problem> {
        let unreadable = || "holds a certificate that cannot be read; export it again".to_owned();
        let (_, certificate) = X509Certificate::from_der(der).map_err(|_| unreadable())?;
        if *certificate.public_key().subject_public_key.data != *key.public().as_ref() {
            return Err("holds a certificate and a private key that do not belong together; export both again".into());
        }
        let time = |seconds| DateTime::from_timestamp(seconds, 0).ok_or_else(unreadable);
        let validity = certificate.validity();
        Ok((time(validity.not_before.timestamp())?, time(validity.not_after.timestamp())?))
    }

    /// When it expires.
    pub fn not_after(&self) -> DateTime<Utc> {
        self.not_after
    }

    /// Whether it can be used at that time, told before anything is asked.
    pub fn check(&self, now: DateTime<Utc>) -> Result<(), Problem> {
        let date = |time: DateTime<Utc>| time.format("%Y-%m-%d %H:%M UTC").to_string();
        if now >= self.not_after {
            let expired = date(self.not_after);
            return Err(format!(
                "the certificate expired on {expired}; add a new one to the app registration and put it into the file"
            ));
        }
        if now < self.not_before {
            let begins = date(self.not_before);
            return Err(format!("the certificate is valid from {begins} only; check it and this machine's clock"));
        }
        Ok(())
    }

    /// A new client assertion for a token endpoint.
    pub fn assertion(&self, client_id: &str, endpoint: &Url, now: DateTime<Utc>) -> Result<String, Problem> {
        let header = json!({"alg": "PS256", "typ": "JWT", "x5t#S256": self.thumbprint});
        let claims = json!({
            "aud": endpoint.as_str(),
            "iss": client_id,
            "sub": client_id,
            "jti": Uuid::new_v4().to_string(),
            "iat": now.timestamp(),
            "nbf": now.timestamp(),
            "exp": (now + ASSERTION_LIFETIME).timestamp(),
        });
        let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(&RSA_PSS_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|_| "the private key cannot sign; export it again".to_owned())?;
        Ok(format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

/// Certificates and a key in DER: PKCS #8, or PKCS #1 which PEM files also hold.
type Parts = (Vec<Vec<u8>>, PrivateKeyDer<'static>);

fn pem(file: &[u8], password: Option<&str>) -> Result<Parts, Problem> {
    let text = std::str::from_utf8(file).map_err(|_| "is neither PEM text nor PKCS #12; export it again")?;
    if text.contains(OLD_ENCRYPTED_KEY) {
        return Err("holds a key in OpenSSL's old encryption; convert it with openssl pkcs8 -topk8".to_owned());
    }
    let mut certificates = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(file) {
        certificates.push(certificate.map_err(|_| "holds damaged PEM; export it again")?.to_vec());
    }
    let key = match encrypted_key(text)? {
        Some(block) => decrypted(block, password)?,
        None => PrivateKeyDer::from_pem_slice(file).map_err(|error| match error {
            rustls::pki_types::pem::Error::NoItemsFound => {
                "holds no private key; add it to the file, beside the certificate"
            }
            _ => "holds damaged PEM; export it again",
        })?,
    };
    Ok((certificates, key))
}

/// The block of a key that needs a password.
fn encrypted_key(text: &str) -> Result<Option<&str>, Problem> {
    let [begin, end] = ENCRYPTED_KEY;
    let Some(start) = text.find(begin) else { return Ok(None) };
    let rest = &text[start..];
    let length = rest.find(end).ok_or("holds damaged PEM; export it again")?;
    Ok(Some(&rest[..length + end.len()]))
}

fn decrypted(block: &str, password: Option<&str>) -> Result<PrivateKeyDer<'static>, Problem> {
    let Some(password) = password else {
        return Err("holds an encrypted private key; name its password in certificate_password_file".to_owned());
    };
    let (_, document) =
        pkcs8::SecretDocument::from_pem(block).map_err(|_| "holds damaged PEM; export it again".to_owned())?;
    let encrypted = pkcs8::EncryptedPrivateKeyInfoRef::try_from(document.as_bytes()).map_err(|_| {
        "holds a key in an encryption that is not supported; convert it with openssl pkcs8 -topk8 -v2 aes-256-cbc"
            .to_owned()
    })?;
    let key = encrypted.decrypt(password).map_err(|_| {
        "holds a private key that the password does not open; check certificate_password_file".to_owned()
    })?;
    Ok(PrivateKeyDer::Pkcs8(key.as_bytes().to_vec().into()))
}

fn pkcs12(file: &[u8], password: Option<&str>) -> Result<Parts, Problem> {
    use p12_keystore::error::Error;
    let archive = Pkcs12Archive::from_pkcs12(file, password.unwrap_or_default()).map_err(|error| {
        match (error, password) {
            (Error::MacError(_), Some(_)) => {
                "is PKCS #12 that the password does not open; check certificate_password_file"
            }
            (Error::MacError(_), None) => "is PKCS #12 with a password; name it in certificate_password_file",
            (Error::UnsupportedEncryptionScheme | Error::UnsupportedMacAlgorithm, _) => {
                "is PKCS #12 in an encryption that is not supported; export it with AES-256 and SHA-256"
            }
            _ => "is neither PEM nor PKCS #12 that can be read; export it again",
        }
        .to_owned()
    })?;
    let certificates = archive.certs.iter().map(|bag| bag.cert.as_der().to_vec()).collect();
    let [key] = archive.keys.as_slice() else {
        return Err(format!("is PKCS #12 with {} private keys; export exactly one", archive.keys.len()));
    };
    Ok((certificates, PrivateKeyDer::Pkcs8(key.key.as_der().to_vec().into())))
}

fn rsa_key(key: &PrivateKeyDer<'_>) -> Result<RsaKeyPair, Problem> {
    let parsed = match key {
        PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
        PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
        _ => return Err(format!("holds a private key that is not RSA; {}", kinds_of_keys())),
    };
    parsed.map_err(|_| format!("holds a private key that cannot be used; {}", kinds_of_keys()))
}

fn kinds_of_keys() -> String {
    let [smallest, largest] = KEY_BITS;
    format!("use an RSA key of {smallest} to {largest} bits")
}
