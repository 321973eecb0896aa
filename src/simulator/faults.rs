//! Answers as a service, a gateway or a network spoils them.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use bytes::{BufMut, Bytes, BytesMut};
use flate2::{Compress, Compression, Crc, FlushCompress};
use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RETRY_AFTER};

use super::answer::{Answer, Call, Payload};
use super::body::{Script, Step};
use super::options::Options;
use super::scenario::Scenario;

/// The size of a piece of an endless body.
const CHUNK: usize = 1 << 20;
/// How many pieces: 4 GiB, more than anybody should take in.
const CHUNKS: u64 = 4096;
/// The start of a body that then goes on with spaces.
const OPENING: &[u8] = br#"{"value":["#;

/// The whole answer where the scenario leaves nothing of the right one.
pub(super) fn instead(scenario: Scenario, call: &Call, options: &Options) -> Option<Answer> {
    const HTML: &str = "text/html; charset=utf-8";
    const PAGE: &str = "<!DOCTYPE html>\r\n<html><head><title>Gateway</title></head><body><h1>Our services aren't \
                        available right now</h1></body></html>\r\n";
    let throttled = || {
        let message = "Too many requests have been sent. Please try again later.";
        Answer::error(call, StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message)
    };
    let failed = |status, code| Answer::lower_case_error(call, status, code, "The service could not answer.");
    Some(match scenario {
        Scenario::Throttled => throttled().with(RETRY_AFTER, "1"),
        Scenario::ThrottledFractional => throttled().with(RETRY_AFTER, "2.128"),
        Scenario::ThrottledDate => {
            // Dates have whole seconds: two more are at least one more.
            let date = SystemTime::from(call.now) + Duration::from_secs(2);
            throttled().with(RETRY_AFTER, httpdate::fmt_http_date(date))
        }
        Scenario::ThrottledSilent => throttled(),
        Scenario::ServerError => failed(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError"),
        Scenario::Unavailable => failed(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"),
        Scenario::GatewayTimeout => failed(StatusCode::GATEWAY_TIMEOUT, ""),
        Scenario::HtmlError => Answer::new(StatusCode::BAD_GATEWAY, HTML, PAGE),
        Scenario::HtmlBody => Answer::new(StatusCode::OK, HTML, PAGE),
        Scenario::HugeBody => endless("application/json; charset=utf-8"),
        Scenario::GzipBomb => gzip_bomb(),
        Scenario::Redirect => {
            let location = format!("{}{}", options.foreign_origin, call.path);
            Answer::new(StatusCode::FOUND, HTML, "").with(LOCATION, location)
        }
        _ => return None,
    })
}

/// The right answer with the damage that the scenario does to its body.
pub(super) fn damaged(scenario: Scenario, answer: Answer, options: &Options) -> Answer {
    let between = match scenario {
        Scenario::CutBody => Step::Cut,
        Scenario::Slow => Step::Stall(options.stall),
        _ => return answer,
    };
    with_a_break(answer, between)
}

/// The answer with something in the middle of its body.
pub(super) fn with_a_break(answer: Answer, between: Step) -> Answer {
    let Payload::Plain(whole) = answer.payload else { return answer };
    let length = whole.len().to_string();
    let whole = Bytes::from(whole);
    let middle = whole.len() / 2;
    let steps = [Step::Data(whole.slice(..middle)), between, Step::Data(whole.slice(middle..))];
    let payload = Payload::Scripted(Script::new(steps));
    Answer { payload, ..answer }.with(CONTENT_LENGTH, length)
}

/// A body that goes on and on.
pub(super) fn endless(content_type: &str) -> Answer {
    let spaces = Bytes::from(vec![b' '; CHUNK]);
    scripted(content_type, [Step::Data(Bytes::from_static(OPENING)), Step::Repeat(spaces, CHUNKS)])
}

fn scripted(content_type: &str, steps: impl IntoIterator<Item = Step>) -> Answer {
    let headers = vec![(CONTENT_TYPE, content_type.to_owned())];
    Answer { status: StatusCode::OK, headers, payload: Payload::Scripted(Script::new(steps)), write: false }
}

fn gzip_bomb() -> Answer {
    let Bomb { opening, spaces, trailer } = &*BOMB;
    let steps = [Step::Data(opening.clone()), Step::Repeat(spaces.clone(), CHUNKS), Step::Data(trailer.clone())];
    scripted("application/json; charset=utf-8", steps).with(CONTENT_ENCODING, "gzip")
}

/// A last, empty block of stored bytes: the end of what [`flushed`] begins.
pub(super) const END_OF_DEFLATE: [u8; 5] = [1, 0, 0, 0xff, 0xff];

/// A valid gzip stream of the same endless body. One piece is compressed once: a full flush leaves
/// nothing behind that the next piece could refer to, so the same bytes serve for all.
struct Bomb {
    opening: Bytes,
    spaces: Bytes,
    trailer: Bytes,
}

static BOMB: LazyLock<Bomb> = LazyLock::new(|| {
    /// Magic, deflate, no flags, no time, no extra flags, unknown system.
    const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let chunk = vec![b' '; CHUNK];
    let mut opening = BytesMut::from(&HEADER[..]);
    opening.put_slice(&flushed(OPENING));

    let mut crc = Crc::new();
    crc.update(OPENING);
    let mut piece = Crc::new();
    piece.update(&chunk);
    for _ in 0..CHUNKS {
        crc.combine(&piece);
    }
    let length = OPENING.len() as u64 + CHUNK as u64 * CHUNKS;
    let mut trailer = BytesMut::from(&END_OF_DEFLATE[..]);
    trailer.put_u32_le(crc.sum());
    // The format keeps the length modulo 2^32.
    trailer.put_u32_le(length as u32);
    Bomb { opening: opening.freeze(), spaces: flushed(&chunk).into(), trailer: trailer.freeze() }
});

/// A part of a deflate stream to which any other can be added.
pub(super) fn flushed(bytes: &[u8]) -> Vec<u8> {
    /// Enough for a piece of one byte over and over, and for its markers.
    const SLACK: usize = 4096;
    let mut out = Vec::with_capacity(bytes.len() / 100 + SLACK);
    // Into memory, with room: it cannot fail, and a bomb that were one byte short would show in its test.
    let _ = Compress::new(Compression::best(), false).compress_vec(bytes, &mut out, FlushCompress::Full);
    out
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    #[test]
    fn the_bomb_is_a_valid_gzip_stream_and_small() {
        let compressed = BOMB.opening.len() as u64 + BOMB.spaces.len() as u64 * CHUNKS + BOMB.trailer.len() as u64;
        assert!(compressed < 16 << 20, "{compressed}");
        // A reader that stops early is as good as the real one: 64 of the 4096 pieces.
        let mut start = BOMB.opening.to_vec();
        (0..64).for_each(|_| start.extend_from_slice(&BOMB.spaces));
        let mut decoder = GzDecoder::new(&start[..]);
        let mut inflated = vec![0; OPENING.len() + 64 * CHUNK];
        decoder.read_exact(&mut inflated).unwrap();
        assert!(inflated.starts_with(OPENING));
        assert!(inflated[OPENING.len()..].iter().all(|byte| *byte == b' '));
    }
}
