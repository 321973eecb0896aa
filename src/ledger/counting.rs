//! The rules of counting: what becomes of a report, and what a counted session adds to the totals.
//! Pure: values in, values out; the time is given.

use chrono::{DateTime, TimeDelta, Utc};

use super::record::{SessionRecord, ticks, time};
use super::salt::Salt;
use super::totals::{Fate, Totals};
use crate::session::{DeviceStates, Os, Reject, RejectReason, Role, SessionReport};

/// A session cannot have ended later than this after now: no clock is off by more and believed.
const MAX_FUTURE: TimeDelta = TimeDelta::days(1);

/// What is known of an id that is in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// The newest end that was ever reported for it, in ticks: the id is kept until the horizon
    /// has passed it, else a report whose end moved could be counted a second time.
    pub retained_until: i64,
    /// [`Salt::fingerprint`] of the newest report.
    pub fingerprint: u64,
}

/// By what a tenant's reports are judged.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Now, as the service tells it.
    pub now: DateTime<Utc>,
    /// The oldest end that may still be counted.
    pub horizon: DateTime<Utc>,
    /// Whether this is a first run that marks sessions as known instead of counting them.
    pub baseline: bool,
    /// Whether this is a first run: its backlog says nothing about delays.
    pub first_run: bool,
}

/// What becomes of a readable report.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    /// A new session: to be remembered, and counted unless it is a baseline.
    New(Fate),
    /// Nothing changes.
    Same(Fate),
    /// A known session that reads otherwise: remembered so, not counted again.
    Amended(Known),
    /// It cannot be right.
    Rejected(Reject),
}

/// Judges a report. What is known of its id decides first: a known session is never counted again,
/// whatever its report says now.
pub fn judge(report: &SessionReport, known: Option<Known>, fingerprint: u64, terms: &Terms) -> Verdict {
    if let Some(known) = known {
        if known.fingerprint == fingerprint {
            return Verdict::Same(Fate::Duplicate);
        }
        let retained_until = report.end.map_or(known.retained_until, |end| known.retained_until.max(ticks(end)));
        return Verdict::Amended(Known { retained_until, fingerprint });
    }
    match report.end {
        None => Verdict::Same(Fate::Unfinished),
        Some(end) if end < terms.horizon => Verdict::Same(Fate::TooOld),
        Some(end) if end > terms.now + MAX_FUTURE => Verdict::Rejected(Reject {
            reason: RejectReason::FutureEnd,
            id: Some(report.id.clone()),
            detail: "endDateTime is over a day in the future".into(),
        }),
        Some(_) if terms.baseline => Verdict::New(Fate::Baseline),
        Some(_) => Verdict::New(Fate::Counted),
    }
}

/// The record of a new session. `end` is the report's, which a new session has.
pub fn record(report: &SessionReport, end: DateTime<Utc>, salt: &Salt, terms: &Terms) -> SessionRecord {
    SessionRecord {
        end: ticks(end),
        start: report.start.map(ticks),
        counted_at: ticks(terms.now),
        session_type: report.session_type,
        helper_state: report.helper.enrollment_state,
        sharer_state: report.sharer.enrollment_state,
        helper_os: Os::classify(report.helper.os.as_deref()),
        sharer_os: Os::classify(report.sharer.os.as_deref()),
        baseline: terms.baseline,
        cross_tenant: report.is_cross_tenant(),
        delay_observed: !terms.first_run,
        helper: salt.person(&report.helper),
        sharer: salt.person(&report.sharer),
        helper_device: salt.helper_device(report),
        sharer_device: salt.sharer_device(report),
    }
}

/// Gives a record the enrolment states that its report lacks and that are known otherwise. A report
/// is compared by what it says itself, so what is known may change and no report is amended by it.
pub fn complete(session: &mut SessionRecord, report: &SessionReport, devices: &DeviceStates) {
    session.helper_state = devices.complete(session.helper_state, report.helper.device_aad_id.as_deref());
    session.sharer_state = devices.complete(session.sharer_state, report.sharer.device_aad_id.as_deref());
}

/// Adds a counted session to the business totals. Everything it adds is in the record, so the
/// totals of a window can be made again from its records.
pub fn add(totals: &mut Totals, session: &SessionRecord) {
    totals.sessions[session.session_type].increment();
    match session.duration() {
        Some(duration) => totals.durations[session.session_type].observe(duration),
        None => totals.invalid_durations.increment(),
    }
    totals.participants[Role::Helper][session.helper_state].increment();
    totals.participants[Role::Sharer][session.sharer_state].increment();
    totals.systems[Role::Helper][session.helper_os].increment();
    totals.systems[Role::Sharer][session.sharer_os].increment();
    if session.cross_tenant {
        totals.cross_tenant[session.session_type].increment();
    }
    if session.delay_observed {
        // A session may end up to a day after now; that is no delay below zero.
        totals.delays.observe(u64::try_from(session.counted_at - session.end).unwrap_or(0));
    }
    let end = time(session.end);
    totals.last_session_end = Some(totals.last_session_end.map_or(end, |newest| newest.max(end)));
}
