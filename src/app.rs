//! What wires the parts together and ends them in order: state, sources, web server, signals, reload.
//!
//! It decides nothing about rows or metrics. Beside the schedule it alone may read the clock.

mod backfill;
mod check;
mod demo;
mod past;
mod push;
mod replay;
mod self_metrics;
mod sending;
mod state;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use secrecy::ExposeSecret;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::collector::Guard;
use crate::config::{Settings, SourceSettings};
use crate::otlp::SpanQueue;
use crate::schedule::{self, Context, Drain, NamesBoard, clock};
use crate::source::logs::Inlets;
use crate::state::State;
use crate::store::{Board, Store};
use crate::telemetry::metrics::{Metrics, OwnSpans, ReloadOutcome};
use crate::web::{self, Intake, Serves, WebState};

pub use backfill::{BackfillRequest, backfill};
pub use check::check;
pub use demo::{DemoRequest, demo};
pub use past::{PackChoice, PastRequest};
pub use push::instance;
pub use replay::{ReplayRequest, replay};
pub use self_metrics::self_metrics;
pub use state::{forget_state, list_state, reset_state};

/// The version that `--version`, the front page and `rowmetry_build_info` tell.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Time that running reads get to end when the process is told to stop. A read that does not is dropped, which changes
/// nothing: what was not written was not shown.
const STOP_WITHIN: Duration = Duration::from_secs(3);

/// Reads the configuration again; the error is for people.
pub type Load = Box<dyn Fn() -> Result<Settings, String> + Send + Sync>;

/// Serves until SIGTERM or SIGINT; SIGHUP reads the configuration again. `own_spans` counts our own traces where they are sent.
///
/// # Errors
/// When the state cannot be used or the address cannot be listened at.
pub async fn serve(settings: Settings, load: Load, own_spans: Option<&OwnSpans>) -> anyhow::Result<()> {
    let mut app = App::start(settings, own_spans).await?;
    let mut hangup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    let mut stop = Stop::listen()?;
    loop {
        tokio::select! {
            () = stop.told() => break,
            _ = hangup.recv() => drop(app.reload(&load).await),
            Some(answer) = app.reload_requests.recv() => {
                let outcome = app.reload(&load).await;
                // Whoever asked may have gone away.
                let _ = answer.send(outcome);
            }
        }
    }
    app.stop().await;
    Ok(())
}

/// SIGTERM and SIGINT.
pub(crate) struct Stop {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Stop {
    fn listen() -> anyhow::Result<Self> {
        Ok(Stop {
            terminate: signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?,
        })
    }

