//! `once`: polls every tenant once, prints the exposition, and tells by its status whether all went
//! well.

use std::io::Write;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::exporter::Exporter;
use super::{Failure, configuration, signals};
use crate::cli::Cli;
use crate::exposition::Wanted;
use crate::poll::{Lane, Lanes};

/// Runs the command.
pub(super) async fn run(cli: &Cli) -> Result<(), Failure> {
    let config = configuration(cli)?;
    let stop = signals::stop()?;
    let exporter = Exporter::open(&config, &cli.storage_path())?;
    let count = exporter.tenants.len();
    let mut polls = JoinSet::new();
    let lanes = Arc::new(Lanes::default());
    for tenant in exporter.tenants {
        let (writer, lanes) = (exporter.writer.clone(), lanes.clone());
        polls.spawn(async move {
            let result = lanes.run(Lane::Quick, tenant.poll(&writer)).await;
            result.map_err(|failure| format!("{}: {failure}", tenant.name()))
        });
    }
    let results = tokio::select! {
        results = polls.join_all() => results,
        () = stop.cancelled() => return Err(Failure::Other("stopped before every tenant was polled".to_owned())),
    };
    drop(exporter.writer);
    exporter.ledger.closed().await;
    let rendered = exporter.exposition.render(Wanted::default()).map_err(Failure::other)?;
    std::io::stdout().write_all(&rendered.body).map_err(Failure::other)?;
    let failures: Vec<_> = results.into_iter().filter_map(Result::err).collect();
    if failures.is_empty() {
        return Ok(());
    }
    Err(Failure::Other(format!("{} of {count} tenants failed: {}", failures.len(), failures.join("; "))))
}
