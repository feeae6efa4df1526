//! Metrics pushed on an interval: what is published and what Rowmetry says of itself.
//!
//! There is never a backlog: what could not be sent in its interval is dropped for the newer values of the next, which in the
//! delta form hold it. Nothing here delays a read or a scrape, and nothing changes a value.
//!
//! In the delta form a point tells what was counted since the last one that the receiver accepted. Two things are not told:
//! what was counted between the last accepted push and a restart, or a new epoch; and what a series had when this process
//! first saw it if its start lies before that of the process, since an earlier process told it. A request whose answer was lost
//! may have been accepted, and what it held is then told twice.

mod ledger;
mod since;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::resource::v1::Resource;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::config::otlp::{OtlpSettings, PushSettings};
use crate::exposition::own;
use crate::family::Micros;
use crate::otlp::encode::metrics as encode;
use crate::otlp::{Answer, Transport};
use crate::store::Store;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::push::{PointOutcome, PushMetrics, RequestOutcome};
use ledger::{Due, Ledger};

/// Time that the last push, at the end of the process, may take: a receiver that is well answers in less, and one that is not
/// must not hold up the end. Container engines kill after ten seconds, and others end after this.
pub const LAST_PUSH_WITHIN: Duration = Duration::from_secs(3);

/// Time that a push under way gets when the process ends. A receiver that does not answer in it does not get a last push.
pub const UNDER_WAY_WITHIN: Duration = Duration::from_secs(2);

/// Pause before a request is sent again the first time; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause that a receiver may ask for; one that asks for more is asked again after this.
const LONGEST_PAUSE: Duration = Duration::from_secs(15 * 60);
/// Pause after a receiver took nothing because of how we are configured: it is mended by people.
const MISCONFIGURED_PAUSE: Duration = Duration::from_secs(5 * 60);
/// Data points in a request that is not made smaller for all that follow: a receiver that takes less than this is met by halving
/// each time, so that one huge point does not make a request of every other.
const SMALLEST_BATCH: usize = 100;

/// Reads the clock.
pub type Clock = Arc<dyn Fn() -> Micros + Send + Sync>;

/// What takes requests: the transport, or a stand-in of a test.
pub trait Deliver: Send + Sync {
    /// Sends one request.
    fn deliver(&self, request: ExportMetricsServiceRequest) -> impl Future<Output = Answer> + Send;
}

impl Deliver for Transport {
    async fn deliver(&self, request: ExportMetricsServiceRequest) -> Answer {
        self.metrics(request).await
    }
}

/// What is pushed, and as whom.
pub struct Push {
    /// How.
    pub settings: PushSettings,
    /// Where the published families are.
    pub store: Arc<Store>,
    /// Where our own metrics are.
    pub metrics: Arc<Metrics>,
    resource: Resource,
    version: String,
    now: Clock,
}

impl Push {
    /// `instance` tells this exporter from others, as `host:port`; `version` is Rowmetry's.
    pub fn new(
        settings: PushSettings,
        otlp: &OtlpSettings,
        instance: &str,
        version: &str,
        store: Arc<Store>,
        metrics: Arc<Metrics>,
        now: Clock,
    ) -> Self {
        let resource = encode::resource(otlp, instance, version);
        Push { settings, store, metrics, resource, version: version.to_owned(), now }
    }
}

