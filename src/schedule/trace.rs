//! Spans of a collection: one trace from the first read to what is published.
//!
//! They say what was done and how long it took, and decide nothing.

use tracing::Span;
use tracing::field::Empty;

use crate::store::CollectorId;
use crate::telemetry::Failure;
use crate::telemetry::traces::{self, TARGET};

use super::run::Run;

/// A whole collection.
pub(super) fn collect(id: &CollectorId) -> Span {
    tracing::info_span!(
        target: TARGET,
        parent: None,
        "collect",
        otel.name = %format_args!("collect {}/{}", id.pack, id.collector),
        otel.status_code = Empty,
        otel.status_description = Empty,
        "error.type" = Empty,
        rowmetry.source = &*id.source,
        rowmetry.pack = &*id.pack,
        rowmetry.collector = &*id.collector,
        rowmetry.rows = Empty,
        rowmetry.series = Empty,
    )
}

/// What a collection, or its part so far, came to.
pub(super) fn collected(span: &Span, result: &Result<Run, Failure>) {
    if let Ok(run) = result {
        count(span, "rowmetry.rows", run.rows);
    }
    traces::outcome(span, result);
}

/// A look at which packs fit a source.
pub(super) fn look(source: &str) -> Span {
    tracing::info_span!(target: TARGET, parent: None, "find packs", rowmetry.source = source)
}

/// Reading; `ahead` where it is the next page while the last is counted.
pub(super) fn read(ahead: bool) -> Span {
    tracing::info_span!(
        target: TARGET,
        "read",
        rowmetry.ahead = ahead.then_some(true),
        otel.status_code = Empty,
        otel.status_description = Empty,
        "error.type" = Empty,
    )
}

/// Counting what was read.
pub(super) fn fold(rows: usize) -> Span {
    tracing::info_span!(target: TARGET, "fold", rowmetry.rows = i64::try_from(rows).unwrap_or(i64::MAX))
}

/// Making what changed durable.
pub(super) fn persist() -> Span {
    tracing::info_span!(
        target: TARGET,
        "persist",
        otel.status_code = Empty,
        otel.status_description = Empty,
        "error.type" = Empty,
    )
}

/// Showing what is durable.
pub(super) fn publish() -> Span {
    tracing::info_span!(target: TARGET, "publish")
}

/// Counting a settled window again.
pub(super) fn audit() -> Span {
    tracing::info_span!(target: TARGET, "audit")
}

/// Tells a span a number. OpenTelemetry's numbers have a sign.
pub(super) fn count(span: &Span, field: &'static str, number: u64) {
    span.record(field, i64::try_from(number).unwrap_or(i64::MAX));
}
