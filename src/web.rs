//! The web server: `/metrics`, the front page, health and readiness, and a reload for those who allow it.
//!
//! It answers from memory: no request ever touches a source. Every client is bounded in time, size and number, and none
//! can end the server.

mod connection;
mod drain;
mod page;
mod reply;
mod route;
mod scrape;
pub mod status;
mod trace;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::Instrument as _;

use crate::config::WebSettings;
use crate::exposition::Bodies;
use crate::exposition::own::OwnBodies;
use crate::family::Micros;
use crate::store::{Board, Store};
use crate::telemetry::Metrics;
use connection::Deadline;
pub use drain::Intake;

/// Time that replies under way have when the server stops: a scrape takes far less, an orchestrator waits longer.
const DRAIN: Duration = Duration::from_secs(5);
/// Bytes of a request's line and headers together; a scraper sends under 1 KiB, a browser with cookies a few.
const HEADER_BYTES: usize = 16 * 1024;
/// Headers of a request.
const HEADERS: usize = 64;
/// Clients at a time that are told there is no room; those beyond are just closed.
const REFUSALS: usize = 16;
/// Time to tell a client that there is no room.
const REFUSAL_TIME: Duration = Duration::from_secs(1);
/// Pause after the system refused to accept (no file handle left, say), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Reads the configuration again. The errors are sentences, one a mistake; then the old configuration stays.
pub type ReloadHook = Arc<dyn Fn() -> BoxFuture<'static, Result<(), Vec<String>>> + Send + Sync>;

/// The time now, in microseconds since 1970.
pub type Clock = Arc<dyn Fn() -> Micros + Send + Sync>;

/// What the server shows. Shared in an [`Arc`].
pub struct WebState {
    /// Families of the applications.
    pub store: Arc<Store>,
    /// How every collector fares.
    pub board: Arc<Board>,
    /// Our own metrics.
    pub metrics: Arc<Metrics>,
    /// Bounds and switches.
    pub settings: WebSettings,
    /// Called by `POST /-/reload`, where the settings allow it.
    pub reload: Option<ReloadHook>,
    /// Shown on the front page.
    pub version: &'static str,
    /// The time now.
    pub clock: Clock,
    bodies: Arc<Bodies>,
    own: OwnBodies,
    intake: Option<Intake>,
    serves: Serves,
}

/// What a listening address is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serves {
    /// Everything.
    All,
    /// Drains alone: what the world may reach.
    Drains,
    /// Everything but drains.
    AllButDrains,
}

impl WebState {
    /// Everything the server needs.
    pub fn new(
        store: Arc<Store>,
        board: Arc<Board>,
        metrics: Arc<Metrics>,
        settings: WebSettings,
        reload: Option<ReloadHook>,
        version: &'static str,
        clock: Clock,
    ) -> Self {
        let bodies = Arc::new(Bodies::new(store.clone()));
        WebState {
            store,
            board,
            metrics,
            settings,
            reload,
            version,
            clock,
            bodies,
            own: OwnBodies::default(),
            intake: None,
            serves: Serves::All,
        }
    }

    /// The same with a way in for log lines, and what the address is for.
    pub fn with_intake(mut self, intake: Intake, serves: Serves) -> Self {
        self.intake = Some(intake);
        self.serves = serves;
        self
    }
}

impl std::fmt::Debug for WebState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WebState({:?})", self.settings)
    }
}

/// Serves until `shutdown` ends; then takes no more connections and lets replies under way finish, for a few seconds.
///
/// # Errors
/// None at present: whatever a client or the system does, the server goes on.
pub async fn serve(
    listener: TcpListener,
    web: Arc<WebState>,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    // Whatever is still under way when this returns, or is dropped, is cut off with it.
    let mut tasks = JoinSet::new();
    if web.serves != Serves::Drains {
        tasks.spawn(warm(web.clone()));
    }
    let room = Arc::new(Semaphore::new(web.settings.connections));
    let refusals = Arc::new(Semaphore::new(REFUSALS));
    let graceful = GracefulShutdown::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => accepted,
            Some(ended) = tasks.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a connection ended in a panic");
                }
                continue;
            }
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        match room.clone().try_acquire_owned() {
            Ok(permit) => {
                let connection = graceful.watch(connection(stream, web.clone()));
                tasks.spawn(async move {
                    if let Err(error) = connection.await {
                        tracing::debug!(%error, "a connection ended early");
                    }
                    drop(permit);
                });
            }
            Err(_) => {
                web.metrics.connection_refused();
                if let Ok(permit) = refusals.clone().try_acquire_owned() {
                    tasks.spawn(async move {
                        // Whether the client heard it or not, its connection ends here.
                        let _ = tokio::time::timeout(REFUSAL_TIME, connection::refuse(stream)).await;
                        drop(permit);
                    });
                }
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
        tracing::warn!("some replies were not taken in time and are cut off");
    }
    Ok(())
}

fn connection(
    stream: TcpStream,
    web: Arc<WebState>,
) -> impl hyper_util::server::graceful::GracefulConnection<Error = hyper::Error> + Send {
    // A reply is one or two writes; waiting to fill a packet would only delay it.
    let _ = stream.set_nodelay(true);
    let (io, replies) = Deadline::new(stream, web.settings.write_timeout);
    let settings = web.settings;
    let service = service_fn(move |request| {
        replies.begin();
        let span = trace::answer(&request);
        let answer = route::answer(web.clone(), request);
        async move {
            let answer = answer.instrument(span.clone()).await;
            if let Ok(answer) = &answer {
                trace::answered(&span, answer.status());
            }
            answer
        }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(settings.header_timeout)
        .max_headers(HEADERS)
        .max_header_size(HEADER_BYTES)
        .serve_connection(TokioIo::new(io), service)
}

/// Encodes what was published before the next scrape asks for it.
async fn warm(web: Arc<WebState>) {
    let mut changes = web.store.changes();
    while changes.changed().await.is_ok() {
        let (bodies, now) = (web.bodies.clone(), (web.clock)());
        if let Err(error) = tokio::task::spawn_blocking(move || bodies.warm(now)).await {
            tracing::error!(%error, "encoding failed");
        }
    }
}
