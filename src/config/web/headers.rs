//! `http_server_config.headers`: the five headers that may be set.

use http::header::{
    CONTENT_SECURITY_POLICY, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS, X_XSS_PROTECTION,
};
use http::{HeaderName, HeaderValue};

use super::raw;
use crate::config::Error;
use crate::config::block::Place;
use crate::config::rules::{Checked, one_of};

/// A long policy has some 2 KiB, and every answer carries it.
const MAX_VALUE_BYTES: usize = 4096;

/// The headers that are given. A blank value leaves the header unset.
pub(super) fn headers(raw: &raw::Headers, place: &Place) -> Result<Vec<(HeaderName, HeaderValue)>, Error> {
    type Rule = fn(&str) -> Checked<()>;
    let known: [(&str, HeaderName, _, Rule); 5] = [
        ("Content-Security-Policy", CONTENT_SECURITY_POLICY, &raw.content_security_policy, |_| Ok(())),
        ("X-Frame-Options", X_FRAME_OPTIONS, &raw.x_frame_options, |text| {
            one_of(text, &[("deny", ()), ("sameorigin", ())])
        }),
        ("X-Content-Type-Options", X_CONTENT_TYPE_OPTIONS, &raw.x_content_type_options, |text| {
            one_of(text, &[("nosniff", ())])
        }),
        ("X-XSS-Protection", X_XSS_PROTECTION, &raw.x_xss_protection, |_| Ok(())),
        ("Strict-Transport-Security", STRICT_TRANSPORT_SECURITY, &raw.strict_transport_security, transport_security),
    ];
    let mut headers = Vec::new();
    for (key, name, typed, rule) in known {
        let value = place.optional(key, typed, |text| {
            let text = text.trim();
            if text.is_empty() { Ok(None) } else { rule(text).and_then(|()| value(text)).map(Some) }
        })?;
        headers.extend(value.flatten().map(|value| (name, value)));
    }
    Ok(headers)
}

fn value(text: &str) -> Checked<HeaderValue> {
    if text.len() > MAX_VALUE_BYTES {
        return Err(format!("longer than {MAX_VALUE_BYTES} bytes; shorten it"));
    }
    let plain = text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    HeaderValue::from_str(text)
        .ok()
        .filter(|_| plain)
        .ok_or_else(|| "not a header's value; write printable ASCII on one line".to_owned())
}

/// RFC 6797, §6.1: directives between semicolons, each at most once, one of them `max-age=SECONDS`.
/// Browsers ignore the header where this does not hold.
fn transport_security(text: &str) -> Checked<()> {
    const REMEDY: &str = "write it as max-age=31536000 or max-age=31536000; includeSubDomains";
    let mut seen = Vec::new();
    let mut max_age = false;
    for directive in text.split(';').map(str::trim).filter(|directive| !directive.is_empty()) {
        let (name, value) = match directive.split_once('=') {
            Some((name, value)) => (name.trim_end(), Some(value.trim_start())),
            None => (directive, None),
        };
        let name = name.to_ascii_lowercase();
        match (name.as_str(), value) {
            ("max-age", Some(value)) => {
                let seconds = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
                if seconds.is_empty() || !seconds.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(format!("max-age is no whole number of seconds; {REMEDY}"));
                }
                max_age = true;
            }
            ("includesubdomains" | "preload", None) => {}
            _ => return Err(format!("a directive that browsers do not know; {REMEDY}")),
        }
        if seen.contains(&name) {
            return Err(format!("a directive stands here twice, so browsers ignore all; {REMEDY}"));
        }
        seen.push(name);
    }
    if max_age { Ok(()) } else { Err(format!("without max-age, so browsers ignore it; {REMEDY}")) }
}
