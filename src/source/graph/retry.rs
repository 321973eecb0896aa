//! When an attempt is made again, and how long after. Pure but for the sleep itself.

use std::time::{Duration, Instant, SystemTime};

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
    /// How long one poll spends in all on attempts that fail and on the waits after them. The attempt
    /// that begins last may go on beyond it, as long as its time-outs allow.
    pub loss_per_poll: Duration,
    /// The upper bound of the first wait where the service names none; it doubles with each attempt.
    pub first_wait: Duration,
    /// The upper bound of every such wait.
    pub longest_wait: Duration,
    /// What the minute of `requests_per_minute` is: a minute, except in tests.
    pub minute: Duration,
    /// How long after its submission an export job is first looked at. The wait grows by half with each
    /// look.
    pub first_look: Duration,
    /// The upper bound of that wait.
    pub longest_look: Duration,
    /// When one attempt is given up.
    pub timeouts: Timeouts,
}

/// The time-outs of one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timeouts {
    /// For a connection.
    pub connect: Duration,
    /// Between two pieces of an answer, and before its first.
    pub read: Duration,
    /// For the attempt as a whole.
    pub total: Duration,
    /// For a connection to show that it is alive, first before it is asked and then again for its answer,
    /// while somebody waits for something on it.
    pub keep_alive: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts_per_request: 6,
            retries_per_poll: 50,
            // With one read time-out more it is below the default poll interval of five minutes: a
            // service that hangs costs a poll no turn, and holds its place among the polls no longer.
            loss_per_poll: Duration::from_secs(180),
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(30),
            minute: Duration::from_secs(60),
            // Small exports take seconds, large ones minutes; a look every half minute is far below the
            // service's 48 requests a minute.
            first_look: Duration::from_secs(1),
            longest_look: Duration::from_secs(30),
            timeouts: Timeouts::default(),
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            // To a service that is there, connecting takes well under a second.
            connect: Duration::from_secs(10),
            // The report can take long to be made.
            read: Duration::from_secs(60),
            // An answer cannot drip for ever.
            total: Duration::from_secs(240),
            // A firewall that has forgotten a connection would stall every tenant that shares it.
            keep_alive: Duration::from_secs(15),
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

/// Which attempt it was, and since when it went on.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// Its number, from 1.
    pub number: u32,
    /// When it began.
    pub began: Instant,
}

impl Attempt {
    /// The first attempt, which begins now.
    pub fn first() -> Self {
        Self { number: 1, began: Instant::now() }
    }

    /// The attempt after this one, which begins now.
    pub fn next(self) -> Self {
        Self { number: self.number.saturating_add(1), began: Instant::now() }
    }
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
    time_left: Duration,
}

impl Budget {
    /// A poll's whole patience.
    pub fn new(policy: RetryPolicy) -> Self {
        Self { retries_left: policy.retries_per_poll, time_left: policy.loss_per_poll, policy }
    }

    /// Sleeps until the request may be sent again, or gives the error back, with the reason why not.
    /// `attempt` is the one that failed just now. Tells whether a new connection is wanted.
    pub(super) async fn pause(
        &mut self,
        failure: Failure,
        attempt: Attempt,
        observer: &dyn Observer,
    ) -> Result<bool, SourceError> {
        let Retry::After { asked, fresh } = failure.retry else { return Err(failure.error) };
        let wait = self.spend(failure.error, attempt.number, attempt.began.elapsed(), asked)?;
        tokio::time::sleep(wait).await;
        observer.retry();
        Ok(fresh)
    }

    fn spend(
        &mut self,
        mut error: SourceError,
        attempt: u32,
        lost: Duration,
        asked: Option<Duration>,
    ) -> Result<Duration, SourceError> {
        self.time_left = self.time_left.saturating_sub(lost);
        if attempt >= self.policy.attempts_per_request || self.retries_left == 0 {
            error.message.push_str(&gave_up(attempt));
            return Err(error);
        }
        let wait = asked.unwrap_or_else(|| self.back_off(attempt));
        if wait > self.time_left || self.time_left.is_zero() {
            let left = self.time_left.as_secs();
            error.message.push_str(&match asked {
                Some(asked) => format!(
                    "; the service asks to wait {} s and this poll has {left} s left; the next poll tries again",
                    asked.as_secs_f64()
                ),
                None => format!("{}: this poll has {left} s left", gave_up(attempt)),
            });
            return Err(error);
        }
        self.retries_left -= 1;
        self.time_left -= wait;
        tracing::info!(attempt, wait_seconds = wait.as_secs_f64(), reason = %error.message, "trying again");
        Ok(wait)
    }

    /// Exponential, with full jitter: clients that failed together do not come back together.
    fn back_off(&self, attempt: u32) -> Duration {
        let doubled = self.policy.first_wait.saturating_mul(2u32.saturating_pow(attempt.saturating_sub(1)));
        doubled.min(self.policy.longest_wait).mul_f64(rand::rng().random())
    }
}

fn gave_up(attempts: u32) -> String {
    if attempts == 1 { "; gave up after 1 attempt".to_owned() } else { format!("; gave up after {attempts} attempts") }
}

/// What `Retry-After` asks for: seconds, with a fraction or not, or a date, which is taken relative to
/// the answer's own `Date` since the two clocks may differ.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
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
        let (zero, no_time) = (Some(Duration::ZERO), Duration::ZERO);
        assert!(budget.spend(error(), 1, no_time, zero).is_ok());
        assert!(budget.spend(error(), 2, no_time, zero).is_ok());
        assert_eq!(budget.spend(error(), 3, no_time, zero).unwrap_err().message, "429; gave up after 3 attempts");
    }

    #[test]
    fn a_poll_has_a_bounded_number_of_retries_and_loses_a_bounded_time() {
        let seconds = Duration::from_secs_f64;
        let policy = RetryPolicy { retries_per_poll: 2, loss_per_poll: seconds(10.0), ..RetryPolicy::default() };
        let mut budget = Budget::new(policy);
        assert_eq!(budget.spend(error(), 1, seconds(0.0), Some(seconds(6.0))).unwrap(), seconds(6.0));
        let refused = budget.spend(error(), 1, seconds(0.0), Some(seconds(4.5))).unwrap_err().message;
        assert_eq!(
            refused,
            "429; the service asks to wait 4.5 s and this poll has 4 s left; the next poll tries again"
        );
        assert!(budget.spend(error(), 1, seconds(0.0), Some(seconds(3.0))).is_ok());
        assert_eq!(budget.spend(error(), 1, seconds(0.0), None).unwrap_err().message, "429; gave up after 1 attempt");
    }

    #[test]
    fn an_attempt_that_fails_late_costs_its_time() {
        let seconds = Duration::from_secs;
        let mut budget = Budget::new(RetryPolicy { loss_per_poll: seconds(180), ..RetryPolicy::default() });
        let now = Some(Duration::ZERO);
        assert!(budget.spend(error(), 1, seconds(60), now).is_ok());
        assert!(budget.spend(error(), 2, seconds(60), now).is_ok());
        assert_eq!(
            budget.spend(error(), 3, seconds(60), None).unwrap_err().message,
            "429; gave up after 3 attempts: this poll has 0 s left"
        );
        assert!(budget.spend(error(), 3, seconds(1), now).is_err(), "not even at once");
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
