//! What was encoded once, for as long as it holds.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::ArcSwapOption;
use bytes::Bytes;

use super::format::Lines;
use super::gzip::Part;
use crate::metrics::Versioned;

/// A part of the exposition with its bytes in every format that was asked for.
pub(super) struct Cached {
    part: Box<dyn Versioned>,
    slots: [Slot; Lines::ALL.len()],
}

/// One format's bytes.
#[derive(Default)]
struct Slot {
    encoded: ArcSwapOption<Encoded>,
    /// Held while encoding, so that scrapes that come together encode once.
    encoding: Mutex<()>,
}

/// The part as it was at a version.
pub(super) struct Encoded {
    version: u64,
    /// As it is.
    pub plain: Bytes,
    compressed: OnceLock<Part>,
}

impl Cached {
    pub fn new(part: Box<dyn Versioned>) -> Self {
        Self { part, slots: Default::default() }
    }

    /// The bytes as they are now, if they need not be encoded first. Takes no lock.
    pub fn ready(&self, lines: Lines) -> Option<Arc<Encoded>> {
        let version = self.part.version();
        self.slots[lines as usize].encoded.load_full().filter(|encoded| encoded.version == version)
    }

    /// The bytes as they are now.
    pub fn get(&self, lines: Lines) -> prometheus::Result<Arc<Encoded>> {
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
        let encoded = Arc::new(Encoded { version, plain, compressed: OnceLock::new() });
        slot.encoded.store(Some(encoded.clone()));
        Ok(encoded)
    }
}

impl Encoded {
    /// Compressed, if that is done already.
    pub fn compressed_already(&self) -> Option<&Part> {
        self.compressed.get()
    }

    /// Compressed: the first time takes a while.
    pub fn compressed(&self) -> std::io::Result<&Part> {
        if let Some(part) = self.compressed.get() {
            return Ok(part);
        }
        let part = Part::compress(&self.plain)?;
        Ok(self.compressed.get_or_init(|| part))
    }
}
