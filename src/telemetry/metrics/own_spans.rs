//! What became of the spans of our own traces.
//!
//! There are series only where traces are sent. Counted in spans; it says nothing of the spans made of rows.

use prometheus::{IntCounterVec, Opts};

use super::{Metrics, add};

/// What became of a span of ours. Exported as `rowmetry_otlp_own_spans_total`, by outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanOutcome {
    /// The receiver has it.
    Sent,
    /// The receiver could not be reached or refused it.
    Failed,
    /// As many waited for the receiver as may.
    Dropped,
}

impl SpanOutcome {
    /// Every outcome, in the order in which they are exported.
    pub const ALL: [SpanOutcome; 3] = [SpanOutcome::Sent, SpanOutcome::Failed, SpanOutcome::Dropped];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            SpanOutcome::Sent => "sent",
            SpanOutcome::Failed => "failed",
            SpanOutcome::Dropped => "dropped",
        }
    }
}

/// Counts the spans of our own traces. Tracing begins before there are [`Metrics`], which take it up later.
#[derive(Debug, Clone)]
pub struct OwnSpans(IntCounterVec);

impl OwnSpans {
    /// A count that nobody sees yet; each outcome is there at 0.
    pub fn new() -> Self {
        let help = "Spans of Rowmetry's own traces, by what became of them.";
        let spans = IntCounterVec::new(Opts::new("rowmetry_otlp_own_spans_total", help), &["outcome"])
            .expect("name and labels are valid");
        for outcome in SpanOutcome::ALL {
            spans.with_label_values(&[outcome.as_str()]);
        }
        OwnSpans(spans)
    }

    /// So many spans came to this.
    pub fn add(&self, outcome: SpanOutcome, spans: u64) {
        self.0.with_label_values(&[outcome.as_str()]).inc_by(spans);
    }

    /// How many came to this.
    pub fn get(&self, outcome: SpanOutcome) -> u64 {
        self.0.with_label_values(&[outcome.as_str()]).get()
    }
}

impl Default for OwnSpans {
    fn default() -> Self {
        OwnSpans::new()
    }
}

impl Metrics {
    /// Shows what becomes of our own traces. To be called once, where they are sent.
    pub fn own_spans(&self, spans: &OwnSpans) {
        add(&self.registry, spans.0.clone());
    }
}
