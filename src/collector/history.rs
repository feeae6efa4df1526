//! The past of a table: rows of a window of time in, each series' growth from step to step out.
//!
//! A row counts at its own time, whatever the order in which rows come. Labels, guard, limits and values are those of the
//! running collector, whose series are used. Pure, like the rest of the module: no I/O, no clock.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::exact::Exact;
use super::guard::Guard;
use super::rows::Counted;
use super::seen::KeyHash;
use super::series::Count;
use crate::config::Limits;
use crate::family::{Family, Histogram, Labels, Micros, Value};
use crate::pack::{self, LABELS_PER_METRIC};
use crate::source::{RowsPage, RowsQuery};
use crate::telemetry::Ignored;

/// The longest step, in seconds: Prometheus looks back five minutes for a sample, and sees a gap beyond.
pub const LONGEST_STEP: i64 = 300;

const MICROS: Micros = 1_000_000;

/// A window of time and the moments in it that have samples: its beginning, one each step, and its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steps {
    from: i64,
    to: i64,
    step: i64,
    last: u32,
}

impl Steps {
    /// A window, to the whole second, and the length of a step in seconds.
    ///
    /// # Errors
    /// A sentence that says what does not fit.
    pub fn new(from: Micros, to: Micros, step: i64) -> Result<Self, String> {
        let (from, to) = (from.div_euclid(MICROS), to.div_euclid(MICROS));
        if from < 0 {
            return Err("--from lies before 1970, where the times of an exposition begin".into());
        }
        if from >= to {
            return Err("the window is empty: --from must lie at least a second before --to".into());
        }
        if !(1..=LONGEST_STEP).contains(&step) {
            return Err(
                "--step is from 1s to 5m: Prometheus looks back five minutes for a sample, so that a longer step \
                        would leave gaps"
                    .into(),
            );
        }
        let last = u32::try_from((to - from - 1) / step + 1)
            .map_err(|_| "the window has too many steps: take a shorter window or a longer --step".to_owned())?;
        Ok(Steps { from, to, step, last })
    }

    /// The first moment of the window.
    pub fn from(&self) -> Micros {
        self.from * MICROS
    }

    /// The first moment after it.
    pub fn to(&self) -> Micros {
        self.to * MICROS
    }

    /// The number of the last step, at the end of the window; that at its beginning is 0.
    pub fn last(&self) -> u32 {
        self.last
    }

    /// When a step is, in seconds since 1970.
    pub fn seconds(&self, step: u32) -> i64 {
        self.from.saturating_add(i64::from(step) * self.step).min(self.to)
    }

    /// The first step that tells of a row: the one after its time. None for rows outside the window.
    pub fn of(&self, time: Micros) -> Option<u32> {
        let within = (self.from()..self.to()).contains(&time);
        within.then(|| u32::try_from((time - self.from()) / (self.step * MICROS) + 1).unwrap_or(self.last))
    }
}

/// Counts the rows of one table by step.
pub struct RowsHistory {
    steps: Steps,
    metrics: Vec<Grown>,
    key_cells: usize,
    last_key: Option<KeyHash>,
    /// Rows counted.
    pub counted: u64,
    /// Rows, or values of them, that were not counted, by reason.
    pub ignored: BTreeMap<Ignored, u64>,
}

/// One metric: what of the step at hand is not in the lists yet, and the lists.
struct Grown {
    counted: Counted,
    lists: Vec<Growth>,
}

impl RowsHistory {
    /// No rows yet. The pack must have passed lint.
    pub fn new(
        definition: &pack::Collector,
        query: &RowsQuery,
        limits: &Limits,
        guard: &Arc<Guard>,
        steps: Steps,
    ) -> Self {
        let grown = |mut counted: Counted| {
            counted.series.seed(steps.from());
            let mut grown = Grown { counted, lists: Vec::new() };
            // Series whose label values the pack declares are there from the beginning.
            grown.settle(0);
            grown
        };
        RowsHistory {
            steps,
            metrics: Counted::all(definition, query, limits, guard).into_iter().map(grown).collect(),
            key_cells: query.key.len() + usize::from(query.transition.is_some()),
            last_key: None,
            counted: 0,
            ignored: BTreeMap::new(),
        }
    }

    /// Counts the rows of a page that lie in the window.
    pub fn fold(&mut self, page: &RowsPage) {
        // Step by step, so that each series is looked up in the lists once a step and not once a row.
        let of_step = page.times.iter().enumerate().filter_map(|(row, time)| Some((self.steps.of(*time)?, row)));
        let mut rows: Vec<(u32, usize)> = of_step.collect();
        rows.sort_unstable();
        for rows in rows.chunk_by(|(one, _), (other, _)| one == other) {
            rows.iter().for_each(|(_, row)| self.count(page, *row));
            let Some((step, _)) = rows.first() else { continue };
            self.metrics.iter_mut().for_each(|grown| grown.settle(*step));
        }
    }

