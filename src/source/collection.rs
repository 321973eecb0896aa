//! A page of an OData collection of `remoteAssistanceReporting`, decoded in one pass: each row's cells
//! borrow from the body, no tree of values is built, and members that we do not know are skipped.

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
                page.rejects.push(Reject::anonymous(RejectReason::BrokenRow, "the row holds a value that is not JSON"));
            }
        }
        Ok(true)
    }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::session::{Cell, SessionReport, SessionType};

    fn decoded(json: Value) -> CollectionPage {
        decode(json.to_string().as_bytes()).unwrap()
    }

    fn ids(page: &Page) -> Vec<&str> {
        page.reports.iter().map(|report| &*report.id).collect()
    }

    #[test]
    fn a_page_is_its_rows_its_link_and_its_count() {
        let page = decoded(json!({
            "@odata.context": "https://graph.example/$metadata#sessions",
            "@odata.count": 7,
            "value": [
                {"@odata.type": "#microsoft.graph.remoteAssistanceReporting", "id": "a", "startDateTime": "2026-03-19T12:00:00Z",
                 "endDateTime": "2026-03-19T12:10:00Z", "remoteAssistanceSessionType": "fullControl",
                 "helperFirstName": "Zoë \"Z\"", "somethingNew": {"deep": [1, {"er": null}]}},
                {"id": "b", "remoteAssistanceSessionType": 2},
            ],
            "@odata.nextLink": "https://graph.example/sessions?$skiptoken=x",
        }));
        assert_eq!(ids(&page.page), ["a", "b"]);
        assert_eq!(page.page.reports[0].session_type, SessionType::FullControl);
        assert_eq!(page.page.reports[0].helper.first_name.as_deref(), Some("Zoë \"Z\""));
        assert!(page.page.reports[0].end.is_some());
        assert_eq!(page.page.reports[1].session_type, SessionType::Elevation);
        assert_eq!(page.count, Some(7));
        assert_eq!(page.next_link.as_deref(), Some("https://graph.example/sessions?$skiptoken=x"));
    }

    #[test]
    fn an_empty_page_may_have_a_link_and_the_last_page_has_none() {
        let page = decoded(json!({"@odata.nextLink": "x", "value": []}));
        assert_eq!((page.page.rows(), page.next_link.as_deref(), page.count), (0, Some("x"), None));
        for last in [
            json!({"value": []}),
            json!({"value": [], "@odata.nextLink": null}),
            json!({"value": [], "@odata.nextLink": ""}),
        ] {
            assert_eq!(decoded(last).next_link, None);
        }
        assert_eq!(decoded(json!({"value": [], "@odata.count": "12"})).count, Some(12));
        assert_eq!(decoded(json!({"value": [], "@odata.count": -1})).count, None);
    }

    #[test]
    fn broken_rows_become_rejects_and_the_others_go_on() {
        let page = decoded(json!({"value": [
            {"id": "a"}, 5, -5, 1.5, "text", null, true, [{"id": "x"}], {}, {"id": true}, {"id": "b", "endDateTime": 5}, {"id": "c"},
        ]}));
        assert_eq!(ids(&page.page), ["a", "c"]);
        let reasons: Vec<_> = page.page.rejects.iter().map(|reject| reject.reason).collect();
        let mut expected = vec![RejectReason::BrokenRow; 7];
        expected.extend([RejectReason::MissingId, RejectReason::InvalidId, RejectReason::UnreadableDate]);
        assert_eq!(reasons, expected);
        assert_eq!(page.page.rows(), 12);
    }

    #[test]
    fn the_last_of_two_equal_keys_wins_and_rows_do_not_mix() {
        let page = decode(br#"{"value":[{"id":"a","id":"b","helperEmail":"x@y.z"},{"id":"c"}]}"#).unwrap();
        assert_eq!(ids(&page.page), ["b", "c"]);
        assert_eq!(page.page.reports[1].helper.email, None);
    }

    #[test]
    fn a_value_that_no_reader_accepts_costs_its_row_only() {
        for value in [r#""\ud800""#, "1e999", "-1e999"] {
            let body = format!(
                r#"{{"value":[{{"id":"a"}},{{"id":"bad","helperEmail":{value}}},7,{{"id":"c"}}],"@odata.nextLink":"n"}}"#
            );
            let page = decode(body.as_bytes()).unwrap();
            assert_eq!(ids(&page.page), ["a", "c"], "{value}");
            assert_eq!(page.page.rejects.len(), 2);
            assert_eq!(page.next_link.as_deref(), Some("n"));
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_spoil_their_own_value_only() {
        let page = decode(
            b"\xEF\xBB\xBF{\"value\":[{\"id\":\"a\",\"helperEmail\":\"\xff\"},{\"id\":\"\xff\"},{\"id\":\"c\"}]}",
        )
        .unwrap();
        assert_eq!(ids(&page.page), ["a", "c"]);
        assert_eq!(page.page.rejects[0].reason, RejectReason::InvalidId);
    }

    #[test]
    fn a_body_that_is_no_collection_fails_as_a_whole() {
        let whole =
            json!({"value": [{"id": "a", "helperEmail": "x"}, {"id": "b"}], "@odata.nextLink": "n"}).to_string();
        for cut in 0..whole.len() {
            assert!(decode(&whole.as_bytes()[..cut]).unwrap_err().is_eof(), "{cut} bytes");
        }
        for body in [
            "[]",
            "{}",
            "null",
            r#"{"value":null}"#,
            r#"{"value":{}}"#,
            r#"{"value":[]} x"#,
            r#"{"value":[],"@odata.nextLink":5}"#,
            "<html>",
            r#"{"error":{"code":"x"}}"#,
        ] {
            assert!(!decode(body.as_bytes()).unwrap_err().is_eof(), "{body}");
        }
    }

    /// Any JSON value, with the properties' names among its keys.
    fn any_json() -> impl Strategy<Value = Value> {
        let key = prop_oneof![
            any::<prop::sample::Index>().prop_map(|index| index.get(Property::ALL).name().to_owned()),
            "[a-zA-Z_@.]{0,12}",
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            Just(Value::from("2026-03-19T12:08:16.1234567Z")),
        ];
        leaf.prop_recursive(4, 64, 8, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec((key.clone(), inner), 0..12)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// The same row by way of a tree of values: slow and obvious.
    fn by_tree(value: &Value) -> Result<SessionReport, RejectReason> {
        let Value::Object(members) = value else { return Err(RejectReason::BrokenRow) };
        let mut row = Row::default();
        for (name, value) in members {
            let Some(property) = Property::from_name(name) else { continue };
            row.set(
                property,
                match value {
                    Value::Null => Cell::Absent,
                    Value::String(text) => Cell::Text(text.into()),
                    Value::Number(number) => match (number.as_i64(), number.as_u64()) {
                        (Some(number), _) => Cell::Integer(number),
                        (None, Some(number)) => Cell::Text(number.to_string().into()),
                        (None, None) => Cell::Float(number.as_f64().unwrap()),
                    },
                    _ => Cell::Unusable,
                },
            );
        }
        let report = row.read().map_err(|reject| reject.reason)?;
        if report.id.contains('\u{FFFD}') { Err(RejectReason::InvalidId) } else { Ok(report) }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }

        #[test]
        fn no_rows_make_it_fail_and_all_are_read_as_from_a_tree(rows in prop::collection::vec(any_json(), 0..12)) {
            let body = json!({ "value": rows }).to_string();
            let expected: Vec<_> = rows.iter().map(by_tree).collect();
            for page in [decode(body.as_bytes()).unwrap(), decode_row_by_row(&body).unwrap()] {
                prop_assert!(page.page.reports.iter().eq(expected.iter().flatten()));
                prop_assert!(page.page.rejects.iter().map(|reject| &reject.reason).eq(expected.iter().filter_map(|row| row.as_ref().err())));
            }
        }
    }
}
