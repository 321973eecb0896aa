//! What the fuzz targets do with an input: it is decoded, and what must be true of the outcome is
//! asserted. A test of the main package runs them over the corpus, so they use nothing but its library.

use std::io::{Cursor, Read};
use std::time::Duration;

use remote_assistance_exporter::session::{MAX_ID_BYTES, SessionReport, parse_date};
use remote_assistance_exporter::source::columns::Columns;
use remote_assistance_exporter::source::graph::{Claims, error_text};
use remote_assistance_exporter::source::{Page, archive, enrollment, graph};
use serde_json::Value;

/// What is done with an input.
pub type Target = fn(&[u8]);

/// Every target by its name.
pub const ALL: &[(&str, Target)] = &[
    ("sessions_report", sessions_report),
    ("collection", collection),
    ("devices", devices),
    ("csv", csv),
    ("zip", zip),
    ("files", files),
    ("retry_after", retry_after),
    ("dates", dates),
    ("graph_errors", graph_errors),
    ("token_claims", token_claims),
    ("accept", accept),
    ("web_config", web_config),
];

/// The web configuration: one line tells what is wrong.
pub fn web_config(input: &[u8]) {
    use remote_assistance_exporter::config::WebConfig;
    let Ok(text) = std::str::from_utf8(input) else { return };
    match WebConfig::from_yaml(text, std::path::Path::new("web.yml")) {
        Ok(config) => {
            assert!(config.headers.len() <= 5);
            assert!(config.rate_limit.is_none_or(|rate| !rate.interval.is_zero()));
            assert!(!format!("{config:?}").contains("$2"), "no hash is shown");
        }
        Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
    }
}

/// A page of the sessions report.
pub fn sessions_report(input: &[u8]) {
    use remote_assistance_exporter::source::sessions_report::decode;
    let Ok(decoded) = decode(input, &Columns::default()) else { return };
    sound(&decoded.page);
    if let Some(body) = json(input) {
        let rows = body["Values"].as_array().map_or(0, Vec::len);
        assert_eq!(decoded.page.rows(), rows, "each row has one fate");
    }
}

/// A page of an OData collection.
pub fn collection(input: &[u8]) {
    use remote_assistance_exporter::source::collection::decode;
    let Ok(decoded) = decode(input) else { return };
    sound(&decoded.page);
    assert!(decoded.next_link.is_none_or(|link| !link.is_empty()));
    if let Some(body) = json(input) {
        // A member that stands there twice is read twice; this reader of JSON keeps the last one.
        let rows = body["value"].as_array().map_or(0, Vec::len);
        assert!(decoded.page.rows() >= rows, "each row has one fate");
    }
}

/// A page of devices.
pub fn devices(input: &[u8]) {
    let Ok(decoded) = enrollment::decode(input) else { return };
    assert!(decoded.devices.len() <= decoded.rows);
    if let Some(body) = json(input) {
        assert_eq!(decoded.rows, body["value"].as_array().map_or(0, Vec::len));
    }
}

/// The CSV of an export.
pub fn csv(input: &[u8]) {
    use remote_assistance_exporter::source::csv::{PAGE_ROWS, Rows, decode};
    let columns = Columns::default();
    let (page, fault) = decode(input, &columns);
    sound(&page);
    let lines = input.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count();
    assert!(page.rows() <= lines, "the header and each row end in a line of their own");
    // However the bytes arrive, they say the same.
    let (mut reports, mut rejects) = (Vec::new(), 0);
    let slow = Rows::new(Drops(input), &columns).and_then(|mut rows| {
        while let Some(page) = rows.next_page()? {
            assert!(page.rows() <= PAGE_ROWS);
            reports.extend(page.reports);
            rejects += page.rejects.len();
        }
        Ok(())
    });
    assert_eq!(slow.is_err(), fault.is_some());
    assert!(reports == page.reports && rejects == page.rejects.len());
}

/// The archive of an export.
pub fn zip(input: &[u8]) {
    let limits = archive::Limits { inflated: 4 << 20, ratio: 20 };
    let read = || -> Option<Vec<u8>> {
        let mut contents = Vec::new();
        let mut file = archive::open(Cursor::new(input), &limits).ok()?;
        assert!(file.read_to_end(&mut contents).is_ok(), "what was opened had been read to its end");
        Some(contents)
    };
    let contents = read();
    assert!(contents.as_ref().is_none_or(|contents| contents.len() as u64 <= limits.inflated));
    assert!(contents == read());
}

