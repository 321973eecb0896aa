//! Look-ups against a service that plays a list of answers.

use super::*;
use crate::session::EnrollmentState as S;
use crate::source::testing::{Fake, Reply, Witness, answer, bytes_answer, ok, report_tenant, source};

const IDS: [&str; 3] = [
    "0d4f2c1e-9a3b-4c5d-8e6f-708192a3b4c5",
    "1d4f2c1e-9a3b-4c5d-8e6f-708192a3b4c5",
    "2d4f2c1e-9a3b-4c5d-8e6f-708192a3b4c5",
];
const AT_ONCE: Duration = Duration::ZERO;
const HOUR: Duration = Duration::from_secs(3600);
/// Long enough for an answer from this machine, short enough to wait for in vain.
const SHORT: Duration = Duration::from_millis(300);

fn autopilot(devices: &[(&str, &str)], next: Option<&str>) -> Reply {
    let rows = devices.iter().map(
        |(id, state)| serde_json::json!({"azureActiveDirectoryDeviceId": id, "enrollmentState": state, "model": "M"}),
    );
    page(rows.collect(), next)
}

fn managed(devices: &[&str]) -> Reply {
    page(devices.iter().map(|id| serde_json::json!({"azureADDeviceId": id})).collect(), None)
}

fn page(rows: Vec<serde_json::Value>, next: Option<&str>) -> Reply {
    ok(&serde_json::json!({"value": rows, "@odata.nextLink": next}).to_string())
}

/// A look-up of the fake's devices.
fn lookup(fake: &Fake, refresh: Duration) -> (Lookup, Arc<Witness>) {
    let tenant = config::Tenant { enrollment_lookup: Some(refresh), ..report_tenant(fake) };
    let (source, witness) = source(&tenant);
    (source.lookup.unwrap(), witness)
}

fn known(looked: &Looked) -> Vec<S> {
    IDS.iter().map(|id| looked.devices.complete(S::Unreported, Some(id))).collect()
}

/// The failure's line, without the fake's address.
#[track_caller]
fn failure(fake: &Fake, looked: &Looked) -> String {
    let News::Failed(error) = &looked.news else { panic!("{looked:?}") };
    format!("{:?}: {}", error.reason, error.message.replace(fake.url.as_str(), "URL/"))
}

#[tokio::test]
async fn both_lists_are_read_and_kept_until_they_are_due_again() {
    let replies = vec![
        autopilot(&[(IDS[0], "notContacted")], Some("?$skiptoken=2")),
        autopilot(&[(IDS[1], "unknown")], None),
        managed(&[IDS[0], IDS[1], IDS[2]]),
    ];
    let fake = Fake::start(replies).await;
    let (lookup, witness) = lookup(&fake, HOUR);
    let looked = lookup.look_up().await;
    assert!(matches!(looked.news, News::Refreshed), "{looked:?}");
    assert_eq!(known(&looked), [S::NotContacted, S::Enrolled, S::Enrolled]);

    let again = lookup.look_up().await;
    assert!(matches!(again.news, News::Kept) && Arc::ptr_eq(&again.devices, &looked.devices), "{again:?}");
    let asked: Vec<_> = fake.received().iter().map(|request| request.head.lines().next().unwrap().to_owned()).collect();
    assert_eq!(
        asked,
        [
            "GET /v1.0/deviceManagement/windowsAutopilotDeviceIdentities HTTP/1.1",
            "GET /v1.0/deviceManagement/windowsAutopilotDeviceIdentities?$skiptoken=2 HTTP/1.1",
            "GET /v1.0/deviceManagement/managedDevices?$select=azureADDeviceId HTTP/1.1"
        ]
    );
    assert!(fake.received().iter().all(|request| request.header("prefer") == Some("include-unknown-enum-members")));
    assert_eq!(witness.heard(), ["autopilot_devices 200", "autopilot_devices 200", "managed_devices 200"]);
}

