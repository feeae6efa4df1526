//! One collector for ever: run, record what came of it, show it, wait.
//!
//! Failures are logged and counted here and nowhere else. It never ends by itself, and decides nothing about a row.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{Instrument as _, Span};

use crate::family::{Family, Kind, Labels, Micros, Series, Value};
use crate::pack::Up;
use crate::store::CollectorId;
use crate::telemetry::metrics::CollectorMetrics;
use crate::telemetry::{Failure, Reason, State};

use super::gate::{Gate, Pass, Plan};
use super::governor::Ran;
use super::lookup_job::LookupJob;
use super::rows_job::RowsJob;
use super::run::Run;
use super::snapshot_job::SnapshotJob;
use super::{Context, clock, pace, trace};

/// The last values are shown for this many intervals after reads began to fail, but not shorter than
/// [`SHORTEST_STALENESS`]; then the series are left out.
const STALE_INTERVALS: u32 = 5;

/// See [`STALE_INTERVALS`]. A restart of a database should not leave holes in every graph.
const SHORTEST_STALENESS: Duration = Duration::from_secs(300);

/// What a collector does when its time has come.
pub(super) enum Job {
    Rows(Box<RowsJob>),
    Snapshot(Box<SnapshotJob>),
    Lookup(LookupJob),
}

impl Job {
    /// The word for it on the front page.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Job::Rows(_) => "rows",
            Job::Snapshot(job) => job.kind(),
            Job::Lookup(_) => "lookup",
        }
    }

    /// Whether it reads new rows, so that it can tell whether the application is quiet.
    fn reads_rows(&self) -> bool {
        matches!(self, Job::Rows(_))
    }

    async fn run(
        &mut self,
        id: &CollectorId,
        gate: &Gate,
        context: &Context,
        metrics: &CollectorMetrics,
    ) -> Result<Run, Failure> {
        match self {
            Job::Rows(job) => job.run(id, gate, context, metrics).await,
            Job::Snapshot(job) => job.run(id, gate, context, metrics).await,
            Job::Lookup(job) => job.run(gate).await,
        }
    }

    /// The shortest pause between two runs.
    fn shortest_pause(&self, interval: Duration) -> Duration {
        match self {
            Job::Snapshot(job) if job.keeps_interval() => interval,
            _ => Duration::ZERO,
        }
    }

    /// Whether each part of a read that takes several is shown as it comes.
    fn shows_each_part(&self) -> bool {
        matches!(self, Job::Rows(_))
    }

    /// What is to be shown now; none before there is anything true to show.
    fn families(&mut self, now: Micros, zero_first: Duration) -> Option<Vec<Family>> {
        match self {
            Job::Rows(job) => job.families(now, zero_first),
            Job::Snapshot(job) => job.families(),
            Job::Lookup(_) => None,
        }
    }

    /// When something that is shown as 0 is to be shown as it is.
    fn ripens(&self, zero_first: Duration) -> Option<Micros> {
        match self {
            Job::Rows(job) => job.ripens(zero_first),
            Job::Snapshot(_) | Job::Lookup(_) => None,
        }
    }
}

/// Runs one collector for ever.
pub(super) struct Driver {
    pub(super) id: CollectorId,
    pub(super) job: Job,
    pub(super) interval: Duration,
    pub(super) busy_share: f64,
    /// Its own way through the source's gate.
    pub(super) gate: Arc<Gate>,
    /// The gauge that says whether the source can be reached.
    pub(super) up: Option<Up>,
    pub(super) context: Arc<Context>,
    pub(super) metrics: CollectorMetrics,
    pub(super) last_success: Option<Instant>,
    pub(super) withdrawn: bool,
    pub(super) failures: u32,
    /// The pause that the last success granted the database.
    pub(super) rested: Duration,
    /// The pause that the governor made of it.
    pub(super) waits: Duration,
    /// How long the last read took from its first part to its last, where only the whole is shown.
    pub(super) whole: Duration,
}

