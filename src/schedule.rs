//! What drives the line: each collector's ticks, pauses and retries, each source's packs.
//!
//! One task a collector; the collectors of one source take turns on its one connection, and no source waits for
//! another. A failure is logged and counted here and nowhere else, and never ends anything.

pub mod clock;
mod gate;
mod pace;
mod rows_job;
mod snapshot_job;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::collector::{Changes, Guard};
use crate::config::{Settings, SourceSettings};
use crate::family::{Family, Micros};
use crate::pack::{Pack, System};
use crate::source::Source;
use crate::source::postgres::PostgresSource;
use crate::source::sqlite::SqliteSource;
use crate::state::State;
use crate::store::{Board, CollectorId, Store};
use crate::telemetry::metrics::{CollectorMetrics, Metrics};
use crate::telemetry::{Failure, Reason};

use gate::Gate;
use rows_job::RowsJob;
use snapshot_job::SnapshotJob;

/// Time between two looks for packs whose tables have appeared since.
const LOOK_FOR_PACKS: Duration = Duration::from_secs(300);

/// The last values are shown for this many intervals after reads began to fail, but not shorter than
/// [`SHORTEST_STALENESS`]; then the series are left out.
const STALE_INTERVALS: u32 = 5;

/// See [`STALE_INTERVALS`]. A restart of a database should not leave holes in every graph.
const SHORTEST_STALENESS: Duration = Duration::from_secs(300);

/// What all tasks share.
pub struct Context {
    /// Where counts are kept.
    pub state: Arc<State>,
    /// Where families are published.
    pub store: Arc<Store>,
    /// Where it is said how collectors fare.
    pub board: Arc<Board>,
    /// Self metrics.
    pub metrics: Arc<Metrics>,
    /// The personal-data guard.
    pub guard: Arc<Guard>,
    /// What the operator decided for all sources: packs, parameters, bounds.
    pub settings: Settings,
}

impl Context {
    /// Writes what changed, so that it may be shown.
    async fn save(&self, id: &CollectorId, changes: &Changes) -> Result<(), Failure> {
        let began = Instant::now();
        let saved = self.state.save(&id.to_string(), changes, clock::now()).await;
        match saved {
            Ok(()) => {
                self.metrics.state_written(began.elapsed().as_secs_f64());
                Ok(())
            }
            Err(error) => {
                self.metrics.state_write_failed();
                let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                Err(Failure::new(Reason::StateWrite, format!("{error} ({cause})")))
            }
        }
    }
}

/// Makes the source that settings describe.
///
/// # Errors
/// When the URL cannot be understood.
pub fn source(settings: &SourceSettings) -> Result<Box<dyn Source>, Failure> {
    Ok(match settings.system {
        System::Postgres => Box::new(PostgresSource::new(settings)?),
        System::Sqlite => Box::new(SqliteSource::new(settings)?),
    })
}

/// Runs one source until told to stop: finds its packs, then runs their collectors.
pub async fn run_source(settings: Arc<SourceSettings>, context: Arc<Context>, mut stop: watch::Receiver<bool>) {
    let name: Arc<str> = settings.name.as_str().into();
    let tell = |change: &dyn Fn(&mut crate::store::SourceStatus)| {
        context.board.update(|view| change(view.sources.entry(name.clone()).or_default()));
    };
    tell(&|status| status.system = settings.system.as_str().to_owned());
    let source = match source(&settings) {
        Ok(source) => source,
        Err(failure) => {
            tracing::error!(source = %name, %failure, "this source cannot be used");
            tell(&|status| status.note = Some(failure.message.clone()));
            return;
        }
    };
    let gate = Arc::new(Gate::new(source, settings.interval));
    let mut tasks = JoinSet::new();
    let mut running: Vec<String> = Vec::new();
    let mut failures = 0;
    loop {
        let packs = packs_of(&settings, &context, &gate).await;
        context.metrics.source_up(&name, packs.is_ok());
        let pause = match packs {
            Ok(packs) => {
                failures = 0;
                for pack in packs.iter().filter(|pack| !running.contains(&pack.app)) {
                    tracing::info!(source = %name, pack = %pack.app, "collecting");
                    start_pack(pack, &settings, &context, &gate, &stop, &mut tasks);
                }
                // A pack that fits no more goes on running, and shows what is absent.
                for pack in packs {
                    if !running.contains(&pack.app) {
                        running.push(pack.app.clone());
                    }
                }
                let none = running.is_empty().then(|| no_pack_fits(&context.settings.packs));
                if let Some(note) = &none {
                    tracing::warn!(source = %name, "{note}");
                }
                tell(&|status| {
                    status.settled = true;
                    status.packs.clone_from(&running);
                    status.note.clone_from(&none);
                });
                if settings.packs.is_some() { None } else { Some(LOOK_FOR_PACKS) }
            }
            Err(failure) => {
                failures += 1;
                if failures == 1 {
                    tracing::warn!(source = %name, reason = %failure.reason, "{failure}");
                }
                tell(&|status| status.note = Some(failure.message.clone()));
                Some(pace::jittered(pace::pause(settings.interval, failures), fastrand::f64()))
            }
        };
        let wait = async {
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = wait => {}
            _ = stop.wait_for(|stop| *stop) => break,
        }
    }
    while tasks.join_next().await.is_some() {}
}

