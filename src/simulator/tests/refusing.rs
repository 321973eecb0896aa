//! Errors of the token endpoint and of Graph.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::super::*;
use super::client::*;

#[tokio::test]
async fn a_token_is_issued_for_the_right_secret_and_lasts_its_time() {
    let (clock, _simulator, tenant, client, _) = scripted(0).await;
    let reply = client.ask_token(tenant.options()).await;
    assert_eq!(reply.status, 200);
    let body = reply.json();
    assert_eq!(body["token_type"], "Bearer");
    assert_eq!((&body["expires_in"], &body["ext_expires_in"]), (&json!(3599), &json!(3599)));
    let token = body["access_token"].as_str().unwrap();
    assert_eq!(client.report(token, "").await.status, 200);
    clock.pass(TimeDelta::seconds(3599));
    let reply = client.report(token, "").await;
    assert_eq!((reply.status.as_u16(), &reply.json()["error"]["code"]), (401, &json!("InvalidAuthenticationToken")));
}

#[tokio::test]
async fn the_token_endpoint_refuses_as_entra_does() {
    let clock = TestClock::start();
    let tenant = TenantOptions { expired_secret: Some("old".into()), ..TenantOptions::manual("contoso") };
    let simulator = Simulator::start(clock.options(vec![tenant.clone()])).await.unwrap();
    let client = Client::new(&simulator);
    let port = simulator.address().port();
    let path = format!("/{}/oauth2/v2.0/token", tenant.tenant_id);
    let form = |change: &dyn Fn(&mut TenantOptions)| {
        let mut changed = tenant.clone();
        change(&mut changed);
        token_form(port, &changed)
    };
    let good = form(&|_| {});
    let cases = [
        (&*path, form(&|tenant| tenant.client_secret = "wrong".into()), 401, "invalid_client", 7_000_215),
        (&path, form(&|tenant| tenant.client_secret = "old".into()), 401, "invalid_client", 7_000_222),
        (&path, form(&|tenant| tenant.client_id = "other".into()), 400, "unauthorized_client", 700_016),
        ("/nowhere/oauth2/v2.0/token", good.clone(), 400, "invalid_request", 90002),
        (&path, good.replace("client_credentials", "password"), 400, "unsupported_grant_type", 70003),
        (&path, good.replace("%2F.default", "%2FUser.Read"), 400, "invalid_scope", 1_002_012),
        (
            &path,
            good.replace("scope=https%3A%2F%2Flocalhost", "scope=https%3A%2F%2Fgraph"),
            400,
            "invalid_resource",
            500_011,
        ),
        (&path, good.replace("client_secret", "password"), 401, "invalid_client", 7_000_216),
    ];
    for (path, form, status, error, number) in cases {
        let reply = client.post_form(path, &form).await;
        let body = reply.json();
        assert_eq!((reply.status.as_u16(), &body["error"]), (status, &json!(error)), "{body}");
        assert_eq!(body["error_codes"], json!([number]));
        let description = body["error_description"].as_str().unwrap();
        let lines: Vec<_> = description.split("\r\n").collect();
        assert!(lines[0].starts_with(&format!("AADSTS{number}: ")), "{description}");
        assert_eq!(lines.len(), 4, "{description}");
        assert!(lines[1].starts_with("Trace ID: ") && lines[2].starts_with("Correlation ID: "), "{description}");
        assert_eq!(lines[3], "Timestamp: 2026-03-18 12:00:00Z");
    }
    assert_eq!(client.post_form(&path, &good).await.status, 200);
    let unlabelled = client.send("POST", &path, &[("content-type", "application/json")], &good).await;
    assert_eq!(unlabelled.status, 400);
    assert_eq!(client.send("GET", &path, &[], "").await.status, 405);
}

#[tokio::test]
async fn a_transient_error_of_the_token_endpoint_goes_away() {
    let (_, _simulator, tenant, client, token) = scripted(1).await;
    tenant.set_scenario_for(Scenario::TokenTransient, 1);
    assert_eq!(client.report(&token, "").await.status, 200);
    let reply = client.ask_token(tenant.options()).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["error_codes"]), (400, &json!([90033])));
    assert_eq!(client.ask_token(tenant.options()).await.status, 200);
}

fn error(reply: &Reply) -> (u16, Value) {
    (reply.status.as_u16(), reply.json()["error"].clone())
}

