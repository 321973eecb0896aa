//! `backfill`: writes what the ledger has counted as OpenMetrics with true timestamps, from which
//! promtool makes Prometheus' blocks.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use indicatif::ProgressBar;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::progress::Display;
use super::{Failure, signals};
use crate::cli::{Backfill, Cli};
use crate::clock;
use crate::exposition::HistoryWriter;
use crate::ledger::history::{self, PastTenant};
use crate::ledger::{TICKS_PER_SECOND, time};
use crate::metrics::{self, HistoryFamily, HistorySeries, Timeline};

/// How long before now history ends: Prometheus is still writing what is younger, and promtool's blocks
/// must not get into that.
const YOUNGER: TimeDelta = TimeDelta::hours(3);
/// With longer steps than what Prometheus looks back, values at a moment are missing between the points.
const LOOKED_BACK: Duration = Duration::from_secs(300);
/// How long after a signal the program waits for a writer that a full pipe or a slow disk holds up.
const PATIENCE: Duration = Duration::from_secs(2);
/// What is written at a time.
const BUFFER_BYTES: usize = 256 << 10;
/// The labels without which series are not those that Prometheus scrapes.
const TARGET: [&str; 2] = ["job", "instance"];

/// Runs the command.
pub(super) async fn run(cli: &Cli, flags: &Backfill, display: &Display) -> Result<(), Failure> {
    let stop = signals::stop()?;
    let (directory, flags, display) = (cli.storage_path(), flags.clone(), display.clone());
    let stopped = stop.clone();
    let work = tokio::task::spawn_blocking(move || backfill(&directory, &flags, clock::now(), &display, &stop));
    tokio::select! {
        ended = work => ended.map_err(Failure::other)?,
        () = async { stopped.cancelled().await; tokio::time::sleep(PATIENCE).await } => {
            Err(Failure::Other("stopped while it waited for whoever reads the history: it is cut off".to_owned()))
        }
    }
}

fn backfill(
    directory: &Path,
    flags: &Backfill,
    now: DateTime<Utc>,
    display: &Display,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let end = flags.end.unwrap_or(now - YOUNGER);
    if end > now {
        return Err(Failure::Usage(format!("--backfill.end: {end} is not over yet")));
    }
    let tenants = history::read(directory)?;
    let families = metrics::history(&tenants);
    check_labels(&flags.labels, &families)?;
    let timeline = timeline(&tenants, flags, end)?;
    tell_limits(&tenants, flags, &timeline);
    let series = families.iter().flat_map(|family| &family.series).map(HistorySeries::lines).sum();
    let on_terminal = flags.output.is_none() && io::stdout().is_terminal();
    let bar = if on_terminal { ProgressBar::hidden() } else { display.writing(series) };
    let write = |out: &mut dyn Write| {
        let out = BufWriter::with_capacity(BUFFER_BYTES, UntilStopped { out, stop });
        write(HistoryWriter::new(out, flags.labels.clone()), &families, &timeline, &bar)
    };
    let written = match &flags.output {
        Some(path) => to_file(path, stop, write),
        None => to_standard_output(stop, write),
    };
    bar.finish_and_clear();
    let Some(samples) = written? else { return Ok(()) };
    let (from, to) = (timeline.first(), timeline.last());
    info!(tenants = tenants.len(), series, samples, from = %date(from), to = %date(to), "Wrote history");
    Ok(())
}

