//! What a request that writes carries: lines of line protocol, gzipped.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::body::Bytes;

/// Lines as they go over the wire; a clone shares the bytes.
#[derive(Clone, Debug)]
pub struct Payload {
    bytes: Bytes,
    lines: usize,
}

impl Payload {
    /// Compresses prepared lines, at the fastest level: a line is mostly what the line before it was, so
    /// more effort gains little.
    pub fn of(lines: &[String]) -> Self {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        for line in lines {
            // Writing into a Vec has no way to fail.
            let _ = encoder.write_all(line.as_bytes());
            let _ = encoder.write_all(b"\n");
        }
        Self { bytes: Bytes::from(encoder.finish().unwrap_or_default()), lines: lines.len() }
    }

    /// The compressed bytes.
    pub fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }

    /// How many lines it has.
    pub fn lines(&self) -> usize {
        self.lines
    }
}
