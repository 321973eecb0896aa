//! `backfill`: the history of a ledger, as a file and in a real Prometheus.

mod endings;
mod joins;
mod memory;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use prometheus::TextEncoder;
use proptest::prelude::*;
use remote_assistance_exporter::config::{FirstRun, HelperLabel};
use remote_assistance_exporter::exposition::{Format, HistoryWriter};
use remote_assistance_exporter::ledger::history::{self, PastTenant};
use remote_assistance_exporter::ledger::totals::DURATION_BOUNDS;
use remote_assistance_exporter::ledger::{Batch, Clock, EndOfReading, Ledger, Policy, Settings};
use remote_assistance_exporter::metrics::{self, Timeline};
use remote_assistance_exporter::session::{EnrollmentState, Label, Participant, SessionReport, SessionType};

use crate::golden::compare;
use crate::support::Scrape;
use crate::tools;

/// Noon of a Thursday.
fn noon() -> DateTime<Utc> {
    DateTime::from_timestamp(1_773_921_600, 0).unwrap()
}

fn settings(first_run: FirstRun, bounds: &[f64]) -> Settings {
    Settings {
        tenants: vec![Policy { name: "contoso".into(), lookback: TimeDelta::days(30), first_run }],
        duration_bounds: bounds.to_vec(),
        helper_label: HelperLabel::Off,
        native_histograms: true,
    }
}

fn open(directory: &Path) -> Ledger {
    Ledger::open(directory, settings(FirstRun::Count, DURATION_BOUNDS), noon()).unwrap()
}

/// A session of ten minutes.
fn session(id: &str, end: DateTime<Utc>) -> SessionReport {
    SessionReport {
        id: id.into(),
        start: Some(end - TimeDelta::minutes(10)),
        end: Some(end),
        session_type: SessionType::FullControl,
        helper: Participant { enrollment_state: EnrollmentState::Enrolled, ..Participant::default() },
        ..SessionReport::default()
    }
}

fn read(ledger: &mut Ledger, now: DateTime<Utc>, reports: Vec<SessionReport>) {
    let batch = Batch {
        tenant: "contoso".into(),
        clock: Clock { now, cautious: now },
        first: true,
        reports,
        devices: Arc::default(),
        rejects: Vec::new(),
        end: Some(EndOfReading { rows_missing: 0 }),
    };
    ledger.commit(&[batch]).unwrap();
}

/// The history from a time to another, as it is written.
fn written(tenants: &[PastTenant], from: DateTime<Utc>, until: DateTime<Utc>, step: i64) -> String {
    let timeline = Timeline::new(from.timestamp(), until.timestamp(), step).unwrap();
    let mut writer = HistoryWriter::new(Vec::new(), Vec::new());
    for family in metrics::history(tenants) {
        writer.family(&family.metric).unwrap();
        family.series.iter().for_each(|series| writer.series(series, &timeline).unwrap());
    }
    String::from_utf8(writer.finish().unwrap()).unwrap()
}

/// The values of each series by time.
type Series = BTreeMap<String, Vec<(i64, f64)>>;