async fn packs_of(settings: &SourceSettings, context: &Context, gate: &Gate) -> Result<Vec<Arc<Pack>>, Failure> {
    if let Some(names) = &settings.packs {
        return Ok(context.settings.packs.iter().filter(|pack| names.contains(&pack.app)).cloned().collect());
    }
    let mut tables: Vec<String> = context.settings.packs.iter().flat_map(|pack| pack.detect.clone()).collect();
    tables.sort();
    tables.dedup();
    let permit = gate.enter().await?;
    let existing = gate.source.existing_tables(&tables).await;
    gate.report(&existing);
    drop(permit);
    let existing = existing?;
    let fits = |pack: &&Arc<Pack>| !pack.detect.is_empty() && pack.detect.iter().all(|table| existing.contains(table));
    Ok(context.settings.packs.iter().filter(fits).cloned().collect())
}

fn no_pack_fits(packs: &[Arc<Pack>]) -> String {
    let wanted: Vec<String> = packs.iter().map(|pack| format!("{} ({})", pack.app, pack.detect.join(", "))).collect();
    format!(
        "no pack fits: none has all its tables in this database, as far as the role can see: {}. Name one with `packs`, or \
         write your own",
        wanted.join("; ")
    )
}

fn start_pack(
    pack: &Arc<Pack>,
    settings: &Arc<SourceSettings>,
    context: &Arc<Context>,
    gate: &Arc<Gate>,
    stop: &watch::Receiver<bool>,
    tasks: &mut JoinSet<()>,
) {
    let overrides = context.settings.parameters.get(&pack.app).cloned().unwrap_or_default();
    let parameters = crate::collector::snapshot::parameter_families(pack, &overrides);
    if !parameters.is_empty() {
        let id = CollectorId::new(&settings.name, &pack.app, "parameters");
        context.store.expect(&id);
        context.store.publish(&id, parameters);
    }
    for definition in &pack.collectors {
        let path = format!("{}/{}", pack.app, definition.name);
        if settings.skip.contains(&path) || settings.skip.contains(&pack.app) {
            continue;
        }
        let id = CollectorId::new(&settings.name, &pack.app, &definition.name);
        let least = definition.interval.unwrap_or_default();
        let interval = settings.intervals.get(&path).copied().unwrap_or(settings.interval.max(least));
        let job = match (&definition.rows, &definition.snapshot) {
            (Some(rows), _) => Job::Rows(Box::new(RowsJob::new(definition, rows, pack, settings, context))),
            (None, Some(snapshot)) => {
                Job::Snapshot(Box::new(SnapshotJob::new(definition, snapshot, pack, settings, context)))
            }
            (None, None) => continue,
        };
        let metrics = context.metrics.collector(&settings.name, &pack.app, &definition.name);
        metrics.interval(interval.as_secs_f64());
        context.store.expect(&id);
        context.board.collector(&id, |status| status.kind = job.kind().to_owned());
        let driver = Driver {
            id,
            job,
            interval,
            busy_share: settings.busy_share,
            gate: gate.clone(),
            context: context.clone(),
            metrics,
            last_success: None,
            withdrawn: true,
            failures: 0,
        };
        tasks.spawn(driver.run(stop.clone()));
    }
}

/// What a collector does when its time has come.
enum Job {
    Rows(Box<RowsJob>),
    Snapshot(Box<SnapshotJob>),
}

/// What one run came to.
pub(crate) struct Run {
    /// Rows that were new (rows) or that the result has (snapshot).
    pub rows: u64,
    /// Of those, the ones that a metric counted.
    pub counted: u64,
    /// More is waiting.
    pub more: bool,
    /// Whether an index serves the read; without one the busy share holds.
    pub indexed: bool,
    /// Something an operator should know.
    pub note: Option<String>,
    /// Age of the oldest open transaction, in seconds.
    pub horizon_lag: Option<f64>,
    /// Rows counted since the counts began.
    pub rows_counted: Option<u64>,
}

