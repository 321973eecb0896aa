//! From what was typed to [`WebConfig`].

use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;

use serde_saphyr::Spanned;

use super::raw::{self, List};
use super::{
    CipherSuite, ClientAuth, Curve, PasswordHash, PemSource, RateLimit, TlsConfig, TlsVersion, User, WebConfig,
};
use super::{headers, rules, users};
use crate::config::block::Place;
use crate::config::raw::Key;
use crate::config::rules::Checked;
use crate::config::{Error, MAX_CERTIFICATES_BYTES, files};

/// Basic authentication is for a few scrapers and people; more want a proxy that knows them.
const MAX_USERS: usize = 1000;
/// A larger bucket is no limit; and of the longest intervals it holds no more than can be reckoned with.
const MAX_BURST: u32 = 100_000;
/// Far more than the clients that read one exporter.
const MAX_SANS: usize = 1000;

/// Applies every rule. Files are relative to `base`.
pub(super) fn document(raw: &raw::Document, base: &Path) -> Result<WebConfig, Error> {
    let root = Place { key: String::new(), line: 0 };
    let mut config = WebConfig::default();
    if let Some(block) = &raw.tls_server_config {
        config.tls = tls(&block.value, &root.child("tls_server_config", block), base)?;
    }
    if let Some(block) = &raw.http_server_config {
        let place = root.child("http_server_config", block);
        if let Some(headers) = &block.value.headers {
            config.headers = headers::headers(&headers.value, &place.child("headers", headers))?;
        }
        if let Some(http2) = &block.value.http2 {
            config.http2 = http2.value;
        }
    }
    if let Some(block) = &raw.basic_auth_users {
        config.users = basic_auth_users(&block.value, &root.child("basic_auth_users", block))?;
    }
    if let Some(block) = &raw.rate_limit {
        config.rate_limit = rate_limit(&block.value, &root.child("rate_limit", block))?;
    }
    Ok(config)
}

/// A block without any key is none.
fn tls(raw: &raw::Tls, place: &Place, base: &Path) -> Result<Option<TlsConfig>, Error> {
    if is_blank(raw) {
        return Ok(None);
    }
    let certificates: fn(&[u8]) -> Checked<()> = rules::certificates;
    let certificate = pem(("cert_file", &raw.cert_file), ("cert", &raw.cert), certificates, place, base)?;
    let key = pem(("key_file", &raw.key_file), ("key", &raw.key), rules::key, place, base)?;
    let authorities =
        pem(("client_ca_file", &raw.client_ca_file), ("client_ca", &raw.client_ca), certificates, place, base)?;
    let (Some(certificate), Some(key)) = (&certificate, &key) else {
        let (file, inline) = if certificate.is_none() { ("cert_file", "cert") } else { ("key_file", "key") };
        return Err(place.missing(file, &format!("TLS needs it: add it, or {inline}")));
    };
    let client_auth =
        place.optional("client_auth_type", &raw.client_auth_type, |name| rules::client_auth(name))?.unwrap_or_default();
    let min_version = place.optional("min_version", &raw.min_version, |name| rules::version(name))?;
    let max_version = place.optional("max_version", &raw.max_version, |name| rules::version(name))?;
    let (min_version, max_version) =
        (min_version.unwrap_or(TlsVersion::Tls12), max_version.unwrap_or(TlsVersion::Tls13));
    if min_version > max_version {
        return Err(place.error("min_version is above max_version; exchange them"));
    }
    Ok(Some(TlsConfig {
        certificate: certificate.clone(),
        key: key.clone(),
        client_auth,
        client_authorities: client_authorities(raw, authorities, client_auth, place)?,
        client_allowed_sans: allowed_sans(&raw.client_allowed_sans, client_auth, place)?,
        min_version,
        max_version,
        cipher_suites: cipher_suites(&raw.cipher_suites, min_version, place)?,
        prefer_server_cipher_suites: raw.prefer_server_cipher_suites.as_ref().is_none_or(|prefer| prefer.value),
        curves: list("curve_preferences", &raw.curve_preferences, place, Curve::parse)?,
    }))
}

fn is_blank(raw: &raw::Tls) -> bool {
    let texts = [
        &raw.cert_file,
        &raw.key_file,
        &raw.cert,
        &raw.key,
        &raw.client_auth_type,
        &raw.client_ca_file,
        &raw.client_ca,
        &raw.min_version,
        &raw.max_version,
    ];
    let lists = [&raw.client_allowed_sans, &raw.cipher_suites, &raw.curve_preferences];
    texts.iter().all(|key| key.is_none())
        && lists.iter().all(|key| key.is_none())
        && raw.prefer_server_cipher_suites.is_none()
}

