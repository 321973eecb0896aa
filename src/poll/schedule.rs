//! When a tenant is polled: at once after the start, then at its own place in the interval.

use std::time::{Duration, Instant};

/// One tenant's times. Tenants that share an interval share it evenly, so that a hundred tenants
/// are a steady trickle and not a burst.
#[derive(Debug)]
pub struct Schedule {
    start: Instant,
    interval: Duration,
    offset: Duration,
    polled: bool,
}

impl Schedule {
    /// The schedule of the tenant at `place` among `count`.
    pub fn new(start: Instant, interval: Duration, place: usize, count: usize) -> Self {
        let offset = interval.mul_f64(place as f64 / count.max(1) as f64);
        Self { start, interval, offset, polled: false }
    }

    /// When the next poll is due, `now` being the end of the last one. A poll that took longer than
    /// the interval skips the turns that it missed.
    pub fn next(&mut self, now: Instant) -> Instant {
        if !std::mem::replace(&mut self.polled, true) {
            return self.start;
        }
        let place = self.start + self.offset;
        let since = now.saturating_duration_since(place);
        let turns = if now < place { 0 } else { since.as_nanos() / self.interval.as_nanos().max(1) + 1 };
        let due = place + self.interval * u32::try_from(turns).unwrap_or(u32::MAX);
        // Right after its first poll a tenant waits at least half an interval for its place.
        if due.saturating_duration_since(now) < self.interval / 2 && since < self.interval {
            return due + self.interval;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn the_first_poll_is_at_once_and_the_rest_spread() {
        let start = Instant::now();
        let mut first_turns = Vec::new();
        for place in 0..4 {
            let mut schedule = Schedule::new(start, 4 * MINUTE, place, 4);
            assert_eq!(schedule.next(start), start);
            let due = schedule.next(start + Duration::from_secs(1));
            first_turns.push(due - start);
            assert_eq!(schedule.next(due + Duration::from_secs(5)), due + 4 * MINUTE);
        }
        assert_eq!(first_turns, [4 * MINUTE, 5 * MINUTE, 6 * MINUTE, 3 * MINUTE]);
    }

    #[test]
    fn a_long_poll_skips_turns_and_keeps_its_place() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start, MINUTE, 0, 1);
        schedule.next(start);
        assert_eq!(schedule.next(start + MINUTE * 7 / 2), start + 4 * MINUTE);
        assert_eq!(schedule.next(start + 4 * MINUTE), start + 5 * MINUTE);
    }
}
