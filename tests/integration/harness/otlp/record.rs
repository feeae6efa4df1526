//! What came, and what it is answered with: the state that both transports share.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::http::request::Parts;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;

use super::behaviour::{Behaviour, Refusal, Verdict};
use super::canonical;

/// Spans that are kept whole, about a kilobyte each.
const MOST_SPANS: usize = 300_000;

/// Ids that are remembered, 24 bytes each.
const MOST_IDS: usize = 5_000_000;

/// Requests with metrics that are kept.
const MOST_METRICS: usize = 10_000;

/// Requests whose heads are kept.
const MOST_REQUESTS: usize = 100_000;

/// How it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    /// HTTP/1.1 and protobuf.
    Http,
    /// gRPC.
    Grpc,
}

/// What a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Signal {
    /// Spans.
    Traces,
    /// Data points.
    Metrics,
}

impl Signal {
    /// Both.
    pub const ALL: [Signal; 2] = [Signal::Traces, Signal::Metrics];
}

/// A span and where it belongs.
#[derive(Debug, Clone, PartialEq)]
pub struct ReceivedSpan {
    /// The span.
    pub span: Span,
    /// The attributes of its resource; what is no text is JSON.
    pub resource: Arc<BTreeMap<String, String>>,
    /// Name and version of its scope.
    pub scope: Arc<(String, String)>,
    /// How it came.
    pub transport: Transport,
    /// The number of its request among [`super::OtlpReceiver::requests`].
    pub request: usize,
}

/// A request with metrics.
#[derive(Debug, Clone, PartialEq)]
pub struct ReceivedMetrics {
    /// The request, without what was rejected of it.
    pub request: ExportMetricsServiceRequest,
    /// How it came.
    pub transport: Transport,
}

/// A request's head.
#[derive(Debug, Clone)]
pub struct ReceivedRequest {
    /// How it came.
    pub transport: Transport,
    /// What it is about; none for a path or a body that is not OTLP's.
    pub signal: Option<Signal>,
    /// The path.
    pub path: String,
    /// Headers or metadata, names in lower case; several values are joined by a comma.
    pub headers: BTreeMap<String, String>,
    /// The body's encoding, if it has one.
    pub encoding: Option<String>,
    /// Bytes of the body on the wire.
    pub wire_bytes: usize,
    /// Spans or data points.
    pub items: usize,
    /// When it had come whole.
    pub at: Instant,
}

impl ReceivedRequest {
    pub(super) fn new(transport: Transport, head: &Parts) -> ReceivedRequest {
        let mut headers: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in &head.headers {
            let value = String::from_utf8_lossy(value.as_bytes());
            headers
                .entry(name.as_str().to_owned())
                .and_modify(|known| {
                    known.push(',');
                    known.push_str(&value);
                })
                .or_insert_with(|| value.to_string());
        }
        let encoding = match transport {
            Transport::Http => "content-encoding",
            Transport::Grpc => "grpc-encoding",
        };
        let encoding = headers.get(encoding).filter(|encoding| *encoding != "identity").cloned();
        let path = head.uri.path().to_owned();
        ReceivedRequest {
            transport,
            signal: None,
            path,
            headers,
            encoding,
            wire_bytes: 0,
            items: 0,
            at: Instant::now(),
        }
    }
}

/// The state behind its lock.
#[derive(Default)]
pub struct Record(Mutex<State>);

/// What came.
#[derive(Default)]
pub struct State {
    behaviours: BTreeMap<Signal, (Behaviour, Option<u32>)>,
    pub(super) only_counts: bool,
    pub(super) spans: Vec<ReceivedSpan>,
    pub(super) span_count: u64,
    /// Trace id and span id, one after the other.
    pub(super) ids: HashSet<[u8; 24]>,
    pub(super) metrics: Vec<ReceivedMetrics>,
    pub(super) requests: Vec<ReceivedRequest>,
    /// What came in such a number that not all of it is kept.
    overflow: Option<&'static str>,
}

