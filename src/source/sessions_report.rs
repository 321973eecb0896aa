//! A page of the Intune sessions report: columnar JSON, decoded by the names in its own schema.

mod paging;

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::Page;
use super::columns::{Columns, Mapping, MissingColumns};
use super::wire::{WireCell, body_text, count, object};
use crate::session::{Cell, Reject, RejectReason};

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
    /// The names of its columns.
    pub schema: Vec<String>,
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
    let wire: WireReport<'_> = object(&text)?;
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
    decoded.schema = names.iter().map(|name| (*name).to_owned()).collect();
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
        // Each row is cut out first, so that one that no JSON reader accepts costs itself only.
        let mut cells = Vec::with_capacity(self.mapping.width);
        while let Some(raw) = seq.next_element::<&'de RawValue>()? {
            read_row(raw.get(), self.mapping, &mut cells, self.page);
        }
        Ok(())
    }
}

/// Reads one row that stands alone; `cells` is room for its cells.
pub(super) fn read_row<'t>(text: &'t str, mapping: &Mapping, cells: &mut Vec<Cell<'t>>, page: &mut Page) {
    cells.clear();
    let seed = CellsSeed { cells, width: mapping.width };
    let mut json = serde_json::Deserializer::from_str(text);
    match seed.deserialize(&mut json).and_then(|found| json.end().map(|()| found)) {
        Ok(found) if found == mapping.width => page.push(&mapping.row(cells)),
        Ok(found) => page.rejects.push(wrong_width(found, mapping.width)),
        Err(_) => page.rejects.push(Reject::anonymous(
            RejectReason::BrokenRow,
            "the row is not an array, or holds a value that is not JSON",
        )),
    }
}

