//! The wire shapes of the two ways to read, and of TLS.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::super::*;
use super::client::*;

const DOCUMENTED: [&str; 18] = [
    "Attribute",
    "Date",
    "DateDifference",
    "HelperDeviceAadId",
    "HelperDeviceName",
    "HelperEmail",
    "HelperFirstName",
    "HelperLastName",
    "Sessionend",
    "SessionId",
    "Sessionstart",
    "SharerDeviceAadId",
    "SharerDeviceName",
    "SharerDeviceOS",
    "SharerDeviceSerialNumber",
    "SharerEmail",
    "SharerFirstName",
    "SharerLastName",
];

fn columns(page: &Value) -> Vec<&str> {
    page["Schema"].as_array().unwrap().iter().map(|column| column["Column"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn only_clients_that_trust_the_authority_connect_and_by_every_name() {
    let (_, simulator, _, client, _) = scripted(0).await;
    for name in ["localhost", "127.0.0.1", "::1"] {
        client.connect(name).await.unwrap();
    }
    assert!(client.connect("graph.microsoft.com").await.is_err());
    let stranger = Authority::generate().unwrap();
    let error = Client::trusting(stranger.certificate_pem(), simulator.address()).connect("localhost").await;
    assert!(error.unwrap_err().to_string().contains("certificate"), "an unknown authority is refused");
}

#[tokio::test]
async fn an_authority_that_was_kept_serves_again() {
    let clock = TestClock::start();
    let kept = Authority::generate().unwrap();
    let kept = Authority::from_pem(kept.certificate_pem(), kept.key_pem()).unwrap();
    let options = Options { authority: Some(kept.clone()), ..clock.options(vec![]) };
    let simulator = Simulator::start(options).await.unwrap();
    Client::trusting(kept.certificate_pem(), simulator.address()).connect("localhost").await.unwrap();
}

#[tokio::test]
async fn the_report_is_columnar_and_paged_by_skip_and_top() {
    let (_, _simulator, tenant, client, token) = scripted(120).await;
    let first = client.report(&token, "").await;
    assert_eq!(first.header("content-type"), Some("application/octet-stream"));
    assert_eq!(first.header("date"), Some("Wed, 18 Mar 2026 12:00:00 GMT"));
    let first = first.json();
    assert_eq!(columns(&first), DOCUMENTED);
    assert_eq!(first["TotalRowCount"], 120);
    assert_eq!(first["Values"].as_array().unwrap().len(), 50);

    // The snapshot is pinned: what comes in between is not seen, and nothing is seen twice.
    tenant.push(Session { id: "late".into(), ..Session::default() });
    let rest = json!({"skip": 50, "top": 100, "sessionId": first["SessionId"]}).to_string();
    let rest = client.report(&token, &rest).await.json();
    assert_eq!(rest["TotalRowCount"], 120);
    assert_eq!(rest["Values"].as_array().unwrap().len(), 70);
    assert_eq!(rest["Values"][0][9], "s-50");
    assert_eq!(client.report(&token, "{}").await.json()["TotalRowCount"], 121);
    let beyond = client.report(&token, r#"{"skip": 500}"#).await.json();
    assert_eq!(beyond["Values"], json!([]));
}

#[tokio::test]
async fn columns_come_sorted_whatever_the_selection_and_wrong_ones_are_refused() {
    let (_, _simulator, _, client, token) = scripted(1).await;
    let page = client.report(&token, r#"{"select": ["Sessionstart", "SessionId", "Attribute"]}"#).await.json();
    assert_eq!(columns(&page), ["Attribute", "SessionId", "Sessionstart"]);
    assert_eq!(page["Values"], json!([["viewOnly", "s-0", "2026-03-18T11:50:00"]]));
    let types: Vec<_> = page["Schema"].as_array().unwrap().iter().map(|column| &column["PropertyType"]).collect();
    assert_eq!(types, ["String", "String", "DateTime"]);
    for wrong in [r#"{"select": ["sessionid"]}"#, r#"{"filter": "x eq 1"}"#, r#"{"tops": 1}"#, "[", r#"{"name": "x"}"#]
    {
        let reply = client.report(&token, wrong).await;
        assert_eq!((reply.status.as_u16(), &reply.json()["error"]["code"]), (400, &json!("BadRequest")), "{wrong}");
    }
}

#[tokio::test]
async fn generated_rows_have_cells_of_every_documented_kind() {
    let clock = TestClock::start();
    let simulator = Simulator::start(clock.options(vec![TenantOptions::new("contoso")])).await.unwrap();
    let client = Client::new(&simulator);
    let token = client.token(&TenantOptions::new("contoso")).await;
    let rows = client.read_report(&token, 1000).await;
    assert!((1_500..2_000).contains(&rows.len()), "{}", rows.len());
    let values = |column: &str| -> Vec<&Value> { rows.iter().map(|row| &row[column]).collect() };
    let some = |column: &str, test: &dyn Fn(&Value) -> bool| {
        assert!(values(column).into_iter().any(test), "{column}: {:?}", &values(column)[..20]);
    };
    for absent in [json!(null), json!(""), json!("--")] {
        some("SharerDeviceName", &|value| *value == absent);
    }
    some("Sessionstart", &|value| value.as_str().is_some_and(|date| date.len() == 19));
    some("Sessionstart", &|value| value.as_str().is_some_and(|date| date.len() == 27));
    some("DateDifference", &Value::is_string);
    some("DateDifference", &Value::is_i64);
    for name in ["viewOnly", "fullControl", "elevation", "unattended"] {
        some("Attribute", &|value| value == name);
    }
    some("HelperEmail", &|value| value.as_str().is_some_and(|email| email.ends_with("@partner.example")));
    some("SharerDeviceOS", &|value| value == "Windows 11 10.0.26100");
    assert!(values("SessionId").iter().all(|id| id.as_str().is_some_and(|id| id.len() == 36)));
}

#[tokio::test]
async fn a_session_in_progress_has_every_spelling_of_no_end() {
    let (clock, _simulator, tenant, client, token) = scripted(0).await;
    let running = |number: i32| Session { end: None, ..session(&clock, &format!("r-{number}")) };
    tenant.set_sessions((0..60).map(running).collect());
    let page = client.report(&token, r#"{"select": ["Sessionend"], "top": 60}"#).await.json();
    let ends = page["Values"].as_array().unwrap();
    for end in [json!([null]), json!([""]), json!(["0001-01-01T00:00:00"])] {
        assert!(ends.contains(&end), "{end} is not in {ends:?}");
    }
    assert!(tenant.ended(clock.now()).is_empty());
    tenant.push(session(&clock, "r-0"));
    assert_eq!(tenant.ended(clock.now()).len(), 1);
}

#[tokio::test]
async fn extended_columns_tell_what_the_documented_leave_out() {
    let clock = TestClock::start();
    let tenant = TenantOptions::new("contoso");
    let options = Options { extended_columns: true, ..clock.options(vec![tenant.clone()]) };
    let simulator = Simulator::start(options).await.unwrap();
    let client = Client::new(&simulator);
    let rows = client.read_report(&client.token(&tenant).await, 1000).await;
    assert_eq!(rows[0].len(), 18 + 11);
    assert!(rows.iter().any(|row| row["sharerEnrollmentState"] == "notContacted"));
    assert!(rows.iter().any(|row| row["helperTenantId"] != json!(tenant.tenant_id)));
}

#[tokio::test]
async fn the_collection_is_paged_by_links_and_pinned() {
    let (clock, simulator, tenant, client, token) = scripted(120).await;
    let mut path = format!("{COLLECTION}?$top=50");
    let mut ids = Vec::new();
    loop {
        let page = client.get(&token, &path).await.json();
        assert!(
            page["@odata.context"].as_str().unwrap().ends_with("$metadata#deviceManagement/remoteAssistanceSessions")
        );
        for row in page["value"].as_array().unwrap() {
            assert_eq!(row["@odata.type"], "#microsoft.graph.remoteAssistanceReporting");
            assert_eq!(row["endDateTime"], "2026-03-18T11:59:00Z");
            ids.push(row["id"].as_str().unwrap().to_owned());
        }
        tenant.push(session(&clock, &format!("new-{}", ids.len())));
        let Some(link) = page["@odata.nextLink"].as_str() else { break };
        path = link.strip_prefix(&simulator.url()).unwrap().to_owned();
    }
    let expected: Vec<_> = (0..120).map(|number| format!("s-{number}")).collect();
    assert_eq!(ids, expected);
    assert_eq!(client.get(&token, &format!("{COLLECTION}?$count=true&$top=1")).await.json()["@odata.count"], 123);
    assert_eq!(client.get(&token, &format!("{COLLECTION}?$skiptoken=x")).await.status, 400);
}

#[tokio::test]
async fn the_gateway_serves_the_collection_without_a_token() {
    let (_, _simulator, tenant, client, _) = scripted(3).await;
    let reply = client.send("GET", &tenant.gateway_path(), &[], "").await;
    assert_eq!(reply.json()["value"].as_array().unwrap().len(), 3);
    let recorded = tenant.requests().pop().unwrap();
    assert_eq!((recorded.status, recorded.authorization, &*recorded.path), (200, false, &*tenant.gateway_path()));
    assert_eq!(client.send("GET", "/gateway/nobody/remoteAssistanceSessions", &[], "").await.status, 404);
}

#[tokio::test]
async fn a_full_resource_has_its_27_properties_and_gzip_is_the_same_body() {
    let (clock, _simulator, tenant, client, _) = scripted(0).await;
    let participant = Participant {
        user_id: Some("u".into()),
        email: Some("helper-001@contoso.example".into()),
        tenant_id: Some("t".into()),
        first_name: Some("Helper".into()),
        last_name: Some("001".into()),
        os: Some("Windows".into()),
        device_aad_id: Some("d".into()),
        device_name: Some("HELP-001".into()),
        enrollment_state: Some("enrolled".into()),
    };
    tenant.push(Session {
        helper: participant.clone().into(),
        sharer: participant.into(),
        helper_company_name: Some("contoso".into()),
        sharer_device_serial_number: Some("SN1".into()),
        device_id: Some("i".into()),
        created: Some(clock.now() - TimeDelta::nanoseconds(100)),
        diagnostic_code: Some("0".into()),
        ..session(&clock, "full")
    });
    let plain = client.send("GET", &tenant.gateway_path(), &[], "").await;
    let page = plain.json();
    let row = page["value"][0].as_object().unwrap();
    assert_eq!(row.len(), 1 + 27);
    assert!(row.values().all(|value| value.as_str().is_some_and(|text| !text.is_empty())), "{row:?}");
    assert_eq!(row["sessionCreateDateTime"], "2026-03-18T11:59:59.9999999Z");
    assert_eq!(plain.header("content-encoding"), None);
    let gzip = client.send("GET", &tenant.gateway_path(), &[("accept-encoding", "gzip")], "").await;
    let inflated: Value = serde_json::from_slice(&gzip.inflated()).unwrap();
    assert_eq!(inflated, page);
}

#[tokio::test]
async fn a_stopped_simulator_takes_no_connection_and_drops_open_ones() {
    use tokio::io::AsyncReadExt;
    let (_, simulator, _, client, _) = scripted(0).await;
    let mut open = client.connect("localhost").await.unwrap();
    simulator.stop().await;
    assert!(!matches!(open.read(&mut [0; 1]).await, Ok(1..)));
    assert!(client.connect("localhost").await.is_err());
}
