//! Other settings while the ledger is open: the same as closing it and opening it with them, but for what
//! a reading under way has found; and all of them or none.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use tokio::task::JoinSet;

use super::faults::{Fuse, HEALTHY, fused};
use super::*;
use crate::ledger::Snapshot;
use crate::ledger::writer::{Observer, WriteError, Writer};

fn only(names: &[&str]) -> Settings {
    let mut settings = settings();
    settings.tenants.retain(|tenant| names.contains(&&*tenant.name));
    settings
}

fn names(snapshot: &Snapshot) -> Vec<&str> {
    snapshot.tenants.iter().map(|tenant| &*tenant.name).collect()
}

#[test]
fn a_tenant_that_goes_and_comes_back_goes_on_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = open(directory.path());
    count(&mut ledger, reading(vec![session("1", TimeDelta::hours(1))]));
    let before = contoso(&ledger);
    ledger.reconfigure(only(&["fabrikam"]), noon()).unwrap();
    assert_eq!(names(&ledger.snapshot()), ["fabrikam"]);
    assert!(!ledger.has("contoso"));
    assert_eq!(ledger.snapshot().sessions, 1, "its sessions stay known");
    let error = ledger.commit(&[reading(Vec::new())]).unwrap_err().to_string();
    assert!(error.contains("no tenant is named"), "{error}");

    ledger.reconfigure(settings(), noon() + TimeDelta::days(1)).unwrap();
    assert_eq!(contoso(&ledger), before);
    let applied = count(&mut ledger, reading(vec![session("1", TimeDelta::hours(1))]));
    assert_eq!(applied.fates[totals::Fate::Duplicate], 1);
}

#[test]
fn a_tenant_that_is_new_starts_now_and_is_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(directory.path(), only(&["fabrikam"]), noon()).unwrap();
    let later = noon() + TimeDelta::days(1);
    ledger.reconfigure(settings(), later).unwrap();
    assert_eq!(contoso(&ledger).read.started, later);
    assert_eq!(ledger.snapshot().tenants[1].totals.read.started, noon());
    let applied = count(&mut ledger, reading(vec![session("1", TimeDelta::hours(1))]));
    assert_eq!(applied.fates[totals::Fate::Counted], 1);
    // Two tenants with one number would share their sessions.
    let mut of_fabrikam = reading(vec![session("1", TimeDelta::hours(1))]);
    of_fabrikam.tenant = "fabrikam".into();
    assert_eq!(count(&mut ledger, of_fabrikam).fates[totals::Fate::Counted], 1);
    let before = contoso(&ledger);
    drop(ledger);
    let ledger = Ledger::open(directory.path(), settings(), later + TimeDelta::days(1)).unwrap();
    assert_eq!(contoso(&ledger), before);
}

#[test]
fn other_buckets_and_another_helper_label_are_as_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let mut ledger =
        Ledger::open(directory.path(), Settings { helper_label: HelperLabel::Plain, ..settings() }, noon()).unwrap();
    count(&mut ledger, reading(vec![session("1", TimeDelta::hours(1))]));
    assert_eq!(contoso(&ledger).helper_sessions.len(), 1);
    let later = noon() + TimeDelta::days(1);
    let other = Settings { duration_bounds: vec![0.1, 60.0], helper_label: HelperLabel::Hashed, ..settings() };
    ledger.reconfigure(other.clone(), later).unwrap();
    let totals = contoso(&ledger);
    let histogram = &totals.durations[SessionType::FullControl];
    assert_eq!((histogram.started, histogram.count(), histogram.counts.len()), (later, 0, 3));
    assert_eq!((totals.counted(), totals.helper_sessions.len()), (1, 0));
    assert_eq!(totals.sessions[SessionType::FullControl].started, noon());
    count(&mut ledger, reading(vec![session("2", TimeDelta::hours(1))]));
    let totals = contoso(&ledger);
    assert_eq!(totals.durations[SessionType::FullControl].count(), 1);
    drop(ledger);
    let ledger = Ledger::open(directory.path(), other, later + TimeDelta::days(1)).unwrap();
    assert_eq!(contoso(&ledger), totals);
}

#[test]
fn series_that_start_anew_keep_their_time_when_the_file_has_to_be_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = open(directory.path());
    let later = noon() + TimeDelta::days(1);
    ledger.reconfigure(Settings { duration_bounds: vec![60.0], ..settings() }, later).unwrap();
    // As after a failed commit.
    ledger.store = None;
    count(&mut ledger, reading(vec![session("1", TimeDelta::hours(1))]));
    let totals = contoso(&ledger);
    let durations = &totals.durations[SessionType::FullControl];
    assert_eq!((durations.started, durations.count()), (later, 1));
    assert_eq!(totals.sessions[SessionType::FullControl].started, noon());
}

#[test]
fn series_of_a_tenant_that_comes_back_to_other_buckets_keep_their_time_too() {
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = open(directory.path());
    count(&mut ledger, reading(vec![session("1", TimeDelta::hours(1))]));
    ledger.reconfigure(only(&["fabrikam"]), noon()).unwrap();
    let (later, latest) = (noon() + TimeDelta::days(1), noon() + TimeDelta::days(2));
    // Fabrikam has the other buckets before contoso does.
    let fabrikam = Settings { duration_bounds: vec![60.0], ..only(&["fabrikam"]) };
    ledger.reconfigure(fabrikam.clone(), later).unwrap();
    ledger.reconfigure(Settings { duration_bounds: vec![60.0], ..settings() }, latest).unwrap();
    // As after a failed commit.
    ledger.store = None;
    count(&mut ledger, reading(vec![session("2", TimeDelta::hours(1))]));
    let durations = contoso(&ledger).durations[SessionType::FullControl].clone();
    assert_eq!((durations.started, durations.count()), (latest, 1));
    // A tenant that comes back to the series that it has starts nothing.
    ledger.reconfigure(fabrikam, latest).unwrap();
    let opened = ledger.opened;
    let all = Settings { duration_bounds: vec![60.0], ..settings() };
    ledger.reconfigure(all, latest + TimeDelta::days(1)).unwrap();
    assert_eq!(ledger.opened, opened);
}

