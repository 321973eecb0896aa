//! History as OpenMetrics with timestamps. The standard wants families, then series, then time in order:
//! it is written in one go, and nothing of it is kept.

use std::fmt::Write as _;
use std::io::{self, Write};

use super::openmetrics::{END, Escaped, Float, head};
use crate::metrics::catalogue::{Kind, Metric};
use crate::metrics::{HistorySeries, Number, Timeline};

/// Writes families of history.
pub struct HistoryWriter<W> {
    out: W,
    /// Labels that every series gets.
    labels: Vec<(String, String)>,
    /// The name of the family that is being written.
    name: &'static str,
    samples: u64,
}

/// A line up to its timestamp. It is kept as it is while the value stays.
struct Line {
    text: String,
    /// Where the number begins.
    number_at: usize,
}

impl<W: Write> HistoryWriter<W> {
    /// Writes to `out` and gives every series these labels.
    pub fn new(out: W, labels: Vec<(String, String)>) -> Self {
        Self { out, labels, name: "", samples: 0 }
    }

    /// Begins a family.
    ///
    /// # Errors
    /// What writing returns, here and below.
    pub fn family(&mut self, metric: &Metric) -> io::Result<()> {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let mut text = String::new();
        self.name = head(&mut text, metric.name, kind, metric.help);
        self.out.write_all(text.as_bytes())
    }

    /// Writes a series of the family.
    pub fn series(&mut self, series: &HistorySeries<'_>, timeline: &Timeline) -> io::Result<()> {
        let mut labels: Vec<_> = self.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        labels.extend(&series.labels);
        labels.sort_unstable();
        let (name, mut lines, mut end) = (self.name, Vec::new(), String::new());
        series.points(timeline, |time, value, changed| {
            if changed {
                let mut place = 0;
                value.samples(|suffix, bound, number| {
                    if lines.len() == place {
                        lines.push(Line::new(name, suffix, &labels, bound));
                    }
                    lines[place].renew(number);
                    place += 1;
                });
            }
            self.samples += lines.len() as u64;
            end.clear();
            // Writing to a String cannot fail, here and below.
            let _ = writeln!(end, " {time}");
            lines.iter().try_for_each(|line| {
                self.out.write_all(line.text.as_bytes())?;
                self.out.write_all(end.as_bytes())
            })
        })
    }

    /// How many samples were written.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Proves that nothing was cut off, and gives back what was written to.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.write_all(END)?;
        self.out.flush()?;
        Ok(self.out)
    }
}

impl Line {
    fn new(name: &str, suffix: &str, labels: &[(&str, &str)], bound: Option<f64>) -> Self {
        let mut text = format!("{name}{suffix}");
        let mut separator = '{';
        for (label, value) in labels {
            let _ = write!(text, "{separator}{label}=\"{}\"", Escaped(value));
            separator = ',';
        }
        if let Some(bound) = bound {
            let _ = write!(text, "{separator}le=\"{}\"", Float(bound));
        }
        text.push_str("} ");
        Self { number_at: text.len(), text }
    }

    fn renew(&mut self, number: Number) {
        self.text.truncate(self.number_at);
        let _ = match number {
            Number::Count(count) => write!(self.text, "{count}"),
            number => write!(self.text, "{}", Float(number.value())),
        };
    }
}
