//! The formats: what they are called, and their bytes.

use std::borrow::Cow;

use prometheus::proto::MetricFamily;

use super::{openmetrics, protobuf, text};

/// A format of the exposition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// The Prometheus text format 0.0.4, which everything reads.
    #[default]
    Text,
    /// The Prometheus text format 1.0.0. It differs in how names beyond ASCII are quoted, and there
    /// are none: the same lines.
    Text1,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
    /// OpenMetrics under the number of its draft, which old scrapers ask for. The same lines.
    OpenMetricsDraft,
    /// Prometheus protobuf, delimited: the only one with native histograms and the times at which
    /// series were created.
    Protobuf,
}

/// How names that old scrapers cannot read are to be written. All names here are such that every
/// scheme leaves them alone, but the newer formats say in their type which one holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Escaping {
    /// Not at all.
    AllowUtf8,
    /// Other characters as underscores.
    #[default]
    Underscores,
    /// Dots as `_dot_`.
    Dots,
    /// Other characters by their code point.
    Values,
}

/// Formats of the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lines {
    Text,
    OpenMetrics,
    Protobuf,
}

impl Format {
    /// Every format.
    pub const ALL: &'static [Self] =
        &[Self::Text, Self::Text1, Self::OpenMetrics, Self::OpenMetricsDraft, Self::Protobuf];

    /// `Content-Type`; `escaping` is what the scraper asked for. Text 1.0.0 must say which scheme
    /// holds, the others say it to those who asked.
    pub fn content_type(self, escaping: Option<Escaping>) -> Cow<'static, str> {
        let (plain, escaping) = match self {
            Self::Text => ("text/plain; version=0.0.4; charset=utf-8", None),
            Self::Text1 => ("text/plain; version=1.0.0; charset=utf-8", Some(escaping.unwrap_or_default())),
            Self::OpenMetrics => ("application/openmetrics-text; version=1.0.0; charset=utf-8", escaping),
            Self::OpenMetricsDraft => ("application/openmetrics-text; version=0.0.1; charset=utf-8", None),
            Self::Protobuf => {
                let proto =
                    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";
                (proto, escaping)
            }
        };
        match escaping {
            None => Cow::Borrowed(plain),
            Some(escaping) => Cow::Owned(format!("{plain}; escaping={}", escaping.as_str())),
        }
    }

    pub(super) fn lines(self) -> Lines {
        match self {
            Self::Text | Self::Text1 => Lines::Text,
            Self::OpenMetrics | Self::OpenMetricsDraft => Lines::OpenMetrics,
            Self::Protobuf => Lines::Protobuf,
        }
    }
}

impl Escaping {
    /// Every scheme.
    pub const ALL: &'static [Self] = &[Self::AllowUtf8, Self::Underscores, Self::Dots, Self::Values];

    /// Its name in a type's parameter `escaping`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AllowUtf8 => "allow-utf-8",
            Self::Underscores => "underscores",
            Self::Dots => "dots",
            Self::Values => "values",
        }
    }
}

impl Lines {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Text, Self::OpenMetrics, Self::Protobuf];

    /// The families, without what ends a whole exposition.
    pub fn encode(self, families: &[MetricFamily]) -> prometheus::Result<Vec<u8>> {
        match self {
            Self::Text => text::encode(families),
            Self::OpenMetrics => Ok(openmetrics::encode(families).into_bytes()),
            Self::Protobuf => protobuf::encode(families),
        }
    }

    /// What ends a whole exposition.
    pub fn end(self) -> &'static [u8] {
        match self {
            Self::Text | Self::Protobuf => b"",
            Self::OpenMetrics => openmetrics::END,
        }
    }
}
