//! What must have been counted, by the simulator's own list, and what counters must never do.

use std::collections::BTreeMap;

use remote_assistance_exporter::simulator::{Participant, Session};

use super::support::{Lab, Scrape};

const DURATION_BOUNDS: [u64; 11] = [30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800];
const TICKS_PER_SECOND: u64 = 10_000_000;

/// What a session adds to: all of it is compared, series by series.
const BUSINESS: [&str; 8] = [
    "sessions_total",
    "session_duration_seconds_bucket",
    "session_duration_seconds_sum",
    "session_duration_seconds_count",
    "participants_total",
    "participant_os_total",
    "cross_tenant_sessions_total",
    "invalid_durations_total",
];

/// Sees every scrape of a whole run, in order.
#[derive(Default)]
pub struct Watch(std::cell::RefCell<BTreeMap<String, f64>>);

impl Watch {
    /// Compares with the scrapes before: every counter is still there, and not lower.
    #[track_caller]
    pub fn see(&self, scrape: &Scrape) {
        self.see_where(scrape, |_| true);
    }

    /// The same, where series may be gone for a while unless they must be there. One that comes back goes
    /// on where it was.
    #[track_caller]
    pub fn see_where(&self, scrape: &Scrape, must_be_there: impl Fn(&str) -> bool) {
        let mut seen = self.0.borrow_mut();
        for (series, before) in &*seen {
            match scrape.samples.get(series) {
                Some(now) => assert!(now >= before, "{series} was {before} and is {now}"),
                None => assert!(!must_be_there(series), "{series} was {before} and is gone"),
            }
        }
        seen.extend(scrape.durable_counters().map(|(series, value)| (series.clone(), value)));
    }
}

/// Sessions counted.
pub fn counted(scrape: &Scrape, tenant: &str) -> f64 {
    scrape.sum("sessions_total", &[&format!("tenant=\"{tenant}\"")])
}

/// Every series that sessions add to and that is not zero.
pub fn business(scrape: &Scrape) -> BTreeMap<String, f64> {
    let of_business = |series: &str| series.split('{').next().is_some_and(|name| BUSINESS.contains(&name));
    let samples = scrape.samples.iter().filter(|(series, value)| of_business(series) && **value != 0.0);
    samples.map(|(series, value)| (series.clone(), *value)).collect()
}

/// What was read has one fate each, and every fate that is expected was met.
#[track_caller]
pub fn assert_every_report_has_one_fate(scrape: &Scrape, tenants: &[&str]) {
    let known = ["duplicate", "amended", "unfinished"];
    for fate in known {
        let reports = scrape.sum(&format!("reports_{fate}_total"), &[]);
        assert!(reports > 0.0, "no report was {fate}: the test shows nothing");
    }
    for tenant in tenants {
        let label = format!("tenant=\"{tenant}\"");
        let reports = |fate: &str| scrape.sum(&format!("reports_{fate}_total"), &[&label]);
        let fates = known.iter().chain(&["too_old", "rejected", "baseline"]).map(|fate| reports(fate)).sum::<f64>();
        assert_eq!(reports("read"), counted(scrape, tenant) + fates, "{tenant}");
        assert_eq!(scrape.sum("report_rows_missing_total", &[&label]), 0.0);
    }
}

/// What the business series must be, by the simulator's own list of what has ended.
pub fn truth(lab: &Lab, tenants: &[&str], now: chrono::DateTime<chrono::Utc>) -> BTreeMap<String, f64> {
    let mut truth = BTreeMap::new();
    for tenant in tenants {
        let mut ticks = BTreeMap::<String, u64>::new();
        for session in lab.simulator.tenant(tenant).unwrap().ended(now) {
            for (series, value) in series_of(&session, tenant) {
                *truth.entry(series).or_default() += value;
            }
            if let Some(duration) = session.duration_ticks() {
                *ticks.entry(by_type("session_duration_seconds_sum", &session, tenant, "")).or_default() += duration;
            }
        }
        let seconds = |ticks| ticks as f64 / TICKS_PER_SECOND as f64;
        truth.extend(ticks.into_iter().map(|(series, ticks)| (series, seconds(ticks))));
    }
    truth
}

/// The counts that one session adds to.
fn series_of(session: &Session, tenant: &str) -> Vec<(String, f64)> {
    let mut series = vec![by_type("sessions_total", session, tenant, "")];
    match session.duration_ticks() {
        Some(ticks) => {
            series.push(by_type("session_duration_seconds_count", session, tenant, ""));
            let above = DURATION_BOUNDS.iter().filter(|bound| ticks <= **bound * TICKS_PER_SECOND);
            let bounds = above.map(ToString::to_string).chain(["+Inf".to_owned()]);
            series.extend(
                bounds.map(|le| by_type("session_duration_seconds_bucket", session, tenant, &format!(",le=\"{le}\""))),
            );
        }
        None => series.push(format!("invalid_durations_total{{tenant=\"{tenant}\"}}")),
    }
    if let (Some(helper), Some(sharer)) = (&session.helper.tenant_id, &session.sharer.tenant_id)
        && helper != sharer
    {
        series.push(by_type("cross_tenant_sessions_total", session, tenant, ""));
    }
    for (role, participant) in [("helper", &session.helper), ("sharer", &session.sharer)] {
        let state = participant.enrollment_state.as_deref().unwrap_or("unreported");
        let os = family(participant);
        series.push(format!("participants_total{{enrollment_state=\"{state}\",role=\"{role}\",tenant=\"{tenant}\"}}"));
        series.push(format!("participant_os_total{{os=\"{os}\",role=\"{role}\",tenant=\"{tenant}\"}}"));
    }
    series.into_iter().map(|series| (series, 1.0)).collect()
}

fn by_type(name: &str, session: &Session, tenant: &str, more: &str) -> String {
    let session_type = session.session_type.as_deref().unwrap_or("unreported");
    format!("{name}{{session_type=\"{session_type}\",tenant=\"{tenant}\"{more}}}")
}

/// The family of the systems that the simulator knows.
fn family(participant: &Participant) -> &'static str {
    const FAMILIES: [(&str, &str); 3] = [("Windows", "windows"), ("macOS", "macos"), ("Android", "android")];
    let Some(os) = participant.os.as_deref() else {
        return "unreported";
    };
    FAMILIES.iter().find(|(start, _)| os.starts_with(start)).unwrap_or_else(|| panic!("{os} is of no known family")).1
}
