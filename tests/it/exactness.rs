//! The product's promise: each session counts once, for ever, and no number that was shown is ever
//! taken back, however often the process is killed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use remote_assistance_exporter::simulator::{COLLECTION_PATH, Options, Participant, Session, TenantOptions};

use super::support::{Exporter, Lab, Scrape};

const TENANTS: [&str; 2] = ["contoso", "fabrikam"];
/// The latest moment of a blind kill: the start, the first poll and a second one fit.
const LONGEST_LIFE: Duration = Duration::from_millis(2000);
/// From a request to the commit of what it brought: decoding and counting fit.
const LONGEST_COUNTING: Duration = Duration::from_millis(250);
/// Fixes the moments and the sessions; printed when the test fails.
const SEED: &str = "EXACTNESS_SEED";

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

/// When the process is killed.
#[derive(Clone, Copy)]
enum Moment {
    /// At a moment that has nothing to do with what the process is doing.
    Blind,
    /// At a random moment soon after a request, when reports are decoded, counted and committed.
    Reading,
    /// As soon as a scrape shows something new: a number that is not durable is then lost.
    News,
}

#[test]
fn kill_after_kill_every_session_counts_once_and_no_counter_goes_down() {
    let seed = std::env::var(SEED).map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("{SEED}={seed}");
    let (lab, arguments) = busy_lab(seed);
    let watch = Watch::default();
    kill_again_and_again(&lab, &arguments, &mut StdRng::seed_from_u64(seed), &watch);

    let now = lab.freeze();
    let truth = truth(&lab, now);
    let mut exporter = Exporter::start(&arguments);
    for tenant in TENANTS {
        let ended = lab.simulator.tenant(tenant).unwrap().ended(now).len() as f64;
        exporter.wait_for_scrape(&format!("all {ended} sessions of {tenant}"), |scrape| {
            watch.see(scrape.clone());
            counted(scrape, tenant) >= ended
        });
    }
    let settled = two_more_polls(&mut exporter, &watch);
    assert_eq!(business(&settled), truth);
    for tenant in TENANTS {
        assert_every_report_has_one_fate(&settled, tenant);
    }

    // The same reports read again, by this process and by the next ones, change nothing.
    let again = two_more_polls(&mut exporter, &watch);
    assert_eq!(business(&again), truth);
    exporter.kill();
    for _ in 0..2 {
        let mut exporter = Exporter::start(&arguments);
        assert_eq!(business(&exporter.scrape()), truth);
        let again = two_more_polls(&mut exporter, &watch);
        assert_eq!(business(&again), truth);
        for tenant in TENANTS {
            assert_every_report_has_one_fate(&again, tenant);
        }
        exporter.stop();
    }
    assert_eq!(lab.simulator.write_requests(), []);
}

/// Two tenants, one for each source, whose reports hold whatever makes counting hard.
fn busy_lab(seed: u64) -> (Lab, Vec<String>) {
    let tenants =
        TENANTS.map(|name| TenantOptions { sessions_per_day: 10.0, live_per_second: 20.0, ..TenantOptions::new(name) });
    let lab = Lab::new(tenants.to_vec(), |options: &mut Options| {
        options.seed = seed;
        options.extended_columns = true;
        options.late_share = 0.3;
        options.late_max = TimeDelta::seconds(20);
        options.duplicate_share = 0.2;
        options.amended_share = 0.2;
        options.amended_after = TimeDelta::seconds(3);
        options.in_progress_share = 0.3;
        options.in_progress_lead = TimeDelta::seconds(10);
        options.missing_start_share = 0.1;
        options.absent_share = 0.1;
    });
    let configuration = lab.configuration(
        "poll_interval: 1s",
        &[
            ("contoso", "source: {kind: sessions_report, page_size: 500}"),
            ("fabrikam", &format!("source: {{kind: collection, page_size: 500, path: {COLLECTION_PATH}}}")),
        ],
    );
    let arguments = lab.arguments(&configuration);
    (lab, arguments)
}

