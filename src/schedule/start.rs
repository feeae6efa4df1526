//! Starts the collectors of a pack on a source: those that can read it, each with its interval, reader and driver.
//!
//! It decides nothing about what is read.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::collector::SnapshotCollector;
use crate::config::SourceSettings;
use crate::pack::{self, Pack, Reads, ServerKind};
use crate::source::keyspace::keys::KeysSettings;
use crate::source::{Opened, SnapshotQuery, Wanted};
use crate::store::CollectorId;

use super::Context;
use super::driver::{Driver, Job};
use super::gate::Gate;
use super::lookup_job::LookupJob;
use super::rows_job::RowsJob;
use super::snapshot_job::SnapshotJob;

/// Starts the collectors of one pack, each a task.
pub(super) fn pack(
    pack: &Arc<Pack>,
    settings: &Arc<SourceSettings>,
    context: &Arc<Context>,
    opened: &Opened,
    gate: &Arc<Gate>,
    stop: &watch::Receiver<bool>,
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    label_servers(pack, context);
    show_parameters(pack, settings, context);
    for definition in &pack.collectors {
        let has_use = !definition.metrics.is_empty() || context.spans.is_some();
        if settings.skips(&pack.app, &definition.name) || !has_use {
            continue;
        }
        let Some(job) = job(pack, definition, settings, context, opened) else { continue };
        let interval = settings.interval_of(&pack.app, definition);
        let driver = driver(job, &pack.app, &definition.name, interval, settings, context, gate);
        context.store.expect(&driver.id);
        tasks.spawn(Driver { up: definition.up.clone(), ..driver }.run(stop.clone()));
    }
    for (name, lookup) in &pack.lookups {
        let Opened::Database(database) = opened else { break };
        if !context.settings.asks_for_names(pack, settings) {
            break;
        }
        let columns = ["id", "name"].map(String::from).to_vec();
        let parameters = context.settings.parameters_of(pack);
        let limit = context.settings.limits.snapshot_rows;
        let query =
            SnapshotQuery { sql: lookup.sql.on(database.system()).to_owned(), columns, parameters, row_limit: limit };
        let names = context.names.of(&settings.name, &pack.app, name);
        let job = Job::Lookup(LookupJob::new(database.clone(), query, names));
        let interval = settings.interval.max(SourceSettings::LOOK_UP_EVERY);
        tasks.spawn(driver(job, &pack.app, name, interval, settings, context, gate).run(stop.clone()));
    }
    tasks
}

fn job(
    pack: &Pack,
    definition: &pack::Collector,
    settings: &SourceSettings,
    context: &Context,
    opened: &Opened,
) -> Option<Job> {
    if let (Some(rows), Some(database)) = (&definition.rows, opened.database()) {
        return Some(Job::Rows(Box::new(RowsJob::new(definition, rows, pack, database, settings, context))));
    }
    let limits = context.settings.limits;
    let collector = SnapshotCollector::new(definition, &limits, &context.guard);
    let reader = opened.reader(Wanted {
        collector: definition,
        columns: collector.columns(),
        parameters: context.settings.parameters_of(pack),
        row_limit: limits.snapshot_rows,
        keys: KeysSettings { per_second: settings.budget.per_second, key_limit: limits.seen_keys },
        names: &|lookup| Some(context.names.of(settings.database.as_deref()?, &pack.app, lookup)),
    })?;
    Some(Job::Snapshot(Box::new(SnapshotJob::new(definition, collector, reader, context))))
}

fn driver(
    job: Job,
    pack: &str,
    name: &str,
    interval: Duration,
    settings: &SourceSettings,
    context: &Arc<Context>,
    gate: &Arc<Gate>,
) -> Driver {
    let id = CollectorId::new(&settings.name, pack, name);
    let metrics = context.metrics.collector(&settings.name, pack, name);
    metrics.interval(interval.as_secs_f64());
    context.board.collector(&id, |status| status.kind = job.kind().to_owned());
    Driver {
        id,
        job,
        interval,
        busy_share: settings.busy_share,
        gate: Arc::new(gate.lane()),
        up: None,
        context: context.clone(),
        metrics,
        last_success: None,
        withdrawn: true,
        failures: 0,
        rested: Duration::ZERO,
        waits: Duration::ZERO,
        whole: Duration::ZERO,
    }
}

/// Of servers there are soon several, and what is built on their series must not change its labels with the second. Those of
/// endpoints bear their target anyway.
fn label_servers(pack: &Pack, context: &Context) {
    if pack.common.is_some_and(|kind| kind != ServerKind::Http) {
        context.store.label_pack(&pack.app);
    }
}

/// What the packs of this kind of server have for parameters, whether or not one of them applies: an application's own pack may
/// read the same server and make the same metrics, and alert rules compare them with the same limits.
pub(super) fn show_server_parameters(settings: &SourceSettings, context: &Context) {
    let of_its_kind = |pack: &&Arc<Pack>| pack.common.is_some_and(|kind| settings.upstream.is(kind));
    for pack in context.settings.packs.iter().filter(of_its_kind) {
        label_servers(pack, context);
        show_parameters(pack, settings, context);
    }
}

/// Parameters are of the application: they are shown beside its tables, and not once more beside its Redis.
fn show_parameters(pack: &Pack, settings: &SourceSettings, context: &Context) {
    let home = [Reads::Database, Reads::Redis, Reads::Pgbouncer, Reads::Http];
    if home.into_iter().find(|reads| pack.has_collectors_for(*reads)) != Some(settings.upstream.reads()) {
        return;
    }
    let overrides = context.settings.parameters.get(&pack.app).cloned().unwrap_or_default();
    let parameters = crate::collector::snapshot::parameter_families(pack, &overrides);
    if !parameters.is_empty() {
        let id = CollectorId::new(&settings.name, &pack.app, "parameters");
        context.store.expect(&id);
        context.store.publish(&id, parameters);
    }
}
