//! What the log hears of a tenant's polls. A trouble that stays is told once, not at each poll for 30
//! days. The tenant's name comes from the span.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tracing::{debug, error, info, warn};

use super::{Failure, Summary};
use crate::session::Label as _;
use crate::source::enrollment::News;
use crate::status::FailureReason;

/// What was told already.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// How many rows of the last reading were rejected.
    rejected: AtomicU64,
    /// How many of its rows were missing.
    missing: AtomicU64,
    /// Whether the clocks differed.
    clocks: AtomicBool,
    /// Why the enrolment look-up last failed; nothing while it is well.
    lookup: Mutex<Option<FailureReason>>,
}

impl Told {
    /// A poll has ended.
    pub fn poll(&self, result: &Result<Summary, Failure>, took: Duration) {
        match result {
            Ok(summary) => self.success(summary, took),
            Err(failure) => {
                error!(reason = failure.reason_label(), error = failure.message, "Poll failed");
            }
        }
    }

    fn success(&self, summary: &Summary, took: Duration) {
        info!(read = summary.read, counted = summary.counted, duration = ?took, "Poll succeeded");
        if changed(&self.missing, summary.rows_missing) && summary.rows_missing > 0 {
            warn!(
                missing = summary.rows_missing,
                "The service delivers fewer rows than it promises; each poll reads them again"
            );
        }
        if (changed(&self.rejected, summary.rejected) || summary.rows_come_once)
            && let Some(first) = &summary.first_reject
        {
            warn!(
                rejected = summary.rejected,
                session = first.id.as_deref().unwrap_or("unknown"),
                error = %first,
                "Rows could not be read; they count when a later poll brings them repaired"
            );
        }
    }

    /// The enrolment look-up did this, and so many devices are known after it.
    pub fn lookup(&self, news: &News, devices: usize) {
        let mut told = self.lookup.lock().unwrap_or_else(PoisonError::into_inner);
        match news {
            News::Kept => {}
            News::UnderWay(listed) => {
                info!(listed, "Listing devices for their enrollment states takes longer; the next poll goes on");
            }
            News::Refreshed if told.take().is_some() => info!(devices, "Enrollment states are looked up again"),
            News::Refreshed => debug!(devices, "Enrollment states looked up"),
            News::Failed(error) if told.replace(error.reason) != Some(error.reason) => {
                warn!(
                    reason = error.reason.as_str(),
                    error = error.message,
                    devices,
                    "Enrollment states could not be looked up; polls go on with what was known before"
                );
            }
            News::Failed(_) => {}
        }
    }

    /// The service's time was seen.
    pub fn clocks(&self, differ: bool, machine: DateTime<Utc>, service: DateTime<Utc>) {
        if differ && !self.clocks.swap(true, Ordering::Relaxed) {
            warn!(%machine, %service, "The clocks differ by over a day; the service's is believed");
        }
        if !differ {
            self.clocks.store(false, Ordering::Relaxed);
        }
    }
}

fn changed(last: &AtomicU64, now: u64) -> bool {
    last.swap(now, Ordering::Relaxed) != now
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use chrono::TimeDelta;

    use super::*;
    use crate::cli::{LogFormat, LogLevel};
    use crate::logging;
    use crate::session::{Reject, RejectReason};
    use crate::source::SourceError;

    /// The warnings that `tell` makes, each with what stands after the message.
    fn warnings(tell: impl FnOnce(&Told)) -> Vec<String> {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = lines.clone();
        let subscriber = logging::subscriber(LogLevel::Warn, LogFormat::Logfmt, move |line| {
            sink.lock().unwrap().push(line.split_once(" msg=").unwrap().1.trim_end().to_owned());
        });
        tracing::subscriber::with_default(subscriber, || tell(&Told::default()));
        lines.lock().unwrap().clone()
    }

    fn success(rejected: u64, rows_missing: u64) -> Result<Summary, Failure> {
        let reject = Reject::anonymous(RejectReason::MissingId, "id is missing");
        Ok(Summary { rejected, rows_missing, first_reject: (rejected > 0).then_some(reject), ..Summary::default() })
    }

    #[test]
    fn what_stays_is_told_once_and_again_when_it_changes() {
        let told = warnings(|told| {
            for (rejected, missing) in [(2, 7), (2, 7), (2, 7), (1, 7), (1, 0), (0, 0), (1, 0)] {
                told.poll(&success(rejected, missing), Duration::ZERO);
            }
        });
        let missing = r#""The service delivers fewer rows than it promises; each poll reads them again" missing=7"#;
        let rejected = |number: u64| {
            format!(
                r#""Rows could not be read; they count when a later poll brings them repaired" rejected={number} session=unknown error="missing_id: id is missing""#
            )
        };
        assert_eq!(told, [missing.to_owned(), rejected(2), rejected(1), rejected(1)]);
    }

    #[test]
    fn rows_that_come_once_are_told_each_time() {
        let told = warnings(|told| {
            for rejected in [2, 2, 0] {
                let summary = Summary { rows_come_once: true, ..success(rejected, 0).unwrap() };
                told.poll(&Ok(summary), Duration::ZERO);
            }
        });
        assert_eq!(told.len(), 2, "{told:?}");
    }

    #[test]
    fn a_failing_look_up_is_told_once_until_it_changes() {
        let failed = |reason| News::Failed(SourceError::new(reason, "403"));
        let told = warnings(|told| {
            for news in [
                failed(FailureReason::Forbidden),
                failed(FailureReason::Forbidden),
                News::Kept,
                failed(FailureReason::Timeout),
                News::Refreshed,
                failed(FailureReason::Timeout),
            ] {
                told.lookup(&news, 7);
            }
        });
        let line = |reason| {
            format!(
                r#""Enrollment states could not be looked up; polls go on with what was known before" reason={reason} error=403 devices=7"#
            )
        };
        assert_eq!(told, [line("forbidden"), line("timeout"), line("timeout")]);
    }

    #[test]
    fn clocks_that_differ_are_told_once_until_they_agree() {
        let (machine, service) = (DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH + TimeDelta::days(2));
        let told = warnings(|told| {
            for differ in [true, true, false, true] {
                told.clocks(differ, machine, service);
            }
        });
        let line = r#""The clocks differ by over a day; the service's is believed" machine="1970-01-01 00:00:00 UTC" service="1970-01-03 00:00:00 UTC""#;
        assert_eq!(told, [line; 2]);
    }
}
