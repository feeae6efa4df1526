//! Spans of rows on their way: from the state to the receiver, in order, until it has them.
//!
//! A span leaves the state only when the receiver has it or will never take it; the latter is counted and logged. What
//! the receiver does never delays a read, and nothing is sent twice but what it may have lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::encode::spans::{Applications, Origin};
use super::queue::SpanQueue;
use super::transport::{Answer, Transport};
use crate::span::SpanRecord;
use crate::state::{QueuedSpans, State, StateError};
use crate::telemetry::metrics::{DeliveryMetrics, GivenUp, RequestOutcome};

/// The first pause after a request that came to nothing; it doubles with each, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// A receiver that is back is not kept waiting for longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The pause when the receiver takes nothing from us as we are configured: somebody has to mend it.
const MENDING_PAUSE: Duration = Duration::from_secs(60);

/// An empty queue is looked at again after this even if nobody said that spans came: whoever saved them may have been stopped
/// before it could.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Requests in a row that came to nothing before one span by itself shows whether the receiver fails, or fails at some
/// spans alone.
const PATIENCE: u32 = 4;

/// How often a span fails by itself, each time right before the receiver takes another one, until it is given up.
const FAILS_ALONE: u32 = 3;

/// How long spans that are kept in memory alone are sent on when the process is told to stop.
const LAST_SPANS_WITHIN: Duration = Duration::from_secs(2);

/// Spans that are taken out of the state together once they are done with, since each time waits for the disk: what a
/// crash may make be sent a second time, beside the request under way.
const FORGOTTEN_TOGETHER: u64 = 4096;

/// A span that is to be sent, and where it comes from.
type Outgoing<'s> = (Origin<'s>, &'s SpanRecord);

/// Takes spans to a receiver, some at a time.
pub struct Sender {
    transport: Transport,
    applications: Applications,
    metrics: DeliveryMetrics,
    batch_spans: usize,
    /// Whether the receiver ever took anything from us.
    has_taken: AtomicBool,
}

/// What became of spans that were to be sent, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sent {
    /// The receiver has these many.
    pub accepted: u64,
    /// It will never take these many.
    pub given_up: u64,
    /// So many of the first ones are done with, one way or the other.
    pub done: usize,
    /// Why the rest was not sent.
    pub held: Option<Held>,
}

/// Why spans have to wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The pause that the receiver asks for, or that we know to be needed.
    pub pause: Option<Duration>,
    /// Whether somebody has to mend our configuration first.
    pub misconfigured: bool,
    /// For people.
    pub why: String,
}

impl Held {
    /// How long to wait after so many failures in a row.
    pub fn pause(&self, failures: u32) -> Duration {
        let doubled = FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST_PAUSE);
        // Many exporters that lost one receiver do not come back to it together.
        let own = doubled.mul_f64(0.75 + fastrand::f64() / 2.0);
        self.pause.map_or(own, |asked| asked.max(FIRST_PAUSE))
    }
}

impl Sender {
    /// At most `batch_spans` in one request.
    pub fn new(transport: Transport, applications: Applications, metrics: DeliveryMetrics, batch_spans: usize) -> Self {
        let has_taken = AtomicBool::new(false);
        Sender { transport, applications, metrics, batch_spans: batch_spans.max(1), has_taken }
    }

