//! Tenants that go from one ledger to another: exactly, whole or not at all.

use std::collections::BTreeMap;

use proptest::prelude::*;
use redb::backends::FileBackend;

use super::faults::{Fuse, Fused, HEALTHY};
use super::*;
use crate::ledger::files::{Files, Opener};
use crate::ledger::store::moving::Row;
use crate::ledger::transfer::{FileError, Outcome, Transfer, TransferError, verify};
use crate::ledger::{OpenError, ReconfigureError};

fn export(directory: &Path, tenants: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    let names: Vec<_> = tenants.iter().map(ToString::to_string).collect();
    Transfer::source(directory).unwrap().export(&names, &mut out, noon(), "0.1.0").unwrap();
    verify(&*out).unwrap();
    out
}

fn remove(directory: &Path, tenant: &str) {
    Transfer::source(directory).unwrap().remove(&[tenant.to_owned()], noon()).unwrap();
}

fn import(directory: &Path, export: &[u8], replace: bool) -> Result<Vec<Outcome>, TransferError> {
    let moved = Transfer::target(directory)?.import(export, &[], |_| true, replace)?;
    Ok(moved.into_iter().map(|moved| moved.outcome).collect())
}

/// All that a ledger holds of a tenant but its number, and the salt, as plainly as can be.
fn contents(directory: &Path, tenant: &str) -> Option<(serde_json::Value, Vec<u8>, Vec<Row>)> {
    let files = Files::lock(directory).unwrap();
    let store = files.open().unwrap();
    let stored: BTreeMap<_, _> = store.tenants().unwrap().into_iter().collect();
    let mut state: serde_json::Value = serde_json::from_slice(stored.get(tenant)?).unwrap();
    let keys = state.as_object_mut().unwrap();
    let number = keys.remove("number").unwrap().as_u64().unwrap();
    let salt = match keys.remove("salt") {
        Some(salt) => crate::ledger::hex::decode::<48>(salt.as_str().unwrap()).unwrap().to_vec(),
        None => store.salt().bytes().to_vec(),
    };
    let mut rows = Vec::new();
    store
        .each_row::<crate::ledger::store::StoreError>(u32::try_from(number).unwrap(), |row| {
            rows.push(row);
            Ok(())
        })
        .unwrap();
    Some((state, salt, rows))
}

fn schema_version(directory: &Path) -> u32 {
    let database = redb::Database::open(directory.join("ledger.redb")).unwrap();
    let table = redb::TableDefinition::<&str, &[u8]>::new("meta");
    let meta = redb::ReadableDatabase::begin_read(&database).unwrap().open_table(table).unwrap();
    u32::from_le_bytes(meta.get("schema_version").unwrap().unwrap().value().try_into().unwrap())
}

/// A ledger with sessions that are known, one that reads otherwise now, and one that is history.
fn lived() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = open(directory.path());
    let old = noon() - TimeDelta::days(40);
    count(&mut ledger, at(reading(vec![session("old", TimeDelta::days(41))]), old));
    count(&mut ledger, reading((1..30).map(|n| session(&n.to_string(), TimeDelta::hours(n))).collect()));
    let other = Batch { tenant: "fabrikam".into(), ..reading(vec![session("1", TimeDelta::hours(1))]) };
    ledger.commit(&[other]).unwrap();
    let amended = SessionReport { end: Some(noon()), ..session("3", TimeDelta::hours(3)) };
    count(&mut ledger, reading(vec![amended, SessionReport { id: "going on".into(), ..SessionReport::default() }]));
    directory
}

/// Another ledger, in which other tenants were first.
fn elsewhere() -> (tempfile::TempDir, Settings) {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = settings();
    settings.tenants.truncate(1);
    settings.tenants[0].name = "northwind".into();
    let mut ledger = Ledger::open(directory.path(), settings.clone(), noon()).unwrap();
    let batch = Batch { tenant: "northwind".into(), ..reading(vec![session("1", TimeDelta::hours(2))]) };
    ledger.commit(&[batch]).unwrap();
    settings.tenants.insert(0, super::settings().tenants.remove(0));
    (directory, settings)
}

