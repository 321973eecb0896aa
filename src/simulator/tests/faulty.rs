//! The shape of every fault.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use super::super::*;
use super::client::*;

fn rows(page: &Value) -> &Vec<Value> {
    page.get("Values").or_else(|| page.get("value")).unwrap().as_array().unwrap()
}

#[tokio::test]
async fn throttling_says_when_to_come_back_in_every_way() {
    let (_, _simulator, tenant, client, token) = scripted(1).await;
    for (scenario, retry_after) in [
        (Scenario::Throttled, Some("1")),
        (Scenario::ThrottledFractional, Some("2.128")),
        (Scenario::ThrottledDate, Some("Wed, 18 Mar 2026 12:00:02 GMT")),
        (Scenario::ThrottledSilent, None),
    ] {
        tenant.set_scenario_for(scenario, 1);
        let reply = client.report(&token, "").await;
        assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (429, retry_after), "{scenario}");
        assert_eq!(reply.json()["error"]["code"], "TooManyRequests");
        assert_eq!(client.report(&token, "").await.status, 200, "only one request");
    }
}

#[tokio::test]
async fn failures_have_their_status_and_body() {
    let (_, _simulator, tenant, client, token) = scripted(1).await;
    for (scenario, status) in
        [(Scenario::ServerError, 500), (Scenario::Unavailable, 503), (Scenario::GatewayTimeout, 504)]
    {
        tenant.set_scenario(scenario);
        let reply = client.get(&token, COLLECTION).await;
        assert_eq!(reply.status, status);
        assert!(reply.json()["error"]["innererror"]["request-id"].is_string());
    }
    for (scenario, status) in [(Scenario::HtmlError, 502), (Scenario::HtmlBody, 200)] {
        tenant.set_scenario(scenario);
        let reply = client.report(&token, "").await;
        assert_eq!((reply.status.as_u16(), reply.header("content-type")), (status, Some("text/html; charset=utf-8")));
        assert!(reply.body.starts_with(b"<!DOCTYPE html>"));
    }
    tenant.set_scenario(Scenario::Redirect);
    let reply = client.report(&token, "").await;
    let location = format!("https://graph.foreign.example{REPORT}");
    assert_eq!((reply.status.as_u16(), reply.header("location")), (302, Some(&*location)));
}

#[tokio::test]
async fn a_cut_body_is_shorter_than_announced() {
    let (_, _simulator, tenant, client, token) = scripted(50).await;
    let right = client.report(&token, "").await;
    tenant.set_scenario(Scenario::CutBody);
    let cut = client.report(&token, "").await;
    assert_eq!(cut.status, 200);
    assert_eq!(cut.header("content-length"), right.header("content-length"));
    assert!(!cut.whole);
    assert_eq!(cut.body[..], right.body[..right.body.len() / 2]);
}

#[tokio::test]
async fn a_slow_body_is_whole_in_the_end() {
    let clock = TestClock::start();
    let options = Options { stall: Duration::from_millis(1), ..clock.options(vec![TenantOptions::manual("contoso")]) };
    let simulator = Simulator::start(options).await.unwrap();
    let tenant = simulator.tenant("contoso").unwrap();
    tenant.push(session(&clock, "s-0"));
    tenant.set_scenario(Scenario::Slow);
    let client = Client::new(&simulator);
    let page = client.report(&client.token(tenant.options()).await, "").await.json();
    assert_eq!(rows(&page).len(), 1);
}

