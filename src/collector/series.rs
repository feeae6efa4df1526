//! The series of one counter or histogram, each growing by the rows that bear its labels.
//!
//! Counts are exact: whole numbers and exact decimals, never floating point. A series never shrinks and never
//! disappears while the state lives. Nothing here reads a clock: the start of a series is the caller's word.

mod growth;

use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use super::admission::{Admission, Ticket};
use super::exact::Exact;
use super::guard::{Guard, Replaced};
use super::histogram::{Distribution, StoredDistribution, default_bounds};
use crate::config::Limits;
use crate::family::{Exemplar, Family, Histogram, Kind, Micros, Series, SpanContext, Value};
use crate::pack::Metric;
use crate::telemetry::Ignored;

/// The series of one metric of a `rows` collector.
#[derive(Debug, Clone)]
pub struct SeriesSet {
    name: Arc<str>,
    help: Arc<str>,
    kind: Kind,
    has_value: bool,
    bounds: Arc<[f64]>,
    admission: Admission,
    /// By number of the label set.
    grown: Vec<Grown>,
    /// Numbers of label sets as they are printed: by their labels.
    order: Vec<u32>,
    dirty: Vec<u32>,
    overflowed: u64,
    replaced: [u64; Replaced::ALL.len()],
}

#[derive(Debug, Clone)]
struct Grown {
    count: Count,
    start: Micros,
    dirty: bool,
    /// Of a counter; a distribution keeps its own, one for each bucket. Never stored.
    exemplar: Option<Box<Exemplar>>,
    published: OnceLock<Value>,
}

/// What one series counted.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Count {
    /// Rows.
    Rows(u64),
    /// The sum of a column.
    Sum(Exact),
    /// How a column's values are distributed.
    Distribution(Box<Distribution>),
}

/// One series as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSeries {
    /// JSON array of the label values in the metric's order: the series' name within its metric.
    pub labels: String,
    /// When its count began.
    pub start: Micros,
    /// JSON of the count.
    pub value: String,
}

/// A stored series that the pack's metric no longer fits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the stored series {labels} of `{metric}` cannot go on: {why}. Reset this collector's state, or give the metric its old form"
)]
pub struct Misfit {
    /// The metric.
    pub metric: String,
    /// Its labels as stored.
    pub labels: String,
    /// What does not fit.
    pub why: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Stored {
    #[serde(rename = "n")]
    Rows(u64),
    Sum(String),
    #[serde(rename = "h")]
    Distribution(Box<StoredDistribution>),
}

impl SeriesSet {
    /// No series yet, for a counter or histogram of a pack.
    pub fn new(metric: &Metric, limits: &Limits, guard: Arc<Guard>) -> Self {
        let mut bounds: Vec<f64> = metric.buckets.clone().unwrap_or_else(|| default_bounds(metric.name()).to_vec());
        bounds.retain(|bound| bound.is_finite());
        bounds.sort_by(f64::total_cmp);
        bounds.dedup();
        SeriesSet {
            name: metric.name().into(),
            help: metric.help.as_str().into(),
            kind: metric.kind(),
            has_value: metric.value.is_some(),
            bounds: bounds.into(),
            admission: Admission::new(metric, limits.series_per_metric, guard),
            grown: Vec::new(),
            order: Vec::new(),
            dirty: Vec::new(),
            overflowed: 0,
            replaced: [0; Replaced::ALL.len()],
        }
    }

    /// The metric's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many series there are.
    pub fn len(&self) -> usize {
        self.grown.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.grown.is_empty()
    }

    /// Makes all combinations of declared label values exist at 0; without labels, the one series. Nothing when a
    /// label does not declare its values.
    pub fn seed(&mut self, start: Micros) {
        for values in self.admission.declared() {
            let set = self.admission.restore(&values).expect("a combination has a value for each label");
            self.ensure(set, start);
        }
    }

    /// Counts one row: its label cells in the metric's order, and its value cell if the metric has a value column.
    /// A NULL value says nothing of this metric. `start` is the start of the series if the row makes it.
    ///
    /// # Errors
    /// Why the row was not counted; the series are as before then.
    pub fn add(&mut self, label_cells: &[Option<&str>], value: Option<&str>, start: Micros) -> Result<(), Ignored> {
        self.add_traced(label_cells, value, start, None)
    }

