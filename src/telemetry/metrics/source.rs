//! Metrics of one source: what was asked of it, what that is of its budget, and whether its application is quiet.
//!
//! Counting only; what a budget bears is decided elsewhere.

use std::sync::Arc;

use prometheus::{CounterVec, GaugeVec, IntCounterVec, IntGaugeVec, Registry};

use super::{counters, gauges, int_counters, int_gauges};

const SOURCE: [&str; 1] = ["source"];
const SOURCE_AND_BUDGET: [&str; 2] = ["source", "budget"];

/// The budget in statements, as a label value.
const STATEMENTS: &str = "statements";
/// The budget in seconds awake, as a label value.
const AWAKE_SECONDS: &str = "awake_seconds";

pub(super) struct SourceVecs {
    statements: IntCounterVec,
    awake: CounterVec,
    limit: GaugeVec,
    spent: GaugeVec,
    exhausted: IntGaugeVec,
    idle: IntGaugeVec,
}

impl SourceVecs {
    pub(super) fn new(registry: &Registry) -> Self {
        SourceVecs {
            statements: int_counters(
                registry,
                "rowmetry_source_statements_total",
                "Statements, commands or requests sent to the source; a connection made counts as one.",
                &SOURCE,
            ),
            awake: counters(
                registry,
                "rowmetry_source_awake_seconds_total",
                "Time that our reads kept the source awake, if it suspends when idle: estimated from the gaps between them.",
                &SOURCE,
            ),
            limit: gauges(
                registry,
                "rowmetry_source_budget_limit",
                "What may be spent on the source in 24 hours; absent where nothing bounds it.",
                &SOURCE_AND_BUDGET,
            ),
            spent: gauges(
                registry,
                "rowmetry_source_budget_spent",
                "What was spent on the source in the last 24 hours, since Rowmetry began to read it.",
                &SOURCE_AND_BUDGET,
            ),
            exhausted: int_gauges(
                registry,
                "rowmetry_source_budget_exhausted",
                "Whether nothing is read because the source's budget is spent.",
                &SOURCE,
            ),
            idle: int_gauges(
                registry,
                "rowmetry_source_idle",
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
        self.vecs.statements.with_label_values(&[&*self.source]).inc_by(statements);
    }

    /// What may be spent in 24 hours: statements, and seconds awake.
    pub fn limited(&self, statements: Option<u64>, awake: Option<f64>) {
        for (budget, limit) in [(STATEMENTS, statements.map(|limit| limit as f64)), (AWAKE_SECONDS, awake)] {
            if let Some(limit) = limit {
                self.vecs.limit.with_label_values(&[&*self.source, budget]).set(limit);
            }
        }
    }

    /// What was spent in the last 24 hours.
    pub fn spent(&self, statements: f64, awake: f64) {
        self.vecs.spent.with_label_values(&[&*self.source, STATEMENTS]).set(statements);
        self.vecs.spent.with_label_values(&[&*self.source, AWAKE_SECONDS]).set(awake);
    }

    /// How it is read, and for how many seconds it was kept awake so far.
    pub fn governed(&self, idle: bool, exhausted: bool, awake: f64) {
        let source = [&*self.source];
        self.vecs.idle.with_label_values(&source).set(idle.into());
        self.vecs.exhausted.with_label_values(&source).set(exhausted.into());
        let counted = self.vecs.awake.with_label_values(&source);
        counted.inc_by((awake - counted.get()).max(0.0));
    }

    /// Takes every series of the source away.
    pub fn remove(&self) {
        let source = [&*self.source];
        // A series that never was is not missed.
        let _ = self.vecs.statements.remove_label_values(&source);
        let _ = self.vecs.awake.remove_label_values(&source);
        let _ = self.vecs.exhausted.remove_label_values(&source);
        let _ = self.vecs.idle.remove_label_values(&source);
        for budget in [STATEMENTS, AWAKE_SECONDS] {
            let _ = self.vecs.limit.remove_label_values(&[&*self.source, budget]);
            let _ = self.vecs.spent.remove_label_values(&[&*self.source, budget]);
        }
    }
}
