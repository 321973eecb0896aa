//! Which format and encoding a request asks for (RFC 9110, §12.5).
//!
//! A format is chosen only where a range names it with its version; wildcards mean text 0.0.4, which
//! is also the answer to everything that cannot be read or met: a scraper that gets something
//! it may understand is better off than one that gets 406.

use std::borrow::Cow;

use http::HeaderMap;
use http::header::{ACCEPT, ACCEPT_ENCODING, AsHeaderName};
use mediatype::{MediaType, MediaTypeList, Name, ReadParams};

use super::{Encoding, Escaping, Format};

/// More ranges than these are not read: no scraper sends more than six.
const MAX_RANGES: usize = 32;

/// What a scraper wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// By `Accept`.
    pub format: Format,
    /// By the parameter `escaping` of the range in `Accept` that decided.
    pub escaping: Option<Escaping>,
    /// By `Accept-Encoding`.
    pub encoding: Encoding,
}

impl Wanted {
    /// What the headers of a request ask for.
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let (format, escaping) = joined(headers, ACCEPT).map_or_else(Default::default, |accept| format(&accept));
        let encoding = joined(headers, ACCEPT_ENCODING).map_or_else(Default::default, |encodings| encoding(&encodings));
        Self { format, escaping, encoding }
    }
}

/// A header's lines as one list. A line that is not ASCII is left out; `None` where there is no other.
fn joined(headers: &HeaderMap, name: impl AsHeaderName) -> Option<Cow<'_, str>> {
    let mut lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
    let first = Cow::Borrowed(lines.next()?);
    Some(lines.fold(first, |joined, line| format!("{joined},{line}").into()))
}

/// The format of the highest quality; among equals the one that is named more precisely than by a
/// wildcard, then the one that is named first.
fn format(accept: &str) -> (Format, Option<Escaping>) {
    let mut best = (0, 0, Format::default(), None);
    for range in MediaTypeList::new(accept).take(MAX_RANGES).filter_map(Result::ok) {
        if let Some((format, precision)) = named(&range) {
            let quality = range.get_param(Q).map_or(Some(QUALITY_MAX), |q| quality(q.as_str())).unwrap_or(0);
            if quality > 0 && (quality, precision) > (best.0, best.1) {
                best = (quality, precision, format, escaping(&range));
            }
        }
    }
    (best.2, best.3)
}

const Q: Name<'_> = Name::new_unchecked("q");
const VERSION: Name<'_> = Name::new_unchecked("version");
const ESCAPING: Name<'_> = Name::new_unchecked("escaping");
const PROTO: Name<'_> = Name::new_unchecked("proto");
const PROTO_ENCODING: Name<'_> = Name::new_unchecked("encoding");

/// The format that a range names, and how precisely: 0 by a wildcard, 1 by its type.
fn named(range: &MediaType<'_>) -> Option<(Format, u8)> {
    let version = range.get_param(VERSION);
    let version = version.as_ref().map(|version| version.unquoted_str());
    let (ty, subtype) = (range.ty.as_str().to_ascii_lowercase(), range.subty.as_str().to_ascii_lowercase());
    match (&*ty, &*subtype, version.as_deref()) {
        ("application", "vnd.google.protobuf", _) if is_delimited(range) => Some((Format::Protobuf, 1)),
        ("application", "openmetrics-text", Some("1.0.0") | None) => Some((Format::OpenMetrics, 1)),
        ("application", "openmetrics-text", Some("0.0.1")) => Some((Format::OpenMetricsDraft, 1)),
        ("text", "plain", Some("1.0.0")) => Some((Format::Text1, 1)),
        ("text", "plain", Some("0.0.4") | None) => Some((Format::Text, 1)),
        ("*" | "text", "*", _) => Some((Format::Text, 0)),
        _ => None,
    }
}

/// Whether a protobuf range asks for delimited messages, the one encoding that scrapers use.
fn is_delimited(range: &MediaType<'_>) -> bool {
    let is = |name, wanted: &str| range.get_param(name).is_some_and(|value| value.unquoted_str() == wanted);
    is(PROTO, "io.prometheus.client.MetricFamily") && is(PROTO_ENCODING, "delimited")
}