impl Job {
    fn kind(&self) -> &'static str {
        match self {
            Job::Rows(_) => "rows",
            Job::Snapshot(_) => "snapshot",
        }
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
        }
    }

    /// What is to be shown now; none before there is anything true to show.
    fn families(&mut self, now: Micros, zero_first: Duration) -> Option<Vec<Family>> {
        match self {
            Job::Rows(job) => job.families(now, zero_first),
            Job::Snapshot(job) => job.families(),
        }
    }

    /// When something that is shown as 0 is to be shown as it is.
    fn ripens(&self, zero_first: Duration) -> Option<Micros> {
        match self {
            Job::Rows(job) => job.ripens(zero_first),
            Job::Snapshot(_) => None,
        }
    }
}

/// Runs one collector for ever.
struct Driver {
    id: CollectorId,
    job: Job,
    interval: Duration,
    busy_share: f64,
    gate: Arc<Gate>,
    context: Arc<Context>,
    metrics: CollectorMetrics,
    last_success: Option<Instant>,
    withdrawn: bool,
    failures: u32,
}

impl Driver {
    async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            let began = Instant::now();
            let result = {
                let run = self.job.run(&self.id, &self.gate, &self.context, &self.metrics);
                tokio::select! {
                    result = run => result,
                    // A read that is dropped half-way has changed nothing: what it folded was not saved either.
                    _ = stop.wait_for(|stop| *stop) => return,
                }
            };
            let pause = self.after(result, began.elapsed());
            if pause.is_zero() && !*stop.borrow() {
                // Behind: a timer would wait for its next tick at least, each page.
                tokio::task::yield_now().await;
                continue;
            }
            let next = Instant::now() + pause;
            let next_run = clock::now().saturating_add(i64::try_from(pause.as_micros()).unwrap_or(i64::MAX));
            self.context.board.collector(&self.id, |status| status.next_run = Some(next_run));
            if !self.wait(next, &mut stop).await {
                return;
            }
        }
    }

    /// Waits for the next run; meanwhile shows what has ripened and drops what went stale. False when told to stop.
    async fn wait(&mut self, next: Instant, stop: &mut watch::Receiver<bool>) -> bool {
        loop {
            let zero_first = self.context.settings.zero_first;
            let ripe = self.job.ripens(zero_first).map(|at| at.saturating_sub(clock::now()).max(0).unsigned_abs());
            let ripe = ripe.filter(|_| !self.withdrawn).map(|micros| Instant::now() + Duration::from_micros(micros));
            let stale = self.stale_at().filter(|_| !self.withdrawn);
            let wake = [Some(next), ripe, stale].into_iter().flatten().min().unwrap_or(next);
            tokio::select! {
                () = tokio::time::sleep_until(wake) => {}
                _ = stop.wait_for(|stop| *stop) => return false,
            }
            let now = Instant::now();
            if stale.is_some_and(|stale| stale <= now) {
                self.withdraw();
            } else if ripe.is_some_and(|ripe| ripe <= now) {
                self.publish();
            }
            if next <= now {
                return true;
            }
        }
    }

    /// Records what a run came to. Returns the pause until the next.
    fn after(&mut self, result: Result<Run, Failure>, took: Duration) -> Duration {
        let now = clock::now();
        let seconds = took.as_secs_f64();
        match result {
            Ok(run) => {
                self.context.metrics.source_up(&self.id.source, true);
                if self.failures > 0 {
                    tracing::info!(collector = %self.id, "works again");
                }
                self.failures = 0;
                self.last_success = Some(Instant::now());
                self.metrics.succeeded(seconds, run.counted, now as f64 / 1e6);
                self.metrics.indexed(run.indexed);
                let series = self.publish();
                self.context.board.collector(&self.id, |status| {
                    status.state = Some(crate::telemetry::State::Ok);
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
                    (true, true) => Duration::ZERO,
                    (true, false) => pace::rest(Duration::ZERO, took, share),
                    (false, _) => {
                        let pause = pace::rest(self.interval, took, share);
                        self.metrics.interval(pause.as_secs_f64());
                        pace::jittered(pause, fastrand::f64())
                    }
                }
            }
            Err(failure) => {
                let reason = failure.reason;
                self.context.metrics.source_up(&self.id.source, !reason.is_source_wide());
                self.metrics.failed(reason, seconds);
                self.failures = self.failures.saturating_add(1);
                if self.failures == 1 {
                    tracing::warn!(collector = %self.id, %reason, "{failure}");
                }
                // What the database refuses to tell is absent at once; what it could not tell just now, only later.
                let refused = matches!(
                    reason,
                    Reason::MissingTable | Reason::MissingColumn | Reason::Forbidden | Reason::RowsHidden
                );
                if refused || self.stale_at().is_none_or(|stale| stale <= Instant::now()) {
                    self.withdraw();
                }
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
        let Some(families) = self.job.families(clock::now(), self.context.settings.zero_first) else { return 0 };
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

    fn stale_at(&self) -> Option<Instant> {
        let staleness = (self.interval * STALE_INTERVALS).max(SHORTEST_STALENESS);
        self.last_success.map(|success| success + staleness)
    }
}
