//! What drives the line: each collector's ticks, pauses and retries, each source's packs.
//!
//! One task a collector; the collectors of one source take turns on its one connection, and no source waits for
//! another. A failure is logged and counted here and nowhere else, and never ends anything.

pub mod clock;
mod drain;
mod driver;
mod gate;
mod governor;
mod lookup_job;
mod names;
mod pace;
mod packs;
mod rows_job;
mod run;
mod snapshot_job;
mod start;
mod trace;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::collector::{Changes, Guard};
use crate::config::{Settings, SourceSettings};
use crate::otlp::SpanQueue;
use crate::source::Opened;
use crate::state::State;
use crate::store::{Board, CollectorId, Store};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::{Failure, Reason, traces};

pub use drain::Drain;
use gate::{Gate, Plan};
use governor::Ran;
pub use names::NamesBoard;

#[cfg(test)]
mod tests;

/// Time between two looks at whether the application's database has told which packs fit it. It costs nothing.
const LOOK_AT_DATABASE: Duration = Duration::from_millis(500);

/// Who looks for packs, among the collectors of a source.
const LOOK: &str = "packs";

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
    /// Room for spans made of rows; none when they are not sent.
    pub spans: Option<Arc<SpanQueue>>,
    /// Names for ids, which databases tell and Redis sources ask for.
    pub names: NamesBoard,
}

impl Context {
    /// Writes what changed, so that it may be shown.
    async fn save(&self, id: &CollectorId, changes: &Changes) -> Result<(), Failure> {
        self.save_all(&[(&id.to_string(), changes)]).await
    }

    /// Writes what several collectors changed together.
    async fn save_all(&self, all: &[(&str, &Changes)]) -> Result<(), Failure> {
        let began = Instant::now();
        let span = trace::persist();
        let saved = self.state.save_all(all, clock::now()).instrument(span.clone()).await;
        let saved = match saved {
            Ok(()) => {
                self.metrics.state_written(began.elapsed().as_secs_f64());
                Ok(())
            }
            Err(error) => {
                self.metrics.state_write_failed();
                let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                Err(Failure::new(Reason::StateWrite, format!("{error} ({cause})")))
            }
        };
        traces::outcome(&span, &saved);
        saved
    }
}

impl Context {
    /// Takes back all that a pack showed of a source, whose collectors have ended.
    fn take_back(&self, source: &str, pack: &str) {
        let is_its = |id: &CollectorId| &*id.source == source && &*id.pack == pack;
        let gone = self.board.update(|view| {
            let gone: Vec<CollectorId> = view.collectors.keys().filter(|id| is_its(id)).cloned().collect();
            view.collectors.retain(|id, _| !is_its(id));
            gone
        });
        for id in &gone {
            self.metrics.collector(&id.source, &id.pack, &id.collector).remove();
        }
        self.store.withdraw_pack(source, pack);
    }
}

/// Runs one source until told to stop: finds its packs, then runs their collectors.
pub async fn run_source(settings: Arc<SourceSettings>, context: Arc<Context>, stop: watch::Receiver<bool>) {
    let name: Arc<str> = settings.name.as_str().into();
    let tell = |change: &dyn Fn(&mut crate::store::SourceStatus)| {
        context.board.update(|view| change(view.sources.entry(name.clone()).or_default()));
    };
    tell(&|status| status.system = settings.upstream.as_str().to_owned());
    if settings.labelled {
        context.store.label(&name);
    }
    let opened = match Opened::of(&settings) {
        Ok(opened) => opened,
        Err(failure) => {
            tracing::error!(source = %name, %failure, "this source cannot be used");
            context.metrics.source_up(&name, false);
            tell(&|status| status.note = Some(failure.message.clone()));
            return;
        }
    };
    run_opened(&settings, &context, &opened, stop).await;
}

