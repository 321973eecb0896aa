//! Ledgers that earlier releases wrote: they open with the same totals, the same start times, and
//! every id still known.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use remote_assistance_exporter::config::{FirstRun, HelperLabel};
use remote_assistance_exporter::ledger::totals::{DURATION_BOUNDS, Fate, Histogram, PerLabel, Subject, Totals, Window};
use remote_assistance_exporter::ledger::{Batch, Clock, EndOfReading, Ledger, Policy, Settings, history, time};
use remote_assistance_exporter::session::{EnrollmentState, Participant, Role, SessionReport, SessionType};

/// The ledger of a schema version. Never rewritten once released: a later version brings a fixture
/// of its own.
fn fixture(version: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/ledger/v{version}.redb.gz"))
}

/// When the fixture's ledger was made.
fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_774_000_000, 0).unwrap()
}

fn settings() -> Settings {
    let policy = |name: &str| Policy { name: name.into(), lookback: TimeDelta::days(30), first_run: FirstRun::Count };
    Settings {
        tenants: vec![policy("contoso"), policy("fabrikam")],
        duration_bounds: DURATION_BOUNDS.to_vec(),
        helper_label: HelperLabel::Hashed,
        native_histograms: true,
    }
}

/// Session `number` of the fixture: one each hour before the start, each ten seconds longer.
fn session(number: u32) -> SessionReport {
    let end = start() - TimeDelta::hours(i64::from(number));
    let types = [SessionType::ViewOnly, SessionType::FullControl, SessionType::Elevation];
    let person = |kind: &str, of: u32, enrollment_state| Participant {
        email: Some(format!("{kind}-{}@contoso.example", number % of).into()),
        device_name: Some(format!("{kind}-pc-{}", number % of).into()),
        enrollment_state,
        ..Participant::default()
    };
    SessionReport {
        id: format!("session-{number}").into(),
        start: Some(end - TimeDelta::seconds(10 * i64::from(number))),
        end: Some(end),
        session_type: types[number as usize % types.len()],
        helper: person("helper", 3, EnrollmentState::Enrolled),
        sharer: person("sharer", 7, EnrollmentState::NotContacted),
        ..SessionReport::default()
    }
}

/// A whole reading of sessions `0..count`, with one in progress.
fn reading(tenant: &str, count: u32, now: DateTime<Utc>) -> Batch {
    let mut reports: Vec<_> = (0..count).map(session).collect();
    reports.push(SessionReport { id: "in-progress".into(), ..SessionReport::default() });
    Batch {
        tenant: tenant.into(),
        clock: Clock { now, cautious: now },
        first: true,
        reports,
        devices: Arc::default(),
        rejects: Vec::new(),
        end: Some(EndOfReading { rows_missing: 0 }),
    }
}

/// The version that this release writes.
const VERSION: u32 = 2;

/// Makes the ledger that the fixture is: 48 sessions of one tenant, read twice, and one of another. Since
/// version 2, a day of them is history by then.
fn make(directory: &Path) {
    let mut ledger = Ledger::open(directory, settings(), start()).unwrap();
    ledger.commit(&[reading("contoso", 40, start())]).unwrap();
    let later = start() + TimeDelta::hours(1);
    ledger.commit(&[reading("contoso", 48, later), reading("fabrikam", 1, later)]).unwrap();
    ledger.commit(&[reading("contoso", 0, a_month_later())]).unwrap();
}

/// When the first 24 sessions of the fixture have left the look-back window.
fn a_month_later() -> DateTime<Utc> {
    start() + TimeDelta::days(30) - TimeDelta::hours(24) + TimeDelta::minutes(30)
}

fn pack(file: &Path) {
    let mut packed = GzEncoder::new(File::create(fixture(VERSION)).unwrap(), Compression::best());
    packed.write_all(&fs::read(file).unwrap()).unwrap();
    packed.finish().unwrap();
}

/// A copy of the fixture in a directory of its own; with `MAKE_LEDGER_FIXTURE` set, makes the
/// fixture: not by `UPDATE_GOLDEN`, which must not replace an old release's ledger by today's. The
/// salt is drawn anew then, so the bytes differ each time, and nothing that is asserted does.
fn copy(version: u32) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ledger.redb");
    if version == VERSION && std::env::var_os("MAKE_LEDGER_FIXTURE").is_some() {
        make(directory.path());
        pack(&file);
    }
    let mut bytes = Vec::new();
    GzDecoder::new(File::open(fixture(version)).unwrap()).read_to_end(&mut bytes).unwrap();
    fs::write(&file, bytes).unwrap();
    directory
}

fn totals(ledger: &Ledger, tenant: &str) -> Totals {
    let snapshot = ledger.snapshot();
    Totals::clone(&snapshot.tenants.iter().find(|found| &*found.name == tenant).unwrap().totals)
}

