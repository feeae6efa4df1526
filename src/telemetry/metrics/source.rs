//! Metrics of one source: what was asked of it, what that is of its budget, and whether its application is quiet.
//!
//! Counting only; what a budget bears is decided elsewhere.

use std::sync::Arc;

use prometheus::{CounterVec, GaugeVec, IntCounterVec, IntGaugeVec};

use super::watched::{Watched, Watcher};

const SOURCE: [&str; 1] = ["source"];
const SOURCE_AND_BUDGET: [&str; 2] = ["source", "budget"];

/// The budget in statements, as a label value.
const STATEMENTS: &str = "statements";
/// The budget in seconds awake, as a label value.
const AWAKE_SECONDS: &str = "awake_seconds";

pub(super) struct SourceVecs {
    statements: Watched<IntCounterVec>,
    awake: Watched<CounterVec>,
    limit: Watched<GaugeVec>,
    spent: Watched<GaugeVec>,
    exhausted: Watched<IntGaugeVec>,
    idle: Watched<IntGaugeVec>,
}

impl SourceVecs {
    pub(super) fn new(watcher: &Watcher) -> Self {
        SourceVecs {
            statements: watcher.int_counters("rowmetry_source_statements_total",
                "Statements, commands or requests sent to the source; a connection made counts as one.",
                &SOURCE,
            ),
            awake: watcher.counters("rowmetry_source_awake_seconds_total",
                "Time that our reads kept the source awake, if it suspends when idle: estimated from the gaps between them.",
                &SOURCE,
            ),
            limit: watcher.gauges("rowmetry_source_budget_limit",
                "What may be spent on the source in 24 hours; absent where nothing bounds it.",
                &SOURCE_AND_BUDGET,
            ),
            spent: watcher.gauges("rowmetry_source_budget_spent",
                "What was spent on the source in the last 24 hours, since Rowmetry began to read it.",
                &SOURCE_AND_BUDGET,
            ),
            exhausted: watcher.int_gauges("rowmetry_source_budget_exhausted",
                "Whether nothing is read because the source's budget is spent.",
                &SOURCE,
            ),
            idle: watcher.int_gauges("rowmetry_source_idle",
                "Whether the source's application is quiet, so that it is read in rounds only.",
                &SOURCE,
            ),
        }
    }
}

/// What is spent on one source.
#[derive(Clone)]
pub struct SourceMetrics {
    vecs: Arc<SourceVecs>,
    source: Arc<str>,
}

impl SourceMetrics {
    pub(super) fn new(vecs: Arc<SourceVecs>, source: &str) -> Self {
        let metrics = SourceMetrics { vecs, source: source.into() };
        metrics.sent(0);
        metrics.spent(0.0, 0.0);
        metrics.governed(false, false, 0.0);
        metrics
    }

    /// So many statements were sent.
    pub fn sent(&self, statements: u64) {
        self.vecs.statements.change().with_label_values(&[&*self.source]).inc_by(statements);
    }

    /// What may be spent in 24 hours: statements, and seconds awake.
    pub fn limited(&self, statements: Option<u64>, awake: Option<f64>) {
        for (budget, limit) in [(STATEMENTS, statements.map(|limit| limit as f64)), (AWAKE_SECONDS, awake)] {
            if let Some(limit) = limit {
                self.vecs.limit.change().with_label_values(&[&*self.source, budget]).set(limit);
            }
        }
    }

    /// What was spent in the last 24 hours.
    pub fn spent(&self, statements: f64, awake: f64) {
        self.vecs.spent.change().with_label_values(&[&*self.source, STATEMENTS]).set(statements);
        self.vecs.spent.change().with_label_values(&[&*self.source, AWAKE_SECONDS]).set(awake);
    }

    /// How it is read, and for how many seconds it was kept awake so far.
    pub fn governed(&self, idle: bool, exhausted: bool, awake: f64) {
        let source = [&*self.source];
        self.vecs.idle.change().with_label_values(&source).set(idle.into());
        self.vecs.exhausted.change().with_label_values(&source).set(exhausted.into());
        let change = self.vecs.awake.change();
        let counted = change.with_label_values(&source);
        counted.inc_by((awake - counted.get()).max(0.0));
    }

    /// Takes every series of the source away.
    pub fn remove(&self) {
        let source = [&*self.source];
        // A series that never was is not missed.
        let _ = self.vecs.statements.change().remove_label_values(&source);
        let _ = self.vecs.awake.change().remove_label_values(&source);
        let _ = self.vecs.exhausted.change().remove_label_values(&source);
        let _ = self.vecs.idle.change().remove_label_values(&source);
        for budget in [STATEMENTS, AWAKE_SECONDS] {
            let _ = self.vecs.limit.change().remove_label_values(&[&*self.source, budget]);
            let _ = self.vecs.spent.change().remove_label_values(&[&*self.source, budget]);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::telemetry::metrics::Metrics;

    fn lines(metrics: &Metrics) -> Vec<String> {
        let text = prometheus::TextEncoder::new().encode_to_string(&metrics.gather()).expect("encodes");
        text.lines().filter(|line| !line.starts_with('#') && line.contains("source=")).map(String::from).collect()
    }

    #[test]
    fn a_source_has_its_series_until_it_is_dropped() {
        let metrics = Metrics::new("test");
        let source = metrics.source("shop");
        let bare = lines(&metrics);
        assert_eq!(bare.len(), 6, "no limit where nothing bounds it: {bare:#?}");
        source.sent(3);
        source.limited(Some(100), None);
        source.spent(3.0, 60.5);
        source.governed(true, false, 60.5);
        source.governed(true, true, 61.0);
        let shown = lines(&metrics);
        for line in [
            "rowmetry_source_statements_total{source=\"shop\"} 3",
            "rowmetry_source_budget_limit{budget=\"statements\",source=\"shop\"} 100",
            "rowmetry_source_budget_spent{budget=\"awake_seconds\",source=\"shop\"} 60.5",
            "rowmetry_source_awake_seconds_total{source=\"shop\"} 61",
            "rowmetry_source_idle{source=\"shop\"} 1",
            "rowmetry_source_budget_exhausted{source=\"shop\"} 1",
        ] {
            assert!(shown.iter().any(|shown| shown == line), "{line} is not in {shown:#?}");
        }
        metrics.remove_source("shop");
        assert_eq!(lines(&metrics), Vec::<String>::new());
    }
}
