//! What a probe observes: counters and histograms that grow by one observation a read, and last.
//!
//! The first row of a read is the observation; the others tell what it reported. Nothing here reads a clock or
//! decides what an answer means.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::guard::{Guard, Replaced};
use super::record::StoredSeries;
use super::series::SeriesSet;
use super::snapshot::scaled;
use crate::config::Limits;
use crate::family::{Family, Micros};
use crate::pack::{Collector, Metric};
use crate::source::Rows;
use crate::telemetry::Ignored;

/// The counters and histograms of a collector that observes.
#[derive(Debug, Clone)]
pub struct ObservedCollector {
    metrics: Vec<Metric>,
    limits: Limits,
    guard: Arc<Guard>,
    counted: Vec<Counted>,
}

/// What one observation came to, beside what it counted.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Observations {
    /// Values that were refused, by reason.
    pub ignored: BTreeMap<Ignored, u64>,
    /// Observations that went to the label set `overflow`, by metric.
    pub overflowed: BTreeMap<Arc<str>, u64>,
    /// Label values that were replaced, by reason.
    pub replaced: BTreeMap<Replaced, u64>,
}

#[derive(Debug, Clone)]
struct Counted {
    series: SeriesSet,
    definition: String,
    labels: Vec<String>,
    value: Option<String>,
    scale: Option<f64>,
    seeded: bool,
}

impl ObservedCollector {
    /// For a collector of a pack; it counts nothing where the collector observes nothing.
    pub fn new(collector: &Collector, limits: &Limits, guard: &Arc<Guard>) -> Self {
        let metrics: Vec<Metric> =
            collector.metrics.iter().filter(|metric| collector.observes(metric)).cloned().collect();
        let counted = counted(&metrics, limits, guard);
        ObservedCollector { metrics, limits: *limits, guard: guard.clone(), counted }
    }

    /// Takes back what an earlier run wrote. Returns the metrics whose stored series mean something else now, or cannot be
    /// read: they begin anew at 0. Series that all exist from the start begin `now` if they are new.
    pub fn restore(&mut self, stored: Vec<StoredSeries>, now: Micros) -> Vec<String> {
        self.counted = counted(&self.metrics, &self.limits, &self.guard);
        let mut changed = Vec::new();
        for stored in stored {
            let known = self.counted.iter_mut().find(|counted| counted.series.name() == stored.metric);
            let record =
                super::series::StoredSeries { labels: stored.labels, start: stored.start, value: stored.value };
            let fits = known
                .filter(|counted| counted.definition == stored.definition)
                .is_some_and(|counted| counted.series.load(&record).is_ok());
            if !fits {
                changed.push(stored.metric);
            }
        }
        changed.sort();
        changed.dedup();
        for counted in
            self.counted.iter_mut().filter(|counted| changed.iter().any(|name| name == counted.series.name()))
        {
            *counted = Counted::new(&counted.metric_of(&self.metrics), &self.limits, &self.guard);
        }
        for counted in &mut self.counted {
            counted.seed(now);
        }
        changed
    }

    /// Counts one observation: the first row, its cells in the order of `columns`.
    pub fn observe(&mut self, rows: &Rows, columns: &[String], now: Micros) -> Observations {
        let mut observations = Observations::default();
        if rows.is_empty() {
            return observations;
        }
        let row = rows.row(0);
        let cell = |name: &String| columns.iter().position(|column| column == name).and_then(|at| row.cell(at));
        for counted in &mut self.counted {
            counted.seed(now);
            let labels: Vec<Option<&str>> = counted.labels.iter().map(cell).collect();
            let value = counted.value.as_ref().and_then(cell).map(|text| scaled(text, counted.scale));
            if let Err(reason) = counted.series.add(&labels, value.as_deref(), now) {
                *observations.ignored.entry(reason).or_default() += 1;
            }
            let overflowed = counted.series.take_overflowed();
            if overflowed > 0 {
                *observations.overflowed.entry(counted.series.name().into()).or_default() += overflowed;
            }
            for (reason, values) in counted.series.take_replaced() {
                *observations.replaced.entry(reason).or_default() += values;
            }
        }
        observations
    }

    /// Series that changed since [`ObservedCollector::mark_clean`]: what is to be stored.
    pub fn changed(&self) -> Vec<StoredSeries> {
        let of = |counted: &Counted| {
            let (metric, definition) = (counted.series.name().to_owned(), counted.definition.clone());
            let records = counted.series.export_dirty().into_iter();
            records.map(move |record| StoredSeries {
                metric: metric.clone(),
                definition: definition.clone(),
                labels: record.labels,
                value: record.value,
                start: record.start,
            })
        };
        self.counted.iter().flat_map(of).collect()
    }

