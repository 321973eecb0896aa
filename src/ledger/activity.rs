//! Distinct people and devices in sliding windows, kept up by what changes: a poll that counts
//! nothing and moves no window costs nothing, whatever the window holds.
//!
//! Somebody is active in a window if the newest end of their counted sessions lies in it. So each
//! subject has one place in time, [`Active::newest`]; the windows are counters over those places.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;

use super::record::SessionRecord;
use super::totals::{PerLabel, Subject, TICKS_PER_SECOND, Window};
use crate::session::Label as _;

/// The distinct helpers, sharers and devices of one tenant.
#[derive(Debug)]
pub struct Activity {
    now: i64,
    subjects: PerLabel<Subject, Active>,
}

impl Activity {
    /// Nobody was ever active.
    pub fn new() -> Self {
        Self { now: i64::MIN, subjects: PerLabel::from_fn(|_| Active::default()) }
    }

    /// The end of the windows, in ticks.
    pub fn now(&self) -> i64 {
        self.now
    }

    /// Takes a counted session in.
    pub fn add(&mut self, record: &SessionRecord) {
        if record.baseline {
            return;
        }
        self.subjects[Subject::Helpers].add(record.helper, record.end);
        self.subjects[Subject::Sharers].add(record.sharer, record.end);
        self.subjects[Subject::Devices].add(record.sharer_device, record.end);
    }

    /// Moves the windows to end at `now` (ticks). Time that runs backwards moves nothing.
    pub fn advance(&mut self, now: i64) {
        self.now = self.now.max(now);
        for (_, active) in self.subjects.iter_mut() {
            active.advance(now);
        }
    }

    /// The counts as of the last [`Activity::advance`].
    pub fn counts(&self) -> PerLabel<Subject, PerLabel<Window, u64>> {
        PerLabel::from_fn(|subject| self.subjects[subject].counts.clone())
    }
}

/// The distinct subjects of one kind.
#[derive(Debug)]
struct Active {
    /// Each subject's newest end.
    newest: HashMap<u64, i64>,
    /// The same, by time: what leaves a window is a range of it.
    by_end: BTreeSet<(i64, u64)>,
    /// Each window's start: subjects whose newest end is not before it are in.
    starts: PerLabel<Window, i64>,
    counts: PerLabel<Window, u64>,
}

impl Default for Active {
    fn default() -> Self {
        Self {
            newest: HashMap::new(),
            by_end: BTreeSet::new(),
            starts: PerLabel::from_fn(|_| i64::MIN),
            counts: PerLabel::from_fn(|_| 0),
        }
    }
}

impl Active {
    fn add(&mut self, subject: u64, end: i64) {
        if subject == 0 || end < self.starts[Window::Month] {
            return;
        }
        let before = self.newest.get(&subject).copied();
        if before.is_some_and(|before| before >= end) {
            return;
        }
        if let Some(before) = before {
            self.by_end.remove(&(before, subject));
        }
        self.newest.insert(subject, end);
        self.by_end.insert((end, subject));
        for window in Window::ALL {
            let start = self.starts[*window];
            if end >= start && before.is_none_or(|before| before < start) {
                self.counts[*window] += 1;
            }
        }
    }

    fn advance(&mut self, now: i64) {
        for window in Window::ALL {
            let start = now.saturating_sub(window.length().num_seconds() * TICKS_PER_SECOND as i64);
            let old = self.starts[*window];
            if start <= old {
                continue;
            }
            let left = self.by_end.range((Bound::Included((old, 0)), Bound::Excluded((start, 0)))).count();
            self.counts[*window] -= left as u64;
            self.starts[*window] = start;
        }
        let oldest = self.starts[Window::Month];
        while let Some((end, subject)) = self.by_end.first().copied()
            && end < oldest
        {
            self.by_end.pop_first();
            self.newest.remove(&subject);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::session::{EnrollmentState, Os, SessionType};

    const DAY: i64 = 86_400 * TICKS_PER_SECOND as i64;

    fn session(end: i64, helper: u64, sharer: u64) -> SessionRecord {
        SessionRecord {
            end,
            start: None,
            counted_at: end,
            session_type: SessionType::ViewOnly,
            helper_state: EnrollmentState::Unknown,
            sharer_state: EnrollmentState::Unknown,
            helper_os: Os::Other,
            sharer_os: Os::Other,
            baseline: false,
            cross_tenant: false,
            delay_observed: true,
            helper,
            sharer,
            helper_device: 0,
            sharer_device: sharer % 3,
        }
    }

    /// The slow, obvious twin: walks every session.
    fn distinct(sessions: &[SessionRecord], now: i64, window: Window, subject: fn(&SessionRecord) -> u64) -> u64 {
        let start = now - window.length().num_seconds() * TICKS_PER_SECOND as i64;
        let mut subjects: Vec<u64> =
            sessions.iter().filter(|s| s.end >= start && !s.baseline).map(subject).filter(|hash| *hash != 0).collect();
        subjects.sort_unstable();
        subjects.dedup();
        subjects.len() as u64
    }

    #[test]
    fn a_window_is_closed_at_its_start() {
        let mut activity = Activity::new();
        activity.advance(100 * DAY);
        activity.add(&session(99 * DAY, 1, 2));
        assert_eq!(activity.counts()[Subject::Helpers][Window::Day], 1);
        activity.advance(100 * DAY + 1);
        assert_eq!(activity.counts()[Subject::Helpers][Window::Day], 0);
        assert_eq!(activity.counts()[Subject::Helpers][Window::Week], 1);
    }

    proptest! {
        #[test]
        fn it_agrees_with_walking_the_window(
            steps in prop::collection::vec((0..40 * DAY, 1..6_u64, 0..6_u64, any::<bool>(), -DAY..DAY), 1..60)
        ) {
            let mut activity = Activity::new();
            let mut sessions = Vec::new();
            let mut now = 60 * DAY;
            activity.advance(now);
            for (age, helper, sharer, baseline, step) in steps {
                let session = SessionRecord { baseline, ..session(now - age, helper, sharer) };
                activity.add(&session);
                sessions.push(session);
                now = now.max(now + step);
                activity.advance(now);
                let counts = activity.counts();
                for window in Window::ALL.iter().copied() {
                    prop_assert_eq!(counts[Subject::Helpers][window], distinct(&sessions, now, window, |s| s.helper));
                    prop_assert_eq!(counts[Subject::Sharers][window], distinct(&sessions, now, window, |s| s.sharer));
                    prop_assert_eq!(counts[Subject::Devices][window], distinct(&sessions, now, window, |s| s.sharer_device));
                }
            }
        }
    }
}
