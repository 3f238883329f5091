//! A published state with its texts, each rendered at most once.

use std::fmt;
use std::io::Write;
use std::sync::{Arc, OnceLock};

use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::body::Bytes;

use super::kept::Kept;
use super::metrics;
use super::text_format::TextFormat;
use crate::state::State;

/// One version of the state, and what scrapes of it are answered with.
///
/// The texts are made by the first scrape that asks for them and shared by all others, so that a
/// flood of scrapes costs one rendering per version of the state.
#[derive(Debug, Default)]
pub struct Scrape {
    state: Arc<State>,
    openmetrics: OnceLock<Bytes>,
    text: OnceLock<Bytes>,
    openmetrics_gzip: OnceLock<Bytes>,
    text_gzip: OnceLock<Bytes>,
    kept: Kept,
}

/// The formats that a scrape can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `OpenMetrics` 1.0.0.
    OpenMetrics,
    /// Prometheus text 0.0.4.
    Text,
}

impl Format {
    /// The value of `Content-Type`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

impl Scrape {
    /// A state that will not change any more.
    pub fn new(state: State) -> Self {
        Self { state: Arc::new(state), ..Self::default() }
    }

    /// The state.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Other texts of this version of the state.
    pub fn kept(&self) -> &Kept {
        &self.kept
    }

    /// The exposition; sharing it copies nothing.
    pub fn body(&self, format: Format) -> Bytes {
        let make = || {
            let mut out = String::new();
            self.write(format, &mut out);
            // It has grown by doubling, and stays until the state changes.
            out.shrink_to_fit();
            Bytes::from(out)
        };
        self.plain(format).get_or_init(make).clone()
    }

    /// The same, compressed as it is made: the whole text is never in the memory for it.
    pub fn gzip(&self, format: Format) -> Bytes {
        let cached = match format {
            Format::OpenMetrics => &self.openmetrics_gzip,
            Format::Text => &self.text_gzip,
        };
        let make = || {
            let mut gzip = Gzip::default();
            match self.plain(format).get() {
                Some(text) => gzip.compress(text),
                None => self.write(format, &mut gzip),
            }
            gzip.finish()
        };
        cached.get_or_init(make).clone()
    }

    fn plain(&self, format: Format) -> &OnceLock<Bytes> {
        match format {
            Format::OpenMetrics => &self.openmetrics,
            Format::Text => &self.text,
        }
    }

    fn write(&self, format: Format, out: &mut impl fmt::Write) {
        let state = Arc::clone(&self.state);
        // Writing into the memory has no way to fail.
        let _ = match format {
            Format::OpenMetrics => metrics::write_openmetrics(state, out),
            Format::Text => metrics::write_openmetrics(state, &mut TextFormat::new(out)),
        };
    }
}

/// A text, compressed.
pub fn compress(text: &[u8]) -> Bytes {
    let mut gzip = Gzip::default();
    gzip.compress(text);
    gzip.finish()
}

/// Compresses pieces of text, many at a time: each call of the encoder costs more than a small piece.
struct Gzip {
    encoder: GzEncoder<Vec<u8>>,
    pieces: String,
}

/// Bytes that are compressed at a time.
const CHUNK: usize = 64 * 1024;

impl Default for Gzip {
    /// The text repeats itself so much that the fastest level makes it a tenth already.
    fn default() -> Self {
        let pieces = String::with_capacity(CHUNK + CHUNK / 8);
        Self { encoder: GzEncoder::new(Vec::new(), Compression::fast()), pieces }
    }
}

impl Gzip {
    fn compress(&mut self, text: &[u8]) {
        // Writing into a Vec has no way to fail.
        let _ = self.encoder.write_all(text);
    }

    fn finish(mut self) -> Bytes {
        let pieces = std::mem::take(&mut self.pieces);
        self.compress(pieces.as_bytes());
        let mut compressed = self.encoder.finish().unwrap_or_default();
        compressed.shrink_to_fit();
        Bytes::from(compressed)
    }
}

impl fmt::Write for Gzip {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.pieces.push_str(text);
        if self.pieces.len() >= CHUNK {
            let pieces = std::mem::take(&mut self.pieces);
            self.compress(pieces.as_bytes());
            self.pieces = pieces;
            self.pieces.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    #[test]
    fn each_text_is_made_once_for_a_version_of_the_state() {
        for (format, gzip_first) in [Format::OpenMetrics, Format::Text]
            .into_iter()
            .flat_map(|format| [(format, false), (format, true)])
        {
            let scrape = Scrape::new(State::default());
            if gzip_first {
                scrape.gzip(format);
            }
            let (body, gzip) = (scrape.body(format), scrape.gzip(format));
            assert_eq!(scrape.body(format).as_ptr(), body.as_ptr(), "{format:?}");
            assert_eq!(scrape.gzip(format).as_ptr(), gzip.as_ptr(), "{format:?}");
            let mut text = Vec::new();
            GzDecoder::new(&*gzip).read_to_end(&mut text).unwrap();
            assert_eq!(text, body);
        }
    }
}
