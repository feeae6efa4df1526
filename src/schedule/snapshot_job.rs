//! One run of a snapshot collector: run the query, fold its rows, write newly admitted label sets, show the result.

use std::time::Instant;

use crate::collector::snapshot::{Admitted, SnapshotCollector};
use crate::collector::{Changes, StoredSeries};
use crate::config::SourceSettings;
use crate::family::Family;
use crate::pack::{self, Pack};
use crate::source::SnapshotQuery;
use crate::store::CollectorId;
use crate::telemetry::metrics::CollectorMetrics;
use crate::telemetry::{Failure, Reason};

use super::Context;
use super::gate::Gate;
use super::run::Run;

/// What the state says of a series whose only content is that its label set was admitted.
const ADMITTED: &str = "admitted";

/// A snapshot collector and its query.
pub struct SnapshotJob {
    collector: SnapshotCollector,
    query: SnapshotQuery,
    restored: bool,
    families: Option<Vec<Family>>,
}

impl SnapshotJob {
    /// Prepares a job; the state is read at the first run.
    pub fn new(
        definition: &pack::Collector,
        snapshot: &pack::Snapshot,
        pack: &Pack,
        source: &SourceSettings,
        context: &Context,
    ) -> Self {
        let collector = SnapshotCollector::new(definition, &context.settings.limits, &context.guard);
        let settings = &context.settings;
        let query = SnapshotQuery::of(
            snapshot,
            collector.columns(),
            source.system,
            settings.parameters_of(pack),
            settings.limits.snapshot_rows,
        );
        SnapshotJob { collector, query, restored: false, families: None }
    }

    /// Reads the snapshot and makes its families.
    pub async fn run(
        &mut self,
        id: &CollectorId,
        gate: &Gate,
        context: &Context,
        metrics: &CollectorMetrics,
    ) -> Result<Run, Failure> {
        if !self.restored {
            self.restore(id, context).await?;
        }
        let (rows, busy) = {
            let _permit = gate.enter().await?;
            let began = Instant::now();
            let rows = gate.source.read_snapshot(&self.query).await;
            gate.report(&rows);
            (rows?, began.elapsed())
        };
        let outcome = self.collector.fold(&rows);
        let admitted = self.collector.admitted();
        if !admitted.is_empty() {
            let series = admitted.into_iter().map(stored).collect();
            let changes = Changes { series, ..Changes::default() };
            context.save(id, &changes).await?;
            self.collector.mark_clean();
        }
        for (reason, rows) in &outcome.ignored {
            metrics.ignored(*reason, *rows);
        }
        for (reason, values) in &outcome.replaced {
            metrics.replaced(*reason, *values);
        }
        for family in &outcome.families {
            metrics.series(&family.name, family.series.len());
        }
        for (metric, rows) in &outcome.overflowed {
            metrics.overflowed(metric, *rows);
        }
        self.families = Some(outcome.families);
        Ok(Run {
            rows: rows.len() as u64,
            busy,
            more: false,
            indexed: true,
            note: None,
            horizon_lag: None,
            rows_counted: None,
        })
    }

    /// What is to be shown.
    pub fn families(&self) -> Option<Vec<Family>> {
        self.families.clone()
    }

    async fn restore(&mut self, id: &CollectorId, context: &Context) -> Result<(), Failure> {
        let stored = context
            .state
            .load(&id.to_string())
            .await
            .map_err(|error| Failure::new(Reason::StateWrite, error.to_string()))?;
        let series = stored.map(|stored| stored.series).unwrap_or_default();
        let admitted: Vec<Admitted> =
            series.into_iter().map(|series| Admitted { metric: series.metric, labels: series.labels }).collect();
        self.collector.load_admitted(&admitted);
        self.restored = true;
        Ok(())
    }
}

fn stored(admitted: Admitted) -> StoredSeries {
    StoredSeries {
        metric: admitted.metric,
        definition: ADMITTED.to_owned(),
        labels: admitted.labels,
        value: String::from("null"),
        start: 0,
    }
}
