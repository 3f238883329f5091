//! Pure: text into gzip (RFC 1952), in parts that can be kept and joined anew.

use std::fmt;
use std::io::Write;

use flate2::write::{DeflateEncoder, GzEncoder};
use flate2::{Compression, Crc};
use hyper::body::Bytes;

/// The head of a file: the method is deflate, there is no name and no time, it was made in a hurry by an unknown
/// system. RFC 1952, section 2.3.
const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 0xff];

/// Bytes that are compressed at a time.
const CHUNK: usize = 64 * 1024;

/// A text, compressed.
pub fn compress(text: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // Writing into a Vec has no way to fail.
    let _ = encoder.write_all(text);
    let mut compressed = encoder.finish().unwrap_or_default();
    compressed.shrink_to_fit();
    Bytes::from(compressed)
}

/// Compresses pieces of text, many at a time: each call of the encoder costs more than a small piece.
pub struct Deflate {
    encoder: DeflateEncoder<Vec<u8>>,
    crc: Crc,
    pieces: String,
}

/// A part of a text, compressed.
pub struct Deflated {
    blocks: Vec<u8>,
    crc: Crc,
}

impl fmt::Debug for Deflated {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "<{} bytes>", self.blocks.len())
    }
}

/// The whole of two parts, of which the first was ended by [`Deflate::pause`] and the last by [`Deflate::finish`].
///
/// Blocks of deflate follow one another, and one of them refers to text before it only if its encoder has seen that.
pub fn join(first: &Deflated, last: &Deflated) -> Bytes {
    let mut crc = Crc::new();
    crc.combine(&first.crc);
    crc.combine(&last.crc);
    let mut whole = Vec::with_capacity(HEAD.len() + first.blocks.len() + last.blocks.len() + 8);
    whole.extend_from_slice(&HEAD);
    whole.extend_from_slice(&first.blocks);
    whole.extend_from_slice(&last.blocks);
    whole.extend_from_slice(&crc.sum().to_le_bytes());
    whole.extend_from_slice(&crc.amount().to_le_bytes());
    Bytes::from(whole)
}

impl Default for Deflate {
    /// The text repeats itself so much that the fastest level makes it a tenth already.
    fn default() -> Self {
        let pieces = String::with_capacity(CHUNK + CHUNK / 8);
        Self { encoder: DeflateEncoder::new(Vec::new(), Compression::fast()), crc: Crc::new(), pieces }
    }
}

impl Deflate {
    /// Ends this part at a whole byte, so that another one can follow.
    pub fn pause(mut self) -> Deflated {
        self.compress();
        // Writing into a Vec has no way to fail.
        let _ = self.encoder.flush();
        let mut blocks = std::mem::take(self.encoder.get_mut());
        blocks.shrink_to_fit();
        Deflated { blocks, crc: self.crc }
    }

    /// Ends this part and the whole.
    pub fn finish(mut self) -> Deflated {
        self.compress();
        Deflated { blocks: self.encoder.finish().unwrap_or_default(), crc: self.crc }
    }

    fn compress(&mut self) {
        self.crc.update(self.pieces.as_bytes());
        let _ = self.encoder.write_all(self.pieces.as_bytes());
        self.pieces.clear();
    }
}

impl fmt::Write for Deflate {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.pieces.push_str(text);
        if self.pieces.len() >= CHUNK {
            self.compress();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::io::Read;

    use flate2::read::GzDecoder;
    use proptest::prelude::*;

    use super::*;

    /// Without looking for a second file behind the first: not every client does.
    fn unpacked(gzip: &[u8]) -> String {
        let mut text = String::new();
        GzDecoder::new(gzip).read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn large_parts_that_are_joined_anew() {
        let lines: Vec<String> = (0..50_000).map(|number| format!("line {number} of many\n")).collect();
        let large = lines.concat();
        let mut first = Deflate::default();
        large.split_inclusive(' ').for_each(|piece| first.write_str(piece).unwrap());
        let first = first.pause();
        for end in ["", "end\n", &large] {
            let mut last = Deflate::default();
            last.write_str(end).unwrap();
            assert!(unpacked(&join(&first, &last.finish())) == format!("{large}{end}"), "{}", end.len());
        }
        assert!(unpacked(&compress(large.as_bytes())) == large);
    }

    proptest! {
        #[test]
        fn any_two_parts_are_one_text(first: String, last: String) {
            let (mut one, mut other) = (Deflate::default(), Deflate::default());
            one.write_str(&first).unwrap();
            other.write_str(&last).unwrap();
            prop_assert_eq!(unpacked(&join(&one.pause(), &other.finish())), first + &last);
        }
    }
}
