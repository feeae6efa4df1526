//! One run of a rows collector: read a page, fold it, write what changed, and only then let it be shown.
//!
//! Whatever goes wrong, the collector in memory is what the state holds: when a page could not be written, it is made
//! anew from the state before the next run.

mod spans_aside;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::Instrument as _;

use crate::collector::cursor::{LookBack, Phase};
use crate::collector::{Folded, Guard, RowsCollector, RowsSettings, SpanMaker};
use crate::config::SourceSettings;
use crate::family::{Family, Micros};
use crate::otlp::queue::Room;
use crate::pack::{self, Pack};
use crate::source::trace::traced;
use crate::source::{Moment, RowsPage, RowsQuery, RowsRange, Source};
use crate::store::CollectorId;
use crate::telemetry::metrics::CollectorMetrics;
use crate::telemetry::{Failure, Reason};

use super::gate::Gate;
use super::run::Run;
use super::{Context, clock, trace};
use spans_aside::{Aside, FailedReads};

/// A rows collector and what it takes to make it anew.
pub struct RowsJob {
    source: Arc<dyn Source>,
    definition: pack::Collector,
    query: RowsQuery,
    settings: RowsSettings,
    guard: Arc<Guard>,
    spans: Option<SpanMaker>,
    /// What else is to be read for spans, while the source refuses that.
    /// Whether series show rows whose spans were queued.
    exemplars: bool,
    aside: Option<Aside>,
    /// Reads in a row that failed with the columns of spans.
    failed: FailedReads,
    audit_interval: Duration,
    last_audit: Option<Instant>,
    /// None until it was made from the state.
    collector: Option<RowsCollector>,
    /// Series that began after this were shown as 0 the last time.
    hidden_since: Micros,
    /// The page after the last one, read while that was counted.
    ahead: Option<(RowsRange, RowsPage)>,
}

impl RowsJob {
    /// Prepares a job; the state is read at the first run.
    pub fn new(
        definition: &pack::Collector,
        rows: &pack::Rows,
        pack: &Pack,
        database: &Arc<dyn Source>,
        source: &SourceSettings,
        context: &Context,
    ) -> Self {
        let micros = |duration: Duration| Micros::try_from(duration.as_micros()).unwrap_or(Micros::MAX);
        let settings = RowsSettings {
            start: source.start,
            look_back: LookBack {
                unseen: micros(source.look_back),
                margin: micros(source.clock_margin),
                column: micros(rows.look_back.unwrap_or_default()),
            },
            page_rows: source.page_rows,
            limits: context.settings.limits,
        };
        let mut query = RowsQuery::of(rows, database.system(), context.settings.parameters_of(pack));
        let sends_spans = context.spans.is_some();
        if !sends_spans {
            query.keep_columns(&pack::lint::metric_columns(definition));
        }
        let maker = || SpanMaker::new(definition, &query, &source.name, &pack.app, &context.guard);
        RowsJob {
            source: database.clone(),
            definition: definition.clone(),
            spans: sends_spans.then(maker).flatten(),
            exemplars: context.settings.otlp.shows_exemplars(),
            aside: None,
            failed: FailedReads::default(),
            query,
            settings,
            guard: context.guard.clone(),
            audit_interval: source.audit_interval,
            last_audit: None,
            collector: None,
            hidden_since: Micros::MIN,
            ahead: None,
        }
    }