#[test]
fn a_reading_under_way_keeps_what_it_has_found() {
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = open(directory.path());
    let unfinished = |id: &str| SessionReport { end: None, ..session(id, TimeDelta::zero()) };
    let mut first = reading(vec![unfinished("1"), unfinished("2")]);
    first.end = None;
    count(&mut ledger, first);
    ledger.reconfigure(settings(), noon()).unwrap();
    let mut last = reading(vec![unfinished("3")]);
    last.first = false;
    count(&mut ledger, last);
    assert_eq!(contoso(&ledger).in_progress, Some(3));
}

#[test]
fn a_policy_that_changes_holds_from_the_next_batch() {
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = open(directory.path());
    let mut longer = settings();
    longer.tenants.iter_mut().for_each(|tenant| tenant.lookback = TimeDelta::days(90));
    ledger.reconfigure(longer, noon()).unwrap();
    let applied = count(&mut ledger, reading(vec![session("1", TimeDelta::days(60))]));
    assert_eq!(applied.fates[totals::Fate::Counted], 1);
}

#[test]
fn a_change_that_fails_at_any_step_changes_nothing() {
    let mut failures = 0;
    for step in 0.. {
        let directory = tempfile::tempdir().unwrap();
        let fuse = Fuse(Arc::new(AtomicU64::new(HEALTHY)));
        let mut ledger = fused(directory.path(), &fuse, only(&["contoso"]));
        count(&mut ledger, reading(vec![session("1", TimeDelta::hours(1))]));
        let before = ledger.snapshot();
        let other = Settings { duration_bounds: vec![60.0], ..settings() };
        fuse.set(step);
        let result = ledger.reconfigure(other.clone(), noon());
        let failed = result.is_err();
        if failed {
            failures += 1;
            assert!(Arc::ptr_eq(&before, &ledger.snapshot()), "what is shown is as before");
            fuse.set(HEALTHY);
            // The settings before are in force: the old buckets go on, and the other tenant is a stranger.
            let applied = count(&mut ledger, reading(vec![session("2", TimeDelta::hours(1))]));
            assert_eq!(applied.fates[totals::Fate::Counted], 1);
            let durations = &contoso(&ledger).durations[SessionType::FullControl];
            assert_eq!((durations.count(), durations.started), (2, noon()), "step {step}");
            assert!(!ledger.has("fabrikam"));
        }
        fuse.set(HEALTHY);
        ledger.reconfigure(other, noon()).unwrap();
        assert_eq!(names(&ledger.snapshot()), ["contoso", "fabrikam"]);
        assert_eq!(contoso(&ledger).counted(), if failed { 2 } else { 1 });
        if !failed {
            break;
        }
    }
    assert!(failures > 3, "the fuse burnt in only {failures} changes");
}

/// Keeps how many transactions there were.
#[derive(Default)]
struct Commits(Mutex<Vec<bool>>);

impl Observer for Commits {
    fn commit(&self, _: std::time::Duration, durable: bool) {
        self.0.lock().unwrap().push(durable);
    }
    fn alive(&self) {}
}

/// Requests that arrive together: batches before the change, the change, batches after it.
#[tokio::test]
async fn a_change_takes_its_turn_among_the_batches() {
    let directory = tempfile::tempdir().unwrap();
    let observer = Arc::new(Commits::default());
    let (writer, published, task) = Writer::start(open(directory.path()), observer.clone());
    let commit = |writer: Writer, id: &'static str| async move {
        writer
            .commit(reading(vec![session(id, TimeDelta::hours(1))]))
            .await
            .map(|applied| applied.tenant.totals.counted())
    };
    // On one thread, each is sent in its turn before the writer wakes.
    let mut sent = JoinSet::new();
    for id in ["1", "2"] {
        sent.spawn(commit(writer.clone(), id));
        tokio::task::yield_now().await;
    }
    let change = tokio::spawn({
        let writer = writer.clone();
        async move { writer.reconfigure(only(&["fabrikam"]), noon()).await }
    });
    tokio::task::yield_now().await;
    let stranger = tokio::spawn(commit(writer.clone(), "3"));
    let mut counted: Vec<_> = sent.join_all().await.into_iter().map(Result::unwrap).collect();
    counted.sort_unstable();
    assert_eq!(counted.last(), Some(&2), "two batches of one tenant count one after the other");
    let snapshot = change.await.unwrap().unwrap();
    assert_eq!((names(&snapshot), snapshot.sessions), (vec!["fabrikam"], 2));
    let refused = stranger.await.unwrap().unwrap_err();
    assert!(matches!(refused, WriteError::NotConfigured));
    insta::assert_snapshot!(refused, @"the tenant is no longer configured; nothing of this batch was counted");
    assert_eq!(names(&published.load()), ["fabrikam"]);
    assert!(observer.0.lock().unwrap().iter().all(|durable| *durable), "a stranger's batch fails nobody else's");
    drop(writer);
    task.await.unwrap();
    let ledger = open(directory.path());
    assert_eq!(contoso(&ledger).counted(), 2);
}
