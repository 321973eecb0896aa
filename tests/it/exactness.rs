//! The product's promise: each session counts once, for ever, and no number that was shown is ever
//! taken back, however often the process is killed.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use remote_assistance_exporter::simulator::{COLLECTION_PATH, Options, TenantOptions};

use super::support::{Exporter, Lab, Scrape};
use super::truth::{Watch, assert_every_report_has_one_fate, business, counted, truth};

const TENANTS: [&str; 2] = ["contoso", "fabrikam"];
/// The latest moment of a blind kill: the start, the first poll and a second one fit.
const LONGEST_LIFE: Duration = Duration::from_millis(2000);
/// From a request to the commit of what it brought: decoding and counting fit.
const LONGEST_COUNTING: Duration = Duration::from_millis(250);
/// Fixes the moments and the sessions; printed when the test fails.
const SEED: &str = "EXACTNESS_SEED";

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
    let truth = truth(&lab, &TENANTS, now);
    let mut exporter = Exporter::start(&arguments);
    for tenant in TENANTS {
        let ended = lab.simulator.tenant(tenant).unwrap().ended(now).len() as f64;
        exporter.wait_for_scrape(&format!("all {ended} sessions of {tenant}"), |scrape| {
            watch.see(scrape);
            counted(scrape, tenant) >= ended
        });
    }
    let settled = two_more_polls(&mut exporter, &watch);
    assert_eq!(business(&settled), truth);
    assert_every_report_has_one_fate(&settled, &TENANTS);

    // The same reports read again, by this process and by the next ones, change nothing.
    let again = two_more_polls(&mut exporter, &watch);
    assert_eq!(business(&again), truth);
    exporter.kill();
    for _ in 0..2 {
        let mut exporter = Exporter::start(&arguments);
        assert_eq!(business(&exporter.scrape()), truth);
        let again = two_more_polls(&mut exporter, &watch);
        assert_eq!(business(&again), truth);
        assert_every_report_has_one_fate(&again, &TENANTS);
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
                        watch.see(scrape);
                        tenant.requests().pop() != before
                    });
                }
                live_for(chance.random_range(Duration::ZERO..LONGEST_COUNTING), &mut exporter, watch);
            }
            Moment::News => {
                let before = exporter.scrape();
                exporter.wait_for_scrape("something new", |scrape| {
                    watch.see(scrape);
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
            watch.see(&exporter.scrape());
        } else {
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }
}

/// Waits until polls that began after now have ended.
#[track_caller]
fn two_more_polls(exporter: &mut Exporter, watch: &Watch) -> Scrape {
    let polls = |scrape: &Scrape, tenant: &str| scrape.value(&format!("polls_total{{tenant=\"{tenant}\"}}"));
    let before = exporter.scrape();
    exporter.wait_for_scrape("two more polls", |scrape| {
        watch.see(scrape);
        TENANTS.iter().all(|tenant| polls(scrape, tenant) >= polls(&before, tenant) + 2.0)
    })
}