    /// Sends spans in order. What the receiver refuses is sent in halves, so that one span which it will not take
    /// costs no other.
    pub async fn send(&self, spans: &[Outgoing<'_>]) -> Sent {
        self.send_beside(spans, None).await
    }

    /// The same for spans at which the receiver failed again and again, while it takes `control`: they too are sent in halves,
    /// and one that keeps failing by itself is given up.
    async fn send_beside(&self, spans: &[Outgoing<'_>], control: Option<Outgoing<'_>>) -> Sent {
        let mut sent = Sent::default();
        let mut failed_alone = 0;
        // What is left of the spans, the next part last.
        let mut parts: Vec<&[Outgoing<'_>]> = spans.chunks(self.batch_spans).rev().collect();
        while let Some(part) = parts.pop() {
            let answer = self.ask(part).await;
            let count = part.len() as u64;
            match answer {
                Answer::Accepted => self.took(&mut sent, part, 0),
                Answer::Partial { rejected, message } => {
                    let rejected = rejected.min(count);
                    tracing::warn!(
                        spans = rejected,
                        "the receiver of traces refused some spans of a request: {message}"
                    );
                    self.metrics.given_up(GivenUp::PartialSuccess, rejected);
                    self.took(&mut sent, part, rejected);
                }
                Answer::Refused { .. } | Answer::TooLarge { .. } if part.len() > 1 => parts.extend(halves(part)),
                Answer::Refused { why } => {
                    // One that never took anything may be no receiver of traces at all: then it is not the span.
                    if !self.has_taken.load(Ordering::Relaxed) && !self.takes_another(spans, part).await {
                        let why = format!("it has refused every span so far, so none is given up: {why}");
                        sent.held = Some(Held { pause: Some(MENDING_PAUSE), misconfigured: true, why });
                        break;
                    }
                    self.gave_up(&mut sent, part, GivenUp::Refused, &why);
                }
                Answer::TooLarge { why } => self.gave_up(&mut sent, part, GivenUp::TooLarge, &why),
                Answer::Later { why, .. } if control.is_some() && part.len() == 1 && failed_alone == FAILS_ALONE => {
                    self.gave_up(&mut sent, part, GivenUp::Failing, &why);
                }
                Answer::Later { after, why } => {
                    let Some(control) = control else {
                        sent.held = Some(Held { pause: after, misconfigured: false, why });
                        break;
                    };
                    tokio::time::sleep(after.unwrap_or_default().max(FIRST_PAUSE)).await;
                    if part.len() > 1 {
                        parts.extend(halves(part));
                        continue;
                    }
                    if !self.takes(control).await {
                        sent.held = Some(Held { pause: after, misconfigured: false, why });
                        break;
                    }
                    failed_alone += 1;
                    parts.push(part);
                    continue;
                }
                Answer::Misconfigured { why } => {
                    sent.held = Some(Held { pause: Some(MENDING_PAUSE), misconfigured: true, why });
                    break;
                }
            }
            failed_alone = 0;
        }
        sent
    }

    /// One of several spans that the receiver takes by itself right now.
    async fn control<'s>(&self, spans: &[Outgoing<'s>]) -> Option<Outgoing<'s>> {
        // Any of them may be one that it fails at, so it is another one each time.
        let any = *spans.get(fastrand::usize(..spans.len().max(1))).filter(|_| spans.len() > 1)?;
        self.takes(any).await.then_some(any)
    }

    /// Whether it takes the last span, or the first where the last is what it just refused.
    async fn takes_another(&self, spans: &[Outgoing<'_>], refused: &[Outgoing<'_>]) -> bool {
        let other =
            spans.iter().rev().chain(spans).find(|other| refused.iter().all(|span| span.1.span != other.1.span));
        match other {
            Some(other) => self.takes(*other).await,
            None => false,
        }
    }

    async fn takes(&self, span: Outgoing<'_>) -> bool {
        self.ask(&[span]).await == Answer::Accepted
    }