/// Pushes on the interval until it is told to stop, and once more then. `process_start` is when the process began, before any
/// source was read.
pub async fn run(push: Push, to: impl Deliver, process_start: Micros, mut stop: watch::Receiver<bool>) {
    let ledger = Ledger::new(push.settings.temporality, push.settings.histograms, process_start);
    let metrics = push.metrics.push().clone();
    let batch = push.settings.batch_points.max(1);
    let mut pusher = Pusher { push, to, metrics, ledger, batch, not_before: None, failing: false };
    let interval = pusher.push.settings.interval;
    let mut next = Instant::now() + interval;
    loop {
        tokio::select! {
            // A sender that is gone tells to stop as well.
            _ = stop.wait_for(|stop| *stop) => break,
            () = tokio::time::sleep_until(next) => {}
        }
        let now = Instant::now();
        next = (next + interval).max(now);
        if pusher.not_before.is_none_or(|not_before| not_before <= now) {
            let mut told = stop.clone();
            tokio::select! {
                () = pusher.push(next, Some(&mut stop)) => {}
                () = too_long_after(&mut told) => {
                    tracing::warn!(within = ?UNDER_WAY_WITHIN, "a push of metrics by OTLP was under way and did not end in time");
                    return;
                }
            }
        }
    }
    let last = pusher.push(Instant::now() + LAST_PUSH_WITHIN, None);
    if tokio::time::timeout(LAST_PUSH_WITHIN, last).await.is_err() {
        tracing::warn!(within = ?LAST_PUSH_WITHIN, "the last push of metrics by OTLP did not end in time");
    }
}

struct Pusher<D> {
    push: Push,
    to: D,
    metrics: PushMetrics,
    ledger: Ledger,
    /// Data points in one request at most: the setting, or less for a receiver that takes less.
    batch: usize,
    /// The receiver asked for a pause.
    not_before: Option<Instant>,
    /// Whether the log says that pushes fail.
    failing: bool,
}

/// What a request, or what it was halved into, came to.
enum Sent {
    /// The receiver was heard; some of it may be refused for good.
    Heard { refused: Option<String> },
    /// Nothing more is sent in this push.
    GivenUp { why: String },
}

impl<D: Deliver> Pusher<D> {
    /// One push, with repetitions until `end` or until told to stop.
    async fn push(&mut self, end: Instant, mut stop: Option<&mut watch::Receiver<bool>>) {
        let began = Instant::now();
        let now = (self.push.now)();
        let due = self.due(now).await;
        let mut trouble = None;
        let mut left = &due[..];
        while !left.is_empty() {
            let (batch, rest) = left.split_at(self.batch.min(left.len()));
            match self.send(batch, now, end, &mut stop).await {
                Sent::Heard { refused } => {
                    trouble = trouble.or(refused);
                    left = rest;
                }
                Sent::GivenUp { why } => {
                    trouble = Some(why);
                    // What was halved counted itself.
                    self.metrics.points(PointOutcome::Dropped, rest.len() as u64);
                    break;
                }
            }
        }
        self.metrics.pushed(began.elapsed().as_secs_f64());
        self.tell(trouble, now);
    }

    /// All points that are due. Lets others run between families: there may be many.
    async fn due(&mut self, now: Micros) -> Vec<Due> {
        let mut due = Vec::new();
        self.ledger.begin();
        for family in self.push.store.published().families {
            self.ledger.look(&family, now, &mut due);
            tokio::task::yield_now().await;
        }
        for family in own::families(&self.push.metrics.gather()) {
            self.ledger.look(&family, now, &mut due);
        }
        self.ledger.ended(&mut due);
        self.metrics.resets(self.ledger.take_resets());
        due
    }

    /// Sends points, in halves where they are too many for the receiver.
    async fn send(
        &mut self,
        points: &[Due],
        now: Micros,
        end: Instant,
        stop: &mut Option<&mut watch::Receiver<bool>>,
    ) -> Sent {
        let mut refused = None;
        // The first is at the end.
        let mut left = vec![points];
        while let Some(points) = left.pop() {
            let count = points.len() as u64;
            let rejected = match self.ask(points, now, end, stop).await {
                Answer::Accepted => 0,
                // A warning that comes with what was taken.
                Answer::Partial { rejected: 0, message } => {
                    tracing::debug!(message, "the receiver of metrics has something to say");
                    0
                }
                Answer::Partial { rejected, message } => {
                    refused = Some(format!("{rejected} data points were refused: {message}"));
                    rejected.min(count)
                }
                Answer::TooLarge { .. } if points.len() > 1 => {
                    let (first, second) = points.split_at(points.len() / 2);
                    self.batch = self.batch.min(first.len().max(SMALLEST_BATCH));
                    left.extend([second, first]);
                    continue;
                }
                Answer::TooLarge { why } | Answer::Refused { why } => {
                    refused = Some(why);
                    self.metrics.points(PointOutcome::Rejected, count);
                    continue;
                }
                Answer::Later { why, .. } | Answer::Misconfigured { why } => {
                    let dropped = count + left.iter().map(|points| points.len() as u64).sum::<u64>();
                    self.metrics.points(PointOutcome::Dropped, dropped);
                    return Sent::GivenUp { why };
                }
            };
            self.metrics.points(PointOutcome::Accepted, count - rejected);
            self.metrics.points(PointOutcome::Rejected, rejected);
            // What is refused of a request will never be taken, so it is not due again.
            self.ledger.accepted(points, now);
        }
        Sent::Heard { refused }
    }

