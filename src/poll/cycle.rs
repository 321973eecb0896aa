//! One cycle of one tenant: source to ledger.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::{TenantPoll, enrollment};
use crate::clock;
use crate::ledger::totals::Fate;
use crate::ledger::writer::{WriteError, Writer};
use crate::ledger::{Batch, Clock, EndOfReading};
use crate::session::{DeviceStates, Label as _, Reject, SessionReport};
use crate::source::{Reading, SourceError};
use crate::status::FailureReason;

/// Reports in one transaction: enough that the disk's sync does not matter, few enough to bound
/// memory (some kilobytes each, for every poll under way).
pub const BATCH_REPORTS: usize = 3_000;
/// Clocks that differ by more are not both right.
const MAX_CLOCK_DIFFERENCE: TimeDelta = TimeDelta::days(1);

/// What a successful poll did.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Reports read.
    pub read: u64,
    /// Sessions counted.
    pub counted: u64,
    /// Rows rejected.
    pub rejected: u64,
    /// The first of them that the log has to hear of, if any.
    pub first_reject: Option<Reject>,
    /// Whether each reading brings other rows: then those of the last one say nothing of this one's.
    pub rows_come_once: bool,
    /// Rows promised and not delivered.
    pub rows_missing: u64,
}

/// A poll that failed: what it had committed before stays counted.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The label of `poll_failures_total`.
    pub reason: FailureReason,
    /// The cause and the remedy, on one line.
    pub message: String,
}

impl Failure {
    /// The reason as it stands in the exposition.
    pub fn reason_label(&self) -> &'static str {
        self.reason.as_str()
    }
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        Self { reason: error.reason, message: error.message }
    }
}

impl From<WriteError> for Failure {
    fn from(error: WriteError) -> Self {
        Self { reason: FailureReason::Ledger, message: error.to_string() }
    }
}

/// Reads everything that the source has, and has it counted batch by batch.
pub(super) async fn run(tenant: Arc<TenantPoll>, writer: Writer) -> Result<Summary, Failure> {
    // Before the reports are read: what a session lacks is completed when it is counted, which is once.
    let devices = enrollment::devices(&tenant).await;
    let mut reading = tenant.source.read();
    let summary = Summary { rows_come_once: reading.tells_rejects(), ..Summary::default() };
    let mut counting = Counting { tenant: &tenant, writer: &writer, devices, summary, pending: None, batches: 0 };
    let result = loop {
        match reading.next_page().await {
            Ok(Some(page)) => {
                counting.take(page.reports, page.rejects);
                if counting.is_full() {
                    counting.commit(clock_of(&tenant, &reading), None).await?;
                }
            }
            Ok(None) => break Ok(EndOfReading { rows_missing: reading.rows_missing() }),
            Err(error) => break Err(error),
        }
    };
    let clock = clock_of(&tenant, &reading);
    match result {
        Ok(end) => {
            counting.commit(clock, Some(end)).await?;
            reading.committed();
            counting.summary.rows_missing = end.rows_missing;
            Ok(counting.summary)
        }
        Err(error) => {
            // The pages before the failure are good: what they hold need not be read again.
            if counting.pending.is_some() {
                counting.commit(clock, None).await?;
            }
            reading.committed();
            Err(error.into())
        }
    }
}

struct Counting<'a> {
    tenant: &'a TenantPoll,
    writer: &'a Writer,
    devices: Arc<DeviceStates>,
    summary: Summary,
    pending: Option<(Vec<SessionReport>, Vec<Reject>)>,
    batches: u32,
}

