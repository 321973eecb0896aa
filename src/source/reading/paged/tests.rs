//! Readings of both kinds against a fake service.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::config;
use crate::source::Reading;
use crate::source::testing::{Fake, Reply, answer, collection_tenant, ok, report_tenant, source};

/// Everything that a reading gives, and how it ended.
async fn read_all(reading: &mut Reading) -> (Vec<String>, Option<SourceError>) {
    let mut ids = Vec::new();
    loop {
        match reading.next_page().await {
            Ok(Some(page)) => ids.extend(page.reports.iter().map(|report| report.id.to_string())),
            Ok(None) => return (ids, None),
            Err(error) => return (ids, Some(error)),
        }
    }
}

fn rows(ids: &[&str]) -> Vec<Value> {
    ids.iter().map(|id| json!([id, "2026-03-19T12:00:00", "2026-03-19T12:10:00"])).collect()
}

fn report(total: Option<u64>, ids: &[&str]) -> Reply {
    let schema: Vec<_> =
        ["SessionId", "Sessionstart", "Sessionend"].iter().map(|name| json!({"Column": name})).collect();
    ok(&json!({"SessionId": "snap", "TotalRowCount": total, "Schema": schema, "Values": rows(ids)}).to_string())
}

fn collection(ids: &[&str], next: Option<&str>) -> Reply {
    let value: Vec<_> = ids.iter().map(|id| json!({"id": id})).collect();
    ok(&json!({"value": value, "@odata.nextLink": next}).to_string())
}

#[tokio::test]
async fn a_report_is_read_by_skip_and_top_until_its_total() {
    let fake =
        Fake::start(vec![report(Some(5), &["a", "b"]), report(Some(5), &["c"]), report(Some(5), &["d", "e"])]).await;
    let mut reading = source(&report_tenant(&fake)).0.read();
    assert!(!reading.is_complete());
    assert_eq!(read_all(&mut reading).await.0, ["a", "b", "c", "d", "e"]);
    assert!(reading.is_complete());
    assert_eq!(reading.date().unwrap().to_rfc3339(), "2026-03-19T12:00:00+00:00");
    assert!(reading.next_page().await.unwrap().is_none());
    let received = fake.received();
    let bodies: Vec<Value> = received.iter().map(|request| serde_json::from_str(&request.body).unwrap()).collect();
    assert_eq!(
        bodies,
        [
            json!({"skip": 0, "top": 2}),
            json!({"skip": 2, "top": 2, "sessionId": "snap"}),
            json!({"skip": 3, "top": 2, "sessionId": "snap"}),
        ]
    );
    assert!(received[0].head.starts_with("POST /beta/deviceManagement/reports/getRemoteAssistanceSessionsReport HTTP"));
    assert_eq!(received[0].header("content-type"), Some("application/json"));
}

#[tokio::test]
async fn a_report_that_ends_before_its_total_is_incomplete() {
    let fake = Fake::start(vec![report(Some(9), &["a", "b"]), report(Some(9), &[])]).await;
    let mut reading = source(&report_tenant(&fake)).0.read();
    let (ids, error) = read_all(&mut reading).await;
    assert_eq!((ids.len(), error.is_none()), (2, true));
    assert_eq!((reading.rows_missing(), reading.is_complete()), (7, false));
}

#[tokio::test]
async fn a_total_that_changes_or_is_absent_is_handled() {
    for (pages, missing) in [
        (vec![report(Some(2), &["a"]), report(Some(3), &["b"]), report(Some(3), &["c"])], 0),
        (vec![report(Some(9), &["a", "b"]), report(Some(3), &["c"])], 0),
        (vec![report(None, &["a", "b"]), report(None, &["c"]), report(None, &[])], 0),
        (vec![report(Some(4), &["a", "b"]), report(None, &["c"]), report(None, &[])], 1),
    ] {
        let requests = pages.len();
        let fake = Fake::start(pages).await;
        let mut reading = source(&report_tenant(&fake)).0.read();
        assert_eq!(read_all(&mut reading).await.0, ["a", "b", "c"]);
        assert_eq!((reading.rows_missing(), fake.received().len()), (missing, requests));
    }
}