fn kill_again_and_again(lab: &Lab, arguments: &[String], chance: &mut StdRng, watch: &Watch) {
    let mut moments = [[Moment::Blind].repeat(20), [Moment::Reading].repeat(15), [Moment::News].repeat(10)].concat();
    moments.shuffle(chance);
    for moment in moments {
        let mut exporter = Exporter::start(arguments);
        match moment {
            Moment::Blind => live_for(chance.random_range(Duration::ZERO..LONGEST_LIFE), &mut exporter, watch),
            Moment::Reading => {
                for _ in 0..chance.random_range(1..3) {
                    let tenant = lab.simulator.tenant(TENANTS[chance.random_range(0..TENANTS.len())]).unwrap();
                    let before = tenant.requests().pop();
                    exporter.wait_for_scrape("a request", |scrape| {
                        watch.see(scrape.clone());
                        tenant.requests().pop() != before
                    });
                }
                live_for(chance.random_range(Duration::ZERO..LONGEST_COUNTING), &mut exporter, watch);
            }
            Moment::News => {
                let before = exporter.scrape();
                exporter.wait_for_scrape("something new", |scrape| {
                    watch.see(scrape.clone());
                    business(scrape) != business(&before)
                });
            }
        }
        let log = exporter.kill();
        assert!(!log.iter().any(|line| line.contains("level=error")), "{log:#?}");
    }
}

/// Scrapes in a tight loop, from when it listens, if it comes to that, until its time is over.
fn live_for(life: Duration, exporter: &mut Exporter, watch: &Watch) {
    let start = Instant::now();
    let mut listens = false;
    while start.elapsed() < life {
        listens = listens || exporter.log().iter().any(|line| line.contains("msg=Listening"));
        if listens {
            watch.see(exporter.scrape());
        } else {
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }
}

/// Sees every scrape of the whole run, in order.
#[derive(Default)]
struct Watch(std::cell::RefCell<Scrape>);

impl Watch {
    /// Compares with the scrape before: every counter is still there, and not lower.
    #[track_caller]
    fn see(&self, scrape: Scrape) {
        for (series, before) in self.0.borrow().durable_counters() {
            let now = scrape.samples.get(series);
            assert!(now.is_some_and(|now| *now >= before), "{series} was {before} and is {now:?}");
        }
        self.0.replace(scrape);
    }
}

/// Waits until polls that began after now have ended.
#[track_caller]
fn two_more_polls(exporter: &mut Exporter, watch: &Watch) -> Scrape {
    let polls = |scrape: &Scrape, tenant: &str| scrape.value(&format!("polls_total{{tenant=\"{tenant}\"}}"));
    let before = exporter.scrape();
    exporter.wait_for_scrape("two more polls", |scrape| {
        watch.see(scrape.clone());
        TENANTS.iter().all(|tenant| polls(scrape, tenant) >= polls(&before, tenant) + 2.0)
    })
}

fn counted(scrape: &Scrape, tenant: &str) -> f64 {
    scrape.sum("sessions_total", &[&format!("tenant=\"{tenant}\"")])
}

/// Every series that sessions add to and that is not zero.
fn business(scrape: &Scrape) -> BTreeMap<String, f64> {
    let of_business = |series: &str| series.split('{').next().is_some_and(|name| BUSINESS.contains(&name));
    let samples = scrape.samples.iter().filter(|(series, value)| of_business(series) && **value != 0.0);
    samples.map(|(series, value)| (series.clone(), *value)).collect()
}

#[track_caller]
fn assert_every_report_has_one_fate(scrape: &Scrape, tenant: &str) {
    let label = format!("tenant=\"{tenant}\"");
    let reports = |fate: &str| scrape.sum(&format!("reports_{fate}_total"), &[&label]);
    let known = ["duplicate", "amended", "unfinished"];
    for fate in known {
        assert!(reports(fate) > 0.0, "no report of {tenant} was {fate}: the test shows nothing");
    }
    let fates = known.iter().chain(&["too_old", "rejected", "baseline"]).map(|fate| reports(fate)).sum::<f64>();
    assert_eq!(reports("read"), counted(scrape, tenant) + fates, "{tenant}");
    assert_eq!(scrape.sum("report_rows_missing_total", &[&label]), 0.0);
}

/// What the business series must be, by the simulator's own list of what has ended.
fn truth(lab: &Lab, now: chrono::DateTime<chrono::Utc>) -> BTreeMap<String, f64> {
    let mut truth = BTreeMap::new();
    for tenant in TENANTS {
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
