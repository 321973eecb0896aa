//! The look-up of enrolment states that reports lack: what it completes, what it leaves alone, and that
//! its failures cost no session and are seen.

use std::collections::{BTreeMap, HashMap};

use chrono::TimeDelta;
use remote_assistance_exporter::clock;
use remote_assistance_exporter::session::{EnrollmentState, Label as _};
use remote_assistance_exporter::simulator::{Device, Participant, Scenario, Session, Tenant, TenantOptions};

use super::support::{Exporter, Lab, Scrape, get};

/// A tenant with a history and nothing that goes on.
fn settled(name: &str) -> TenantOptions {
    TenantOptions { sessions_per_day: 15.0, live_per_second: 0.0, ..TenantOptions::new(name) }
}

type ByState = BTreeMap<(&'static str, String), f64>;

/// One participant for each role and session that ended, by the state that the lists give its device.
fn truth(lab: &Lab, tenant: &Tenant) -> ByState {
    let devices = tenant.devices();
    let states: HashMap<_, _> = devices.iter().map(|device| (device.entra_id.clone(), device.state())).collect();
    let mut truth = ByState::new();
    for session in tenant.ended(lab.now()) {
        for (role, participant) in [("helper", &session.helper), ("sharer", &session.sharer)] {
            let id = &participant.device_aad_id;
            let state = id.as_ref().and_then(|_| *states.get(id)?).unwrap_or("unreported");
            *truth.entry((role, state.to_owned())).or_default() += 1.0;
        }
    }
    truth
}

/// What was counted, zeros left out.
fn counted(scrape: &Scrape, tenant: &str) -> ByState {
    let series = |role: &str, state: &str| {
        format!(r#"participants_total{{enrollment_state="{state}",role="{role}",tenant="{tenant}"}}"#)
    };
    let pairs =
        ["helper", "sharer"].into_iter().flat_map(|role| EnrollmentState::ALL.iter().map(move |s| (role, s.as_str())));
    pairs
        .map(|(role, state)| ((role, state.to_owned()), scrape.value(&series(role, state))))
        .filter(|(_, value)| *value > 0.0)
        .collect()
}

fn polled(scrape: &Scrape, tenant: &str) -> bool {
    scrape.samples.contains_key(&format!(r#"last_poll_success_timestamp_seconds{{tenant="{tenant}"}}"#))
}

#[test]
fn participants_are_counted_by_the_states_that_the_lists_give() {
    let lab = Lab::new(vec![settled("contoso"), settled("fabrikam")], |_| {});
    lab.freeze();
    let (on, off) = (lab.simulator.tenant("contoso").unwrap(), lab.simulator.tenant("fabrikam").unwrap());
    let source = "source: {kind: sessions_report, page_size: 200}";
    let configuration = lab.configuration(
        "poll_interval: 1m, lookback: 60d",
        &[("contoso", &format!("enrollment_lookup: true, {source}")), ("fabrikam", source)],
    );
    let mut exporter = Exporter::start(lab.arguments(&configuration));
    let scrape =
        exporter.wait_for_scrape("two polls", |scrape| polled(scrape, "contoso") && polled(scrape, "fabrikam"));

    let expected = truth(&lab, &on);
    assert_eq!(counted(&scrape, "contoso"), expected);
    let states: Vec<_> = expected.keys().map(|(_, state)| state.as_str()).collect();
    for state in ["enrolled", "notContacted", "unknown", "pendingReset", "unreported"] {
        assert!(states.contains(&state), "{expected:?}");
    }
    let sessions = off.ended(lab.now()).len() as f64;
    let unreported = |role| ((role, "unreported".to_owned()), sessions);
    assert_eq!(counted(&scrape, "fabrikam"), ByState::from(["helper", "sharer"].map(unreported)));

    let known = on.devices().iter().filter(|device| device.entra_id.is_some()).count() as f64;
    assert_eq!(scrape.value(r#"enrollment_lookup_up{tenant="contoso"}"#), 1.0);
    assert_eq!(scrape.value(r#"enrollment_lookup_devices{tenant="contoso"}"#), known);
    assert!(scrape.value(r#"enrollment_lookup_last_success_timestamp_seconds{tenant="contoso"}"#) > 1.7e9);
    assert_eq!(scrape.sum("enrollment_lookup_failures_total", &[r#"tenant="contoso""#]), 0.0);
    assert!(!scrape.samples.keys().any(|series| series.contains("lookup") && series.contains("fabrikam")));
    for endpoint in [r#"endpoint="autopilot_devices""#, r#"endpoint="managed_devices""#] {
        assert!(scrape.sum("graph_requests_total", &[endpoint, r#"tenant="contoso""#, r#"code="200""#]) > 1.0);
        assert_eq!(scrape.sum("graph_requests_total", &[endpoint, r#"tenant="fabrikam""#]), 0.0);
    }
    let status = exporter.status();
    let row =
        |name: &str| status["tenants"].as_array().unwrap().iter().find(|row| row["tenant"] == name).unwrap().clone();
    assert_eq!(row("contoso")["enrollment_lookup"]["up"], true);
    assert_eq!(row("contoso")["enrollment_lookup"]["devices"], known);
    assert!(row("fabrikam")["enrollment_lookup"].is_null());
    assert!(lab.simulator.write_requests().is_empty());
}

#[test]
fn a_look_up_that_fails_costs_no_session_and_is_seen() {
    let names = ["forbidden", "failing", "hanging"];
    let mut tenants: Vec<_> = names.map(settled).into();
    tenants[0].managed_devices_permitted = false;
    let lab = Lab::new(tenants, |_| {});
    lab.freeze();
    let tenant = |name: &str| lab.simulator.tenant(name).unwrap();
    tenant("failing").set_device_scenario(Scenario::ServerError);
    tenant("hanging").set_device_scenario(Scenario::Slow);
    let source = "source: {kind: sessions_report, page_size: 200}";
    let global = format!("poll_interval: 3s, lookback: 60d, enrollment_lookup: true, {source}");
    let configuration = lab.configuration(&global, &names.map(|name| (name, "")));
    let mut exporter = Exporter::start(lab.arguments(&configuration));
    let scrape = exporter.wait_for_scrape("the polls", |scrape| names.iter().all(|name| polled(scrape, name)));
    for (name, reason) in names.into_iter().zip(["forbidden", "server_error", "timeout"]) {
        let of = |metric: &str| scrape.value(&format!(r#"{metric}{{tenant="{name}"}}"#));
        let sessions = tenant(name).ended(lab.now()).len() as f64;
        assert_eq!(scrape.sum("sessions_total", &[&format!(r#"tenant="{name}""#)]), sessions);
        assert_eq!(counted(&scrape, name).get(&("sharer", "unreported".to_owned())), Some(&sessions));
        assert_eq!((of("up"), of("enrollment_lookup_up")), (1.0, 0.0), "{name}");
        let failures = format!(r#"enrollment_lookup_failures_total{{reason="{reason}",tenant="{name}"}}"#);
        assert_eq!(scrape.value(&failures), 1.0, "{name}");
        exporter.wait_for_log(&[
            "level=warn",
            &format!("tenant={name}"),
            &format!("reason={reason}"),
            "could not be looked up",
        ]);
    }
    let line = exporter.wait_for_log(&["level=warn", "tenant=forbidden"]);
    assert!(line.contains("DeviceManagementManagedDevices.Read.All and give admin consent"), "{line}");
    let page = get(exporter.address(), "/").unwrap().text();
    assert_eq!(page.matches("Enrollment states could not be looked up").count(), 3, "{page}");
    let status = exporter.status();
    let errors =
        status["tenants"].as_array().unwrap().iter().map(|row| &row["enrollment_lookup"]["last_error"]["reason"]);
    assert_eq!(errors.collect::<Vec<_>>(), ["server_error", "forbidden", "timeout"]);
    let again =
        exporter.wait_for_scrape("more polls", |scrape| scrape.value(r#"polls_total{tenant="forbidden"}"#) > 2.0);
    assert_eq!(again.sum("reports_amended_total", &[]), 0.0);
    let told = exporter
        .log()
        .iter()
        .filter(|line| line.contains("tenant=forbidden") && line.contains("could not be looked up"))
        .count();
    assert_eq!(told, 1, "a failure that stays is told once");
}

#[test]
fn what_becomes_known_later_changes_no_session_that_was_counted() {
    const POLLS: &str = r#"polls_total{tenant="contoso"}"#;
    const DEVICE: &str = "0d4f2c1e-9a3b-4c5d-8e6f-708192a3b4c5";
    let alone = TenantOptions { helpers: 1, sharers: 1, ..TenantOptions::manual("contoso") };
    let lab = Lab::new(vec![alone], |_| {});
    let tenant = lab.simulator.tenant("contoso").unwrap();
    let end = clock::now() - TimeDelta::hours(1);
    let helped = |id: &str| {
        let sharer = Participant { device_aad_id: Some(DEVICE.into()), ..Participant::default() };
        Session { id: id.into(), start: Some(end), end: Some(end), sharer: sharer.into(), ..Session::default() }
    };
    let device =
        |state: &'static str| Device { entra_id: Some(DEVICE.into()), autopilot: Some(state.into()), managed: false };
    tenant.set_device(device("failed"));
    tenant.push(helped("first"));
    let keys = "enrollment_lookup: true, enrollment_refresh_interval: 1s, source: {kind: sessions_report}";
    let configuration = lab.configuration("poll_interval: 2s", &[("contoso", keys)]);
    let mut exporter = Exporter::start(lab.arguments(&configuration));
    let sharers = |scrape: &Scrape, state: &str| {
        scrape.value(&format!(r#"participants_total{{enrollment_state="{state}",role="sharer",tenant="contoso"}}"#))
    };
    exporter.wait_for_scrape("the first session", |scrape| sharers(scrape, "failed") == 1.0);

    tenant.set_device(device("blocked"));
    let blocked = |scrape: &Scrape| sharers(scrape, "blocked");
    exporter.wait_for_scrape("the new state", |scrape| {
        // Each session has the state that was known when it was counted: one of the next has the new.
        tenant.push(helped(&format!("{}", scrape.value(POLLS))));
        blocked(scrape) > 0.0
    });
    let polls = exporter.scrape().value(POLLS);
    let scrape = exporter.wait_for_scrape("two more polls", |scrape| scrape.value(POLLS) > polls + 1.0);
    assert!(sharers(&scrape, "failed") >= 1.0, "the first session stays as it was counted");
    assert_eq!(scrape.sum("reports_amended_total", &[]), 0.0);
    assert_eq!(scrape.sum("reports_rejected_total", &[]), 0.0);
    let counted = scrape.sum("sessions_total", &[]);
    assert_eq!(sharers(&scrape, "failed") + blocked(&scrape), counted);
    assert!(scrape.value(r#"reports_duplicate_total{tenant="contoso"}"#) >= 3.0);
}
