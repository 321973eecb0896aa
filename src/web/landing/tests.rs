//! What the landing page says, and in which order.

use std::time::Duration;

use chrono::TimeZone;

use super::*;
use crate::exposition::{Exposition, HttpMetrics};
use crate::status::{EnrollmentStatus, FailureReason, PollError, Status};

fn now() -> DateTime<Utc> {
    Utc.timestamp_opt(1_774_000_000, 0).unwrap()
}

fn tenant(name: &str) -> TenantStatus {
    TenantStatus::unpolled(name.into(), "sessions_report", Duration::from_secs(300))
}

/// One whose last poll, a minute ago, succeeded.
fn well(name: &str) -> TenantStatus {
    let minute = now() - TimeDelta::minutes(1);
    TenantStatus { up: Some(true), last_success: Some(minute), last_poll: Some(minute), ..tenant(name) }
}

fn failing(name: &str, message: &str) -> TenantStatus {
    let last_error = Some(PollError { reason: FailureReason::Forbidden, message: message.to_owned() });
    TenantStatus { up: Some(false), last_error, ..well(name) }
}

fn shown(tenants: impl IntoIterator<Item = TenantStatus>, change: impl FnOnce(&Status)) -> String {
    let http = HttpMetrics::new(now).unwrap();
    let state = State {
        exposition: Exposition::new(Vec::new(), http.clone()),
        http,
        status: Status::default().into(),
        access: Default::default(),
        reloads: None,
        version: "1.2.3",
        started: now() - TimeDelta::hours(3),
        now,
        telemetry_path: "/metrics".into(),
        max_requests: 40,
        limits: Default::default(),
    };
    tenants.into_iter().for_each(|tenant| state.status.set(tenant));
    change(&state.status);
    String::from_utf8(page(&state, false).to_vec()).unwrap()
}

fn rendered(tenants: impl IntoIterator<Item = TenantStatus>) -> String {
    shown(tenants, |_| ())
}

/// The page's words, without its elements and the space that those leave before stops.
fn words(page: &str) -> String {
    let body = page.split_once("<body>").unwrap().1;
    let text: Vec<_> = body.split('<').filter_map(|piece| Some(piece.split_once('>')?.1)).collect();
    text.join(" ")
        .split(' ')
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
        .replace(" .", ".")
        .replace(" ,", ",")
}

#[track_caller]
fn says(page: &str, expected: &str) {
    assert!(words(page).contains(expected), "{expected} in {}", words(page));
}

#[test]
fn what_comes_from_outside_is_escaped() {
    let hostile = failing("<script>alert(1)</script>", "answered \"<img src=x>\" & more");
    let page = shown([hostile], |status| {
        status.configured(String::new(), now());
        status.configuration_refused("<b>:7: no".to_owned(), now());
        status.web_configured(None, now());
        status.web_configuration_refused("<i>:8: no".to_owned(), now());
    });
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "{page}");
    assert!(page.contains("answered &quot;&lt;img src=x&gt;&quot; &amp; more"), "{page}");
    assert!(page.contains("&lt;b&gt;:7: no") && page.contains("&lt;i&gt;:8: no"), "{page}");
    assert!(
        !page.contains("<script") && !page.contains("<img") && !page.contains("<b>") && !page.contains("<i>"),
        "{page}"
    );
}

#[test]
fn states_and_ages_are_in_words() {
    let mut fine = well("contoso");
    fine.last_session_end = Some(now() - TimeDelta::hours(3));
    fine.sessions_counted = 1234;
    fine.sessions_in_progress = Some(5);
    let page = rendered([fine, tenant("litware")]);
    says(&page, "Version 1.2.3 Up for 3\u{a0}h since 2026-03-20 06:46:40 UTC Health Healthy Readiness Not ready");
    says(&page, "2 tenants, 1234 sessions counted. 1 not polled yet 1 OK");
    says(
        &page,
        "contoso sessions_report, every 5\u{a0}min OK polled 60\u{a0}s ago 60\u{a0}s ago 2026-03-20 09:45:40 UTC 1234 5",
    );
    says(&page, "litware sessions_report, every 5\u{a0}min Not polled yet never 0 unknown never");
    assert!(!page.contains("remarks\""), "nothing is wrong");
    says(&rendered([]), "0 tenants, 0 sessions counted.");
    says(&rendered([TenantStatus { sessions_counted: 1, ..well("a") }]), "1 tenant, 1 session counted.");
}

#[test]
fn those_that_want_somebody_stand_first_and_links_lead_to_each_group() {
    let warning = TenantStatus { rows_missing: 17, ..well("b-warning") };
    let overdue = TenantStatus { last_success: Some(now() - TimeDelta::minutes(16)), ..well("c-overdue") };
    let page = rendered([
        well("a-fine"),
        well("a-fine-too"),
        warning,
        overdue,
        tenant("d-new"),
        failing("e-failing", "no"),
        failing("f-failing", "no"),
    ]);
    let places = ["e-failing", "f-failing", "c-overdue", "b-warning", "d-new", "a-fine", "a-fine-too"]
        .map(|name| page.find(&format!(">{name}<")).unwrap());
    assert!(places.is_sorted(), "{places:?}");
    says(&page, "2 failing 1 overdue 1 with a warning 1 not polled yet 2 OK");
    for group in ["failing", "stale", "warning", "unpolled", "ok"] {
        assert_eq!(page.matches(&format!("href=\"#{group}\"")).count(), 1, "{group}");
        assert_eq!(page.matches(&format!("<tbody id=\"{group}\">")).count(), 1, "{group}");
    }
}

