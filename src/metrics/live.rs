//! The part of the exposition that changes with each scrape, so that its bytes cannot be kept.

use prometheus::Registry;
use prometheus::proto::MetricFamily;

/// Metrics that are rendered with each scrape.
pub trait Live: Send + Sync + 'static {
    /// The families, sorted by name, each in this part alone.
    fn gather(&self) -> Vec<MetricFamily>;

    /// The numbers alone, where they can be told from what is around them: those that may be others than at a
    /// version, or all.
    fn numbers(&self, _since: Option<u64>) -> Option<Numbers> {
        None
    }
}

/// Numbers of samples. Their places count in the order of [`Live::gather`]: those of a histogram are its
/// buckets with the one of `+Inf`, its sum, its count.
#[derive(Clone, Debug, PartialEq)]
pub struct Numbers {
    /// The same as long as all samples are of the same series.
    pub shape: u64,
    /// How many places there are.
    pub places: usize,
    /// As of when these are the numbers.
    pub version: u64,
    /// Places and what stands there, in their order.
    pub values: Vec<(usize, Number)>,
}

/// The number of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// Of a bucket, or how many observations there are.
    Count(u64),
    /// Another one that is whole.
    Whole(u64),
    /// In billionths, as durations are summed up.
    Billionths(u64),
    /// Any other.
    Value(f64),
}

impl Number {
    /// As samples have it.
    pub fn value(self) -> f64 {
        match self {
            Self::Count(whole) | Self::Whole(whole) => whole as f64,
            Self::Billionths(billionths) => billionths as f64 / 1e9,
            Self::Value(value) => value,
        }
    }
}

/// Rendered whole each time.
impl Live for Registry {
    fn gather(&self) -> Vec<MetricFamily> {
        Self::gather(self)
    }
}
