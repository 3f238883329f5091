//! Pure: a request's head and what was published last into a response.

use std::pin::Pin;
use std::task::{Context, Poll};

use http_body_util::Full;
use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::connections::Serving;
use super::negotiation;
use crate::outputs::scrape::Scrape;

/// What is served where.
#[derive(Clone, Debug)]
pub struct Site {
    /// Path of the metrics, `/metrics` as a rule.
    pub telemetry_path: String,
}

/// Where a `POST` asks for the configuration to be read again.
const RELOAD: &str = "/-/reload";

const PLAIN: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";

/// Answers a request; its body is never looked at.
///
/// A `HEAD` gets the same as a `GET`: hyper sends the head of it only.
pub fn respond<B>(request: &Request<B>, scrape: &Scrape, site: &Site) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    let known = path == site.telemetry_path || matches!(path, "/" | "/-/healthy" | "/-/ready" | RELOAD);
    if !known {
        return plain(StatusCode::NOT_FOUND, "There is nothing here; / lists what there is.\n");
    }
    if path == RELOAD {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "Only POST is possible here.\n");
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        return response;
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "Only GET and HEAD are possible here.\n");
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match path {
        path if path == site.telemetry_path => metrics(request, scrape),
        "/-/healthy" => plain(StatusCode::OK, "The exporter is running.\n"),
        "/-/ready" if scrape.state().has_caught_up() => plain(StatusCode::OK, "The exporter is ready.\n"),
        "/-/ready" => not_ready(),
        _ => answer(StatusCode::OK, HTML, landing_page(site)),
    }
}

/// Whether a request asks for the configuration to be read again.
pub fn is_reload<B>(request: &Request<B>) -> bool {
    request.method() == Method::POST && request.uri().path() == RELOAD
}

/// The answer to such a request, once it is known whether the configuration was taken over.
pub fn reloaded(taken: Option<bool>) -> Response<Full<Bytes>> {
    match taken {
        Some(true) => plain(StatusCode::OK, "The configuration was read again.\n"),
        Some(false) => plain(
            StatusCode::INTERNAL_SERVER_ERROR,
            "The configuration has errors, which are in the exporter's log; the one before stays in use.\n",
        ),
        None => plain(StatusCode::SERVICE_UNAVAILABLE, "The exporter is ending.\n"),
    }
}

/// Before the log is read to its end, counters stand below where they stood before a restart; a scrape
/// of them would look like a reset, and the rest of the log like news.
fn metrics<B>(request: &Request<B>, scrape: &Scrape) -> Response<Full<Bytes>> {
    if !scrape.state().has_caught_up() {
        return not_ready();
    }
    let format = negotiation::format(header(request, &header::ACCEPT).as_deref());
    let gzip = negotiation::takes_gzip(header(request, &header::ACCEPT_ENCODING).as_deref());
    let body = if gzip { scrape.gzip(format) } else { scrape.body(format) };
    let mut response = answer(StatusCode::OK, format.content_type(), body);
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
    if gzip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// All values of a header together.
fn header<B>(request: &Request<B>, name: &HeaderName) -> Option<String> {
    let values: Vec<&str> =
        request.headers().get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    (!values.is_empty()).then(|| values.join(","))
}

fn not_ready() -> Response<Full<Bytes>> {
    plain(StatusCode::SERVICE_UNAVAILABLE, "Not ready yet: the log is still being read.\n")
}

/// A line of text with a status.
pub fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    answer(status, PLAIN, text)
}

/// A line of text, and the connection ends after it.
pub fn last(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = plain(status, text);
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// There is too much to do right now.
pub fn busy(text: &'static str) -> Response<Full<Bytes>> {
    let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, text);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn answer(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// A body during which its connection counts as being served.
pub struct Tracked {
    body: Full<Bytes>,
    _serving: Serving,
}

impl Tracked {
    /// Ends `serving` when the body is dropped.
    pub fn new(body: Full<Bytes>, serving: Serving) -> Self {
        Self { body, _serving: serving }
    }
}

impl Body for Tracked {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn landing_page(site: &Site) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head><title>Backup exporter</title></head>\n<body>\n\
         <h1>Backup exporter</h1>\n<p>Version {}</p>\n<ul>\n\
         <li><a href=\"{}\">Metrics</a></li>\n<li><a href=\"/-/healthy\">Healthy</a></li>\n\
         <li><a href=\"/-/ready\">Ready</a></li>\n</ul>\n</body>\n</html>\n",
        env!("CARGO_PKG_VERSION"),
        // Checked when it was read from the command line: it needs no escaping.
        site.telemetry_path,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, Input};
    use crate::state::State;

    fn scrape(ready: bool) -> Scrape {
        let mut state = State::default();
        if ready {
            for input in Input::ALL {
                state.apply(Event::CaughtUp(input));
            }
        }
        Scrape::new(state)
    }

    fn ask(method: Method, path: &str, ready: bool) -> Response<Full<Bytes>> {
        let request = Request::builder().method(method).uri(path).body(()).unwrap();
        respond(&request, &scrape(ready), &Site { telemetry_path: "/metrics".to_owned() })
    }

    #[test]
    fn statuses() {
        for (method, path, ready, status) in [
            (Method::GET, "/", false, 200),
            (Method::GET, "/-/healthy", false, 200),
            (Method::GET, "/-/ready", false, 503),
            (Method::GET, "/-/ready", true, 200),
            (Method::GET, "/metrics", false, 503),
            (Method::GET, "/metrics?x=1", true, 200),
            (Method::HEAD, "/metrics", true, 200),
            (Method::POST, "/metrics", true, 405),
            (Method::DELETE, "/", true, 405),
            (Method::GET, "/metrics/", true, 404),
            (Method::POST, "/nothing", true, 404),
            (Method::GET, "/-/reload", true, 405),
        ] {
            assert_eq!(ask(method.clone(), path, ready).status(), status, "{method} {path} {ready}");
        }
        assert_eq!(ask(Method::PUT, "/", true).headers()["allow"], "GET, HEAD");
    }

    #[test]
    fn the_type_is_what_was_asked_for() {
        assert_eq!(
            ask(Method::GET, "/metrics", true).headers()["content-type"],
            "text/plain; version=0.0.4; charset=utf-8"
        );
    }
}