/// PEM text by one of two keys.
fn pem(
    (file_key, file): (&str, &Key<String>),
    (inline_key, inline): (&str, &Key<String>),
    rule: fn(&[u8]) -> Checked<()>,
    place: &Place,
    base: &Path,
) -> Result<Option<PemSource>, Error> {
    if let (Some(file), Some(_)) = (file, inline) {
        let problem = format!("{inline_key} is given as well; remove one of the two");
        return Err(place.child(file_key, file).error(problem));
    }
    let in_file = place.optional(file_key, file, |name| {
        let (path, bytes) = files::read(name, base, MAX_CERTIFICATES_BYTES)?;
        rule(&bytes).map_err(|problem| format!("the file {problem}"))?;
        Ok(PemSource::File(path))
    })?;
    let inline = place.optional(inline_key, inline, |text| {
        rule(text.as_bytes())?;
        Ok(PemSource::Inline(Arc::from(text.as_str())))
    })?;
    Ok(in_file.or(inline))
}

/// Those that verify need authorities, and the others would let in whom none of them knows.
fn client_authorities(
    raw: &raw::Tls,
    authorities: Option<PemSource>,
    client_auth: ClientAuth,
    place: &Place,
) -> Result<Option<PemSource>, Error> {
    let given = [("client_ca_file", &raw.client_ca_file), ("client_ca", &raw.client_ca)];
    let given = given.into_iter().find_map(|(name, key)| key.as_ref().map(|value| place.child(name, value)));
    match given {
        None if client_auth.verifies() => {
            Err(place.missing("client_ca_file", "client_auth_type verifies by it: add it, or client_ca"))
        }
        Some(place) if !client_auth.verifies() => Err(place.error(
            "client_auth_type lets in clients that it does not know; set that to RequireAndVerifyClientCert or VerifyClientCertIfGiven",
        )),
        _ => Ok(authorities),
    }
}

fn allowed_sans(raw: &List, client_auth: ClientAuth, place: &Place) -> Result<Vec<String>, Error> {
    let Some(typed) = raw else { return Ok(Vec::new()) };
    let own = place.child("client_allowed_sans", typed);
    if typed.value.is_empty() || typed.value.len() > MAX_SANS {
        return Err(own.error(format!(
            "has {} names; give 1 to {MAX_SANS}, or remove it to let in every client that is verified",
            typed.value.len()
        )));
    }
    if !client_auth.verifies() {
        return Err(own.error(
            "whoever makes a certificate writes what names he likes unless it is verified; set client_auth_type to RequireAndVerifyClientCert",
        ));
    }
    list("client_allowed_sans", raw, place, rules::san)
}

/// Those of TLS 1.3 are always on: they are taken, as the toolkit does, and have no effect.
fn cipher_suites(raw: &List, min_version: TlsVersion, place: &Place) -> Result<Vec<CipherSuite>, Error> {
    let typed: Vec<_> = list("cipher_suites", raw, place, CipherSuite::parse)?;
    let suites: Vec<_> = typed.iter().copied().flatten().collect();
    match raw {
        Some(key) if suites.is_empty() && !typed.is_empty() && min_version < TlsVersion::Tls13 => {
            Err(place.child("cipher_suites", key).error(
                "names suites of TLS 1.3 only, which are always on; name some of TLS 1.2 as well, or set min_version to TLS13",
            ))
        }
        _ => Ok(suites),
    }
}

/// The items of a list by their rule, each value once.
fn list<T: PartialEq>(
    name: &str,
    key: &List,
    place: &Place,
    rule: impl Fn(&str) -> Checked<T>,
) -> Result<Vec<T>, Error> {
    let mut values = Vec::new();
    let items = key.iter().flat_map(|list| list.value.iter().enumerate());
    for (index, item) in items {
        let value = place.child(&format!("{name}[{index}]"), item).check(rule(&item.value))?;
        if !values.contains(&value) {
            values.push(value);
        }
    }
    Ok(values)
}

/// Names are not shown: a line that lacks its name has something else in the name's place.
fn basic_auth_users(
    raw: &std::collections::BTreeMap<String, Spanned<String>>,
    place: &Place,
) -> Result<Vec<User>, Error> {
    if raw.len() > MAX_USERS {
        let problem = format!("{} users; at most {MAX_USERS}, use client certificates or a proxy for more", raw.len());
        return Err(place.error(problem));
    }
    let user = |(name, hash): (&String, &Spanned<String>)| {
        let here = Place { key: place.key.clone(), line: hash.referenced.line() };
        here.check(users::name(name))?;
        Ok(User { name: Arc::from(name.as_str()), hash: here.check(PasswordHash::parse(&hash.value))? })
    };
    raw.iter().map(user).collect()
}

fn rate_limit(raw: &raw::RateLimit, place: &Place) -> Result<Option<RateLimit>, Error> {
    let interval = place.optional("interval", &raw.interval, |text| rules::interval(text))?.flatten();
    let Some(interval) = interval else { return Ok(None) };
    let burst = place.optional("burst", &raw.burst, |burst| {
        NonZeroU32::new(*burst)
            .filter(|burst| burst.get() <= MAX_BURST)
            .ok_or_else(|| format!("out of bounds; choose 1 to {MAX_BURST}"))
    })?;
    let burst = burst.ok_or_else(|| place.missing("burst", "without it every request would be refused, add it"))?;
    Ok(Some(RateLimit { interval, burst }))
}