    /// The same for a row that happened at a time and whose span was queued: the series shows the youngest such row as an
    /// exemplar, a histogram that of each bucket.
    ///
    /// # Errors
    /// As [`SeriesSet::add`].
    pub fn add_traced(
        &mut self,
        label_cells: &[Option<&str>],
        value: Option<&str>,
        start: Micros,
        span: Option<(SpanContext, Micros)>,
    ) -> Result<(), Ignored> {
        let amount = match (self.has_value, value) {
            (false, _) => None,
            (true, None) => return Ok(()),
            (true, Some(text)) => Some(self.amount(text)?),
        };
        let ticket = self.admission.admit(label_cells.iter().copied());
        self.ensure(ticket.set, start);
        let grown = &mut self.grown[ticket.set as usize];
        match (&mut grown.count, amount) {
            (Count::Rows(rows), _) => *rows += 1,
            (Count::Sum(sum), Some((exact, _))) => *sum = sum.checked_add(exact).ok_or(Ignored::OutOfRange)?,
            (Count::Distribution(distribution), Some((exact, nearest))) => distribution.observe(exact, nearest)?,
            (_, None) => return Err(Ignored::NotANumber),
        }
        if let Some((span, time)) = span {
            grown.remember(Exemplar { span, value: amount.map_or(1.0, |(exact, _)| exact.to_f64()), time });
        }
        grown.published.take();
        if !grown.dirty {
            grown.dirty = true;
            self.dirty.push(ticket.set);
        }
        self.tally(ticket);
        Ok(())
    }

    /// Every series begins anew at 0; the label sets stay.
    pub fn reset(&mut self, start: Micros) {
        for set in 0..self.grown.len() {
            self.grown[set] = Grown::new(self.nought(), start);
        }
        self.dirty = self.order.clone();
    }

    /// The metric as it is published. Series that began after `hide_since` are shown as 0 and without an exemplar, so
    /// that a reader who asks for an increase sees where they began.
    pub fn families(&self, hide_since: Option<Micros>) -> Family {
        let nought = OnceLock::new();
        let series = self.order.iter().map(|set| {
            let grown = &self.grown[*set as usize];
            let hidden = hide_since.is_some_and(|since| grown.start > since);
            let value = if hidden {
                nought.get_or_init(|| self.nought().published()).clone()
            } else {
                grown.published.get_or_init(|| grown.count.published()).clone()
            };
            Series {
                labels: self.admission.sets()[*set as usize].labels.clone(),
                value,
                start: Some(grown.start),
                exemplar: grown.exemplar.as_deref().copied().filter(|_| !hidden),
            }
        });
        Family { name: self.name.clone(), help: self.help.clone(), kind: self.kind, series: series.collect() }
    }

    /// Start of the youngest series: until `hide_since` has passed it, something is still shown as 0.
    pub fn newest_start(&self) -> Option<Micros> {
        self.grown.iter().map(|grown| grown.start).max()
    }

    /// The series that changed since [`SeriesSet::mark_clean`]: what is to be stored.
    pub fn export_dirty(&self) -> Vec<StoredSeries> {
        self.dirty.iter().map(|set| self.stored(*set)).collect()
    }

    /// Says that everything is stored.
    pub fn mark_clean(&mut self) {
        for set in self.dirty.drain(..) {
            self.grown[set as usize].dirty = false;
        }
    }

    /// Takes up a stored series.
    ///
    /// # Errors
    /// When the pack's metric has other labels, another kind or other buckets than when it was stored.
    pub fn load(&mut self, stored: &StoredSeries) -> Result<(), Misfit> {
        self.try_load(stored).map_err(|why| Misfit {
            metric: self.name.to_string(),
            labels: stored.labels.clone(),
            why,
        })
    }

    /// Rows that went to the label set `overflow` since the last call.
    pub fn take_overflowed(&mut self) -> u64 {
        std::mem::take(&mut self.overflowed)
    }

    /// Label values of counted rows that were replaced since the last call, by reason.
    pub fn take_replaced(&mut self) -> impl Iterator<Item = (Replaced, u64)> {
        Replaced::ALL.into_iter().zip(std::mem::take(&mut self.replaced)).filter(|(_, count)| *count > 0)
    }