fn series(written: &str) -> Series {
    let mut series = Series::new();
    for line in written.lines().filter(|line| !line.starts_with('#')) {
        let [name, value, time] = line.rsplitn(3, ' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let (name, time) = (time, name);
        series.entry(plain_bound(name)).or_default().push((time.parse().unwrap(), value.parse().unwrap()));
    }
    series
}

/// `le="30.0"` as text 0.0.4 writes it.
fn plain_bound(series: &str) -> String {
    let series = series.trim_start_matches("remote_assistance_");
    let Some((head, tail)) = series.split_once("le=\"") else { return series.to_owned() };
    let (bound, rest) = tail.split_once('"').unwrap();
    // Text 0.0.4 has the bound last, OpenMetrics too.
    format!("{head}le=\"{}\"{rest}", bound.strip_suffix(".0").unwrap_or(bound))
}

/// What the live exporter shows of the families that have a history.
fn live(ledger: &Ledger) -> BTreeMap<String, f64> {
    const FAMILIES: [&str; 7] = [
        "sessions_total",
        "session_duration_seconds",
        "participants_total",
        "participant_os_total",
        "cross_tenant_sessions_total",
        "invalid_durations_total",
        "report_delay_seconds",
    ];
    let mut families = metrics::families(&ledger.snapshot());
    families.retain(|family| !family.get_metric().is_empty());
    let text = TextEncoder::new().encode_to_string(&families).unwrap();
    let mut samples = Scrape::parse(&text).samples;
    samples.retain(|name, _| FAMILIES.iter().any(|family| name.starts_with(family)));
    // The crate's families are without the bucket that is the count.
    let counts: Vec<_> = samples.iter().filter(|(name, _)| name.contains("_seconds_count")).collect();
    let infinite = counts
        .into_iter()
        .map(|(name, value)| (name.replace("_count{", "_bucket{").replace('}', ",le=\"+Inf\"}"), *value));
    let infinite: Vec<_> = infinite.collect();
    samples.extend(infinite);
    samples
}

fn last(series: &Series) -> BTreeMap<String, f64> {
    series.iter().map(|(name, points)| (name.clone(), points.last().unwrap().1)).collect()
}

/// What one step of a random life does.
#[derive(Clone, Debug)]
enum Step {
    /// A reading: sessions by number, minutes since their end, type, seconds of duration.
    Read(Vec<(u8, i32, usize, i32)>),
    /// The program starts again, with the buckets of this number.
    Restart(bool),
    /// Time passes, in hours.
    Wait(u16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let row = (any::<u8>(), -100..50_000_i32, 0..SessionType::ALL.len(), -10..40_000_i32);
    let step = prop_oneof![
        5 => prop::collection::vec(row, 0..12).prop_map(Step::Read),
        1 => any::<bool>().prop_map(Step::Restart),
        2 => (0..2000_u16).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..25)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    /// Whatever the ledger went through, and whatever it has forgotten by then.
    #[test]
    fn the_last_values_are_the_live_ones(steps in steps(), baseline in any::<bool>()) {
        let directory = tempfile::tempdir().unwrap();
        let first_run = if baseline { FirstRun::Baseline } else { FirstRun::Count };
        let mut bounds = DURATION_BOUNDS;
        let mut ledger = Ledger::open(directory.path(), settings(first_run, bounds), noon()).unwrap();
        let mut now = noon();
        for step in steps {
            match step {
                Step::Wait(hours) => now += TimeDelta::hours(i64::from(hours)),
                Step::Restart(other) => {
                    bounds = if other { &[1.0, 60.5, 3600.0] } else { DURATION_BOUNDS };
                    drop(ledger);
                    ledger = Ledger::open(directory.path(), settings(first_run, bounds), now).unwrap();
                }
                Step::Read(rows) => {
                    now += TimeDelta::seconds(1);
                    let report = |(number, age, session_type, seconds): &(u8, i32, usize, i32)| {
                        let end = now - TimeDelta::minutes(i64::from(*age));
                        SessionReport {
                            start: Some(end - TimeDelta::seconds(i64::from(*seconds))),
                            session_type: SessionType::ALL[*session_type],
                            ..session(&number.to_string(), end)
                        }
                    };
                    read(&mut ledger, now, rows.iter().map(report).collect());
                }
            }
        }
        // What the last restart changed reaches the file with the next batch.
        read(&mut ledger, now, Vec::new());
        let shown = live(&ledger);
        drop(ledger);
        let tenants = history::read(directory.path()).unwrap();
        let later = now + TimeDelta::days(2);
        let series = series(&written(&tenants, noon() - TimeDelta::days(40), later, 21_600));
        prop_assert_eq!(last(&series), shown);
        // Counters of sessions never go down; a histogram only where its buckets changed.
        for (name, points) in series.iter().filter(|(name, _)| !name.starts_with("session_duration")) {
            prop_assert!(points.is_sorted_by(|one, next| one.0 < next.0 && one.1 <= next.1), "{name}");
        }
    }
}

/// Every value at every minute, by a slow twin; and no minute from which a query would look in vain.
#[test]
fn each_minute_shows_what_had_ended_by_then() {
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = open(directory.path());
    let ends: Vec<_> = [7200, 7199, 7141, 7140, 7139, 3600, 3599, 61, 60]
        .map(|ago| noon() - TimeDelta::seconds(ago))
        .into_iter()
        .chain([noon() - TimeDelta::seconds(1800) + TimeDelta::nanoseconds(100)])
        .collect();
    let reports = ends.iter().enumerate().map(|(number, end)| session(&number.to_string(), *end)).collect();
    read(&mut ledger, noon(), reports);
    drop(ledger);
    let tenants = history::read(directory.path()).unwrap();
    let (from, until) = (noon() - TimeDelta::seconds(7320), noon() - TimeDelta::seconds(60));
    let series = series(&written(&tenants, from, until, 60));
    let points = &series["sessions_total{session_type=\"fullControl\",tenant=\"contoso\"}"];
    for minute in (from.timestamp()..=until.timestamp()).step_by(60) {
        let seen = points.iter().filter(|(time, _)| (minute - 300..=minute).contains(time)).collect::<Vec<_>>();
        let ended = ends.iter().filter(|end| end.timestamp_nanos_opt().unwrap() <= minute * 1_000_000_000).count();
        assert_eq!(seen.last().unwrap().1, ended as f64, "{minute}");
        let rate = from.timestamp() + 300 <= minute;
        assert!(seen.len() >= 2 || !rate, "{minute}: {seen:?}");
    }
    assert_eq!(points.first().unwrap(), &(from.timestamp(), 0.0));
    assert_eq!(points.last().unwrap(), &(until.timestamp(), 10.0));
    assert!(points.len() < 90, "{} points: values that stay are not written each minute", points.len());
}

#[test]
fn a_small_history_as_it_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = open(directory.path());
    let other_tenant = |tenant: &str| Participant { tenant_id: Some(tenant.into()), ..Participant::default() };
    read(
        &mut ledger,
        noon(),
        vec![
            session("1", noon() - TimeDelta::minutes(9)),
            SessionReport { start: None, ..session("2", noon() - TimeDelta::minutes(4)) },
            SessionReport {
                helper: other_tenant("a"),
                sharer: other_tenant("b"),
                session_type: SessionType::Elevation,
                ..session("3", noon() - TimeDelta::seconds(1))
            },
        ],
    );
    drop(ledger);
    let tenants = history::read(directory.path()).unwrap();
    let page = written(&tenants, noon() - TimeDelta::minutes(10), noon(), 300);
    compare("backfill.openmetrics.txt", &page);
    let samples = strict(&page);
    assert_eq!(samples.len(), page.lines().filter(|line| !line.starts_with('#')).count());
}

type Samples = Vec<(String, BTreeMap<String, String>, f64)>;

/// The samples, as the official strict parser reads them: the counters in one page, in which it looks
/// at the order of time; the histograms in a page for each time, since of those with several times it
/// takes the second for repetitions of the first, and then misses them.
fn strict(page: &str) -> Samples {
    assert!(page.ends_with("# EOF\n"));
    let of_histogram = |line: &str| line.contains("_seconds_") || line.contains("_seconds ");
    let lines: Vec<_> = page.lines().filter(|line| *line != "# EOF").collect();
    let counters: Vec<_> = lines.iter().copied().filter(|line| !of_histogram(line)).collect();
    let histograms: Vec<_> = lines.iter().copied().filter(|line| of_histogram(line)).collect();
    let times: BTreeSet<_> = histograms.iter().filter(|line| !line.starts_with('#')).collect();
    let times: BTreeSet<_> = times.iter().map(|line| line.rsplit(' ').next().unwrap()).collect();
    assert!(!counters.is_empty() && times.len() > 1, "{page}");
    let at = |time: &str| -> Vec<_> {
        histograms.iter().copied().filter(|line| line.starts_with('#') || line.ends_with(&format!(" {time}"))).collect()
    };
    let pages = times.iter().map(|time| at(time)).chain([counters]);
    let parsed = pages.map(|lines| tools::parse(Format::OpenMetrics, &format!("{}\n# EOF\n", lines.join("\n"))));
    let parsed: Vec<_> = parsed.collect();
    assert_eq!(parsed.iter().flat_map(|page| page.families.keys()).collect::<BTreeSet<_>>().len(), 7);
    parsed.iter().flat_map(tools::Parsed::samples).collect()
}

/// Other buckets start the histogram anew, in history as in life, and nothing before is lost.
#[test]
fn other_buckets_are_a_reset() {
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = open(directory.path());
    let at = |hours| noon() + TimeDelta::hours(hours);
    read(&mut ledger, noon(), (1..=3).map(|n| session(&n.to_string(), at(-n))).collect());
    drop(ledger);
    let mut ledger = Ledger::open(directory.path(), settings(FirstRun::Count, &[60.0]), at(2)).unwrap();
    read(&mut ledger, at(4), vec![session("4", at(3))]);
    drop(ledger);
    let tenants = history::read(directory.path()).unwrap();
    let series = series(&written(&tenants, at(-4), at(5), 3600));
    let labels = "{session_type=\"fullControl\",tenant=\"contoso\"}";
    let values = |name: &str| series[&format!("{name}{labels}")].iter().map(|(_, value)| *value).collect::<Vec<_>>();
    assert_eq!(values("session_duration_seconds_count"), [0.0, 1.0, 2.0, 3.0, 3.0, 3.0, 0.0, 1.0, 1.0, 1.0]);
    assert_eq!(values("session_duration_seconds_sum")[5..8], [1800.0, 0.0, 600.0]);
    assert_eq!(values("sessions_total"), [0.0, 1.0, 2.0, 3.0, 3.0, 3.0, 3.0, 4.0, 4.0, 4.0]);
}

/// What an exporter counted after the end of the history is in its live series from then on.
#[test]
fn what_was_counted_after_the_end_is_left_to_the_live_series() {
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = open(directory.path());
    let at = |hours| noon() + TimeDelta::hours(hours);
    read(&mut ledger, at(1), vec![session("1", at(-2))]);
    read(&mut ledger, at(9), vec![session("late", at(-1))]);
    drop(ledger);
    let tenants = history::read(directory.path()).unwrap();
    let name = "sessions_total{session_type=\"fullControl\",tenant=\"contoso\"}";
    let last = |until| last(&series(&written(&tenants, at(-3), until, 3600)))[name];
    assert_eq!([last(at(2)), last(at(9))], [1.0, 2.0]);
    assert_eq!(last(at(-1)), 2.0, "before the exporter was started there are no live series");
}

/// Sessions outlive the look-back window without their hashes; beyond the history they are the start.
#[test]
fn history_is_kept_for_400_days() {
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = open(directory.path());
    let day = |days| noon() + TimeDelta::days(days);
    for number in [0, 200, 390] {
        read(&mut ledger, day(number), vec![session(&number.to_string(), day(number))]);
    }
    let known = |ledger: &Ledger| ledger.snapshot().sessions;
    assert_eq!(known(&ledger), 1, "the ids of the others are forgotten");
    drop(ledger);
    let ends = || -> Vec<_> {
        let tenants = history::read(directory.path()).unwrap();
        tenants[0].sessions.iter().map(|session| session.end / 10_000_000).collect()
    };
    assert_eq!(ends(), [0, 200, 390].map(|number| day(number).timestamp()));
    let mut ledger = open(directory.path());
    read(&mut ledger, day(401), Vec::new());
    drop(ledger);
    assert_eq!(ends(), [200, 390].map(|number| day(number).timestamp()));
    let tenants = history::read(directory.path()).unwrap();
    let series = series(&written(&tenants, day(190), day(402), 86_400));
    let points = &series["sessions_total{session_type=\"fullControl\",tenant=\"contoso\"}"];
    assert_eq!((points.first().unwrap().1, points.last().unwrap().1), (1.0, 3.0));
}

/// The program, with what it wrote to standard output and its last line on standard error.
fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_remote-assistance-exporter"));
    let Output { status, stdout, stderr } = command.env_clear().arg("backfill").args(arguments).output().unwrap();
    let last = String::from_utf8(stderr).unwrap().lines().last().unwrap_or_default().to_owned();
    (status.code(), String::from_utf8(stdout).unwrap(), last)
}