/// A scheme that nobody knows is as good as none.
fn escaping(range: &MediaType<'_>) -> Option<Escaping> {
    let asked = range.get_param(ESCAPING)?;
    let asked = asked.unquoted_str();
    Escaping::ALL.iter().copied().find(|scheme| scheme.as_str() == asked)
}

/// gzip where it is wanted at least as much as no packing at all. Packing of which nothing is said
/// is not wanted, unless leaving it out is refused.
fn encoding(accept_encoding: &str) -> Encoding {
    let (mut gzip, mut identity, mut wildcard) = (None, None, None);
    for item in accept_encoding.split(',').take(MAX_RANGES) {
        let mut parts = item.split(';').map(str::trim);
        let coding = parts.next().unwrap_or_default().to_ascii_lowercase();
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let quality = weight.map_or(Some(QUALITY_MAX), quality).unwrap_or(0);
        match &*coding {
            "gzip" | "x-gzip" => gzip = Some(quality),
            "identity" => identity = Some(quality),
            "*" => wildcard = Some(quality),
            _ => {}
        }
    }
    let gzip = gzip.or(wildcard);
    // Unless it is refused, no packing is always acceptable, and the last choice.
    let unpacked = identity.or(wildcard.filter(|quality| *quality == 0));
    match (gzip, unpacked) {
        (Some(0), _) => Encoding::Identity,
        (Some(gzip), unpacked) if gzip >= unpacked.unwrap_or(0) => Encoding::Gzip,
        (None, Some(0)) => Encoding::Gzip,
        _ => Encoding::Identity,
    }
}

const QUALITY_MAX: u16 = 1000;

