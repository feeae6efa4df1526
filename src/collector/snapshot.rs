//! Snapshots: the rows of a read become gauges, infos and the server's own totals, and replace the last ones.
//!
//! What a query no longer returns is gone; what was never read is never 0. Only admitted label sets are remembered,
//! so that the same series exist in the next read.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::admission::{Admission, Ticket};
use super::exact::Exact;
use super::guard::{Guard, Replaced};
use crate::config::Limits;
use crate::family::{Family, Kind, Labels, Micros, Series, Value};
use crate::pack::{Collector, Merge, Metric, Pack, Reads};
use crate::source::Rows;
use crate::source::instant::parse_time;
use crate::telemetry::Ignored;

/// The gauges and infos of one `snapshot` collector.
#[derive(Debug, Clone)]
pub struct SnapshotCollector {
    columns: Vec<String>,
    shown: Vec<Shown>,
}

/// What one read came to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SnapshotOutcome {
    /// Every metric of the collector, whole.
    pub families: Vec<Family>,
    /// Values that were refused, by reason.
    pub ignored: BTreeMap<Ignored, u64>,
    /// Rows that went to the label set `overflow`, by metric.
    pub overflowed: BTreeMap<Arc<str>, u64>,
    /// Label values that were replaced, by reason.
    pub replaced: BTreeMap<Replaced, u64>,
}

/// A label set that must be remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// The metric.
    pub metric: String,
    /// JSON array of the label values in the metric's order.
    pub labels: String,
}

#[derive(Debug, Clone)]
struct Shown {
    name: Arc<str>,
    help: Arc<str>,
    kind: Kind,
    merge: Merge,
    /// Where each label's cell stands in a row.
    labels: Vec<usize>,
    /// Where the value's cell stands in a row.
    value: Option<usize>,
    /// What the value is multiplied by.
    scale: Option<f64>,
    /// Which label holds the state of a state set.
    state: Option<usize>,
    /// Whether declared combinations without a row are 0. A time that nothing happened at is no time.
    fills: bool,
    admission: Admission,
    /// How many admitted label sets are stored.
    stored: usize,
}

/// A value as it is put together from rows.
#[derive(Debug, Clone, Copy)]
enum Merged {
    Sum(Exact),
    Pick(f64),
}

impl SnapshotCollector {
    /// For a collector of a pack.
    pub fn new(collector: &Collector, limits: &Limits, guard: &Arc<Guard>) -> Self {
        let mut columns: Vec<String> = Vec::new();
        let mut place = |column: &str| {
            columns.iter().position(|known| known == column).unwrap_or_else(|| {
                columns.push(column.to_owned());
                columns.len() - 1
            })
        };
        let mut shown = Vec::new();
        for metric in &collector.metrics {
            let labels = metric.labels.iter().map(|label| place(label.column())).collect();
            let value = metric.value.as_deref().map(&mut place);
            if collector.observes(metric) {
                // Its columns are read for it; it is counted elsewhere.
                continue;
            }
            shown.push(Shown {
                name: metric.name().into(),
                help: metric.help.as_str().into(),
                kind: metric.kind(),
                merge: metric.merge(),
                labels,
                value,
                scale: metric.scale.as_ref().and_then(|scale| scale.among(&[])),
                state: state_label(metric),
                fills: fills(collector, metric),
                admission: Admission::new(metric, limits.series_per_metric, guard.clone()),
                stored: 0,
            });
        }
        SnapshotCollector { columns, shown }
    }

    /// The columns that the query must return, in the order of the cells of [`SnapshotCollector::fold`].
    pub fn columns(&self) -> Vec<String> {
        self.columns.clone()
    }

    /// Makes the families of one successful read.
    pub fn fold(&mut self, rows: &Rows) -> SnapshotOutcome {
        let mut outcome = SnapshotOutcome::default();
        for shown in &mut self.shown {
            let family = shown.fold(rows, &mut outcome);
            outcome.families.push(family);
        }
        outcome
    }

    /// Label sets admitted since [`SnapshotCollector::mark_clean`]: what is to be stored.
    pub fn admitted(&self) -> Vec<Admitted> {
        let of = |shown: &Shown| {
            let sets = shown.admission.sets()[shown.stored..].to_vec();
            let name = shown.name.to_string();
            sets.into_iter().map(move |set| Admitted {
                metric: name.clone(),
                labels: serde_json::to_string(&set.values).expect("a list of texts is always JSON"),
            })
        };
        self.shown.iter().flat_map(of).collect()
    }