    /// Reads and counts one page.
    pub async fn run(
        &mut self,
        id: &CollectorId,
        gate: &Gate,
        context: &Context,
        metrics: &CollectorMetrics,
    ) -> Result<Run, Failure> {
        if let Some(aside) = self.aside.take_if(|aside| aside.is_over()) {
            self.query = aside.query;
            self.spans = Some(aside.spans);
            self.collector = None;
            self.ahead = None;
        }
        let mut collector = match self.collector.take() {
            Some(collector) => collector,
            None => self.made_from_state(id, context).await?,
        };
        let permit = gate.enter().await;
        // Until the page is written, nothing of it is kept: an early return drops the collector, and the next run makes
        // it from the state.
        let permit = match permit {
            Ok(permit) => permit,
            Err(failure) => {
                self.collector = Some(collector);
                return Err(failure);
            }
        };
        let began = Instant::now();
        let read = match self.ahead.take() {
            Some((range, page)) if range == collector.next_range() => Ok(Some(page)),
            _ => traced(trace::read(false), self.read(&mut collector, id, context)).await,
        };
        let mut busy = began.elapsed();
        gate.report(&read);
        let (page, moment) = match read {
            Ok(Some(page)) => {
                let moment = page.moment.clone();
                (page, moment)
            }
            Ok(None) => {
                // Known to be missing from the start; remembered, so that all of it counts once it is there.
                context.save(id, &collector.take_changes()).await?;
                self.collector = Some(collector);
                return Err(Failure::new(Reason::MissingTable, missing(&self.query.table)));
            }
            Err(failure) => {
                self.collector = Some(collector);
                return Err(failure);
            }
        };
        let read_from = collector.next_range().floor;
        // A backlog is read ahead by one page, so that neither the database nor the counting waits for the other.
        let further = collector.range_after(&page).filter(|_| moment.indexed);
        let ahead = async {
            let range = further?;
            // A failure is not told here: the next run reads again, and tells.
            traced(trace::read(true), self.source.read_rows(&self.query, &range)).await.ok().map(|page| (range, page))
        };
        let (written, ahead) = tokio::join!(fold_and_save(collector, page, id, context), ahead);
        drop(permit);
        let (collected, folded) = written?;
        collector = collected;
        self.ahead = ahead;
        if folded.new_epoch {
            metrics.epoch_began();
            tracing::warn!(collector = %id, "the database is another one or was set back; its counts begin anew at 0");
        }
        self.tell(&mut collector, &folded, &moment, read_from, metrics);
        if !folded.more {
            busy += self.audit(&collector, id, gate, metrics).await;
        }
        let run = Run {
            rows: folded.counted,
            busy,
            more: folded.more,
            more_after: Duration::ZERO,
            indexed: moment.indexed,
            note: note(&self.query, &moment, &folded, &collector).or(self.aside.as_ref().map(Aside::note)),
            horizon_lag: moment.oldest_open.map(|oldest| seconds(moment.now - oldest)),
            rows_counted: collector.cursor().map(|cursor| cursor.counted),
        };
        self.collector = Some(collector);
        Ok(run)
    }

    /// What is to be shown: nothing before the first sweep is through, so that history never shows as a jump.
    pub fn families(&mut self, now: Micros, zero_first: Duration) -> Option<Vec<Family>> {
        let collector = self.collector.as_ref()?;
        let live = collector.cursor().is_some_and(|cursor| cursor.phase == Phase::Live);
        // Never back: when the clock is set back, what was shown is not shown as 0 again.
        self.hidden_since = self.hidden_since.max(now.saturating_sub(micros(zero_first)));
        live.then(|| collector.families(self.hidden_since))
    }

    /// When the youngest series is to be shown as it is.
    pub fn ripens(&self, zero_first: Duration) -> Option<Micros> {
        let youngest = self.collector.as_ref()?.youngest_start()?;
        (youngest > self.hidden_since).then(|| youngest.saturating_add(micros(zero_first)))
    }

    async fn read(
        &mut self,
        collector: &mut RowsCollector,
        id: &CollectorId,
        context: &Context,
    ) -> Result<Option<RowsPage>, Failure> {
        let mut begun: Option<Moment> = None;
        if collector.is_before_first_look() {
            let moment = self.source.moment().await?;
            collector.begin(&moment);
            begun = Some(moment);
        }
        let range = collector.next_range();
        let read = match self.source.read_rows(&self.query, &range).await {
            Ok(page) => {
                self.failed = FailedReads::default();
                Ok(page)
            }
            Err(failure) => self.read_without_spans(failure, collector, begun.as_ref(), id, context).await,
        };
        match (read, begun) {
            (Ok(page), _) => Ok(Some(page)),
            (Err(failure), Some(moment)) if failure.reason == Reason::MissingTable => {
                collector.table_was_missing(&moment);
                Ok(None)
            }
            (Err(failure), _) => Err(failure),
        }
    }

    async fn made_from_state(&self, id: &CollectorId, context: &Context) -> Result<RowsCollector, Failure> {
        let mut collector = RowsCollector::new(&self.definition, self.query.clone(), self.settings, &self.guard)
            .with_spans(self.spans.clone())
            .with_exemplars(self.exemplars);
        let stored = context
            .state
            .load(&id.to_string())
            .await
            .map_err(|error| Failure::new(Reason::StateWrite, error.to_string()))?;
        let Some(stored) = stored else { return Ok(collector) };
        if stored.definition != collector.definition() {
            return Err(Failure::new(
                Reason::DefinitionChanged,
                format!(
                    "the pack now reads {} where the state was made for {}; counting on would count wrongly. Put the pack \
                     back, or let the collector begin anew: rowmetry state reset {id}",
                    collector.definition(),
                    stored.definition
                ),
            ));
        }
        let changed =
            collector.restore(&stored.cursor, stored.series, stored.seen, clock::now()).map_err(|message| {
                Failure::new(Reason::StateWrite, format!("{message}; begin anew with: rowmetry state reset {id}"))
            })?;
        for metric in changed {
            tracing::warn!(collector = %id, metric, "the pack changed what this metric means; it begins anew at 0");
            context
                .state
                .drop_metric(&id.to_string(), &metric)
                .await
                .map_err(|error| Failure::new(Reason::StateWrite, error.to_string()))?;
        }
        Ok(collector)
    }

