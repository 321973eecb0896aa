//! The sessions as an OData collection, paged by `@odata.nextLink`. Graph publishes none: this is
//! what a gateway in front of it would serve.

use super::properties::{PROPERTIES, Property};
use super::row::{Broken, Shown};
use super::scenario::Scenario;
use super::stream::Snapshot;
use super::wire::{Absence, Field, View, Zone, hash, string};

/// A gateway's path that wants a bearer token.
pub const PATH: &str = "/beta/deviceManagement/remoteAssistanceSessions";
/// The end of a gateway's path that wants none: `/gateway/{tenant}/remoteAssistanceSessions`.
pub(super) const SEGMENT: &str = "remoteAssistanceSessions";
/// The most rows that an answer holds, whatever is asked for.
const MAX_TOP: usize = 1000;
/// How many more rows than there are the scenario `short-page` promises.
const PROMISED_IN_VAIN: usize = 7;
/// Properties that the scenario `unknown-columns` adds.
const UNKNOWN: &[u8] =
    br#","sessionQuality":0.75,"isRecorded":true,"tags":["a",{"b":null}],"extension":{"nested":{"deep":[1,2,3]}}"#;
/// A member that newer services have.
const UNKNOWN_MEMBER: &str = "annotation";
/// What stands for it unless the request asks for unknown members.
const SENTINEL: &str = "unknownFutureValue";

/// Which page is asked for, by query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PageRequest {
    /// `$top`.
    pub top: Option<usize>,
    /// `$count`.
    pub count: bool,
    /// `$skiptoken`.
    pub token: Option<SkipToken>,
}

/// The place where a page starts. Opaque to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SkipToken {
    /// The pinned snapshot.
    pub snapshot: u128,
    offset: usize,
    hollow: bool,
}

impl SkipToken {
    fn encode(self) -> String {
        format!("{:032x}{:08x}{:x}", self.snapshot, self.offset, u8::from(self.hollow))
    }

    fn decode(token: &str) -> Option<Self> {
        let hollow = match token.get(40..)? {
            "0" => false,
            "1" => true,
            _ => return None,
        };
        let snapshot = u128::from_str_radix(token.get(..32)?, 16).ok()?;
        let offset = usize::from_str_radix(token.get(32..40)?, 16).ok()?;
        Some(Self { snapshot, offset, hollow })
    }
}

impl PageRequest {
    /// Reads the query; `Err` with a message for an option that is not supported.
    pub fn parse(query: &str) -> Result<Self, String> {
        let mut request = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let invalid = || format!("The value of query option '{name}' is not valid.");
            match &*name {
                "$top" => request.top = Some(value.parse().ok().filter(|top| *top > 0).ok_or_else(invalid)?),
                "$count" => request.count = value.parse().map_err(|_| invalid())?,
                "$skiptoken" => request.token = Some(SkipToken::decode(&value).ok_or_else(invalid)?),
                name if name.starts_with('$') => return Err(format!("The query option '{name}' is not supported.")),
                _ => {}
            }
        }
        Ok(request)
    }
}

/// How a page is written and what its link leads to.
pub(super) struct Layout<'a> {
    /// The origin that the request came to.
    pub origin: &'a str,
    /// The origin of the scenario `foreign-link`.
    pub foreign_origin: &'a str,
    /// The path that the request came to.
    pub path: &'a str,
    /// Rows of a page where the request names no number.
    pub page_size: usize,
    /// Whether the request asks for unknown enum members.
    pub unknown_members: bool,
}

/// Encodes a page.
pub(super) fn page(snapshot: &Snapshot, request: PageRequest, layout: &Layout<'_>, scenario: Scenario) -> Vec<u8> {
    let (offset, hollow) = request.token.map_or((0, false), |token| (token.offset, token.hollow));
    let size = request.top.unwrap_or(layout.page_size).min(MAX_TOP);
    let total = snapshot.rows.len();
    let end = if hollow { offset.min(total) } else { total.min(offset.saturating_add(size)) };
    let rows = &snapshot.rows[offset.min(total)..end];

    let next = |offset, hollow| Some(SkipToken { snapshot: snapshot.id, offset, hollow });
    let more = end < total;
    let token = match scenario {
        Scenario::Loop if offset > 0 || !more => next(0, false),
        Scenario::ForeignLink => next(end, false),
        Scenario::EmptyPage if offset == 0 && !hollow => next(end, true),
        _ if hollow => next(end, false),
        _ => more.then_some(next(end, false)).flatten(),
    };
    let origin = if scenario == Scenario::ForeignLink { layout.foreign_origin } else { layout.origin };
    let link = token.map(|token| format!("{origin}{}?$top={size}&$skiptoken={}", layout.path, token.encode()));

    let promised = match scenario {
        Scenario::ShortPage => Some(total + PROMISED_IN_VAIN),
        _ => request.count.then_some(total),
    };
    let style = Style {
        properties: PROPERTIES,
        shuffle: (scenario == Scenario::ShuffledColumns).then_some(offset),
        unknown: (scenario == Scenario::UnknownColumns).then_some(if layout.unknown_members {
            UNKNOWN_MEMBER
        } else {
            SENTINEL
        }),
    };
    envelope(rows, layout.origin, link.as_deref(), promised, &style)
}

