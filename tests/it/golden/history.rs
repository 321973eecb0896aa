//! Two tenants, a dozen sessions, and some trouble: read by the real client from a simulated Graph
//! whose clock stands where the script puts it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use remote_assistance_exporter::config::Config;
use remote_assistance_exporter::exposition::{Exposition, HttpMetrics};
use remote_assistance_exporter::ledger::writer::{self, Writer};
use remote_assistance_exporter::ledger::{Ledger, Settings};
use remote_assistance_exporter::metrics::{Build, Business, Own, Versioned};
use remote_assistance_exporter::poll::TenantPoll;
use remote_assistance_exporter::simulator::{COLLECTION_PATH, Participant, Scenario, Session, Tenant, TenantOptions};
use remote_assistance_exporter::source::{Network, Observer as _};
use remote_assistance_exporter::status::{FailureReason, Status};

use crate::support::Lab;

/// One is read as the report, from its first session on; the other as a collection, from the day on
/// that the exporter was started.
pub const TENANTS: [&str; 2] = ["contoso", "fabrikam"];

const STATES: [Option<&str>; 8] = [
    Some("enrolled"),
    Some("unknown"),
    Some("pendingReset"),
    Some("failed"),
    Some("notContacted"),
    Some("blocked"),
    Some("quarantined"),
    None,
];
const SYSTEMS: [Option<&str>; 8] = [
    Some("Windows 11"),
    Some("macOS 15.1"),
    Some("Ubuntu 24.04"),
    Some("Android 15"),
    Some("iPadOS 18"),
    Some("ChromeOS"),
    Some("Haiku"),
    None,
];

/// Noon of a Wednesday, when the exporter is started.
fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_773_835_200, 0).unwrap()
}

/// Plays the history and gives what is then to be seen.
pub fn play() -> Exposition {
    let clock = Arc::new(Mutex::new(start()));
    let told = clock.clone();
    let lab = Lab::new(TENANTS.map(TenantOptions::manual).into(), |options| {
        options.clock = Arc::new(move || *told.lock().unwrap());
        options.extended_columns = true;
    });
    let lookup = "enrollment_lookup: true";
    let collection = format!("{lookup}, first_run: baseline, source: {{kind: collection, path: {COLLECTION_PATH}}}");
    let path = lab.configuration("poll_interval: 5m", &[("contoso", lookup), ("fabrikam", &collection)]);
    let yaml = format!("metrics: {{helper_label: plain}}\n{}", std::fs::read_to_string(&path).unwrap());
    let config = Config::from_yaml(&yaml, &path).unwrap();
    lab.runtime.block_on(async {
        let exporter = Exporter::open(&config, &lab);
        let [contoso, fabrikam] = TENANTS.map(|name| lab.simulator.tenant(name).unwrap());
        for (minutes, happens) in SCRIPT.iter().enumerate().map(|(turn, happens)| (5 * turn as i64, happens)) {
            *clock.lock().unwrap() = start() + TimeDelta::minutes(minutes);
            happens(&contoso, &fabrikam);
            exporter.poll().await;
        }
        exporter.exposition
    })
}

/// What happens before each poll.
const SCRIPT: [fn(&Tenant, &Tenant); 5] = [a_backlog, the_day_goes_on, rows_break, rows_are_missing, the_role_is_taken];

fn a_backlog(contoso: &Tenant, fabrikam: &Tenant) {
    let ended = |days, hours| Some(-TimeDelta::days(days) - TimeDelta::hours(hours));
    let other_tenant = |mut session: Session| {
        Arc::make_mut(&mut session.helper).tenant_id = Some("99999999-8888-7777-6666-555555555555".to_owned());
        session
    };
    contoso.set_sessions(vec![
        session(0, Some("viewOnly"), 90, ended(0, 2)),
        // Of exactly ten minutes: in the bucket of that bound.
        session(1, Some("fullControl"), 600, ended(3, 0)),
        other_tenant(session(2, Some("elevation"), 240, ended(20, 0))),
        session(3, Some("unattended"), 9 * 3600, ended(6, 23)),
        // The report's Attribute may hold anything: this is no type that it is known to hold.
        session(4, Some("holographic"), 45, ended(0, 1)),
        session(5, None, 3000, ended(2, 5)),
        Session { start: None, ..session(6, Some("unattended"), 0, ended(1, 1)) },
        // Is still going on.
        Session { start: Some(start() - TimeDelta::minutes(19)), ..session(7, Some("fullControl"), 0, None) },
        // Ended before the look-back window.
        session(8, Some("viewOnly"), 60, ended(30, 1)),
        // Ends when the machine it runs on thinks it does.
        session(9, Some("viewOnly"), 60, ended(-2, 0)),
        Session { id: "x".repeat(257), ..session(10, Some("viewOnly"), 60, ended(0, 3)) },
    ]);
    fabrikam.set_device_scenario(Scenario::MissingRole);
    fabrikam.set_sessions(vec![
        session(20, Some("viewOnly"), 60, ended(0, 4)),
        session(21, Some("fullControl"), 60, ended(10, 0)),
    ]);
}

