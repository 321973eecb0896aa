//! Tests of the ledger as a whole, through [`Ledger::commit`].

mod faults;
mod moving;
mod opening;
mod reconfiguring;
mod rules;
mod twin;

use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Applied, Batch, Clock, EndOfReading, Ledger, Policy, Settings, Totals, totals};
use crate::config::{FirstRun, HelperLabel};
use crate::session::{Label, Participant, Reject, SessionReport, SessionType, parse_date};

/// When the tests happen.
fn noon() -> DateTime<Utc> {
    parse_date("2026-03-19T12:00:00Z").unwrap().unwrap()
}

fn settings() -> Settings {
    let policy = |name: &str| Policy { name: name.into(), lookback: TimeDelta::days(30), first_run: FirstRun::Count };
    Settings {
        tenants: vec![policy("contoso"), policy("fabrikam")],
        duration_bounds: totals::DURATION_BOUNDS.to_vec(),
        helper_label: HelperLabel::Off,
        native_histograms: true,
    }
}

fn open(directory: &Path) -> Ledger {
    Ledger::open(directory, settings(), noon()).unwrap()
}

/// A session that ended `ago` before noon after ten minutes.
fn session(id: &str, ago: TimeDelta) -> SessionReport {
    let end = noon() - ago;
    SessionReport {
        id: id.into(),
        start: Some(end - TimeDelta::minutes(10)),
        end: Some(end),
        session_type: SessionType::FullControl,
        helper: Participant { email: Some("helper-1@contoso.example".into()), ..Participant::default() },
        sharer: Participant { email: Some("sharer-1@contoso.example".into()), ..Participant::default() },
        ..SessionReport::default()
    }
}

/// A whole reading in one batch.
fn reading(reports: Vec<SessionReport>) -> Batch {
    Batch {
        tenant: "contoso".into(),
        clock: Clock { now: noon(), cautious: noon() },
        first: true,
        reports,
        devices: Arc::default(),
        rejects: Vec::new(),
        end: Some(EndOfReading { rows_missing: 0 }),
    }
}

fn at(mut batch: Batch, now: DateTime<Utc>) -> Batch {
    batch.clock = Clock { now, cautious: now };
    batch
}

fn count(ledger: &mut Ledger, batch: Batch) -> Applied {
    ledger.commit(&[batch]).unwrap().remove(0)
}

fn contoso(ledger: &Ledger) -> Totals {
    let snapshot = ledger.snapshot();
    let tenant = snapshot.tenants.iter().find(|tenant| &*tenant.name == "contoso").unwrap();
    Totals::clone(&tenant.totals)
}

/// Every report read has exactly one fate.
fn assert_identity(totals: &Totals) {
    let fates: u64 = totals.fates.iter().map(|(_, counter)| counter.value).sum();
    let rejected: u64 = totals.rejected.iter().map(|(_, counter)| counter.value).sum();
    assert_eq!(totals.read.value, fates + rejected);
    assert_eq!(totals.counted(), totals.fates[totals::Fate::Counted].value);
}
