//! The steps one after the other: what fails keeps those that follow from being made.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::network::rough;
use super::{Clock, Detail, Outcome, Step, StepName};
use crate::session::Label as _;
use crate::source::{Endpoint, Far, Observer, Progress, SourceError};
use crate::status::FailureReason;

/// A clock that differs by more is worth a look: tokens are valid from the minute in which they are made.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::minutes(5);
/// A clock that differs by more is not believed by the ledger either.
const CLOCK_LIMIT: TimeDelta = TimeDelta::days(1);

/// The outcome of a step, its detail, and what later steps need of it.
pub(super) struct Finding<T> {
    pub outcome: Outcome,
    pub detail: Option<Detail>,
    pub passed_on: T,
}

/// The steps so far.
#[derive(Default)]
pub(super) struct Walk {
    pub steps: Vec<Step>,
    failed: Option<StepName>,
    progress: Option<Arc<dyn Progress>>,
}

/// Tells of the steps within a reading, and not how little of the whole one page is.
pub(super) struct StepsOnly(pub Arc<dyn Progress>);

impl Progress for StepsOnly {
    fn page(&self, _: Far) {}

    fn step(&self, what: &'static str) {
        self.0.step(what);
    }

    fn ended(&self, _: bool) {}
}

impl Walk {
    /// Tells of each step that begins.
    pub fn telling(progress: Arc<dyn Progress>) -> Self {
        Self { progress: Some(progress), ..Self::default() }
    }

    pub fn push(&mut self, name: StepName, outcome: Outcome, detail: Option<Detail>) {
        if matches!(outcome, Outcome::Failed(_)) {
            self.failed.get_or_insert(name);
        }
        self.steps.push(Step { name, outcome, detail });
    }

    /// Makes a step, unless an earlier one has failed.
    pub async fn step<T: Default>(&mut self, name: StepName, finding: impl Future<Output = Finding<T>>) -> T {
        if let Some(because) = self.failed {
            self.push(name, Outcome::Skipped(because), None);
            return T::default();
        }
        if let Some(progress) = &self.progress {
            progress.step(name.as_str());
        }
        let Finding { outcome, detail, passed_on } = finding.await;
        self.push(name, outcome, detail);
        passed_on
    }

    pub fn not_applicable(&mut self, name: StepName, why: &str) {
        match self.failed {
            Some(because) => self.push(name, Outcome::Skipped(because), None),
            None => self.push(name, Outcome::NotApplicable(why.to_owned()), None),
        }
    }

    pub fn leave_rest(&mut self, why: &str) {
        let done = self.steps.len();
        for name in StepName::ALL.iter().skip(done) {
            self.not_applicable(*name, why);
        }
    }

    /// Every answer tells the time, also one that refuses: then it may be the reason.
    pub fn clock(&mut self, heard: Option<Clock>) {
        let Some(clock) = heard else {
            return self.not_applicable(StepName::Clock, "no answer told the time");
        };
        let (ahead, detail) = (clock.ahead(), Some(Detail::Clock(clock)));
        let outcome = if ahead.abs() <= CLOCK_TOLERANCE {
            Outcome::Fine
        } else {
            let direction = if ahead > TimeDelta::zero() { "ahead of" } else { "behind" };
            let apart = rough(ahead.abs());
            let message =
                format!("this machine's clock is {apart} {direction} the service's; set it, for instance by NTP");
            if ahead.abs() <= CLOCK_LIMIT {
                Outcome::Warning(message)
            } else {
                Outcome::Failed(SourceError::new(FailureReason::InvalidResponse, message))
            }
        };
        self.push(StepName::Clock, outcome, detail);
    }
}

/// Hears what the client tells while it asks.
pub(super) struct Ear {
    now: fn() -> DateTime<Utc>,
    date: Mutex<Option<Clock>>,
    token_expires: Mutex<Option<DateTime<Utc>>>,
}

impl Ear {
    pub fn new(now: fn() -> DateTime<Utc>) -> Self {
        Self { now, date: Mutex::default(), token_expires: Mutex::default() }
    }

    pub fn heard(&self) -> Option<Clock> {
        *self.date.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn token_expires(&self) -> Option<DateTime<Utc>> {
        *self.token_expires.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Ear {
    fn request(&self, _: Endpoint, _: Option<u16>, _: Duration) {}

    fn retry(&self) {}

    fn throttled(&self) {}

    fn held_back(&self, _: Duration) {}

    fn token_expires(&self, at: DateTime<Utc>) {
        *self.token_expires.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
    }

    fn date(&self, service: DateTime<Utc>) {
        let clock = Clock { service, machine: (self.now)() };
        *self.date.lock().unwrap_or_else(PoisonError::into_inner) = Some(clock);
    }
}
