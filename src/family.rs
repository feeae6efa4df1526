//! Metric families as they are published: name, help, kind, and series with their labels and values.
//!
//! This is the one form that collectors make, the store keeps and the exposition prints. It knows no wire
//! format but the escaped label text that two formats share, and it never does I/O.

mod exemplar;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use exemplar::{BadId, Exemplar, SpanContext, SpanId, TraceId};

/// Microseconds since 1970-01-01T00:00:00Z.
pub type Micros = i64;

/// What kind of metric a family is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Only grows, and starts at 0 at its start timestamp. The family name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts of observations by size, cumulative since its start timestamp.
    Histogram,
    /// Constant 1 whose labels are the information. The family name ends in `_info`.
    Info,
}

/// One published family. All its series have the same label names in the same order.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    /// Full name as in the text format, so a counter's ends in `_total`.
    pub name: Arc<str>,
    /// One line for people; escaped by the encoders.
    pub help: Arc<str>,
    /// What kind of metric it is.
    pub kind: Kind,
    /// The series, in the order in which they are printed.
    pub series: Vec<Series>,
}

impl Family {
    /// The name without the suffix that its kind implies (`_total`, `_info`), as OpenMetrics calls the family.
    pub fn stem(&self) -> &str {
        let suffix = match self.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        };
        self.name.strip_suffix(suffix).unwrap_or(&self.name)
    }
}

/// One series: a label set and its value now.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// The label set.
    pub labels: Labels,
    /// The value.
    pub value: Value,
    /// When the count began, for counters and histograms.
    pub start: Option<Micros>,
    /// A recent row of a counter whose span was queued; text 0.0.4 has no room for it.
    pub exemplar: Option<Exemplar>,
}

/// A value: a number, or a histogram.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Counter, gauge or info.
    Number(f64),
    /// Histogram, shared with the collector that keeps it.
    Histogram(Arc<Histogram>),
}

/// A histogram as it is published: classic buckets, and native ones beside them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Histogram {
    /// How many observations.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// Upper bound and cumulative count, ascending, without `+Inf` (that is `count`).
    pub buckets: Vec<(f64, u64)>,
    /// A recent row of each bucket, the last one for `+Inf`; empty when no bucket has any.
    pub exemplars: Vec<Option<Exemplar>>,
    /// The same observations in exponential buckets; printed by protobuf alone.
    pub native: Option<NativeHistogram>,
}

/// Exponential buckets as Prometheus defines them: bucket `i` of schema `s` holds values in
/// `(2^((i-1) * 2^-s), 2^(i * 2^-s)]`.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct NativeHistogram {
    /// Resolution, -4 to 8; one more doubles the number of buckets.
    pub schema: i32,
    /// Values in `[-zero_threshold, zero_threshold]` are counted in the zero bucket.
    pub zero_threshold: f64,
    /// Count of the zero bucket.
    pub zero: u64,
    /// Counts (not cumulative) of positive observations by bucket index.
    pub positive: BTreeMap<i32, u64>,
    /// Counts (not cumulative) of negative observations by bucket index of their absolute value.
    pub negative: BTreeMap<i32, u64>,
}

/// A label set: pairs in the family's order, and their escaped text, made once.
#[derive(Clone)]
pub struct Labels(Arc<LabelsInner>);

struct LabelsInner {
    pairs: Vec<(Arc<str>, Box<str>)>,
    text: Box<str>,
}

impl Labels {
    /// Makes a label set. Names must be valid label names (packs are checked at load); values may be anything.
    /// Pairs with an empty value are left out: Prometheus treats an empty label as an absent one.
    pub fn new<'v>(pairs: impl IntoIterator<Item = (Arc<str>, &'v str)>) -> Self {
        let pairs: Vec<(Arc<str>, Box<str>)> =
            pairs.into_iter().filter(|(_, v)| !v.is_empty()).map(|(n, v)| (n, Box::from(v))).collect();
        let mut text = String::new();
        for (name, value) in &pairs {
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(name);
            text.push_str("=\"");
            for c in value.chars() {
                match c {
                    '\\' => text.push_str("\\\\"),
                    '"' => text.push_str("\\\""),
                    '\n' => text.push_str("\\n"),
                    c => text.push(c),
                }
            }
            text.push('"');
        }
        Labels(Arc::new(LabelsInner { pairs, text: text.into() }))
    }

    /// The same label set with one more label in front. An empty value adds nothing.
    pub fn with(&self, name: Arc<str>, value: &str) -> Self {
        let own = self.0.pairs.iter().map(|(n, v)| (n.clone(), &**v));
        Labels::new(std::iter::once((name, value)).chain(own))
    }

    /// A label set without labels.
    pub fn none() -> Self {
        Labels::new([])
    }

    /// Name and raw value of each label.
    pub fn pairs(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.pairs.iter().map(|(n, v)| (&**n, &**v))
    }

    /// `a="x",b="y"`: escaped as the text formats want it, without braces; empty when there is no label.
    pub fn text(&self) -> &str {
        &self.0.text
    }
}

impl PartialEq for Labels {
    fn eq(&self, other: &Self) -> bool {
        self.0.text == other.0.text
    }
}
impl Eq for Labels {}
impl std::hash::Hash for Labels {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.text.hash(state);
    }
}
impl std::fmt::Debug for Labels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{{{}}}", self.0.text)
    }
}
