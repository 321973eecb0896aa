//! Exports that go astray: at Graph, which runs the job, and at the blob storage that has its file. That
//! the token never went there and the signature nowhere else is checked with each of them.

mod downloads;
mod jobs;

use std::cell::RefCell;
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use remote_assistance_exporter::cli::{LogFormat, LogLevel};
use remote_assistance_exporter::config;
use remote_assistance_exporter::logging;
use remote_assistance_exporter::simulator::{Options, Recorded, Scenario};
use remote_assistance_exporter::source::{Network, RetryPolicy, Source};

use super::bench::{Bench, Outcome, Witness, configuration, quick, read};

/// Longer than any job takes that is not stranded, on a machine that is busy.
const JOB_TIMEOUT: Duration = Duration::from_secs(20);

/// A bench with a log of everything that is said at the level that says most.
struct Exports {
    bench: Bench,
    job_timeout: Duration,
    log: Log,
}

type Log = Arc<Mutex<Vec<String>>>;

thread_local! {
    /// Where the lines of a test's own thread go.
    static LOG: RefCell<Option<Log>> = const { RefCell::new(None) };
}

/// Begins the log of this thread. One subscriber serves the whole process: with one for each thread, what
/// is not enabled in one can be taken for enabled nowhere while another begins.
fn begin_log() -> Log {
    static BEGUN: Once = Once::new();
    BEGUN.call_once(|| {
        let subscriber = logging::subscriber(LogLevel::Trace, LogFormat::Logfmt, |line| {
            LOG.with_borrow(|log| {
                log.iter().for_each(|log| log.lock().unwrap().push(line.trim_end().to_owned()));
            });
        });
        tracing::subscriber::set_global_default(subscriber).unwrap();
    });
    let log = Log::default();
    LOG.set(Some(log.clone()));
    log
}

impl Exports {
    async fn start() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Options)) -> Self {
        let bench = Bench::with(change).await;
        Self { bench, job_timeout: JOB_TIMEOUT, log: begin_log() }
    }

    /// The source of the tenant, with other keys besides the kind, and little patience.
    fn source(&self, keys: &str) -> (Source, Arc<Witness>) {
        let Bench { simulator, tenant, directory, .. } = &self.bench;
        let source = format!("{{kind: export_job, {keys}}}");
        let mut config = configuration(simulator, tenant, &source, directory.path());
        let config::Source::ExportJob { job_timeout, .. } = &mut config.tenants[0].source else { panic!("{config:?}") };
        *job_timeout = self.job_timeout;
        let look = Duration::from_millis(10);
        let policy = RetryPolicy { first_look: look, longest_look: look, minute: Duration::from_millis(1), ..quick() };
        let (witness, network) = (Arc::new(Witness::default()), Network::new(|_| None));
        (Source::with_policy(&config.tenants[0], &network, witness.clone(), policy).unwrap(), witness)
    }

    /// Reads everything under a scenario, for so many requests or for ever.
    async fn read(&self, scenario: Scenario, requests: Option<u32>) -> Outcome {
        match requests {
            Some(requests) => self.bench.tenant.set_scenario_for(scenario, requests),
            None => self.bench.tenant.set_scenario(scenario),
        }
        let outcome = read(self.source("")).await;
        self.check(&outcome);
        outcome
    }

    /// How many jobs were submitted.
    fn submitted(&self) -> usize {
        self.bench.calls().iter().filter(|call| *call == "POST job 201").count()
    }

    fn downloads(&self) -> Vec<Recorded> {
        self.bench.tenant.downloads()
    }

    /// The log's warnings, from the message on.
    fn warnings(&self) -> String {
        let log = self.log.lock().unwrap();
        let warnings = log.iter().filter(|line| line.contains("level=warn"));
        warnings.map(|line| line.split_once(" msg=").unwrap().1).collect::<Vec<_>>().join("\n")
    }

    /// Fails the test where the token went to blob storage, or where its text or that of a signature is
    /// in the log or in the error.
    #[track_caller]
    fn check(&self, outcome: &Outcome) {
        self.bench.check_requests();
        let mut secrets = self.bench.simulator.tokens();
        assert!(!secrets.is_empty());
        for download in self.downloads() {
            assert!(!download.authorization, "{download:?}");
            let query = download.path.split_once('?').unwrap().1;
            let signature = query.split('&').find_map(|pair| pair.strip_prefix("sig=")).unwrap();
            let plain = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "sig").unwrap().1;
            secrets.extend([signature.to_owned(), plain.into_owned(), query.to_owned()]);
        }
        let log = self.log.lock().unwrap();
        assert!(log.iter().any(|line| line.contains("endpoint=export_job")), "the log is the client's");
        let error = outcome.error.iter().map(|error| &error.message);
        for text in log.iter().chain(error) {
            assert!(!secrets.iter().any(|secret| text.contains(secret)) && !text.contains("sig="), "{text}");
        }
    }
}
