//! The metrics that the rows of lines make: counters and histograms that grow, gauges that show what was told last.
//!
//! They take cells and know neither lines nor runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::last::LastValues;
use crate::collector::admission::Ticket;
use crate::collector::guard::{Guard, Replaced};
use crate::collector::record::{Admitted, StoredSeries};
use crate::collector::series::{self, SeriesSet};
use crate::collector::snapshot::scaled;
use crate::config::Limits;
use crate::family::{Family, Kind, Micros, SpanContext};
use crate::pack::{LABELS_PER_METRIC, Metric};
use crate::telemetry::Ignored;

/// All metrics of one collector that rows make.
#[derive(Debug, Default)]
pub(super) struct LineMetrics {
    counted: Vec<Counted>,
    told: Vec<Told>,
}

/// A counter or histogram.
#[derive(Debug)]
struct Counted {
    series: SeriesSet,
    definition: String,
    labels: Vec<usize>,
    value: Option<usize>,
    scale: Option<f64>,
}

/// A gauge.
#[derive(Debug)]
struct Told {
    values: LastValues,
    definition: String,
    labels: Vec<usize>,
    value: usize,
    scale: Option<f64>,
    overflowed: u64,
    replaced: [u64; Replaced::ALL.len()],
}

impl LineMetrics {
    /// Adds a metric; `at` is where a column's cell stands in a row.
    pub(super) fn add(
        &mut self,
        metric: &Metric,
        at: &dyn Fn(&str) -> Option<usize>,
        parameters: &[(String, f64)],
        limits: &Limits,
        guard: &Arc<Guard>,
    ) {
        let labels = metric.labels.iter().filter_map(|label| at(label.column())).collect();
        let value = metric.value.as_deref().and_then(at);
        let scale = metric.scale.as_ref().and_then(|scale| scale.among(parameters));
        let definition = meaning(metric, scale);
        match (metric.kind(), value) {
            (Kind::Counter | Kind::Histogram, value) => {
                let series = SeriesSet::new(metric, limits, guard.clone());
                self.counted.push(Counted { series, definition, labels, value, scale });
            }
            (_, Some(value)) => {
                let values = LastValues::new(metric, limits, guard.clone());
                let replaced = [0; Replaced::ALL.len()];
                self.told.push(Told { values, definition, labels, value, scale, overflowed: 0, replaced });
            }
            // A gauge without a value tells nothing; lint refuses it.
            (_, None) => {}
        }
    }

    /// From now on, what has not happened is 0.
    pub(super) fn seed(&mut self, now: Micros) {
        self.counted.iter_mut().for_each(|counted| counted.series.seed(now));
    }

    /// Counts one row of a time. `span` is what its exemplars show.
    pub(super) fn count(
        &mut self,
        cells: &[Option<&str>],
        time: Micros,
        span: Option<(SpanContext, Micros)>,
        now: Micros,
        ignored: &mut BTreeMap<Ignored, u64>,
    ) {
        let mut labels = [None; LABELS_PER_METRIC];
        for counted in &mut self.counted {
            let width = counted.labels.len().min(LABELS_PER_METRIC);
            for (label, cell) in labels.iter_mut().zip(&counted.labels) {
                *label = cells[*cell];
            }
            let value = counted.value.map(|cell| cells[cell]);
            // A value column that is NULL says nothing of this metric.
            if value == Some(None) {
                continue;
            }
            let value = value.flatten().map(|text| scaled(text, counted.scale));
            if let Err(reason) = counted.series.add_traced(&labels[..width], value.as_deref(), now, span) {
                *ignored.entry(reason).or_default() += 1;
            }
        }
        for told in &mut self.told {
            let Some(value) = cells[told.value] else { continue };
            let labels = told.labels.iter().map(|cell| cells[*cell]);
            match told.values.tell(labels, &scaled(value, told.scale), time, now) {
                Ok(ticket) => told.tally(ticket),
                Err(reason) => *ignored.entry(reason).or_default() += 1,
            }
        }
    }

