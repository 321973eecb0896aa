//! The rate limit: one bucket of tokens for all clients.

use std::fmt;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use crate::config::RateLimit;

/// A bucket of tokens.
pub(super) struct Limiter {
    rate: RateLimit,
    clock: DefaultClock,
    bucket: Option<DefaultDirectRateLimiter>,
}

impl Limiter {
    /// A full bucket.
    pub fn new(rate: RateLimit) -> Self {
        // There is no quota for an interval of 0, which a valid configuration has not.
        let quota = Quota::with_period(rate.interval).map(|quota| quota.allow_burst(rate.burst));
        let clock = DefaultClock::default();
        Self { rate, bucket: quota.map(|quota| RateLimiter::direct_with_clock(quota, clock.clone())), clock }
    }

    pub fn rate(&self) -> RateLimit {
        self.rate
    }

    /// Takes a token.
    ///
    /// # Errors
    /// When there is none: after how long there is one.
    pub fn check(&self) -> Result<(), Duration> {
        let Some(bucket) = &self.bucket else { return Ok(()) };
        bucket.check().map_err(|until| until.wait_time_from(self.clock.now()))
    }
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rate.fmt(f)
    }
}
