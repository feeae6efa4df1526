use std::io;
use std::sync::{Arc, Mutex};

use opentelemetry::trace::{SpanId, TracerProvider as _};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, SpanData, SpanExporter};
use tracing::Instrument as _;
use tracing::field::Empty;
use tracing_subscriber::EnvFilter;

use super::super::log::{LogFormat, subscriber};
use super::*;

/// Spans that ended, in their order.
#[derive(Debug, Clone, Default)]
struct Kept(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Kept {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().expect("no test panics here").extend(batch);
        Ok(())
    }
}

impl Kept {
    fn spans(&self) -> Vec<SpanData> {
        self.0.lock().expect("no test panics here").clone()
    }

    fn names(&self) -> Vec<String> {
        self.spans().iter().map(|span| span.name.to_string()).collect()
    }
}

/// What was logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no test panics here").extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn text(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().expect("no test panics here").clone()).expect("text");
        text.lines().map(str::to_owned).collect()
    }
}

/// Runs something with a log and, if so, with traces.
fn observed(form: LogFormat, sampler: Option<Sampler>, body: impl FnOnce()) -> (Kept, Vec<String>) {
    let (kept, lines) = (Kept::default(), Lines::default());
    let provider = sampler
        .map(|sampler| SdkTracerProvider::builder().with_simple_exporter(kept.clone()).with_sampler(sampler).build());
    let tracer = provider.as_ref().map(|provider| provider.tracer("test"));
    let writer = lines.clone();
    let dispatch = subscriber(EnvFilter::new("trace"), form, false, tracer, move || writer.clone());
    tracing::dispatcher::with_default(&dispatch, body);
    (kept, lines.text())
}

#[test]
fn only_spans_of_ours_are_traced_and_without_noise() {
    let (kept, _) = observed(LogFormat::Text, Some(Sampler::AlwaysOn), || {
        let collect = tracing::info_span!(target: TARGET, "collect", rowmetry.rows = 3_i64);
        let _collect = collect.enter();
        let _query = tracing::info_span!(target: "sqlx", "query").entered();
        let _request = tracing::trace_span!(target: "h2", "request").entered();
        let _read = tracing::info_span!(target: TARGET, "read").entered();
        tracing::info!("read");
    });
    assert_eq!(kept.names(), ["read", "collect"]);
    let spans = kept.spans();
    assert_eq!(spans[0].parent_span_id, spans[1].span_context.span_id(), "what lies between is not traced");
    assert_eq!(spans[1].attributes.iter().map(|a| a.key.as_str()).collect::<Vec<_>>(), ["rowmetry.rows"]);
    assert!(spans[0].events.is_empty(), "lines of the log are not sent: {:?}", spans[0].events);
}

#[test]
fn what_failed_says_so() {
    let (kept, _) = observed(LogFormat::Text, Some(Sampler::AlwaysOn), || {
        let span = tracing::info_span!(
            target: TARGET, "read", "error.type" = Empty, otel.status_code = Empty, otel.status_description = Empty
        );
        outcome::<()>(&span, &Err(Failure::new(Reason::MissingTable, "no such table")));
        drop(span);
        outcome(&tracing::info_span!(target: TARGET, "fine", "error.type" = Empty), &Ok(()));
    });
    let spans = kept.spans();
    assert_eq!(spans[0].status, opentelemetry::trace::Status::error("no such table"));
    assert_eq!(spans[0].attributes.len(), 1, "{:?}", spans[0].attributes);
    assert_eq!(spans[0].attributes[0].value.as_str(), "missing_table");
    assert_eq!((&spans[1].status, spans[1].attributes.len()), (&opentelemetry::trace::Status::Unset, 0));
}

#[test]
fn without_traces_no_span_is_made_and_no_line_is_longer() {
    let log = |sampler| {
        observed(LogFormat::Text, sampler, || {
            let span = tracing::info_span!(target: TARGET, "collect", source = "shop");
            tracing::info!(rows = 3, "outside");
            let _other = tracing::info_span!("other", name = "x").entered();
            span.in_scope(|| tracing::info!(rows = 3, "inside"));
        })
        .1
    };
    let without_time = |line: &String| line.split_once(' ').expect("a time").1.trim().to_owned();
    let off: Vec<String> = log(None).iter().map(without_time).collect();
    assert_eq!(off, ["INFO outside rows=3", "INFO other{name=\"x\"}: inside rows=3"]);
    // A trace that is not sent is named nowhere.
    let unsampled: Vec<String> = log(Some(Sampler::AlwaysOff)).iter().map(without_time).collect();
    assert_eq!(unsampled, off);
}

