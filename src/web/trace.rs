//! The span of a request, which goes on with the scraper's own trace if it names one.
//!
//! Health and readiness are asked every few seconds, and what is asked of no path of ours may come from anybody: neither is
//! traced.

use hyper::Request;
use hyper::header::HeaderMap;
use tracing::Span;
use tracing::field::Empty;

use crate::telemetry::traces::{self, TARGET};

/// The paths whose requests are traced.
const ROUTES: [&str; 4] = ["/metrics", "/", "/api/status", "/-/reload"];

/// The span of a request.
pub(super) fn answer<B>(request: &Request<B>) -> Span {
    let Some(route) = ROUTES.into_iter().find(|route| *route == request.uri().path()) else { return Span::none() };
    let method = match request.method().as_str() {
        known @ ("GET" | "HEAD" | "POST") => known,
        _ => return Span::none(),
    };
    let span = tracing::info_span!(
        target: TARGET,
        parent: None,
        "answer",
        otel.name = %format_args!("{method} {route}"),
        otel.kind = "server",
        otel.status_code = Empty,
        "error.type" = Empty,
        http.request.method = method,
        http.route = route,
        url.path = route,
        url.scheme = "http",
        network.protocol.name = "http",
        network.protocol.version = version(request),
        http.response.status_code = Empty,
    );
    traces::continue_from(&span, &|name| header(request.headers(), name));
    span
}

/// Tells it what became of the request.
pub(super) fn answered(span: &Span, status: hyper::StatusCode) {
    span.record("http.response.status_code", i64::from(status.as_u16()));
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
        span.record("error.type", status.as_str());
    }
}

fn version<B>(request: &Request<B>) -> &'static str {
    match request.version() {
        hyper::Version::HTTP_10 => "1.0",
        _ => "1.1",
    }
}

/// A header that is there once: of two traces named, neither is the one to go on with (W3C Trace Context).
fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())?.to_str().ok()
}
