//! How many requests the service lets through.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The latest requests that were let through.
#[derive(Debug, Default)]
pub(super) struct Limit(VecDeque<Instant>);

impl Limit {
    /// Whether a request is let through: there were fewer than so many within the period before it.
    pub fn admits(&mut self, now: Instant, requests: usize, period: Duration) -> bool {
        while self.0.front().is_some_and(|first| now.duration_since(*first) >= period) {
            self.0.pop_front();
        }
        let admitted = self.0.len() < requests;
        if admitted {
            self.0.push_back(now);
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_period_holds_more_than_the_limit() {
        let (mut limit, start, period) = (Limit::default(), Instant::now(), Duration::from_secs(60));
        let mut admits = |second| limit.admits(start + Duration::from_secs(second), 2, period);
        assert_eq!([0, 10, 59, 60, 65, 70].map(&mut admits), [true, true, false, true, false, true]);
    }
}
