//! What is said of tenants whose access or answers are wrong.

use std::fs;
use std::path::PathBuf;

use chrono::TimeDelta;
use insta::assert_snapshot;
use remote_assistance_exporter::clock;
use remote_assistance_exporter::simulator::Scenario;
use serde_json::Value;

use super::{Change, Checked, lab, shows_nothing_private, stand_ins, step, steps};
use crate::support::Lab;

/// The first step that failed, and how the others are.
fn failure(document: &Value, tenant: &str) -> String {
    let found = document["tenants"].as_array().unwrap().iter().find(|found| found["tenant"] == tenant).unwrap();
    let mut lines = Vec::new();
    for step in found["steps"].as_array().unwrap() {
        let line = format!("{} {}", step["step"].as_str().unwrap(), step["status"].as_str().unwrap());
        match step["status"].as_str().unwrap() {
            "ok" => {}
            "failed" => lines.push(format!(
                "{line} {}: {}",
                step["reason"].as_str().unwrap(),
                step["message"].as_str().unwrap()
            )),
            _ => lines.push(format!("{line}: {}", step["message"].as_str().unwrap())),
        }
    }
    lines.join("\n")
}

/// Tenants with one trouble each.
const TENANTS: [(&str, Change); 9] = [
    ("well", |_| ()),
    ("wrong-password", |_| ()),
    ("expired-password", |options| options.expired_secret = Some("an-expired-secret".to_owned())),
    ("unknown-tenant", |_| ()),
    ("no-role", |options| options.permitted = false),
    ("other-columns", |_| ()),
    ("html", |_| ()),
    ("throttled", |_| ()),
    ("empty", |_| ()),
];

/// A lab of all of them, and its configuration.
fn troubled() -> (Lab, PathBuf) {
    let lab = lab(&TENANTS, |_| ());
    let tenant = |name: &str| lab.simulator.tenant(name).unwrap();
    tenant("html").set_scenario(Scenario::HtmlBody);
    tenant("throttled").set_scenario(Scenario::ThrottledSilent);
    tenant("empty").set_sessions(Vec::new());
    let columns = "source: {kind: sessions_report, columns: {id: Key, endDateTime: Finished}}";
    let keys = TENANTS.map(|(name, _)| (name, if name == "other-columns" { columns } else { "" }));
    let path = lab.configuration("poll_interval: 1m", &keys);
    let text = fs::read_to_string(&path).unwrap();
    let text = text
        .replace(&tenant("unknown-tenant").options().tenant_id, "00000000-1111-2222-3333-444444444444")
        .replace("client_secret: wrong-password-secret", "client_secret: not-the-secret")
        .replace("client_secret: expired-password-secret", "client_secret: an-expired-secret");
    fs::write(&path, text).unwrap();
    (lab, path)
}

/// All in one run: those that are well do not suffer.
#[test]
fn each_trouble_is_told_with_its_remedy_and_the_others_are_fine() {
    let _stand_ins = stand_ins();
    let (lab, path) = troubled();
    let checked = Checked::run(&path, &["--output=json"]);
    let document = checked.document();
    assert_eq!((checked.code, &document["status"]), (1, &"failed".into()));
    let failed = "wrong-password, expired-password, unknown-tenant, no-role, other-columns, html, throttled";
    assert_eq!(checked.last_line(), format!("remote-assistance-exporter: error: 7 of 9 tenants failed: {failed}"));
    shows_nothing_private(&lab, &checked);
    let order: Vec<_> = document["tenants"].as_array().unwrap().iter().map(|found| found["tenant"].clone()).collect();
    assert_eq!(order, TENANTS.map(|(name, _)| name));
    assert!(steps(&document, "well").values().all(|(status, _)| status == "ok"));
    what_is_told(&document);
}

