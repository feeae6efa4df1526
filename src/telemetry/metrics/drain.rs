//! Metrics of one drain: what came, what became of it, when the last line came.
//!
//! Counting only; what a line means is decided elsewhere.

use std::fmt;
use std::sync::Arc;

use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec};

use super::watched::{Watched, Watcher};

const SOURCE: [&str; 1] = ["source"];
const SOURCE_AND_OUTCOME: [&str; 2] = ["source", "outcome"];

/// What became of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LineFate {
    /// It has a form that a pack looks for.
    Counted,
    /// No pack looks for its form.
    Unmatched,
    /// It was delivered before.
    Repeated,
    /// It goes on with the text of the one before.
    Continuation,
    /// It is no record, or has no text.
    Unreadable,
}

impl LineFate {
    /// Every fate, in the order in which they are exported.
    pub const ALL: [LineFate; 5] =
        [LineFate::Counted, LineFate::Unmatched, LineFate::Repeated, LineFate::Continuation, LineFate::Unreadable];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            LineFate::Counted => "counted",
            LineFate::Unmatched => "unmatched",
            LineFate::Repeated => "repeated",
            LineFate::Continuation => "continuation",
            LineFate::Unreadable => "unreadable",
        }
    }
}

/// What a request was answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RequestFate {
    /// 200: its lines are counted for good.
    Accepted,
    /// 401 or 403: it has no token, or a wrong one.
    BadToken,
    /// 401 or 403: it is not signed, or wrongly.
    BadSignature,
    /// 413: its body is larger than it may be, packed or unpacked.
    TooLarge,
    /// 400: nothing in its body can be read.
    Unreadable,
    /// 415: it is packed in a way that is not known, or of a type that is none of logs.
    Unsupported,
    /// 408, or cut off: it did not send its body in time, or went away.
    TimedOut,
    /// 429: too much waits already.
    Overloaded,
    /// 503: it is not known yet which packs apply, or it is being stopped.
    NotReady,
    /// 503: the counts could not be made durable.
    NotWritten,
}

impl RequestFate {
    /// Every fate, in the order in which they are exported.
    pub const ALL: [RequestFate; 10] = [
        RequestFate::Accepted,
        RequestFate::BadToken,
        RequestFate::BadSignature,
        RequestFate::TooLarge,
        RequestFate::Unreadable,
        RequestFate::Unsupported,
        RequestFate::TimedOut,
        RequestFate::Overloaded,
        RequestFate::NotReady,
        RequestFate::NotWritten,
    ];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            RequestFate::Accepted => "accepted",
            RequestFate::BadToken => "bad_token",
            RequestFate::BadSignature => "bad_signature",
            RequestFate::TooLarge => "too_large",
            RequestFate::Unreadable => "unreadable",
            RequestFate::Unsupported => "unsupported",
            RequestFate::TimedOut => "timed_out",
            RequestFate::Overloaded => "overloaded",
            RequestFate::NotReady => "not_ready",
            RequestFate::NotWritten => "not_written",
        }
    }
}

pub(super) struct DrainVecs {
    lines: Watched<IntCounterVec>,
    cut: Watched<IntCounterVec>,
    requests: Watched<IntCounterVec>,
    bytes: Watched<IntCounterVec>,
    last_line: Watched<GaugeVec>,
    rows_since: Watched<IntGaugeVec>,
    remembered: Watched<IntGaugeVec>,
    remembered_seconds: Watched<GaugeVec>,
}

