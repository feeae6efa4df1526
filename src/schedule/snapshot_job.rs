//! One run of a collector whose results replace each other: read, fold, write what must last, show the result.
//!
//! Whether the rows come from a query, a scan of keys, a console or a probe is the reader's business. What a probe
//! observes is counted once, and written before it is shown.

use std::time::{Duration, Instant};

use tracing::Span;

use crate::collector::snapshot::{Admitted, SnapshotCollector};
use crate::collector::{Changes, ObservedCollector, StoredSeries};
use crate::family::Family;
use crate::pack;
use crate::source::Reader;
use crate::source::trace::traced;
use crate::store::CollectorId;
use crate::telemetry::metrics::CollectorMetrics;
use crate::telemetry::{Failure, Reason};

use super::gate::Gate;
use super::run::Run;
use super::{Context, clock, trace};

/// What the state says of a series whose only content is that its label set was admitted.
const ADMITTED: &str = "admitted";

/// A collector and the reader that feeds it.
pub struct SnapshotJob {
    kind: &'static str,
    /// Whoever is asked is asked no sooner than after the interval.
    keeps_interval: bool,
    collector: SnapshotCollector,
    observed: ObservedCollector,
    reader: Box<dyn Reader>,
    restored: bool,
    /// A read is going on over several runs.
    under_way: Option<Duration>,
    /// The span of that read.
    reading: Option<Span>,
    families: Option<Vec<Family>>,
}

impl SnapshotJob {
    /// Prepares a job; the state is read at the first run.
    pub fn new(
        definition: &pack::Collector,
        collector: SnapshotCollector,
        reader: Box<dyn Reader>,
        context: &Context,
    ) -> Self {
        let observed = ObservedCollector::new(definition, &context.settings.limits, &context.guard);
        let kind = definition.kind();
        let keeps_interval = definition.reads() == pack::Reads::Http;
        SnapshotJob {
            kind,
            keeps_interval,
            collector,
            observed,
            reader,
            restored: false,
            under_way: None,
            reading: None,
            families: None,
        }
    }

    /// The word for it on the front page.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// Whether it runs no sooner than after its interval, even when its last run came to nothing: a health endpoint asks
    /// others in turn.
    pub fn keeps_interval(&self) -> bool {
        self.keeps_interval
    }

    /// Reads the next part; with the last, makes the families.
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
        let (reading, took) = {
            let _permit = gate.enter().await?;
            let began = Instant::now();
            let span = self.reading.take().unwrap_or_else(|| trace::read(false));
            let reading = traced(span.clone(), self.reader.read(clock::now())).await;
            self.reading = Some(span).filter(|_| reading.as_ref().is_ok_and(|reading| reading.rows.is_none()));
            gate.report(&reading);
            (reading, began.elapsed())
        };
        let busy = self.under_way.take().unwrap_or_default() + took;
        let reading = reading?;
        if let Some(scan) = &reading.scan {
            metrics.scanned(scan.commands, scan.keys, scan.seconds, scan.truncated);
        }
        let mut run = Run { busy, indexed: true, note: reading.note, ..Run::default() };
        let Some(rows) = reading.rows else {
            self.under_way = Some(busy);
            run.more = true;
            run.more_after = reading.more_after.unwrap_or_default();
            return Ok(run);
        };
        run.rows = rows.len() as u64;
        let (outcome, observations) = trace::fold(rows.len()).in_scope(|| {
            let outcome = self.collector.fold(&rows);
            (outcome, self.observed.observe(&rows, &self.collector.columns(), clock::now()))
        });
        let mut series: Vec<StoredSeries> = self.collector.admitted().into_iter().map(stored).collect();
        series.extend(self.observed.changed());
        if !series.is_empty() {
            if let Err(failure) = context.save(id, &Changes { series, ..Changes::default() }).await {
                // What is in memory is what the state holds, else a probe would count that was never written.
                self.restored = false;
                return Err(failure);
            }
            self.collector.mark_clean();
            self.observed.mark_clean();
        }
        for (reason, rows) in outcome.ignored.iter().chain(&observations.ignored) {
            metrics.ignored(*reason, *rows);
        }
        for (reason, values) in outcome.replaced.iter().chain(&observations.replaced) {
            metrics.replaced(*reason, *values);
        }
        for (metric, rows) in outcome.overflowed.iter().chain(&observations.overflowed) {
            metrics.overflowed(metric, *rows);
        }
        let mut families = outcome.families;
        families.extend(self.observed.families());
        for family in &families {
            metrics.series(&family.name, family.series.len());
        }
        self.families = Some(families);
        Ok(run)
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
        let (admitted, counted): (Vec<_>, Vec<_>) =
            series.into_iter().partition(|series| series.definition == ADMITTED);
        let admitted: Vec<Admitted> =
            admitted.into_iter().map(|series| Admitted { metric: series.metric, labels: series.labels }).collect();
        self.collector.load_admitted(&admitted);
        for metric in self.observed.restore(counted, clock::now()) {
            tracing::warn!(collector = %id, metric, "the pack changed what this metric means; it begins anew at 0");
            context
                .state
                .drop_metric(&id.to_string(), &metric)
                .await
                .map_err(|error| Failure::new(Reason::StateWrite, error.to_string()))?;
        }
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