fn what_is_told(document: &Value) {
    assert_snapshot!(failure(document, "wrong-password"), @"
        token failed authentication: the token endpoint https://localhost:PORT/GUID/oauth2/v2.0/token answered 401: invalid_client: AADSTS7000215: Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app 'GUID'; the client secret is wrong: set credential.client_secret (or the file) to the secret's value, not its id
        permission skipped: not done, because token failed
        read skipped: not done, because token failed
        columns skipped: not done, because token failed
        ");
    assert_snapshot!(failure(document, "expired-password"), @"
        token failed authentication: the token endpoint https://localhost:PORT/GUID/oauth2/v2.0/token answered 401: invalid_client: AADSTS7000222: The provided client secret keys for app 'GUID' are expired. Visit the Azure portal to create new keys for your app: https://aka.ms/NewClientSecret, or consider using certificate credentials for added security: https://aka.ms/certCreds; the client secret has expired: add a new one to the app registration and set it in the credential
        permission skipped: not done, because token failed
        read skipped: not done, because token failed
        columns skipped: not done, because token failed
        ");
    assert_snapshot!(failure(document, "unknown-tenant"), @"
        token failed authentication: the token endpoint https://localhost:PORT/GUID/oauth2/v2.0/token answered 400: invalid_request: AADSTS90002: Tenant 'GUID' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud. Check with your subscription administrator, this may happen if there are no active subscriptions for the tenant; there is no such tenant here: check tenant_id, and cloud, since each cloud knows its own tenants only
        permission skipped: not done, because token failed
        read skipped: not done, because token failed
        columns skipped: not done, because token failed
        ");
    assert_snapshot!(failure(document, "no-role"), @"
        permission warning: the token names none of the permissions that the source needs; grant the application DeviceManagementServiceConfig.Read.All or DeviceManagementConfiguration.Read.All as an application permission of Microsoft Graph and give admin consent (a new permission takes effect with the next token)
        read failed forbidden: POST https://localhost:PORT/beta/deviceManagement/reports/getRemoteAssistanceSessionsReport answered 403 Forbidden: Forbidden: Application is not authorized to perform this operation. Application must have one of the following scopes: DeviceManagementServiceConfig.Read.All, DeviceManagementConfiguration.Read.All - Operation ID (for customer support): GUID - Activity ID: GUID… (request-id GUID); grant the application one of the Microsoft Graph application permissions DeviceManagementServiceConfig.Read.All or DeviceManagementConfiguration.Read.All and give admin consent (a new permission takes effect with the next token, which the next poll asks for)
        columns skipped: not done, because read failed
        ");
    assert_snapshot!(failure(document, "other-columns"), @"columns failed invalid_response: POST https://localhost:PORT/beta/deviceManagement/reports/getRemoteAssistanceSessionsReport: the report has no column for id (configured as Key), endDateTime (configured as Finished); it has Attribute, Date, DateDifference, HelperDeviceAadId, HelperDeviceName, HelperEmail, HelperFirstName, HelperLastName, Sessionend, SessionId, Sessionstart, SharerDeviceAadId, SharerDeviceName, SharerDeviceOS, SharerDeviceSerialNumber, SharerEmail, SharerFirstName, SharerLastName: name the right ones under source.columns");
    assert_snapshot!(failure(document, "html"), @"
        read failed invalid_response: POST https://localhost:PORT/beta/deviceManagement/reports/getRemoteAssistanceSessionsReport: the answer is HTML (a proxy or gateway page?); check graph_url and source.path
        columns skipped: not done, because read failed
        ");
    assert_snapshot!(failure(document, "throttled"), @"
        read failed throttled: POST https://localhost:PORT/beta/deviceManagement/reports/getRemoteAssistanceSessionsReport answered 429 Too Many Requests: TooManyRequests: Too many requests have been sent. Please try again later (request-id GUID); the service is throttling: a longer poll_interval asks less of it; gave up after 3 attempts
        columns skipped: not done, because read failed
        ");
    assert_eq!(failure(document, "empty"), "", "no session is no trouble");
    assert_eq!(step(document, "empty", "read")["details"]["rows"], 0);
    let number = |tenant, name| step(document, tenant, name)["aadsts"].clone();
    assert_eq!(number("wrong-password", "token"), 7_000_215);
    assert_eq!(number("expired-password", "token"), 7_000_222);
    assert_eq!(number("unknown-tenant", "token"), 90_002);
    assert_eq!(number("html", "read"), Value::Null);
    assert_eq!(step(document, "no-role", "token")["details"]["roles"], serde_json::json!([]));
    let columns = &step(document, "other-columns", "columns")["details"]["properties"];
    assert_eq!((&columns[0]["property"], &columns[0]["columns"]), (&"id".into(), &serde_json::json!([])));
    assert_eq!(columns[1]["columns"], serde_json::json!(["Sessionstart"]), "what is there is shown all the same");
}

#[test]
fn a_clock_that_is_off_is_told() {
    let _stand_ins = stand_ins();
    for (hours, code) in [(-1, 0), (49, 1)] {
        let lab = lab(&[("contoso", |_| ())], |options| {
            options.clock = std::sync::Arc::new(move || clock::now() + TimeDelta::hours(hours));
        });
        let checked = Checked::run(&lab.configuration("poll_interval: 1m", &[("contoso", "")]), &["--output=json"]);
        assert_eq!(checked.code, code, "{}", checked.log);
        let document = checked.document();
        if code == 0 {
            assert_snapshot!(failure(&document, "contoso"), @"clock warning: this machine's clock is 60 minutes ahead of the service's; set it, for instance by NTP");
        } else {
            assert_snapshot!(failure(&document, "contoso"), @"clock failed invalid_response: this machine's clock is 2 days behind the service's; set it, for instance by NTP");
        }
        let ahead = step(&document, "contoso", "clock")["details"]["ahead_seconds"].as_i64().unwrap();
        assert!((ahead + hours * 3600).abs() < 60, "{ahead}");
    }
}

/// A token that says nothing of itself, one that has expired and one for another tenant.
#[test]
fn a_token_from_a_file_is_read_too() {
    use base64::Engine as _;
    let _stand_ins = stand_ins();
    let lab = lab(&[("contoso", |_| ())], |_| ());
    let file = lab.directory.path().join("token");
    let keys = "credential: {kind: bearer_token_file, token_file: token}";
    let path = lab.configuration("poll_interval: 1m", &[("contoso", keys)]);
    let jwt = |claims: Value| {
        let part = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(claims.to_string());
        format!("e30.{part}.signature")
    };
    let check = |token: &str| {
        fs::write(&file, token).unwrap();
        let checked = Checked::run(&path, &["--output=json"]);
        assert_eq!(checked.code, 1);
        assert!(!format!("{}{}", checked.output, checked.log).contains(token));
        failure(&checked.document(), "contoso")
    };
    assert_snapshot!(check("opaque-token"), @"
        permission not_applicable: the token does not say what it may do; the next step shows it
        read failed unauthorized: POST https://localhost:PORT/beta/deviceManagement/reports/getRemoteAssistanceSessionsReport answered 401 Unauthorized: InvalidAuthenticationToken: IDX14100: JWT is not well formed (request-id GUID); the service does not accept the token: check that credential, tenant_id, cloud and graph_url belong together, and that whatever writes token_file keeps it fresh
        columns skipped: not done, because read failed
        ");
    assert_snapshot!(check(&jwt(serde_json::json!({"exp": 1_700_000_000, "roles": ["User.Read.All"]}))), @"
        token warning: the token expired at 2023-11-14 22:13:20 UTC; whatever writes it has to renew it in time
        permission warning: the token names none of the permissions that the source needs; grant the application DeviceManagementServiceConfig.Read.All or DeviceManagementConfiguration.Read.All as an application permission of Microsoft Graph and give admin consent (a new permission takes effect with the next token)
        read failed unauthorized: POST https://localhost:PORT/beta/deviceManagement/reports/getRemoteAssistanceSessionsReport answered 401 Unauthorized: InvalidAuthenticationToken: IDX14100: JWT is not well formed (request-id GUID); the service does not accept the token: check that credential, tenant_id, cloud and graph_url belong together, and that whatever writes token_file keeps it fresh
        columns skipped: not done, because read failed
        ");
    let other = serde_json::json!({"tid": "99999999-8888-7777-6666-555555555555", "scp": "DeviceManagementConfiguration.Read.All"});
    assert_snapshot!(check(&jwt(other)), @"
        token warning: the token is for the tenant GUID, and tenant_id is another; check the credential
        read failed unauthorized: POST https://localhost:PORT/beta/deviceManagement/reports/getRemoteAssistanceSessionsReport answered 401 Unauthorized: InvalidAuthenticationToken: IDX14100: JWT is not well formed (request-id GUID); the service does not accept the token: check that credential, tenant_id, cloud and graph_url belong together, and that whatever writes token_file keeps it fresh
        columns skipped: not done, because read failed
        ");
}
