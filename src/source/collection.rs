//! A page of an OData collection of `remoteAssistanceReporting`, decoded in one pass: each row's cells
//! borrow from the body, no tree of values is built, and members that we do not know are skipped.

#[cfg(test)]
mod tests;

mod paging;

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::Page;
use super::wire::{WireCell, body_text, count};
use crate::session::{Property, Reject, RejectReason, Row};

pub(super) use paging::Collection;

/// A decoded page.
#[derive(Debug, Default)]
pub struct CollectionPage {
    /// The rows.
    pub page: Page,
    /// `@odata.nextLink`, as sent: absolute or relative, and not yet believed.
    pub next_link: Option<String>,
    /// `@odata.count`: how many rows the whole collection has, where the service says so.
    pub count: Option<u64>,
}

/// Decodes the body of an answer. A broken row becomes a reject; the error is for a body that as a
/// whole is not the JSON of a collection: cut off, something else, or without `value`.
pub fn decode(body: &[u8]) -> Result<CollectionPage, serde_json::Error> {
    let text = body_text(body);
    let mut decoded = CollectionPage::default();
    // An estimate for one allocation instead of many; bounded by the body's own size.
    decoded.page.reports.reserve(body.len() / TYPICAL_REPORT_BYTES);
    let mut json = serde_json::Deserializer::from_str(&text);
    match CollectionSeed(&mut decoded, DirectRows).deserialize(&mut json).and_then(|()| json.end()) {
        Ok(()) => Ok(decoded),
        // One value that no JSON reader accepts (a lone surrogate, a number beyond every float) must
        // not cost the page: the rows are then decoded one by one.
        Err(error) => decode_row_by_row(&text).map_err(|_| error),
    }
}

/// The size of a report with its usual properties, used as an estimate only.
const TYPICAL_REPORT_BYTES: usize = 800;

fn decode_row_by_row(text: &str) -> Result<CollectionPage, serde_json::Error> {
    let mut decoded = CollectionPage::default();
    let mut json = serde_json::Deserializer::from_str(text);
    CollectionSeed(&mut decoded, SeparateRows).deserialize(&mut json)?;
    json.end()?;
    Ok(decoded)
}

/// How the elements of `value` are read.
trait Rows: Copy {
    fn next<'de, A: SeqAccess<'de>>(self, seq: &mut A, row: &mut Row<'de>, page: &mut Page) -> Result<bool, A::Error>;
}

/// In one pass: the first unreadable value ends everything.
#[derive(Clone, Copy)]
struct DirectRows;

/// Each row cut out first: an unreadable one ends itself only.
#[derive(Clone, Copy)]
struct SeparateRows;

impl Rows for DirectRows {
    #[inline]
    fn next<'de, A: SeqAccess<'de>>(self, seq: &mut A, row: &mut Row<'de>, page: &mut Page) -> Result<bool, A::Error> {
        match seq.next_element_seed(RowSeed(row))? {
            None => return Ok(false),
            Some(true) => finish_row(row, page),
            Some(false) => page.rejects.push(not_an_object()),
        }
        Ok(true)
    }
}

impl Rows for SeparateRows {
    fn next<'de, A: SeqAccess<'de>>(self, seq: &mut A, row: &mut Row<'de>, page: &mut Page) -> Result<bool, A::Error> {
        let Some(raw) = seq.next_element::<&'de RawValue>()? else { return Ok(false) };
        match RowSeed(row).deserialize(&mut serde_json::Deserializer::from_str(raw.get())) {
            Ok(true) => finish_row(row, page),
            Ok(false) => page.rejects.push(not_an_object()),
            Err(_) => {
                *row = Row::default();
                page.rejects.push(not_json());
            }
        }
        Ok(true)
    }
}

/// Reads one row that stands alone.
pub(super) fn read_row(text: &str, page: &mut Page) {
    let mut row = Row::default();
    let mut json = serde_json::Deserializer::from_str(text);
    match RowSeed(&mut row).deserialize(&mut json).and_then(|is_object| json.end().map(|()| is_object)) {
        Ok(true) => page.push(&row),
        Ok(false) => page.rejects.push(not_an_object()),
        Err(_) => page.rejects.push(not_json()),
    }
}

fn not_json() -> Reject {
    Reject::anonymous(RejectReason::BrokenRow, "the row holds a value that is not JSON")
}

fn not_an_object() -> Reject {
    Reject::anonymous(RejectReason::BrokenRow, "the row is not an object")
}

fn finish_row(row: &mut Row<'_>, page: &mut Page) {
    page.push(row);
    *row = Row::default();
}

/// Fills a [`CollectionPage`] from the outermost object.
struct CollectionSeed<'p, R>(&'p mut CollectionPage, R);

impl<'de, R: Rows> DeserializeSeed<'de> for CollectionSeed<'_, R> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, R: Rows> Visitor<'de> for CollectionSeed<'_, R> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an OData collection")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self(decoded, rows) = self;
        let mut has_value = false;
        while let Some(member) = map.next_key_seed(KeySeed(Member::from_name))? {
            match member {
                Some(Member::Value) => {
                    map.next_value_seed(ValueSeed(&mut decoded.page, rows))?;
                    has_value = true;
                }
                Some(Member::NextLink) => {
                    let link = map.next_value::<Option<String>>()?;
                    decoded.next_link = link.filter(|link| !link.is_empty());
                }
                Some(Member::Count) => decoded.count = count(&map.next_value::<WireCell<'_>>()?.0),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        if has_value { Ok(()) } else { Err(A::Error::missing_field("value")) }
    }
}

enum Member {
    Value,
    NextLink,
    Count,
}

impl Member {
    fn from_name(name: &str) -> Option<Self> {
        match name {
            "value" => Some(Self::Value),
            "@odata.nextLink" => Some(Self::NextLink),
            "@odata.count" => Some(Self::Count),
            _ => None,
        }
    }
}

/// Looks a member's name up without keeping it.
struct KeySeed<F>(F);

impl<'de, T, F: FnOnce(&str) -> Option<T>> DeserializeSeed<'de> for KeySeed<F> {
    type Value = Option<T>;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<T>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<T, F: FnOnce(&str) -> Option<T>> Visitor<'_> for KeySeed<F> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    #[inline]
    fn visit_str<E>(self, name: &str) -> Result<Option<T>, E> {
        Ok((self.0)(name))
    }
}

/// The array `value`.
struct ValueSeed<'p, R>(&'p mut Page, R);

impl<'de, R: Rows> DeserializeSeed<'de> for ValueSeed<'_, R> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, R: Rows> Visitor<'de> for ValueSeed<'_, R> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of sessions")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let mut row = Row::default();
        while self.1.next(&mut seq, &mut row, self.0)? {}
        Ok(())
    }
}

/// Fills a row from one element; `false` where the element is not an object.
struct RowSeed<'r, 'de>(&'r mut Row<'de>);

impl<'de> DeserializeSeed<'de> for RowSeed<'_, 'de> {
    type Value = bool;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for RowSeed<'_, 'de> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a session")
    }

    #[inline]
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        while let Some(property) = map.next_key_seed(KeySeed(Property::from_name))? {
            match property {
                Some(property) => self.0.set(property, map.next_value::<WireCell<'de>>()?.0),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(true)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<bool, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(false)
    }

    fn visit_str<E>(self, _: &str) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_bool<E>(self, _: bool) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_i64<E>(self, _: i64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_u64<E>(self, _: u64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_f64<E>(self, _: f64) -> Result<bool, E> {
        Ok(false)
    }
}
