//! A published state with its texts, each rendered at most once.

use std::io::Write;
use std::sync::{Arc, OnceLock};

use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::body::Bytes;

use super::{metrics, text_format};
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

    /// The exposition; sharing it copies nothing.
    pub fn body(&self, format: Format) -> Bytes {
        match format {
            Format::OpenMetrics => self
                .openmetrics
                .get_or_init(|| Bytes::from(metrics::openmetrics(Arc::clone(&self.state))))
                .clone(),
            Format::Text => self
                .text
                .get_or_init(|| {
                    let openmetrics = self.body(Format::OpenMetrics);
                    let derived = text_format::from_openmetrics(&String::from_utf8_lossy(&openmetrics));
                    Bytes::from(derived)
                })
                .clone(),
        }
    }

    /// The same, compressed.
    pub fn gzip(&self, format: Format) -> Bytes {
        let cached = match format {
            Format::OpenMetrics => &self.openmetrics_gzip,
            Format::Text => &self.text_gzip,
        };
        cached.get_or_init(|| compress(&self.body(format))).clone()
    }
}

/// The text repeats itself so much that the fastest level makes it a tenth already.
fn compress(text: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 8), Compression::fast());
    // Writing into a Vec has no way to fail.
    let _ = encoder.write_all(text);
    Bytes::from(encoder.finish().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    #[test]
    fn each_text_is_made_once_for_a_version_of_the_state() {
        let scrape = Scrape::new(State::default());
        for format in [Format::OpenMetrics, Format::Text] {
            let (body, gzip) = (scrape.body(format), scrape.gzip(format));
            assert_eq!(scrape.body(format).as_ptr(), body.as_ptr(), "{format:?}");
            assert_eq!(scrape.gzip(format).as_ptr(), gzip.as_ptr(), "{format:?}");
            let mut text = Vec::new();
            GzDecoder::new(&*gzip).read_to_end(&mut text).unwrap();
            assert_eq!(text, body);
        }
    }
}
