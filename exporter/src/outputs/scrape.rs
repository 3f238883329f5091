//! A published state with its texts, each rendered at most once.

use std::fmt;
use std::sync::{Arc, OnceLock};

use hyper::body::Bytes;

use super::gzip::{self, Deflate, Deflated};
use super::kept::Kept;
use super::metrics::{self, Part};
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
    news: Arc<News>,
    kept: Kept,
}

/// What stays the same as long as only the exporter's own process has changed, compressed.
#[derive(Debug, Default)]
struct News {
    openmetrics: OnceLock<Deflated>,
    text: OnceLock<Deflated>,
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

    /// The next version of the state, in which nothing is new but what the exporter's own process uses.
    ///
    /// That changes every few seconds, and would else make each scrape the first one of its version.
    #[must_use]
    pub fn with_own(&self, state: State) -> Self {
        Self { state: Arc::new(state), news: Arc::clone(&self.news), ..Self::default() }
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
        let (cached, news) = match format {
            Format::OpenMetrics => (&self.openmetrics_gzip, &self.news.openmetrics),
            Format::Text => (&self.text_gzip, &self.news.text),
        };
        let deflated = |part| {
            let mut deflate = Deflate::default();
            self.write_part(format, part, &mut deflate);
            deflate
        };
        let make = || {
            let news = news.get_or_init(|| deflated(Part::News).pause());
            gzip::join(news, &deflated(Part::Own).finish())
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
        self.write_part(format, Part::News, out);
        self.write_part(format, Part::Own, out);
    }

    fn write_part(&self, format: Format, part: Part, out: &mut impl fmt::Write) {
        let state = Arc::clone(&self.state);
        // Writing into the memory has no way to fail.
        let _ = match format {
            Format::OpenMetrics => metrics::write_part(state, part, out),
            Format::Text => metrics::write_part(state, part, &mut TextFormat::new(out)),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;
    use crate::event::{Event, ProcessSample};

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
            assert_eq!(unpacked(&gzip), body);
        }
    }

    fn unpacked(gzip: &[u8]) -> Vec<u8> {
        let mut text = Vec::new();
        GzDecoder::new(gzip).read_to_end(&mut text).unwrap();
        text
    }

    fn using(cpu_seconds: f64) -> State {
        let mut state = State::default();
        state.apply(Event::Process(ProcessSample { cpu_seconds, ..ProcessSample::default() }));
        state
    }

    #[test]
    fn what_the_process_uses_costs_its_own_lines_alone() {
        for format in [Format::OpenMetrics, Format::Text] {
            let before = Scrape::new(using(1.5));
            before.gzip(format);
            let after = before.with_own(using(2.5));
            let news = |scrape: &Scrape| match format {
                Format::OpenMetrics => scrape.news.openmetrics.get().map(std::ptr::from_ref),
                Format::Text => scrape.news.text.get().map(std::ptr::from_ref),
            };
            assert_eq!(unpacked(&after.gzip(format)), after.body(format), "{format:?}");
            assert_ne!(after.body(format), before.body(format));
            assert!(news(&before).is_some() && news(&before) == news(&after));
        }
    }
}
