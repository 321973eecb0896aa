//! The exposition: everything that is registered, as bytes in the format a scraper asked for.
//!
//! Parts that change seldom are encoded, and compressed, once for each change and format
//! ([`Versioned`], `cached`); the rest is small and encoded with each scrape. An answer strings the
//! bytes together without copying the large ones.

mod cached;
mod digits;
mod format;
mod gzip;
mod history;
mod live;
mod negotiation;
mod openmetrics;
mod protobuf;
mod text;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

pub use crate::metrics::{HttpMetrics, InFlight, Path};
use crate::metrics::{Live, Versioned};
use cached::{Cached, Found};
pub use format::{Escaping, Format};
use gzip::{Member, Part};
pub use history::HistoryWriter;
use live::Rendering;
pub use negotiation::Wanted;

/// Room for as many parts that change seldom as the program has.
const PARTS: usize = 4;
/// Room for the pieces of a body: those that are kept, what changes with each scrape, and what packs them.
const PIECES: usize = 12;

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
    pub content_type: Cow<'static, str>,
    /// `Content-Encoding`, where there is one.
    pub content_encoding: Option<&'static str>,
    /// The body, in pieces that follow each other.
    pub body: Vec<Bytes>,
}

/// Renders what is registered. Clones share it.
#[derive(Clone)]
pub struct Exposition(Arc<Parts>);

struct Parts {
    cached: Vec<Cached>,
    live: Rendering,
}

impl Exposition {
    /// Of parts that change seldom, and of one that changes with each scrape. No family is in two of
    /// them. What is told of a part by another comes after it.
    pub fn new(parts: Vec<Box<dyn Versioned>>, live: impl Live) -> Self {
        let cached = parts.into_iter().map(Cached::new).collect();
        Self(Arc::new(Parts { cached, live: Rendering::new(live) }))
    }

    /// Puts together what was encoded already, and encodes what is small: some microseconds. `None` where
    /// there is more to do: [`Exposition::render`] computes for milliseconds or reads files then, so an
    /// asynchronous caller does it on a thread that may block.
    ///
    /// # Errors
    /// As [`Exposition::render`].
    pub fn render_if_ready(&self, wanted: Wanted) -> Option<prometheus::Result<Rendered>> {
        let lines = wanted.format.lines();
        let packed = |found: &Found| wanted.encoding == Encoding::Identity || found.compressed_already().is_some();
        // Each part is looked at once: a second look might meet a newer version that is not ready.
        let last_first = self.last_first(|part| part.ready(lines).filter(packed).ok_or(())).ok()?;
        Some(self.put_together(wanted, &last_first))
    }

    /// Gathers and encodes what has changed, and puts it together.
    ///
    /// # Errors
    /// Where a collector gives a family that has no name or no samples.
    pub fn render(&self, wanted: Wanted) -> prometheus::Result<Rendered> {
        let lines = wanted.format.lines();
        let last_first = self.last_first(|part| part.get(lines))?;
        self.put_together(wanted, &last_first)
    }

    /// Looks at the parts in such an order that none tells of what an earlier one does not show yet: a poll's
    /// success is told after its sessions are shown.
    fn last_first<E>(&self, look: impl Fn(&Cached) -> Result<Found, E>) -> Result<SmallVec<[Found; PARTS]>, E> {
        let mut last_first = SmallVec::new();
        for part in self.0.cached.iter().rev() {
            last_first.push(look(part)?);
        }
        Ok(last_first)
    }

    fn put_together(&self, wanted: Wanted, last_first: &[Found]) -> prometheus::Result<Rendered> {
        let (lines, cached) = (wanted.format.lines(), last_first.iter().rev());
        let mut body = Vec::with_capacity(PIECES);
        let content_encoding = match wanted.encoding {
            Encoding::Identity => {
                body.extend(cached.map(|found| found.plain.clone()));
                self.0.live.push_to(&mut body, lines)?;
                None
            }
            Encoding::Gzip => {
                let mut member = Member::new();
                for found in cached {
                    member.push(found.compressed()?);
                }
                self.0.live.push_to(&mut body, lines)?;
                member.push(&Part::store(&body.concat()));
                body = member.finish();
                Some("gzip")
            }
        };
        Ok(Rendered { content_type: wanted.format.content_type(wanted.escaping), content_encoding, body })
    }
}

impl fmt::Debug for Exposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exposition").field("cached", &self.0.cached.len()).finish_non_exhaustive()
    }
}