#[test]
fn a_span_costs_nothing_where_nobody_traces() {
    observed(LogFormat::Text, None, || {
        assert!(tracing::info_span!(target: TARGET, "collect").is_disabled());
    });
    observed(LogFormat::Text, Some(Sampler::AlwaysOff), || {
        assert!(!tracing::info_span!(target: TARGET, "collect").is_disabled());
    });
}

#[test]
fn lines_inside_a_trace_name_it_as_text_and_as_json() {
    let body = || {
        tracing::info!("outside");
        let collect = tracing::info_span!(target: TARGET, "collect").entered();
        tracing::info_span!(target: TARGET, "read").in_scope(|| tracing::warn!(reason = "timeout", "two\nlines"));
        drop(collect);
    };
    let (kept, text) = observed(LogFormat::Text, Some(Sampler::AlwaysOn), body);
    let read = kept.spans()[0].span_context.clone();
    let ids = format!(" trace_id={} span_id={}", read.trace_id(), read.span_id());
    assert!(text[0].ends_with("outside"), "{text:?}");
    assert!(text.last().expect("lines").ends_with(&format!("reason=\"timeout\"{ids}")), "{text:?}");
    assert!(!text.join("").contains("collect"), "spans of ours make no line longer: {text:?}");

    let (kept, json) = observed(LogFormat::Json, Some(Sampler::AlwaysOn), body);
    let read = kept.spans()[0].span_context.clone();
    let lines: Vec<serde_json::Map<String, serde_json::Value>> =
        json.iter().map(|line| serde_json::from_str(line).expect("one object a line")).collect();
    assert_eq!(lines.len(), 2);
    assert!(!lines[0].contains_key("trace_id"), "{json:?}");
    assert_eq!(lines[1]["message"], "two\nlines");
    assert_eq!(lines[1]["reason"], "timeout");
    assert_eq!(lines[1]["trace_id"], read.trace_id().to_string());
    assert_eq!(lines[1]["span_id"], read.span_id().to_string());
    assert!(!lines[1].contains_key("span") && !lines[1].contains_key("spans"), "{json:?}");
}

#[test]
fn a_trace_goes_on_from_one_process_to_the_next() {
    propagate();
    let (trace, parent) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    let answer = |flags: &str| {
        let sent = format!("00-{trace}-{parent}-{flags}");
        let sampler = Sampler::ParentBased(Box::new(Sampler::AlwaysOn));
        let mut further = Vec::new();
        let (kept, _) = observed(LogFormat::Text, Some(sampler), || {
            let span = tracing::info_span!(target: TARGET, parent: None, "answer");
            continue_from(&span, &|name| (name == "traceparent").then_some(sent.as_str()));
            futures_util::FutureExt::now_or_never(async { further = headers() }.instrument(span));
        });
        (kept.spans(), further)
    };
    let (spans, further) = answer("01");
    assert_eq!(spans[0].span_context.trace_id().to_string(), trace);
    assert_eq!(spans[0].parent_span_id.to_string(), parent);
    let ours = spans[0].span_context.span_id();
    assert_eq!(further, [("traceparent".to_owned(), format!("00-{trace}-{ours}-01"))]);
    // Whoever began it said that it is not sent, and so says whoever goes on with it.
    let (spans, further) = answer("00");
    assert_eq!((spans.len(), further.len()), (0, 1));
    assert!(further[0].1.starts_with(&format!("00-{trace}-")) && further[0].1.ends_with("-00"), "{further:?}");
    // What is no such header begins a trace of its own.
    let (spans, _) = answer("");
    assert_ne!(spans[0].span_context.trace_id().to_string(), trace);
    assert_eq!(spans[0].parent_span_id, SpanId::INVALID);
    assert_eq!(headers(), [], "outside of a trace nothing is sent along");
}
