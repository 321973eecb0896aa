//! The Prometheus protobuf format: each family as a message behind its length, by the prometheus
//! crate's own encoder. Native buckets and created timestamps are in the messages already.

use prometheus::proto::MetricFamily;
use prometheus::{Encoder, ProtobufEncoder};

pub(super) fn encode(families: &[MetricFamily]) -> prometheus::Result<Vec<u8>> {
    let mut out = Vec::new();
    ProtobufEncoder::new().encode(families, &mut out)?;
    Ok(out)
}
