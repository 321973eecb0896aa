//! Flags that divide the tenants of one configuration among several exporters.

use clap::Args;

use crate::config::{MAX_SHARDS, Shard};

/// `--shard`, `--total-shards` and `--pod`.
#[derive(Args, Clone, Debug)]
pub struct Sharding {
    /// Which part of the tenants is this exporter's, from 0
    #[arg(long = "shard", value_name = "NUMBER", global = true, conflicts_with = "pod")]
    shard: Option<u32>,
    /// Into how many parts the tenants are divided, one for each exporter [default: 1]
    #[arg(long = "total-shards", value_name = "NUMBER", value_parser = total, global = true)]
    total_shards: Option<u32>,
    /// Name of the pod of a StatefulSet; the ordinal at its end is the shard
    #[arg(long = "pod", value_name = "NAME", global = true)]
    pod: Option<String>,
}

impl Sharding {
    /// The shard that this exporter is; the only one where nothing is said of shards.
    ///
    /// # Errors
    /// The flag that is wrong or missing, and the remedy.
    pub fn shard(&self) -> Result<Shard, String> {
        let total = self.total_shards.unwrap_or(1);
        match self.own()? {
            Some(shard) => Ok(shard),
            None if total == 1 => Ok(Shard::ONLY),
            None => Err(format!("--total-shards={total}: which of them is this? Give --shard or --pod")),
        }
    }

    /// The same, or `None` where it is not said which shard this is.
    ///
    /// # Errors
    /// As [`Sharding::shard`], and where nothing is missing.
    pub fn own(&self) -> Result<Option<Shard>, String> {
        let total = self.total_shards.unwrap_or(1);
        match (self.shard, &self.pod) {
            (Some(ordinal), _) => Shard::new(ordinal, total).map_err(|error| format!("--shard: {error}")).map(Some),
            (None, Some(pod)) => Shard::of_pod(pod, total).map_err(|error| format!("--pod: {error}")).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// `--total-shards`.
    pub fn total(&self) -> u32 {
        self.total_shards.unwrap_or(1)
    }
}

fn total(text: &str) -> Result<u32, String> {
    let within = |total: &u32| (1..=MAX_SHARDS).contains(total);
    text.parse().ok().filter(within).ok_or_else(|| format!("choose a number from 1 to {MAX_SHARDS}"))
}