    /// Says that every admitted label set is stored.
    pub fn mark_clean(&mut self) {
        for shown in &mut self.shown {
            shown.stored = shown.admission.sets().len();
        }
    }

    /// Takes up stored label sets, in the order in which they were admitted. What no metric fits any more is left out:
    /// a gauge carries nothing over, so nothing is lost. Call it before the first read, or when what was to be stored could not be.
    pub fn load_admitted(&mut self, stored: &[Admitted]) {
        for set in stored {
            let values: Option<Vec<String>> = serde_json::from_str(&set.labels).ok();
            for shown in self.shown.iter_mut().filter(|shown| *shown.name == *set.metric) {
                if let Some(values) = &values
                    && values.len() == shown.labels.len()
                {
                    let set = shown.admission.restore(values).expect("it has a value for each label");
                    // What was admitted since and could not be stored is not taken for stored.
                    shown.stored = shown.stored.max(set as usize + 1);
                }
            }
        }
    }
}

/// The parameters of a pack that are exported, at their default or as the operator overrides them.
pub fn parameter_families(pack: &Pack, overrides: &BTreeMap<String, f64>) -> Vec<Family> {
    let family = |(name, parameter): (&String, &crate::pack::Parameter)| {
        let value = overrides.get(name).copied().unwrap_or(parameter.value);
        Some(Family {
            name: parameter.gauge.as_deref()?.into(),
            help: parameter.help.as_str().into(),
            kind: Kind::Gauge,
            series: vec![Series { labels: Labels::none(), value: Value::Number(value), start: None, exemplar: None }],
        })
    };
    pack.parameters.iter().filter_map(family).collect()
}

impl Shown {
    fn fold(&mut self, rows: &Rows, outcome: &mut SnapshotOutcome) -> Family {
        let mut merged: BTreeMap<u32, Merged> = BTreeMap::new();
        if self.fills {
            for values in self.admission.declared() {
                let set = self.admission.restore(&values).expect("a combination has a value for each label");
                merged.insert(set, Merged::Sum(Exact::ZERO).for_merge(self.merge));
            }
        }
        let mut filled: BTreeSet<u32> = merged.keys().copied().collect();
        for row in rows.iter() {
            let number = match self.value.map(|value| row.cell(value)) {
                None => Exact::parse("1").map(Some),
                Some(None) => Ok(None),
                Some(Some(text)) => number(&scaled(text, self.scale)).map(Some),
            };
            let number = match number {
                Ok(Some(number)) if self.kind == Kind::Counter && number.to_f64() < 0.0 => Err(Ignored::Negative),
                number => number,
            };
            if let Err(reason) = number {
                *outcome.ignored.entry(reason).or_default() += 1;
            }
            let cells = self.labels.iter().map(|label| row.cell(*label));
            if self.kind == Kind::Info && !self.labels.is_empty() && cells.clone().all(|cell| cell.is_none()) {
                // The row tells of something else.
                continue;
            }
            let Ok(Some(number)) = number else {
                // There is a row, and it does not say how much: that is not 0.
                if !filled.is_empty() {
                    let set = self.admission.admit(cells).set;
                    if filled.remove(&set) {
                        merged.remove(&set);
                    }
                }
                continue;
            };
            if let Some(state) = self.state {
                self.fold_state(state, &cells.collect::<Vec<_>>(), number, &mut merged, outcome);
                continue;
            }
            let ticket = self.admission.admit(cells);
            tally(outcome, &self.name, ticket);
            if self.kind == Kind::Counter && ticket.overflowed {
                // Totals of whichever are told of just now, added up, are no total: they would go back and leap.
                continue;
            }
            let number = if self.kind == Kind::Info { Merged::Pick(1.0) } else { Merged::new(number, self.merge) };
            let first = filled.remove(&ticket.set);
            let before = if first { None } else { merged.get(&ticket.set).copied() };
            match before.map_or(Some(number), |before| before.with(number, self.merge)) {
                Some(sum) => {
                    merged.insert(ticket.set, sum);
                }
                None => *outcome.ignored.entry(Ignored::OutOfRange).or_default() += 1,
            }
        }
        self.family(&merged)
    }

