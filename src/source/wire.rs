//! What the JSON decoders share. Any JSON value becomes a [`Cell`]: text stays borrowed from the body
//! where it has no escapes, and values that no property has are skipped without being built.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor};

use super::Page;
use crate::session::{Cell, Reject, RejectReason, Row, SessionReport};

/// Reads an object. What serde derives for a struct takes an array as well, its elements for the members
/// in their order: no service means that.
pub(super) fn object<'de, T: Deserialize<'de>>(text: &'de str) -> serde_json::Result<T> {
    if text.trim_start().starts_with('[') {
        return Err(serde_json::Error::invalid_type(Unexpected::Seq, &"an object"));
    }
    serde_json::from_str(text)
}

/// A [`Cell`] on the wire.
pub(super) struct WireCell<'a>(pub Cell<'a>);

impl<'de: 'a, 'a> Deserialize<'de> for WireCell<'a> {
    #[inline]
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CellVisitor).map(Self)
    }
}

struct CellVisitor;

impl<'de> Visitor<'de> for CellVisitor {
    type Value = Cell<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    #[inline]
    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Cell<'de>, E> {
        Ok(Cell::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Cell<'de>, E> {
        Ok(Cell::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Cell<'de>, E> {
        Ok(Cell::Absent)
    }

    fn visit_i64<E>(self, number: i64) -> Result<Cell<'de>, E> {
        Ok(Cell::Integer(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Cell<'de>, E> {
        // An id beyond i64 stays exact as text; as a float two ids could become one.
        Ok(i64::try_from(number).map_or_else(|_| Cell::Text(number.to_string().into()), Cell::Integer))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Cell<'de>, E> {
        Ok(Cell::Float(number))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Cell<'de>, E> {
        Ok(Cell::Unusable)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Cell<'de>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Cell::Unusable)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Cell<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Cell::Unusable)
    }
}

/// The body as text. JSON is UTF-8 and has no byte-order mark, but some writers put one. Bytes that are
/// not UTF-8 spoil their own value only.
pub(super) fn body_text(body: &[u8]) -> Cow<'_, str> {
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    // The lossy reader looks at each byte; this one is fast on what nearly every body is.
    std::str::from_utf8(body).map_or_else(|_| String::from_utf8_lossy(body), Cow::Borrowed)
}

/// A number of rows, however it is written.
pub(super) fn count(cell: &Cell<'_>) -> Option<u64> {
    match cell {
        Cell::Integer(number) => u64::try_from(*number).ok(),
        Cell::Text(text) => text.trim().parse().ok(),
        Cell::Absent | Cell::Float(_) | Cell::Unusable => None,
    }
}

impl Page {
    /// Adds a row as what it turns out to be.
    #[inline]
    pub(super) fn push(&mut self, row: &Row<'_>) {
        match row.read().and_then(whole_id) {
            Ok(report) => self.reports.push(report),
            Err(reject) => self.rejects.push(reject),
        }
    }

    /// Says of the rejects from the one at `first` on which row they were.
    pub(super) fn number_rejects(&mut self, first: usize, row: u64) {
        for reject in self.rejects.iter_mut().skip(first) {
            reject.detail = format!("row {row}: {}", reject.detail).into();
        }
    }
}

/// An id with bytes that were not UTF-8 is not one: two of them could look the same.
#[inline]
fn whole_id(report: SessionReport) -> Result<SessionReport, Reject> {
    if report.id.contains(char::REPLACEMENT_CHARACTER) {
        return Err(Reject::anonymous(RejectReason::InvalidId, "id is not valid text"));
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(json: &str) -> Cell<'_> {
        serde_json::from_str::<WireCell<'_>>(json).unwrap().0
    }

    #[test]
    fn every_kind_of_value_is_a_cell() {
        assert!(matches!(cell(r#""plain""#), Cell::Text(Cow::Borrowed("plain"))));
        assert_eq!(cell(r#""\u00e9""#), Cell::Text("é".into()));
        assert_eq!(cell("null"), Cell::Absent);
        assert_eq!(cell("-5"), Cell::Integer(-5));
        assert_eq!(cell("5"), Cell::Integer(5));
        assert_eq!(cell("1.5"), Cell::Float(1.5));
        assert_eq!(cell("18446744073709551615"), Cell::Text("18446744073709551615".into()));
        for json in ["true", "[1,[2]]", r#"{"a":{"b":1}}"#] {
            assert_eq!(cell(json), Cell::Unusable, "{json}");
        }
    }
}
