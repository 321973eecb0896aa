//! The rules for single values: each takes what was typed and gives the value or the one message
//! that says what is wrong and how to put it right. No message quotes what was typed.

use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use url::Url;

use super::proxy::is_loopback;
use super::{FirstRun, HelperLabel, LogLevel, MAX_NAME_BYTES, duration};
use crate::session::Property;

/// What a rule gives.
pub(super) type Checked<T> = Result<T, String>;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

/// Below a second the service throttles at once; above a day a poll falls behind the service's own
/// delays, and `rate()` over an hour shows nothing.
const POLL_INTERVAL: RangeInclusive<Duration> = SECOND..=DAY;
/// Intune keeps 30 days, an archive may keep more; each day costs memory and disk for its ids.
const LOOKBACK: RangeInclusive<Duration> = MINUTE..=DAY.saturating_mul(365);
/// The devices are listed during a poll, so at most as often as there are polls; and a state that is
/// older than a month says little.
const ENROLLMENT_REFRESH_INTERVAL: RangeInclusive<Duration> = SECOND..=DAY.saturating_mul(30);
/// OData services cap `$top` at 999 or 1000.
pub(super) const PAGE_SIZE: RangeInclusive<u32> = 1..=1000;
/// A page a minute is the slowest that still reads a report within hours; beyond the upper bound there is
/// no limit to speak of.
const REQUESTS_PER_MINUTE: RangeInclusive<u32> = 1..=100_000;
/// The service takes seconds to minutes for a job. Three of the longest end within the four hours after
/// which a poll is abandoned.
const JOB_TIMEOUT: RangeInclusive<Duration> = MINUTE..=MINUTE.saturating_mul(60);
/// The report has 18 documented columns.
const MAX_SELECTED: usize = 100;
/// Each bucket is a series for each tenant and session type.
const MAX_BUCKETS: usize = 100;
/// Far longer than any address, column or id in use; keeps log lines and requests readable.
pub(super) const MAX_URL_BYTES: usize = 1024;
const MAX_COLUMN_BYTES: usize = 128;
/// A GUID has 36 characters, a domain at most 253.
const MAX_TENANT_ID_BYTES: usize = 253;
const MAX_CLIENT_ID_BYTES: usize = 128;

/// `poll_interval`.
pub(super) fn poll_interval(text: &str) -> Checked<Duration> {
    duration_within(text, &POLL_INTERVAL)
}

/// `lookback`.
pub(super) fn lookback(text: &str) -> Checked<Duration> {
    duration_within(text, &LOOKBACK)
}

/// `source.job_timeout`.
pub(super) fn job_timeout(text: &str) -> Checked<Duration> {
    duration_within(text, &JOB_TIMEOUT)
}

/// How many columns `source.select` has.
pub(super) fn select_length(columns: usize) -> Checked<()> {
    if (1..=MAX_SELECTED).contains(&columns) {
        Ok(())
    } else {
        Err(format!("has {columns} columns; name 1 to {MAX_SELECTED}, or remove it for the documented ones"))
    }
}

/// `enrollment_refresh_interval`.
pub(super) fn enrollment_refresh_interval(text: &str) -> Checked<Duration> {
    duration_within(text, &ENROLLMENT_REFRESH_INTERVAL)
}

/// A duration within bounds.
///
/// # Errors
/// What is wrong with it.
pub fn duration_within(text: &str, bounds: &RangeInclusive<Duration>) -> Result<Duration, String> {
    let Some(value) = duration::parse(text) else {
        return Err("not a duration; write it as 30s, 5m, 1h30m or 30d".to_owned());
    };
    if bounds.contains(&value) {
        return Ok(value);
    }
    let [from, to] = [bounds.start(), bounds.end()].map(|bound| duration::format(*bound));
    Err(format!("{} is out of bounds; choose {from} to {to}", duration::format(value)))
}

/// `first_run`.
pub(super) fn first_run(text: &str) -> Checked<FirstRun> {
    one_of(text, &[("count", FirstRun::Count), ("baseline", FirstRun::Baseline)])
}

/// `log.level`.
pub(super) fn log_level(text: &str) -> Checked<LogLevel> {
    one_of(text, &LogLevel::ALL.map(|level| (level.as_str(), level)))
}

/// `metrics.helper_label`.
pub(super) fn helper_label(text: &str) -> Checked<HelperLabel> {
    one_of(text, &[("off", HelperLabel::Off), ("hashed", HelperLabel::Hashed), ("plain", HelperLabel::Plain)])
}

/// A value from a closed set.
pub(super) fn one_of<T: Copy>(text: &str, known: &[(&str, T)]) -> Checked<T> {
    known.iter().find(|(name, _)| *name == text).map(|(_, value)| *value).ok_or_else(|| {
        let names = known.iter().map(|(name, _)| *name).collect::<Vec<_>>();
        format!("unknown; choose one of {}", names.join(", "))
    })
}

/// `name`: the value of a label and a key of the ledger.
pub(super) fn tenant_name(text: &str) -> Checked<&str> {
    if text.is_empty() {
        Err("empty; give the tenant a short name".to_owned())
    } else if text.len() > MAX_NAME_BYTES {
        Err(format!("longer than {MAX_NAME_BYTES} bytes; shorten it"))
    } else if text.chars().any(char::is_control) || text.trim() != text {
        Err("has control characters or spaces at its ends; remove them".to_owned())
    } else {
        Ok(text)
    }
}

