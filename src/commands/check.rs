//! `check`: looks at the configurations and at every tenant step by step, from its configuration to a first
//! page of reports, and says what is wrong and how to mend it.

mod json;
mod table;
mod web;

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument as _, error_span};

use super::exporter::BUILD;
use super::log::Log;
use super::progress::Display;
use super::{Failure, signals, whole_configuration};
use crate::cli::{Check, CheckOutput, Cli};
use crate::clock;
use crate::config::{self, Config};
use crate::session::Label as _;
use crate::source::probe::{Outcome, Probe, Step, StepName};
use crate::source::{Network, SourceError};
use crate::status::FailureReason;
use web::Web;

/// Tenants that are looked at at the same time: most of it is waiting, and a hundred tenants whose
/// service is down take minutes rather than an hour.
const AT_A_TIME: usize = 8;

/// What was found of one tenant.
struct Report {
    tenant: Arc<str>,
    /// Which shard it belongs to, and of how many.
    shard: (u32, u32),
    steps: Vec<Step>,
}

/// How a tenant is, by its worst step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Fine,
    Warning,
    Failed,
}

/// Runs the command.
pub(super) async fn run(cli: &Cli, flags: &Check, display: &Display, log: &mut Log) -> Result<(), Failure> {
    // Both before any tenant: with either of them refused, nothing would be served.
    let configurations =
        tenants(cli).and_then(|config| Ok((config, cli.web_config_file().map(Web::read).transpose()?)));
    if let (CheckOutput::Json, Err(failure)) = (flags.output, &configurations) {
        // Whoever reads the document by a program reads it in this case too.
        print(display, &json::refused(&failure.to_string(), flags.offline, BUILD.version)?)?;
    }
    let (config, web) = configurations?;
    log.obey(&config);
    if let (CheckOutput::Table, Some(web)) = (flags.output, &web) {
        print(display, &web.text())?;
    }
    let stop = signals::stop()?;
    let total = cli.sharding().total();
    let shards: HashMap<_, _> =
        config.tenants.iter().map(|tenant| (tenant.name.clone(), config::owner(tenant, total))).collect();
    let looks = begin(&config, flags.offline, display);
    let finish = async {
        let mut reports = Vec::with_capacity(looks.len());
        for (tenant, look) in looks {
            let steps = look.await.unwrap_or_else(|_| vec![defect()]);
            let shard = (shards.get(&tenant).copied().unwrap_or_default(), total);
            let report = Report { tenant, shard, steps };
            if flags.output == CheckOutput::Table {
                print(display, &table::tenant(&report, flags.offline))?;
            }
            reports.push(report);
        }
        Ok::<_, Failure>(reports)
    };
    let reports = tokio::select! {
        reports = finish => reports?,
        () = stop.cancelled() => return Err(Failure::Other("stopped before every tenant was checked".to_owned())),
    };
    match flags.output {
        CheckOutput::Table => print(display, &table::summary(&reports))?,
        CheckOutput::Json => print(display, &json::document(web.as_ref(), &reports, flags.offline, BUILD.version)?)?,
    }
    verdict(&reports)
}

/// The tenants to look at: those of a shard where it is said which, else all.
fn tenants(cli: &Cli) -> Result<Config, Failure> {
    let shard = cli.sharding().own().map_err(Failure::Usage)?;
    let config = whole_configuration(cli)?;
    Ok(match shard {
        Some(shard) => config.of_shard(shard),
        None => config,
    })
}

type Look = (Arc<str>, AbortOnDropHandle<Vec<Step>>);

/// Begins to look at every tenant, some at a time, in the order of the configuration.
fn begin(config: &Config, offline: bool, display: &Display) -> Vec<Look> {
    let places = Arc::new(Semaphore::new(AT_A_TIME));
    let network = Arc::new(Network::new(|name| std::env::var(name).ok()));
    let begin = |tenant: &config::Tenant| {
        let probe = Probe::new(tenant, network.clone(), clock::now, display.tenant(&tenant.name));
        let places = places.clone();
        let look = async move {
            // The semaphore is never closed, so this is a place.
            let _place = places.acquire().await;
            if offline { probe.offline() } else { probe.online().await }
        };
        let look = tokio::spawn(look.instrument(error_span!("check", tenant = &*tenant.name)));
        (tenant.name.clone(), AbortOnDropHandle::new(look))
    };
    config.tenants.iter().map(begin).collect()
}

/// Instead of what a look would have told that ended by a panic. What the panic says can quote
/// anybody's data; standard error has it.
fn defect() -> Step {
    let message = "a defect of the exporter ended the check; please report it with what standard error says";
    let outcome = Outcome::Failed(SourceError { reason: FailureReason::Internal, message: message.to_owned() });
    Step { name: StepName::Configuration, outcome, detail: None }
}

fn verdict(reports: &[Report]) -> Result<(), Failure> {
    let failed: Vec<_> = reports.iter().filter(|report| report.verdict() == Verdict::Failed).collect();
    if failed.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = failed.iter().map(|report| &*report.tenant).collect();
    Err(Failure::Other(format!("{} of {} tenants failed: {}", names.len(), reports.len(), names.join(", "))))
}

impl Report {
    fn verdict(&self) -> Verdict {
        let of = |step: &Step| match step.outcome {
            Outcome::Failed(_) => Verdict::Failed,
            Outcome::Warning(_) => Verdict::Warning,
            Outcome::Fine | Outcome::Skipped(_) | Outcome::NotApplicable(_) => Verdict::Fine,
        };
        self.steps.iter().map(of).max().unwrap_or(Verdict::Fine)
    }
}

impl Verdict {
    fn as_str(self) -> &'static str {
        match self {
            Self::Fine => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

/// A step's outcome in one word, the same for people and machines.
fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Fine => Verdict::Fine.as_str(),
        Outcome::Warning(_) => Verdict::Warning.as_str(),
        Outcome::Failed(_) => Verdict::Failed.as_str(),
        Outcome::Skipped(_) => "skipped",
        Outcome::NotApplicable(_) => "not_applicable",
    }
}

/// What there is to say besides the details.
fn message(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Fine => None,
        Outcome::Warning(message) | Outcome::NotApplicable(message) => Some(message.clone()),
        Outcome::Failed(error) => Some(error.message.clone()),
        Outcome::Skipped(because) => Some(format!("not done, because {} failed", because.as_str())),
    }
}

/// To standard output, with colours only where it is a terminal that wants them (`NO_COLOR` and its
/// like are respected), and never into a bar.
fn print(display: &Display, text: &str) -> Result<(), Failure> {
    display.beside_bars(|| anstream::stdout().lock().write_all(text.as_bytes())).map_err(Failure::other)
}