    /// Sends one request until there is an answer other than that it is to be sent later, or no time for that.
    async fn ask(
        &mut self,
        points: &[Due],
        now: Micros,
        end: Instant,
        stop: &mut Option<&mut watch::Receiver<bool>>,
    ) -> Answer {
        let mut pause = FIRST_PAUSE;
        loop {
            let answer = self.to.deliver(self.request(points, now)).await;
            self.metrics.request(outcome(&answer));
            match &answer {
                Answer::Later { after, .. } => {
                    // Several exporters that one receiver sent away do not come back as one.
                    let own = pause.mul_f64(0.5 + fastrand::f64());
                    let again = Instant::now() + after.map_or(own, |after| after.max(own).min(LONGEST_PAUSE));
                    if again >= end {
                        // A pause that was asked for outlasts the interval; our own does not.
                        self.not_before = after.map(|_| again);
                        return answer;
                    }
                    if told_to_stop_before(again, stop).await {
                        return answer;
                    }
                    pause *= 2;
                }
                Answer::Misconfigured { .. } => {
                    self.not_before = Some(Instant::now() + MISCONFIGURED_PAUSE);
                    return answer;
                }
                Answer::Accepted | Answer::Partial { .. } | Answer::TooLarge { .. } | Answer::Refused { .. } => {
                    return answer;
                }
            }
        }
    }

    fn request(&self, points: &[Due], now: Micros) -> ExportMetricsServiceRequest {
        let families = points.chunk_by(|one, next| Arc::ptr_eq(&one.head, &next.head));
        let metric = |family: &[Due]| {
            let points = family.iter().map(|due| &due.point);
            encode::metric(&family[0].head, self.push.settings.temporality, points, now)
        };
        encode::request(&self.push.resource, &self.push.version, families.map(metric).collect())
    }

    /// Says in the log that pushes began to fail, or that they no longer do: once each.
    fn tell(&mut self, trouble: Option<String>, now: Micros) {
        match trouble {
            None => {
                self.not_before = None;
                self.metrics.succeeded(now as f64 / 1e6);
                if std::mem::take(&mut self.failing) {
                    tracing::info!("metrics are pushed by OTLP again");
                }
            }
            Some(why) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(why, "metrics cannot be pushed by OTLP; it is tried again, and told when it works");
                }
            }
        }
    }
}

/// Waits until a push under way may take no longer.
async fn too_long_after(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
    tokio::time::sleep(UNDER_WAY_WITHIN).await;
}

/// Waits, unless it is told to stop meanwhile.
async fn told_to_stop_before(when: Instant, stop: &mut Option<&mut watch::Receiver<bool>>) -> bool {
    match stop {
        Some(stop) => tokio::time::timeout_at(when, stop.wait_for(|stop| *stop)).await.is_ok(),
        None => {
            tokio::time::sleep_until(when).await;
            false
        }
    }
}

fn outcome(answer: &Answer) -> RequestOutcome {
    match answer {
        Answer::Accepted => RequestOutcome::Accepted,
        Answer::Partial { .. } => RequestOutcome::Partial,
        Answer::Later { .. } => RequestOutcome::Later,
        Answer::TooLarge { .. } => RequestOutcome::TooLarge,
        Answer::Refused { .. } => RequestOutcome::Refused,
        Answer::Misconfigured { .. } => RequestOutcome::Misconfigured,
    }
}

#[cfg(test)]
mod tests;
