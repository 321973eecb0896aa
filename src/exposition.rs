//! The exposition: everything that is registered, as bytes in the format a scraper asked for.

mod negotiation;
mod openmetrics;
mod text;

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use prometheus::Registry;
use prometheus::proto::MetricFamily;

pub use crate::metrics::{HttpMetrics, InFlight};
pub use negotiation::Wanted;

/// Fast: a scrape is compressed once and read once, mostly over a short way.
const GZIP_LEVEL: Compression = Compression::fast();

/// A format of the exposition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// The Prometheus text format 0.0.4, which everything reads.
    #[default]
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
    /// OpenMetrics under the number of its draft, which old scrapers ask for. The same lines.
    OpenMetricsDraft,
}

/// How the bytes are packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// Not at all.
    #[default]
    Identity,
    /// `Content-Encoding: gzip`.
    Gzip,
}

/// One exposition, ready to be sent.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// `Content-Type`.
    pub content_type: &'static str,
    /// `Content-Encoding`, where there is one.
    pub content_encoding: Option<&'static str>,
    /// The body.
    pub body: Bytes,
}

/// Renders what is registered. Clones share the registry.
#[derive(Clone, Debug)]
pub struct Exposition {
    registry: Registry,
}

impl Exposition {
    /// Over what is and will be registered here.
    pub fn new(registry: Registry) -> Self {
        Self { registry }
    }

    /// Gathers and encodes. It computes and reads `/proc`, for milliseconds, so an asynchronous
    /// caller does it on a thread that may block.
    ///
    /// # Errors
    /// Where a collector gives a family that has no name or no samples.
    pub fn render(&self, wanted: Wanted) -> prometheus::Result<Rendered> {
        let plain = wanted.format.encode(&self.registry.gather())?;
        let body = match wanted.encoding {
            Encoding::Identity => plain,
            Encoding::Gzip => gzip(&plain)?,
        };
        Ok(Rendered {
            content_type: wanted.format.content_type(),
            content_encoding: wanted.encoding.name(),
            body: body.into(),
        })
    }
}

impl Format {
    /// Every format.
    pub const ALL: &'static [Self] = &[Self::Text, Self::OpenMetrics, Self::OpenMetricsDraft];

    /// `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::OpenMetricsDraft => "application/openmetrics-text; version=0.0.1; charset=utf-8",
        }
    }

    fn encode(self, families: &[MetricFamily]) -> prometheus::Result<Vec<u8>> {
        match self {
            Self::Text => text::encode(families),
            Self::OpenMetrics | Self::OpenMetricsDraft => Ok(openmetrics::encode(families).into_bytes()),
        }
    }
}

impl Encoding {
    fn name(self) -> Option<&'static str> {
        match self {
            Self::Identity => None,
            Self::Gzip => Some("gzip"),
        }
    }
}

fn gzip(plain: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 8), GZIP_LEVEL);
    encoder.write_all(plain)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use prometheus::IntCounter;

    use super::*;

    #[test]
    fn every_format_and_encoding_says_what_it_is() {
        let registry = Registry::new();
        let counter = IntCounter::new("fish_total", "Fish.").unwrap();
        counter.inc_by(3);
        registry.register(Box::new(counter)).unwrap();
        let exposition = Exposition::new(registry);
        for &format in Format::ALL {
            let plain = exposition.render(Wanted { format, encoding: Encoding::Identity }).unwrap();
            assert_eq!(plain.content_type, format.content_type());
            assert_eq!(plain.content_encoding, None);
            let packed = exposition.render(Wanted { format, encoding: Encoding::Gzip }).unwrap();
            assert_eq!(packed.content_encoding, Some("gzip"));
            let mut unpacked = Vec::new();
            flate2::read::GzDecoder::new(&*packed.body).read_to_end(&mut unpacked).unwrap();
            assert_eq!(unpacked, plain.body);
            assert_eq!(plain.body.ends_with(b"# EOF\n"), format != Format::Text);
        }
    }
}
