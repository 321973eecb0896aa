//! The order of the steps, and what is said of lengths of time. What each step finds is tested where the
//! program shows it, in `tests/it/check`.

use std::sync::Mutex;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use chrono::TimeDelta;
use insta::assert_snapshot;

use super::network::rough;
use super::*;
use crate::session::Label as _;
use crate::source::Far;
use crate::source::testing::{Fake, answer, report_tenant};

#[test]
fn lengths_of_time_are_said_in_their_largest_unit() {
    for (seconds, said) in [
        (0, "0 seconds"),
        (1, "1 second"),
        (119, "119 seconds"),
        (120, "2 minutes"),
        (7_199, "119 minutes"),
        (7_200, "2 hours"),
        (172_799, "47 hours"),
        (172_800, "2 days"),
    ] {
        assert_eq!(rough(TimeDelta::seconds(seconds)), said);
    }
}

/// Keeps what it is told.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Progress for Told {
    fn page(&self, far: Far) {
        self.0.lock().unwrap().push(format!("{far:?}"));
    }

    fn step(&self, what: &'static str) {
        self.0.lock().unwrap().push(what.to_owned());
    }

    fn ended(&self, whole: bool) {
        self.0.lock().unwrap().push(format!("ended {whole}"));
    }
}

#[tokio::test]
async fn steps_are_told_as_they_begin_and_the_clock_is_heard_from_a_refusal_too() {
    let fake = Fake::start(vec![answer("403 Forbidden", &[("date", "Thu, 19 Mar 2026 12:00:00 GMT")], "")]).await;
    let told = Arc::new(Told::default());
    let network = Arc::new(Network::new(|_| None));
    let now = || DateTime::from_timestamp(1_773_921_600 + 7, 0).unwrap_or_default();
    let steps = Probe::new(&report_tenant(&fake), network, now, told.clone()).online().await;
    let outcomes: Vec<_> = steps.iter().map(|step| format!("{} {:?}", step.name.as_str(), step.outcome)).collect();
    assert_eq!(outcomes.len(), StepName::ALL.len());
    assert!(outcomes[..3].iter().all(|outcome| outcome.ends_with(" Fine")), "{outcomes:#?}");
    assert!(matches!(&steps[5].outcome, Outcome::Failed(error) if error.reason == FailureReason::Forbidden));
    assert!(matches!(steps[6].outcome, Outcome::Skipped(StepName::Read)));
    assert!(matches!(steps[7].outcome, Outcome::Fine));
    let Some(Detail::Clock(clock)) = &steps[7].detail else { panic!("{steps:?}") };
    assert_eq!(clock.ahead(), TimeDelta::seconds(7));
    let told = told.0.lock().unwrap();
    assert_eq!(*told, ["name_resolution", "tls", "token", "permission", "read", "ended true"]);
}

#[tokio::test]
async fn a_tenant_that_cannot_even_be_set_up_is_told_in_its_first_step() {
    let fake = Fake::start(Vec::new()).await;
    let tenant = config::Tenant { ca_file: Some("no/such.pem".into()), ..report_tenant(&fake) };
    let probe = Probe::new(&tenant, Arc::new(Network::new(|_| None)), DateTime::default, Arc::new(Told::default()));
    for steps in [probe.online().await, probe.offline()] {
        let Outcome::Failed(SourceError { message, .. }) = &steps[0].outcome else { panic!("{steps:?}") };
        assert!(message.starts_with("ca_file no/such.pem: "), "{message}");
        assert!(steps[1..].iter().all(|step| matches!(step.outcome, Outcome::Skipped(StepName::Configuration))));
        assert_eq!(steps.len(), StepName::ALL.len());
    }
    assert!(fake.received().is_empty());
}

/// The steps of a look at a directory of files.
async fn look_at_files(directory: &std::path::Path) -> Vec<Step> {
    let yaml = format!("tenants: [{{name: a, source: {{kind: files, directory: '{}'}}}}]", directory.display());
    let config = config::Config::from_yaml(&yaml, std::path::Path::new("test.yaml")).unwrap();
    let network = Arc::new(Network::new(|_| None));
    let now = || DateTime::from_timestamp(1_773_921_600, 0).unwrap_or_default();
    Probe::new(&config.tenants[0], network, now, Arc::new(Told::default())).online().await
}

fn outcome(steps: &[Step], name: StepName) -> &Outcome {
    &steps.iter().find(|step| step.name == name).unwrap().outcome
}

const FILE: &str = r#"{"id":"a","endDateTime":"2026-03-19T12:00:00Z"}"#;

