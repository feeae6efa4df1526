//! Spans to a receiver: one request after another, in halves where it does not take a whole.
//!
//! It keeps nothing and waits for nobody but the receiver: what was not sent is for whoever asked to send again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::otlp::encode::spans::{Applications, Origin};
use crate::otlp::transport::{Answer, Transport};
use crate::span::SpanRecord;
use crate::telemetry::metrics::{DeliveryMetrics, GivenUp, RequestOutcome};

/// The first pause after a request that came to nothing; it doubles with each, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// A receiver that is back is not kept waiting for longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The pause when the receiver takes nothing from us as we are configured: somebody has to mend it.
const MENDING_PAUSE: Duration = Duration::from_secs(60);

/// How often a span fails by itself, each time right before the receiver takes another one, until it is given up.
const FAILS_ALONE: u32 = 3;

/// A span that is to be sent, and where it comes from.
pub(super) type Outgoing<'s> = (Origin<'s>, &'s SpanRecord);

/// Takes spans to a receiver, some at a time.
pub struct Sender {
    transport: Transport,
    applications: Applications,
    pub(super) metrics: DeliveryMetrics,
    pub(super) batch_spans: usize,
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
    pub(super) async fn send_beside(&self, spans: &[Outgoing<'_>], control: Option<Outgoing<'_>>) -> Sent {
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
    pub(super) async fn control<'s>(&self, spans: &[Outgoing<'s>]) -> Option<Outgoing<'s>> {
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