    /// One row of a state set: 1 for its state, 0 for the other declared ones unless a row says 1 there. NULL is
    /// no state.
    fn fold_state(
        &mut self,
        state: usize,
        cells: &[Option<&str>],
        number: Exact,
        merged: &mut BTreeMap<u32, Merged>,
        outcome: &mut SnapshotOutcome,
    ) {
        let in_force = cells[state].unwrap_or_default();
        let mut states = self.admission.declared_values(state).to_vec();
        if !in_force.is_empty() && !states.iter().any(|known| known == in_force) {
            states.push(in_force.to_owned());
        }
        for name in &states {
            let mut full = cells.to_vec();
            full[state] = Some(name.as_str());
            let ticket = self.admission.admit(full.iter().copied());
            if name == in_force {
                tally(outcome, &self.name, ticket);
            }
            let here = if name == in_force && number != Exact::ZERO { 1.0 } else { 0.0 };
            let before = merged.get(&ticket.set).map_or(0.0, |merged| merged.to_f64());
            merged.insert(ticket.set, Merged::Pick(before.max(here)));
        }
    }

    fn family(&self, merged: &BTreeMap<u32, Merged>) -> Family {
        let sets = self.admission.sets();
        let mut order: Vec<u32> = merged.keys().copied().collect();
        order.sort_by_key(|set| &sets[*set as usize].values);
        let series = order.into_iter().map(|set| Series {
            labels: sets[set as usize].labels.clone(),
            value: Value::Number(merged[&set].to_f64()),
            start: None,
            exemplar: None,
        });
        Family { name: self.name.clone(), help: self.help.clone(), kind: self.kind, series: series.collect() }
    }
}

impl Merged {
    fn new(number: Exact, merge: Merge) -> Self {
        Merged::Sum(number).for_merge(merge)
    }

    fn for_merge(self, merge: Merge) -> Self {
        if merge == Merge::Sum { self } else { Merged::Pick(self.to_f64()) }
    }

    /// None when a sum has outgrown its room.
    fn with(self, other: Merged, merge: Merge) -> Option<Merged> {
        match (self, other, merge) {
            (Merged::Sum(sum), Merged::Sum(more), _) => sum.checked_add(more).map(Merged::Sum),
            (one, other, Merge::Min) => Some(Merged::Pick(one.to_f64().min(other.to_f64()))),
            (one, other, _) => Some(Merged::Pick(one.to_f64().max(other.to_f64()))),
        }
    }

    fn to_f64(self) -> f64 {
        match self {
            Merged::Sum(sum) => sum.to_f64(),
            Merged::Pick(value) => value,
        }
    }
}

/// A number's text multiplied; what is no number stays as it is, to be refused where it is read.
pub(super) fn scaled(text: &str, scale: Option<f64>) -> Cow<'_, str> {
    match (scale, text.trim().parse::<f64>()) {
        (Some(scale), Ok(number)) => {
            // A thousandth is no binary fraction, a thousand is a number: divided by it, 5 ms are 0.005 s to the last digit.
            let parts = scale.recip().round();
            let is_part = parts.abs() >= 1.0 && parts.recip() == scale;
            Cow::Owned(if is_part { number / parts } else { number * scale }.to_string())
        }
        _ => Cow::Borrowed(text),
    }
}

/// A gauge's cell: a number, a truth, or a moment as seconds since 1970.
pub(super) fn number(text: &str) -> Result<Exact, Ignored> {
    match text {
        "true" | "t" => return Exact::parse("1"),
        "false" | "f" => return Ok(Exact::ZERO),
        _ => {}
    }
    Exact::parse(text).or_else(|reason| {
        let micros: Micros = parse_time(text).ok_or(reason)?;
        Exact::parse(&format!("{micros}e-6"))
    })
}

fn tally(outcome: &mut SnapshotOutcome, metric: &Arc<str>, ticket: Ticket) {
    if ticket.overflowed {
        *outcome.overflowed.entry(metric.clone()).or_default() += 1;
    }
    for (reason, count) in Replaced::ALL.into_iter().zip(ticket.replaced) {
        if count > 0 {
            *outcome.replaced.entry(reason).or_default() += u64::from(count);
        }
    }
}

fn state_label(metric: &Metric) -> Option<usize> {
    let name = metric.state_label.as_deref()?;
    metric.labels.iter().position(|label| label.name() == name)
}

/// Whether declared combinations that no row has are 0: where rows or keys are counted, none of a kind is 0 of it. What a
/// server or an endpoint does not report is not known. An info says nothing then either, and nor does a time.
fn fills(collector: &Collector, metric: &Metric) -> bool {
    (collector.reads() == Reads::Database || collector.keys.is_some())
        && metric.kind() == Kind::Gauge
        && metric.state_label.is_none()
        && !metric.labels.is_empty()
        && !metric.name().ends_with("_timestamp_seconds")
}

#[cfg(test)]
mod tests;