    async fn told(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Everything that runs.
pub(crate) struct App {
    settings: Settings,
    context: Arc<Context>,
    running: BTreeMap<String, Running>,
    sending: sending::Sending,
    address: std::net::SocketAddr,
    pushing: Option<push::Pushing>,
    inlets: Arc<Inlets>,
    web: Vec<JoinHandle<()>>,
    stop_web: watch::Sender<bool>,
    reload_requests: mpsc::Receiver<oneshot::Sender<Result<(), Vec<String>>>>,
}

/// One source or drain that runs.
struct Running {
    fingerprint: String,
    task: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

impl Running {
    /// Waits until it has ended, and drops it where that takes too long. It is gone then: it writes and shows nothing after what comes
    /// in its place has read the state.
    async fn ended(&mut self) {
        if tokio::time::timeout(STOP_WITHIN, &mut self.task).await.is_err() {
            self.task.abort();
            // That it was dropped is no failure.
            let _ = (&mut self.task).await;
        }
    }
}

impl App {
    /// Opens the state, listens, and starts every source.
    ///
    /// # Errors
    /// When the state cannot be used or the address cannot be listened at.
    pub(crate) async fn start(settings: Settings, own_spans: Option<&OwnSpans>) -> anyhow::Result<Self> {
        let process_start = clock::now();
        let listener = TcpListener::bind(settings.listen)
            .await
            .with_context(|| format!("cannot listen at {} (`listen`)", settings.listen))?;
        let address = listener.local_addr().context("the listening socket has no address")?;
        let state = Arc::new(State::open(settings.state_dir.as_deref()).await?);
        let metrics = Arc::new(Metrics::new(VERSION));
        metrics.state_persistent(state.is_persistent());
        if let Some(spans) = own_spans {
            metrics.own_spans(spans);
        }
        metrics.configured(seconds());
        show_alerting(&metrics, &settings);
        for warning in &settings.otlp.warnings {
            tracing::warn!("{warning}");
        }
        for line in settings.otlp.lines() {
            tracing::info!("{line}");
        }
        if !state.is_persistent() {
            tracing::warn!(
                "no state directory: counts are kept in memory and begin anew at every start (`--state-dir`)"
            );
        }
        let store = Arc::new(Store::new(metrics.clone()));
        let board = Arc::new(Board::new());
        let spans = match settings.otlp.traces.as_ref().and_then(|traces| traces.rows.as_ref()) {
            Some(rows) => Some(Arc::new(SpanQueue::new(rows.queue_limit, state.span_queue().await?.spans))),
            None => None,
        };
        let sending = sending::Sending::start(&settings.otlp, &state, spans.as_ref(), &metrics)?;
        let context = context(&settings, state, store.clone(), board.clone(), metrics.clone(), spans);
        // Known to the board before anybody can ask: not ready before each source has been looked at.
        board.update(|view| {
            for source in &settings.sources {
                view.sources.entry(source.name.as_str().into()).or_default();
            }
        });
        let inlets = Arc::new(Inlets::new(settings.logs.limits.waiting_bytes));
        let pushing = push::start_push(&settings, store.clone(), metrics.clone(), address, process_start)?;
        let (ask, reload_requests) = mpsc::channel(1);
        let (stop_web, _) = watch::channel(false);
        let (web_settings, metrics) = (settings.web, context.metrics.clone());
        let intake = Intake::new(inlets.clone(), settings.logs.limits);
        let serving = |serves: Serves, reload: Option<web::ReloadHook>| {
            let (store, board) = (context.store.clone(), context.board.clone());
            let clock = Arc::new(clock::now);
            let state = WebState::new(store, board, metrics.clone(), web_settings, reload, VERSION, clock);
            Arc::new(state.with_intake(intake.clone(), serves))
        };
        let reload = Some(reload_hook(ask));
        let mut listening = Vec::new();
        match settings.logs.listen {
            // Without a drain too: a reload may bring one, and it must not be beside `/metrics` then.
            Some(place) => {
                let drains = TcpListener::bind(place)
                    .await
                    .with_context(|| format!("cannot listen at {place} (`logs.listen`)"))?;
                listening.push((drains, serving(Serves::Drains, None)));
                listening.push((listener, serving(Serves::AllButDrains, reload)));
            }
            None => listening.push((listener, serving(Serves::All, reload))),
        }
        let running = BTreeMap::new();
        let mut app = App {
            settings,
            context,
            running,
            sending,
            address,
            pushing,
            inlets,
            web: Vec::new(),
            stop_web,
            reload_requests,
        };
        // Drains are open before anybody can knock.
        app.start_drains();
        for (listener, state) in listening {
            let at = listener.local_addr().context("the listening socket has no address")?;
            let mut told = app.stop_web.subscribe();
            let shutdown = async move {
                let _ = told.wait_for(|stop| *stop).await;
            };
            if at != address {
                tracing::info!(address = %at, drains = app.settings.logs.drains.len(), "taking log lines at http://{at}/");
            }
            app.web.push(tokio::spawn(async move {
                if let Err(error) = web::serve(listener, state, shutdown).await {
                    tracing::error!(%error, "the web server ended");
                }
            }));
        }
        tracing::info!(%address, sources = app.settings.sources.len(), "serving http://{address}/ and http://{address}/metrics");
        app.start_sources();
        Ok(app)
    }

    /// Where it serves.
    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.address
    }

    /// How everything fares.
    pub(crate) fn board(&self) -> &Board {
        &self.context.board
    }

    /// Starts every configured source that does not run.
    fn start_sources(&mut self) {
        for source in &self.settings.sources {
            if self.running.contains_key(&source.name) {
                continue;
            }
            // Known to the board at once: not ready before it has been looked at.
            self.context.board.update(|view| {
                view.sources.entry(source.name.as_str().into()).or_default();
            });
            let (stop, told) = watch::channel(false);
            let task = tokio::spawn(schedule::run_source(Arc::new(source.clone()), self.context.clone(), told));
            self.running.insert(source.name.clone(), Running { fingerprint: fingerprint(source), task, stop });
        }
    }

    /// Starts every configured drain that does not run.
    fn start_drains(&mut self) {
        for drain in &self.settings.logs.drains {
            if self.running.contains_key(&drain.name) {
                continue;
            }
            let (stop, told) = watch::channel(false);
            let opened = Drain::open(Arc::new(drain.clone()), self.context.clone(), &self.inlets);
            let task = tokio::spawn(opened.run(told));
            self.running.insert(drain.name.clone(), Running { fingerprint: drain.fingerprint(), task, stop });
        }
    }

    /// Stops some sources and drains, and takes back all they showed.
    async fn stop_sources(&mut self, which: impl Fn(&str, &Running) -> bool) {
        let names: Vec<String> =
            self.running.iter().filter(|(name, running)| which(name, running)).map(|(name, _)| name.clone()).collect();
        for name in &names {
            if let Some(running) = self.running.get(name) {
                running.stop.send_replace(true);
            }
        }
        for name in names {
            if let Some(mut running) = self.running.remove(&name) {
                running.ended().await;
                self.take_back(&name);
            }
        }
    }

    fn take_back(&self, source: &str) {
        let gone = self.context.board.update(|view| {
            view.sources.remove(source);
            let gone: Vec<_> = view.collectors.keys().filter(|id| &*id.source == source).cloned().collect();
            view.collectors.retain(|id, _| &*id.source != source);
            gone
        });
        for id in &gone {
            self.context.metrics.collector(&id.source, &id.pack, &id.collector).remove();
        }
        self.context.metrics.remove_source(source);
        self.context.metrics.drain(source, false).remove();
        self.inlets.close(source);
        self.context.store.withdraw_source(source);
    }

    /// Reads the configuration again. A bad one changes nothing.
    async fn reload(&mut self, load: &Load) -> Result<(), Vec<String>> {
        let new = match load() {
            Ok(new) => new,
            Err(error) => {
                tracing::error!("the new configuration was refused, the old one stays:\n{error}");
                self.context.metrics.reloaded(ReloadOutcome::Refused, seconds());
                return Err(error.lines().map(str::to_owned).collect());
            }
        };
        if new.listen != self.settings.listen
            || new.state_dir != self.settings.state_dir
            || new.web != self.settings.web
            || new.otlp.fingerprint() != self.settings.otlp.fingerprint()
            || (new.logs.listen, new.logs.limits) != (self.settings.logs.listen, self.settings.logs.limits)
        {
            let message = "`listen`, `state_dir`, `web`, `otlp`, `logs.listen` and the limits of `logs` cannot change while it runs; restart for that. Nothing was changed";
            tracing::error!("{message}");
            self.context.metrics.reloaded(ReloadOutcome::Refused, seconds());
            return Err(vec![message.to_owned()]);
        }
        let all = shared(&new) != shared(&self.settings);
        let sources = new.sources.iter().map(|source| (source.name.clone(), fingerprint(source)));
        let drains = new.logs.drains.iter().map(|drain| (drain.name.clone(), drain.fingerprint()));
        let wanted: BTreeMap<String, String> = sources.chain(drains).collect();
        self.stop_sources(|name, running| all || wanted.get(name) != Some(&running.fingerprint)).await;
        if all {
            let old = &self.context;
            self.context = context(
                &new,
                old.state.clone(),
                old.store.clone(),
                old.board.clone(),
                old.metrics.clone(),
                old.spans.clone(),
            );
        }
        self.settings = new;
        show_alerting(&self.context.metrics, &self.settings);
        self.start_drains();
        self.start_sources();
        self.context.metrics.reloaded(ReloadOutcome::Ok, seconds());
        tracing::info!(sources = self.settings.sources.len(), "the new configuration is in force");
        Ok(())
    }

    /// Ends everything: reads first, then what is pushed, then the web server.
    pub(crate) async fn stop(mut self) {
        tracing::info!("stopping");
        for running in self.running.values() {
            running.stop.send_replace(true);
        }
        for running in self.running.values_mut() {
            running.ended().await;
        }
        // Now nothing comes any more, and all that came can be sent, at once.
        let pushed = async {
            if let Some(pushing) = self.pushing.take() {
                pushing.stop().await;
            }
        };
        tokio::join!(self.sending.stop(STOP_WITHIN), pushed);
        self.stop_web.send_replace(true);
        let ends = tokio::time::timeout(STOP_WITHIN * 2, futures_util::future::join_all(&mut self.web)).await;
        if ends.is_err() {
            self.web.iter().for_each(JoinHandle::abort);
        }
        // Whoever reads our output line by line gets the last one.
        let _ = std::io::stdout().flush();
    }
}

fn context(
    settings: &Settings,
    state: Arc<State>,
    store: Arc<Store>,
    board: Arc<Board>,
    metrics: Arc<Metrics>,
    spans: Option<Arc<SpanQueue>>,
) -> Arc<Context> {
    Arc::new(Context {
        state,
        store,
        board,
        metrics,
        guard: Arc::new(Guard::new(settings.limits.label_length)),
        settings: settings.clone(),
        spans,
        names: NamesBoard::default(),
    })
}

/// Tells alert rules their limits and where links lead.
fn show_alerting(metrics: &Metrics, settings: &Settings) {
    let alerts = &settings.alerts;
    metrics.alerting(&alerts.dashboards, &alerts.runbooks, |limit| alerts.limit(limit));
}

/// What all sources depend on: when it changes, all begin anew. Who follows which database is of it, since a database reads
/// names for those who follow it, and says to a drain which packs count its lines.
fn shared(settings: &Settings) -> String {
    let of_database = |name: Option<&String>| {
        let database = settings.sources.iter().find(|source| Some(&source.name) == name)?;
        Some((&database.name, &database.packs))
    };
    let followers = settings.sources.iter().filter(|source| source.upstream.database().is_none());
    let links: Vec<_> = followers
        .map(|source| (&source.name, source.upstream, &source.packs, of_database(source.database.as_ref())))
        .collect();
    let drains: Vec<_> =
        settings.logs.drains.iter().map(|drain| (&drain.name, of_database(drain.database.as_ref()))).collect();
    format!(
        "{:?} {:?} {:?} {:?} {links:?} {drains:?}",
        settings.packs, settings.parameters, settings.limits, settings.zero_first
    )
}

/// What one source depends on, the certificates that it trusts included: they are renewed under the same name. It holds the
/// URL, so it is never printed.
fn fingerprint(source: &SourceSettings) -> String {
    let token = source.token.as_ref().map(ExposeSecret::expose_secret);
    let trusted = source.ca_file.as_ref().and_then(|file| std::fs::read(file).ok());
    format!("{source:?} {} {token:?} {trusted:?}", source.url.expose_secret())
}

fn reload_hook(ask: mpsc::Sender<oneshot::Sender<Result<(), Vec<String>>>>) -> web::ReloadHook {
    Arc::new(move || {
        let ask = ask.clone();
        Box::pin(async move {
            let gone = || vec!["it is being stopped".to_owned()];
            let (answer, outcome) = oneshot::channel();
            ask.send(answer).await.map_err(|_| gone())?;
            outcome.await.unwrap_or_else(|_| Err(gone()))
        })
    })
}

fn seconds() -> f64 {
    clock::now() as f64 / 1e6
}

#[cfg(test)]
mod tests;