impl Counting<'_> {
    fn take(&mut self, reports: Vec<SessionReport>, rejects: Vec<Reject>) {
        let pending = self.pending.get_or_insert_default();
        pending.0.extend(reports);
        pending.1.extend(rejects);
    }

    fn is_full(&self) -> bool {
        self.pending.as_ref().is_some_and(|(reports, rejects)| reports.len() + rejects.len() >= BATCH_REPORTS)
    }

    async fn commit(&mut self, clock: Clock, end: Option<EndOfReading>) -> Result<(), WriteError> {
        let (reports, rejects) = self.pending.take().unwrap_or_default();
        self.summary.read += (reports.len() + rejects.len()) as u64;
        let first = self.batches == 0;
        // Those come last among all that are rejected.
        let told = if self.summary.rows_come_once { rejects.len() } else { 0 };
        self.batches += 1;
        let (tenant, devices) = (self.tenant.name.clone(), self.devices.clone());
        let batch = Batch { tenant, clock, first, reports, devices, rejects, end };
        let applied = match self.writer.commit(batch).await {
            // A reload has taken the tenant away, and ends this poll at once: it has not failed.
            Err(WriteError::NotConfigured) => std::future::pending().await,
            applied => applied?,
        };
        self.tenant.show(&applied.tenant);
        self.summary.counted += applied.fates[Fate::Counted];
        self.summary.rejected += applied.rejects.len() as u64;
        if self.summary.first_reject.is_none() {
            let untold = applied.rejects.len().saturating_sub(told);
            self.summary.first_reject = applied.rejects.into_iter().take(untold).next();
        }
        Ok(())
    }
}

fn clock_of(tenant: &TenantPoll, reading: &Reading) -> Clock {
    let machine = clock::now();
    let (mut clock, disagree) = believe(reading.date(), machine);
    if let Some(written) = reading.written() {
        // A second witness, where no service is one: with the machine's clock alone, a jump ahead would
        // cost every session since.
        clock.cautious = clock.cautious.min(written);
    }
    tenant.told.clocks(disagree, machine, clock.now);
    clock
}

/// The time to judge by, and whether the machine's clock is so far off that it should be said.
fn believe(service: Option<DateTime<Utc>>, machine: DateTime<Utc>) -> (Clock, bool) {
    let now = service.unwrap_or(machine);
    let disagree = (now - machine).abs() > MAX_CLOCK_DIFFERENCE;
    (Clock { now, cautious: now.min(machine) }, disagree)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::Config;
    use crate::ledger::{Ledger, Settings, writer};
    use crate::metrics::{Build, Own};
    use crate::source::Network;

    struct Deaf;

    impl writer::Observer for Deaf {
        fn commit(&self, _: Duration, _: bool) {}
        fn alive(&self) {}
    }

    /// Its loop's end is what ends it: a failure would be told of a tenant that is no more.
    #[tokio::test(start_paused = true)]
    async fn a_poll_whose_tenant_is_taken_away_does_not_fail() {
        let directory = tempfile::tempdir().unwrap();
        let yaml = "tenants: [{name: a, source: {kind: files, directory: .}}]";
        let config = Config::from_yaml(yaml, &directory.path().join("exporter.yaml")).unwrap();
        let build = Build { version: "", revision: "", rust_version: "" };
        let own = Own::new(&build, clock::now).unwrap();
        let network = Network::new(|_| None);
        let poll = TenantPoll::new(&config.tenants[0], &network, own.tenant("a"), Arc::default()).unwrap();
        let nobody = Settings { tenants: Vec::new(), ..Settings::new(&config) };
        let ledger = Ledger::open(&directory.path().join("data"), nobody, clock::now()).unwrap();
        let (writer, _, _) = Writer::start(ledger, Arc::new(Deaf));
        // The clock moves on once nothing else is under way.
        let ended = tokio::time::timeout(Duration::from_secs(60), run(Arc::new(poll), writer)).await;
        assert!(ended.is_err(), "{ended:?}");
    }

    #[test]
    fn the_services_time_is_believed_and_the_earlier_one_moves_the_horizon() {
        let machine = DateTime::UNIX_EPOCH + TimeDelta::days(1000);
        let (clock, disagree) = believe(None, machine);
        assert_eq!((clock.now, clock.cautious, disagree), (machine, machine, false));
        let ahead = machine + TimeDelta::days(2);
        let (clock, disagree) = believe(Some(ahead), machine);
        assert_eq!((clock.now, clock.cautious, disagree), (ahead, machine, true));
        let behind = machine - TimeDelta::hours(23);
        let (clock, disagree) = believe(Some(behind), machine);
        assert_eq!((clock.now, clock.cautious, disagree), (behind, behind, false));
    }
}
