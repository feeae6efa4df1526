//! What the receiver has of each series, and so which points are due.
//!
//! What it has is only what it accepted: everything else is due again. Nothing here sends, and nothing reads a clock.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::since::{is_nought, new_exemplar, since};
use crate::config::otlp::{HistogramForm, Temporality};
use crate::family::{Exemplar, Family, Labels, Micros, Series, Value};
use crate::otlp::encode::metrics::{Head, Point};

/// What the receiver has.
///
/// It grows with the series that were accepted. Those of gauges, and all of them in the cumulative form, are forgotten when
/// they end; counters that have a start stay, as they do in the state, since they come back with what they had.
#[derive(Debug)]
pub struct Ledger {
    temporality: Temporality,
    form: HistogramForm,
    process_start: Micros,
    round: u64,
    families: HashMap<Arc<str>, KeptFamily>,
    resets: u64,
}

/// The series of one name.
#[derive(Debug, Default)]
struct KeptFamily {
    /// The last round that saw it.
    round: u64,
    series: HashMap<Labels, Kept>,
}

/// One series as the receiver has it.
#[derive(Debug)]
struct Kept {
    head: Arc<Head>,
    /// The last round that saw it.
    round: u64,
    /// Whether the receiver knows that it is there; a baseline is kept before it does.
    known: bool,
    /// As of when.
    time: Micros,
    /// What deltas begin from; nothing where there are none.
    base: Option<Base>,
}

#[derive(Debug, Clone)]
struct Base {
    start: Option<Micros>,
    value: Value,
    exemplar: Option<Exemplar>,
}

/// One point that is due, and what the receiver has once it took it.
#[derive(Debug)]
pub struct Due {
    /// What it has in common with others of its family.
    pub head: Arc<Head>,
    /// The point.
    pub point: Point,
    base: Option<Base>,
}

impl Ledger {
    /// Nothing was sent yet. What began before `process_start` was restored, so deltas begin from its first value.
    pub fn new(temporality: Temporality, form: HistogramForm, process_start: Micros) -> Self {
        Ledger { temporality, form, process_start, round: 0, families: HashMap::new(), resets: 0 }
    }

    /// Begins a round: one look at every family, ended by [`Ledger::ended`].
    pub fn begin(&mut self) {
        self.round += 1;
    }

    /// Adds the points of a family that are due as of `now`, those of series that it has no more included.
    pub fn look(&mut self, family: &Family, now: Micros, due: &mut Vec<Due>) {
        let head = Arc::new(Head::new(family, self.form));
        let mut kept = self.families.remove(&family.name).unwrap_or_default().series;
        for series in &family.series {
            if head.counts() && self.temporality == Temporality::Delta {
                due.extend(self.delta(&head, series, now, &mut kept));
            } else {
                if let Some(kept) = kept.get_mut(&series.labels) {
                    kept.round = self.round;
                }
                let start = series.start.unwrap_or(self.process_start);
                due.push(Due::new(&head, series, start, Some(series.value.clone()), series.exemplar, None));
            }
        }
        self.end_series(&mut kept, Some(&head), due);
        if !kept.is_empty() {
            self.families.insert(family.name.clone(), KeptFamily { round: self.round, series: kept });
        }
    }

    /// Adds a last point of every series whose family was not seen in this round.
    pub fn ended(&mut self, due: &mut Vec<Due>) {
        let mut families = std::mem::take(&mut self.families);
        let mut gone: Vec<_> = families.iter_mut().filter(|(_, family)| family.round != self.round).collect();
        gone.sort_by_key(|(name, _)| *name);
        for (_, family) in gone {
            self.end_series(&mut family.series, None, due);
        }
        families.retain(|_, family| !family.series.is_empty());
        self.families = families;
    }

