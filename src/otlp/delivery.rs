//! Spans of rows on their way: from the state to the receiver, in order, until it has them.
//!
//! A span leaves the state only when the receiver has it or will never take it; the latter is counted and logged. What
//! the receiver does never delays a read, and nothing is sent twice but what it may have lost.

mod sender;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use self::sender::Outgoing;
pub use self::sender::{Held, Sender, Sent};
use super::encode::spans::Origin;
use super::queue::SpanQueue;
use crate::state::{QueuedSpans, State, StateError};
use crate::telemetry::metrics::GivenUp;

/// An empty queue is looked at again after this even if nobody said that spans came: whoever saved them may have been stopped
/// before it could.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Requests in a row that came to nothing before one span by itself shows whether the receiver fails, or fails at some
/// spans alone.
const PATIENCE: u32 = 4;

/// How long spans that are kept in memory alone are sent on when the process is told to stop.
const LAST_SPANS_WITHIN: Duration = Duration::from_secs(2);

/// Spans that are taken out of the state together once they are done with, since each time waits for the disk: what a
/// crash may make be sent a second time, beside the request under way.
const FORGOTTEN_TOGETHER: u64 = 4096;

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
