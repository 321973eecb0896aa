//! The rules of counting, one by one.

use std::sync::Arc;

use super::*;
use crate::ledger::totals::{Subject, Window};
use crate::session::{DeviceStates, EnrollmentState, Os, RejectReason, Role};

fn fates(applied: &Applied) -> Vec<(&'static str, u64)> {
    applied.fates.iter().filter(|(_, n)| **n > 0).map(|(fate, n)| (fate.as_str(), *n)).collect()
}

#[test]
fn the_same_reports_read_twice_change_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = open(directory.path());
    let reports = vec![session("1", TimeDelta::hours(1)), session("2", TimeDelta::hours(2))];
    assert_eq!(fates(&count(&mut ledger, reading(reports.clone()))), [("counted", 2)]);
    let once = contoso(&ledger);
    assert_eq!(fates(&count(&mut ledger, reading(reports))), [("duplicate", 2)]);
    let twice = contoso(&ledger);
    assert_eq!(twice.counted(), 2);
    assert_eq!((twice.sessions, twice.durations), (once.sessions, once.durations));
    assert_eq!((twice.participants, twice.systems, twice.delays), (once.participants, once.systems, once.delays));
}

#[test]
fn a_duplicate_in_one_batch_counts_once() {
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = open(directory.path());
    let one = session("1", TimeDelta::hours(1));
    let applied = count(&mut ledger, reading(vec![one.clone(), one.clone(), one]));
    assert_eq!(fates(&applied), [("counted", 1), ("duplicate", 2)]);
    assert_identity(&contoso(&ledger));
}

#[test]
fn a_state_that_the_report_lacks_is_completed_and_amends_nothing() {
    const DEVICE: &str = "0d4f2c1e-9a3b-4c5d-8e6f-708192a3b4c5";
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = open(directory.path());
    let mut said = session("said", TimeDelta::hours(1));
    said.helper.device_aad_id = Some(DEVICE.into());
    said.helper.enrollment_state = EnrollmentState::Unknown;
    said.sharer.device_aad_id = Some(DEVICE.to_uppercase().into());
    let knowing = |reports: Vec<SessionReport>, state| {
        let mut devices = DeviceStates::default();
        devices.set(DEVICE, state);
        Batch { devices: Arc::new(devices), ..reading(reports) }
    };
    let applied = count(&mut ledger, knowing(vec![said.clone()], EnrollmentState::Failed));
    assert_eq!(fates(&applied), [("counted", 1)]);
    let participants = contoso(&ledger).participants;
    assert_eq!(participants[Role::Helper][EnrollmentState::Unknown].value, 1, "what the report says wins");
    assert_eq!(participants[Role::Sharer][EnrollmentState::Failed].value, 1);

    for known in [
        knowing(vec![said.clone()], EnrollmentState::Failed),
        knowing(vec![said.clone()], EnrollmentState::Enrolled),
        reading(vec![said]),
    ] {
        assert_eq!(fates(&count(&mut ledger, known)), [("duplicate", 1)]);
        assert_eq!(contoso(&ledger).participants, participants);
    }
    assert_identity(&contoso(&ledger));
}

#[test]
fn every_business_total_sees_a_session() {
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = open(directory.path());
    count(&mut ledger, reading(vec![]));
    let mut report = session("1", TimeDelta::hours(1));
    report.helper.tenant_id = Some("AAAA".into());
    report.sharer.tenant_id = Some("BBBB".into());
    report.helper.enrollment_state = EnrollmentState::Blocked;
    report.sharer.os = Some("Android 15".into());
    report.sharer.device_aad_id = Some("d".into());
    count(&mut ledger, reading(vec![report]));
    let totals = contoso(&ledger);
    assert_eq!(totals.sessions[SessionType::FullControl].value, 1);
    let duration = &totals.durations[SessionType::FullControl];
    // Ten minutes exactly belong to the bucket that ends at ten minutes.
    assert_eq!(duration.counts[4], 1);
    assert_eq!((duration.count(), duration.sum_seconds()), (1, 600.0));
    assert_eq!(totals.participants[Role::Helper][EnrollmentState::Blocked].value, 1);
    assert_eq!(totals.participants[Role::Sharer][EnrollmentState::Unreported].value, 1);
    assert_eq!(totals.systems[Role::Sharer][Os::Android].value, 1);
    assert_eq!(totals.systems[Role::Helper][Os::Unreported].value, 1);
    assert_eq!(totals.cross_tenant[SessionType::FullControl].value, 1);
    assert_eq!((totals.delays.count(), totals.delays.sum_seconds()), (1, 3600.0));
    assert_eq!(totals.last_session_end, Some(noon() - TimeDelta::hours(1)));
    for subject in Subject::ALL {
        assert_eq!(totals.active[*subject][Window::Day], 1, "{subject:?}");
    }
}

