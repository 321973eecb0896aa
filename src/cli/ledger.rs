//! Flags of `ledger`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};

/// What to do with a ledger that no exporter has open.
#[derive(Clone, Debug, Subcommand)]
pub enum Ledger {
    /// Write tenants of the ledger to a file, exactly as they are counted
    Export(Export),
    /// Take tenants that were exported into the ledger: all of them or, where one is refused, none
    Import(Import),
}

/// Flags of `ledger export`.
#[derive(Args, Clone, Debug)]
#[group(skip)]
#[command(group = ArgGroup::new("which").required(true))]
pub struct Export {
    /// Tenant to export; repeatable
    #[arg(long = "tenant", value_name = "NAME", group = "which")]
    pub tenants: Vec<String>,
    /// Export every tenant that the ledger holds
    #[arg(long = "all", group = "which")]
    pub all: bool,
    /// Export the tenants that the configuration gives to other shards, by --total-shards as it will be, and --shard or --pod
    #[arg(long = "moving", group = "which")]
    pub moving: bool,
    /// Once the file is written, take the tenants out of this ledger, which then refuses to poll them
    #[arg(long = "remove", requires = "output")]
    pub remove: bool,
    /// File to write to, instead of standard output. It has the ledger's salt: keep it as you keep the ledger
    #[arg(long = "output", value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Flags of `ledger import`.
#[derive(Args, Clone, Debug)]
pub struct Import {
    /// File to read, instead of standard input
    #[arg(value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// Tenant to import, if the file holds others as well; repeatable
    #[arg(long = "tenant", value_name = "NAME")]
    pub tenants: Vec<String>,
    /// Drop what the ledger holds of the tenants named by --tenant, and take the file's in its place
    #[arg(long = "replace", requires = "tenants")]
    pub replace: bool,
}