/// `tenant_id`: it becomes a part of the token endpoint's path.
pub(super) fn tenant_id(text: &str) -> Checked<String> {
    /// Words that Entra takes in place of a tenant, for sign-in of people only.
    const SHARED: &[&str] = &["common", "organizations", "consumers"];
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    if SHARED.contains(&text) {
        Err("names no tenant; give the tenant's GUID or a verified domain".to_owned())
    } else if text.is_empty() || text.len() > MAX_TENANT_ID_BYTES || !text.chars().all(plain) {
        Err("not a tenant id; give the tenant's GUID or a verified domain".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

/// `client_id`.
pub(super) fn client_id(text: &str) -> Checked<String> {
    if text.is_empty() || text.len() > MAX_CLIENT_ID_BYTES || !text.chars().all(|c| c.is_ascii_graphic()) {
        Err("not a client id; give the application (client) id of the app registration, a GUID".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

/// `graph_url`: the only origin that ever sees the token.
pub(super) fn graph_url(text: &str) -> Checked<Url> {
    let url = origin(text)?;
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        "http" => Err("plain http would show the token to the network; use https".to_owned()),
        _ => Err("not a web address; write https:// and the host".to_owned()),
    }
}

/// `authority_url`: secrets are sent there, so it has to be https, on loopback too.
pub(super) fn authority_url(text: &str) -> Checked<Url> {
    let url = origin(text)?;
    if url.scheme() == "https" { Ok(url) } else { Err("secrets are sent there; use https".to_owned()) }
}

fn origin(text: &str) -> Checked<Url> {
    let address = (text.len() <= MAX_URL_BYTES).then(|| Url::parse(text).ok()).flatten();
    let Some(url) = address.filter(Url::has_host) else {
        return Err("not a web address; write https:// and the host".to_owned());
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a user or password; remove them".to_owned());
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(
            "has more than scheme, host and port; remove what follows them (paths belong into source.path)".to_owned()
        );
    }
    Ok(url)
}

/// `source.path`: joined to `graph_url`, and never able to lead away from it.
pub(super) fn path(text: &str) -> Checked<String> {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '?' | '#' | '\\');
    if !text.starts_with('/') || text.starts_with("//") {
        Err("not a path; start it with one slash".to_owned())
    } else if text.len() > MAX_URL_BYTES || !text.chars().all(plain) {
        Err(format!(
            "not a plain path; use at most {MAX_URL_BYTES} printable ASCII characters, and no query, fragment or backslash"
        ))
    } else if text.split('/').any(|segment| matches!(segment, "." | "..")) {
        Err("has a . or .. segment; write the path out".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

/// `source.directory`.
pub(super) fn directory(name: &str) -> Checked<&Path> {
    if name.is_empty() || name.contains('\0') {
        Err("not a directory's name; give the one that the files are dropped into".to_owned())
    } else {
        Ok(Path::new(name))
    }
}

/// `source.page_size`.
pub(super) fn page_size(rows: u32) -> Checked<u32> {
    if PAGE_SIZE.contains(&rows) {
        Ok(rows)
    } else {
        Err(format!("{rows} is out of bounds; choose {} to {}", PAGE_SIZE.start(), PAGE_SIZE.end()))
    }
}

/// `requests_per_minute`.
pub(super) fn requests_per_minute(number: u32) -> Checked<u32> {
    if REQUESTS_PER_MINUTE.contains(&number) {
        Ok(number)
    } else {
        let (from, to) = (REQUESTS_PER_MINUTE.start(), REQUESTS_PER_MINUTE.end());
        Err(format!("{number} is out of bounds; choose {from} to {to}"))
    }
}

/// A key of `source.columns`.
pub(super) fn property(name: &str) -> Checked<Property> {
    Property::from_name(name).ok_or_else(|| {
        let names = Property::ALL.iter().map(|property| property.name()).collect::<Vec<_>>();
        format!("an unknown property; known: {}", names.join(", "))
    })
}

/// A value of `source.columns`.
pub(super) fn column(text: &str) -> Checked<String> {
    if text.is_empty() || text.len() > MAX_COLUMN_BYTES || text.chars().any(char::is_control) {
        Err(format!("not a column's name; give 1 to {MAX_COLUMN_BYTES} bytes without control characters"))
    } else {
        Ok(text.to_owned())
    }
}

/// `metrics.duration_buckets`.
pub(super) fn buckets(bounds: &[f64]) -> Checked<Vec<f64>> {
    if bounds.is_empty() || bounds.len() > MAX_BUCKETS {
        Err(format!("has {} bounds; give 1 to {MAX_BUCKETS}", bounds.len()))
    } else if !bounds.iter().all(|bound| bound.is_finite() && *bound > 0.0) {
        Err("bounds are positive numbers of seconds; leave out +Inf, it is always there".to_owned())
    } else if !bounds.is_sorted_by(|one, next| one < next) {
        Err("bounds have to rise; sort them and remove doubles".to_owned())
    } else {
        Ok(bounds.to_vec())
    }
}
