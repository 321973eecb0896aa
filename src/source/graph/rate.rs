//! Keeps requests below the limits of the service before it has to say so.
//!
//! For export jobs Microsoft documents 48 requests a minute for an application and 100 for a tenant;
//! whether its other reports have the same limits is not published. They are counted together here: a
//! service that refuses most of a long reading's pages would never let it come to its end. A window is
//! exact where a bucket of tokens is not: a full bucket lets nearly twice its rate through in the first
//! minute.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderMap;
use url::Url;

use crate::source::{Observer, SourceError};
use crate::status::FailureReason;

/// Where the limits hold: below this, under whichever version.
const REPORTS: &str = "/deviceManagement/reports/";
/// Requests a minute for one tenant, whichever application sends them.
const TENANT_REQUESTS: u32 = 100;
/// One request waits no longer: with this, every poll that can go on at a time has had a few turns.
const LONGEST_WAIT: Duration = Duration::from_secs(5 * 60);
/// After so much waiting in all the log says why polls take long, once.
const TOLD_AFTER: Duration = Duration::from_secs(60);
/// From this share of a limit on, the service tells how much of it is used up.
const NEARLY: f64 = 0.8;
/// The wait before the next request at that share, and the longest one: it grows with the share.
const EASED: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// The requests of a period of this length. How many there may be says whoever wants to send one: tenants that
/// share a window may have different limits, and a reload may change them.
#[derive(Debug)]
pub(super) struct Window {
    period: Duration,
    turns: Mutex<Turns>,
}

#[derive(Debug, Default)]
struct Turns {
    /// When the latest requests went out or will, in order: as many as the largest limit.
    latest: VecDeque<Instant>,
    largest_limit: usize,
}

/// A window, and how many requests it may have.
type Limited<'w> = (&'w Window, u32);

/// The limits of one tenant's requests.
pub(super) struct Rate {
    application: Arc<Window>,
    tenant: Arc<Window>,
    /// So many of its application in a minute.
    requests: u32,
    /// The service has said that a limit is near: nothing goes out before.
    eased_until: Mutex<Option<Instant>>,
    waited_millis: AtomicU64,
    told: AtomicBool,
}

impl Window {
    /// Of this period.
    pub fn new(period: Duration) -> Self {
        // On the way, two requests can come closer to each other than they were sent.
        Self { period: period + period / 50, turns: Mutex::default() }
    }
}

