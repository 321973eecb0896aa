//! Reading: reports a second through decode, apply and commit, beside the bare JSON parse of the
//! same bytes in the same run. Only ratios within one run mean anything: machines differ.
//!
//! Two bare parses: into serde_json's tree, and into plain structs of strings, which is the least
//! that a program which wants the properties can do.

#![allow(clippy::unwrap_used, missing_docs, reason = "a bench fails by panicking; criterion's macros")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use remote_assistance_exporter::config::{FirstRun, HelperLabel};
use remote_assistance_exporter::ledger::totals::DURATION_BOUNDS;
use remote_assistance_exporter::ledger::{Batch, Clock, Ledger, Policy, Settings};
use remote_assistance_exporter::poll::BATCH_REPORTS;
use remote_assistance_exporter::simulator::odata_pages;
use remote_assistance_exporter::source::collection;

/// Reports in one measured reading: a large tenant's 30 days.
const REPORTS: usize = 50_000;
/// Reports in a page, as a collection serves them.
const PAGE: usize = 1_000;
/// Pages in a transaction: as many as `poll` gathers.
const PAGES_PER_BATCH: usize = BATCH_REPORTS / PAGE;

fn now() -> DateTime<Utc> {
    remote_assistance_exporter::clock::now()
}

fn open(directory: &Path) -> Ledger {
    let policy = Policy { name: "contoso".into(), lookback: TimeDelta::days(3650), first_run: FirstRun::Count };
    let settings = Settings {
        tenants: vec![policy],
        duration_bounds: DURATION_BOUNDS.to_vec(),
        helper_label: HelperLabel::Off,
        native_histograms: true,
    };
    Ledger::open(directory, settings, now()).unwrap()
}

/// Decodes and counts every page; returns how many sessions the ledger then holds.
fn read(ledger: &mut Ledger, pages: &[Vec<u8>]) -> u64 {
    for (place, group) in pages.chunks(PAGES_PER_BATCH).enumerate() {
        let now = now();
        let mut batch = Batch {
            tenant: "contoso".into(),
            clock: Clock { now, cautious: now },
            first: place == 0,
            reports: Vec::with_capacity(PAGE * PAGES_PER_BATCH),
            devices: Arc::default(),
            rejects: Vec::new(),
            end: None,
        };
        for page in group {
            let page = collection::decode(page).unwrap().page;
            batch.reports.extend(page.reports);
            batch.rejects.extend(page.rejects);
        }
        ledger.commit(&[batch]).unwrap();
    }
    ledger.snapshot().sessions
}

/// A page as a program that checks nothing would read it.
#[derive(serde::Deserialize)]
#[allow(dead_code, reason = "parsed, not read")]
struct PlainPage {
    value: Vec<PlainReport>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code, reason = "parsed, not read")]
struct PlainReport {
    id: String,
    start_date_time: Option<String>,
    end_date_time: Option<String>,
    remote_assistance_session_type: Option<String>,
    helper_email: Option<String>,
    helper_tenant_id: Option<String>,
    helper_first_name: Option<String>,
    helper_last_name: Option<String>,
    helper_os: Option<String>,
    helper_device_aad_id: Option<String>,
    helper_device_name: Option<String>,
    helper_enrollment_state: Option<String>,
    sharer_email: Option<String>,
    sharer_tenant_id: Option<String>,
    sharer_first_name: Option<String>,
    sharer_last_name: Option<String>,
    sharer_os: Option<String>,
    sharer_device_aad_id: Option<String>,
    sharer_device_name: Option<String>,
    sharer_enrollment_state: Option<String>,
}

fn parse<'de, T: serde::Deserialize<'de>>(pages: &'de [Vec<u8>]) {
    for page in pages {
        std::hint::black_box(serde_json::from_slice::<T>(page).unwrap());
    }
}

fn reading(criterion: &mut Criterion) {
    let pages = odata_pages(1, REPORTS, PAGE);
    let mut group = criterion.benchmark_group("reading");
    group.throughput(Throughput::Elements(REPORTS as u64)).sample_size(10);
    group.bench_function("bare parse, tree", |bench| bench.iter(|| parse::<serde_json::Value>(&pages)));
    group.bench_function("bare parse, structs", |bench| bench.iter(|| parse::<PlainPage>(&pages)));
    group.bench_function("decode", |bench| {
        bench.iter(|| {
            for page in &pages {
                std::hint::black_box(collection::decode(page).unwrap());
            }
        });
    });
    group.bench_function("all new", |bench| {
        bench.iter_custom(|rounds| {
            let mut total = Duration::ZERO;
            for _ in 0..rounds {
                let directory = tempfile::tempdir().unwrap();
                let mut ledger = open(directory.path());
                let start = Instant::now();
                let sessions = read(&mut ledger, &pages);
                total += start.elapsed();
                assert!(sessions > 0);
            }
            total
        });
    });
    group.bench_function("all known", |bench| {
        let directory = tempfile::tempdir().unwrap();
        let mut ledger = open(directory.path());
        let sessions = read(&mut ledger, &pages);
        bench.iter(|| assert_eq!(read(&mut ledger, &pages), sessions));
    });
    group.finish();
}

criterion_group!(benches, reading);
criterion_main!(benches);
