//! The program's own log, on standard error: text for people, JSON for machines. Inside a trace, each line names it.
//!
//! It is set up once, at the start of the process. It never goes to standard output, which belongs to what a command
//! prints, and never to a file.

use std::fmt;
use std::io::IsTerminal;

use opentelemetry_sdk::trace::SdkTracer;
use tracing::{Dispatch, Event, Subscriber};
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::fmt::format::{DefaultFields, Format, JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::{Filter, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use super::traces;

/// What is logged when nobody says otherwise. The database driver tells each statement at `info`-like levels; only its
/// warnings are worth an operator's time.
const DEFAULT_FILTER: &str = "info,sqlx=warn";

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// For people; coloured on a terminal.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The filter could not be read.
#[derive(Debug, thiserror::Error)]
#[error(
    "--log (or RUST_LOG) cannot be read: {0}; write a level (error, warn, info, debug, trace) or `info,rowmetry=debug`"
)]
pub struct BadFilter(String);

/// The filter where nobody named one, but OpenTelemetry's own variable says how much is to be said of sending
/// (`OTEL_LOG_LEVEL`).
pub fn filter_with_otlp(level: &str) -> String {
    let level = if level == "none" { "off" } else { level };
    format!("{DEFAULT_FILTER},rowmetry::otlp={level}")
}

/// Begins to log, and to trace where there is a tracer. `filter` is a level or a list such as `info,rowmetry=debug`; it has no
/// say in what is traced. A second call changes nothing.
///
/// # Errors
/// When the filter cannot be read.
pub fn start(filter: Option<&str>, format: LogFormat, tracer: Option<SdkTracer>) -> Result<(), BadFilter> {
    let filter = parse(filter)?;
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    // A log that is already set up (a test's, an embedder's) is left in place.
    let _ = tracing::dispatcher::set_global_default(subscriber(filter, format, colour, tracer, std::io::stderr));
    Ok(())
}

/// What takes the events, and the spans if they are traced.
pub(super) fn subscriber<W>(
    filter: EnvFilter,
    format: LogFormat,
    colour: bool,
    tracer: Option<SdkTracer>,
    writer: W,
) -> Dispatch
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    match tracer {
        // Without traces no line has anything to say of them, and no span of ours is made.
        None => Registry::default().with(lines(format, colour, false, writer).with_filter(logged(filter))).into(),
        Some(tracer) => Registry::default()
            .with(traces::layer(tracer))
            .with(lines(format, colour, true, writer).with_filter(logged(filter)))
            .into(),
    }
}

/// What is logged: what the operator's filter lets pass, spans of ours excepted, which would make every line longer.
fn logged<S>(filter: EnvFilter) -> impl Filter<S> + Send + Sync {
    FilterExt::<S>::and(filter, filter_fn(|metadata| !traces::is_ours(metadata)))
}

/// What writes lines.
fn lines<S, W>(form: LogFormat, colour: bool, with_ids: bool, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_ansi(colour).with_writer(writer);
    let format = Format::default().with_ansi(colour);
    match form {
        LogFormat::Text => {
            let inner = format.with_target(false);
            layer.fmt_fields(DefaultFields::new()).event_format(WithIds { inner, form, with_ids }).boxed()
        }
        LogFormat::Json => {
            let inner = format.json().flatten_event(true);
            layer.fmt_fields(JsonFields::new()).event_format(WithIds { inner, form, with_ids }).boxed()
        }
    }
}

/// Lines that name the trace and the span in which they were written, so that one is found from the other.
struct WithIds<F> {
    inner: F,
    form: LogFormat,
    with_ids: bool,
}

impl<S, N, F> FormatEvent<S, N> for WithIds<F>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'w> FormatFields<'w> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let Some((trace, span)) = self.with_ids.then(traces::ids).flatten() else {
            return self.inner.format_event(context, writer, event);
        };
        let mut line = String::new();
        self.inner.format_event(context, Writer::new(&mut line), event)?;
        let line = line.trim_end_matches('\n');
        match (self.form, line.strip_suffix('}')) {
            (LogFormat::Json, Some(object)) => {
                writeln!(writer, r#"{object},"trace_id":"{trace}","span_id":"{span}"}}"#)
            }
            _ => writeln!(writer, "{line} trace_id={trace} span_id={span}"),
        }
    }
}

fn parse(filter: Option<&str>) -> Result<EnvFilter, BadFilter> {
    let filter = filter.map(str::trim).filter(|filter| !filter.is_empty()).unwrap_or(DEFAULT_FILTER);
    EnvFilter::builder().parse(filter).map_err(|error| BadFilter(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_levels_and_lists() {
        for level in ["none", "error", "trace"] {
            let filter = filter_with_otlp(level);
            assert!(parse(Some(&filter)).is_ok(), "{filter}");
        }
        for good in [None, Some(""), Some("debug"), Some("warn,rowmetry=trace")] {
            assert!(parse(good).is_ok(), "{good:?}");
        }
        let told = parse(Some("rowmetry=loud")).expect_err("no such level").to_string();
        assert!(told.contains("write a level"), "{told}");
    }
}