#[test]
fn what_cannot_be_is_one_line_with_the_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let storage = format!("--storage.path={}", directory.path().display());
    let refused = |arguments: &[&str]| {
        let (code, written, line) = run(&[&[&*storage], arguments].concat());
        assert_eq!(written, "");
        (code.unwrap(), line.replace(directory.path().to_str().unwrap(), "DIR"))
    };
    let says = |text: &str| format!("remote-assistance-exporter: error: {text}");
    let missing =
        "DIR/ledger.redb: there is no ledger; give the --storage.path of an exporter that has counted sessions";
    assert_eq!(refused(&[]), (74, says(missing)));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is made");
    let mut ledger = open(directory.path());
    read(&mut ledger, noon(), vec![session("1", noon() - TimeDelta::hours(1))]);
    drop(ledger);
    for (arguments, code, text) in [
        (&["--label=tenant=x"][..], 64, "--backfill.label tenant: the series have it themselves; leave it out"),
        (&["--label=le=1"], 64, "--backfill.label le: the series have it themselves; leave it out"),
        (&["--label=job=a", "--label=job=b"], 64, "--backfill.label job: it is given twice; choose one value"),
        (&["--end=2100-01-01T00:00:00Z"], 64, "--backfill.end: 2100-01-01 00:00:00 UTC is not over yet"),
        (
            &["--start=2026-03-19T12:00:00Z", "--end=2026-03-19T12:00:00Z"],
            64,
            "--backfill.start: 2026-03-19 12:00:00 UTC is not before the end, 2026-03-19 12:00:00 UTC",
        ),
        (
            &["--end=2026-03-19T10:00:00Z"],
            1,
            "the ledger knows no session that ended by 2026-03-19 10:00:00 UTC: nothing is written",
        ),
        (
            &["--end=2026-03-19T12:00:00Z", "--output=/nowhere/history.txt"],
            1,
            "/nowhere/history.txt: cannot write the history: No such file or directory (os error 2); choose a \
             --backfill.output that can be written",
        ),
    ] {
        assert_eq!(refused(arguments), (code, says(text)), "{arguments:?}");
    }
}

#[test]
fn a_file_has_what_standard_output_would_have() {
    let directory = tempfile::tempdir().unwrap();
    let storage = format!("--storage.path={}", directory.path().display());
    let mut ledger = open(directory.path());
    read(&mut ledger, noon(), vec![session("1", noon() - TimeDelta::hours(1))]);
    drop(ledger);
    let file = directory.path().join("history.txt");
    let common = [&*storage, "--backfill.end=2026-03-19T12:00:00Z", "--backfill.label=job=a\"b"];
    let (code, page, line) = run(&common);
    assert_eq!(code, Some(0), "{line}");
    let output = format!("--backfill.output={}", file.display());
    let (code, nothing, line) = run(&[&common[..], &[&*output]].concat());
    assert_eq!((code, &*nothing), (Some(0), ""), "{line}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), page);
    assert!(page.contains("sessions_total{job=\"a\\\"b\",session_type=\"fullControl\",tenant=\"contoso\"} 1.0 "));
    let labelled = |(_, labels, _): &(String, BTreeMap<String, String>, f64)| labels["job"] == "a\"b";
    assert!(strict(&page).iter().all(labelled));
}