impl Rendered {
    /// The body in one piece.
    pub fn bytes(&self) -> Vec<u8> {
        self.body.concat()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::atomic::{AtomicU64, Ordering};

    use prometheus::proto::MetricFamily;
    use prometheus::{IntCounter, Opts, Registry};

    use super::format::Lines;
    use super::*;

    /// A part whose one counter is its version, by how much that rises after each look at it, and how often
    /// it was gathered.
    #[derive(Clone, Default)]
    struct Fish {
        version: Arc<AtomicU64>,
        rise: Arc<AtomicU64>,
        gathered: Arc<AtomicU64>,
    }

    impl Versioned for Fish {
        fn version(&self) -> u64 {
            self.version.fetch_add(self.rise.load(Ordering::SeqCst), Ordering::SeqCst)
        }

        fn gather(&self) -> Vec<MetricFamily> {
            self.gathered.fetch_add(1, Ordering::SeqCst);
            let counter = IntCounter::with_opts(Opts::new("fish_total", "Fish.")).unwrap();
            counter.inc_by(self.version());
            prometheus::core::Collector::collect(&counter)
        }
    }

    fn exposition() -> (Exposition, Fish) {
        let (fish, live) = (Fish::default(), Registry::new());
        let counter = IntCounter::new("scrapes_total", "Scrapes.").unwrap();
        counter.inc_by(3);
        live.register(Box::new(counter)).unwrap();
        (Exposition::new(vec![Box::new(fish.clone())], live), fish)
    }

    fn wanted(format: Format, encoding: Encoding) -> Wanted {
        Wanted { format, encoding, escaping: None }
    }

    #[test]
    fn every_format_and_encoding_says_what_it_is() {
        let (exposition, _) = exposition();
        for &format in Format::ALL {
            let plain = exposition.render(wanted(format, Encoding::Identity)).unwrap();
            assert_eq!(plain.content_type, format.content_type(None));
            assert_eq!(plain.content_encoding, None);
            let packed = exposition.render(wanted(format, Encoding::Gzip)).unwrap();
            assert_eq!(packed.content_encoding, Some("gzip"));
            let mut unpacked = Vec::new();
            flate2::read::GzDecoder::new(&*packed.bytes()).read_to_end(&mut unpacked).unwrap();
            assert_eq!(unpacked, plain.bytes());
            assert_eq!(plain.bytes().ends_with(b"# EOF\n"), format.lines() == Lines::OpenMetrics);
        }
    }

    #[test]
    fn a_part_is_encoded_once_for_each_version_and_kind_of_lines() {
        let (exposition, fish) = exposition();
        let gathered = || fish.gathered.load(Ordering::SeqCst);
        let is_ready = |wanted| exposition.render_if_ready(wanted).is_some();
        let text = wanted(Format::Text, Encoding::Identity);
        assert!(!is_ready(text));
        for format in [Format::Text, Format::Text1, Format::Text] {
            exposition.render(wanted(format, Encoding::Identity)).unwrap();
        }
        assert_eq!(gathered(), 1);
        assert!(is_ready(text));
        let packed = wanted(Format::Text, Encoding::Gzip);
        assert!(!is_ready(packed));
        exposition.render(packed).unwrap();
        assert!(is_ready(packed));
        assert_eq!(gathered(), 1);
        fish.version.store(7, Ordering::SeqCst);
        assert!(!is_ready(text) && !is_ready(packed));
        let text = String::from_utf8(exposition.render(text).unwrap().bytes()).unwrap();
        assert!(text.contains("\nfish_total 7\n") && text.contains("\nscrapes_total 3\n"), "{text}");
        assert_eq!(gathered(), 2);
    }

    #[test]
    fn what_is_ready_is_rendered_though_a_newer_version_comes_meanwhile() {
        for encoding in [Encoding::Identity, Encoding::Gzip] {
            let (exposition, fish) = exposition();
            let wanted = wanted(Format::Text, encoding);
            let first = exposition.render(wanted).unwrap();
            fish.rise.store(1, Ordering::SeqCst);
            let ready = exposition.render_if_ready(wanted).unwrap().unwrap();
            assert_eq!(ready.bytes(), first.bytes());
            assert_eq!(fish.gathered.load(Ordering::SeqCst), 1, "it does not encode");
            assert!(exposition.render_if_ready(wanted).is_none(), "the newer one has yet to be encoded");
        }
    }

    /// Tells how many fish there are, of which one comes with each look.
    struct Teller(Fish);

    impl Versioned for Teller {
        fn version(&self) -> u64 {
            self.0.version.fetch_add(1, Ordering::SeqCst) + 1
        }

        fn gather(&self) -> Vec<MetricFamily> {
            let gauge = prometheus::IntGauge::new("told", "Told.").unwrap();
            gauge.set(self.0.version.load(Ordering::SeqCst) as i64);
            prometheus::core::Collector::collect(&gauge)
        }
    }

    #[test]
    fn nothing_is_told_that_is_not_shown() {
        let fish = Fish::default();
        let exposition = Exposition::new(vec![Box::new(fish.clone()), Box::new(Teller(fish))], Registry::new());
        for _ in 0..3 {
            let text = String::from_utf8(exposition.render(Wanted::default()).unwrap().bytes()).unwrap();
            let value = |name: &str| -> u64 {
                text.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().parse().unwrap()
            };
            assert!(value("told ") <= value("fish_total "), "{text}");
        }
    }

    #[test]
    fn a_version_is_freed_when_its_last_reader_ends() {
        let (exposition, fish) = exposition();
        let packed = wanted(Format::Text, Encoding::Gzip);
        let readers = [packed, wanted(Format::Text, Encoding::Identity)].map(|w| exposition.render(w).unwrap().body);
        let held = [&readers[0][1], &readers[1][0]];
        assert!(held.iter().all(|bytes| !bytes.is_unique()), "it is kept for the next scrape");
        fish.version.store(1, Ordering::SeqCst);
        exposition.render(packed).unwrap();
        assert!(held.iter().all(|bytes| bytes.is_unique()), "nobody but its readers has it");
    }

    #[test]
    fn scrapes_share_the_bytes_of_a_part() {
        let (exposition, _) = exposition();
        let render = || exposition.render(wanted(Format::OpenMetrics, Encoding::Identity)).unwrap().body;
        assert_eq!(render()[0].as_ptr(), render()[0].as_ptr());
    }
}
