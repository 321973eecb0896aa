//! What goes wrong for one tenant: the others go on, and log, status table, landing page and metrics say
//! what it is and how to mend it, without secrets.

use std::fs;
use std::path::PathBuf;

use insta::{assert_snapshot, with_settings};
use remote_assistance_exporter::simulator::{COLLECTION_PATH, Scenario, TenantOptions};

use super::support::{Exporter, Lab, Scrape, get, wait_for};

const SUCCESS: &str = "last_poll_success_timestamp_seconds";

/// The series of a tenant.
fn of(name: &str, tenant: &str) -> String {
    format!("{name}{{tenant=\"{tenant}\"}}")
}

/// How many polls of a tenant failed for this reason.
fn failures(scrape: &Scrape, tenant: &str, reason: &str) -> f64 {
    scrape.sum("poll_failures_total", &[&format!("tenant=\"{tenant}\""), &format!("reason=\"{reason}\"")])
}

/// A tenant's row of the status table.
fn row(exporter: &mut Exporter, tenant: &str) -> serde_json::Value {
    let status = exporter.status();
    let rows = status["tenants"].as_array().unwrap();
    rows.iter().find(|row| row["tenant"] == tenant).unwrap().clone()
}

/// The landing page, as its readers see the text in it.
fn landing(exporter: &mut Exporter) -> String {
    let page = get(exporter.address(), "/").unwrap().text();
    page.replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

/// Waits until a tenant has been polled so many times more, each time with success.
fn goes_on(exporter: &mut Exporter, tenant: &str, polls: f64) {
    let before = exporter.wait_for_scrape("a first success", |scrape| scrape.sum("up", &[tenant]) == 1.0);
    let (polls_total, success) = (of("polls_total", tenant), of(SUCCESS, tenant));
    let after = exporter
        .wait_for_scrape("further polls", |scrape| scrape.value(&polls_total) >= before.value(&polls_total) + polls);
    assert!(after.value(&success) > before.value(&success), "freshness stands still");
    assert_eq!(after.value(&of("up", tenant)), 1.0);
    assert_eq!(after.sum("poll_failures_total", &[tenant]), 0.0);
}

#[test]
fn a_tenant_that_fails_or_hangs_for_ever_leaves_the_others_fresh() {
    let tenants = ["well", "ill", "hung"].map(TenantOptions::new).to_vec();
    let lab = Lab::new(tenants, |options| options.stall = std::time::Duration::from_secs(3600));
    lab.simulator.tenant("ill").unwrap().set_scenario(Scenario::ServerError);
    lab.simulator.tenant("hung").unwrap().set_scenario(Scenario::Slow);
    let configuration = lab.configuration("poll_interval: 1s", &[("ill", ""), ("hung", ""), ("well", "")]);
    let mut exporter = Exporter::start(lab.arguments(&configuration));

    // While the first polls of the other two are still under way.
    goes_on(&mut exporter, "well", 3.0);
    let trying = exporter.wait_for_scrape("retries", |scrape| scrape.value(&of("graph_retries_total", "ill")) >= 2.0);
    assert_eq!(trying.value(&of("polls_total", "hung")), 0.0);
    assert_eq!(get(exporter.address(), "/-/healthy").unwrap().status, 200);

    // And after the failure, which a poll's whole patience precedes.
    let failed = exporter.wait_for_scrape("a failure", |scrape| scrape.sum("poll_failures_total", &["\"ill\""]) > 0.0);
    assert_eq!(failed.value(&of("up", "ill")), 0.0);
    assert_eq!(failures(&failed, "ill", "server_error"), 1.0);
    assert!(!failed.samples.contains_key(&of(SUCCESS, "ill")), "it never succeeded");
    goes_on(&mut exporter, "well", 2.0);
    assert_eq!(get(exporter.address(), "/-/healthy").unwrap().status, 200);
    exporter.stop();
}

#[test]
fn many_hanging_tenants_do_not_starve_the_rest() {
    // Twice as many as may hold reports at a time, and all of them before the one that is well.
    let names: Vec<_> = (0..16).map(|number| format!("hung{number}")).collect();
    let mut tenants: Vec<_> = names.iter().map(|name| TenantOptions::manual(name)).collect();
    tenants.push(TenantOptions::new("well"));
    let lab = Lab::new(tenants, |options| options.stall = std::time::Duration::from_secs(3600));
    names.iter().for_each(|name| lab.simulator.tenant(name).unwrap().set_scenario(Scenario::Slow));
    let mut configured: Vec<_> = names.iter().map(|name| (name.as_str(), "")).collect();
    configured.push(("well", ""));
    let configuration = lab.configuration("poll_interval: 1s", &configured);
    let mut exporter = Exporter::start(lab.arguments(&configuration));
    goes_on(&mut exporter, "well", 2.0);
    let scrape = exporter.scrape();
    assert_eq!(scrape.sum("polls_total", &["hung"]), 0.0, "they still hang");
    exporter.stop();
}

#[test]
fn polls_of_one_tenant_never_overlap() {
    let lab = Lab::new(vec![TenantOptions::manual("slow")], |options| {
        options.stall = std::time::Duration::from_secs(3);
    });
    let tenant = lab.simulator.tenant("slow").unwrap();
    tenant.set_scenario(Scenario::Slow);
    let configuration = lab.configuration("poll_interval: 1s", &[("slow", "")]);
    let exporter = Exporter::start(lab.arguments(&configuration));
    // Each poll asks for one page, which takes three intervals to come.
    let asked = wait_for("three polls", || {
        let requests = tenant.requests();
        let pages: Vec<_> = requests.iter().filter(|r| r.path.contains("SessionsReport")).map(|r| r.at).collect();
        (pages.len() >= 3).then_some(pages)
    });
    for pair in asked.windows(2) {
        assert!(pair[1] - pair[0] >= chrono::TimeDelta::seconds(3), "{pair:?}");
    }
    exporter.stop();
}

/// A lab whose tenants each have something wrong with their access, and its configuration.
fn refused() -> (Lab, PathBuf) {
    const NAMES: [&str; 5] = ["wrong-secret", "expired-secret", "unknown-tenant", "unknown-client", "no-permission"];
    let tenants = NAMES.map(|name| TenantOptions {
        expired_secret: Some("an-expired-password".to_owned()),
        permitted: name != "no-permission",
        client_secret: format!("the-password-of-{name}"),
        ..TenantOptions::new(name)
    });
    let lab = Lab::new(tenants.to_vec(), |_| ());
    let id = |name: &str| lab.simulator.tenant(name).unwrap().options().clone();
    let configuration = lab.configuration("poll_interval: 1h", &NAMES.map(|name| (name, "")));
    let text = fs::read_to_string(&configuration).unwrap();
    let text = text
        .replace("the-password-of-wrong-secret", "not-the-password")
        .replace("the-password-of-expired-secret", "an-expired-password")
        .replace(&id("unknown-tenant").tenant_id, "00000000-1111-2222-3333-444444444444")
        .replace(&id("unknown-client").client_id, "55555555-6666-7777-8888-999999999999");
    fs::write(&configuration, text).unwrap();
    (lab, configuration)
}

#[test]
fn a_refusal_is_one_line_with_its_remedy_in_the_log_and_on_the_pages() {
    let (lab, configuration) = refused();
    let mut exporter = Exporter::start(lab.arguments(&configuration));
    let mut message = |tenant: &str, reason: &str| {
        exporter.wait_for_scrape("the failure", |scrape| failures(scrape, tenant, reason) == 1.0);
        let row = wait_for("the status row", || Some(row(&mut exporter, tenant)).filter(|row| row["up"] == false));
        assert_eq!(row["last_error"]["reason"], reason);
        assert_eq!(exporter.scrape().value(&of("up", tenant)), 0.0);
        let message = row["last_error"]["message"].as_str().unwrap().to_owned();
        assert!(landing(&mut exporter).contains(&message), "the landing page says it too");
        let line = exporter.wait_for_log(&["level=error", "Poll failed", &format!("tenant={tenant}")]);
        assert!(line.contains(&message), "{line}");
        // Once, where it is handled.
        assert_eq!(exporter.log().iter().filter(|line| line.contains(&message)).count(), 1);
        message
    };
    with_settings!({filters => vec![
        (r"localhost:\d+", "localhost:PORT"),
        (r"request-id [0-9a-f-]{36}", "request-id ID"),
        // The service's text is quoted in part.
        (r"Activity ID: [0-9a-f-]+…", "Activity ID: ID…"),
    ]}, {
        assert_snapshot!(message("wrong-secret", "authentication"), @"the token endpoint https://localhost:PORT/a4281cdf-ffb6-4e31-8a4d-d71fdd6d7542/oauth2/v2.0/token answered 401: invalid_client: AADSTS7000215: Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '0563d3b7-e457-4633-9333-4d19fa42594e'; the client secret is wrong: set credential.client_secret (or the file) to the secret's value, not its id");
        assert_snapshot!(message("expired-secret", "authentication"), @"the token endpoint https://localhost:PORT/6f151de8-9f62-44fb-8343-b37f64007e36/oauth2/v2.0/token answered 401: invalid_client: AADSTS7000222: The provided client secret keys for app 'da7fef04-e7c5-4c78-b1f1-0f6fc197ac43' are expired. Visit the Azure portal to create new keys for your app: https://aka.ms/NewClientSecret, or consider using certificate credentials for added security: https://aka.ms/certCreds; the client secret has expired: add a new one to the app registration and set it in the credential");
        assert_snapshot!(message("unknown-tenant", "authentication"), @"the token endpoint https://localhost:PORT/00000000-1111-2222-3333-444444444444/oauth2/v2.0/token answered 400: invalid_request: AADSTS90002: Tenant '00000000-1111-2222-3333-444444444444' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud. Check with your subscription administrator, this may happen if there are no active subscriptions for the tenant; there is no such tenant here: check tenant_id, and cloud, since each cloud knows its own tenants only");
        assert_snapshot!(message("unknown-client", "authentication"), @"the token endpoint https://localhost:PORT/34a20aef-39ee-4f17-8772-4aa40a4ba25f/oauth2/v2.0/token answered 400: unauthorized_client: AADSTS700016: Application with identifier '55555555-6666-7777-8888-999999999999' was not found in the directory '34a20aef-39ee-4f17-8772-4aa40a4ba25f'. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You may have…; the tenant has no application with this client_id: check client_id and tenant_id; an application of another tenant has to be multi-tenant and needs admin consent here");
        assert_snapshot!(message("no-permission", "forbidden"), @"POST https://localhost:PORT/beta/deviceManagement/reports/getRemoteAssistanceSessionsReport answered 403 Forbidden: Forbidden: Application is not authorized to perform this operation. Application must have one of the following scopes: DeviceManagementServiceConfig.Read.All, DeviceManagementConfiguration.Read.All - Operation ID (for customer support): 00000000-0000-0000-0000-000000000000 - Activity ID: ID… (request-id ID); grant the application one of the Microsoft Graph application permissions DeviceManagementServiceConfig.Read.All or DeviceManagementConfiguration.Read.All and give admin consent (a new permission takes effect with the next token, which the next poll asks for)");
    });
    exporter.stop();
}

#[test]
fn secrets_and_tokens_appear_nowhere() {
    let (lab, configuration) = refused();
    let mut arguments = lab.arguments(&configuration);
    arguments.push("--log.level=trace".to_owned());
    let mut exporter = Exporter::start(arguments);
    exporter.wait_for_scrape("all failures", |scrape| scrape.sum("poll_failures_total", &[]) == 5.0);
    let issued = exporter.scrape();
    let token = ["tenant=\"no-permission\"", "endpoint=\"token\"", "code=\"200\""];
    assert_eq!(issued.sum("graph_requests_total", &token), 1.0, "a token was had, and sent");
    let mut seen: Vec<_> =
        ["/status", "/", "/metrics"].iter().map(|path| get(exporter.address(), path).unwrap().text()).collect();
    seen.extend(exporter.stop());
    for text in &seen {
        assert!(!text.contains("password") && !text.contains("Bearer "), "a secret in {text}");
        assert!(
            !text.split(|c: char| c != '.' && !c.is_ascii_hexdigit()).any(|word| word.len() > 64),
            "a token in {text}"
        );
    }
}

#[test]
fn a_secret_file_that_disappears_is_named_and_its_return_mends_it() {
    let lab = Lab::new(vec![TenantOptions::new("contoso")], |options| {
        // A token for each poll.
        options.token_lifetime = std::time::Duration::from_secs(1);
    });
    let options = lab.simulator.tenant("contoso").unwrap().options().clone();
    let file = lab.directory.path().join("secret");
    fs::write(&file, &options.client_secret).unwrap();
    let credential =
        format!("credential: {{kind: client_secret, client_id: {}, client_secret_file: secret}}", options.client_id);
    let configuration = lab.configuration("poll_interval: 1s", &[("contoso", &credential)]);
    let mut exporter = Exporter::start(lab.arguments(&configuration));
    let well = exporter.wait_for_scrape("a success", |scrape| scrape.sum("up", &[]) == 1.0);

    fs::remove_file(&file).unwrap();
    let failed = exporter.wait_for_scrape("a failure", |scrape| scrape.sum("up", &[]) == 0.0);
    assert!(failures(&failed, "contoso", "credential") >= 1.0);
    assert!(failed.value(&of(SUCCESS, "contoso")) >= well.value(&of(SUCCESS, "contoso")), "it is kept");
    let error =
        wait_for("the error", || Some(row(&mut exporter, "contoso")["last_error"].clone()).filter(|e| !e.is_null()));
    assert_eq!(error["reason"], "credential");
    with_settings!({filters => vec![(r"file /.*/secret", "file DIRECTORY/secret")]}, {
        assert_snapshot!(error["message"].as_str().unwrap(), @"credential.client_secret_file DIRECTORY/secret: No such file or directory (os error 2); it is read whenever it is needed: keep it in place and readable");
    });
    assert!(landing(&mut exporter).contains(error["message"].as_str().unwrap()));

    fs::write(&file, &options.client_secret).unwrap();
    let mended = exporter.wait_for_scrape("a success again", |scrape| scrape.sum("up", &[]) == 1.0);
    assert!(mended.value(&of(SUCCESS, "contoso")) > failed.value(&of(SUCCESS, "contoso")));
    let row = wait_for("a row without the error", || {
        Some(row(&mut exporter, "contoso")).filter(|row| row["last_error"].is_null())
    });
    assert_eq!(row["up"], true);
    assert!(!landing(&mut exporter).contains("client_secret_file"), "the landing page forgets it too");
    exporter.stop();
}

#[test]
fn missing_and_unreadable_rows_show_in_metrics_and_once_in_the_log() {
    let tenants = ["short", "broken"].map(TenantOptions::new).to_vec();
    let lab = Lab::new(tenants, |_| ());
    lab.freeze();
    lab.simulator.tenant("short").unwrap().set_scenario(Scenario::ShortPage);
    lab.simulator.tenant("broken").unwrap().set_scenario(Scenario::BrokenRows);
    let collection = format!("source: {{kind: collection, path: {COLLECTION_PATH}}}");
    let configuration = lab.configuration("poll_interval: 1s", &[("short", &collection), ("broken", "")]);
    let mut exporter = Exporter::start(lab.arguments(&configuration));
    let scrape = exporter.wait_for_scrape("three polls", |scrape| {
        ["short", "broken"].iter().all(|tenant| scrape.value(&of("polls_total", tenant)) >= 3.0)
    });
    for tenant in ["short", "broken"] {
        assert_eq!(scrape.value(&of("up", tenant)), 1.0, "the good rows count");
        assert!(scrape.sum("sessions_total", &[tenant]) > 0.0);
    }
    assert!(scrape.value(&of("report_rows_missing_total", "short")) > 0.0);
    assert_eq!(scrape.value(&of("report_rows_missing_total", "broken")), 0.0);
    assert!(scrape.sum("reports_rejected_total", &["broken"]) >= 3.0);
    assert_eq!(scrape.sum("reports_rejected_total", &["short"]), 0.0);
    let missing = row(&mut exporter, "short")["rows_missing"].as_u64().unwrap();
    assert!(missing > 0);
    assert!(landing(&mut exporter).contains(&format!("left out {missing} rows")));
    let log = exporter.stop();
    for (tenant, words) in [("short", "fewer rows than it promises"), ("broken", "Rows could not be read")] {
        let lines: Vec<_> = log.iter().filter(|line| line.contains(words)).collect();
        assert!(lines.len() == 1 && lines[0].contains(&format!("tenant={tenant}")), "{lines:#?}");
    }
}
