//! The part of the exposition that changes with each scrape, so that its bytes cannot be kept.

use prometheus::Registry;
use prometheus::proto::MetricFamily;

/// Metrics that are rendered with each scrape.
pub trait Live: Send + Sync + 'static {
    /// The families, sorted by name, each in this part alone.
    fn gather(&self) -> Vec<MetricFamily>;

    /// The numbers alone, where they can be told from what is around them.
    fn numbers(&self) -> Option<Numbers> {
        None
    }
}

/// The numbers of all samples, in the order of [`Live::gather`]: those of a histogram are its buckets
/// with the one of `+Inf`, its sum, its count.
#[derive(Clone, Debug, PartialEq)]
pub struct Numbers {
    /// The same as long as all samples are of the same series.
    pub shape: u64,
    /// The numbers.
    pub values: Vec<Number>,
}

/// The number of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// Of a bucket, or how many observations there are.
    Count(u64),
    /// Any other.
    Value(f64),
}

impl Number {
    /// Whether both are the same text: as numbers, zero equals negative zero, and NaN not even itself.
    pub fn is_written_as(self, other: Self) -> bool {
        match (self, other) {
            (Self::Count(one), Self::Count(other)) => one == other,
            (Self::Value(one), Self::Value(other)) => one.to_bits() == other.to_bits(),
            _ => false,
        }
    }
}

/// Rendered whole each time.
impl Live for Registry {
    fn gather(&self) -> Vec<MetricFamily> {
        Self::gather(self)
    }
}
