//! A body, read chunk by chunk and inflated on the way, so that neither what the wire carries nor what
//! it unpacks to can grow beyond its bound.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;

/// Bounds of a body in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caps {
    /// As it comes over the wire.
    pub wire: usize,
    /// Inflated.
    pub inflated: usize,
    /// What an administrator can do for a smaller answer.
    pub remedy: &'static str,
}

impl Caps {
    /// For answers with reports. A page holds 50 rows by default and a gateway's perhaps some thousands,
    /// about 800 bytes each; 64 MiB are 80,000 of them, and as the decoded rows take about as much
    /// again, one page stays within a few hundred MiB of memory whatever the service sends.
    pub const PAGE: Self = Self { wire: 64 << 20, inflated: 128 << 20, remedy: "a smaller source.page_size" };
    /// For the archive of an export, which is kept whole while it is read. A session takes some 150
    /// bytes of it, so 64 MiB hold a session every six seconds around the clock for 30 days; usual is a
    /// few hundred KiB. Blob storage sends the archive as it is stored, without a content encoding.
    pub const ARCHIVE: Self = Self { wire: 64 << 20, inflated: 64 << 20, remedy: "a shorter source.select" };
    /// For answers whose body is only quoted, or holds a token or a job: a few KiB are usual.
    pub const SMALL: Self = Self { wire: 256 << 10, inflated: 256 << 10, remedy: "" };
}

/// Why a body could not be taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BodyError {
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    #[error("the answer's gzip data is damaged or cut off")]
    DamagedGzip,
    #[error("the answer has the content encoding {0:?}, and only gzip was offered")]
    UnknownEncoding(String),
}

/// Takes the chunks of one body.
pub(super) struct BodyReader {
    caps: Caps,
    received: usize,
    sink: Sink,
}

enum Sink {
    Plain(Capped),
    Gzip(Box<MultiGzDecoder<Capped>>),
}

impl BodyReader {
    /// For an answer with these headers.
    pub fn new(headers: &HeaderMap, caps: Caps) -> Result<Self, BodyError> {
        let encoding = headers.get(CONTENT_ENCODING).map_or("", |value| value.to_str().unwrap_or("?")).trim();
        let capped = Capped { bytes: Vec::new(), cap: caps.inflated, exceeded: false };
        let sink = match encoding.to_ascii_lowercase().as_str() {
            "" | "identity" => Sink::Plain(capped),
            "gzip" | "x-gzip" => Sink::Gzip(Box::new(MultiGzDecoder::new(capped))),
            other => return Err(BodyError::UnknownEncoding(other.chars().take(40).collect())),
        };
        Ok(Self { caps, received: 0, sink })
    }

    /// Takes a chunk as it came.
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), BodyError> {
        self.received += chunk.len();
        if self.received > self.caps.wire {
            return Err(BodyError::TooLarge(self.caps.wire));
        }
        match &mut self.sink {
            Sink::Plain(capped) => capped.write_all(chunk).map_err(|_| BodyError::TooLarge(self.caps.inflated)),
            Sink::Gzip(decoder) => decoder.write_all(chunk).map_err(|_| gzip_error(decoder.get_ref())),
        }
    }

    /// The whole body, after its last chunk.
    pub fn finish(self) -> Result<Bytes, BodyError> {
        match self.sink {
            Sink::Plain(capped) => Ok(capped.bytes.into()),
            // An answer without a body may still name an encoding.
            Sink::Gzip(_) if self.received == 0 => Ok(Bytes::new()),
            Sink::Gzip(mut decoder) => {
                // `finish` consumes the decoder, so what it would say of the cap is asked first.
                decoder.try_finish().map_err(|_| gzip_error(decoder.get_ref()))?;
                decoder.finish().map(|capped| capped.bytes.into()).map_err(|_| BodyError::DamagedGzip)
            }
        }
    }
}

fn gzip_error(capped: &Capped) -> BodyError {
    if capped.exceeded { BodyError::TooLarge(capped.cap) } else { BodyError::DamagedGzip }
}

/// A buffer that refuses to grow beyond its cap.
struct Capped {
    bytes: Vec<u8>,
    cap: usize,
    exceeded: bool,
}

impl Write for Capped {
    fn write(&mut self, chunk: &[u8]) -> io::Result<usize> {
        if chunk.len() > self.cap - self.bytes.len() {
            self.exceeded = true;
            return Err(io::Error::other("cap exceeded"));
        }
        self.bytes.extend_from_slice(chunk);
        Ok(chunk.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn read(encoding: &str, body: &[u8], caps: Caps) -> Result<Bytes, BodyError> {
        let headers = HeaderMap::from_iter([(CONTENT_ENCODING, encoding.parse().unwrap())]);
        let mut reader = BodyReader::new(&headers, caps)?;
        for chunk in body.chunks(7) {
            reader.push(chunk)?;
        }
        reader.finish()
    }

    const CAPS: Caps = Caps { wire: 1000, inflated: 2000, remedy: "" };

    #[test]
    fn plain_and_gzip_bodies_are_read_up_to_their_caps() {
        let text = b"sessions ".repeat(100);
        for encoding in ["", "identity"] {
            assert_eq!(read(encoding, &text, CAPS).unwrap(), text);
        }
        for encoding in ["gzip", "GZIP", "x-gzip"] {
            assert_eq!(read(encoding, &gzip(&text), CAPS).unwrap(), text);
        }
        assert_eq!(read("gzip", &[gzip(b"one "), gzip(b"two")].concat(), CAPS).unwrap(), "one two");
        assert_eq!(read("gzip", b"", CAPS).unwrap(), "");
        assert_eq!(read("", &[b'x'; 1001], CAPS), Err(BodyError::TooLarge(1000)));
        assert_eq!(read("gzip", &gzip(&[b'x'; 2000]), CAPS).unwrap().len(), 2000);
    }

    #[test]
    fn a_gzip_bomb_stops_at_the_inflated_cap() {
        let bomb = gzip(&vec![b'x'; 10_000_000]);
        assert_eq!(read("gzip", &bomb, Caps { wire: 1 << 20, ..CAPS }), Err(BodyError::TooLarge(2000)));
        assert_eq!(read("gzip", &gzip(&[b'x'; 2001]), CAPS), Err(BodyError::TooLarge(2000)));
    }

    #[test]
    fn damaged_and_foreign_encodings_are_refused() {
        let whole = gzip(b"sessions");
        for cut in 1..whole.len() {
            assert_eq!(read("gzip", &whole[..cut], CAPS), Err(BodyError::DamagedGzip), "{cut} bytes");
        }
        assert_eq!(read("gzip", b"{\"value\":[]}", CAPS), Err(BodyError::DamagedGzip));
        assert_eq!(read("br", b"x", CAPS), Err(BodyError::UnknownEncoding("br".into())));
        assert_eq!(read("gzip, gzip", b"x", CAPS), Err(BodyError::UnknownEncoding("gzip, gzip".into())));
    }
}