#[test]
fn an_unfinished_session_counts_when_it_ends() {
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = open(directory.path());
    let ended = session("1", TimeDelta::minutes(1));
    let unfinished = SessionReport { end: None, ..ended.clone() };
    let applied = count(&mut ledger, reading(vec![unfinished.clone(), unfinished]));
    assert_eq!(fates(&applied), [("unfinished", 2)]);
    assert_eq!(contoso(&ledger).in_progress, Some(1));
    assert_eq!(fates(&count(&mut ledger, reading(vec![ended]))), [("counted", 1)]);
    assert_eq!(contoso(&ledger).in_progress, Some(0));
}

#[test]
fn in_progress_is_known_only_after_a_complete_reading() {
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = open(directory.path());
    assert_eq!(contoso(&ledger).in_progress, None);
    let mut short = reading(vec![SessionReport { end: None, ..session("1", TimeDelta::zero()) }]);
    short.end = Some(EndOfReading { rows_missing: 7 });
    count(&mut ledger, short);
    assert_eq!(contoso(&ledger).in_progress, None);
    assert_eq!(contoso(&ledger).rows_missing.value, 7);
}

#[test]
fn a_reading_in_several_batches_is_one_reading() {
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = open(directory.path());
    let unfinished = |id: &str| SessionReport { end: None, ..session(id, TimeDelta::zero()) };
    let mut first = reading(vec![unfinished("1"), unfinished("2")]);
    first.end = None;
    count(&mut ledger, first);
    let mut second = reading(vec![unfinished("3"), session("2", TimeDelta::minutes(1))]);
    second.first = false;
    count(&mut ledger, second);
    assert_eq!(contoso(&ledger).in_progress, Some(2));
}

#[test]
fn sessions_before_the_horizon_are_too_old() {
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = open(directory.path());
    let reports =
        vec![session("at", TimeDelta::days(30)), session("before", TimeDelta::days(30) + TimeDelta::seconds(1))];
    assert_eq!(fates(&count(&mut ledger, reading(reports))), [("counted", 1), ("too_old", 1)]);
}

#[test]
fn a_session_that_ends_over_a_day_from_now_is_rejected_until_then() {
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = open(directory.path());
    let later = session("1", -TimeDelta::days(1) - TimeDelta::seconds(1));
    let applied = count(&mut ledger, reading(vec![later.clone(), session("2", -TimeDelta::days(1))]));
    assert_eq!(fates(&applied), [("counted", 1)]);
    assert_eq!(applied.rejects[0].reason, RejectReason::FutureEnd);
    assert_eq!(contoso(&ledger).rejected[RejectReason::FutureEnd].value, 1);
    let applied = count(&mut ledger, at(reading(vec![later]), noon() + TimeDelta::hours(1)));
    assert_eq!(fates(&applied), [("counted", 1)]);
    assert_identity(&contoso(&ledger));
}

#[test]
fn a_session_without_a_usable_duration_counts() {
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = open(directory.path());
    let backwards = session("1", TimeDelta::hours(1));
    let backwards = SessionReport { start: backwards.end.map(|end| end + TimeDelta::seconds(1)), ..backwards };
    let endless = SessionReport { start: None, ..session("2", TimeDelta::hours(1)) };
    count(&mut ledger, reading(vec![backwards, endless]));
    let totals = contoso(&ledger);
    assert_eq!((totals.counted(), totals.invalid_durations.value), (2, 2));
    assert_eq!(totals.durations[SessionType::FullControl].count(), 0);
}