impl Driver {
    /// Runs until told to stop.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let gate = self.gate.clone();
        let mut plan = Plan { since: Instant::now(), pause: Duration::ZERO, going_on: false, round: 0 };
        let mut sent = gate.sent();
        let mut first = Instant::now();
        let mut collection = None;
        while let Some(pass) = self.wait(&gate, plan, &mut stop).await {
            plan.round = pass.round;
            let began = Instant::now();
            if !plan.going_on || self.job.shows_each_part() {
                first = began;
            }
            // What is shown as a whole is one collection, however many parts it is read in.
            let span = collection.take().unwrap_or_else(|| trace::collect(&self.id));
            let result = {
                let run = self.job.run(&self.id, &gate, &self.context, &self.metrics).instrument(span.clone());
                tokio::select! {
                    result = run => result,
                    // A read that is dropped half-way has changed nothing: what it folded was not saved either.
                    _ = stop.wait_for(|stop| *stop) => return,
                }
            };
            drop(pass);
            let rows = result.as_ref().ok().map(|run| run.rows);
            plan.going_on = result.as_ref().is_ok_and(|run| run.more);
            trace::collected(&span, &result);
            let pause = span.in_scope(|| self.after(result, began.elapsed(), first.elapsed()));
            plan.pause = pause.max(self.job.shortest_pause(self.interval));
            collection = Some(span).filter(|_| plan.going_on && !self.job.shows_each_part());
            plan.since = Instant::now();
            let (who, reads_rows) = (&self.id.to_string(), self.job.reads_rows());
            let cost = gate.sent() - sent;
            gate.ran(Ran { who, reads_rows, rows, more: plan.going_on, cost, pause: plan.pause });
            // What is caught up with is not what a read costs; the parts of a scan are.
            if !plan.going_on || self.job.shows_each_part() {
                sent = gate.sent();
            }
            if plan.pause.is_zero() && !*stop.borrow() {
                // Behind: a timer would wait for its next tick at least, each page.
                tokio::task::yield_now().await;
            }
        }
    }

    /// Waits until the governor lets it run; meanwhile shows what has ripened and drops what went stale. None when told to
    /// stop.
    async fn wait<'g>(&mut self, gate: &'g Gate, plan: Plan, stop: &mut watch::Receiver<bool>) -> Option<Pass<'g>> {
        let mut changed = gate.changed();
        let mut told = None;
        loop {
            if *stop.borrow() {
                return None;
            }
            let due = if plan.going_on { plan.since + plan.pause } else { plan.since };
            let now = Instant::now();
            let next = match (due > now).then_some(due).map_or_else(|| gate.admit(plan), Err) {
                Ok(pass) => return Some(pass),
                Err(next) => next,
            };
            if told != Some(next) {
                told = Some(next);
                self.tell_next(plan, next);
            }
            let zero_first = self.context.settings.zero_first;
            let ripe = self.job.ripens(zero_first).map(|at| at.saturating_sub(clock::now()).max(0).unsigned_abs());
            let ripe = ripe.filter(|_| !self.withdrawn).map(|micros| now + Duration::from_micros(micros));
            let stale = self.stale_at().filter(|_| !self.withdrawn);
            let wake = [Some(next), ripe, stale].into_iter().flatten().min().unwrap_or(next);
            tokio::select! {
                () = tokio::time::sleep_until(wake) => {}
                // The sender lives as long as the gate.
                _ = changed.changed() => {}
                _ = stop.wait_for(|stop| *stop) => return None,
            }
            let now = Instant::now();
            if stale.is_some_and(|stale| stale <= now) {
                self.withdraw();
            } else if ripe.is_some_and(|ripe| ripe <= now) {
                self.publish();
            }
        }
    }

    /// Says when the next run is. What we chose to read later is not stale for it.
    fn tell_next(&mut self, plan: Plan, next: Instant) {
        let now = Instant::now();
        let micros = i64::try_from(next.saturating_duration_since(now).as_micros()).unwrap_or(i64::MAX);
        let next_run = clock::now().saturating_add(micros);
        self.context.board.collector(&self.id, |status| status.next_run = Some(next_run));
        if self.failures > 0 {
            return;
        }
        let waits = next.saturating_duration_since(plan.since);
        self.waits = if plan.going_on { self.waits.max(waits) } else { waits };
        // Jitter is not worth telling.
        let interval = if waits > self.rested.max(plan.pause) { waits } else { self.rested };
        if !plan.going_on && !interval.is_zero() {
            self.metrics.interval(interval.as_secs_f64());
        }
    }

    /// Records what a run came to, which took so long, and so long with the parts before it. Returns the pause until the next.
    fn after(&mut self, result: Result<Run, Failure>, took: Duration, whole: Duration) -> Duration {
        let now = clock::now();
        let seconds = if result.is_ok() { whole } else { took }.as_secs_f64();
        match result {
            Ok(run) => {
                self.context.metrics.source_up(&self.id.source, true);
                if self.failures > 0 {
                    tracing::info!(collector = %self.id, "works again");
                }
                self.failures = 0;
                if run.more && !self.job.shows_each_part() {
                    // Not whole yet: there is nothing to show, and nothing to say of the whole.
                    return run.more_after;
                }
                self.last_success = Some(Instant::now());
                self.whole = whole;
                let series = trace::publish().in_scope(|| self.publish());
                trace::count(&Span::current(), "rowmetry.series", series);
                // Said last, as in the other case: who sees that it succeeded sees its result.
                self.metrics.succeeded(seconds, run.rows, now as f64 / 1e6);
                self.metrics.indexed(run.indexed);
                self.context.board.collector(&self.id, |status| {
                    status.state = Some(State::Ok);
                    status.last_run = Some(now);
                    status.last_success = Some(now);
                    status.duration = Some(seconds);
                    status.rows = Some(run.rows);
                    status.rows_counted = run.rows_counted;
                    status.horizon_lag = run.horizon_lag;
                    status.series = Some(series);
                    status.failure = None;
                    status.note.clone_from(&run.note);
                });
                let share = (!run.indexed).then_some(self.busy_share);
                match (run.more, run.indexed) {
                    (true, true) => run.more_after,
                    (true, false) => {
                        self.rested = pace::rest(Duration::ZERO, run.busy, share);
                        self.rested
                    }
                    (false, _) => {
                        let pause = pace::rest(self.interval, run.busy, share);
                        self.rested = pause;
                        pace::jittered(pause, fastrand::f64())
                    }
                }
            }
            Err(failure) => {
                let reason = failure.reason;
                self.failures = self.failures.saturating_add(1);
                if self.failures == 1 {
                    tracing::warn!(collector = %self.id, %reason, "{failure}");
                }
                // What the database refuses to tell is absent at once; what it could not tell just now, only later.
                let refused = matches!(
                    reason,
                    Reason::MissingTable | Reason::MissingColumn | Reason::Forbidden | Reason::RowsHidden
                );
                if self.up.is_some() {
                    // Whether the source can be reached is known now, and what it tells of itself is not known any more.
                    let families = self.up_family(!reason.is_source_wide());
                    self.withdrawn = true;
                    self.context.store.publish(&self.id, families.into_iter().collect());
                } else if refused || self.stale_at().is_none_or(|stale| stale <= Instant::now()) {
                    self.withdraw();
                }
                // Whoever sees that it failed sees what that means: the reason is told last.
                self.context.metrics.source_up(&self.id.source, !reason.is_source_wide());
                self.metrics.failed(reason, seconds);
                self.context.board.collector(&self.id, |status| {
                    status.state = Some(reason.state());
                    status.last_run = Some(now);
                    status.duration = Some(seconds);
                    status.failure = Some(failure);
                    if self.withdrawn {
                        status.series = Some(0);
                    }
                });
                let pause = pace::jittered(pace::pause(self.interval, self.failures), fastrand::f64());
                // While the gate is closed there is no use in knocking sooner; when it opens, everybody may.
                match self.gate.opens() {
                    Some(opens) => {
                        opens.saturating_duration_since(Instant::now())
                            + pace::jittered(Duration::from_millis(50), fastrand::f64())
                    }
                    None => pause,
                }
            }
        }
    }

    fn publish(&mut self) -> u64 {
        let Some(mut families) = self.job.families(clock::now(), self.context.settings.zero_first) else { return 0 };
        families.extend(self.up_family(true));
        let series = families.iter().map(|family| family.series.len() as u64).sum();
        self.withdrawn = false;
        self.context.store.publish(&self.id, families);
        series
    }

    fn withdraw(&mut self) {
        if !self.withdrawn {
            self.withdrawn = true;
            self.context.store.withdraw(&self.id);
        }
    }

    fn up_family(&self, up: bool) -> Option<Family> {
        let of = self.up.as_ref()?;
        let value = Value::Number(f64::from(u8::from(up)));
        let series = vec![Series { labels: Labels::none(), value, start: None, exemplar: None }];
        Some(Family { name: of.gauge.as_str().into(), help: of.help.as_str().into(), kind: Kind::Gauge, series })
    }

    fn stale_at(&self) -> Option<Instant> {
        // Where a read takes longer than its interval, the next result comes no sooner than the last one did.
        let longest = self.interval.max(self.rested).max(self.waits).max(self.whole);
        let staleness = (longest * STALE_INTERVALS).max(SHORTEST_STALENESS);
        self.last_success.map(|success| success + staleness)
    }
}

#[cfg(test)]
mod tests;