/// Every label once, none that the series have anyway, and a word if those are missing that they should
/// have.
fn check_labels(labels: &[(String, String)], families: &[HistoryFamily<'_>]) -> Result<(), Failure> {
    let own = families.iter().flat_map(|family| family.metric.labels).copied().chain(["le"]);
    let own: Vec<_> = own.collect();
    for (place, (name, _)) in labels.iter().enumerate() {
        let problem = if own.contains(&name.as_str()) {
            "the series have it themselves; leave it out"
        } else if labels[..place].iter().any(|(before, _)| before == name) {
            "it is given twice; choose one value"
        } else {
            continue;
        };
        return Err(Failure::Usage(format!("--backfill.label {name}: {problem}")));
    }
    for name in TARGET.into_iter().filter(|name| !labels.iter().any(|(given, _)| given == name)) {
        warn!(label = name, "The history will not join the scraped series, which have this label; give its value");
    }
    Ok(())
}

/// From just before the first session, unless told otherwise.
fn timeline(tenants: &[PastTenant], flags: &Backfill, end: DateTime<Utc>) -> Result<Timeline, Failure> {
    let first = tenants.iter().filter_map(|tenant| tenant.sessions.first()).map(|session| session.end).min();
    let from = match (flags.start, first) {
        (Some(start), _) if start >= end => {
            return Err(Failure::Usage(format!("--backfill.start: {start} is not before the end, {end}")));
        }
        (Some(start), Some(_)) => start.timestamp(),
        (None, Some(first)) if time(first) <= end => (first - 1).div_euclid(TICKS_PER_SECOND as i64),
        _ => {
            return Err(Failure::Other(format!("the ledger knows no session that ended by {end}: nothing is written")));
        }
    };
    let step = i64::try_from(flags.step.as_secs()).unwrap_or(i64::MAX);
    Timeline::new(from, end.timestamp(), step)
        .ok_or_else(|| Failure::Usage(format!("--backfill.end: {end} is before the beginning of the history")))
}

/// What a reader of the history should know of it.
fn tell_limits(tenants: &[PastTenant], flags: &Backfill, timeline: &Timeline) {
    if flags.step > LOOKED_BACK {
        warn!("With a step over 5m, only queries over ranges of at least two steps see the history");
    }
    for tenant in tenants {
        let unknown = tenant.totals.counted().saturating_sub(tenant.sessions.len() as u64);
        if unknown > 0 {
            info!(tenant = &*tenant.name, sessions = unknown, "History begins with sessions whose times are not kept");
        }
        if tenant.started().timestamp() < timeline.last() {
            warn!(
                tenant = &*tenant.name,
                since = %tenant.started(),
                until = %date(timeline.last()),
                "Where Prometheus scraped the tenant meanwhile, delete those samples before adding this history"
            );
        }
    }
}

fn write<W: Write>(
    mut writer: HistoryWriter<W>,
    families: &[HistoryFamily<'_>],
    timeline: &Timeline,
    bar: &ProgressBar,
) -> io::Result<u64> {
    for family in families {
        writer.family(&family.metric)?;
        for series in &family.series {
            writer.series(series, timeline)?;
            bar.inc(series.lines());
        }
    }
    let samples = writer.samples();
    writer.finish()?;
    Ok(samples)
}

/// Takes nothing more once the program is told to stop.
struct UntilStopped<'a> {
    out: &'a mut dyn Write,
    stop: &'a CancellationToken,
}

impl Write for UntilStopped<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Not `Interrupted`, after which writers try again.
        if self.stop.is_cancelled() { Err(io::Error::other("stopped")) } else { self.out.write(bytes) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// How many samples were written; none where nobody wants to read more, such as `head`.
fn to_standard_output(
    stop: &CancellationToken,
    write: impl FnOnce(&mut dyn Write) -> io::Result<u64>,
) -> Result<Option<u64>, Failure> {
    match write(&mut io::stdout().lock()) {
        Ok(samples) => Ok(Some(samples)),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {
            info!("Whoever read the history has gone away; the rest was not written");
            Ok(None)
        }
        Err(error) => Err(unwritten(Path::new("standard output"), stop, &error)),
    }
}

/// Under its name there is never half a history.
fn to_file(
    path: &Path,
    stop: &CancellationToken,
    write: impl FnOnce(&mut dyn Write) -> io::Result<u64>,
) -> Result<Option<u64>, Failure> {
    let failed = |error: &io::Error| unwritten(path, stop, error);
    // A device or a pipe cannot be replaced by a file, and must not.
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        let mut device = OpenOptions::new().write(true).open(path).map_err(|error| failed(&error))?;
        return write(&mut device).map(Some).map_err(|error| failed(&error));
    }
    let mut part = OsString::from(path);
    part.push(".part");
    let part = PathBuf::from(part);
    let written = File::create(&part).and_then(|mut file| {
        let samples = write(&mut file)?;
        file.sync_all()?;
        fs::rename(&part, path)?;
        Ok(samples)
    });
    written.map(Some).map_err(|error| {
        // There may be none if it could not be made.
        let _ = fs::remove_file(&part);
        failed(&error)
    })
}

fn unwritten(path: &Path, stop: &CancellationToken, error: &io::Error) -> Failure {
    let path = path.display();
    Failure::Other(match error.kind() {
        _ if stop.is_cancelled() => format!("{path}: stopped before the history was complete; begin again"),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            format!("{path}: cannot write the history: {error}; make room, or write less with a longer --backfill.step")
        }
        _ => format!("{path}: cannot write the history: {error}; choose a --backfill.output that can be written"),
    })
}

fn date(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap_or_default()
}
