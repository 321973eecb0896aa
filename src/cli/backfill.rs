//! Flags of `backfill`.

use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Args;

use crate::config;

/// An hour is what queries over days bridge.
const STEPS: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);

/// Flags of `backfill`.
#[derive(Args, Clone, Debug)]
pub struct Backfill {
    /// Label that the scraped series have, such as job=remote-assistance; repeatable
    #[arg(long = "backfill.label", visible_alias = "label", value_name = "NAME=VALUE", value_parser = label)]
    pub labels: Vec<(String, String)>,
    /// Time between two values, up to 1h; over 5m, only queries over ranges see them
    #[arg(long = "backfill.step", visible_alias = "step", value_name = "DURATION", default_value = "1m", value_parser = step)]
    pub step: Duration,
    /// Time to begin at
    #[arg(
        long = "backfill.start",
        visible_alias = "start",
        value_name = "TIME",
        help = "Time to begin at, as RFC 3339 or in Unix seconds [default: the first session]",
        value_parser = time
    )]
    pub start: Option<DateTime<Utc>>,
    /// Time to end at
    #[arg(
        long = "backfill.end",
        visible_alias = "end",
        value_name = "TIME",
        help = "Time to end at, as RFC 3339 or in Unix seconds [default: three hours before now]",
        value_parser = time
    )]
    pub end: Option<DateTime<Utc>>,
    /// File to write to, instead of standard output
    #[arg(long = "backfill.output", visible_alias = "output", value_name = "FILE")]
    pub output: Option<PathBuf>,
}

fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as NAME=VALUE")?;
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !starts || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(format!("{name:?} is no name of a label: letters, digits and _, not beginning with a digit"));
    }
    if name.starts_with("__") {
        return Err(format!("{name} is a name that Prometheus keeps for itself"));
    }
    if value.is_empty() {
        return Err(format!("{name} has no value, which is the same as no such label"));
    }
    Ok((name.to_owned(), value.to_owned()))
}

fn step(text: &str) -> Result<Duration, String> {
    let step = config::duration_within(text, &STEPS)?;
    if step.subsec_nanos() == 0 { Ok(step) } else { Err("choose whole seconds".to_owned()) }
}

fn time(text: &str) -> Result<DateTime<Utc>, String> {
    let unix = || DateTime::from_timestamp(text.parse().ok()?, 0);
    let time = DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc()).or_else(unix);
    time.ok_or_else(|| "write it as 2026-03-19T12:00:00Z or in Unix seconds".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_prometheus_labels() {
        assert_eq!(label("job=remote-assistance"), Ok(("job".to_owned(), "remote-assistance".to_owned())));
        assert_eq!(label("instance=[::1]:10112"), Ok(("instance".to_owned(), "[::1]:10112".to_owned())));
        assert_eq!(label("a=b=\"c\""), Ok(("a".to_owned(), "b=\"c\"".to_owned())));
        for wrong in ["job", "=x", "1a=x", "a-b=x", "ä=x", "__name__=x", "job="] {
            assert!(label(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn steps_are_whole_seconds_that_queries_bridge() {
        for (text, seconds) in
            [("1s", Some(1)), ("1m", Some(60)), ("5m", Some(300)), ("1m30s", Some(90)), ("1h", Some(3600))]
        {
            assert_eq!(step(text).ok().map(|step| step.as_secs()), seconds, "{text}");
        }
        for wrong in ["0s", "61m", "1500ms", "60", "x"] {
            assert!(step(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_are_dates_or_unix_seconds() {
        let noon = DateTime::from_timestamp(1_773_921_600, 0).unwrap();
        for text in ["2026-03-19T12:00:00Z", "2026-03-19T13:00:00+01:00", "1773921600"] {
            assert_eq!(time(text), Ok(noon), "{text}");
        }
        for wrong in ["2026-03-19", "yesterday", "", "9999999999999999"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }
}
