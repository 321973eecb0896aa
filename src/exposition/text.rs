//! The Prometheus text format 0.0.4, by the prometheus crate's own encoder.

use prometheus::proto::MetricFamily;
use prometheus::{Encoder, TextEncoder};

pub(super) fn encode(families: &[MetricFamily]) -> prometheus::Result<Vec<u8>> {
    let mut out = Vec::new();
    TextEncoder::new().encode(families, &mut out)?;
    Ok(out)
}
