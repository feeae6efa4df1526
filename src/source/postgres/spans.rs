//! Spans of statements: whom they are sent to, and the code with which the server refuses one.
//!
//! A statement's text is never part of them.

use sqlx::postgres::PgConnectOptions;
use tracing::{Instrument as _, Span};

use super::failure::failure;
use crate::source::trace::Peer;
use crate::telemetry::{Failure, traces};

/// What a look at the server's own moment and at a relation's shape reads.
pub(super) const CATALOG: &str = "pg_catalog";

/// Runs one statement within its span.
pub(super) async fn asked<T>(
    span: Span,
    statement: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    let result = statement.instrument(span.clone()).await;
    if let Err(error) = &result {
        let failure = refused(&span, error, "");
        traces::failed(&span, failure.reason, &failure.message);
    }
    result
}

/// A driver's error as a failure; its span gets the code (SQLSTATE).
pub(super) fn refused(span: &Span, error: &sqlx::Error, doing: &str) -> Failure {
    if let Some(code) = error.as_database_error().and_then(|refusal| refusal.code()) {
        span.record("db.response.status_code", &*code);
    }
    failure(error, doing)
}

/// The server that these options lead to.
pub(super) fn peer(options: &PgConnectOptions) -> Peer {
    let socket = options.get_socket().map(|path| path.display().to_string());
    let port = socket.is_none().then(|| options.get_port());
    let address = socket.unwrap_or_else(|| options.get_host().to_owned());
    let namespace = options.get_database().unwrap_or_default().to_owned();
    Peer { system: "postgresql", namespace, address: Some(address), port }
}
