//! One tenant's lines in the log. Its name comes from the span.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::info;

use crate::source::{Far, Progress};

/// A line is due at the latest when the last one is so old.
const EVERY: Duration = Duration::from_secs(10);
/// A line is due after the first page, then after ten times as many, and so on.
const GROWTH: u64 = 10;

/// Tells of one tenant's first reading.
#[derive(Default)]
pub(super) struct Lines(Mutex<State>);

#[derive(Default)]
struct State {
    /// When the last line was written, or the reading began.
    last: Option<Instant>,
    /// The number of pages at which the next line is due.
    pages: Option<u64>,
    step: Option<&'static str>,
    over: bool,
}

impl Progress for Lines {
    fn page(&self, far: Far) {
        if self.with(|state| state.page(far, Instant::now())) {
            let percent = far.total.filter(|total| *total > 0).map(|total| far.rows.min(total) * 100 / total);
            info!(pages = far.pages, rows = far.rows, rows_total = far.total, percent, "Reading");
        }
    }

    fn step(&self, what: &'static str) {
        if self.with(|state| state.step(what, Instant::now())) {
            info!(step = what, "Working");
        }
    }

    fn ended(&self, whole: bool) {
        self.with(|state| *state = State { over: state.over || whole, ..State::default() });
    }
}

impl Lines {
    fn with<T>(&self, what: impl FnOnce(&mut State) -> T) -> T {
        what(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    /// Whether a line is due after a page.
    fn page(&mut self, far: Far, now: Instant) -> bool {
        // The last page is told by the poll's own line.
        if self.over || far.total.is_some_and(|total| far.rows >= total) {
            return false;
        }
        let due = far.pages >= self.pages.unwrap_or(1) || self.is_old(now);
        if due {
            let mut next = self.pages.unwrap_or(1);
            while next <= far.pages {
                next = next.saturating_mul(GROWTH);
            }
            (self.pages, self.last) = (Some(next), Some(now));
        }
        due
    }

    /// Whether a line is due of the step that goes on.
    fn step(&mut self, what: &'static str, now: Instant) -> bool {
        let due = !self.over && (self.step != Some(what) || self.is_old(now));
        if due {
            (self.step, self.last) = (Some(what), Some(now));
        }
        due
    }

    fn is_old(&self, now: Instant) -> bool {
        self.last.is_some_and(|last| now.duration_since(last) >= EVERY)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::cli::{LogFormat, LogLevel};
    use crate::logging;

    fn far(pages: u64) -> Far {
        Far { pages, rows: pages * 50, total: Some(1_000_000) }
    }

    #[test]
    fn lines_come_at_powers_of_ten_and_every_ten_seconds() {
        let start = Instant::now();
        let mut state = State::default();
        // A page takes 30 ms.
        let told: Vec<_> = (1..=2000)
            .filter(|pages| state.page(far(*pages), start + Duration::from_millis(30) * u32::try_from(*pages).unwrap()))
            .collect();
        assert_eq!(told, [1, 10, 100, 434, 768, 1000, 1334, 1668]);
    }

    #[test]
    fn a_reading_that_is_at_its_end_and_later_readings_are_not_told() {
        let now = Instant::now();
        let mut state = State::default();
        assert!(!state.page(Far { pages: 1, rows: 7, total: Some(7) }, now));
        let lines = Lines::default();
        lines.ended(false);
        assert!(lines.with(|state| state.page(far(1), now)), "a failed reading was not the first");
        lines.ended(true);
        lines.ended(false);
        assert!(!lines.with(|state| state.page(far(1), now) || state.step("x", now)));
    }

    #[test]
    fn a_step_is_told_when_it_changes_and_every_ten_seconds() {
        let start = Instant::now();
        let mut state = State::default();
        let at = |seconds| start + Duration::from_secs(seconds);
        let due = [("a", 0), ("a", 9), ("a", 10), ("b", 11), ("b", 20), ("b", 21)]
            .map(|(what, seconds)| state.step(what, at(seconds)));
        assert_eq!(due, [true, false, true, true, false, true]);
    }

    #[test]
    fn a_line_has_fields_for_machines() {
        let written = Arc::new(Mutex::new(Vec::new()));
        let sink = written.clone();
        let subscriber = logging::subscriber(LogLevel::Info, LogFormat::Logfmt, move |line| {
            sink.lock().unwrap().push(line.split_once(" msg=").unwrap().1.trim_end().to_owned());
        });
        tracing::subscriber::with_default(subscriber, || {
            let lines = Lines::default();
            lines.page(Far { pages: 1, rows: 50, total: Some(120) });
            lines.ended(false);
            lines.page(Far { pages: 1, rows: 50, total: None });
            lines.step("the job runs");
        });
        assert_eq!(
            *written.lock().unwrap(),
            [
                "Reading pages=1 rows=50 rows_total=120 percent=41",
                "Reading pages=1 rows=50",
                "Working step=\"the job runs\"",
            ]
        );
    }
}