/// Reads a `Schema` that stands alone: the names of the columns.
pub(super) fn read_schema(text: &str) -> Result<Vec<String>, serde_json::Error> {
    let columns: Vec<WireColumn<'_>> = serde_json::from_str(text)?;
    Ok(columns.into_iter().map(|column| column.name.into_owned()).collect())
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::session::{Property, SessionType};

    fn decoded(json: &Value) -> ReportPage {
        decode(json.to_string().as_bytes(), &Columns::default()).unwrap()
    }

    fn schema(columns: &[&str]) -> Value {
        columns.iter().map(|name| json!({"Column": name, "PropertyType": "String"})).collect()
    }

    fn report(columns: &[&str], values: Value) -> Value {
        json!({"TotalRowCount": 9, "Schema": schema(columns), "Values": values, "SessionId": "snapshot-1"})
    }

    const COLUMNS: [&str; 4] = ["SessionId", "Sessionstart", "Sessionend", "SharerDeviceOS"];

    fn row(id: &str) -> Value {
        json!([id, "2026-03-19T12:00:00", "2026-03-19T12:10:00", "Windows 11"])
    }

    #[test]
    fn cells_are_mapped_by_the_schema_in_any_order() {
        let there = decoded(&report(&COLUMNS, json!([row("a"), row("b")])));
        let back = decoded(&report(
            &["SharerDeviceOS", "_sessionEND", "Sessionstart", "Unheard", "SESSIONID"],
            json!([
                ["Windows 11", "2026-03-19T12:10:00", "2026-03-19T12:00:00", 7, "a"],
                ["Windows 11", "2026-03-19T12:10:00", "2026-03-19T12:00:00", null, "b"]
            ]),
        ));
        assert_eq!(there.page.reports, back.page.reports);
        assert_eq!(&*there.page.reports[1].id, "b");
        assert_eq!(there.page.reports[0].sharer.os.as_deref(), Some("Windows 11"));
        assert_eq!((there.page.reports[0].end.unwrap() - there.page.reports[0].start.unwrap()).num_minutes(), 10);
        assert_eq!((there.total, there.session_id.as_deref()), (Some(9), Some("snapshot-1")));
    }

    #[test]
    fn members_may_come_in_any_order_and_be_unknown() {
        let (schema, values) = (schema(&COLUMNS), json!([row("a")]));
        let body = format!(
            r#"{{"LastUpdatedTime":{{"x":[]}},"Values":{values},"SessionId":null,"Schema":{schema},"TotalRowCount":"1"}}"#
        );
        let page = decode(body.as_bytes(), &Columns::default()).unwrap();
        assert_eq!((page.page.reports.len(), page.total, page.session_id), (1, Some(1), None));
    }

    #[test]
    fn broken_rows_become_rejects_and_the_others_go_on() {
        let mut long = row("b");
        long.as_array_mut().unwrap().extend([json!(1), json!({})]);
        let page = decoded(&report(
            &COLUMNS,
            json!([row("a"), long, ["c"], [], {"SessionId": "d"}, "e", null, row("--"), row("f")]),
        ));
        assert_eq!(page.page.reports.len(), 2);
        let details: Vec<_> = page.page.rejects.iter().map(ToString::to_string).collect();
        assert_eq!(details[0], "broken_row: the row has 6 cells where the schema has 4 columns");
        assert_eq!(details[1], "broken_row: the row has 1 cells where the schema has 4 columns");
        assert!(details[2..6].iter().all(|detail| detail.starts_with("broken_row")), "{details:?}");
        assert_eq!(details[6], "missing_id: id is missing");
        assert_eq!(page.page.rows(), 9);
    }

    #[test]
    fn a_value_that_no_reader_accepts_costs_its_row_only() {
        let body =
            report(&COLUMNS, json!([row("a"), row("MARK"), row("c")])).to_string().replace("\"MARK\"", r#""\udead""#);
        let page = decode(body.as_bytes(), &Columns::default()).unwrap();
        assert_eq!((page.page.reports.len(), page.page.rejects.len()), (2, 1));
    }

    #[test]
    fn an_empty_report_needs_no_schema() {
        for body in
            [json!({"TotalRowCount": 0, "Values": []}), json!({"Schema": [], "Values": null}), json!({"Values": []})]
        {
            assert_eq!(decoded(&body).page.rows(), 0);
        }
        let body = br#"{"Values": [ ] }"#;
        assert_eq!(decode(body, &Columns::default()).unwrap().page.rows(), 0);
    }

    #[test]
    fn a_report_without_the_columns_that_count_is_an_error_even_when_empty() {
        for values in [json!([]), json!([["x", "y"]])] {
            let body = report(&["Attribute", "SessionId"], values).to_string();
            let message = decode(body.as_bytes(), &Columns::default()).unwrap_err().to_string();
            assert_eq!(
                message,
                "the report has no column for startDateTime, endDateTime; it has Attribute, SessionId: \
                 name the right ones under source.columns"
            );
        }
        let rows_without_schema = json!({"Values": [["x"]]}).to_string();
        assert!(matches!(decode(rows_without_schema.as_bytes(), &Columns::default()), Err(DecodeError::Columns(_))));
    }

    #[test]
    fn a_body_that_is_no_report_fails_as_a_whole() {
        let whole = report(&COLUMNS, json!([row("a")])).to_string();
        for cut in 0..whole.len() {
            let Err(DecodeError::Json(error)) = decode(&whole.as_bytes()[..cut], &Columns::default()) else {
                panic!("{cut} bytes were a report")
            };
            assert!(error.is_eof());
        }
        for body in [
            json!({"value": "eyJTY2hlbWEiOltdfQ=="}),
            json!([]),
            json!({"Schema": 5, "Values": []}),
            json!({"Schema": schema(&COLUMNS), "Values": "x"}),
        ] {
            assert!(
                matches!(decode(body.to_string().as_bytes(), &Columns::default()), Err(DecodeError::Json(_))),
                "{body}"
            );
        }
    }

    #[test]
    fn every_property_has_a_column_of_its_name() {
        let names: Vec<_> = Property::ALL.iter().map(|property| property.name()).collect();
        let cells: Vec<Value> = names
            .iter()
            .map(|name| match *name {
                name if name.ends_with("DateTime") => json!("2026-03-19T12:00:00"),
                "remoteAssistanceSessionType" => json!(2),
                name if name.ends_with("State") => json!("3"),
                name => json!(name),
            })
            .collect();
        let page = decoded(&report(&names, json!([cells])));
        let report = format!("{:?}", page.page.reports[0]);
        assert_eq!(page.page.reports[0].session_type, SessionType::Elevation);
        assert!(!report.contains("None") && !report.contains("Unreported"), "{report}");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), values in any::<String>()) {
            let _ = decode(&bytes, &Columns::default());
            let body = format!(r#"{{"Schema":{},"Values":{values}}}"#, schema(&COLUMNS));
            let _ = decode(body.as_bytes(), &Columns::default());
        }

        #[test]
        fn any_order_of_columns_reads_the_same(order in Just(vec![0, 1, 2, 3]).prop_shuffle(), ids in prop::collection::vec("[a-z0-9-]{1,40}", 0..9)) {
            let names: Vec<_> = order.iter().map(|place| COLUMNS[*place]).collect();
            let shuffled = |id: &String| Value::from_iter(order.iter().map(|place| row(id)[*place].clone()));
            let page = decoded(&report(&names, ids.iter().map(shuffled).collect()));
            let straight = decoded(&report(&COLUMNS, ids.iter().map(|id| row(id)).collect()));
            prop_assert_eq!(page.page.rows(), ids.len());
            prop_assert_eq!(page.page.reports, straight.page.reports);
        }
    }
}
