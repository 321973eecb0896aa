//! Tests of the decoder.

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
    let page =
        decode(b"\xEF\xBB\xBF{\"value\":[{\"id\":\"a\",\"helperEmail\":\"\xff\"},{\"id\":\"\xff\"},{\"id\":\"c\"}]}")
            .unwrap();
    assert_eq!(ids(&page.page), ["a", "c"]);
    assert_eq!(page.page.rejects[0].reason, RejectReason::InvalidId);
}

#[test]
fn a_body_that_is_no_collection_fails_as_a_whole() {
    let whole = json!({"value": [{"id": "a", "helperEmail": "x"}, {"id": "b"}], "@odata.nextLink": "n"}).to_string();
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