#[tokio::test]
async fn huge_bodies_do_not_end() {
    let (_, _simulator, tenant, mut client, token) = scripted(1).await;
    client.patience = 16 << 20;
    tenant.set_scenario(Scenario::HugeBody);
    let huge = client.report(&token, "").await;
    assert!(!huge.whole && huge.body.len() > client.patience);
    assert_eq!(huge.header("content-length"), None);
    assert!(huge.body.starts_with(br#"{"value":[ "#));

    client.patience = 64 << 10;
    tenant.set_scenario(Scenario::GzipBomb);
    let bomb = client.report(&token, "").await;
    assert_eq!(bomb.header("content-encoding"), Some("gzip"));
    let mut inflated = Vec::new();
    use std::io::Read;
    let _ = flate2::read::GzDecoder::new(&bomb.body[..]).read_to_end(&mut inflated);
    assert!(inflated.len() > 200 * bomb.body.len(), "{} from {}", inflated.len(), bomb.body.len());
}

#[tokio::test]
async fn an_expired_token_is_refused_until_a_new_one_is_used() {
    let (_, _simulator, tenant, client, old) = scripted(1).await;
    tenant.set_scenario(Scenario::ExpiredToken);
    for _ in 0..2 {
        let reply = client.report(&old, "").await;
        assert_eq!(
            (reply.status.as_u16(), &reply.json()["error"]["code"]),
            (401, &json!("InvalidAuthenticationToken"))
        );
    }
    let new = client.token(tenant.options()).await;
    assert_eq!(client.report(&new, "").await.status, 200);
    assert_eq!(client.report(&old, "").await.status, 401);
    tenant.set_scenario(Scenario::MissingRole);
    assert_eq!(client.report(&new, "").await.status, 403);
}

#[tokio::test]
async fn links_loop_or_lead_away() {
    let (_, simulator, tenant, client, token) = scripted(70).await;
    tenant.set_scenario(Scenario::Loop);
    let mut seen = BTreeSet::new();
    let mut path = COLLECTION.to_owned();
    for _ in 0..4 {
        let page = client.get(&token, &path).await.json();
        path = page["@odata.nextLink"].as_str().unwrap().strip_prefix(&simulator.url()).unwrap().into();
        seen.insert(path.clone());
    }
    assert_eq!(seen.len(), 2);
    tenant.set_scenario(Scenario::ForeignLink);
    for top in [50, 100] {
        let page = client.get(&token, &format!("{COLLECTION}?$top={top}")).await.json();
        let link = page["@odata.nextLink"].as_str().unwrap();
        assert!(link.starts_with(&format!("https://graph.foreign.example{COLLECTION}?")), "{link}");
    }
}

#[tokio::test]
async fn short_and_empty_pages() {
    let (_, simulator, tenant, client, token) = scripted(70).await;
    tenant.set_scenario(Scenario::ShortPage);
    let page = client.report(&token, r#"{"top": 100}"#).await.json();
    assert_eq!((&page["TotalRowCount"], rows(&page).len()), (&json!(77), 70));
    let page = client.get(&token, &format!("{COLLECTION}?$top=100")).await.json();
    assert_eq!((&page["@odata.count"], rows(&page).len()), (&json!(77), 70));

    tenant.set_scenario(Scenario::EmptyPage);
    let page = client.report(&token, r#"{"skip": 50}"#).await.json();
    assert_eq!((&page["TotalRowCount"], rows(&page).len()), (&json!(70), 0));
    let mut sizes = Vec::new();
    let mut next = Some(COLLECTION.to_owned());
    while let Some(path) = next {
        let page = client.get(&token, &path).await.json();
        sizes.push(rows(&page).len());
        let link = page["@odata.nextLink"].as_str();
        next = link.map(|link| link.strip_prefix(&simulator.url()).unwrap().into());
    }
    assert_eq!(sizes, [50, 0, 20]);
}

#[tokio::test]
async fn duplicate_and_broken_rows_are_among_the_good() {
    let (_, _simulator, tenant, client, token) = scripted(60).await;
    tenant.set_scenario(Scenario::DuplicateRows);
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for row in client.read_report(&token, 25).await {
        *times.entry(row["SessionId"].as_str().unwrap().into()).or_default() += 1;
    }
    assert_eq!((times.len(), times.values().filter(|times| **times == 2).count()), (60, 20));

    tenant.set_scenario(Scenario::BrokenRows);
    let report = client.report(&token, r#"{"top": 100}"#).await.json();
    assert_eq!((&report["TotalRowCount"], rows(&report).len()), (&json!(65), 65));
    let cells =
        |test: &dyn Fn(usize) -> bool| rows(&report).iter().filter(|r| test(r.as_array().map_or(0, Vec::len))).count();
    assert_eq!([cells(&|n| n == 18), cells(&|n| n == 17), cells(&|n| n == 19), cells(&|n| n == 0)], [62, 1, 1, 1]);
    let holds = |column: usize, value: Value| rows(&report).iter().filter(|row| row[column] == value).count();
    assert_eq!((holds(9, Value::Null), holds(8, json!("yesterday"))), (1 + 1, 1), "the row that is none has no cells");
    let page = client.get(&token, &format!("{COLLECTION}?$top=100")).await.json();
    let objects = rows(&page).iter().filter_map(Value::as_object);
    assert_eq!((rows(&page).len(), objects.clone().count()), (65, 62));
    assert_eq!(objects.clone().filter(|row| row["id"].is_null()).count(), 1);
    assert_eq!(objects.filter(|row| row["endDateTime"] == "yesterday").count(), 1);
}

#[tokio::test]
async fn columns_are_shuffled_and_unknown() {
    let (_, _simulator, tenant, client, token) = scripted(100).await;
    let names = |page: &Value| -> Vec<String> {
        page["Schema"].as_array().unwrap().iter().map(|c| c["Column"].as_str().unwrap().into()).collect()
    };
    let sorted = names(&client.report(&token, "").await.json());
    tenant.set_scenario(Scenario::ShuffledColumns);
    let [first, second] = [0, 50].map(|skip| format!("{{\"skip\": {skip}}}"));
    let [first, second] = [client.report(&token, &first).await.json(), client.report(&token, &second).await.json()];
    assert!(names(&first) != sorted && names(&second) != sorted && names(&first) != names(&second));
    assert_eq!(names(&first).into_iter().collect::<BTreeSet<_>>(), sorted.iter().cloned().collect());
    let place = names(&second).iter().position(|name| name == "SessionId").unwrap();
    assert_eq!(rows(&second)[0][place], "s-50");

    tenant.set_scenario(Scenario::UnknownColumns);
    let page = client.report(&token, "").await.json();
    assert_eq!(names(&page).len(), sorted.len() + 4);
    assert_eq!(names(&page)[..2], ["_RiskLevel", "_RiskLevel_loc"]);
    let attribute = names(&page).iter().position(|name| name == "Attribute").unwrap();
    let types: Vec<_> = rows(&page).iter().map(|row| &row[attribute]).collect();
    assert_eq!(types[..2], ["annotation", "viewOnly"]);

    let bearer = format!("Bearer {token}");
    let prefer = [("authorization", &*bearer), ("prefer", "odata.maxpagesize=5, include-unknown-enum-members")];
    let modern = client.send("GET", COLLECTION, &prefer, "").await;
    assert_eq!(modern.header("preference-applied"), Some("include-unknown-enum-members"));
    assert_eq!(modern.json()["value"][0]["remoteAssistanceSessionType"], "annotation");
    let plain = client.get(&token, COLLECTION).await.json();
    assert_eq!(plain["value"][0]["remoteAssistanceSessionType"], "unknownFutureValue");
    assert_eq!(plain["value"][1]["remoteAssistanceSessionType"], "viewOnly");
    assert!(plain["value"][1]["extension"].is_object());
}

#[tokio::test]
async fn another_process_can_switch_and_ask_for_the_truth() {
    let (_, _simulator, tenant, client, token) = scripted(2).await;
    let put = async |path: &str| client.send("PUT", path, &[], "").await.status.as_u16();
    assert_eq!(put("/simulator/scenario/contoso/server-error?requests=1").await, 204);
    assert_eq!(client.report(&token, "").await.status, 500);
    assert_eq!(client.report(&token, "").await.status, 200);
    assert_eq!(put("/simulator/scenario/nobody/none").await, 404);
    assert_eq!(put("/simulator/scenario/contoso/no-such").await, 404);
    assert_eq!(put("/simulator/scenario/contoso/none?requests=x").await, 400);

    let truth = client.send("GET", "/simulator/truth", &[], "").await.json();
    let of_type = json!({"sessions": 2, "durations": 2, "duration_ticks": 2 * 9 * 60 * 10_000_000_u64});
    assert_eq!(truth, json!({"contoso": {"ended": 2, "by_type": {"viewOnly": of_type}}}));
    let full = client.send("GET", "/simulator/truth?full=1", &[], "").await.json();
    let first = &full["contoso"]["sessions"][0];
    assert_eq!((&first["id"], &first["sessionType"]), (&json!("s-0"), &json!("viewOnly")));
    assert_eq!(first["end"], "2026-03-18T11:59:00Z");
    assert!(tenant.requests().iter().all(|request| !request.path.starts_with("/simulator/")));
}