#[test]
fn what_comes_is_what_went_and_the_next_poll_finds_the_same() {
    let source = lived();
    let (target, settings) = elsewhere();
    let (before, northwind) = (contents(source.path(), "contoso").unwrap(), contents(target.path(), "northwind"));
    let file = export(source.path(), &["contoso"]);
    assert_eq!((schema_version(source.path()), schema_version(target.path())), (2, 2), "an export changes nothing");
    assert_eq!(import(target.path(), &file, false).unwrap(), [Outcome::Imported]);
    assert_eq!(schema_version(target.path()), 3, "an earlier release would hash with the wrong salt");
    assert_eq!(contents(target.path(), "contoso").unwrap(), before);
    assert_eq!(before.2.iter().filter(|row| matches!(row, Row::History(..))).count(), 1);
    assert_eq!(before.2.iter().filter(|row| matches!(row, Row::Known(..))).count(), 29);
    assert_eq!(contents(target.path(), "northwind"), northwind);

    let (mut here, mut there) = (open(source.path()), Ledger::open(target.path(), settings, noon()).unwrap());
    assert_eq!(contoso(&there), contoso(&here));
    let next = reading((0..35).map(|n| session(&n.to_string(), TimeDelta::hours(n))).collect());
    let (applied, expected) = (count(&mut there, next.clone()), count(&mut here, next));
    assert_eq!((applied.fates, applied.tenant.totals), (expected.fates.clone(), expected.tenant.totals));
    assert_eq!(expected.fates[totals::Fate::Counted], 6, "0 and 30 to 34");
    assert_eq!(expected.fates[totals::Fate::Amended], 1);
}

#[test]
fn a_tenant_that_is_there_stays_as_it_is_unless_it_is_to_be_replaced() {
    let source = lived();
    let (target, settings) = elsewhere();
    let file = export(source.path(), &["contoso", "fabrikam"]);
    assert_eq!(import(target.path(), &file, false).unwrap(), [Outcome::Imported; 2]);
    assert_eq!(import(target.path(), &file, false).unwrap(), [Outcome::Unchanged; 2], "once more is nothing");
    let mut ledger = Ledger::open(target.path(), settings, noon()).unwrap();
    count(&mut ledger, reading(vec![session("new", TimeDelta::hours(1))]));
    drop(ledger);
    let counted = contents(target.path(), "contoso");
    let error = import(target.path(), &file, false).unwrap_err();
    assert!(matches!(&error, TransferError::Conflict { tenant, .. } if tenant == "contoso"), "{error}");
    let standings = "with other counts: 31 sessions up to 2026-03-19 12:00:00 UTC, where the export has 30 sessions up \
                     to 2026-03-19 12:00:00 UTC; ";
    assert!(error.to_string().contains(standings), "{error}");
    assert_eq!(contents(target.path(), "contoso"), counted);
    assert_eq!(import(target.path(), &file, true).unwrap(), [Outcome::Replaced; 2]);
    assert_eq!(contents(target.path(), "contoso"), contents(source.path(), "contoso"));
}

#[test]
fn a_move_of_nothing_leaves_the_ledger_to_earlier_releases() {
    let source = lived();
    Transfer::source(source.path()).unwrap().remove(&[], noon()).unwrap();
    let file = export(source.path(), &["contoso"]);
    assert_eq!(import(source.path(), &file, false).unwrap(), [Outcome::Unchanged]);
    let skipped = Transfer::target(source.path()).unwrap().import(&*file, &[], |_| false, true).unwrap();
    assert_eq!(skipped[0].outcome, Outcome::Skipped);
    assert_eq!(schema_version(source.path()), 2);
}

/// Two that conflict in the second tenant leave the first one out as well.
#[test]
fn one_that_is_refused_keeps_the_others_out() {
    let source = lived();
    let target = tempfile::tempdir().unwrap();
    drop(Ledger::open(target.path(), Settings { tenants: settings().tenants.split_off(1), ..settings() }, noon()));
    let before = contents(target.path(), "fabrikam");
    let file = export(source.path(), &["contoso", "fabrikam"]);
    assert!(matches!(import(target.path(), &file, false), Err(TransferError::Conflict { .. })));
    assert_eq!((contents(target.path(), "contoso"), contents(target.path(), "fabrikam")), (None, before));
    assert_eq!(schema_version(target.path()), 2);
}