    /// The receiver took these points, as of `now`.
    pub fn accepted(&mut self, taken: &[Due], now: Micros) {
        for due in taken {
            if due.point.value.is_none() {
                if let Some(family) = self.families.get_mut(&due.head.name) {
                    family.series.remove(&due.point.labels);
                }
                continue;
            }
            let family = self.families.entry(due.head.name.clone()).or_default();
            family.round = self.round;
            let head = due.head.clone();
            let new = Kept { head, round: self.round, known: true, time: now, base: due.base.clone() };
            family.series.insert(due.point.labels.clone(), new);
        }
    }

    /// How many series went down although their start stayed, since it was last asked.
    pub fn take_resets(&mut self) -> u64 {
        std::mem::take(&mut self.resets)
    }

    /// What was counted since the receiver last took something of the series; nothing when that is nothing.
    fn delta(
        &mut self,
        head: &Arc<Head>,
        series: &Series,
        now: Micros,
        kept: &mut HashMap<Labels, Kept>,
    ) -> Option<Due> {
        let began = series.start.unwrap_or(self.process_start);
        let base = Base { start: series.start, value: series.value.clone(), exemplar: series.exemplar };
        let due = |start: Micros, value: Value, exemplar| {
            Some(Due::new(head, series, start, Some(value), exemplar, Some(base.clone())))
        };
        let nought = || since(&series.value, &series.value).unwrap_or_else(|| series.value.clone());
        match kept.entry(series.labels.clone()) {
            Entry::Occupied(mut entry) => {
                let entry = entry.get_mut();
                entry.round = self.round;
                let before = entry.base.as_ref().filter(|before| before.start == series.start);
                if let Some(before) = before {
                    let exemplar = new_exemplar(series.exemplar, before.exemplar);
                    return match since(&series.value, &before.value) {
                        Some(value) if entry.known && is_nought(&value) => None,
                        Some(value) => due(entry.time, value, exemplar),
                        None => {
                            self.resets += 1;
                            due(entry.time, series.value.clone(), series.exemplar)
                        }
                    };
                }
                if began >= self.process_start {
                    return due(began.max(entry.time), series.value.clone(), series.exemplar);
                }
                (entry.base, entry.known) = (Some(base.clone()), false);
                due(entry.time, nought(), None)
            }
            Entry::Vacant(_) if began >= self.process_start => due(began, series.value.clone(), series.exemplar),
            Entry::Vacant(entry) => {
                let (head, base) = (head.clone(), Some(base.clone()));
                entry.insert(Kept { head, round: self.round, known: false, time: self.process_start.min(now), base });
                due(self.process_start, nought(), None)
            }
        }
    }

    /// Says of series that this round did not see that they ended.
    fn end_series(&self, kept: &mut HashMap<Labels, Kept>, head: Option<&Arc<Head>>, due: &mut Vec<Due>) {
        // A counter of ours without a start comes back only as a new one.
        let resumes = |kept: &Kept| kept.base.as_ref().is_some_and(|base| base.start.is_some());
        let forgotten = |kept: &Kept| kept.base.is_some() && !resumes(kept);
        kept.retain(|_, kept| kept.round == self.round || !forgotten(kept));
        let gone = kept.iter().filter(|(_, kept)| kept.round != self.round && !resumes(kept));
        let mut gone: Vec<(&Labels, &Kept)> = gone.collect();
        gone.sort_by_key(|(labels, _)| labels.text());
        for (labels, kept) in gone {
            let point = Point { labels: labels.clone(), start: kept.time, value: None, exemplar: None };
            due.push(Due { head: head.unwrap_or(&kept.head).clone(), point, base: None });
        }
    }
}

impl Due {
    fn new(
        head: &Arc<Head>,
        series: &Series,
        start: Micros,
        value: Option<Value>,
        exemplar: Option<Exemplar>,
        base: Option<Base>,
    ) -> Self {
        Due { head: head.clone(), point: Point { labels: series.labels.clone(), start, value, exemplar }, base }
    }
}
