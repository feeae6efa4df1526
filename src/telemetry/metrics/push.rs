//! Metrics of the metrics that are pushed by OTLP. There is no series of them unless something is pushed.
//!
//! Counting only; what is sent again is decided elsewhere.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, Registry};

use super::{add, gauges, int_counter, int_counters};

/// Bounds of the time that a push takes, in seconds: a receiver next door to an interval full of repetitions.
const PUSH_BUCKETS: [f64; 8] = [0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0];

/// What became of data points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PointOutcome {
    /// The receiver has them.
    Accepted,
    /// The receiver will never take them.
    Rejected,
    /// They could not be sent in their interval; the next push has newer values.
    Dropped,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestOutcome {
    /// The receiver took it.
    Accepted,
    /// The receiver took a part of it.
    Partial,
    /// Not now.
    Later,
    /// It was too large and was halved.
    TooLarge,
    /// The receiver will never take it.
    Refused,
    /// The receiver takes nothing from us as we are configured.
    Misconfigured,
}

impl PointOutcome {
    /// Every outcome, in the order in which they are exported.
    pub const ALL: [PointOutcome; 3] = [PointOutcome::Accepted, PointOutcome::Rejected, PointOutcome::Dropped];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            PointOutcome::Accepted => "accepted",
            PointOutcome::Rejected => "rejected",
            PointOutcome::Dropped => "dropped",
        }
    }
}

impl RequestOutcome {
    /// Every outcome, in the order in which they are exported.
    pub const ALL: [RequestOutcome; 6] = [
        RequestOutcome::Accepted,
        RequestOutcome::Partial,
        RequestOutcome::Later,
        RequestOutcome::TooLarge,
        RequestOutcome::Refused,
        RequestOutcome::Misconfigured,
    ];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            RequestOutcome::Accepted => "accepted",
            RequestOutcome::Partial => "partial",
            RequestOutcome::Later => "later",
            RequestOutcome::TooLarge => "too_large",
            RequestOutcome::Refused => "refused",
            RequestOutcome::Misconfigured => "misconfigured",
        }
    }
}

/// What is said of pushes. Made when something is pushed; its closed label sets exist at 0 from then on.
#[derive(Clone)]
pub struct PushMetrics {
    points: IntCounterVec,
    requests: IntCounterVec,
    seconds: Histogram,
    resets: IntCounter,
    last_success: prometheus::GaugeVec,
}

impl PushMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let metrics = PushMetrics {
            points: int_counters(
                registry,
                "rowmetry_otlp_push_points_total",
                "Data points pushed by OTLP: accepted, rejected for good, or dropped for newer values in the next push.",
                &["outcome"],
            ),
            requests: int_counters(
                registry,
                "rowmetry_otlp_push_requests_total",
                "Requests that pushed metrics by OTLP.",
                &["outcome"],
            ),
            seconds: add(
                registry,
                Histogram::with_opts(
                    HistogramOpts::new("rowmetry_otlp_push_seconds", "Time that a push took, with what it sent again.")
                        .buckets(PUSH_BUCKETS.to_vec()),
                )
                .expect("the name and the buckets are valid"),
            ),
            resets: int_counter(
                registry,
                "rowmetry_otlp_push_resets_total",
                "Series that went down though their start stayed, and so were pushed as new; it never happens.",
            ),
            last_success: gauges(
                registry,
                "rowmetry_otlp_push_last_success_timestamp_seconds",
                "When the receiver last took a whole push; absent before.",
                &[],
            ),
        };
        for outcome in PointOutcome::ALL {
            metrics.points(outcome, 0);
        }
        for outcome in RequestOutcome::ALL {
            metrics.requests.with_label_values(&[outcome.as_str()]);
        }
        metrics
    }

    /// So many data points came to this.
    pub fn points(&self, outcome: PointOutcome, points: u64) {
        self.points.with_label_values(&[outcome.as_str()]).inc_by(points);
    }

    /// A request came to this.
    pub fn request(&self, outcome: RequestOutcome) {
        self.requests.with_label_values(&[outcome.as_str()]).inc();
    }

    /// So many series went down though their start stayed.
    pub fn resets(&self, series: u64) {
        self.resets.inc_by(series);
    }

    /// A push ended after so many seconds.
    pub fn pushed(&self, seconds: f64) {
        self.seconds.observe(seconds);
    }

    /// The receiver took a whole push, `now` in seconds since 1970.
    pub fn succeeded(&self, now: f64) {
        self.last_success.with_label_values::<&str>(&[]).set(now);
    }
}

impl std::fmt::Debug for PushMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PushMetrics")
    }
}

#[cfg(test)]
mod tests {
    use crate::telemetry::metrics::Metrics;

    #[test]
    fn nothing_is_said_of_pushes_until_something_is_pushed() {
        let metrics = Metrics::new("test");
        let names = || {
            let gathered = metrics.gather();
            let names = gathered.iter().map(|family| family.name().to_owned());
            names.filter(|name| name.starts_with("rowmetry_otlp_push_")).collect::<Vec<_>>()
        };
        assert_eq!(names(), Vec::<String>::new());
        metrics.push().succeeded(1.0);
        metrics.push().pushed(1.0);
        assert_eq!(names().len(), 5, "{:?}", names());
    }
}