    fn count(&mut self, page: &RowsPage, index: usize) {
        let row = page.rows.row(index);
        let Some(key) = KeyHash::of((0..self.key_cells).map(|cell| row.cell(cell)), &mut Vec::new()) else {
            *self.ignored.entry(Ignored::KeyMissing).or_default() += 1;
            return;
        };
        // A view may bring a row twice; then it does so one after the other, since time and key order the rows.
        if self.last_key.replace(key) == Some(key) {
            *self.ignored.entry(Ignored::AlreadyCounted).or_default() += 1;
            return;
        }
        let mut labels = [None; LABELS_PER_METRIC];
        for Grown { counted, .. } in &mut self.metrics {
            let width = counted.labels.len().min(LABELS_PER_METRIC);
            for (label, cell) in labels.iter_mut().zip(&counted.labels) {
                *label = row.cell(*cell);
            }
            let value = counted.value.map(|cell| row.cell(cell));
            // A value column that is NULL says nothing of this metric.
            if value == Some(None) {
                continue;
            }
            if let Err(reason) = counted.series.add(&labels[..width], value.flatten(), self.steps.from()) {
                *self.ignored.entry(reason).or_default() += 1;
            }
        }
        self.counted += 1;
    }

    /// Memory that the lists take, in bytes.
    pub fn bytes(&self) -> usize {
        self.metrics.iter().flat_map(|grown| &grown.lists).map(Growth::bytes).sum()
    }

    /// Rows that went to the label set `overflow`.
    pub fn overflowed(&mut self) -> u64 {
        self.metrics.iter_mut().map(|grown| grown.counted.series.take_overflowed()).sum()
    }

    /// What each metric's series were, in the order in which they are published.
    pub fn families(self) -> Vec<PastFamily> {
        self.metrics.into_iter().map(Grown::family).collect()
    }
}

impl Grown {
    /// What was counted since the last call grew at this step.
    fn settle(&mut self, step: u32) {
        for (set, count) in self.counted.series.take_growth() {
            let set = set as usize;
            while self.lists.len() <= set {
                self.lists.push(Growth::none(&count, self.counted.series.bounds()));
            }
            self.lists[set].add(step, &count);
        }
    }

    fn family(self) -> PastFamily {
        let (name, help, kind) = self.counted.series.head();
        let mut lists: Vec<Option<Growth>> = self.lists.into_iter().map(Some).collect();
        let series = self.counted.series.printed().filter_map(|(set, labels)| {
            let growth = lists.get_mut(set as usize)?.take()?;
            let begins = growth.steps.first()?.saturating_sub(1);
            Some(PastSeries { labels: labels.clone(), begins, growth })
        });
        let series = series.collect();
        PastFamily { head: Family { name, help, kind, series: Vec::new() }, series }
    }
}

/// The past of one metric.
#[derive(Debug, Clone, PartialEq)]
pub struct PastFamily {
    /// Name, help and kind; it has no series, since each has many values.
    pub head: Family,
    /// The series, in the order in which they are printed.
    pub series: Vec<PastSeries>,
}

/// The past of one series.
#[derive(Debug, Clone, PartialEq)]
pub struct PastSeries {
    /// The label set.
    pub labels: Labels,
    /// The step at which it is there first, one before its first row, so that a reader who asks for an increase sees where it
    /// began.
    pub begins: u32,
    growth: Growth,
}

impl PastSeries {
    /// Its value before any row.
    pub fn nought(&self) -> Value {
        Sum::nought(&self.growth.amounts).value()
    }

    /// Its value from each step on at which it changed, in their order.
    pub fn values(&self) -> impl Iterator<Item = (u32, Value)> + '_ {
        let mut sum = Sum::nought(&self.growth.amounts);
        self.growth.steps.iter().enumerate().map(move |(index, step)| {
            sum.add(&self.growth.amounts, index);
            (*step, sum.value())
        })
    }

    /// How many lines one step takes.
    pub fn lines(&self) -> u64 {
        match &self.growth.amounts {
            Amounts::Rows(_) | Amounts::Sums(_) => 1,
            Amounts::Distributions { bounds, .. } => bounds.len() as u64 + 3,
        }
    }
}

/// Families of the same name become one, in the order of their names. The first of two equal series stays, and so does the kind
/// of the first family. Returns how many series were left out as well.
pub fn merged(families: impl IntoIterator<Item = PastFamily>) -> (Vec<PastFamily>, u64) {
    let mut by_name: BTreeMap<Arc<str>, (PastFamily, HashSet<Labels>)> = BTreeMap::new();
    let mut left_out = 0;
    for PastFamily { head, series } in families {
        let (family, known) = by_name
            .entry(head.name.clone())
            .or_insert_with(|| (PastFamily { head: head.clone(), series: Vec::new() }, HashSet::new()));
        for series in series {
            if family.head.kind == head.kind && known.insert(series.labels.clone()) {
                family.series.push(series);
            } else {
                left_out += 1;
            }
        }
    }
    (by_name.into_values().map(|(family, _)| family).collect(), left_out)
}

/// By how much a series grew, step by step; only steps at which it did.
#[derive(Debug, Clone, PartialEq)]
struct Growth {
    steps: Vec<u32>,
    amounts: Amounts,
}

