//! `ledger export` and `ledger import`: tenants with all that was counted of them, from one ledger to
//! another, while no exporter has them open.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use tracing::{info, warn};

use super::exporter::BUILD;
use super::{Failure, whole_configuration};
use crate::cli::{Cli, Export, Import, Ledger};
use crate::clock;
use crate::config::{Shard, owner};
use crate::ledger::transfer::{Moved, Outcome, Transfer, TransferError, verify};

/// What is read and written at a time.
const BUFFER_BYTES: usize = 256 << 10;

/// Runs the command.
pub(super) async fn run(cli: &Cli, command: &Ledger) -> Result<(), Failure> {
    let (cli, command) = (cli.clone(), command.clone());
    let work = tokio::task::spawn_blocking(move || match &command {
        Ledger::Export(flags) => export(&cli, flags),
        Ledger::Import(flags) => import(&cli, flags),
    });
    work.await.map_err(Failure::other)?
}

fn export(cli: &Cli, flags: &Export) -> Result<(), Failure> {
    let shard = cli.sharding().shard().map_err(Failure::Usage)?;
    if flags.moving && shard.total() == 1 {
        return Err(Failure::Usage("--moving: one shard owns every tenant; give --total-shards as it will be".into()));
    }
    let moving = flags.moving.then(|| elsewhere(cli, shard)).transpose()?;
    let transfer = Transfer::source(&cli.storage_path())?;
    let asked = |name: &String| moving.as_ref().is_none_or(|moving| moving.contains(name));
    let names = if flags.moving || flags.all {
        for (tenant, taken_out) in transfer.taken_out()?.iter().filter(|(name, _)| asked(name)) {
            warn!(%tenant, %taken_out, "A tenant was taken out of this ledger before; an earlier export has it");
        }
        transfer.tenants()?.into_iter().filter(asked).collect()
    } else {
        flags.tenants.clone()
    };
    let now = clock::now();
    let write = |out: &mut dyn Write| {
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, out);
        let to = flags.output.as_deref().unwrap_or(Path::new("standard output"));
        transfer.export(&names, &mut out, now, BUILD.version).map_err(|error| of_file(to, error))
    };
    let moved = match &flags.output {
        Some(path) => to_file(path, write)?,
        None => write(&mut io::stdout().lock())?,
    };
    moved.iter().for_each(tell);
    if flags.remove {
        transfer.remove(&names, now)?;
    }
    info!(tenants = moved.len(), removed = flags.remove, "Exported");
    Ok(())
}

fn import(cli: &Cli, flags: &Import) -> Result<(), Failure> {
    let shard = cli.sharding().shard().map_err(Failure::Usage)?;
    let elsewhere = if shard.total() > 1 { elsewhere(cli, shard)? } else { HashSet::new() };
    if let Some(tenant) = flags.tenants.iter().find(|tenant| elsewhere.contains(*tenant)) {
        return Err(Failure::Usage(format!(
            "--tenant={tenant}: of {} shards it is another's than {}; import it there, or leave the flags of shards out",
            shard.total(),
            shard.ordinal()
        )));
    }
    let wanted = |name: &str| {
        !elsewhere.contains(name) && (flags.tenants.is_empty() || flags.tenants.iter().any(|tenant| tenant == name))
    };
    let input: Box<dyn BufRead> = match &flags.input {
        Some(path) => {
            let file = File::open(path).map_err(|error| unusable(path, "read", &error))?;
            Box::new(BufReader::with_capacity(BUFFER_BYTES, file))
        }
        None => Box::new(BufReader::with_capacity(BUFFER_BYTES, io::stdin())),
    };
    let from = flags.input.as_deref().unwrap_or(Path::new("standard input"));
    let transfer = Transfer::target(&cli.storage_path())?;
    let moved = transfer.import(input, &flags.tenants, wanted, flags.replace).map_err(|error| of_file(from, error))?;
    moved.iter().for_each(tell);
    let taken = moved.iter().filter(|moved| moved.outcome != Outcome::Skipped).count();
    info!(tenants = taken, left_out = moved.len() - taken, "Imported");
    Ok(())
}

/// The configured tenants that are not this shard's.
fn elsewhere(cli: &Cli, shard: Shard) -> Result<HashSet<String>, Failure> {
    let config = whole_configuration(cli)?;
    let others = config.tenants.iter().filter(|tenant| owner(tenant, shard.total()) != shard.ordinal());
    Ok(others.map(|tenant| tenant.name.to_string()).collect())
}

fn tell(moved: &Moved) {
    let Moved { tenant, counted, rows, outcome } = moved;
    let message = match outcome {
        Outcome::Exported => "Exported a tenant",
        Outcome::Imported => "Imported a tenant",
        Outcome::Replaced => "Replaced a tenant",
        Outcome::Unchanged => "The ledger has this tenant already, just so",
        Outcome::Skipped => "Left out a tenant of the export",
    };
    info!(%tenant, sessions = counted, rows, "{message}");
}

/// Writes a file that appears when it is whole, durable, and was read again. One that is there already may
/// be all that is left of a tenant, so it stays.
fn to_file<T>(path: &Path, write: impl FnOnce(&mut dyn Write) -> Result<T, Failure>) -> Result<T, Failure> {
    if path.exists() {
        return Err(Failure::Usage(format!(
            "--output {}: there is such a file, maybe all that is left of tenants that were taken out: import it, or \
             choose another name",
            path.display()
        )));
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".partial-{}", std::process::id()));
    let partial = Path::new(&name);
    let written = (|| {
        let failed = |error| unusable(path, "write", &error);
        let mut file = create(partial).map_err(failed)?;
        let result = write(&mut file)?;
        file.sync_all().map_err(failed)?;
        verify(BufReader::with_capacity(BUFFER_BYTES, File::open(partial).map_err(failed)?))
            .map_err(|error| of_file(path, error.into()))?;
        fs::rename(partial, path).map_err(failed)?;
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)?;
        Ok(result)
    })();
    if written.is_err() {
        // There may be none.
        let _ = fs::remove_file(partial);
    }
    written
}

/// Others cannot read it: the salt is in it.
fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// What is wrong with an export, with its name; a ledger's errors have theirs.
fn of_file(path: &Path, error: TransferError) -> Failure {
    match error {
        TransferError::File(error) => Failure::Export(format!("{}: {error}", path.display())),
        error => error.into(),
    }
}

fn unusable(path: &Path, action: &str, error: &io::Error) -> Failure {
    Failure::Other(format!(
        "{}: cannot {action} the export ({error}); check the path, permissions and free space",
        path.display()
    ))
}
