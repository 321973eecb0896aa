//! When a tenant is polled: first soon after it was configured, then at its own place in the interval.

use std::time::{Duration, Instant};

/// One tenant's times. Tenants that share an interval share it evenly, so that a hundred tenants
/// are a steady trickle and not a burst.
#[derive(Debug)]
pub struct Schedule {
    /// When the first interval began.
    start: Instant,
    interval: Duration,
    offset: Duration,
    first: Instant,
    turn: Turn,
}

#[derive(Debug, PartialEq, Eq)]
enum Turn {
    First,
    Second,
    Later,
}

impl Schedule {
    /// Polls first at `first`, then at `place` (0 to 1) in each interval, counted from `start`.
    pub fn new(start: Instant, first: Instant, interval: Duration, place: f64) -> Self {
        Self { start, interval, offset: interval.mul_f64(place), first, turn: Turn::First }
    }

    /// When the next poll is due, `now` being the end of the last one. A poll that took longer than
    /// the interval skips the turns that it missed.
    pub fn next(&mut self, now: Instant) -> Instant {
        if self.turn == Turn::First {
            self.turn = Turn::Second;
            return self.first;
        }
        let is_second = std::mem::replace(&mut self.turn, Turn::Later) == Turn::Second;
        let place = self.start + self.offset;
        let since = now.saturating_duration_since(place);
        let turns = if now < place { 0 } else { since.as_nanos() / self.interval.as_nanos().max(1) + 1 };
        let due = place + self.interval * u32::try_from(turns).unwrap_or(u32::MAX);
        // Right after its first poll a tenant waits at least half an interval for its place.
        let is_early = due.saturating_duration_since(now) < self.interval / 2;
        let was_quick = now.saturating_duration_since(self.first) < self.interval;
        if is_second && is_early && was_quick { due + self.interval } else { due }
    }
}

/// The place in the interval of the tenant that is the n-th to be added to those which began together:
/// multiples of the golden ratio spread evenly, however many they become.
pub fn place_of_added(number: u32) -> f64 {
    const GOLDEN_RATIO: f64 = 0.618_033_988_749_894_9;
    (f64::from(number) * GOLDEN_RATIO).fract()
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
            let mut schedule = Schedule::new(start, start, 4 * MINUTE, f64::from(place) / 4.0);
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
        let mut schedule = Schedule::new(start, start, MINUTE, 0.0);
        schedule.next(start);
        assert_eq!(schedule.next(start + MINUTE * 7 / 2), start + 4 * MINUTE);
        assert_eq!(schedule.next(start + 4 * MINUTE), start + 5 * MINUTE);
    }

    #[test]
    fn a_tenant_that_comes_later_has_its_place_too() {
        let start = Instant::now();
        let first = start + 62 * MINUTE;
        let mut schedule = Schedule::new(start, first, 4 * MINUTE, 0.75);
        assert_eq!(schedule.next(first), first);
        // Its place would come in one minute, which is too soon.
        assert_eq!(schedule.next(first), start + 67 * MINUTE);
        assert_eq!(schedule.next(start + 67 * MINUTE), start + 71 * MINUTE);
    }

    #[test]
    fn those_that_are_added_one_by_one_spread_too() {
        let mut places: Vec<_> = (0..100).map(place_of_added).collect();
        places.sort_by(f64::total_cmp);
        let gaps = places.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(gaps.fold(0.0, f64::max) < 0.03, "{places:?}");
    }
}
