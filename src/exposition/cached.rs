//! What was encoded once, for as long as it holds.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::{ArcSwap, Guard};
use bytes::Bytes;

use super::format::Lines;
use super::gzip::Part;
use crate::metrics::Versioned;

/// What a scrape found. Scrapes on other cores look at the same without counting each other.
pub(super) type Found = Guard<Arc<Encoded>>;

/// A part of the exposition with its bytes in every format that was asked for.
pub(super) struct Cached {
    part: Box<dyn Versioned>,
    slots: [Slot; Lines::ALL.len()],
}

/// One format's bytes.
#[derive(Default)]
struct Slot {
    encoded: ArcSwap<Encoded>,
    /// Held while encoding, so that scrapes that come together encode once.
    encoding: Mutex<()>,
}

/// The part as it was at a version. The default is before any.
#[derive(Default)]
pub(super) struct Encoded {
    version: Option<u64>,
    /// As it is.
    pub plain: Bytes,
    compressed: OnceLock<Part>,
    /// Held while compressing, so that scrapes that come together compress once.
    compressing: Mutex<()>,
}

impl Cached {
    pub fn new(part: Box<dyn Versioned>) -> Self {
        Self { part, slots: Default::default() }
    }

    /// The bytes as they are now, if they need not be encoded first. Takes no lock.
    pub fn ready(&self, lines: Lines) -> Option<Found> {
        let version = self.part.version();
        let encoded = self.slots[lines as usize].encoded.load();
        (encoded.version == Some(version)).then_some(encoded)
    }

    /// The bytes as they are now.
    pub fn get(&self, lines: Lines) -> prometheus::Result<Found> {
        if let Some(encoded) = self.ready(lines) {
            return Ok(encoded);
        }
        let slot = &self.slots[lines as usize];
        let _encoding = slot.encoding.lock().unwrap_or_else(PoisonError::into_inner);
        // Another scrape may have done it meanwhile.
        if let Some(encoded) = self.ready(lines) {
            return Ok(encoded);
        }
        let version = self.part.version();
        let plain = lines.encode(&self.part.gather())?.into();
        let encoded = Arc::new(Encoded::new(version, plain));
        slot.encoded.store(encoded.clone());
        Ok(Guard::from_inner(encoded))
    }
}

impl Encoded {
    fn new(version: u64, plain: Bytes) -> Self {
        Self { version: Some(version), plain, ..Self::default() }
    }

    /// Compressed, if that is done already.
    pub fn compressed_already(&self) -> Option<&Part> {
        self.compressed.get()
    }

    /// Compressed: the first time takes a while.
    pub fn compressed(&self) -> std::io::Result<&Part> {
        self.compressed_with(Part::compress)
    }

    fn compressed_with(&self, compress: impl FnOnce(&[u8]) -> std::io::Result<Part>) -> std::io::Result<&Part> {
        if let Some(part) = self.compressed.get() {
            return Ok(part);
        }
        let _compressing = self.compressing.lock().unwrap_or_else(PoisonError::into_inner);
        // Another scrape may have done it meanwhile.
        if let Some(part) = self.compressed.get() {
            return Ok(part);
        }
        let part = compress(&self.plain)?;
        Ok(self.compressed.get_or_init(|| part))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn scrapes_that_come_together_compress_once() {
        const SCRAPES: usize = 8;
        let encoded = Encoded::new(1, Bytes::from_static(b"fish_total 1\n"));
        let (together, compressions) = (Barrier::new(SCRAPES), AtomicUsize::new(0));
        let scrape = || {
            together.wait();
            let compress = |plain: &[u8]| {
                compressions.fetch_add(1, Ordering::SeqCst);
                // Time for the others to come as well.
                (0..1000).for_each(|_| thread::yield_now());
                Part::compress(plain)
            };
            encoded.compressed_with(compress).unwrap();
        };
        thread::scope(|scope| {
            for _ in 0..SCRAPES {
                scope.spawn(scrape);
            }
        });
        assert_eq!(compressions.load(Ordering::SeqCst), 1);
    }
}