    /// As they are published. Series that began after `hide_since` are shown as 0.
    pub(super) fn families(&self, hide_since: Option<Micros>) -> impl Iterator<Item = Family> {
        let counted = self.counted.iter().map(move |counted| counted.series.families(hide_since));
        counted.chain(self.told.iter().map(|told| told.values.family()))
    }

    /// Start of the youngest series.
    pub(super) fn youngest_start(&self) -> Option<Micros> {
        self.counted.iter().filter_map(|counted| counted.series.newest_start()).max()
    }

    /// What admission did since the last call, for each metric.
    pub(super) fn take_admissions(&mut self) -> Vec<Admitted> {
        let counted = self.counted.iter_mut().map(|counted| Admitted {
            metric: counted.series.name().to_owned(),
            series: counted.series.len(),
            overflowed: counted.series.take_overflowed(),
            replaced: counted.series.take_replaced().collect(),
        });
        let told = self.told.iter_mut().map(|told| Admitted {
            metric: told.values.name().to_string(),
            series: told.values.len(),
            overflowed: std::mem::take(&mut told.overflowed),
            replaced: Replaced::ALL.into_iter().zip(std::mem::take(&mut told.replaced)).collect(),
        });
        counted.chain(told).collect()
    }

    /// Series that changed since the last call, as they are stored.
    pub(super) fn take_changed(&mut self) -> Vec<StoredSeries> {
        let stored = |metric: &str, definition: &str, record: series::StoredSeries| StoredSeries {
            metric: metric.to_owned(),
            definition: definition.to_owned(),
            labels: record.labels,
            value: record.value,
            start: record.start,
        };
        let mut changed = Vec::new();
        for counted in &mut self.counted {
            let records = counted.series.export_dirty().into_iter();
            changed.extend(records.map(|record| stored(counted.series.name(), &counted.definition, record)));
            counted.series.mark_clean();
        }
        for told in &mut self.told {
            let records = told.values.take_changed().into_iter();
            changed.extend(records.map(|record| stored(told.values.name(), &told.definition, record)));
        }
        changed
    }

    /// Takes up what was stored. Returns the metrics whose stored series mean something else now: they begin anew.
    ///
    /// # Errors
    /// A sentence, when a series cannot be understood.
    pub(super) fn load(&mut self, stored: Vec<StoredSeries>) -> Result<Vec<String>, String> {
        let mut changed = Vec::new();
        for stored in stored {
            let record = series::StoredSeries { labels: stored.labels, start: stored.start, value: stored.value };
            let counted = self.counted.iter_mut().find(|counted| counted.series.name() == stored.metric);
            let told = self.told.iter_mut().find(|told| **told.values.name() == *stored.metric);
            let fits = match (counted, told) {
                (Some(counted), _) if counted.definition == stored.definition => {
                    counted.series.load(&record).map_err(|misfit| misfit.to_string())?;
                    true
                }
                (None, Some(told)) => told.definition == stored.definition && told.values.load(&record),
                _ => false,
            };
            if !fits {
                changed.push(stored.metric);
            }
        }
        changed.sort();
        changed.dedup();
        Ok(changed)
    }
}

impl Told {
    fn tally(&mut self, ticket: Ticket) {
        self.overflowed += u64::from(ticket.overflowed);
        for (sum, count) in self.replaced.iter_mut().zip(ticket.replaced) {
            *sum += u64::from(count);
        }
    }
}

/// What a metric's values mean, as text: another text is another count. The forms are not of it: what is looked for may
/// grow, and goes on counting.
fn meaning(metric: &Metric, scale: Option<f64>) -> String {
    let labels: Vec<_> = metric.labels.iter().map(|label| (label.name(), label.column())).collect();
    format!("logs {:?} {labels:?} {:?} {scale:?} {:?}", metric.kind(), metric.value, metric.buckets)
}