/// The amounts of a list, without a word more than each kind needs: there may be millions.
#[derive(Debug, Clone, PartialEq)]
enum Amounts {
    Rows(Vec<u64>),
    Sums(Vec<Exact>),
    Distributions {
        bounds: Arc<[f64]>,
        /// One more than there are bounds for each step.
        counts: Vec<u64>,
        sums: Vec<Exact>,
    },
}

impl Growth {
    fn none(like: &Count, bounds: &Arc<[f64]>) -> Self {
        let amounts = match like {
            Count::Rows(_) => Amounts::Rows(Vec::new()),
            Count::Sum(_) => Amounts::Sums(Vec::new()),
            Count::Distribution(_) => {
                Amounts::Distributions { bounds: bounds.clone(), counts: Vec::new(), sums: Vec::new() }
            }
        };
        Growth { steps: Vec::new(), amounts }
    }

    /// Grows at a step: nearly always the last one or one after it.
    fn add(&mut self, step: u32, count: &Count) {
        let at = match self.steps.last() {
            Some(last) if *last < step => Err(self.steps.len()),
            Some(_) => self.steps.binary_search(&step),
            None => Err(0),
        };
        if let Err(at) = at {
            self.steps.insert(at, step);
            self.amounts.insert_nought(at);
        }
        self.amounts.add(at.unwrap_or_else(|at| at), count);
    }

    fn bytes(&self) -> usize {
        let amounts = match &self.amounts {
            Amounts::Rows(rows) => size_of_val(rows.as_slice()),
            Amounts::Sums(sums) => size_of_val(sums.as_slice()),
            Amounts::Distributions { counts, sums, .. } => {
                size_of_val(counts.as_slice()) + size_of_val(sums.as_slice())
            }
        };
        size_of::<Self>() + size_of_val(self.steps.as_slice()) + amounts
    }
}

impl Amounts {
    fn insert_nought(&mut self, at: usize) {
        match self {
            Amounts::Rows(rows) => rows.insert(at, 0),
            Amounts::Sums(sums) => sums.insert(at, Exact::ZERO),
            Amounts::Distributions { bounds, counts, sums } => {
                let width = bounds.len() + 1;
                let noughts = std::iter::repeat_n(0, width);
                counts.splice(at * width..at * width, noughts);
                sums.insert(at, Exact::ZERO);
            }
        }
    }

    fn add(&mut self, at: usize, count: &Count) {
        match (self, count) {
            (Amounts::Rows(rows), Count::Rows(more)) => rows[at] += more,
            (Amounts::Sums(sums), Count::Sum(more)) => sums[at] = plus(sums[at], *more),
            (Amounts::Distributions { bounds, counts, sums }, Count::Distribution(distribution)) => {
                let (more, sum) = distribution.parts();
                let width = bounds.len() + 1;
                counts[at * width..(at + 1) * width].iter_mut().zip(more).for_each(|(count, more)| *count += more);
                sums[at] = plus(sums[at], sum);
            }
            _ => debug_assert!(false, "a metric counts in one way"),
        }
    }
}

/// A sum that has outgrown its room stays as it is: a hundred of the largest numbers fit.
fn plus(sum: Exact, more: Exact) -> Exact {
    sum.checked_add(more).unwrap_or(sum)
}

/// A series' value as it grows.
enum Sum {
    Rows(u64),
    Exact(Exact),
    Distribution { bounds: Arc<[f64]>, counts: Vec<u64>, sum: Exact },
}

impl Sum {
    fn nought(amounts: &Amounts) -> Self {
        match amounts {
            Amounts::Rows(_) => Sum::Rows(0),
            Amounts::Sums(_) => Sum::Exact(Exact::ZERO),
            Amounts::Distributions { bounds, .. } => {
                Sum::Distribution { bounds: bounds.clone(), counts: vec![0; bounds.len() + 1], sum: Exact::ZERO }
            }
        }
    }

    fn add(&mut self, amounts: &Amounts, at: usize) {
        match (self, amounts) {
            (Sum::Rows(sum), Amounts::Rows(rows)) => *sum += rows[at],
            (Sum::Exact(sum), Amounts::Sums(sums)) => *sum = plus(*sum, sums[at]),
            (Sum::Distribution { counts, sum, .. }, Amounts::Distributions { counts: more, sums, .. }) => {
                let width = counts.len();
                counts.iter_mut().zip(&more[at * width..]).for_each(|(count, more)| *count += more);
                *sum = plus(*sum, sums[at]);
            }
            _ => debug_assert!(false, "a sum is made for its amounts"),
        }
    }

    fn value(&self) -> Value {
        match self {
            Sum::Rows(rows) => Value::Number(*rows as f64),
            Sum::Exact(sum) => Value::Number(sum.to_f64()),
            Sum::Distribution { bounds, counts, sum } => {
                let mut below = 0;
                let buckets = bounds.iter().zip(counts).map(|(bound, count)| {
                    below += count;
                    (*bound, below)
                });
                Value::Histogram(Arc::new(Histogram {
                    buckets: buckets.collect(),
                    count: counts.iter().sum(),
                    sum: sum.to_f64(),
                    ..Histogram::default()
                }))
            }
        }
    }
}

#[cfg(test)]
mod tests;