fn the_day_goes_on(contoso: &Tenant, fabrikam: &Tenant) {
    let after = |seconds| Some(TimeDelta::seconds(seconds));
    contoso.push(session(7, Some("fullControl"), 1200, after(60)));
    contoso.push(Session {
        diagnostic_code: Some("1017".into()),
        ..session(1, Some("fullControl"), 600, Some(-TimeDelta::days(3)))
    });
    // With an end before its start.
    contoso.push(session(11, Some("viewOnly"), -5, after(150)));
    contoso.push(session(12, Some("viewOnly"), 700, after(240)));
    // Still going on at the end of the history.
    contoso.push(Session { start: Some(start()), ..session(13, Some("elevation"), 0, None) });
    contoso.set_scenario_for(Scenario::Throttled, 1);
    fabrikam.push(session(22, Some("unattended"), 61, after(120)));
    fabrikam.push(session(23, Some("elevation"), 3601, after(-3600)));
    fabrikam.push(session(24, Some("holographic"), 30, after(-10)));
}

fn rows_break(contoso: &Tenant, _: &Tenant) {
    contoso.set_scenario(Scenario::BrokenRows);
}

fn rows_are_missing(contoso: &Tenant, _: &Tenant) {
    contoso.set_scenario(Scenario::ShortPage);
}

fn the_role_is_taken(contoso: &Tenant, _: &Tenant) {
    contoso.set_scenario(Scenario::MissingRole);
}

/// A session of so many seconds that ended so long after the start of the history. People, devices,
/// states and systems go by its number.
fn session(number: usize, session_type: Option<&'static str>, seconds: i64, ended: Option<TimeDelta>) -> Session {
    let end = ended.map(|ended| start() + ended);
    let side = |role: &str, number: usize| Participant {
        email: Some(format!("{role}-{}@example.com", number % 6)),
        device_name: Some(format!("{role}-{}", number % 8)),
        tenant_id: Some("11111111-2222-3333-4444-555555555555".to_owned()),
        os: SYSTEMS[number % SYSTEMS.len()].map(str::to_owned),
        enrollment_state: STATES[number % STATES.len()].map(Into::into),
        ..Participant::default()
    };
    Session {
        id: format!("session-{number}"),
        start: end.map(|end| end - TimeDelta::seconds(seconds)),
        end,
        session_type: session_type.map(Into::into),
        helper: side("helper", number).into(),
        sharer: side("sharer", number + 3).into(),
        ..Session::default()
    }
}

/// An exporter without its server and its schedule.
struct Exporter {
    tenants: Vec<Arc<TenantPoll>>,
    writer: Writer,
    exposition: Exposition,
}

struct Observer(Own);

impl writer::Observer for Observer {
    fn commit(&self, duration: Duration, durable: bool) {
        assert!(durable);
        self.0.committed(duration);
    }

    fn alive(&self) {}
}

impl Exporter {
    fn open(config: &Config, lab: &Lab) -> Self {
        let build = Build { version: "0.1.0", revision: "0123abc", rust_version: "1.89.0" };
        let own = Own::new(&build, start).unwrap();
        own.config_loaded(config.hash, start());
        own.sharded(0, 1, config.tenants.len());
        // What has no place in the script: an earlier commit, and the scrape that is being answered.
        own.commit_failed();
        let http = HttpMetrics::new(start).unwrap();
        let metrics = http.path("/metrics");
        http.declare(metrics, &[200, 500, 503]);
        http.answered(metrics, 200, Duration::from_millis(3));
        std::mem::forget(http.begin());
        let ledger = Ledger::open(&lab.directory.path().join("data"), Settings::new(config), start()).unwrap();
        let (writer, published, _) = Writer::start(ledger, Arc::new(Observer(own.clone())));
        let business: Box<dyn Versioned> = Box::new(Business::new(published).unwrap());
        let status = Arc::new(Status::default());
        let tenants = config.tenants.iter().map(|tenant| {
            let metrics = own.tenant(&tenant.name);
            metrics.held_back(Duration::from_millis(1500));
            let poll = TenantPoll::new(tenant, &Network::new(|_| None), metrics, status.clone()).unwrap();
            poll.enter(None);
            Arc::new(poll)
        });
        let tenants = tenants.collect();
        let own: Box<dyn Versioned> = Box::new(own.part());
        Self { tenants, writer, exposition: Exposition::new(vec![business, own], http) }
    }

    /// Polls one tenant after the other. Only the lack of its role makes a poll fail.
    async fn poll(&self) {
        for tenant in &self.tenants {
            if let Err(failure) = tenant.poll(&self.writer).await {
                assert_eq!(failure.reason, FailureReason::Forbidden, "{failure}");
            }
        }
    }
}
