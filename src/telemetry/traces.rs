//! Our own traces, as the rest of the program makes them: which spans are ours, how a trace goes on from one process to the next,
//! and which trace a line of the log belongs to.
//!
//! Whoever makes a span uses `tracing` with [`TARGET`]. Where nobody asked for traces, that costs a look at one flag. Nothing
//! here sends anything, and no attribute may hold a secret or a row.

use opentelemetry::propagation::{Extractor, Injector};
use opentelemetry::trace::TraceContextExt;
use opentelemetry::{Context, global};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracer;
use tracing::{Metadata, Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use super::{Failure, Reason};

/// The target of the spans that are traced. The log does not show them, and no other span is traced: what the drivers and the
/// exporter itself do is not.
pub const TARGET: &str = "rowmetry::trace";

/// Whether a span is one of ours, which are traced and not logged.
pub fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.target() == TARGET
}

/// From now on a request's `traceparent` is continued, and ours is sent along. Without this neither is (W3C Trace Context).
pub fn propagate() {
    global::set_text_map_propagator(TraceContextPropagator::new());
}

/// Makes a span the child of the one that a request names, if it names one and such are continued. `header` gives the value of
/// a header. It must be called before the span is entered.
pub fn continue_from<'h>(span: &Span, header: &'h dyn Fn(&str) -> Option<&'h str>) {
    if span.is_disabled() {
        return;
    }
    let headers = Headers(header);
    let context = global::get_text_map_propagator(|propagator| propagator.extract(&headers));
    if context.has_active_span() {
        // It fails where spans are not traced; then there is nothing to continue.
        let _ = span.set_parent(context);
    }
}

/// The headers by which another process continues the trace that we are in; none where that is not wanted.
pub fn headers() -> Vec<(String, String)> {
    let mut headers = Sent::default();
    let context = Context::current();
    if context.span().span_context().is_valid() {
        global::get_text_map_propagator(|propagator| propagator.inject_context(&context, &mut headers));
    }
    headers.0
}

/// Trace and span that are going on here, as 32 and 16 digits; none outside of a trace, and in one that is not sent.
pub fn ids() -> Option<(String, String)> {
    let context = Context::current();
    let span = context.span();
    let ids = span.span_context();
    (ids.is_valid() && ids.is_sampled()).then(|| (ids.trace_id().to_string(), ids.span_id().to_string()))
}

/// Tells a span what it came to. It needs the fields `otel.status_code`, `otel.status_description` and `error.type`.
pub fn outcome<T>(span: &Span, result: &Result<T, Failure>) {
    if let Err(failure) = result {
        failed(span, failure.reason, &failure.message);
    }
}

/// Tells a span that it failed.
pub fn failed(span: &Span, reason: Reason, message: &str) {
    span.record("error.type", reason.as_str());
    span.record("otel.status_code", "ERROR");
    span.record("otel.status_description", message);
}

/// What makes traces of our spans.
pub(super) fn layer<S>(tracer: SdkTracer) -> impl Layer<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    tracing_opentelemetry::layer()
        .with_tracer(tracer)
        // Where in the source a span was made, by which thread, and how long it waited: noise for those who operate it.
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_target(false)
        .with_filter(filter_fn(is_ours))
}

struct Headers<'h>(&'h dyn Fn(&str) -> Option<&'h str>);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0(key)
    }

    fn keys(&self) -> Vec<&str> {
        Vec::new()
    }
}

#[derive(Default)]
struct Sent(Vec<(String, String)>);

impl Injector for Sent {
    fn set(&mut self, key: &str, value: String) {
        // An empty `tracestate` says nothing.
        if !value.is_empty() {
            self.0.push((key.to_owned(), value));
        }
    }
}

#[cfg(test)]
mod tests;
