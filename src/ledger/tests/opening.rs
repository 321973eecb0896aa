//! Opening: restoring, locking, damage, other versions. Each error with its message.

use std::fs;

use super::*;
use crate::ledger::OpenError;

fn message(directory: &Path) -> String {
    let error = Ledger::open(directory, settings(), noon()).err().unwrap().to_string();
    assert_eq!(error.lines().count(), 1, "{error}");
    error.replace(directory.to_str().unwrap(), "DIR")
}

#[test]
fn totals_and_start_times_come_back_whole() {
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = open(directory.path());
    count(&mut ledger, reading(vec![session("1", TimeDelta::hours(1))]));
    let before = contoso(&ledger);
    assert_eq!(before.sessions[SessionType::FullControl].started, noon());
    drop(ledger);
    let ledger = Ledger::open(directory.path(), settings(), noon() + TimeDelta::days(3)).unwrap();
    assert_eq!(contoso(&ledger), before);
    assert_eq!(ledger.snapshot().tenants[0].last_success, Some(noon()));
}

#[test]
fn a_tenant_that_is_added_later_starts_later_and_one_that_left_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let only = |name: &str| {
        let mut settings = settings();
        settings.tenants.retain(|tenant| &*tenant.name == name);
        settings
    };
    let mut ledger = Ledger::open(directory.path(), only("contoso"), noon()).unwrap();
    count(&mut ledger, reading(vec![session("1", TimeDelta::hours(1))]));
    drop(ledger);
    let later = noon() + TimeDelta::days(1);
    let ledger = Ledger::open(directory.path(), only("fabrikam"), later).unwrap();
    let snapshot = ledger.snapshot();
    assert_eq!(snapshot.tenants.len(), 1);
    assert_eq!(snapshot.tenants[0].totals.invalid_durations.started, later);
    drop(ledger);
    let mut ledger = open(directory.path());
    assert_eq!(contoso(&ledger).counted(), 1);
    let applied = count(&mut ledger, reading(vec![session("1", TimeDelta::hours(1))]));
    assert_eq!(applied.fates[totals::Fate::Duplicate], 1);
}

#[test]
fn other_buckets_restart_the_histogram_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = open(directory.path());
    count(&mut ledger, reading(vec![session("1", TimeDelta::hours(1))]));
    drop(ledger);
    let later = noon() + TimeDelta::days(1);
    let other = Settings { duration_bounds: vec![0.1, 60.0], ..settings() };
    let ledger = Ledger::open(directory.path(), other.clone(), later).unwrap();
    let totals = contoso(&ledger);
    assert_eq!(totals.counted(), 1);
    let histogram = &totals.durations[SessionType::FullControl];
    assert_eq!((histogram.started, histogram.count(), histogram.counts.len()), (later, 0, 3));
}

#[test]
fn a_second_opening_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let _first = open(directory.path());
    assert_eq!(
        message(directory.path()),
        format!(
            "DIR/ledger.lock: another process has this ledger open (process {}); stop it or choose another --storage.path",
            std::process::id()
        )
    );
}

#[test]
fn damage_stops_the_program_and_is_never_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = open(directory.path());
    count(&mut ledger, reading(vec![session("1", TimeDelta::hours(1))]));
    drop(ledger);
    let file = directory.path().join("ledger.redb");
    let whole = fs::read(&file).unwrap();
    let mut header = whole.clone();
    header[..4].copy_from_slice(b"gone");
    let mut roots = whole.clone();
    roots[32..320].fill(0xaa);
    for damaged in [header, Vec::new(), b"not a ledger at all".to_vec(), whole[..whole.len() / 2].to_vec(), roots] {
        fs::write(&file, &damaged).unwrap();
        let error = message(directory.path());
        assert!(error.starts_with("DIR/ledger.redb: the ledger is corrupt ("), "{error}");
        assert!(error.ends_with("restore it from a backup, or move it away to start a new one, which counts the sessions of the look-back window again"), "{error}");
        assert!(matches!(Ledger::open(directory.path(), settings(), noon()), Err(OpenError::Corrupt { .. })));
        let kept = fs::read(&file).unwrap();
        assert_eq!(
            kept[kept.len().min(320)..],
            damaged[damaged.len().min(320)..],
            "nothing but a header may be touched"
        );
    }
}

#[test]
fn a_ledger_that_was_left_half_made_is_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("ledger.redb.new"), "half").unwrap();
    assert_eq!(contoso(&open(directory.path())).counted(), 0);
    assert!(!directory.path().join("ledger.redb.new").exists());
}

#[test]
fn a_ledger_that_vanishes_while_it_runs_is_not_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = open(directory.path());
    count(&mut ledger, reading(vec![session("1", TimeDelta::hours(1))]));
    // As after a failed commit: the file must be read again.
    ledger.store = None;
    fs::remove_file(directory.path().join("ledger.redb")).unwrap();
    ledger.commit(&[reading(vec![session("2", TimeDelta::hours(1))])]).unwrap_err();
    assert_eq!(contoso(&ledger).counted(), 1);
    assert!(!directory.path().join("ledger.redb").exists());
}

#[test]
fn a_database_of_another_program_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let database = redb::Database::create(directory.path().join("ledger.redb")).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(redb::TableDefinition::<u64, u64>::new("theirs")).unwrap();
    transaction.commit().unwrap();
    drop(database);
    assert!(message(directory.path()).contains("a database, but not a ledger"));
}

#[test]
fn a_newer_ledger_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()));
    let database = redb::Database::open(directory.path().join("ledger.redb")).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let mut meta = transaction.open_table(redb::TableDefinition::<&str, &[u8]>::new("meta")).unwrap();
        meta.insert("schema_version", 4_u32.to_le_bytes().as_slice()).unwrap();
    }
    transaction.commit().unwrap();
    drop(database);
    let before = fs::read(directory.path().join("ledger.redb")).unwrap();
    assert_eq!(
        message(directory.path()),
        "DIR/ledger.redb: the ledger has schema version 4, this release reads up to 3; run the release that wrote it, or a later one"
    );
    assert_eq!(fs::read(directory.path().join("ledger.redb")).unwrap(), before, "not a byte is touched");
}

#[test]
fn a_directory_that_cannot_be_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let error = message(&file.join("data"));
    assert!(error.starts_with("DIR: cannot make the directory ("), "{error}");
    assert!(error.ends_with("check that --storage.path is a writable directory with free space"), "{error}");
}