#[test]
fn an_amended_session_is_not_counted_again_and_amends_once() {
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = open(directory.path());
    let report = session("1", TimeDelta::hours(1));
    let amended = SessionReport { session_type: SessionType::Elevation, ..report.clone() };
    count(&mut ledger, reading(vec![report.clone()]));
    assert_eq!(fates(&count(&mut ledger, reading(vec![amended.clone()]))), [("amended", 1)]);
    assert_eq!(fates(&count(&mut ledger, reading(vec![amended]))), [("duplicate", 1)]);
    let totals = contoso(&ledger);
    assert_eq!(totals.sessions[SessionType::FullControl].value, 1);
    assert_eq!(totals.sessions[SessionType::Elevation].value, 0);
    // A known session whose end is lost is no session in progress.
    let endless = SessionReport { end: None, ..report };
    assert_eq!(fates(&count(&mut ledger, reading(vec![endless]))), [("amended", 1)]);
    assert_eq!(contoso(&ledger).in_progress, Some(0));
}

#[test]
fn an_end_that_moves_never_lets_a_session_count_twice() {
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = open(directory.path());
    let report = session("1", TimeDelta::days(10));
    count(&mut ledger, reading(vec![report.clone()]));
    let moved = SessionReport { end: Some(noon()), ..report };
    assert_eq!(fates(&count(&mut ledger, reading(vec![moved.clone()]))), [("amended", 1)]);
    // The counted end has left the horizon, the moved one has not.
    let later = noon() + TimeDelta::days(25);
    assert_eq!(fates(&count(&mut ledger, at(reading(vec![moved.clone()]), later))), [("duplicate", 1)]);
    assert_eq!(ledger.snapshot().sessions, 1);
    let much_later = noon() + TimeDelta::days(31);
    count(&mut ledger, at(reading(vec![]), much_later));
    assert_eq!(ledger.snapshot().sessions, 0);
    assert_eq!(fates(&count(&mut ledger, at(reading(vec![moved]), much_later))), [("too_old", 1)]);
    assert_eq!(contoso(&ledger).counted(), 1);
}

#[test]
fn a_clock_that_runs_ahead_or_back_loses_and_doubles_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = open(directory.path());
    count(&mut ledger, reading(vec![session("1", TimeDelta::hours(1))]));
    // The machine says next year, the service says noon: the horizon follows the earlier one.
    let mut ahead = reading(vec![session("2", TimeDelta::hours(1))]);
    ahead.clock = Clock { now: noon() + TimeDelta::days(365), cautious: noon() };
    assert_eq!(fates(&count(&mut ledger, ahead)), [("counted", 1)]);
    // Both say last year: nothing known is forgotten.
    let back = at(reading(vec![session("1", TimeDelta::hours(1))]), noon() - TimeDelta::days(365));
    assert_eq!(fates(&count(&mut ledger, back)), [("duplicate", 1)]);
    // The windows are right again as soon as the clock is.
    count(&mut ledger, reading(vec![]));
    assert_eq!(contoso(&ledger).active[Subject::Helpers][Window::Day], 1);
}

#[test]
fn a_baseline_marks_the_first_run_as_known() {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = settings();
    settings.tenants[0].first_run = FirstRun::Baseline;
    let mut ledger = Ledger::open(directory.path(), settings.clone(), noon()).unwrap();
    let old = session("1", TimeDelta::hours(1));
    // A first run lasts until a reading is complete.
    let mut failed = reading(vec![old.clone()]);
    failed.end = None;
    assert_eq!(fates(&count(&mut ledger, failed)), [("baseline", 1)]);
    let second = session("2", TimeDelta::hours(1));
    assert_eq!(fates(&count(&mut ledger, reading(vec![old.clone(), second]))), [("duplicate", 1), ("baseline", 1)]);
    assert_eq!(contoso(&ledger).counted(), 0);
    assert_eq!(contoso(&ledger).active[Subject::Helpers][Window::Day], 0);
    drop(ledger);
    // Restarting is never a first run.
    let mut ledger = Ledger::open(directory.path(), settings, noon()).unwrap();
    let applied = count(&mut ledger, reading(vec![old, session("3", TimeDelta::hours(1))]));
    assert_eq!(fates(&applied), [("counted", 1), ("duplicate", 1)]);
    assert_identity(&contoso(&ledger));
}

