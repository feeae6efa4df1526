//! Metrics of spans on their way to the receiver. They exist only where spans are sent.
//!
//! Counting only; when to send again is decided elsewhere.

use std::sync::Arc;

use prometheus::{GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Registry};

use super::{add, gauges, int_counters, int_gauges};

/// Bounds of the time that one request takes, in seconds: a receiver in the same network to one that hangs.
const REQUEST_BUCKETS: [f64; 8] = [0.002, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0];

/// Why a span that was queued was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GivenUp {
    /// The receiver refused a request that held it alone.
    Refused,
    /// It is too large for the receiver by itself.
    TooLarge,
    /// The receiver said that it took a request but for some spans; it does not say which.
    PartialSuccess,
    /// The receiver failed at it again and again, while it took others.
    Failing,
    /// It could not be read back from the state.
    Unreadable,
}

impl GivenUp {
    /// Every reason, in the order in which they are exported.
    pub const ALL: [GivenUp; 5] =
        [GivenUp::Refused, GivenUp::TooLarge, GivenUp::PartialSuccess, GivenUp::Failing, GivenUp::Unreadable];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            GivenUp::Refused => "refused",
            GivenUp::TooLarge => "too_large",
            GivenUp::PartialSuccess => "partial_success",
            GivenUp::Failing => "failing",
            GivenUp::Unreadable => "unreadable",
        }
    }
}

/// What came of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestOutcome {
    /// The receiver has everything, or everything that it will ever take.
    Accepted,
    /// It cannot be reached, or asks for later.
    Later,
    /// It does not take the request as it is.
    Refused,
    /// It takes nothing from us as we are configured.
    Misconfigured,
}

impl RequestOutcome {
    /// Every outcome, in the order in which they are exported.
    pub const ALL: [RequestOutcome; 4] =
        [RequestOutcome::Accepted, RequestOutcome::Later, RequestOutcome::Refused, RequestOutcome::Misconfigured];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            RequestOutcome::Accepted => "accepted",
            RequestOutcome::Later => "later",
            RequestOutcome::Refused => "refused",
            RequestOutcome::Misconfigured => "misconfigured",
        }
    }
}

pub(super) struct DeliveryVecs {
    queued: IntGaugeVec,
    limit: IntGaugeVec,
    oldest: GaugeVec,
    up: IntGaugeVec,
    sent: IntCounterVec,
    given_up: IntCounterVec,
    requests: IntCounterVec,
    request_seconds: HistogramVec,
}

impl DeliveryVecs {
    pub(super) fn new(registry: &Registry) -> Self {
        DeliveryVecs {
            queued: int_gauges(
                registry,
                "rowmetry_spans_queued",
                "Spans made of rows that wait until the receiver has them.",
                &[],
            ),
            limit: int_gauges(
                registry,
                "rowmetry_spans_queue_limit",
                "Spans that may wait; what comes beyond is left out and counted in rowmetry_spans_skipped_total.",
                &[],
            ),
            oldest: gauges(
                registry,
                "rowmetry_spans_oldest_queued_timestamp_seconds",
                "When the oldest span that waits was queued; absent while none waits.",
                &[],
            ),
            up: int_gauges(
                registry,
                "rowmetry_spans_receiver_up",
                "Whether the receiver took the last request with spans.",
                &[],
            ),
            sent: int_counters(
                registry,
                "rowmetry_spans_sent_total",
                "Spans made of rows that the receiver accepted; one that is sent again after a crash counts again.",
                &[],
            ),
            given_up: int_counters(
                registry,
                "rowmetry_spans_given_up_total",
                "Spans that were queued and that the receiver will never take.",
                &["reason"],
            ),
            requests: int_counters(
                registry,
                "rowmetry_spans_requests_total",
                "Requests with spans, by what came of them.",
                &["outcome"],
            ),
            request_seconds: add(
                registry,
                HistogramVec::new(
                    HistogramOpts::new(
                        "rowmetry_spans_request_seconds",
                        "Time that the receiver took for a request with spans.",
                    )
                    .buckets(REQUEST_BUCKETS.to_vec()),
                    &[],
                )
                .expect("the name and the buckets are valid"),
            ),
        }
    }
}

/// What becomes of spans on their way.
#[derive(Clone)]
pub struct DeliveryMetrics {
    vecs: Arc<DeliveryVecs>,
}

impl DeliveryMetrics {
    pub(super) fn new(vecs: Arc<DeliveryVecs>) -> Self {
        let metrics = DeliveryMetrics { vecs };
        metrics.sent(0);
        for reason in GivenUp::ALL {
            metrics.given_up(reason, 0);
        }
        for outcome in RequestOutcome::ALL {
            metrics.vecs.requests.with_label_values(&[outcome.as_str()]);
        }
        metrics
    }

    /// So many spans may wait.
    pub fn limited(&self, spans: u64) {
        self.vecs.limit.with_label_values(NONE).set(spans.try_into().unwrap_or(i64::MAX));
    }

    /// So many spans wait, the oldest since a time in seconds since 1970.
    pub fn queued(&self, spans: u64, oldest: Option<f64>) {
        self.vecs.queued.with_label_values(NONE).set(spans.try_into().unwrap_or(i64::MAX));
        match oldest {
            Some(oldest) => self.vecs.oldest.with_label_values(NONE).set(oldest),
            // It may not have been there.
            None => drop(self.vecs.oldest.remove_label_values(NONE)),
        }
    }

    /// The receiver accepted so many spans.
    pub fn sent(&self, spans: u64) {
        self.vecs.sent.with_label_values(NONE).inc_by(spans);
    }

    /// So many spans were given up.
    pub fn given_up(&self, reason: GivenUp, spans: u64) {
        self.vecs.given_up.with_label_values(&[reason.as_str()]).inc_by(spans);
    }

    /// A request came to this, in so many seconds.
    pub fn requested(&self, outcome: RequestOutcome, seconds: f64) {
        self.vecs.requests.with_label_values(&[outcome.as_str()]).inc();
        self.vecs.request_seconds.with_label_values(NONE).observe(seconds);
        self.vecs.up.with_label_values(NONE).set((outcome == RequestOutcome::Accepted).into());
    }
}

const NONE: &[&str] = &[];

#[cfg(test)]
mod tests {
    use crate::telemetry::metrics::Metrics;

    #[test]
    fn there_is_nothing_to_see_where_no_spans_are_sent() {
        let metrics = Metrics::new("test");
        let shown = || metrics.gather().iter().filter(|family| family.name().starts_with("rowmetry_spans_")).count();
        assert_eq!(shown(), 0);
        let delivery = metrics.delivery();
        delivery.queued(5, Some(1.0));
        let waiting = shown();
        delivery.queued(0, None);
        assert_eq!(shown(), waiting - 1, "nothing is oldest when nothing waits");
    }
}