#[test]
fn what_was_taken_out_is_not_polled_by_this_ledger_until_it_comes_back() {
    let source = lived();
    let (whole, fabrikam) = (contents(source.path(), "contoso"), contents(source.path(), "fabrikam"));
    let file = export(source.path(), &["contoso"]);
    remove(source.path(), "contoso");
    assert_eq!(contents(source.path(), "fabrikam"), fabrikam);
    assert!(contents(source.path(), "contoso").unwrap().2.is_empty());
    assert_eq!(crate::ledger::history::read(source.path()).unwrap().len(), 1);
    assert_eq!(Transfer::source(source.path()).unwrap().tenants().unwrap(), ["fabrikam"]);
    assert_eq!(Transfer::source(source.path()).unwrap().taken_out().unwrap(), [("contoso".to_owned(), noon())]);

    let error = Ledger::open(source.path(), settings(), noon()).map(drop).unwrap_err();
    assert!(matches!(error, OpenError::Moved { .. }), "{error}");
    let error = Transfer::source(source.path()).unwrap().export(&["contoso".into()], &mut Vec::new(), noon(), "");
    assert!(matches!(error, Err(TransferError::Open(OpenError::Moved { .. }))));
    let others = Settings { tenants: settings().tenants.split_off(1), ..settings() };
    let mut ledger = Ledger::open(source.path(), others, noon()).unwrap();
    let error = ledger.reconfigure(settings(), noon()).unwrap_err();
    assert!(matches!(error, ReconfigureError::Moved { .. }), "{error}");
    assert_eq!(ledger.snapshot().tenants.len(), 1, "the settings before stay in force");
    drop(ledger);

    assert_eq!(import(source.path(), &file, false).unwrap(), [Outcome::Imported]);
    assert!(Transfer::source(source.path()).unwrap().taken_out().unwrap().is_empty());
    assert_eq!(contents(source.path(), "contoso"), whole);
    drop(open(source.path()));
}

/// Every line left out, every tail cut off, and a digit changed anywhere.
#[test]
fn a_damaged_file_is_refused_and_nothing_of_it_is_taken() {
    let source = lived();
    let file = String::from_utf8(export(source.path(), &["contoso", "fabrikam"])).unwrap();
    let lines: Vec<_> = file.split_inclusive('\n').collect();
    let (target, _) = elsewhere();
    let before = contents(target.path(), "northwind");
    let mut damaged: Vec<(String, Vec<u8>)> = Vec::new();
    for left_out in 0..lines.len() {
        let rest = lines.iter().enumerate().filter(|(at, _)| *at != left_out).map(|(_, line)| *line);
        damaged.push((format!("without line {left_out}"), rest.collect::<String>().into_bytes()));
        damaged.push((format!("cut off before line {left_out}"), lines[..left_out].concat().into_bytes()));
    }
    for at in (0..file.len()).filter(|at| file.as_bytes()[*at].is_ascii_digit()).step_by(97) {
        let mut bytes = file.clone().into_bytes();
        bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
        // Of the head, the whole file's hash alone tells.
        damaged.push((format!("another digit at {at}"), bytes));
    }
    damaged.push(("cut off in the last line".into(), file.as_bytes()[..file.len() - 1].to_vec()));
    damaged.push(("more than there was".into(), [file.as_bytes(), b"\n"].concat()));
    damaged.push(("twice".into(), [file.as_bytes(), file.as_bytes()].concat()));
    for (how, bytes) in damaged {
        let error = import(target.path(), &bytes, false).map(drop).expect_err(&how);
        assert!(verify(&*bytes).is_err(), "{how}");
        assert!(
            matches!(
                error,
                TransferError::File(FileError::Damaged { .. } | FileError::NotAnExport | FileError::Newer { .. })
            ),
            "{how}: {error}"
        );
    }
    assert_eq!(Transfer::source(target.path()).unwrap().tenants().unwrap(), ["northwind"]);
    assert_eq!(contents(target.path(), "northwind"), before);
    assert_eq!(import(target.path(), file.as_bytes(), false).unwrap(), [Outcome::Imported; 2]);
}

/// The two versions that a file tells are looked at before anything else of it.
#[test]
fn a_file_of_a_later_release_is_refused() {
    let source = lived();
    let file = String::from_utf8(export(source.path(), &["fabrikam"])).unwrap();
    let target = tempfile::tempdir().unwrap();
    for (now, later, what) in
        [("\"version\":1", "\"version\":2", "format version 2"), ("\"schema\":3", "\"schema\":4", "schema version 4")]
    {
        let later = file.replacen(now, later, 1);
        let error = import(target.path(), later.as_bytes(), false).unwrap_err().to_string();
        assert!(error.starts_with(&format!("the export has {what}, this release reads up to")), "{error}");
    }
    assert!(Transfer::source(target.path()).unwrap().tenants().unwrap().is_empty());
}

fn fused(directory: &Path, fuse: &Fuse) -> Result<Transfer, TransferError> {
    let fuse = fuse.clone();
    let opener: Opener = Box::new(move |path| {
        let file = std::fs::OpenOptions::new().read(true).write(true).open(path)?;
        redb::Builder::new().create_with_backend(Fused { below: FileBackend::new(file)?, fuse: fuse.clone() })
    });
    Transfer::open(Files::lock_with(directory, opener)?)
}

