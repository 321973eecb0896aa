//! `once`: polls every tenant once, prints the exposition, and tells by its status whether all went
//! well.

use std::io::Write;

use tokio::task::JoinSet;

use super::exporter::Exporter;
use super::{Failure, configuration, signals};
use crate::cli::Cli;
use crate::exposition::Wanted;
use crate::poll;

/// Runs the command.
pub(super) async fn run(cli: &Cli) -> Result<(), Failure> {
    let config = configuration(cli)?;
    let stop = signals::stop()?;
    let exporter = Exporter::open(&config, &cli.storage_path())?;
    let count = exporter.tenants.len();
    let mut polls = JoinSet::new();
    let permits = poll::permits();
    for tenant in exporter.tenants {
        let (writer, permits) = (exporter.writer.clone(), permits.clone());
        polls.spawn(async move {
            let _permit = permits.acquire().await;
            tenant.poll(&writer).await.map_err(|failure| format!("{}: {failure}", tenant.name()))
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