#[tokio::test]
async fn graph_wants_a_token_that_it_knows() {
    let (_, simulator, tenant, client, _) = scripted(1).await;
    let mine = ("client-request-id", "0f0f0f0f-0000-4000-8000-000000000000");
    let missing = client.send("POST", REPORT, &[mine], "").await;
    assert_eq!(missing.header("client-request-id"), Some(mine.1));
    assert!(missing.header("www-authenticate").unwrap().starts_with("Bearer"));
    let id = missing.header("request-id").unwrap().to_owned();
    let (status, body) = error(&missing);
    assert_eq!((status, &body["code"]), (401, &json!("InvalidAuthenticationToken")));
    let inner = json!({"date": "2026-03-18T12:00:00", "request-id": id, "client-request-id": mine.1});
    assert_eq!(body["innerError"], inner);
    assert_eq!(error(&client.report("invented", "").await).0, 401);
    let basic = client.send("GET", COLLECTION, &[("authorization", "Basic Y29udG9zbw==")], "").await;
    assert_eq!(basic.status, 401);
    assert_eq!(simulator.stray_requests().len(), 3);
    assert_eq!(tenant.requests().len(), 1, "the request for a token");
}

#[tokio::test]
async fn without_the_role_the_message_holds_a_document() {
    let clock = TestClock::start();
    let tenant = TenantOptions { permitted: false, ..TenantOptions::manual("contoso") };
    let simulator = Simulator::start(clock.options(vec![tenant.clone()])).await.unwrap();
    let client = Client::new(&simulator);
    let token = client.token(&tenant).await;
    let (status, body) = error(&client.report(&token, "").await);
    assert_eq!((status, &body["code"]), (403, &json!("Forbidden")));
    let nested: Value = serde_json::from_str(body["message"].as_str().unwrap()).unwrap();
    assert!(nested["Message"].as_str().unwrap().contains("DeviceManagementConfiguration.Read.All"));
}

#[tokio::test]
async fn what_does_not_exist_is_not_found_and_what_would_write_is_remembered() {
    let (_, simulator, tenant, client, token) = scripted(1).await;
    assert_eq!(error(&client.get(&token, "/beta/deviceManagement/managedDevices").await).0, 404);
    let wrong = client.get(&token, REPORT).await;
    assert_eq!((wrong.status.as_u16(), wrong.header("allow")), (405, Some("POST")));
    assert!(simulator.write_requests().is_empty());

    let bearer = format!("Bearer {token}");
    let headers = [("authorization", &*bearer)];
    let action = "/beta/deviceManagement/reportRemoteAssistance";
    assert_eq!(client.send("POST", action, &headers, "{}").await.status, 403);
    assert_eq!(client.send("DELETE", COLLECTION, &headers, "").await.status, 405);
    let writes: Vec<_> = simulator.write_requests().into_iter().map(|r| (r.method, r.path)).collect();
    assert_eq!(writes, [("POST".into(), action.into()), ("DELETE".into(), COLLECTION.to_owned())]);
    assert_eq!(tenant.requests().len(), 5);
}

#[tokio::test]
async fn tenants_are_told_apart() {
    let clock = TestClock::start();
    let options = clock.options(vec![TenantOptions::manual("contoso"), TenantOptions::manual("fabrikam")]);
    let simulator = Simulator::start(options).await.unwrap();
    let [contoso, fabrikam] = ["contoso", "fabrikam"].map(|name| simulator.tenant(name).unwrap());
    assert!(simulator.tenant("nobody").is_err());
    contoso.push(session(&clock, "c-1"));
    fabrikam.push(session(&clock, "f-1"));
    fabrikam.set_scenario(Scenario::ServerError);
    let client = Client::new(&simulator);
    let token = client.token(contoso.options()).await;
    assert_eq!(client.report(&token, r#"{"select": ["SessionId"]}"#).await.json()["Values"], json!([["c-1"]]));
    assert_eq!(client.report(&client.token(fabrikam.options()).await, "").await.status, 500);

    let twice = clock.options(vec![TenantOptions::manual("contoso"), TenantOptions::manual("Contoso")]);
    assert_eq!(Simulator::start(twice).await.err().unwrap().kind(), io::ErrorKind::InvalidInput);
}