/// A file of a directory, whatever is in it.
pub fn files(input: &[u8]) {
    let (page, fault) = remote_assistance_exporter::source::files::decode(input, &Columns::default());
    sound(&page);
    if let Some(fault) = &fault {
        let text = fault.to_string();
        assert!(!text.chars().any(char::is_control) && text.len() < 20_000, "{text:?} is a line");
    }
    // An array is cut into rows by a scanner of our own, which must see what a reader of JSON sees.
    if let Some(Value::Array(rows)) = json(input) {
        assert!(fault.is_none(), "{fault:?}");
        assert_eq!(page.rows(), rows.len(), "each row has one fate");
    }
}

/// `Retry-After`; a second line is `Date`.
pub fn retry_after(input: &[u8]) {
    let mut headers = http::HeaderMap::new();
    let names = [http::header::RETRY_AFTER, http::header::DATE];
    for (name, value) in names.into_iter().zip(input.split(|byte| *byte == b'\n')) {
        if let Ok(value) = http::HeaderValue::from_bytes(value) {
            headers.insert(name, value);
        }
    }
    let asked = graph::retry_after(&headers);
    let text = headers.get(http::header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    match text.and_then(|text| text.trim().parse::<u32>().ok()) {
        Some(seconds) => assert_eq!(asked, Some(Duration::from_secs(seconds.into()))),
        None => assert!(asked.is_none() || text.is_some()),
    }
}

/// A date.
pub fn dates(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(Some(date)) = parse_date(text) {
        assert_eq!(parse_date(&date.to_rfc3339()), Ok(Some(date)), "what is written is read again");
    }
}

/// The body of an answer that is an error.
pub fn graph_errors(input: &[u8]) {
    if let Some(text) = error_text(input) {
        assert!(!text.is_empty() && !text.chars().any(char::is_control), "{text:?} is one line");
        assert!(text.chars().count() < 1000, "{text:?} is of bounded length");
    }
}

/// An access token.
pub fn token_claims(input: &[u8]) {
    let Some(claims) = std::str::from_utf8(input).ok().and_then(Claims::of) else { return };
    assert!(claims.roles.len() <= 200 && claims.scopes.len() <= 200);
    let texts = claims.roles.iter().chain(&claims.scopes).chain(&claims.appid).chain(&claims.tid).chain(&claims.aud);
    for text in texts {
        assert!(!text.chars().any(char::is_control) && text.chars().count() < 500, "{text:?}");
    }
}

/// `Accept`; a second line is `Accept-Encoding`.
pub fn accept(input: &[u8]) {
    use http::header::{ACCEPT, ACCEPT_ENCODING};
    use remote_assistance_exporter::exposition::{Encoding, Escaping, Format, Wanted};
    let mut headers = http::HeaderMap::new();
    for (name, value) in [ACCEPT, ACCEPT_ENCODING].into_iter().zip(input.split(|byte| *byte == b'\n')) {
        if let Ok(value) = http::HeaderValue::from_bytes(value) {
            headers.insert(name, value);
        }
    }
    let wanted = Wanted::from_headers(&headers);
    let content_type = wanted.format.content_type(wanted.escaping);
    let escapings = Escaping::ALL.iter().map(|scheme| Some(*scheme)).chain([None]);
    let mut known = Format::ALL.iter().flat_map(|format| escapings.clone().map(|scheme| format.content_type(scheme)));
    assert!(known.any(|known| known == content_type), "{content_type}");
    if !headers.contains_key(ACCEPT_ENCODING) {
        assert_eq!(wanted.encoding, Encoding::Identity);
    }
    // Whatever a header says, one that also names a type at the highest quality and first gets that type.
    for format in Format::ALL {
        let mut named = headers.clone();
        let before = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let accept = format!("{},{before}", format.content_type(None));
        if let Ok(value) = http::HeaderValue::from_str(&accept) {
            named.insert(ACCEPT, value);
            assert_eq!(Wanted::from_headers(&named).format, *format, "{accept}");
        }
    }
}

/// What is true of every page.
fn sound(page: &Page) {
    for SessionReport { id, .. } in &page.reports {
        assert!(!id.trim().is_empty() && id.len() <= MAX_ID_BYTES && !id.contains(char::REPLACEMENT_CHARACTER));
    }
    for reject in &page.rejects {
        assert!(!reject.to_string().contains(['\n', '\r']));
    }
}

/// The input as another reader of JSON sees it; `None` where it does not take it for JSON.
fn json(input: &[u8]) -> Option<Value> {
    let input = input.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(input);
    serde_json::from_str(&String::from_utf8_lossy(input)).ok()
}

/// Gives a byte at a time.
struct Drops<'a>(&'a [u8]);

impl Read for Drops<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match (self.0.split_first(), buffer.first_mut()) {
            (Some((byte, rest)), Some(place)) => {
                (*place, self.0) = (*byte, rest);
                Ok(1)
            }
            _ => Ok(0),
        }
    }
}
