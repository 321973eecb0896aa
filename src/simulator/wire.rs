//! Values as JSON has them: dates, and the spellings of "not reported".

use std::hash::Hasher;

use chrono::{DateTime, Utc};
use siphasher::sip::SipHasher13;

use super::session::{NANOSECONDS_PER_TICK, Session};

/// A session as one answer shows it.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    /// The session.
    pub session: &'a Session,
    /// Its end, if the answer knows it.
    pub end: Option<DateTime<Utc>>,
}

/// The value of a property.
#[derive(Clone, Copy)]
pub(super) enum Field<'a> {
    /// Text.
    Text(Option<&'a str>),
    /// An enum's member by name.
    Name(Option<&'a str>),
    /// A date.
    Date(Option<DateTime<Utc>>),
    /// A whole number.
    Number(Option<i64>),
}

/// How dates end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Zone {
    /// With `Z`, as OData writes them.
    Utc,
    /// Without a zone, as the report writes them.
    None,
}

/// How an absent value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Absence {
    /// The property is not there at all.
    Missing,
    /// `null`.
    Null,
    /// `""`.
    Empty,
    /// `"--"`.
    Dashes,
    /// `0001-01-01T00:00:00`.
    YearOne,
}

impl Field<'_> {
    fn is_absent(&self) -> bool {
        matches!(self, Self::Text(None) | Self::Name(None) | Self::Date(None) | Self::Number(None))
    }

    /// The spelling of an absent value, or `None` if there is a value. It follows from the session
    /// and the property, so that it is the same in every answer.
    pub fn absence(&self, id: &str, name: &str, may_be_missing: bool) -> Option<Absence> {
        if !self.is_absent() {
            return None;
        }
        let spellings: &[Absence] = match self {
            Self::Text(_) => &[Absence::Null, Absence::Empty, Absence::Dashes, Absence::Missing],
            Self::Name(_) | Self::Number(_) => &[Absence::Null, Absence::Missing],
            Self::Date(_) => &[Absence::Null, Absence::Empty, Absence::YearOne, Absence::Missing],
        };
        let choices = if may_be_missing { spellings } else { &spellings[..spellings.len() - 1] };
        Some(choices[(hash(id, name) % choices.len() as u64) as usize])
    }

    /// Writes the value.
    pub fn write(&self, out: &mut Vec<u8>, zone: Zone) {
        match self {
            Self::Text(Some(text)) | Self::Name(Some(text)) => string(out, text),
            Self::Date(Some(date)) => string(out, &self::date(*date, zone)),
            Self::Number(Some(number)) => out.extend_from_slice(number.to_string().as_bytes()),
            _ => out.extend_from_slice(b"null"),
        }
    }
}

impl Absence {
    /// Writes what stands for the value. A missing property has none.
    pub fn write(self, out: &mut Vec<u8>, zone: Zone) {
        match self {
            Self::Missing | Self::Null => out.extend_from_slice(b"null"),
            Self::Empty => string(out, ""),
            Self::Dashes => string(out, "--"),
            Self::YearOne => {
                string(out, if zone == Zone::Utc { "0001-01-01T00:00:00Z" } else { "0001-01-01T00:00:00" })
            }
        }
    }
}

/// A number that follows from a session and a name: decides what else must differ from row to row
/// and yet stay the same from answer to answer.
pub(super) fn hash(id: &str, name: &str) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(id.as_bytes());
    hasher.write(name.as_bytes());
    hasher.finish()
}

/// Writes a string with its quotes and escapes.
pub(super) fn string(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(serde_json::Value::from(text).to_string().as_bytes());
}

/// Seven fractional digits, or none for a whole second.
fn date(date: DateTime<Utc>, zone: Zone) -> String {
    let ticks = i64::from(date.timestamp_subsec_nanos()) / NANOSECONDS_PER_TICK;
    let seconds = date.format("%Y-%m-%dT%H:%M:%S");
    let zone = if zone == Zone::Utc { "Z" } else { "" };
    if ticks == 0 { format!("{seconds}{zone}") } else { format!("{seconds}.{ticks:07}{zone}") }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn dates_have_seven_fractional_digits_or_none() {
        let whole = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
        let ticks = whole + TimeDelta::nanoseconds(1_200);
        let date = |date, zone| written(|out| Field::Date(Some(date)).write(out, zone));
        assert_eq!(date(whole, Zone::None), r#""2024-10-04T00:00:00""#);
        assert_eq!(date(whole, Zone::Utc), r#""2024-10-04T00:00:00Z""#);
        assert_eq!(date(ticks, Zone::None), r#""2024-10-04T00:00:00.0000012""#);
        assert_eq!(date(ticks, Zone::Utc), r#""2024-10-04T00:00:00.0000012Z""#);
    }

    #[test]
    fn absent_values_take_every_spelling_of_their_kind() {
        let spellings = |field: Field<'_>, missing| -> Vec<String> {
            let mut seen: Vec<_> = (0..100)
                .filter_map(|id| field.absence(&format!("{id}"), "property", missing))
                .map(|absence| match absence {
                    Absence::Missing => "missing".into(),
                    absence => written(|out| absence.write(out, Zone::Utc)),
                })
                .collect();
            seen.sort();
            seen.dedup();
            seen
        };
        assert_eq!(spellings(Field::Text(None), true), [r#""""#, r#""--""#, "missing", "null"]);
        assert_eq!(spellings(Field::Text(None), false), [r#""""#, r#""--""#, "null"]);
        assert_eq!(spellings(Field::Name(None), true), ["missing", "null"]);
        assert_eq!(spellings(Field::Date(None), false), [r#""""#, r#""0001-01-01T00:00:00Z""#, "null"]);
        assert!(spellings(Field::Text(Some("x")), true).is_empty());
    }

    #[test]
    fn strings_are_escaped() {
        assert_eq!(written(|out| string(out, "a\"b\\c\r\n")), r#""a\"b\\c\r\n""#);
    }
}