#[tokio::test]
async fn a_service_that_does_not_page_is_not_read_for_ever() {
    let fake = Fake::start(vec![report(Some(1000), &["a", "b"]); 9]).await;
    let (ids, error) = read_all(&mut source(&report_tenant(&fake)).0.read()).await;
    assert_eq!(error.unwrap().reason, FailureReason::Paging);
    assert_eq!(ids.len(), 6);
}

#[tokio::test]
async fn missing_columns_fail_with_the_key_to_set() {
    let body = json!({"TotalRowCount": 1, "Schema": [{"Column": "Key"}], "Values": [["a"]]}).to_string();
    let fake = Fake::start(vec![ok(&body)]).await;
    let (_, error) = read_all(&mut source(&report_tenant(&fake)).0.read()).await;
    let error = error.unwrap();
    assert_eq!(error.reason, FailureReason::InvalidResponse);
    assert!(error.message.ends_with("it has Key: name the right ones under source.columns"), "{error}");
}

#[tokio::test]
async fn a_collection_is_read_by_its_links_with_its_headers() {
    let fake = Fake::start(vec![
        collection(&["a"], Some("/v1.0/sessions?$skiptoken=x%2By")),
        collection(&[], Some("sessions?p=3")),
        collection(&["b"], None),
    ])
    .await;
    let mut tenant = collection_tenant(&fake);
    tenant.source = config::Source::Collection { path: "/v1.0/sessions?$orderby=id".to_owned(), page_size: Some(7) };
    let mut reading = source(&tenant).0.read();
    assert_eq!(read_all(&mut reading).await.0, ["a", "b"]);
    assert!(reading.is_complete());
    let received = fake.received();
    let lines: Vec<_> = received.iter().map(|request| request.head.lines().next().unwrap()).collect();
    assert_eq!(
        lines,
        [
            "GET /v1.0/sessions?$orderby=id&$top=7 HTTP/1.1",
            "GET /v1.0/sessions?$skiptoken=x%2By HTTP/1.1",
            "GET /v1.0/sessions?p=3 HTTP/1.1",
        ]
    );
    assert!(received.iter().all(|request| request.header("prefer") == Some("include-unknown-enum-members")));
}