/// How a row is written.
pub(super) struct Style {
    /// The properties and their order.
    pub properties: &'static [Property],
    /// The page whose own order the properties take instead.
    pub shuffle: Option<usize>,
    /// Adds unknown properties to every row, and this enum member to the first.
    pub unknown: Option<&'static str>,
}

/// Encodes rows with what surrounds them.
pub(super) fn envelope(
    rows: &[Shown],
    origin: &str,
    link: Option<&str>,
    promised: Option<usize>,
    style: &Style,
) -> Vec<u8> {
    let mut out = br#"{"@odata.context":"#.to_vec();
    string(&mut out, &format!("{origin}/beta/$metadata#deviceManagement/{SEGMENT}"));
    if let Some(promised) = promised {
        out.extend_from_slice(format!(r#","@odata.count":{promised}"#).as_bytes());
    }
    out.extend_from_slice(br#","value":["#);
    for (number, shown) in rows.iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        let member = style.unknown.filter(|_| number == 0);
        match shown {
            Shown::Ended(session) => write_row(&mut out, &View { session, end: session.end }, style, member),
            Shown::Running(session) => write_row(&mut out, &View { session, end: None }, style, member),
            Shown::Broken(broken) => write_broken(&mut out, *broken),
        }
    }
    out.push(b']');
    if let Some(link) = link {
        out.extend_from_slice(br#","@odata.nextLink":"#);
        string(&mut out, link);
    }
    out.push(b'}');
    out
}

fn write_row(out: &mut Vec<u8>, view: &View<'_>, style: &Style, member: Option<&str>) {
    out.extend_from_slice(br##"{"@odata.type":"#microsoft.graph.remoteAssistanceReporting""##);
    let mut shuffled;
    let properties = match style.shuffle {
        None => style.properties,
        Some(page) => {
            shuffled = style.properties.to_vec();
            shuffled.sort_by_key(|(name, _)| hash(&page.to_string(), name));
            &shuffled
        }
    };
    for (name, field) in properties {
        let field = match (field(view), member) {
            (Field::Name(_), Some(member)) => Field::Name(Some(member)),
            (field, _) => field,
        };
        let absence = field.absence(&view.session.id, name, true);
        if absence == Some(Absence::Missing) {
            continue;
        }
        out.extend_from_slice(format!(r#","{name}":"#).as_bytes());
        match absence {
            Some(absence) => absence.write(out, Zone::Utc),
            None => field.write(out, Zone::Utc),
        }
    }
    if style.unknown.is_some() {
        out.extend_from_slice(UNKNOWN);
    }
    out.push(b'}');
}

fn write_broken(out: &mut Vec<u8>, broken: Broken) {
    out.extend_from_slice(match broken {
        Broken::Short => b"[]".as_slice(),
        Broken::Long => b"null",
        Broken::NotARow => br#""row""#,
        Broken::MissingId => br#"{"id":null,"endDateTime":"2024-10-04T00:00:00Z"}"#,
        Broken::UnreadableDate => br#"{"id":"broken-UnreadableDate","endDateTime":"yesterday"}"#,
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skip_token_leads_back_to_its_place() {
        let token = SkipToken { snapshot: 0xfedc_ba98 << 90, offset: 100_000, hollow: true };
        let query = format!("$top=50&$skiptoken={}&api-version=1", token.encode());
        assert_eq!(
            PageRequest::parse(&query).unwrap(),
            PageRequest { top: Some(50), count: false, token: Some(token) }
        );
    }

    #[test]
    fn a_query_that_is_not_understood_is_refused() {
        for query in ["$skiptoken=zz", "$skiptoken=", "$top=0", "$top=many", "$filter=id eq '1'", "$count=2"] {
            assert!(PageRequest::parse(query).is_err(), "{query}");
        }
        assert_eq!(PageRequest::parse(""), Ok(PageRequest::default()));
        assert!(PageRequest::parse("%24count=true").unwrap().count);
    }
}
