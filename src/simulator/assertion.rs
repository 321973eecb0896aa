//! Client assertions: JSON Web Tokens in place of a secret, signed by a certificate's key or issued by
//! somebody whom the application trusts.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, SecondsFormat, Utc};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::application::{Application, FederatedCredential};

/// How `client_assertion_type` names a JSON Web Token.
pub(super) const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Why an assertion is refused: the number and what is said of it.
pub(super) type Fault = (u32, String);

struct Jwt {
    header: Map<String, Value>,
    claims: Map<String, Value>,
    signed: String,
    signature: Vec<u8>,
}

/// Checks the assertion of an application that asks at a token endpoint.
pub(super) fn check(
    text: &str,
    application: &Application,
    client_id: &str,
    endpoint: &str,
    now: DateTime<Utc>,
) -> Result<(), Fault> {
    let jwt = Jwt::parse(text).ok_or_else(|| invalid("token format isn't proper"))?;
    match jwt.text_in(&jwt.header, "x5t#S256") {
        Some(thumbprint) => {
            jwt.check_certificate(&thumbprint, application)?;
            jwt.check_time(now)?;
            jwt.check_own_claims(client_id, endpoint)
        }
        None => {
            jwt.check_federated(&application.federated)?;
            jwt.check_time(now)
        }
    }
}

impl Jwt {
    fn parse(text: &str) -> Option<Self> {
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let decode = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).ok();
        let object = |part: &str| serde_json::from_slice(&decode(part)?).ok();
        let (header, claims) = (object(header)?, object(claims)?);
        Some(Self { header, claims, signed: signed.to_owned(), signature: decode(signature)? })
    }

    fn text_in(&self, part: &Map<String, Value>, name: &str) -> Option<String> {
        part.get(name)?.as_str().map(str::to_owned)
    }

    fn claim(&self, name: &str) -> String {
        self.text_in(&self.claims, name).unwrap_or_default()
    }

    fn check_certificate(&self, thumbprint: &str, application: &Application) -> Result<(), Fault> {
        let registered = application.certificates.iter().filter_map(|pem| der(pem));
        let found = registered.into_iter().find(|der| BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(der)) == thumbprint);
        let Some(der) = found else {
            return Err((
                700_027,
                format!(
                    "The certificate with identifier used to sign the client assertion is not registered on \
                     application. [Reason - The key was not found., Thumbprint of key used by client: '{thumbprint}']"
                ),
            ));
        };
        self.check_signature(&der)
    }

    fn check_federated(&self, trusted: &[FederatedCredential]) -> Result<(), Fault> {
        let (issuer, audience, subject) = (self.claim("iss"), self.claim("aud"), self.claim("sub"));
        let unmatched = |number, what: &str, value: &str| {
            let text = format!(
                "No matching federated identity record found for presented assertion {what} '{value}'. Check your \
                 federated identity credential Subject, Audience and Issuer against the presented assertion."
            );
            (number, text)
        };
        let of_issuer = || trusted.iter().filter(|one| one.issuer == issuer);
        if of_issuer().next().is_none() {
            return Err(unmatched(700_211, "issuer", &issuer));
        }
        if !of_issuer().any(|one| one.audience == audience) {
            return Err(unmatched(700_212, "audience", &audience));
        }
        let Some(one) = of_issuer().find(|one| one.audience == audience && one.subject == subject) else {
            return Err(unmatched(700_213, "subject", &subject));
        };
        self.check_signature(&der(&one.certificate).unwrap_or_default())
    }

    fn check_signature(&self, certificate: &[u8]) -> Result<(), Fault> {
        let wrong = || {
            let reason = "The provided signature value did not match the expected signature value.";
            (700_027, format!("Client assertion failed signature validation. [Reason - {reason}]"))
        };
        let (_, certificate) = X509Certificate::from_der(certificate).map_err(|_| wrong())?;
        let algorithm = match self.text_in(&self.header, "alg").as_deref() {
            Some("PS256") => &RSA_PSS_2048_8192_SHA256,
            Some("RS256") => &RSA_PKCS1_2048_8192_SHA256,
            _ => return Err(wrong()),
        };
        let key = UnparsedPublicKey::new(algorithm, &certificate.public_key().subject_public_key.data);
        key.verify(self.signed.as_bytes(), &self.signature).map_err(|_| wrong())
    }

    fn check_time(&self, now: DateTime<Utc>) -> Result<(), Fault> {
        let time = |name: &str| self.claims.get(name).and_then(Value::as_i64);
        let (from, until) = (time("nbf").unwrap_or(0), time("exp").unwrap_or(0));
        if (from..until).contains(&now.timestamp()) {
            return Ok(());
        }
        let date = |seconds| {
            let time = DateTime::from_timestamp(seconds, 0).unwrap_or_default();
            time.to_rfc3339_opts(SecondsFormat::Secs, true)
        };
        Err((
            700_024,
            format!(
                "Client assertion is not within its valid time range. Current time: {}, assertion valid from {}, expiry \
                 time of assertion {}.",
                date(now.timestamp()),
                date(from),
                date(until)
            ),
        ))
    }

    /// What an application claims of itself.
    fn check_own_claims(&self, client_id: &str, endpoint: &str) -> Result<(), Fault> {
        if self.claim("aud") != endpoint {
            return Err(invalid("unexpected audience"));
        }
        if !self.claim("iss").eq_ignore_ascii_case(client_id) {
            return Err(invalid("unexpected issuer"));
        }
        if self.claim("sub") != self.claim("iss") {
            return Err((50048, "Subject mismatches Issuer claim in the client assertion.".to_owned()));
        }
        match uuid::Uuid::parse_str(&self.claim("jti")) {
            Ok(_) => Ok(()),
            Err(_) => Err(invalid("token format isn't proper")),
        }
    }
}

fn der(pem: &str) -> Option<Vec<u8>> {
    CertificateDer::from_pem_slice(pem.as_bytes()).ok().map(|der| der.to_vec())
}

fn invalid(why: &str) -> Fault {
    (50027, format!("Invalid JWT token: {why}."))
}