    /// A value cell as an exact number, and the nearest `f64` where that is needed.
    fn amount(&self, text: &str) -> Result<(Exact, f64), Ignored> {
        let exact = Exact::parse(text)?;
        if self.kind == Kind::Histogram {
            // What is an exact number is a number: reading the text is nearest, and faster than printing the exact form.
            return Ok((exact, text.trim().parse().unwrap_or_else(|_| exact.to_f64())));
        }
        if exact.is_negative() { Err(Ignored::Negative) } else { Ok((exact, 0.0)) }
    }

    /// Makes the series of a label set exist.
    fn ensure(&mut self, set: u32, start: Micros) {
        if (set as usize) < self.grown.len() {
            return;
        }
        debug_assert_eq!(set as usize, self.grown.len(), "label sets are numbered in the order of admission");
        let sets = self.admission.sets();
        let values = &sets[set as usize].values;
        let at = self.order.partition_point(|other| sets[*other as usize].values < *values);
        self.order.insert(at, set);
        self.grown.push(Grown::new(self.nought(), start));
        self.dirty.push(set);
    }

    fn nought(&self) -> Count {
        match (self.kind, self.has_value) {
            (Kind::Histogram, _) => Count::Distribution(Box::new(Distribution::new(self.bounds.clone()))),
            (_, true) => Count::Sum(Exact::ZERO),
            (_, false) => Count::Rows(0),
        }
    }

    fn tally(&mut self, ticket: Ticket) {
        self.overflowed += u64::from(ticket.overflowed);
        for (sum, count) in self.replaced.iter_mut().zip(ticket.replaced) {
            *sum += u64::from(count);
        }
    }

    fn stored(&self, set: u32) -> StoredSeries {
        let grown = &self.grown[set as usize];
        let value = match &grown.count {
            Count::Rows(rows) => Stored::Rows(*rows),
            Count::Sum(sum) => Stored::Sum(sum.to_string()),
            Count::Distribution(distribution) => Stored::Distribution(Box::new(distribution.stored())),
        };
        let json = "text, whole numbers and lists of them are always JSON";
        StoredSeries {
            labels: serde_json::to_string(&self.admission.sets()[set as usize].values).expect(json),
            start: grown.start,
            value: serde_json::to_string(&value).expect(json),
        }
    }

    fn try_load(&mut self, stored: &StoredSeries) -> Result<(), String> {
        let values: Vec<String> =
            serde_json::from_str(&stored.labels).map_err(|_| "its labels are not a list of texts".to_owned())?;
        let value: Stored =
            serde_json::from_str(&stored.value).map_err(|_| "its value is not one that is stored".to_owned())?;
        let mut count = self.nought();
        match (&mut count, value) {
            (Count::Rows(rows), Stored::Rows(was)) => *rows = was,
            (Count::Sum(sum), Stored::Sum(was)) => {
                *sum = Exact::parse(&was).map_err(|_| format!("its sum `{was}` is no number"))?;
            }
            (Count::Distribution(distribution), Stored::Distribution(was)) => distribution.restore(&was)?,
            _ => return Err("it counted something else (rows, a sum, a distribution)".to_owned()),
        }
        let set = self.admission.restore(&values)?;
        self.ensure(set, stored.start);
        let grown = &mut self.grown[set as usize];
        *grown = Grown { dirty: false, ..Grown::new(count, stored.start) };
        self.dirty.retain(|other| *other != set);
        Ok(())
    }
}

impl Grown {
    fn new(count: Count, start: Micros) -> Self {
        Grown { count, start, dirty: true, exemplar: None, published: OnceLock::new() }
    }

    fn remember(&mut self, exemplar: Exemplar) {
        if let Count::Distribution(distribution) = &mut self.count {
            distribution.remember(exemplar);
        } else if exemplar.displaces(self.exemplar.as_deref()) {
            self.exemplar = Some(Box::new(exemplar));
        }
    }
}

impl Count {
    fn published(&self) -> Value {
        match self {
            Count::Rows(rows) => Value::Number(*rows as f64),
            Count::Sum(sum) => Value::Number(sum.to_f64()),
            Count::Distribution(distribution) => {
                let published: Histogram = distribution.published();
                Value::Histogram(Arc::new(published))
            }
        }
    }
}

#[cfg(test)]
mod tests;