impl DrainVecs {
    pub(super) fn new(watcher: &Watcher) -> Self {
        DrainVecs {
            lines: watcher.int_counters("rowmetry_drain_lines_total",
                "Lines that a drain brought, by what became of them: a pack counted it, no pack looks for its form, it was delivered \
                 before, it goes on with the one before, or it could not be read.",
                &SOURCE_AND_OUTCOME,
            ),
            cut: watcher.int_counters("rowmetry_drain_lines_cut_total",
                "Lines that were longer than a line may be, and were cut before they were counted.",
                &SOURCE,
            ),
            requests: watcher.int_counters("rowmetry_drain_requests_total",
                "Requests that a drain sent, by what they were answered with.",
                &SOURCE_AND_OUTCOME,
            ),
            bytes: watcher.int_counters("rowmetry_drain_bytes_total",
                "Bytes of lines that a drain brought, as they came over the network or from the file.",
                &SOURCE,
            ),
            last_line: watcher.gauges("rowmetry_drain_last_line_timestamp_seconds",
                "When the last line came; absent before the first ever.",
                &SOURCE,
            ),
            rows_since: watcher.int_gauges("rowmetry_drain_rows_since_last_line",
                "Rows of the drain's database that were counted since its last line came, or since it began to wait for the first: an \
                 application that works and whose logs are silent. Absent where no database is linked.",
                &SOURCE,
            ),
            remembered: watcher.int_gauges("rowmetry_drain_remembered_lines",
                "Lines that are remembered, so that one which is delivered again does not count again.",
                &SOURCE,
            ),
            remembered_seconds: watcher.gauges("rowmetry_drain_remembered_seconds",
                "How long ago the oldest remembered line came: what is delivered again later than that counts again, once \
                 memory is full.",
                &SOURCE,
            ),
        }
    }
}

/// What is said of one drain.
#[derive(Clone)]
pub struct DrainMetrics {
    vecs: Arc<DrainVecs>,
    source: Arc<str>,
}

impl DrainMetrics {
    pub(super) fn new(vecs: Arc<DrainVecs>, source: &str, is_posted: bool) -> Self {
        let metrics = DrainMetrics { vecs, source: source.into() };
        for fate in LineFate::ALL {
            metrics.lines(fate, 0);
        }
        if is_posted {
            for fate in RequestFate::ALL {
                metrics.vecs.requests.change().with_label_values(&[&*metrics.source, fate.as_str()]);
            }
        }
        metrics.cut(0);
        metrics.bytes(0);
        metrics.remembered(0, 0.0);
        metrics
    }

    /// So many lines came to this.
    pub fn lines(&self, fate: LineFate, lines: u64) {
        self.vecs.lines.change().with_label_values(&[&*self.source, fate.as_str()]).inc_by(lines);
    }

    /// So many lines were cut.
    pub fn cut(&self, lines: u64) {
        self.vecs.cut.change().with_label_values(&[&*self.source]).inc_by(lines);
    }

    /// A request was answered.
    pub fn request(&self, fate: RequestFate) {
        self.vecs.requests.change().with_label_values(&[&*self.source, fate.as_str()]).inc();
    }

    /// So many bytes came.
    pub fn bytes(&self, bytes: u64) {
        self.vecs.bytes.change().with_label_values(&[&*self.source]).inc_by(bytes);
    }

    /// When the last line came, in seconds since 1970.
    pub fn last_line(&self, seconds: f64) {
        self.vecs.last_line.change().with_label_values(&[&*self.source]).set(seconds);
    }

    /// So many rows of the database were counted since.
    pub fn rows_since_last_line(&self, rows: u64) {
        self.vecs.rows_since.change().with_label_values(&[&*self.source]).set(i64::try_from(rows).unwrap_or(i64::MAX));
    }

    /// How much is remembered, and since how many seconds.
    pub fn remembered(&self, lines: usize, seconds: f64) {
        let source = [&*self.source];
        self.vecs.remembered.change().with_label_values(&source).set(i64::try_from(lines).unwrap_or(i64::MAX));
        self.vecs.remembered_seconds.change().with_label_values(&source).set(seconds);
    }

    /// Takes every series of the drain away.
    pub fn remove(&self) {
        let source = [&*self.source];
        // A series that never was is not missed.
        for fate in LineFate::ALL {
            let _ = self.vecs.lines.change().remove_label_values(&[&*self.source, fate.as_str()]);
        }
        for fate in RequestFate::ALL {
            let _ = self.vecs.requests.change().remove_label_values(&[&*self.source, fate.as_str()]);
        }
        let _ = self.vecs.cut.change().remove_label_values(&source);
        let _ = self.vecs.bytes.change().remove_label_values(&source);
        let _ = self.vecs.last_line.change().remove_label_values(&source);
        let _ = self.vecs.rows_since.change().remove_label_values(&source);
        let _ = self.vecs.remembered.change().remove_label_values(&source);
        let _ = self.vecs.remembered_seconds.change().remove_label_values(&source);
    }
}

impl fmt::Debug for DrainMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DrainMetrics({})", self.source)
    }
}
