//! Durations as Prometheus writes them: `30s`, `5m`, `1h30m`, `30d`.

use std::time::Duration;

/// Units from long to short, in milliseconds. A day has 24 hours and a year 365 days.
const UNITS: &[(&str, u64)] = &[
    ("y", 365 * 24 * 3_600_000),
    ("w", 7 * 24 * 3_600_000),
    ("d", 24 * 3_600_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Reads a duration: whole numbers with units, longer units first, each unit at most once.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut units = UNITS;
    let mut milliseconds = 0_u64;
    while !rest.is_empty() {
        let (digits, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let (unit, after) = after.split_at(after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len()));
        let place = units.iter().position(|(name, _)| *name == unit)?;
        milliseconds = digits.parse::<u64>().ok()?.checked_mul(units[place].1)?.checked_add(milliseconds)?;
        units = &units[place + 1..];
        rest = after;
    }
    (!text.is_empty()).then_some(Duration::from_millis(milliseconds))
}

/// Writes a duration the same way, for messages: `365d`, not `1y`, since the bounds are said so.
pub(super) fn format(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, length) in UNITS.iter().filter(|(unit, _)| !matches!(*unit, "y" | "w")) {
        if rest >= *length {
            text.push_str(&format!("{}{unit}", rest / length));
            rest %= length;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn prometheus_durations_are_read() {
        for (text, seconds) in [
            ("30s", 30.0),
            ("5m", 300.0),
            ("1h30m", 5400.0),
            ("30d", 2_592_000.0),
            ("1w", 604_800.0),
            ("1y", 31_536_000.0),
            ("1500ms", 1.5),
            ("1d12h", 129_600.0),
            ("1m1ms", 60.001),
            ("0s", 0.0),
        ] {
            assert_eq!(parse(text), Some(Duration::from_secs_f64(seconds)), "{text}");
        }
    }

    #[test]
    fn anything_else_is_not() {
        for text in [
            "",
            "5",
            "m",
            "5 m",
            "5m 3s",
            "-5m",
            "1.5h",
            "5min",
            "5M",
            "30m1h",
            "1m1m",
            "1s1000",
            "5µs",
            "5é",
            "99999999999999999999s",
            "999999999999999y",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(milliseconds in 0_u64..100_000_000_000) {
            let duration = Duration::from_millis(milliseconds);
            prop_assert_eq!(parse(&format(duration)), Some(duration));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,12}") {
            let _ = parse(&text);
        }
    }
}
