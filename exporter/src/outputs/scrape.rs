//! A published state with its texts, each rendered at most once.

use std::sync::{Arc, OnceLock};

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
}