#[tokio::test]
async fn a_failure_leaves_what_was_known() {
    let forbidden = || answer("403 Forbidden", &[], r#"{"error": {"code": "Forbidden", "message": "No."}}"#);
    let replies = vec![
        autopilot(&[(IDS[0], "failed")], None),
        managed(&[]),
        forbidden(),
        autopilot(&[], None),
        forbidden(),
        autopilot(&[(IDS[0], "enrolled")], None),
        managed(&[]),
    ];
    let fake = Fake::start(replies).await;
    let (lookup, _) = lookup(&fake, AT_ONCE);
    lookup.look_up().await;
    let looked = lookup.look_up().await;
    assert_eq!(known(&looked), [S::Failed, S::Unreported, S::Unreported]);
    insta::assert_snapshot!(failure(&fake, &looked), @"Forbidden: GET URL/v1.0/deviceManagement/windowsAutopilotDeviceIdentities answered 403 Forbidden: Forbidden: No; grant the application the Microsoft Graph application permission DeviceManagementServiceConfig.Read.All and give admin consent, or set enrollment_lookup to false");
    let looked = lookup.look_up().await;
    assert_eq!(known(&looked), [S::Failed, S::Unreported, S::Unreported]);
    insta::assert_snapshot!(failure(&fake, &looked), @"Forbidden: GET URL/v1.0/deviceManagement/managedDevices answered 403 Forbidden: Forbidden: No; grant the application the Microsoft Graph application permission DeviceManagementManagedDevices.Read.All and give admin consent, or set enrollment_lookup to false");
    assert_eq!(known(&lookup.look_up().await), [S::Enrolled, S::Unreported, S::Unreported]);
}

#[tokio::test]
async fn after_a_failure_there_is_a_pause() {
    let fake = Fake::start(vec![answer("403 Forbidden", &[], "")]).await;
    let (lookup, _) = lookup(&fake, HOUR);
    assert!(matches!(lookup.look_up().await.news, News::Failed(_)));
    assert!(matches!(lookup.look_up().await.news, News::Kept));
    assert_eq!(fake.received().len(), 1);
}

#[tokio::test]
async fn a_service_that_hangs_costs_a_bounded_time() {
    let fake = Fake::start(vec![Reply::Silence]).await;
    let (lookup, _) = lookup(&fake, HOUR);
    let lookup = Lookup { wait: SHORT, ..lookup };
    let looked = lookup.look_up().await;
    insta::assert_snapshot!(failure(&fake, &looked), @"Timeout: no page of devices came within 0.3 s, and a poll waits no longer; the next ones try again");
    assert!(looked.devices.is_empty());
}

#[tokio::test]
async fn a_listing_that_takes_long_goes_on_in_the_next_poll() {
    let replies = vec![
        autopilot(&[(IDS[0], "failed")], Some("?$skiptoken=2")),
        Reply::Silence,
        autopilot(&[(IDS[1], "blocked")], None),
        managed(&[IDS[2]]),
    ];
    let fake = Fake::start(replies).await;
    let (lookup, _) = lookup(&fake, HOUR);
    let lookup = Lookup { wait: SHORT, ..lookup };
    let looked = lookup.look_up().await;
    assert!(matches!(looked.news, News::UnderWay(1)), "{looked:?}");
    assert!(looked.devices.is_empty(), "nothing is known before the lists are whole");
    let looked = lookup.look_up().await;
    assert!(matches!(looked.news, News::Refreshed), "{looked:?}");
    assert_eq!(known(&looked), [S::Failed, S::Blocked, S::Enrolled]);
    assert_eq!(fake.received().len(), 4, "the first page is not asked for again");
}

#[tokio::test]
async fn the_first_listing_has_longer_as_long_as_pages_come() {
    /// Two of them are shorter than the wait, three are longer.
    const LATE: Duration = Duration::from_millis(250);
    let late = |reply: Reply| match reply {
        Reply::Keep(bytes) => Reply::Late(LATE, bytes),
        other => other,
    };
    let listing = || {
        [
            autopilot(&[(IDS[0], "failed")], Some("?$skiptoken=2")),
            autopilot(&[(IDS[1], "blocked")], None),
            managed(&[IDS[2]]),
        ]
    };
    let fake = Fake::start(listing().into_iter().chain(listing()).map(late).collect()).await;
    let (lookup, _) = lookup(&fake, AT_ONCE);
    let lookup = Lookup { wait: Duration::from_millis(600), ..lookup };
    let looked = lookup.look_up().await;
    assert!(matches!(looked.news, News::Refreshed), "{looked:?}");
    assert_eq!(known(&looked), [S::Failed, S::Blocked, S::Enrolled]);
    let looked = lookup.look_up().await;
    assert!(matches!(looked.news, News::UnderWay(_)), "there is something to go on with now: {looked:?}");
    assert_eq!(known(&looked), [S::Failed, S::Blocked, S::Enrolled]);
}

#[tokio::test]
async fn there_is_a_bound_of_devices() {
    let fake = Fake::start(vec![autopilot(&[(IDS[0], "failed"), (IDS[1], "failed"), (IDS[2], "failed")], None)]).await;
    let (lookup, _) = lookup(&fake, HOUR);
    let looked = Lookup { max_devices: 2, ..lookup }.look_up().await;
    insta::assert_snapshot!(failure(&fake, &looked), @"TooLarge: there are more than 2 devices, and no more are kept; set enrollment_lookup to false");
}

#[tokio::test]
async fn remedies_name_no_key_that_does_not_govern_the_lists() {
    let large = bytes_answer("200 OK", &[], &vec![b' '; (64 << 20) + 1]);
    let mut messages = Vec::new();
    for reply in [large, answer("400 Bad Request", &[], ""), answer("404 Not Found", &[], "")] {
        let fake = Fake::start(vec![reply]).await;
        let (lookup, _) = lookup(&fake, HOUR);
        messages.push(failure(&fake, &lookup.look_up().await));
    }
    insta::assert_snapshot!(messages.join("\n"), @r"
    TooLarge: GET URL/v1.0/deviceManagement/windowsAutopilotDeviceIdentities: the answer is larger than 67108864 bytes
    BadRequest: GET URL/v1.0/deviceManagement/windowsAutopilotDeviceIdentities answered 400 Bad Request; check cloud and graph_url, or set enrollment_lookup to false
    NotFound: GET URL/v1.0/deviceManagement/windowsAutopilotDeviceIdentities answered 404 Not Found; check cloud and graph_url: there is no such list here, or set enrollment_lookup to false
    ");
}

#[tokio::test]
async fn a_link_to_another_origin_is_refused() {
    let fake = Fake::start(vec![autopilot(&[(IDS[0], "failed")], Some("https://evil.example/x"))]).await;
    let (lookup, _) = lookup(&fake, HOUR);
    let looked = lookup.look_up().await;
    assert!(failure(&fake, &looked).starts_with("Paging: the answer's nextLink is refused"), "{looked:?}");
}
