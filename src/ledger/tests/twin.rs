//! A slow, obvious twin of the ledger on random input, with restarts and failures in between.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::ledger::counting;
use crate::ledger::record::ticks;
use crate::ledger::totals::{Fate, Window};
use crate::session::RejectReason;

/// What one step does.
#[derive(Clone, Debug)]
enum Step {
    /// A reading: sessions by number, minutes of age, type; `None` for no end.
    Read(Vec<(u8, Option<i32>, u8)>),
    /// The program starts again.
    Restart,
    /// The tenant is taken out of the configuration and put in again.
    Away,
    /// A reload that changes nothing.
    Reload,
    /// Time passes, in hours.
    Wait(u16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let row = (0..40_u8, prop::option::weighted(0.9, -2000..50_000_i32), 0..6_u8);
    let step = prop_oneof![
        6 => prop::collection::vec(row, 0..12).prop_map(Step::Read),
        1 => Just(Step::Restart),
        1 => Just(Step::Away),
        1 => Just(Step::Reload),
        2 => (0..400_u16).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..30)
}

/// The rules of counting, written as plainly as they can be.
#[derive(Default)]
struct Twin {
    /// By id: its report as last seen, and the newest end seen.
    known: BTreeMap<String, (SessionReport, DateTime<Utc>)>,
    counted: Vec<SessionReport>,
    fates: BTreeMap<&'static str, u64>,
    horizon: DateTime<Utc>,
}

impl Twin {
    fn read(&mut self, reports: &[SessionReport], now: DateTime<Utc>) {
        self.horizon = self.horizon.max(now - TimeDelta::days(30));
        for report in reports {
            *self.fates.entry(self.fate(report, now)).or_default() += 1;
            if let Some((last, newest)) = self.known.get_mut(&*report.id) {
                *last = report.clone();
                *newest = report.end.map_or(*newest, |end| end.max(*newest));
            } else if let Some(end) = report.end
                && end >= self.horizon
                && end <= now + TimeDelta::days(1)
            {
                self.known.insert(report.id.to_string(), (report.clone(), end));
                self.counted.push(report.clone());
            }
        }
        let horizon = self.horizon;
        self.known.retain(|_, (_, newest)| *newest >= horizon);
    }

    fn fate(&self, report: &SessionReport, now: DateTime<Utc>) -> &'static str {
        match (self.known.get(&*report.id), report.end) {
            (Some((last, _)), _) if last == report => "duplicate",
            (Some(_), _) => "amended",
            (None, None) => "unfinished",
            (None, Some(end)) if end < self.horizon => "too_old",
            (None, Some(end)) if end > now + TimeDelta::days(1) => "future_end",
            (None, Some(_)) => "counted",
        }
    }

    fn agree(&self, ledger: &Ledger) -> Result<(), TestCaseError> {
        let totals = contoso(ledger);
        assert_identity(&totals);
        for fate in Fate::ALL {
            let twin = self.fates.get(fate.as_str()).copied().unwrap_or(0);
            prop_assert_eq!(totals.fates[*fate].value, twin, "{:?}", fate);
        }
        let future = self.fates.get("future_end").copied().unwrap_or(0);
        prop_assert_eq!(totals.rejected[RejectReason::FutureEnd].value, future);
        for session_type in SessionType::ALL {
            let sessions = self.counted.iter().filter(|report| report.session_type == *session_type);
            prop_assert_eq!(totals.sessions[*session_type].value, sessions.count() as u64);
        }
        prop_assert_eq!(ledger.snapshot().sessions, self.known.len() as u64);
        Ok(())
    }
}

/// The records alone give the same business totals, as long as none has been pruned.
fn recount(ledger: &Ledger) -> (Totals, usize) {
    let store = ledger.store.as_ref().unwrap();
    let number = ledger.tenants["contoso"].state.number;
    let mut again = Totals::zero(noon(), totals::DURATION_BOUNDS);
    let mut records = 0;
    store
        .each_session(number, i64::MIN, |session| {
            records += 1;
            if !session.baseline {
                counting::add(&mut again, &session);
            }
        })
        .unwrap();
    (again, records)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn the_ledger_agrees_with_its_twin(steps in steps()) {
        let directory = tempfile::tempdir().unwrap();
        let mut ledger = open(directory.path());
        let mut twin = Twin::default();
        let mut now = noon();
        for step in steps {
            match step {
                Step::Wait(hours) => now += TimeDelta::hours(i64::from(hours)),
                Step::Restart => {
                    drop(ledger);
                    ledger = open(directory.path());
                }
                Step::Away => {
                    let mut without = settings();
                    without.tenants.retain(|tenant| &*tenant.name != "contoso");
                    ledger.reconfigure(without, now).unwrap();
                    prop_assert_eq!(ledger.snapshot().tenants.len(), 1);
                    ledger.reconfigure(settings(), now).unwrap();
                }
                Step::Reload => ledger.reconfigure(settings(), now).unwrap(),
                Step::Read(rows) => {
                    let reports: Vec<_> = rows
                        .iter()
                        .map(|(number, age, session_type)| {
                            let end = age.map(|minutes| now - TimeDelta::minutes(i64::from(minutes)));
                            SessionReport {
                                end,
                                session_type: SessionType::ALL[usize::from(*session_type)],
                                ..session(&number.to_string(), TimeDelta::zero())
                            }
                        })
                        .collect();
                    twin.read(&reports, now);
                    count(&mut ledger, at(reading(reports), now));
                }
            }
            twin.agree(&ledger)?;
        }
        let totals = contoso(&ledger);
        let (again, records) = recount(&ledger);
        prop_assert_eq!(records as u64, ledger.snapshot().sessions);
        if records == twin.counted.len() {
            prop_assert_eq!(&again.sessions, &totals.sessions);
            prop_assert_eq!(&again.durations, &totals.durations);
            prop_assert_eq!(&again.participants, &totals.participants);
            prop_assert_eq!(&again.delays, &totals.delays);
            prop_assert_eq!(again.last_session_end.map(ticks), totals.last_session_end.map(ticks));
        }
        prop_assert!(totals.active.iter().all(|(_, windows)| windows[Window::Day] <= windows[Window::Month]));
    }
}