impl Record {
    /// Does this with the state.
    pub(super) fn with<T>(&self, what: impl FnOnce(&mut State) -> T) -> T {
        what(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How requests of these signals are answered from now on.
    pub(super) fn behave(&self, signals: &[Signal], behaviour: &Behaviour, times: Option<u32>) {
        self.with(|state| {
            for signal in signals {
                state.behaviours.insert(*signal, (behaviour.clone(), times));
            }
        });
    }

    /// Remembers a request that is not OTLP's.
    pub(super) fn refuse(&self, request: ReceivedRequest) {
        self.with(|state| state.remember(request));
    }

    /// Records what is taken of a request with spans.
    pub(super) fn take_spans(&self, sent: ExportTraceServiceRequest, mut request: ReceivedRequest) -> Verdict {
        request.signal = Some(Signal::Traces);
        request.items = spans(&sent).count();
        self.with(|state| {
            let verdict = if spans(&sent).all(is_named) {
                state.verdict(Signal::Traces, request.items, spans(&sent).map(|span| span.name.as_str()))
            } else {
                Verdict::Refuse(Refusal::new(400, "a trace id is not of 16 bytes, a span id not of 8, or one is zero"))
            };
            let transport = request.transport;
            state.remember(request);
            match &verdict {
                Verdict::Take { rejected, .. } => state.keep_spans(sent, *rejected, transport),
                Verdict::Cut => state.keep_spans(sent, 0, transport),
                _ => {}
            }
            verdict
        })
    }

    /// Records what is taken of a request with metrics.
    pub(super) fn take_metrics(&self, mut sent: ExportMetricsServiceRequest, mut request: ReceivedRequest) -> Verdict {
        request.signal = Some(Signal::Metrics);
        request.items = canonical::points(&sent).len();
        self.with(|state| {
            let verdict = state.verdict(Signal::Metrics, request.items, std::iter::empty());
            let transport = request.transport;
            state.remember(request);
            if let Verdict::Take { rejected, .. } = &verdict {
                canonical::without_points(&mut sent, *rejected);
            }
            if matches!(verdict, Verdict::Take { .. } | Verdict::Cut) {
                if state.metrics.len() < MOST_METRICS {
                    state.metrics.push(ReceivedMetrics { request: sent, transport });
                } else {
                    state.overflow = Some("metrics");
                }
            }
            verdict
        })
    }
}

impl State {
    /// Itself; panics when it does not know everything any more.
    pub(super) fn whole(&self) -> &State {
        assert_eq!(self.overflow, None, "more came than the receiver keeps; see keep_only_counts and clear");
        self
    }

    /// Forgets what came.
    pub(super) fn forget(&mut self) {
        let (behaviours, only_counts) = (std::mem::take(&mut self.behaviours), self.only_counts);
        *self = State { behaviours, only_counts, ..State::default() };
    }

    fn verdict<'a>(&mut self, signal: Signal, items: usize, names: impl Iterator<Item = &'a str>) -> Verdict {
        let pass = Verdict::Take { after: Duration::ZERO, rejected: 0, message: String::new() };
        let Some((behaviour, times)) = self.behaviours.get_mut(&signal) else { return pass };
        if *times == Some(0) {
            return pass;
        }
        let Some(verdict) = behaviour.judge(items, names) else { return pass };
        if let Some(left) = times {
            *left -= 1;
        }
        verdict
    }

    fn remember(&mut self, request: ReceivedRequest) {
        if self.requests.len() < MOST_REQUESTS {
            self.requests.push(request);
        } else {
            self.overflow = Some("requests");
        }
    }

    fn keep_spans(&mut self, sent: ExportTraceServiceRequest, mut rejected: usize, transport: Transport) {
        let request = self.requests.len() - 1;
        for of_resource in sent.resource_spans {
            let attributes = of_resource.resource.map(|resource| resource.attributes).unwrap_or_default();
            let resource = Arc::new(canonical::texts(&attributes));
            for of_scope in of_resource.scope_spans {
                let scope = Arc::new(of_scope.scope.map(|scope| (scope.name, scope.version)).unwrap_or_default());
                for span in of_scope.spans {
                    if rejected > 0 {
                        rejected -= 1;
                        continue;
                    }
                    let (resource, scope) = (resource.clone(), scope.clone());
                    self.keep(ReceivedSpan { span, resource, scope, transport, request });
                }
            }
        }
    }

    fn keep(&mut self, received: ReceivedSpan) {
        self.span_count += 1;
        let mut id = [0; 24];
        id[..16].copy_from_slice(&received.span.trace_id);
        id[16..].copy_from_slice(&received.span.span_id);
        if self.ids.len() < MOST_IDS {
            self.ids.insert(id);
        } else {
            self.overflow = Some("span ids");
        }
        if self.only_counts {
            return;
        }
        if self.spans.len() < MOST_SPANS {
            self.spans.push(received);
        } else {
            self.overflow = Some("spans");
        }
    }
}

fn spans(sent: &ExportTraceServiceRequest) -> impl Iterator<Item = &Span> {
    sent.resource_spans.iter().flat_map(|one| &one.scope_spans).flat_map(|one| &one.spans)
}

/// Whether its ids are such that a collector takes it.
fn is_named(span: &Span) -> bool {
    let good = |id: &[u8], length: usize| id.len() == length && id.iter().any(|byte| *byte != 0);
    let parent = &span.parent_span_id;
    good(&span.trace_id, 16) && good(&span.span_id, 8) && (parent.is_empty() || parent.len() == 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "more came than the receiver keeps")]
    fn who_asks_for_all_after_too_much_came_gets_no_part() {
        let (head, ()) = hyper::Request::new(()).into_parts();
        let request = ReceivedRequest::new(Transport::Http, &head);
        let record = Record::default();
        for _ in 0..MOST_REQUESTS {
            record.refuse(request.clone());
        }
        assert_eq!(record.with(|state| state.whole().requests.len()), MOST_REQUESTS);
        record.refuse(request);
        record.with(|state| state.whole().requests.len());
    }
}
