//! One gzip member (RFC 1952) from parts that were compressed apart, so that the large part of an
//! exposition is compressed once and the small one with each scrape.
//!
//! Each part is whole deflate blocks (RFC 1951), of which none is marked as the last, and ends on a
//! byte: what a sync flush makes. The blocks of one part refer to nothing before it, so parts can be
//! strung together; an empty last block ends the stream, and the checksum of the whole follows from
//! those of the parts.

use bytes::Bytes;
use crc32fast::Hasher;
use flate2::{Compress, Compression, FlushCompress};

/// A large part is compressed once and sent many times, over the network: the default level.
const LEVEL: Compression = Compression::new(6);
/// A stored block holds up to 64 KiB less one.
const MAX_STORED: usize = u16::MAX as usize;
/// No name, no time, no flags, an unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// An empty block of fixed codes, marked as the last.
const LAST_BLOCK: [u8; 2] = [3, 0];

/// A compressed part.
#[derive(Clone, Debug)]
pub struct Part {
    blocks: Bytes,
    checksum: Hasher,
    length: u64,
}

/// A member as it is built: its parts so far, and what its end has to say of them.
#[derive(Debug)]
pub struct Member {
    chunks: Vec<Bytes>,
    checksum: Hasher,
    length: u64,
}

impl Part {
    /// Compresses a part.
    pub fn compress(plain: &[u8]) -> std::io::Result<Self> {
        let mut deflate = Compress::new(LEVEL, false);
        let mut blocks = Vec::with_capacity(plain.len() / 8 + 64);
        loop {
            let read = usize::try_from(deflate.total_in()).unwrap_or(plain.len());
            deflate.compress_vec(&plain[read..], &mut blocks, FlushCompress::Sync)?;
            // Room that is left over means that all was flushed.
            if blocks.len() < blocks.capacity() {
                break;
            }
            blocks.reserve(blocks.capacity());
        }
        Ok(Self::new(plain, blocks))
    }

    /// Packs a part without compressing it: for one so small that time matters more than size.
    pub fn store(plain: &[u8]) -> Self {
        let mut blocks = Vec::with_capacity(plain.len() + 5 * (plain.len() / MAX_STORED + 1));
        for block in plain.chunks(MAX_STORED) {
            // Not the last, stored; its length, and that again with every bit turned over.
            let length = block.len() as u16;
            blocks.push(0);
            blocks.extend_from_slice(&length.to_le_bytes());
            blocks.extend_from_slice(&(!length).to_le_bytes());
            blocks.extend_from_slice(block);
        }
        Self::new(plain, blocks)
    }

    fn new(plain: &[u8], blocks: Vec<u8>) -> Self {
        let mut checksum = Hasher::new();
        checksum.update(plain);
        Self { blocks: blocks.into(), checksum, length: plain.len() as u64 }
    }
}

impl Member {
    /// A member that holds nothing yet.
    pub fn new() -> Self {
        Self { chunks: vec![Bytes::from_static(&HEADER)], checksum: Hasher::new(), length: 0 }
    }

    /// Puts a part at its end. No byte of the part is copied.
    pub fn push(&mut self, part: &Part) {
        self.chunks.push(part.blocks.clone());
        self.checksum.combine(&part.checksum);
        self.length += part.length;
    }

    /// The member's bytes.
    pub fn finish(mut self) -> Vec<Bytes> {
        let mut end = LAST_BLOCK.to_vec();
        end.extend_from_slice(&self.checksum.finalize().to_le_bytes());
        // Modulo 2^32, as the standard says.
        end.extend_from_slice(&(self.length as u32).to_le_bytes());
        self.chunks.push(end.into());
        self.chunks
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::bufread::GzDecoder;
    use proptest::prelude::*;

    use super::*;

    fn joined(parts: &[Part]) -> Vec<u8> {
        let mut member = Member::new();
        parts.iter().for_each(|part| member.push(part));
        member.finish().concat()
    }

    fn read(bytes: &[u8]) -> Vec<u8> {
        // One member only: what a reader that stops after the first would see.
        let mut decoder = GzDecoder::new(bytes);
        let mut plain = Vec::new();
        decoder.read_to_end(&mut plain).unwrap();
        assert!(decoder.into_inner().is_empty());
        plain
    }

    #[test]
    fn nothing_is_a_member_too() {
        assert_eq!(read(&joined(&[])), b"");
        assert_eq!(read(&joined(&[Part::store(b""), Part::compress(b"").unwrap()])), b"");
    }

    #[test]
    fn large_parts_of_both_kinds() {
        let text: Vec<u8> = (0..300_000u32).flat_map(|number| number.to_string().into_bytes()).collect();
        let parts = [Part::compress(&text).unwrap(), Part::store(&text), Part::compress(&text).unwrap()];
        assert_eq!(read(&joined(&parts)), text.repeat(3));
        assert!(parts[0].blocks.len() < text.len() / 2);
    }

    proptest! {
        #[test]
        fn any_parts_are_read_as_one(parts in prop::collection::vec((any::<bool>(), prop::collection::vec(0u8..4, 0..5000)), 0..5)) {
            let packed: Vec<_> = parts
                .iter()
                .map(|(store, plain)| if *store { Part::store(plain) } else { Part::compress(plain).unwrap() })
                .collect();
            let plain: Vec<u8> = parts.into_iter().flat_map(|(_, plain)| plain).collect();
            prop_assert_eq!(read(&joined(&packed)), plain);
        }
    }
}
