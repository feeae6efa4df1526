//! Spans of what is asked of sources, by OpenTelemetry's stable conventions for databases and HTTP clients.
//!
//! They hold names that a pack or the operator wrote, and codes: never a statement's text, a value, a credential or a path of the
//! operator's own.

use std::future::poll_fn;
use std::pin::pin;

use tracing::field::Empty;
use tracing::{Dispatch, Instrument as _, Span, dispatcher};

use crate::telemetry::Failure;
use crate::telemetry::traces::{self, TARGET};

/// Who is asked.
#[derive(Debug, Clone, Default)]
pub struct Peer {
    /// `db.system.name`.
    pub system: &'static str,
    /// `db.namespace`: the database, or its number.
    pub namespace: String,
    /// `server.address`: host name, address or socket.
    pub address: Option<String>,
    /// `server.port`.
    pub port: Option<u16>,
}

impl Peer {
    /// A span of one statement or command. `target` is the table, view or subject; none where there are several or none.
    pub fn asked(&self, operation: &'static str, target: Option<&str>) -> Span {
        tracing::info_span!(
            target: TARGET,
            "ask",
            otel.name = %Summary(operation, target),
            otel.kind = "client",
            otel.status_code = Empty,
            otel.status_description = Empty,
            "error.type" = Empty,
            db.system.name = self.system,
            db.namespace = self.namespace,
            db.operation.name = operation,
            db.collection.name = target,
            db.query.summary = %Summary(operation, target),
            db.response.status_code = Empty,
            server.address = self.address,
            server.port = self.port.map(i64::from),
            rowmetry.commands = Empty,
        )
    }

    /// A span of a new connection, up to the point where it can be used.
    pub fn connected(&self) -> Span {
        tracing::info_span!(
            target: TARGET,
            "connect",
            otel.kind = "client",
            otel.status_code = Empty,
            otel.status_description = Empty,
            "error.type" = Empty,
            db.system.name = self.system,
            db.namespace = self.namespace,
            db.response.status_code = Empty,
            server.address = self.address,
            server.port = self.port.map(i64::from),
        )
    }
}

/// A span of one request to an HTTP server.
pub fn requested(method: &'static str, url: &url::Url) -> Span {
    tracing::info_span!(
        target: TARGET,
        "request",
        otel.name = method,
        otel.kind = "client",
        otel.status_code = Empty,
        otel.status_description = Empty,
        "error.type" = Empty,
        http.request.method = method,
        http.response.status_code = Empty,
        url.scheme = url.scheme(),
        server.address = url.host_str(),
        server.port = url.port_or_known_default().map(i64::from),
    )
}

/// Runs something within its span, and tells the span how it failed if it did.
pub async fn traced<T>(span: Span, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let result = work.instrument(span.clone()).await;
    traces::outcome(&span, &result);
    result
}

/// Runs what yields many rows outside of every span. The driver enters the current span anew for each row that it yields, which
/// for a large page costs more than the rest of tracing together; within a trace its own words in the log are lost for that.
pub async fn row_by_row<T>(work: impl Future<Output = T>) -> T {
    if Span::current().is_none() {
        return work.await;
    }
    let mut work = pin!(work);
    poll_fn(|context| dispatcher::with_default(&Dispatch::none(), || work.as_mut().poll(context))).await
}

/// `db.query.summary`: what is done and to what.
struct Summary<'a>(&'static str, Option<&'a str>);

impl std::fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)?;
        self.1.map_or(Ok(()), |target| write!(f, " {target}"))
    }
}
