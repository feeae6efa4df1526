//! What drives the line: each collector's ticks, pauses and retries, each source's packs.
//!
//! One task a collector; the collectors of one source take turns on its one connection, and no source waits for
//! another. A failure is logged and counted here and nowhere else, and never ends anything.

pub mod clock;
mod driver;
mod gate;
mod pace;
mod rows_job;
mod run;
mod snapshot_job;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::collector::{Changes, Guard};
use crate::config::{Settings, SourceSettings};
use crate::pack::{Pack, System};
use crate::source::Source;
use crate::source::postgres::PostgresSource;
use crate::source::sqlite::SqliteSource;
use crate::state::State;
use crate::store::{Board, CollectorId, Store};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::{Failure, Reason};

use driver::{Driver, Job};
use gate::Gate;
use rows_job::RowsJob;
use snapshot_job::SnapshotJob;

/// Time between two looks for packs whose tables have appeared since.
const LOOK_FOR_PACKS: Duration = Duration::from_secs(300);

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
            rested: Duration::ZERO,
        };
        tasks.spawn(driver.run(stop.clone()));
    }
}