#[test]
fn version_1_opens_with_its_totals_start_times_and_ids() {
    let directory = copy(1);
    let now = start() + TimeDelta::days(2);
    let mut ledger = Ledger::open(directory.path(), settings(), now).unwrap();
    let contoso = totals(&ledger, "contoso");

    assert_eq!(ledger.snapshot().sessions, 49);
    assert_eq!(ledger.snapshot().tenants[0].last_success, Some(start() + TimeDelta::hours(1)));
    for session_type in [SessionType::ViewOnly, SessionType::FullControl, SessionType::Elevation] {
        let counter = contoso.sessions[session_type];
        assert_eq!((counter.started, counter.value), (start(), 16), "{session_type:?}");
        let durations = &contoso.durations[session_type];
        assert_eq!((durations.started, durations.count()), (start(), 16), "{session_type:?}");
    }
    let native = |histogram: &Histogram| histogram.native.as_ref().map(|native| native.count());
    assert_eq!(native(&contoso.durations[SessionType::ViewOnly]), Some(16));
    assert_eq!(native(&contoso.delays), None, "it is shown in classic buckets alone");
    let seconds: f64 = contoso.durations.iter().map(|(_, histogram)| histogram.sum_seconds()).sum();
    assert_eq!(seconds, f64::from((0..48).map(|number| 10 * number).sum::<u32>()));
    // Durations of 0, 10, 20 and 30 seconds are in the first bucket.
    assert_eq!(contoso.durations.iter().map(|(_, histogram)| histogram.counts[0]).sum::<u64>(), 4);
    assert_eq!(contoso.participants[Role::Helper][EnrollmentState::Enrolled].value, 48);
    assert_eq!(contoso.participants[Role::Sharer][EnrollmentState::NotContacted].value, 48);
    assert_eq!(contoso.read.value, 41 + 49);
    assert_eq!(fates(&contoso), [48, 40, 0, 2, 0, 0]);
    assert_eq!(contoso.active[Subject::Helpers][Window::Month], 3);
    assert_eq!(contoso.active[Subject::Sharers][Window::Month], 7);
    assert_eq!(contoso.helper_sessions.values().map(|counter| counter.value).collect::<Vec<_>>(), [16, 16, 16]);
    assert_eq!((contoso.in_progress, contoso.last_session_end), (Some(1), Some(start())));
    assert_eq!(totals(&ledger, "fabrikam").counted(), 1);

    let applied = ledger.commit(&[reading("contoso", 50, now)]).unwrap().remove(0);
    assert_eq!(each(&applied.fates), [2, 48, 0, 1, 0, 0], "what was counted is known; what is new counts");
    assert_eq!(totals(&ledger, "contoso").helper_sessions.len(), 3, "the salt is the same: the names are too");
}

/// The ends of contoso's sessions that are known one by one.
fn ends(directory: &Path) -> Vec<DateTime<Utc>> {
    let tenants = history::read(directory).unwrap();
    let contoso = tenants.iter().find(|tenant| &*tenant.name == "contoso").unwrap();
    assert_eq!(contoso.totals.counted(), 48);
    contoso.sessions.iter().map(|session| time(session.end)).collect()
}

/// All of the fixture's, in the order of time.
fn all_ends() -> Vec<DateTime<Utc>> {
    (0..48).rev().map(|number| session(number).end.unwrap()).collect()
}

#[test]
fn version_1_has_the_history_that_it_has_not_forgotten() {
    let directory = copy(1);
    assert_eq!(ends(directory.path()), all_ends());
    // From now on it forgets nothing.
    let mut ledger = Ledger::open(directory.path(), settings(), start()).unwrap();
    ledger.commit(&[reading("contoso", 0, a_month_later())]).unwrap();
    assert_eq!(ledger.snapshot().sessions, 25);
    drop(ledger);
    assert_eq!(ends(directory.path()), all_ends());
}

#[test]
fn version_2_opens_with_its_totals_its_ids_and_its_history() {
    let directory = copy(2);
    let mut ledger = Ledger::open(directory.path(), settings(), a_month_later()).unwrap();
    assert_eq!(ledger.snapshot().sessions, 25, "24 of one tenant and one of the other");
    let applied = ledger.commit(&[reading("contoso", 48, a_month_later())]).unwrap().remove(0);
    assert_eq!(each(&applied.fates), [0, 24, 0, 1, 24, 0], "none counts a second time");
    drop(ledger);
    assert_eq!(ends(directory.path()), all_ends());
}

/// By fate, in the order of [`Fate`].
fn each(fates: &PerLabel<Fate, u64>) -> Vec<u64> {
    fates.iter().map(|(_, count)| *count).collect()
}

fn fates(totals: &Totals) -> Vec<u64> {
    totals.fates.iter().map(|(_, counter)| counter.value).collect()
}
