//! The status page and its JSON: which is asked for, and rendering it without holding up a scrape.
//!
//! Ages in them move on, so a rendering serves the readers of the same `STEP_SECONDS` and the same
//! version of the state. One is made at a time, on a thread for such work if the state is large: the
//! threads that answer scrapes stay free, and a flood of readers takes the memory of one.

use std::sync::Arc;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::sync::Semaphore;

use super::routes::{self, Site};
use crate::outputs::gzip;
use crate::outputs::page::query::Query;
use crate::outputs::page::{self, View};
use crate::outputs::scrape::Scrape;
// The one place that says which of the renderers is used.
use crate::outputs::status_json::status;
use crate::state::State;

/// Where the state is as JSON.
pub const STATUS: &str = "/api/v1/status";

/// Ages are true to this many seconds.
const STEP_SECONDS: i64 = 5;
/// Paths from which rendering takes milliseconds.
const MANY_PATHS: usize = 200;

/// What can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The page.
    Page(Query),
    /// The JSON.
    Status,
}

impl Site {
    /// Path of the page: `/`, unless the metrics are there.
    pub fn page_path(&self) -> &'static str {
        if self.telemetry_path == "/" { "/status" } else { "/" }
    }
}

impl Asked {
    /// What a request asks for, if it is one of these.
    pub fn of<B>(request: &Request<B>, site: &Site) -> Option<Self> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return None;
        }
        match request.uri().path() {
            path if path == site.telemetry_path => None,
            path if path == site.page_path() => {
                Some(Self::Page(Query::parse(request.uri().query().unwrap_or_default())))
            }
            STATUS => Some(Self::Status),
            _ => None,
        }
    }

    fn key(&self, step: i64, gzip: bool) -> String {
        match self {
            Self::Page(query) => format!("{step} {gzip} {}", query.link()),
            Self::Status => format!("{step} {gzip}"),
        }
    }

    fn render(&self, state: &State, now: Timestamp, site: &Site) -> String {
        match self {
            Self::Page(query) => {
                let view = View {
                    now,
                    zone: TimeZone::system(),
                    query: query.clone(),
                    server: site.server.clone(),
                    metrics: format!(".{}", site.telemetry_path),
                };
                page::render(state, &view)
            }
            Self::Status => status(state, now).to_string() + "\n",
        }
    }
}

/// Answers it; `turns` has one permit.
pub async fn respond<B>(
    asked: Asked,
    request: &Request<B>,
    scrape: Arc<Scrape>,
    site: Arc<Site>,
    turns: Arc<Semaphore>,
) -> Response<Full<Bytes>> {
    let gzip = routes::takes_gzip(request);
    let step = Timestamp::now().as_second().div_euclid(STEP_SECONDS);
    let key = asked.key(step, gzip);
    let is_page = matches!(asked, Asked::Page(_));
    let kept = match scrape.kept().get(&key) {
        Some(body) => Some(body),
        None => rendered(asked, key, step, gzip, scrape, site, turns).await,
    };
    let Some(body) = kept else { return routes::busy("The exporter is ending.\n") };
    let mut response = if is_page { page(body) } else { routes::answer(StatusCode::OK, JSON, body) };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    if gzip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";

fn page(body: Bytes) -> Response<Full<Bytes>> {
    let mut response = routes::answer(StatusCode::OK, HTML, body);
    let headers = response.headers_mut();
    if let Ok(policy) = HeaderValue::from_str(page::content_security_policy()) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

async fn rendered(
    asked: Asked,
    key: String,
    step: i64,
    gzip: bool,
    scrape: Arc<Scrape>,
    site: Arc<Site>,
    turns: Arc<Semaphore>,
) -> Option<Bytes> {
    let turn = turns.acquire_owned().await.ok()?;
    // Somebody else may have asked for the same and waited less.
    if let Some(body) = scrape.kept().get(&key) {
        return Some(body);
    }
    let now = Timestamp::from_second(step * STEP_SECONDS + STEP_SECONDS - 1).ok()?;
    let many = scrape.state().hosts().map(|(_, host)| host.paths().count()).sum::<usize>() > MANY_PATHS;
    let work = move || {
        // The turn ends with the work, also when its reader has gone.
        let _turn = turn;
        let text = asked.render(scrape.state(), now, &site);
        let body = if gzip { gzip::compress(text.as_bytes()) } else { Bytes::from(text) };
        scrape.kept().keep(key, body.clone());
        body
    };
    if many { tokio::task::spawn_blocking(work).await.ok() } else { Some(work()) }
}
