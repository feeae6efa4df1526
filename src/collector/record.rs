//! What a collector hands over: what to write, what to store of a series, what became of a page.
//!
//! Plain data, without behaviour.

use std::collections::BTreeMap;

use super::guard::Replaced;
use super::logs::runs::RunChanges;
use super::logs::window::WindowChanges;
use super::seen::SeenChanges;
use crate::family::Micros;
use crate::span::SpanRecord;
use crate::telemetry::{Ignored, SpanSkipped};

/// What one page, or one decision, changed: to be written before it is shown.
#[derive(Debug, Default)]
pub struct Changes {
    /// What the cursor was made for.
    pub definition: String,
    /// The cursor as JSON.
    pub cursor: String,
    /// Series that changed.
    pub series: Vec<StoredSeries>,
    /// Keys that came and went.
    pub seen: SeenChanges,
    /// Spans to be sent.
    pub spans: Vec<SpanRecord>,
    /// Runs that began and ended.
    pub runs: RunChanges,
    /// Lines that came and were forgotten.
    pub lines: WindowChanges,
}

/// One series as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredSeries {
    /// Metric name.
    pub metric: String,
    /// What its values mean; another definition is another count.
    pub definition: String,
    /// JSON array of label values.
    pub labels: String,
    /// JSON of the value.
    pub value: String,
    /// When its count began.
    pub start: Micros,
}

/// What became of a page.
#[derive(Debug, Default, PartialEq)]
pub struct Folded {
    /// Rows counted.
    pub counted: u64,
    /// Rows left aside, by reason.
    pub ignored: BTreeMap<Ignored, u64>,
    /// Seen keys that were forgotten for want of room.
    pub keys_dropped: u64,
    /// The database is another one, or was set back: the counts began anew, and the page was not used.
    pub new_epoch: bool,
    /// Whether more rows wait.
    pub more: bool,
    /// Spans that were made.
    pub spans_made: u64,
    /// Values in their names and attributes that were replaced, by reason.
    pub spans_replaced: BTreeMap<Replaced, u64>,
    /// Spans that were not made, by reason.
    pub spans_skipped: BTreeMap<SpanSkipped, u64>,
    /// Time of the youngest row of the page.
    pub youngest: Option<Micros>,
}

/// What admission did for one metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Admitted {
    /// The metric.
    pub metric: String,
    /// Its series.
    pub series: usize,
    /// Rows that went to the label set `overflow`.
    pub overflowed: u64,
    /// Label values that were replaced, by reason.
    pub replaced: Vec<(Replaced, u64)>,
}
