//! The rules for single values of the web configuration. No message quotes what was typed.

use std::time::Duration;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{ClientAuth, TlsVersion};
use crate::config::rules::{Checked, one_of};

/// A token that falls in later than this is none.
const MAX_INTERVAL: Duration = Duration::from_secs(86_400);

/// `client_auth_type`.
pub(super) fn client_auth(text: &str) -> Checked<ClientAuth> {
    /// Go's first name for it, which the toolkit still takes.
    const FORMER: &str = "RequireClientCert";
    let known = [
        ("NoClientCert", ClientAuth::None),
        ("RequestClientCert", ClientAuth::Request),
        ("RequireAnyClientCert", ClientAuth::RequireAny),
        ("VerifyClientCertIfGiven", ClientAuth::VerifyIfGiven),
        ("RequireAndVerifyClientCert", ClientAuth::RequireAndVerify),
    ];
    if text == FORMER { Ok(ClientAuth::RequireAny) } else { one_of(text, &known) }
}

/// `min_version` and `max_version`.
pub(super) fn version(text: &str) -> Checked<TlsVersion> {
    if let Some(name) = ["TLS10", "TLS11"].into_iter().find(|name| *name == text) {
        return Err(format!("rustls has no {name}, which is broken; choose TLS12 or TLS13"));
    }
    one_of(text, &[("TLS12", TlsVersion::Tls12), ("TLS13", TlsVersion::Tls13)])
}

/// An item of `client_allowed_sans`.
pub(super) fn san(text: &str) -> Checked<String> {
    if text.is_empty() || text.trim() != text || text.chars().any(char::is_control) {
        Err("not a name; give a DNS name, IP address, e-mail address or URI as the certificate has it".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

/// Certificates in PEM form.
pub(super) fn certificates(text: &[u8]) -> Checked<()> {
    let mut found = CertificateDer::pem_slice_iter(text).peekable();
    if found.peek().is_none() || found.any(|certificate| certificate.is_err()) {
        return Err("holds no readable certificate; give certificates in PEM form".to_owned());
    }
    Ok(())
}

/// A private key in PEM form.
pub(super) fn key(text: &[u8]) -> Checked<()> {
    const ENCRYPTED: &[u8] = b"ENCRYPTED";
    match PrivateKeyDer::from_pem_slice(text) {
        _ if text.windows(ENCRYPTED.len()).any(|part| part == ENCRYPTED) => {
            Err("holds an encrypted key, and nobody is there to give its password; decrypt it".to_owned())
        }
        Ok(_) => Ok(()),
        Err(pem::Error::NoItemsFound) => Err("holds no private key; give one in PEM form".to_owned()),
        Err(_) => Err("holds no readable private key; give one in PEM form".to_owned()),
    }
}

/// `rate_limit.interval`, as Go writes durations; 0 for none.
pub(super) fn interval(text: &str) -> Checked<Option<Duration>> {
    let Some(interval) = go_duration(text) else {
        return Err("not a duration; write it as 100ms, 1s or 1m30s, or 0 for no limit".to_owned());
    };
    if interval > MAX_INTERVAL {
        return Err("longer than a day; choose a shorter one, or 0 for no limit".to_owned());
    }
    Ok((!interval.is_zero()).then_some(interval))
}

/// Decimal numbers with units, in any order, as Go's `time.ParseDuration` reads them; not negative.
fn go_duration(text: &str) -> Option<Duration> {
    /// In nanoseconds. Longer names first where one begins as another.
    const UNITS: &[(&str, f64)] =
        &[("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("μs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut nanoseconds = 0.0;
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?);
        let (unit, after) = after.split_at(after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len()));
        let (_, length) = UNITS.iter().find(|(name, _)| *name == unit)?;
        nanoseconds += number.parse::<f64>().ok()? * length;
        rest = after;
    }
    (!text.is_empty()).then(|| Duration::try_from_secs_f64(nanoseconds / 1e9).ok()).flatten()
}