    /// Says that everything is stored.
    pub fn mark_clean(&mut self) {
        self.counted.iter_mut().for_each(|counted| counted.series.mark_clean());
    }

    /// The families to publish.
    pub fn families(&self) -> Vec<Family> {
        self.counted.iter().map(|counted| counted.series.families(None)).collect()
    }
}

fn counted(metrics: &[Metric], limits: &Limits, guard: &Arc<Guard>) -> Vec<Counted> {
    metrics.iter().map(|metric| Counted::new(metric, limits, guard)).collect()
}

impl Counted {
    fn new(metric: &Metric, limits: &Limits, guard: &Arc<Guard>) -> Self {
        let labels: Vec<String> = metric.labels.iter().map(|label| label.column().to_owned()).collect();
        let names: Vec<&str> = metric.labels.iter().map(crate::pack::Label::name).collect();
        Counted {
            series: SeriesSet::new(metric, limits, guard.clone()),
            definition: format!(
                "observed {:?} {labels:?} {names:?} {:?} {:?}",
                metric.kind(),
                metric.value,
                metric.scale.as_ref().and_then(|scale| scale.among(&[]))
            ),
            labels,
            value: metric.value.clone(),
            scale: metric.scale.as_ref().and_then(|scale| scale.among(&[])),
            seeded: false,
        }
    }

    fn metric_of(&self, metrics: &[Metric]) -> Metric {
        let own = |metric: &&Metric| metric.name() == self.series.name();
        metrics.iter().find(own).cloned().expect("every counted metric is one of the collector's")
    }

    fn seed(&mut self, now: Micros) {
        if !std::mem::replace(&mut self.seeded, true) {
            self.series.seed(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACK: &str = "app: web\ntitle: Web\ncollectors:\n- name: health\n  probe: {}\n  metrics:\n  \
        - {counter: web_probes_total, help: Probes., labels: [{name: outcome, values: [ok, timeout]}]}\n  \
        - {histogram: web_seconds, help: Time., value: seconds, scale: 0.001, buckets: [0.1, 1]}\n  \
        - {gauge: web_up, help: Up., value: up}\n";

    fn collector(text: &str) -> ObservedCollector {
        let pack = crate::pack::load::parse("web.yaml", text).unwrap_or_else(|errors| panic!("{errors}"));
        ObservedCollector::new(&pack.collectors[0], &Limits::default(), &Arc::new(Guard::new(120)))
    }

    fn columns() -> Vec<String> {
        ["outcome", "seconds", "up"].map(String::from).to_vec()
    }

    fn printed(collector: &ObservedCollector) -> String {
        collector
            .families()
            .iter()
            .flat_map(|family| &family.series)
            .map(|s| format!("{:?}{:?};", s.labels, s.value))
            .collect()
    }

    #[test]
    fn each_probe_counts_once_and_lasts() {
        let mut web = collector(PACK);
        web.observe(
            &Rows::of(3, &[Some("ok"), Some("250"), Some("1"), Some("timeout"), Some("9"), None]),
            &columns(),
            5,
        );
        web.observe(&Rows::of(3, &[Some("timeout"), None, Some("0")]), &columns(), 6);
        let before = printed(&web);
        assert!(before.contains("{outcome=\"ok\"}Number(1.0)"), "{before}");
        assert!(before.contains("{outcome=\"timeout\"}Number(1.0)"), "{before}");
        assert!(before.contains("count: 1, sum: 0.25, buckets: [(0.1, 0), (1.0, 1)]"), "{before}");

        let stored = web.changed();
        assert_eq!(stored.len(), 3);
        web.mark_clean();
        assert!(web.changed().is_empty());
        let mut again = collector(PACK);
        assert_eq!(again.restore(stored.clone(), 9), Vec::<String>::new());
        assert_eq!(printed(&again), before);
        assert!(again.changed().is_empty(), "what was just read need not be written");

        let mut other = collector(&PACK.replace("scale: 0.001, ", ""));
        assert_eq!(other.restore(stored, 9), ["web_seconds"]);
        assert!(printed(&other).contains("{outcome=\"ok\"}Number(1.0)"));
        assert!(printed(&other).contains("count: 0"), "{}", printed(&other));
    }
}