/// A quality in thousandths: `0`, `0.5`, `1.000`. Anything else is `None`.
fn quality(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let thousandths: u16 = format!("{decimals:0<3}").parse().ok()?;
    match (whole, thousandths) {
        ("0", thousandths) => Some(thousandths),
        ("1", 0) => Some(QUALITY_MAX),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    const PROTO: &str = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
    const PROTO_TYPE: &str =
        "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";
    const OPENMETRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    const TEXT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

    fn answered(accept: &str) -> String {
        let (format, escaping) = format(accept);
        format.content_type(escaping).into_owned()
    }

    /// Each release of Prometheus by what it sends, and what it is answered.
    #[test]
    fn what_prometheus_sends() {
        const OM: &str = "application/openmetrics-text;version=1.0.0";
        const OM0: &str = "application/openmetrics-text;version=0.0.1";
        const TEXT: &str = "text/plain;version=0.0.4";
        const TEXT1: &str = "text/plain;version=1.0.0";
        let utf8 = ";escaping=allow-utf-8";
        let proto_utf8 = format!("{PROTO_TYPE}; escaping=allow-utf-8");
        let openmetrics_utf8 = format!("{OPENMETRICS_TYPE}; escaping=allow-utf-8");
        for (release, accept, wanted) in [
            ("2.0", format!("{TEXT};q=1,*/*;q=0.1"), TEXT_TYPE),
            (
                "2.5",
                format!("application/openmetrics-text; version=0.0.1,{TEXT};q=0.5,*/*;q=0.1"),
                "application/openmetrics-text; version=0.0.1; charset=utf-8",
            ),
            ("2.42", format!("{OM},{OM0};q=0.75,{TEXT};q=0.5,*/*;q=0.1"), OPENMETRICS_TYPE),
            ("2.42 native", format!("{PROTO},{OM};q=0.8,{OM0};q=0.75,{TEXT};q=0.5,*/*;q=0.1"), PROTO_TYPE),
            // Its wildcard has a quality that is none.
            ("2.49.0", format!("{OM};q=0.5,{OM0};q=0.4,{TEXT};q=0.3,*/*;q=2"), OPENMETRICS_TYPE),
            // Its wildcard outdoes all that it names, by a mistake that the next release mended.
            ("2.49.0 native", format!("{PROTO};q=0.5,{OM};q=0.4,{OM0};q=0.3,{TEXT};q=0.2,*/*;q=1"), TEXT_TYPE),
            ("2.53", format!("{OM};q=0.5,{OM0};q=0.4,{TEXT};q=0.3,*/*;q=0.2"), OPENMETRICS_TYPE),
            ("2.53 native", format!("{PROTO};q=0.5,{OM};q=0.4,{OM0};q=0.3,{TEXT};q=0.2,*/*;q=0.1"), PROTO_TYPE),
            (
                // With names beyond ASCII, every type has the scheme, text 1.0.0 even twice.
                "3.0",
                format!("{OM}{utf8};q=0.6,{OM0}{utf8};q=0.5,{TEXT1}{utf8}{utf8};q=0.4,{TEXT}{utf8};q=0.3,*/*;q=0.2"),
                &openmetrics_utf8,
            ),
            (
                "3.0 native",
                format!(
                    "{PROTO}{utf8};q=0.6,{OM}{utf8};q=0.5,{OM0}{utf8};q=0.4,{TEXT1}{utf8}{utf8};q=0.3,{TEXT}{utf8};q=0.2,*/*;q=0.1"
                ),
                &proto_utf8,
            ),
            (
                "3.9",
                format!("{OM}{utf8};q=0.6,{OM0};q=0.5,{TEXT1}{utf8};q=0.4,{TEXT};q=0.3,*/*;q=0.2"),
                &openmetrics_utf8,
            ),
            (
                "3.9 legacy names",
                format!("{OM};escaping=underscores;q=0.6,{OM0};q=0.5,{TEXT1};escaping=underscores;q=0.4,*/*;q=0.3"),
                &format!("{OPENMETRICS_TYPE}; escaping=underscores"),
            ),
            (
                "3.9 native",
                format!("{PROTO};q=0.6,{OM}{utf8};q=0.5,{OM0};q=0.4,{TEXT1}{utf8};q=0.3,{TEXT};q=0.2,*/*;q=0.1"),
                PROTO_TYPE,
            ),
            (
                "3.9 text 1.0.0 alone",
                format!("{TEXT1}{utf8};q=0.6,*/*;q=0.5"),
                "text/plain; version=1.0.0; charset=utf-8; escaping=allow-utf-8",
            ),
            (
                "3.9 text 1.0.0 with dots",
                format!("{TEXT1};escaping=dots;q=0.6,*/*;q=0.5"),
                "text/plain; version=1.0.0; charset=utf-8; escaping=dots",
            ),
            ("3.9 text 0.0.4 alone", format!("{TEXT};q=0.6,*/*;q=0.5"), TEXT_TYPE),
        ] {
            assert_eq!(answered(&accept), *wanted, "{release}: {accept}");
        }
    }

    #[test]
    fn what_others_send_gets_the_text_that_everything_reads() {
        for accept in [
            "",
            "*/*",
            "text/*",
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "application/json",
            "image/png;q=1",
            ";;;,,q=,=/=",
            "\u{1}/\u{2}",
            "*",
            "text",
            // Refused, and nothing else named: better what it may understand than 406.
            "text/plain;version=0.0.4;q=0",
            "*/*;q=0",
            "application/openmetrics-text;version=1.0.0;q=0.0,*/*;q=0.1",
        ] {
            assert_eq!(answered(accept), TEXT_TYPE, "{accept}");
        }
        let refused = format!("{PROTO};q=0,application/openmetrics-text;version=1.0.0;q=0.001");
        assert_eq!(answered(&refused), OPENMETRICS_TYPE);
    }

    #[test]
    fn quality_decides_then_precision_then_order() {
        for (accept, wanted) in [
            ("application/openmetrics-text;q=0.4,text/plain;q=0.5", Format::Text),
            ("text/plain;q=0.5, application/openmetrics-text;q=0.51", Format::OpenMetrics),
            ("application/openmetrics-text,text/plain", Format::OpenMetrics),
            ("text/plain,application/openmetrics-text", Format::Text),
            ("*/*, application/openmetrics-text", Format::OpenMetrics),
            ("application/openmetrics-text;q=0", Format::Text),
            ("application/openmetrics-text;q=0, text/plain;q=0.1", Format::Text),
            ("APPLICATION/OpenMetrics-Text; Version=\"1.0.0\"; Q=0.9, text/plain;q=0.8", Format::OpenMetrics),
            ("application/*", Format::Text),
            ("image/png", Format::Text),
            // Versions that nobody speaks.
            ("text/plain;version=2.0.0", Format::Text),
            ("text/plain;version=1.0.0", Format::Text1),
            ("text/plain;version=0.0.4;q=0.2, text/plain;version=1.0.0;q=0.3", Format::Text1),
            // Protobuf that is text, or of another message.
            ("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text", Format::Text),
            ("application/vnd.google.protobuf;proto=other.Message;encoding=delimited", Format::Text),
            ("application/vnd.google.protobuf", Format::Text),
            ("application/openmetrics-text;version=2.0.0, text/plain;q=0.1", Format::Text),
            // Nonsense is skipped, and the rest is read.
            ("openmetrics, , application/openmetrics-text;q=1", Format::OpenMetrics),
            ("application/openmetrics-text;q=high, text/plain;q=0.1", Format::Text),
            ("text/plain;note=\"application/openmetrics-text\"", Format::Text),
        ] {
            assert_eq!(format(accept).0, wanted, "{accept}");
        }
    }

    #[test]
    fn the_escaping_of_the_range_that_decides_holds() {
        for (accept, wanted) in [
            ("text/plain;version=1.0.0;escaping=allow-utf-8", Some(Escaping::AllowUtf8)),
            ("text/plain;version=1.0.0;escaping=\"dots\"", Some(Escaping::Dots)),
            (
                "text/plain;version=1.0.0;escaping=dots;q=0.4,application/openmetrics-text;escaping=values",
                Some(Escaping::Values),
            ),
            ("application/openmetrics-text;escaping=underscores", Some(Escaping::Underscores)),
            ("text/plain;version=1.0.0;escaping=runes", None),
            ("text/plain;version=1.0.0", None),
        ] {
            assert_eq!(format(accept).1, wanted, "{accept}");
        }
    }

    #[test]
    fn encodings() {
        for (accept, wanted) in [
            ("gzip", Encoding::Gzip),
            ("deflate, gzip;q=1.0, *;q=0.5", Encoding::Gzip),
            ("gzip;q=0.5", Encoding::Gzip),
            ("x-gzip", Encoding::Gzip),
            ("GZIP ; q=0.8 , identity;q=0.8", Encoding::Gzip),
            ("*", Encoding::Gzip),
            ("*;q=0.1, identity;q=0", Encoding::Gzip),
            ("identity;q=0", Encoding::Gzip),
            ("", Encoding::Identity),
            ("identity", Encoding::Identity),
            ("gzip;q=0", Encoding::Identity),
            ("gzip;q=0, *", Encoding::Identity),
            ("gzip;q=0.000", Encoding::Identity),
            ("gzip;q=0.5, identity", Encoding::Identity),
            ("gzip;q=0.5, identity;q=0.6", Encoding::Identity),
            ("*;q=0", Encoding::Identity),
            ("br, zstd", Encoding::Identity),
            ("gzipped", Encoding::Identity),
            ("gzip;q=2", Encoding::Identity),
            ("gzip;q=0, identity;q=0", Encoding::Identity),
            ("*;q=0, gzip", Encoding::Gzip),
            ("identity;q=0.5, *;q=0.5", Encoding::Gzip),
            (";;q=,,=", Encoding::Identity),
        ] {
            assert_eq!(encoding(accept), wanted, "{accept}");
        }
    }

    #[test]
    fn qualities() {
        for (text, thousandths) in
            [("0", Some(0)), ("1", Some(1000)), ("0.5", Some(500)), ("0.125", Some(125)), ("1.000", Some(1000))]
        {
            assert_eq!(quality(text), thousandths, "{text}");
        }
        for text in ["", "-1", "1.1", "0.1234", "2", "+1", "0,5", "NaN", ".5"] {
            assert_eq!(quality(text), None, "{text}");
        }
    }

    #[test]
    fn several_lines_are_one_list() {
        let mut headers = HeaderMap::new();
        let mut add = |name: HeaderName, value: &[u8]| headers.append(name, HeaderValue::from_bytes(value).unwrap());
        add(ACCEPT, b"text/plain;q=0.1");
        add(ACCEPT, b"f\xfcr alle");
        add(ACCEPT, b"application/openmetrics-text");
        add(ACCEPT_ENCODING, b"br");
        add(ACCEPT_ENCODING, b"gzip");
        let wanted = Wanted::from_headers(&headers);
        assert_eq!(wanted, Wanted { format: Format::OpenMetrics, escaping: None, encoding: Encoding::Gzip });
        assert_eq!(Wanted::from_headers(&HeaderMap::new()), Wanted::default());
    }
}
