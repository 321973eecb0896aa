//! When an attempt is made again, and how long after. Pure but for the sleep itself.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};
use rand::RngExt as _;

use crate::source::{Observer, SourceError};

/// How patient the client is. The defaults fit a poll every few minutes.
#[derive(Clone, Debug)]
pub struct RetryPolicy {
    /// How often one request is sent at most.
    pub attempts_per_request: u32,
    /// How many requests are sent again in one poll: a poll may have thousands of pages.
    pub retries_per_poll: u32,
    /// How long one poll waits in all.
    pub wait_per_poll: Duration,
    /// The upper bound of the first wait where the service names none; it doubles with each attempt.
    pub first_wait: Duration,
    /// The upper bound of every such wait.
    pub longest_wait: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts_per_request: 6,
            retries_per_poll: 50,
            // Below the default poll interval of five minutes, so that polls do not pile up.
            wait_per_poll: Duration::from_secs(180),
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(30),
        }
    }
}

/// An attempt that failed.
#[derive(Debug)]
pub(super) struct Failure {
    /// What goes into the log if this was the last one.
    pub error: SourceError,
    /// Whether another may follow.
    pub retry: Retry,
}

/// Whether another attempt may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retry {
    /// It would fail likewise.
    Never,
    /// After a wait.
    After {
        /// What the service asked for.
        asked: Option<Duration>,
        /// On a connection of its own: the old one may lead to a sick backend.
        fresh: bool,
    },
}

/// What is left of a poll's patience.
#[derive(Clone, Debug)]
pub struct Budget {
    policy: RetryPolicy,
    retries_left: u32,
    wait_left: Duration,
}

impl Budget {
    /// A poll's whole patience.
    pub fn new(policy: RetryPolicy) -> Self {
        Self { retries_left: policy.retries_per_poll, wait_left: policy.wait_per_poll, policy }
    }

    /// Sleeps until the request may be sent again, or gives the error back, with the reason why not.
    /// `attempt` counts from 1. Tells whether a new connection is wanted.
    pub(super) async fn pause(
        &mut self,
        failure: Failure,
        attempt: u32,
        observer: &dyn Observer,
    ) -> Result<bool, SourceError> {
        let Retry::After { asked, fresh } = failure.retry else { return Err(failure.error) };
        let wait = self.spend(failure.error, attempt, asked)?;
        tokio::time::sleep(wait).await;
        observer.retry();
        Ok(fresh)
    }

    fn spend(
        &mut self,
        mut error: SourceError,
        attempt: u32,
        asked: Option<Duration>,
    ) -> Result<Duration, SourceError> {
        if attempt >= self.policy.attempts_per_request || self.retries_left == 0 {
            error.message.push_str(&format!("; gave up after {attempt} attempts"));
            return Err(error);
        }
        let wait = asked.unwrap_or_else(|| self.back_off(attempt));
        if wait > self.wait_left {
            let left = self.wait_left.as_secs();
            error.message.push_str(&match asked {
                Some(asked) => format!(
                    "; the service asks to wait {} s and this poll has {left} s left; the next poll tries again",
                    asked.as_secs_f64()
                ),
                None => format!("; gave up after {attempt} attempts: this poll has {left} s left to wait"),
            });
            return Err(error);
        }
        self.retries_left -= 1;
        self.wait_left -= wait;
        tracing::info!(attempt, wait_seconds = wait.as_secs_f64(), reason = %error.message, "trying again");
        Ok(wait)
    }

    /// Exponential, with full jitter: clients that failed together do not come back together.
    fn back_off(&self, attempt: u32) -> Duration {
        let doubled = self.policy.first_wait.saturating_mul(2u32.saturating_pow(attempt.saturating_sub(1)));
        doubled.min(self.policy.longest_wait).mul_f64(rand::rng().random())
    }
}

/// What `Retry-After` asks for: seconds, with a fraction or not, or a date, which is taken relative to
/// the answer's own `Date` since the two clocks may differ.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds.max(0.0)).ok();
    }
    let until = httpdate::parse_http_date(text).ok()?;
    Some(until.duration_since(answer_date(headers)?).unwrap_or(Duration::ZERO))
}

/// The answer's `Date`.
pub(super) fn answer_date(headers: &HeaderMap) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?.trim()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::FailureReason;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn retry_after_is_seconds_a_fraction_or_a_date() {
        let asked =
            |value: &str| retry_after(&headers(&[("retry-after", value), ("date", "Thu, 19 Mar 2026 12:00:00 GMT")]));
        assert_eq!(asked("17"), Some(Duration::from_secs(17)));
        assert_eq!(asked(" 2.128 "), Some(Duration::from_millis(2128)));
        assert_eq!(asked("0"), Some(Duration::ZERO));
        assert_eq!(asked("-3"), Some(Duration::ZERO));
        assert_eq!(asked("Thu, 19 Mar 2026 12:01:30 GMT"), Some(Duration::from_secs(90)));
        assert_eq!(asked("Thu, 19 Mar 2026 11:00:00 GMT"), Some(Duration::ZERO));
        for nonsense in ["soon", "", "NaN", "inf", "1e300", "12 s"] {
            assert_eq!(asked(nonsense).filter(|wait| !wait.is_zero()), None, "{nonsense}");
        }
        assert_eq!(retry_after(&headers(&[("retry-after", "Thu, 19 Mar 2026 12:01:30 GMT")])), None);
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }

    fn error() -> SourceError {
        SourceError::new(FailureReason::Throttled, "429")
    }

    #[test]
    fn a_request_has_a_bounded_number_of_attempts() {
        let policy = RetryPolicy { attempts_per_request: 3, ..RetryPolicy::default() };
        let mut budget = Budget::new(policy);
        let zero = Some(Duration::ZERO);
        assert!(budget.spend(error(), 1, zero).is_ok());
        assert!(budget.spend(error(), 2, zero).is_ok());
        assert_eq!(budget.spend(error(), 3, zero).unwrap_err().message, "429; gave up after 3 attempts");
    }

    #[test]
    fn a_poll_has_a_bounded_number_of_retries_and_a_bounded_wait() {
        let policy =
            RetryPolicy { retries_per_poll: 2, wait_per_poll: Duration::from_secs(10), ..RetryPolicy::default() };
        let mut budget = Budget::new(policy.clone());
        assert_eq!(budget.spend(error(), 1, Some(Duration::from_secs(6))).unwrap(), Duration::from_secs(6));
        let refused = budget.spend(error(), 1, Some(Duration::from_millis(4500))).unwrap_err().message;
        assert_eq!(
            refused,
            "429; the service asks to wait 4.5 s and this poll has 4 s left; the next poll tries again"
        );
        assert!(budget.spend(error(), 1, Some(Duration::from_secs(4))).is_ok());
        assert_eq!(budget.spend(error(), 1, None).unwrap_err().message, "429; gave up after 1 attempts");
    }

    #[test]
    fn waits_double_up_to_a_bound_and_are_jittered() {
        let policy = RetryPolicy {
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(5),
            ..RetryPolicy::default()
        };
        let budget = Budget::new(policy);
        for (attempt, bound) in [(1, 1), (2, 2), (3, 4), (4, 5), (40, 5), (u32::MAX, 5)] {
            let waits: Vec<_> = (0..200).map(|_| budget.back_off(attempt)).collect();
            assert!(waits.iter().all(|wait| *wait <= Duration::from_secs(bound)), "attempt {attempt}");
            let half = Duration::from_secs(bound) / 2;
            assert!(
                waits.iter().any(|wait| *wait < half) && waits.iter().any(|wait| *wait > half),
                "attempt {attempt}"
            );
        }
    }
}
