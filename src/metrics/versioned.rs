//! Parts of the exposition that change seldom, so that encoding them at each scrape would be waste.

use prometheus::proto::MetricFamily;

/// Metrics that tell whether they have changed.
pub trait Versioned: Send + Sync + 'static {
    /// Another number after each change. Asked before [`Versioned::gather`], so that what is gathered
    /// may be newer than its number, never older.
    fn version(&self) -> u64;

    /// The families, sorted by name, each in this part alone.
    fn gather(&self) -> Vec<MetricFamily>;
}