/// The next turn in all of these windows, and takes it; or how long until then, if that is too long.
fn turn(windows: &[Limited<'_>], now: Instant, longest: Duration) -> Result<Instant, Duration> {
    // Everybody locks in the same order: applications before tenants.
    let mut held: Vec<MutexGuard<'_, Turns>> = windows.iter().map(|(window, _)| lock(&window.turns)).collect();
    let mut at = now;
    for ((window, limit), turns) in windows.iter().zip(&held) {
        let oldest = turns.latest.len().checked_sub(*limit as usize);
        let free = oldest.and_then(|oldest| turns.latest.get(oldest)).map(|turn| *turn + window.period);
        // Not before whoever came first.
        at = at.max(free.unwrap_or(now)).max(turns.latest.back().copied().unwrap_or(now));
    }
    let wait = at.saturating_duration_since(now);
    if wait > longest {
        return Err(wait);
    }
    for ((_, limit), turns) in windows.iter().zip(&mut held) {
        turns.largest_limit = turns.largest_limit.max(*limit as usize);
        turns.latest.push_back(at);
        if turns.latest.len() > turns.largest_limit {
            turns.latest.pop_front();
        }
    }
    Ok(at)
}

impl Rate {
    /// At most so many requests of the application, and no fewer of the tenant, with whoever holds the same
    /// windows.
    pub fn new(application: Arc<Window>, tenant: Arc<Window>, requests: u32) -> Self {
        Self {
            application,
            tenant,
            requests,
            eased_until: Mutex::default(),
            waited_millis: AtomicU64::new(0),
            told: AtomicBool::new(false),
        }
    }

    /// Waits until a request for this address may go out.
    pub async fn wait(&self, url: &Url, observer: &dyn Observer) -> Result<(), SourceError> {
        let now = Instant::now();
        let mut until = lock(&self.eased_until).unwrap_or(now);
        if url.path().contains(REPORTS) {
            let limits = [(&*self.application, self.requests), (&*self.tenant, TENANT_REQUESTS.max(self.requests))];
            let turn = turn(&limits, now, LONGEST_WAIT).map_err(|wait| self.crowded(wait))?;
            until = until.max(turn);
        }
        let wait = until.saturating_duration_since(now);
        if wait.is_zero() {
            return Ok(());
        }
        tracing::debug!(wait_seconds = wait.as_secs_f64(), "holding a request back to keep below the service's limits");
        tokio::time::sleep(wait).await;
        observer.held_back(wait);
        let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let waited = self.waited_millis.fetch_add(millis, Ordering::Relaxed).saturating_add(millis);
        if u128::from(waited) >= TOLD_AFTER.as_millis() && !self.told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                requests_per_minute = self.requests,
                "Polls take longer because requests are held back to keep below the service's limits; a larger \
                 source.page_size asks less often, and requests_per_minute can be raised if the service allows more"
            );
        }
        Ok(())
    }

    /// Takes note of what an answer says of the service's limits.
    pub fn heard(&self, headers: &HeaderMap) {
        let text = headers.get("x-ms-throttle-limit-percentage").and_then(|value| value.to_str().ok());
        let used = text.and_then(|text| text.trim().parse::<f64>().ok()).filter(|used| used.is_finite());
        let eased = used.filter(|used| *used >= NEARLY).map(|used| {
            let (first, longest) = EASED;
            // The service tells up to a share of 1.8.
            let wait = first + (longest - first).mul_f64((used - NEARLY).clamp(0.0, 1.0));
            tracing::debug!(used, wait_seconds = wait.as_secs_f64(), "the service says that a limit is near");
            Instant::now() + wait
        });
        *lock(&self.eased_until) = eased;
    }

    #[cfg(test)]
    pub fn shares(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.application, &other.application)
    }

    fn crowded(&self, wait: Duration) -> SourceError {
        let (limit, seconds) = (self.requests, wait.as_secs());
        let message = format!(
            "{limit} requests a minute are not enough for all that is asked for with this application: the next is \
             free in {seconds} s; raise requests_per_minute if the service allows more, or poll less often"
        );
        SourceError::new(FailureReason::Throttled, message)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::testing::Witness;

    const MINUTE: Duration = Duration::from_secs(60);
    const FOR_EVER: Duration = Duration::from_secs(1 << 30);

    fn seconds(turns: &[Instant], start: Instant) -> Vec<f64> {
        turns.iter().map(|turn| turn.duration_since(start).as_secs_f64()).collect()
    }

    #[test]
    fn a_window_lets_its_limit_through_at_once_and_the_next_when_the_first_is_out_of_it() {
        let (window, start) = (Window::new(MINUTE), Instant::now());
        let turns: Vec<_> = (0..7).map(|_| turn(&[(&window, 3)], start, FOR_EVER).unwrap()).collect();
        assert_eq!(seconds(&turns, start), [0.0, 0.0, 0.0, 61.2, 61.2, 61.2, 122.4]);
        let later = start + Duration::from_secs(1000);
        assert_eq!(turn(&[(&window, 3)], later, FOR_EVER), Ok(later));
    }

    #[test]
    fn the_tighter_window_decides_and_both_take_note() {
        let (application, tenant, start) = (Window::new(MINUTE), Window::new(MINUTE), Instant::now());
        let both = [(&application, 5), (&tenant, 2)];
        let turns: Vec<_> = (0..4).map(|_| turn(&both, start, FOR_EVER).unwrap()).collect();
        assert_eq!(seconds(&turns, start), [0.0, 0.0, 61.2, 61.2]);
        // Another tenant of the application comes after those who were there first.
        let others = [(&application, 5), (&Window::new(MINUTE), 2)];
        let turns: Vec<_> = (0..2).map(|_| turn(&others, start, FOR_EVER).unwrap()).collect();
        assert_eq!(seconds(&turns, start), [61.2, 61.2]);
    }

    #[test]
    fn a_turn_that_is_too_far_away_is_not_taken() {
        let (window, start) = (Window::new(MINUTE), Instant::now());
        let limited = [(&window, 1)];
        assert!(turn(&limited, start, MINUTE).is_ok());
        assert_eq!(turn(&limited, start, MINUTE), Err(Duration::from_millis(61_200)));
        assert_eq!(turn(&limited, start + MINUTE, MINUTE), Ok(start + Duration::from_millis(61_200)));
    }

    #[test]
    fn each_has_its_own_limit_in_the_window_that_all_share() {
        let (window, start) = (Window::new(MINUTE), Instant::now());
        let turns = [1, 3, 3, 1, 4].map(|limit| turn(&[(&window, limit)], start, FOR_EVER).unwrap());
        assert_eq!(seconds(&turns, start), [0.0, 0.0, 0.0, 61.2, 61.2]);
        let later = start + Duration::from_secs(1000);
        let turns = [5, 5, 5, 5, 5, 2].map(|limit| turn(&[(&window, limit)], later, FOR_EVER).unwrap());
        assert_eq!(seconds(&turns, later), [0.0, 0.0, 0.0, 0.0, 0.0, 61.2]);
        assert_eq!(lock(&window.turns).latest.len(), 5, "no more are kept than the largest limit");
    }

    proptest::proptest! {
        #[test]
        fn no_period_ever_holds_more_than_the_limit(gaps in proptest::collection::vec(0u64..40, 1..200), limit in 1u32..20) {
            let window = Window::new(MINUTE);
            let mut now = Instant::now();
            let mut turns = Vec::new();
            for gap in gaps {
                now += Duration::from_secs(gap);
                turns.push(turn(&[(&window, limit)], now, FOR_EVER).unwrap());
            }
            proptest::prop_assert!(turns.is_sorted());
            for pair in turns.windows(limit as usize + 1) {
                proptest::prop_assert!(pair[limit as usize] - pair[0] > MINUTE);
            }
        }
    }

    fn rate(requests: u32) -> Rate {
        let window = || Arc::new(Window::new(MINUTE));
        Rate::new(window(), window(), requests)
    }

    fn report() -> Url {
        Url::parse("https://graph.example/beta/deviceManagement/reports/getRemoteAssistanceSessionsReport").unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn only_reports_have_a_limit() {
        let (rate, witness) = (rate(1), Witness::default());
        let collection = Url::parse("https://graph.example/v1.0/sessions").unwrap();
        for _ in 0..9 {
            rate.wait(&collection, &witness).await.unwrap();
        }
        rate.wait(&report(), &witness).await.unwrap();
        assert!(witness.heard().is_empty());
        rate.wait(&report(), &witness).await.unwrap();
        assert_eq!(witness.heard(), ["held back"]);
        let job = Url::parse("https://graph.example/v1.0/deviceManagement/reports/exportJobs('x')").unwrap();
        rate.wait(&job, &witness).await.unwrap();
        assert_eq!(witness.heard(), ["held back"; 2]);
    }

    #[tokio::test]
    async fn who_would_wait_too_long_is_told_what_to_do() {
        let (rate, witness) = (rate(1), Witness::default());
        let windows = [(&*rate.application, 1)];
        (0..6).for_each(|_| _ = turn(&windows, Instant::now(), FOR_EVER));
        let error = rate.wait(&report(), &witness).await.unwrap_err();
        assert_eq!(error.reason, FailureReason::Throttled);
        let message = error.message.replace("in 366 s", "in 367 s");
        insta::assert_snapshot!(message, @"1 requests a minute are not enough for all that is asked for with this application: the next is free in 367 s; raise requests_per_minute if the service allows more, or poll less often");
    }

    #[test]
    fn the_services_word_that_a_limit_is_near_eases_the_next_request() {
        let rate = rate(48);
        let eased = |value: &str| {
            rate.heard(&HeaderMap::from_iter([(
                "x-ms-throttle-limit-percentage".parse().unwrap(),
                value.parse().unwrap(),
            )]));
            lock(&rate.eased_until).map(|until| until.duration_since(Instant::now()).as_secs_f64().ceil())
        };
        for (value, wait) in [("0.8", Some(1.0)), (" 1.3 ", Some(6.0)), ("1.8", Some(10.0)), ("99", Some(10.0))] {
            assert_eq!(eased(value), wait, "{value}");
        }
        for value in ["0.79", "", "much", "NaN", "inf", "-1"] {
            assert_eq!(eased(value), None, "{value}");
        }
        rate.heard(&HeaderMap::new());
        assert_eq!(*lock(&rate.eased_until), None);
    }
}