    /// Recounts a settled window when it is time to. Returns how long that kept the database busy.
    async fn audit(
        &mut self,
        collector: &RowsCollector,
        id: &CollectorId,
        gate: &Gate,
        metrics: &CollectorMetrics,
    ) -> Duration {
        let due = self.last_audit.is_none_or(|last| last.elapsed() >= self.audit_interval);
        if self.audit_interval.is_zero() || !due {
            return Duration::ZERO;
        }
        let Some(window) = collector.audit_window() else { return Duration::ZERO };
        let (recount, took) = {
            let Ok(_permit) = gate.enter().await else { return Duration::ZERO };
            let began = Instant::now();
            let recount = self.source.count_rows(&self.query, window.0, window.1).instrument(trace::audit()).await;
            gate.report(&recount);
            (recount, began.elapsed())
        };
        self.last_audit = Some(Instant::now());
        let recount = match recount {
            Ok(recount) => recount,
            Err(failure) => {
                // The counts are not in doubt because a recount failed: it is said, and tried again when it is due.
                tracing::warn!(collector = %id, reason = %failure.reason, "the audit could not recount: {failure}");
                return took;
            }
        };
        let audit = collector.audit(window, recount);
        if audit.missing > 0 || audit.extra > 0 {
            tracing::error!(collector = %id, missing = audit.missing, extra = audit.extra, "the audit found a difference");
        }
        metrics.audited(audit.missing, audit.extra, audit.deleted, seconds(clock::now()));
        took
    }

    fn tell(
        &self,
        collector: &mut RowsCollector,
        folded: &Folded,
        moment: &Moment,
        read_from: Option<Micros>,
        metrics: &CollectorMetrics,
    ) {
        for (reason, rows) in &folded.ignored {
            metrics.ignored(*reason, *rows);
        }
        for admitted in collector.take_admissions() {
            metrics.series(&admitted.metric, admitted.series);
            metrics.overflowed(&admitted.metric, admitted.overflowed);
            for (reason, values) in admitted.replaced {
                metrics.replaced(reason, values);
            }
        }
        if self.spans.is_some() {
            metrics.spans(folded.spans_made, &folded.spans_skipped);
            for (reason, values) in &folded.spans_replaced {
                metrics.replaced(*reason, *values);
            }
        }
        if let Some(aside) = &self.aside {
            metrics.spans(0, &aside.skipped(folded.counted));
        }
        metrics.seen_keys(collector.seen_keys());
        metrics.seen_keys_dropped(folded.keys_dropped);
        metrics.settled_only(collector.cursor().is_some_and(|cursor| cursor.settled_only));
        if let Some(oldest) = moment.oldest_open {
            metrics.horizon_lag(seconds(moment.now - oldest));
        }
        if let Some(floor) = read_from {
            metrics.look_back(seconds(moment.now.saturating_sub(floor)).max(0.0));
        }
        let behind = folded.youngest.filter(|_| folded.more).map_or(0.0, |youngest| seconds(moment.now - youngest));
        metrics.behind(behind.max(0.0));
    }
}

/// Counts a page, off the threads that serve scrapes, and writes what it changed.
async fn fold_and_save(
    mut collector: RowsCollector,
    page: RowsPage,
    id: &CollectorId,
    context: &Context,
) -> Result<(RowsCollector, Folded), Failure> {
    let now = clock::now();
    let wanted = collector.spans_of(&page);
    let room = context.spans.as_ref().map(|queue| queue.reserve(wanted));
    collector.give_room(room.as_ref().map_or(0, Room::spans));
    let span = trace::fold(page.rows.len());
    let folding = tokio::task::spawn_blocking(move || {
        let folded = collector.fold(&page, now);
        let changes = collector.take_changes();
        (collector, folded, changes)
    });
    let (collector, folded, changes) = folding
        .instrument(span)
        .await
        .map_err(|_| Failure::new(Reason::BadReply, "counting the page broke off; it is read again"))?;
    let made = changes.spans.len() as u64;
    context.save(id, &changes).await?;
    if let Some(room) = room {
        room.fill(made);
    }
    Ok((collector, folded))
}

fn note(query: &RowsQuery, moment: &Moment, folded: &Folded, collector: &RowsCollector) -> Option<String> {
    if folded.more {
        return Some("behind: more rows wait than fit one page; catching up".to_owned());
    }
    if collector.cursor().is_some_and(|cursor| cursor.settled_only) {
        return Some(
            "too many keys to remember (a transaction has been open for long): rows count once it has ended".to_owned(),
        );
    }
    (!moment.indexed).then(|| format!("no index serves {}: reads scan {} and are spaced out", query.time, query.table))
}

fn missing(table: &str) -> String {
    format!("table {table} does not exist (yet); once it does, all its rows count")
}

fn seconds(micros: Micros) -> f64 {
    micros as f64 / 1e6
}

fn micros(duration: Duration) -> Micros {
    Micros::try_from(duration.as_micros()).unwrap_or(Micros::MAX)
}