#[tokio::test]
async fn files_are_looked_at_without_asking_anyone() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("a"), FILE).unwrap();
    let steps = look_at_files(directory.path()).await;
    assert!(matches!(outcome(&steps, StepName::Read), Outcome::Fine), "{steps:?}");
    for name in [StepName::NameResolution, StepName::Tls, StepName::Token, StepName::Permission, StepName::Clock] {
        assert!(matches!(outcome(&steps, name), Outcome::NotApplicable(_)), "{steps:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_export_that_does_not_come_is_not_waited_for_as_a_poll_does() {
    let began = tokio::time::Instant::now();
    let Finding { outcome, .. } = soon::<()>(std::future::pending()).await;
    assert_eq!(began.elapsed().as_secs(), EXPORT_PATIENCE.as_secs());
    let Outcome::Failed(error) = outcome else { panic!("{outcome:?}") };
    assert_eq!(error.reason, FailureReason::Timeout);
    insta::assert_snapshot!(error.message, @"the export is not there after 120 s; the service takes longer at times and leaves jobs unfinished: run check again, polls wait longer");
}

#[tokio::test]
async fn files_that_cannot_be_read_fail_the_look_and_beside_others_they_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let bad = directory.path().join("bad.csv");
    std::fs::write(&bad, "A,B\n1,2\n").unwrap();
    let steps = look_at_files(directory.path()).await;
    let Outcome::Failed(error) = outcome(&steps, StepName::Read) else { panic!("{steps:?}") };
    assert_eq!(error.reason, FailureReason::Files);
    assert_snapshot!(error.message, @"no row was found; files set aside: 1, the first for this reason: bad.csv: the report has no column for id, startDateTime, endDateTime; it has A, B: name the right ones under source.columns");
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(3600);
    std::fs::File::options().append(true).open(bad).unwrap().set_modified(long_ago).unwrap();
    std::fs::write(directory.path().join("good"), FILE).unwrap();
    let steps = look_at_files(directory.path()).await;
    let Outcome::Warning(message) = outcome(&steps, StepName::Read) else { panic!("{steps:?}") };
    assert_snapshot!(message, @"files set aside: 1, the first for this reason: bad.csv: the report has no column for id, startDateTime, endDateTime; it has A, B: name the right ones under source.columns; mend them or take them away");
}

#[tokio::test]
async fn a_look_up_needs_its_permissions_whatever_the_source_needs() {
    let directory = tempfile::tempdir().unwrap();
    let token_file = directory.path().join("token");
    let fake = Fake::start(Vec::new()).await;
    let files = config::Source::Files { directory: directory.path().into(), columns: Vec::new() };
    let mut said = Vec::new();
    for (source, lookup, roles) in [
        (Some(&files), false, &[][..]),
        (Some(&files), true, &["DeviceManagementManagedDevices.Read.All"]),
        (
            Some(&files),
            true,
            &["DeviceManagementServiceConfig.ReadWrite.All", "DeviceManagementManagedDevices.Read.All"],
        ),
        (None, true, &[]),
        (None, true, &["DeviceManagementServiceConfig.Read.All", "DeviceManagementManagedDevices.Read.All"]),
    ] {
        let claims = BASE64_URL_SAFE_NO_PAD.encode(serde_json::json!({ "roles": roles }).to_string());
        std::fs::write(&token_file, format!("e30.{claims}.c2ln")).unwrap();
        let mut tenant = report_tenant(&fake);
        tenant.credential = config::Credential::BearerTokenFile { token_file: token_file.clone() };
        tenant.enrollment_lookup = lookup.then_some(Duration::from_secs(3600));
        tenant.source = source.unwrap_or(&tenant.source).clone();
        let network = Arc::new(Network::new(|_| None));
        let steps = Probe::new(&tenant, network, DateTime::default, Arc::new(Told::default())).online().await;
        let step = steps.iter().find(|step| step.name == StepName::Permission).unwrap();
        said.push(format!("{:?}", step.outcome));
    }
    insta::assert_snapshot!(said.join("\n"), @r#"
    NotApplicable("the reports are files, for which nobody is asked")
    Warning("the token names not every permission that enrollment_lookup needs; grant the application DeviceManagementServiceConfig.Read.All as an application permission of Microsoft Graph and give admin consent (a new permission takes effect with the next token), or set enrollment_lookup to false")
    Fine
    Warning("the token names none of the permissions that the source needs; grant the application DeviceManagementServiceConfig.Read.All or DeviceManagementConfiguration.Read.All as an application permission of Microsoft Graph and give admin consent (a new permission takes effect with the next token); the token names not every permission that enrollment_lookup needs; grant the application DeviceManagementServiceConfig.Read.All and DeviceManagementManagedDevices.Read.All as an application permission of Microsoft Graph and give admin consent (a new permission takes effect with the next token), or set enrollment_lookup to false")
    Fine
    "#);
}
