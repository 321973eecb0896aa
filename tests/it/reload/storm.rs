//! Reloads at random moments, of whatever kind, while sessions end: the totals are those of a program that
//! was never disturbed.

use std::fs;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use remote_assistance_exporter::simulator::{COLLECTION_PATH, TenantOptions};

use super::{of, start};
use crate::support::{Exporter, Lab, Scrape};
use crate::truth::{Watch, assert_every_report_has_one_fate, business, counted, truth};

const TENANTS: [&str; 4] = ["contoso", "fabrikam", "northwind", "tailspin"];
/// Is in every configuration, always the same: the others must not be noticed.
const STEADY: &str = "contoso";
/// The longest time between two reloads; a poll and its commit fit.
const LONGEST_PAUSE: Duration = Duration::from_millis(700);
/// Fixes the moments, the kinds and the sessions; printed when the test fails.
const SEED: &str = "RELOAD_SEED";

#[derive(Clone, Copy)]
enum Kind {
    /// By HTTP, which answers when it is done.
    Http,
    /// By a signal, not waiting for it.
    Signal,
    /// By many signals, and the file is written while they arrive.
    Signals,
    /// A file that is refused.
    Bad,
    /// By HTTP, and right after its answer the process is killed.
    Killed,
}

#[test]
fn reload_after_reload_every_session_counts_once_and_no_counter_goes_down() {
    let seed = std::env::var(SEED).map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("{SEED}={seed}");
    let mut chance = StdRng::seed_from_u64(seed);
    let lab = lab(seed);
    let watch = Watch::default();
    let configuration = write(&lab, &TENANTS, &mut chance);
    let mut exporter = start(&lab, &configuration);
    let mut kinds = [
        [Kind::Http].repeat(14),
        [Kind::Signal].repeat(8),
        [Kind::Signals].repeat(5),
        [Kind::Bad].repeat(5),
        [Kind::Killed].repeat(4),
    ]
    .concat();
    kinds.shuffle(&mut chance);
    for kind in kinds {
        exporter = reload(kind, &lab, exporter, &mut chance, &watch);
        let pause = chance.random_range(Duration::ZERO..LONGEST_PAUSE);
        let start = Instant::now();
        while start.elapsed() < pause {
            see(&mut exporter, &watch);
        }
    }

    write(&lab, &TENANTS, &mut chance);
    assert_eq!(exporter.reload().status, 200);
    let now = lab.freeze();
    let truth = truth(&lab, &TENANTS, now);
    for tenant in TENANTS {
        let ended = lab.simulator.tenant(tenant).unwrap().ended(now).len() as f64;
        exporter
            .wait_for_scrape(&format!("all {ended} sessions of {tenant}"), |scrape| counted(scrape, tenant) >= ended);
    }
    let settled = two_more_polls(&mut exporter);
    watch.see(&settled);
    assert_eq!(business(&settled), truth);
    assert_every_report_has_one_fate(&settled, &TENANTS);
    assert_eq!(exporter.reload().status, 200);
    assert_eq!(business(&two_more_polls(&mut exporter)), truth);
    exporter.stop();
    let mut exporter = start(&lab, &configuration);
    assert_eq!(business(&exporter.scrape()), truth);
    exporter.stop();
}

fn lab(seed: u64) -> Lab {
    let tenant = |name| TenantOptions { sessions_per_day: 5.0, live_per_second: 12.0, ..TenantOptions::new(name) };
    Lab::new(TENANTS.map(tenant).to_vec(), |options| {
        options.seed = seed;
        options.extended_columns = true;
        options.late_share = 0.3;
        options.late_max = TimeDelta::seconds(10);
        options.duplicate_share = 0.2;
        options.amended_share = 0.2;
        options.amended_after = TimeDelta::seconds(3);
        options.in_progress_share = 0.3;
        options.in_progress_lead = TimeDelta::seconds(10);
    })
}

/// Writes a configuration of these tenants, each read in a random way.
fn write(lab: &Lab, names: &[&'static str], chance: &mut StdRng) -> std::path::PathBuf {
    let tenants: Vec<_> = names
        .iter()
        .map(|name| {
            let page_size = if *name == STEADY { 500 } else { chance.random_range(100..400) };
            let source = match *name {
                STEADY | "fabrikam" => format!("{{kind: sessions_report, page_size: {page_size}}}"),
                _ => format!("{{kind: collection, page_size: {page_size}, path: {COLLECTION_PATH}}}"),
            };
            let interval = if *name == STEADY { 1 } else { chance.random_range(1..3) };
            (*name, format!("poll_interval: {interval}s, source: {source}"))
        })
        .collect();
    let tenants: Vec<_> = tenants.iter().map(|(name, keys)| (*name, keys.as_str())).collect();
    lab.configuration("first_run: count", &tenants)
}

fn reload(kind: Kind, lab: &Lab, mut exporter: Exporter, chance: &mut StdRng, watch: &Watch) -> Exporter {
    let mut names = vec![STEADY];
    names.extend(TENANTS.iter().filter(|name| **name != STEADY && chance.random_bool(0.6)));
    let configuration = write(lab, &names, chance);
    match kind {
        Kind::Http | Kind::Killed => {
            let answer = exporter.reload();
            assert_eq!(answer.status, 200, "{}", answer.text());
            let scrape = exporter.scrape();
            watch.see_where(&scrape, |series| names.iter().any(|name| series.contains(name)));
            let gone = TENANTS.iter().filter(|name| !names.contains(name));
            gone.for_each(|name| assert_eq!(of(&scrape, "polls_total", name), 0.0, "{name} is still there"));
            assert_eq!(exporter.status()["tenants"].as_array().unwrap().len(), names.len());
        }
        Kind::Signal => exporter.signal("HUP"),
        Kind::Signals => {
            for _ in 0..12 {
                exporter.signal("HUP");
                if chance.random_bool(0.3) {
                    write(lab, &names, chance);
                }
            }
        }
        Kind::Bad => {
            let text = fs::read_to_string(&configuration).unwrap();
            let cut = *[0, text.len() / 3, text.len() / 2].choose(chance).unwrap();
            fs::write(&configuration, format!("{}\nbad: [", &text[..cut])).unwrap();
            let answer = exporter.reload();
            assert_eq!(answer.status, 500, "{}", answer.text());
            assert_eq!(exporter.scrape().value("exporter_config_last_reload_successful"), 0.0);
            fs::write(&configuration, text).unwrap();
        }
    }
    if matches!(kind, Kind::Killed) {
        exporter.kill();
        return start(lab, &configuration);
    }
    exporter
}

/// One scrape: whatever tenants are configured now, the steady one is among them.
fn see(exporter: &mut Exporter, watch: &Watch) {
    watch.see_where(&exporter.scrape(), |series| series.contains(STEADY));
}

fn two_more_polls(exporter: &mut Exporter) -> Scrape {
    let before = exporter.scrape();
    exporter.wait_for_scrape("two more polls", |scrape| {
        TENANTS.iter().all(|tenant| of(scrape, "polls_total", tenant) >= of(&before, "polls_total", tenant) + 2.0)
    })
}