/// Storage that fails at every step of an import, and of a removal.
#[test]
fn a_move_that_fails_at_any_step_is_as_if_it_had_never_been_tried() {
    let source = lived();
    let file = export(source.path(), &["contoso", "fabrikam"]);
    let expected = (contents(source.path(), "contoso"), contents(source.path(), "fabrikam"));
    let mut failures = 0;
    for removes in [false, true] {
        for step in 0.. {
            let (target, _) = elsewhere();
            if removes {
                import(target.path(), &file, false).unwrap();
            }
            let both = || (contents(target.path(), "contoso"), contents(target.path(), "fabrikam"));
            let before = both();
            let fuse = Fuse(Arc::new(std::sync::atomic::AtomicU64::new(HEALTHY)));
            let transfer = fused(target.path(), &fuse).unwrap();
            fuse.set(step);
            let result = match removes {
                true => transfer.remove(&["contoso".into(), "fabrikam".into()], noon()),
                false => transfer.import(&*file, &[], |_| true, false).map(drop),
            };
            drop(transfer);
            let after = both();
            if let Err(error) = &result {
                failures += 1;
                assert!(matches!(error, TransferError::Write { .. }), "{error}");
            }
            let whole = if removes {
                after.0.as_ref().is_some_and(|(state, ..)| !state["moved"].is_null())
                    && after.1.as_ref().is_some_and(|(_, _, rows)| rows.is_empty())
            } else {
                after == expected
            };
            // Where the last sync is what fails, it may be durable all the same.
            assert!(if result.is_ok() { whole } else { whole || after == before }, "step {step}: {after:?}");
            if result.is_ok() {
                break;
            }
        }
    }
    assert!(failures > 8, "the fuse burnt in only {failures} moves");
}

#[derive(Clone, Debug)]
enum Step {
    /// A reading: sessions by number, minutes of age, type; `None` for no end.
    Read(Vec<(u8, Option<i32>, u8)>),
    /// The tenant goes to the other ledger.
    Move,
    /// Time passes, in hours.
    Wait(u16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let row = (0..40_u8, prop::option::weighted(0.9, -2000..50_000_i32), 0..6_u8);
    let step = prop_oneof![
        6 => prop::collection::vec(row, 0..12).prop_map(Step::Read),
        3 => Just(Step::Move),
        2 => (0..400_u16).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..20)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]
    /// A tenant that moves to and fro counts what its twin counts that stays where it is.
    #[test]
    fn one_that_moves_counts_as_one_that_stays(steps in steps(), removes in any::<bool>()) {
        let stays = tempfile::tempdir().unwrap();
        drop(open(stays.path()));
        let homes = [tempfile::tempdir().unwrap(), elsewhere().0];
        let mut home = 0;
        import(homes[0].path(), &export(stays.path(), &["contoso"]), false).unwrap();
        let mut twin = open(stays.path());
        let mut now = noon();
        for step in steps {
            match step {
                Step::Wait(hours) => now += TimeDelta::hours(i64::from(hours)),
                Step::Move => {
                    let file = export(homes[home].path(), &["contoso"]);
                    if removes {
                        remove(homes[home].path(), "contoso");
                    }
                    home = 1 - home;
                    import(homes[home].path(), &file, true).unwrap();
                }
                Step::Read(rows) => {
                    now += TimeDelta::seconds(1);
                    let report = |(number, age, session_type): &(u8, Option<i32>, u8)| SessionReport {
                        end: age.map(|age| now - TimeDelta::minutes(i64::from(age))),
                        session_type: SessionType::ALL[usize::from(*session_type)],
                        ..session(&number.to_string(), TimeDelta::hours(i64::from(*number)))
                    };
                    let batch = at(reading(rows.iter().map(report).collect()), now);
                    let expected = count(&mut twin, batch.clone());
                    let only = Settings { tenants: vec![settings().tenants.remove(0)], ..settings() };
                    let mut ledger = Ledger::open(homes[home].path(), only, now).unwrap();
                    let applied = count(&mut ledger, batch);
                    prop_assert_eq!(applied.fates, expected.fates);
                    prop_assert_eq!(applied.tenant.totals, expected.tenant.totals);
                }
            }
        }
        drop(twin);
        prop_assert_eq!(contents(homes[home].path(), "contoso"), contents(stays.path(), "contoso"));
    }
}