#[tokio::test]
async fn a_count_that_is_not_reached_is_told() {
    let fake = Fake::start(vec![ok(r#"{"@odata.count": 3, "value": [{"id": "a"}, 5]}"#)]).await;
    let mut reading = source(&collection_tenant(&fake)).0.read();
    read_all(&mut reading).await;
    assert_eq!((reading.rows_missing(), reading.is_complete()), (1, false));
}

#[tokio::test]
async fn a_foreign_link_is_refused_and_the_token_stays() {
    let foreign = Fake::start(vec![collection(&["x"], None)]).await;
    let link = format!("{}v1.0/sessions?page=2", foreign.url);
    let fake = Fake::start(vec![collection(&["a"], Some(&link))]).await;
    let token_file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token_file.path(), "the-token").unwrap();
    let mut tenant = collection_tenant(&fake);
    tenant.credential = config::Credential::BearerTokenFile { token_file: token_file.path().to_owned() };
    let mut reading = source(&tenant).0.read();
    let (ids, error) = read_all(&mut reading).await;
    // The rows of the page that names the link are good.
    assert_eq!(ids, ["a"]);
    assert_eq!(error.unwrap().reason, FailureReason::Paging);
    assert!(reading.next_page().await.is_err() && !reading.is_complete());
    assert_eq!(fake.received()[0].header("authorization"), Some("Bearer the-token"));
    assert!(foreign.received().is_empty());
}

#[tokio::test]
async fn loops_and_endless_chains_end() {
    let fake = Fake::start(vec![
        collection(&["a"], Some("/v1.0/sessions?p=2")),
        collection(&["b"], Some("/v1.0/sessions?p=3")),
        collection(&["c"], Some("/v1.0/sessions?p=2")),
    ])
    .await;
    let (ids, error) = read_all(&mut source(&collection_tenant(&fake)).0.read()).await;
    assert_eq!((ids.len(), error.unwrap().reason), (3, FailureReason::Paging));
    let itself = Fake::start(vec![collection(&["a"], Some("/v1.0/sessions"))]).await;
    let (_, error) = read_all(&mut source(&collection_tenant(&itself)).0.read()).await;
    assert!(error.unwrap().message.contains("read already"));

    let empty = (0..200).map(|page| collection(&[], Some(&format!("/v1.0/sessions?p={page}")))).collect();
    let fake = Fake::start(empty).await;
    let (_, error) = read_all(&mut source(&collection_tenant(&fake)).0.read()).await;
    assert!(error.unwrap().message.contains("100 empty pages in a row"));
    assert_eq!(fake.received().len(), 100);
}

#[tokio::test]
async fn json_that_is_cut_off_is_asked_for_again_and_nonsense_is_not() {
    let fake = Fake::start(vec![ok(r#"{"value":[{"id":"a"}"#), collection(&["b"], None)]).await;
    let (cut, witness) = source(&collection_tenant(&fake));
    assert_eq!(read_all(&mut cut.read()).await.0, ["b"]);
    assert_eq!(witness.heard(), ["collection 200", "retry", "collection 200"]);

    for (body, said) in [
        ("<html>secret</html>", "the answer is HTML (a proxy or gateway page?)"),
        (r#"{"value": "secret"}"#, "not the JSON of an OData collection: expected an array of sessions at line 1"),
        (r#"{"error": {}}"#, "missing field `value`"),
        ("}", "not the JSON of an OData collection: expected value at line 1"),
    ] {
        let fake = Fake::start(vec![ok(body)]).await;
        let (_, error) = read_all(&mut source(&collection_tenant(&fake)).0.read()).await;
        let error = error.unwrap();
        assert_eq!((error.reason, fake.received().len()), (FailureReason::InvalidResponse, 1));
        assert!(error.message.contains(said) && !error.message.contains("secret"), "{error}");
    }
    let fake = Fake::start(vec![ok("{"); 3]).await;
    let (_, error) = read_all(&mut source(&collection_tenant(&fake)).0.read()).await;
    assert!(error.unwrap().message.ends_with("gave up after 3 attempts"));
}

#[tokio::test]
async fn a_large_page_is_decoded_like_a_small_one() {
    let ids: Vec<_> = (0..10_000).map(|number| format!("{number:036}")).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    let fake = Fake::start(vec![collection(&ids, None)]).await;
    let mut reading = source(&collection_tenant(&fake)).0.read();
    assert_eq!(read_all(&mut reading).await.0, ids);
}

#[tokio::test]
async fn a_page_that_fails_or_is_given_up_can_be_read_again() {
    let fake = Fake::start(vec![
        collection(&["a"], Some("/v1.0/sessions?p=2")),
        answer("404 Not Found", &[], ""),
        Reply::Silence,
        collection(&["b"], None),
    ])
    .await;
    let mut reading = source(&collection_tenant(&fake)).0.read();
    assert!(reading.next_page().await.unwrap().is_some());
    assert_eq!(reading.next_page().await.unwrap_err().reason, FailureReason::NotFound);
    let arrived = async {
        while fake.received().len() < 3 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        page = reading.next_page() => panic!("{page:?}"),
        in_time = tokio::time::timeout(Duration::from_secs(30), arrived) => in_time.unwrap(),
    }
    assert_eq!(read_all(&mut reading).await.0, ["b"]);
    assert!(reading.is_complete());
}
