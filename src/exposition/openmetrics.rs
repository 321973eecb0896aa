//! OpenMetrics 1.0.0, text. Unlike text 0.0.4: a counter's family goes without `_total`, units are
//! named, numbers are canonical floats, and `# EOF` proves that nothing was cut off.
//! No timestamps, no `_created`.

use std::fmt::Write;

use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType};

use crate::metrics::catalogue;

/// What proves that nothing was cut off.
pub(super) const END: &[u8] = b"# EOF\n";

/// The families, without [`END`].
pub(super) fn encode(families: &[MetricFamily]) -> String {
    let mut out = String::new();
    for family in families {
        let kind = match family.get_field_type() {
            MetricType::COUNTER => "counter",
            MetricType::GAUGE => "gauge",
            MetricType::HISTOGRAM => "histogram",
            // Nothing of ours is either, and the registry makes none by itself.
            MetricType::SUMMARY | MetricType::UNTYPED => continue,
        };
        let name = head(&mut out, family.name(), kind, family.help());
        for metric in family.get_metric() {
            write_metric(&mut out, name, family.get_field_type(), metric);
        }
    }
    out
}

/// What stands before a family's samples; its name, which for a counter goes without `_total`.
pub(super) fn head<'a>(out: &mut String, metric: &'a str, kind: &str, help: &str) -> &'a str {
    let name = match kind {
        "counter" => metric.strip_suffix("_total").unwrap_or(metric),
        _ => metric,
    };
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(out, "# HELP {name} {}", Escaped(help));
    let _ = writeln!(out, "# TYPE {name} {kind}");
    if let Some(unit) = catalogue::unit_of(name) {
        let _ = writeln!(out, "# UNIT {name} {unit}");
    }
    name
}

fn write_metric(out: &mut String, name: &str, kind: MetricType, metric: &Metric) {
    let labels = metric.get_label();
    match kind {
        MetricType::COUNTER => sample(out, name, "_total", labels, None, &Float(metric.get_counter().value())),
        MetricType::HISTOGRAM => {
            let histogram = metric.get_histogram();
            let count = histogram.sample_count();
            for bucket in &histogram.bucket {
                sample(out, name, "_bucket", labels, Some(bucket.upper_bound()), &bucket.cumulative_count());
            }
            // By the crate's convention no family has it; the standard demands it.
            sample(out, name, "_bucket", labels, Some(f64::INFINITY), &count);
            sample(out, name, "_sum", labels, None, &Float(histogram.sample_sum()));
            sample(out, name, "_count", labels, None, &count);
        }
        _ => sample(out, name, "", labels, None, &Float(metric.get_gauge().value())),
    }
}

fn sample(
    out: &mut String,
    name: &str,
    suffix: &str,
    labels: &[LabelPair],
    le: Option<f64>,
    value: &dyn std::fmt::Display,
) {
    out.push_str(name);
    out.push_str(suffix);
    let mut separator = '{';
    for label in labels {
        let _ = write!(out, "{separator}{}=\"{}\"", label.name(), Escaped(label.value()));
        separator = ',';
    }
    if let Some(bound) = le {
        let _ = write!(out, "{separator}le=\"{}\"", Float(bound));
        separator = ',';
    }
    if separator == ',' {
        out.push('}');
    }
    let _ = writeln!(out, " {value}");
}

/// Text in which backslash, line feed and quote are escaped, as HELP and label values both need.
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.0.contains(['\\', '\n', '"']) {
            return f.write_str(self.0);
        }
        self.0.chars().try_for_each(|c| match c {
            '\\' => f.write_str("\\\\"),
            '\n' => f.write_str("\\n"),
            '"' => f.write_str("\\\""),
            c => f.write_char(c),
        })
    }
}

/// A float as the standard's "canonical numbers" have it: Go's `%g`, with `.0` where there is
/// neither point nor exponent. Every exposer then writes one bound as one `le`.
pub(super) struct Float(pub f64);

impl std::fmt::Display for Float {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value = self.0;
        if value.is_nan() {
            return f.write_str("NaN");
        }
        if value.is_infinite() {
            return f.write_str(if value > 0.0 { "+Inf" } else { "-Inf" });
        }
        // The shortest digits that read back as this value, and their exponent.
        let scientific = format!("{value:e}");
        let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
        let exponent: i32 = exponent.parse().unwrap_or(0);
        match exponent {
            -4..=5 if value.fract() == 0.0 => write!(f, "{value}.0"),
            -4..=5 => write!(f, "{value}"),
            _ => write!(f, "{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs()),
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus::core::Collector;
    use prometheus::{GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, Opts};

    use super::*;

    #[test]
    fn numbers_are_canonical() {
        for (value, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (0.001, "0.001"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1e-10, "1e-10"),
            (1.0, "1.0"),
            (-2.5, "-2.5"),
            (10.0, "10.0"),
            (100_000.0, "100000.0"),
            (604_800.0, "604800.0"),
            (1e6, "1e+06"),
            (2_592_000.0, "2.592e+06"),
            (1e10, "1e+10"),
            (1.774_000_000_123e9, "1.774000000123e+09"),
            (1e100, "1e+100"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(Float(value).to_string(), text);
            assert!(value.is_nan() || text.parse::<f64>() == Ok(value), "{text}");
        }
    }

    #[test]
    fn text_is_escaped() {
        let gauge = GaugeVec::new(Opts::new("odd", "A \"quoted\" \\ line\nbreak."), &["label"]).unwrap();
        gauge.with_label_values(&["a\"b\\c\nd ü"]).set(1.5);
        assert_eq!(
            encode(&gauge.collect()),
            concat!(
                "# HELP odd A \\\"quoted\\\" \\\\ line\\nbreak.\n",
                "# TYPE odd gauge\n",
                "odd{label=\"a\\\"b\\\\c\\nd ü\"} 1.5\n",
            )
        );
    }

    #[test]
    fn counters_are_named_without_total_and_units_are_told() {
        let counter = IntCounterVec::new(Opts::new("busy_seconds_total", "Busy."), &[] as &[&str]).unwrap();
        counter.with_label_values(&[] as &[&str]).inc_by(1_000_000);
        assert_eq!(
            encode(&counter.collect()),
            "# HELP busy_seconds Busy.\n# TYPE busy_seconds counter\n# UNIT busy_seconds seconds\n\
             busy_seconds_total 1e+06\n"
        );
    }

    #[test]
    fn histograms_end_at_infinity() {
        let opts = HistogramOpts::new("size_bytes", "Size.").buckets(vec![1.0, 1e6]);
        let histogram = HistogramVec::new(opts, &["kind"]).unwrap();
        for value in [1.0, 1.5, 2e6] {
            histogram.with_label_values(&["fish"]).observe(value);
        }
        assert_eq!(
            encode(&histogram.collect()),
            concat!(
                "# HELP size_bytes Size.\n",
                "# TYPE size_bytes histogram\n",
                "# UNIT size_bytes bytes\n",
                "size_bytes_bucket{kind=\"fish\",le=\"1.0\"} 1\n",
                "size_bytes_bucket{kind=\"fish\",le=\"1e+06\"} 2\n",
                "size_bytes_bucket{kind=\"fish\",le=\"+Inf\"} 3\n",
                "size_bytes_sum{kind=\"fish\"} 2.0000025e+06\n",
                "size_bytes_count{kind=\"fish\"} 3\n",
            )
        );
    }
}