#[test]
fn what_is_wrong_is_said_with_the_remedy() {
    let error = failing("a", "GET https://graph.example answered 403; grant the permission");
    says(
        &rendered([error]),
        "answered 403; grant the permission Counted in remote_assistance_poll_failures_total as forbidden.",
    );
    let old = TenantStatus { last_success: Some(now() - TimeDelta::seconds(901)), ..well("a") };
    let page = rendered([old]);
    says(&page, "Overdue");
    says(&page, "15\u{a0}min ago old 2026-03-20");
    says(&page, "No poll has succeeded for over 3 intervals");
    let just = TenantStatus { last_success: Some(now() - TimeDelta::seconds(900)), ..well("a") };
    says(&rendered([just]), "every 5\u{a0}min OK");

    let files = |files_set_aside| rendered([TenantStatus { files_set_aside, ..well("a") }]);
    says(&files(1), "1 file of the directory cannot be read to the end. The log names each");
    says(&files(2), "2 files of the directory");
    says(&rendered([TenantStatus { rows_missing: 17, ..well("a") }]), "left out 17 rows that it had promised");
    let last_error = Some(PollError { reason: FailureReason::Forbidden, message: "no permission".to_owned() });
    let enrollment_lookup = Some(EnrollmentStatus { last_error, ..EnrollmentStatus::default() });
    let page = rendered([TenantStatus { enrollment_lookup, ..well("a") }]);
    says(&page, "Warning");
    says(&page, "Enrollment states could not be looked up: no permission");
}

#[test]
fn a_credential_is_told_of_when_its_end_is_near() {
    let expires =
        |days| rendered([TenantStatus { credential_expires: Some(now() + TimeDelta::days(days)), ..well("a") }]);
    says(&expires(29), "Warning");
    says(&expires(29), "certificate expires in 29\u{a0}d, 2026-04-18 09:46:40 UTC. Add a new one");
    says(&expires(-1), "certificate has expired, 2026-03-19");
    assert!(!words(&expires(31)).contains("certificate"));
}

#[test]
fn a_refused_configuration_is_told_until_one_is_loaded() {
    let loaded = |status: &Status| status.configured("a: 1\n".to_owned(), now() - TimeDelta::hours(2));
    says(&shown([], loaded), "Configuration Loaded in force since 2026-03-20 07:46:40 UTC");
    let refused = |status: &Status| {
        loaded(status);
        status.configuration_refused("x.yaml:7: no; mend it".to_owned(), now() - TimeDelta::minutes(5));
    };
    let page = shown([], refused);
    says(
        &page,
        "The configuration could not be reloaded x.yaml:7: no; mend it Tried 5\u{a0}min ago. The one loaded 2\u{a0}h ago stays in force",
    );
    says(&page, "Configuration Reload failed");
    let mended = |status: &Status| {
        refused(status);
        loaded(status);
    };
    assert!(!shown([], mended).contains("could not be reloaded"));
}

#[test]
fn a_refused_web_configuration_is_told_since_when_until_one_is_loaded() {
    let loaded = |status: &Status| status.web_configured(None, now() - TimeDelta::hours(2));
    let page = shown([], loaded);
    says(&page, "Web configuration Loaded in force since 2026-03-20 07:46:40 UTC");
    assert!(!page.contains("could not be reloaded"));
    let refused = |status: &Status| {
        loaded(status);
        for (message, minutes) in [("another", 6), ("web.yml:7: no; mend it", 5), ("web.yml:7: no; mend it", 0)] {
            status.web_configuration_refused(message.to_owned(), now() - TimeDelta::minutes(minutes));
        }
    };
    let page = shown([], refused);
    says(
        &page,
        "The web configuration could not be reloaded web.yml:7: no; mend it Refused for 5\u{a0}min. The one loaded 2\u{a0}h ago stays in force",
    );
    says(&page, "Web configuration Reload failed");
    let mended = |status: &Status| {
        refused(status);
        loaded(status);
    };
    assert!(!shown([], mended).contains("could not be reloaded"));
    assert!(!rendered([]).contains("Web configuration"), "there is no file of it");
}

#[test]
fn the_servers_certificate_is_told_of_when_its_end_is_near() {
    let expires = |days| shown([], |status| status.web_configured(Some(now() + TimeDelta::days(days)), now()));
    says(&expires(29), "The server's certificate expires in 29\u{a0}d It ends at 2026-04-18 09:46:40 UTC.");
    says(&expires(29), "replace what cert_file and key_file of tls_server_config name");
    says(&expires(-1), "The server's certificate has expired It ended at 2026-03-19 09:46:40 UTC.");
    assert!(!words(&expires(31)).contains("certificate"));
}

#[test]
fn loops_that_stalled_are_named() {
    let page = shown([], |status| status.beat("ledger", Duration::ZERO));
    says(&page, "Unhealthy Not heard of for too long: ledger. Restart the exporter");
}

/// A provider's page is searched and scrolled: it must not weigh what a browser cannot take.
#[test]
fn a_thousand_tenants_fit() {
    let name = |number: usize| format!("tenant-{number:04}");
    let page = rendered((0..1000).map(|number| well(&name(number))));
    assert!(page.len() < 1_000_000, "{} bytes", page.len());
    let message = "x".repeat(1000);
    let page = rendered((0..1000).map(|number| failing(&name(number), &message)));
    assert!(page.len() < 2_500_000, "{} bytes", page.len());
}