#[test]
fn the_delay_of_a_first_runs_backlog_is_not_observed() {
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = open(directory.path());
    count(&mut ledger, reading(vec![session("1", TimeDelta::days(2))]));
    assert_eq!(contoso(&ledger).delays.count(), 0);
    count(&mut ledger, reading(vec![session("2", TimeDelta::days(2))]));
    assert_eq!(contoso(&ledger).delays.count(), 1);
}

#[test]
fn a_repaired_row_counts() {
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = open(directory.path());
    let mut broken = reading(vec![]);
    broken.rejects.push(Reject::anonymous(RejectReason::UnreadableDate, "endDateTime is unreadable"));
    assert_eq!(count(&mut ledger, broken).rejects.len(), 1);
    assert_eq!(fates(&count(&mut ledger, reading(vec![session("1", TimeDelta::hours(1))]))), [("counted", 1)]);
    assert_eq!(contoso(&ledger).rejected[RejectReason::UnreadableDate].value, 1);
    assert_identity(&contoso(&ledger));
}

#[test]
fn tenants_do_not_share_ids() {
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = open(directory.path());
    let here = reading(vec![session("1", TimeDelta::hours(1))]);
    let there = Batch { tenant: "fabrikam".into(), ..here.clone() };
    let applied = ledger.commit(&[here, there]).unwrap();
    assert_eq!(applied.iter().map(fates).collect::<Vec<_>>(), [[("counted", 1)], [("counted", 1)]]);
    assert_eq!(ledger.snapshot().sessions, 2);
}

#[test]
fn helpers_are_counted_by_name_only_when_asked() {
    let directory = tempfile::tempdir().unwrap();
    let with = |helper_label| Settings { helper_label, ..settings() };
    let names = |ledger: &Ledger| contoso(ledger).helper_sessions.keys().map(ToString::to_string).collect::<Vec<_>>();
    let mut ledger = open(directory.path());
    count(&mut ledger, reading(vec![session("1", TimeDelta::hours(1))]));
    assert_eq!(names(&ledger), [""; 0]);
    drop(ledger);
    let mut ledger = Ledger::open(directory.path(), with(HelperLabel::Plain), noon()).unwrap();
    let mut nameless = session("3", TimeDelta::hours(1));
    nameless.helper.email = None;
    count(&mut ledger, reading(vec![session("2", TimeDelta::hours(1)), nameless]));
    assert_eq!(names(&ledger), ["helper-1@contoso.example", "unreported"]);
    drop(ledger);
    let mut ledger = Ledger::open(directory.path(), with(HelperLabel::Hashed), noon()).unwrap();
    assert_eq!(names(&ledger), [""; 0]);
    count(&mut ledger, reading(vec![session("4", TimeDelta::hours(1))]));
    let hashed = names(&ledger);
    assert!(hashed[0].len() == 16 && hashed[0].bytes().all(|byte| byte.is_ascii_hexdigit()), "{hashed:?}");
}

#[test]
fn helper_series_are_capped() {
    let directory = tempfile::tempdir().unwrap();
    let mut ledger =
        Ledger::open(directory.path(), Settings { helper_label: HelperLabel::Plain, ..settings() }, noon()).unwrap();
    let by = |n: usize| {
        let mut report = session(&n.to_string(), TimeDelta::hours(1));
        report.helper.email = Some(format!("helper-{n}@contoso.example").into());
        report
    };
    count(&mut ledger, reading((0..510).map(by).collect()));
    let helpers = contoso(&ledger).helper_sessions;
    assert_eq!(helpers.len(), 501);
    assert_eq!(helpers["other"].value, 10);
}
