//! What drives the line: each collector's ticks, pauses and retries, each source's packs.
//!
//! One task a collector; the collectors of one source take turns on its one connection, and no source waits for
//! another. A failure is logged and counted here and nowhere else, and never ends anything.

pub mod clock;
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

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::collector::{Changes, Guard};
use crate::config::{Settings, SourceSettings};
use crate::source::Opened;
use crate::state::State;
use crate::store::{Board, CollectorId, Store};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::{Failure, Reason};

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
    /// Names for ids, which databases tell and Redis sources ask for.
    pub names: NamesBoard,
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
    let mut plan = Plan { since: Instant::now(), pause: Duration::ZERO, going_on: false, round: 0 };
    let mut tasks = JoinSet::new();
    let mut running: Vec<String> = Vec::new();
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
        let packs = packs::of(settings, context, opened, &gate).await;
        drop(pass);
        context.metrics.source_up(&name, packs.is_ok());
        let pause = match packs {
            Ok(packs::Fitting { packs, settled }) => {
                failures = 0;
                for pack in packs.iter().filter(|pack| !running.contains(&pack.app)) {
                    tracing::info!(source = %name, pack = %pack.app, "collecting");
                    start::pack(pack, settings, context, opened, &gate, &stop, &mut tasks);
                }
                // A pack that fits no more goes on running, and shows what is absent.
                for pack in packs {
                    if !running.contains(&pack.app) {
                        running.push(pack.app.clone());
                    }
                }
                let none = (running.is_empty() && settled).then(|| packs::none_fits(settings, &context.settings.packs));
                if let Some(note) = &none {
                    tracing::warn!(source = %name, "{note}");
                }
                tell(&|status| {
                    status.settled = settled;
                    status.packs.clone_from(&running);
                    status.note.clone_from(&none);
                    if !settled {
                        status.note = Some(packs::waiting(settings));
                    }
                });
                match (&settings.packs, settled) {
                    (Some(_), _) => None,
                    (None, true) => Some(SourceSettings::LOOK_FOR_PACKS),
                    (None, false) => Some(LOOK_AT_DATABASE),
                }
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
    while tasks.join_next().await.is_some() {}
}
