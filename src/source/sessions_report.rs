//! A page of the Intune sessions report: columnar JSON, decoded by the names in its own schema.

pub mod columns;
mod paging;

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::Page;
use super::wire::{WireCell, body_text, count};
use crate::session::{Cell, Reject, RejectReason};
use columns::{Columns, Mapping, MissingColumns};

pub(super) use paging::Report;

/// A decoded page.
#[derive(Debug, Default)]
pub struct ReportPage {
    /// The rows.
    pub page: Page,
    /// `TotalRowCount`: how many rows the whole report has.
    pub total: Option<u64>,
    /// `SessionId` of the answer (not of a row): sent back, it pins the snapshot for later pages.
    pub session_id: Option<String>,
    /// Configured columns that the schema does not have.
    pub unmatched: Vec<String>,
}

/// Why a body is not a page of the report.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Not the columnar JSON of a report, or cut off.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// A column that no session can do without is not there.
    #[error(transparent)]
    Columns(#[from] MissingColumns),
}

/// Decodes the body of an answer. A broken row becomes a reject.
pub fn decode(body: &[u8], columns: &Columns) -> Result<ReportPage, DecodeError> {
    let text = body_text(body);
    let wire: WireReport<'_> = serde_json::from_str(&text)?;
    let mut decoded =
        ReportPage { total: wire.total, session_id: wire.session_id.map(Cow::into_owned), ..ReportPage::default() };
    // `Values` may stand before `Schema`, so it is cut out first and read when the schema is known.
    let values = wire.values.get();
    if wire.schema.is_empty() && is_empty(values) {
        return Ok(decoded);
    }
    let names: Vec<&str> = wire.schema.iter().map(|column| column.name.as_ref()).collect();
    let mapping = columns.resolve(&names)?;
    decoded.unmatched = mapping.unmatched.clone();
    let rows = RowsSeed { mapping: &mapping, page: &mut decoded.page };
    rows.deserialize(&mut serde_json::Deserializer::from_str(values))?;
    Ok(decoded)
}

/// Whether `Values` holds no row: an empty array or null.
fn is_empty(values: &str) -> bool {
    values == "null" || values.strip_prefix('[').is_some_and(|rest| rest.trim_start().starts_with(']'))
}

#[derive(Deserialize)]
struct WireReport<'a> {
    #[serde(rename = "Schema", borrow, default)]
    schema: Vec<WireColumn<'a>>,
    #[serde(rename = "Values", borrow)]
    values: &'a RawValue,
    #[serde(rename = "TotalRowCount", default, deserialize_with = "total")]
    total: Option<u64>,
    #[serde(rename = "SessionId", borrow, default)]
    session_id: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct WireColumn<'a> {
    #[serde(rename = "Column", borrow)]
    name: Cow<'a, str>,
}

fn total<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Ok(count(&WireCell::deserialize(deserializer)?.0))
}

/// Reads the rows of `Values` one by one.
struct RowsSeed<'p> {
    mapping: &'p Mapping,
    page: &'p mut Page,
}

impl<'de> DeserializeSeed<'de> for RowsSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for RowsSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of rows")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let mut cells = Vec::with_capacity(self.mapping.width);
        // Each row is cut out first, so that one that no JSON reader accepts costs itself only.
        while let Some(raw) = seq.next_element::<&'de RawValue>()? {
            cells.clear();
            let seed = CellsSeed { cells: &mut cells, width: self.mapping.width };
            match seed.deserialize(&mut serde_json::Deserializer::from_str(raw.get())) {
                Ok(found) if found == self.mapping.width => self.page.push(&self.mapping.row(&cells)),
                Ok(found) => self.page.rejects.push(wrong_width(found, self.mapping.width)),
                Err(_) => self.page.rejects.push(Reject::anonymous(
                    RejectReason::BrokenRow,
                    "the row is not an array, or holds a value that is not JSON",
                )),
            }
        }
        Ok(())
    }
}

fn wrong_width(found: usize, width: usize) -> Reject {
    let detail = format!("the row has {found} cells where the schema has {width} columns");
    Reject::anonymous(RejectReason::BrokenRow, detail)
}

/// Collects the cells of one row, at most as many as the schema has columns, and counts them all.
struct CellsSeed<'c, 'de> {
    cells: &'c mut Vec<Cell<'de>>,
    width: usize,
}

impl<'de> DeserializeSeed<'de> for CellsSeed<'_, 'de> {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<usize, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for CellsSeed<'_, 'de> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of cells")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<usize, A::Error> {
        while self.cells.len() < self.width {
            match seq.next_element::<WireCell<'de>>()? {
                Some(cell) => self.cells.push(cell.0),
                None => return Ok(self.cells.len()),
            }
        }
        let mut found = self.cells.len();
        while seq.next_element::<IgnoredAny>()?.is_some() {
            found += 1;
        }
        Ok(found)
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<usize, A::Error> {
        Err(A::Error::custom("an object where a row's array of cells was expected"))
    }
}