    async fn ask(&self, spans: &[Outgoing<'_>]) -> Answer {
        let began = Instant::now();
        let answer = self.transport.traces(self.applications.request(spans)).await;
        self.metrics.requested(outcome(&answer), began.elapsed().as_secs_f64());
        if matches!(answer, Answer::Accepted | Answer::Partial { .. }) {
            self.has_taken.store(true, Ordering::Relaxed);
        }
        answer
    }

    fn took(&self, sent: &mut Sent, part: &[Outgoing<'_>], rejected: u64) {
        let accepted = part.len() as u64 - rejected;
        sent.accepted += accepted;
        sent.given_up += rejected;
        sent.done += part.len();
        self.metrics.sent(accepted);
    }

    fn gave_up(&self, sent: &mut Sent, part: &[Outgoing<'_>], reason: GivenUp, why: &str) {
        for (origin, span) in part {
            let (reason, trace, span_id) = (reason.as_str(), span.trace, span.span);
            tracing::warn!(source = origin.source, pack = origin.pack, %trace, span = %span_id, reason,
                "the receiver will not take this span, which is given up: {why}");
        }
        sent.given_up += part.len() as u64;
        sent.done += part.len();
        self.metrics.given_up(reason, part.len() as u64);
    }
}

/// Batches that are done with and are in the state still.
#[derive(Default)]
struct Done {
    batches: Vec<i64>,
    /// Their spans, those included that could not be read.
    spans: u64,
    unreadable: u64,
}

/// Sends what waits in the state, for ever.
pub struct Delivery {
    sender: Sender,
    state: Arc<State>,
    queue: Arc<SpanQueue>,
    failures: u32,
    /// The place in the queue up to which everything is done with.
    through: i64,
    /// What is done with and in the state still.
    done: Done,
    /// The first spans of the batch behind `through` that are done with, while the rest of it waits.
    partly: usize,
    /// What comes next in the queue, read while the request before was on its way.
    ahead: Option<Vec<QueuedSpans>>,
    told_to_mend: bool,
    /// Since when the oldest span waits, in seconds since 1970.
    oldest: Option<f64>,
}

impl Delivery {
    /// Prepares to send what waits in the state.
    pub fn new(sender: Sender, state: Arc<State>, queue: Arc<SpanQueue>) -> Self {
        sender.metrics.limited(queue.limit());
        Delivery {
            sender,
            state,
            queue,
            failures: 0,
            through: 0,
            done: Done::default(),
            partly: 0,
            ahead: None,
            told_to_mend: false,
            oldest: None,
        }
    }

    /// Sends until told to stop. What then waits in a state that survives is sent by the next run.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            let pause = tokio::select! {
                pause = self.send_some() => pause,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            match pause {
                Some(Duration::ZERO) => {}
                Some(pause) => tokio::select! {
                    () = self.rest(pause) => {}
                    _ = stop.wait_for(|stop| *stop) => break,
                },
                None => tokio::select! {
                    () = self.queue.told() => {}
                    () = tokio::time::sleep(LOOK_AGAIN) => {}
                    _ = stop.wait_for(|stop| *stop) => break,
                },
            }
        }
        if self.state.is_persistent() {
            // The next run would send it again; a state that cannot be written was told of by the collectors.
            let _ = self.forget().await;
        } else {
            let last = async { while self.send_some().await == Some(Duration::ZERO) {} };
            let _ = tokio::time::timeout(LAST_SPANS_WITHIN, last).await;
            let left = self.queue.queued().saturating_sub(self.done.spans);
            if left > 0 {
                tracing::warn!(spans = left, "spans were not sent and are lost, since there is no state directory");
            }
        }
    }

    /// Waits, and meanwhile tells how much there is to send.
    async fn rest(&self, pause: Duration) {
        let end = Instant::now() + pause;
        while tokio::time::timeout_at(end, self.queue.told()).await.is_ok() {
            self.tell();
        }
    }

    fn tell(&self) {
        self.sender.metrics.queued(self.queue.queued(), self.oldest);
    }

    /// Sends the oldest spans. Returns the pause before the next; none when nothing waits.
    async fn send_some(&mut self) -> Option<Duration> {
        match self.try_send_some().await {
            Ok(pause) => pause,
            Err(error) => {
                // The collectors tell of a state that cannot be used; here it is one more reason to wait.
                let why = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                Some(self.hold(&Held { pause: None, misconfigured: false, why: format!("{error} ({why})") }))
            }
        }
    }

    async fn try_send_some(&mut self) -> Result<Option<Duration>, StateError> {
        let is_stuck = self.failures >= PATIENCE;
        // What keeps failing by itself is told by another one that does not.
        let enough = self.sender.batch_spans + usize::from(is_stuck);
        let batches = match self.ahead.take() {
            Some(batches) => batches,
            None => self.state.queued_spans(self.through, enough).await?,
        };
        self.oldest = batches.first().map(|batch| batch.queued as f64 / 1e6);
        self.tell();
        if batches.is_empty() {
            return Ok(None);
        }
        let spans: Vec<Outgoing<'_>> = batches
            .iter()
            .flat_map(|batch| batch.spans.iter().map(|span| (Origin::of(&batch.collector), span)))
            .skip(self.partly)
            .collect();
        let last = batches.last().map_or(self.through, |batch| batch.id);
        let read = async {
            // A receiver in trouble is sent the same again first. Nor is a state that cannot be read told of here: the next
            // turn reads again, and tells.
            let wanted = self.failures == 0;
            if wanted { self.state.queued_spans(last, self.sender.batch_spans).await.ok() } else { None }
        };
        let control = if is_stuck { self.sender.control(&spans).await } else { None };
        let was_sent_apart = control.is_some();
        let (sent, ahead) = tokio::join!(self.sender.send_beside(&spans, control), read);
        // When there was nothing, it is asked again, since spans may have come since.
        let ahead = ahead.filter(|batches| !batches.is_empty() && sent.held.is_none());
        self.settle(&batches, self.partly + sent.done);
        if ahead.is_none() || self.done.spans >= FORGOTTEN_TOGETHER.min(self.queue.limit() / 4) {
            self.forget().await?;
        }
        if let Some(held) = sent.held {
            if was_sent_apart {
                // It took something since.
                self.failures = 0;
            }
            return Ok(Some(self.hold(&held)));
        }
        if self.failures > 0 {
            tracing::info!("the receiver of traces takes spans again");
            self.failures = 0;
        }
        self.ahead = ahead;
        Ok(Some(Duration::ZERO))
    }

    /// Remembers that so many of the first spans are done with. What is done with of a batch in part is remembered until
    /// the process ends.
    fn settle(&mut self, batches: &[QueuedSpans], mut done: usize) {
        self.partly = 0;
        for batch in batches {
            if batch.spans.len() > done {
                self.partly = done;
                break;
            }
            done -= batch.spans.len();
            self.through = batch.id;
            self.done.batches.push(batch.id);
            self.done.spans += batch.spans.len() as u64 + batch.unreadable;
            self.done.unreadable += batch.unreadable;
        }
    }

    /// Takes out of the state what is done with.
    async fn forget(&mut self) -> Result<(), StateError> {
        self.state.forget_spans(&self.done.batches).await?;
        let done = std::mem::take(&mut self.done);
        if done.unreadable > 0 {
            self.sender.metrics.given_up(GivenUp::Unreadable, done.unreadable);
            tracing::error!(spans = done.unreadable, "spans in the state could not be read back and are lost");
        }
        self.queue.release(done.spans);
        Ok(())
    }

    /// Says once that spans have to wait. Returns for how long.
    fn hold(&mut self, held: &Held) -> Duration {
        self.failures = self.failures.saturating_add(1);
        if self.failures == 1 || held.misconfigured && !self.told_to_mend {
            tracing::warn!("spans of rows wait for the receiver of traces: {}", held.why);
        }
        self.told_to_mend = held.misconfigured;
        held.pause(self.failures)
    }
}

/// Both halves, the first one last.
fn halves<'p, 's>(part: &'p [Outgoing<'s>]) -> [&'p [Outgoing<'s>]; 2] {
    let (first, rest) = part.split_at(part.len() / 2);
    [rest, first]
}

fn outcome(answer: &Answer) -> RequestOutcome {
    match answer {
        Answer::Accepted | Answer::Partial { .. } => RequestOutcome::Accepted,
        Answer::Later { .. } => RequestOutcome::Later,
        Answer::Refused { .. } | Answer::TooLarge { .. } => RequestOutcome::Refused,
        Answer::Misconfigured { .. } => RequestOutcome::Misconfigured,
    }
}