/// Runs a source that is ready to be asked.
async fn run_opened(
    settings: &Arc<SourceSettings>,
    context: &Arc<Context>,
    opened: &Opened,
    mut stop: watch::Receiver<bool>,
) {
    let name: Arc<str> = settings.name.as_str().into();
    let tell = |change: &dyn Fn(&mut crate::store::SourceStatus)| {
        context.board.update(|view| change(view.sources.entry(name.clone()).or_default()));
    };
    let gate = Arc::new(Gate::new(settings, opened.spend(), context.metrics.source(&name)));
    // Only a database whose packs are to be found is asked for them.
    let asks = settings.packs.is_none() && opened.database().is_some();
    let follows = settings.packs.is_none() && !asks && settings.database.is_some();
    let mut plan = Plan { since: Instant::now(), pause: Duration::ZERO, going_on: false, round: 0 };
    let mut running: BTreeMap<String, JoinSet<()>> = BTreeMap::new();
    let mut told_none = false;
    let mut failures = 0;
    loop {
        let sent = gate.sent();
        let pass = match asks {
            true => tokio::select! {
                pass = gate.admitted(plan) => Some(pass),
                _ = stop.wait_for(|stop| *stop) => break,
            },
            false => None,
        };
        plan.round = pass.as_ref().map_or(0, |pass| pass.round);
        let packs::Fitting { packs, settled } = {
            let look = packs::of(settings, context, opened, &gate);
            // Who follows a database asks nobody.
            if asks { look.instrument(trace::look(&name)).await } else { look.await }
        };
        drop(pass);
        for pack in &packs {
            running.entry(pack.app.clone()).or_insert_with(|| {
                tracing::info!(source = %name, pack = %pack.app, "collecting");
                start::pack(pack, settings, context, opened, &gate, &stop)
            });
        }
        if asks {
            // Who was not asked is neither up nor down for it.
            let up = settled.as_ref().err().is_none_or(|failure| !failure.reason.is_source_wide());
            context.metrics.source_up(&name, up);
        }
        let pause = match settled {
            Ok(settled) => {
                failures = 0;
                // A pack that fits its database no more goes on running, and shows what is absent. Who follows a database does
                // as that says.
                if follows && settled {
                    let gone: Vec<String> =
                        running.keys().filter(|app| packs.iter().all(|pack| pack.app != **app)).cloned().collect();
                    for app in gone {
                        tracing::info!(source = %name, pack = %app, "collecting no more");
                        running.remove(&app).unwrap_or_default().shutdown().await;
                        context.take_back(&name, &app);
                    }
                }
                start::show_server_parameters(settings, context);
                let fits = packs::any_fits(settings, &context.settings.packs, running.keys());
                let none = (!fits && settled)
                    .then(|| packs::none_fits(settings, &context.settings.packs))
                    .or_else(|| packs::unlinked(settings, &context.settings));
                if let Some(note) = none.as_ref().filter(|_| !told_none) {
                    tracing::warn!(source = %name, "{note}");
                }
                told_none = none.is_some();
                tell(&|status| {
                    status.settled = settled;
                    status.packs = running.keys().cloned().collect();
                    status.note.clone_from(&none);
                    if !settled {
                        status.note = Some(packs::waiting(settings));
                    }
                });
                match settings.packs {
                    Some(_) => None,
                    None if follows => Some(LOOK_AT_DATABASE),
                    None => Some(SourceSettings::LOOK_FOR_PACKS),
                }
            }
            Err(failure) => {
                failures += 1;
                if failures == 1 {
                    tracing::warn!(source = %name, reason = %failure.reason, "{failure}");
                }
                tell(&|status| {
                    status.packs = running.keys().cloned().collect();
                    status.note = Some(failure.message.clone());
                });
                // While the gate is closed there is no use in knocking sooner; when it opens, everybody may.
                let opens = gate.opens().map(|opens| opens.saturating_duration_since(Instant::now()));
                let pause = opens.unwrap_or_else(|| pace::pause(settings.interval, failures));
                Some(pace::jittered(pause, fastrand::f64()))
            }
        };
        plan = Plan { since: Instant::now(), pause: pause.unwrap_or_default(), ..plan };
        if asks {
            let cost = gate.sent() - sent;
            gate.ran(Ran { who: LOOK, reads_rows: false, rows: None, more: false, cost, pause: plan.pause });
        }
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
    for tasks in running.values_mut() {
        while tasks.join_next().await.is_some() {}
    }
}
