//! Rowmetry's own metrics, `rowmetry_…` and `process_…`, kept by the `prometheus` crate.
//!
//! Everybody may count here; nobody may decide by what is counted. Label values are names that the operator or a pack
//! author chose, or come from a closed list: never from a row.

pub mod alerting;
pub mod collector;
pub mod delivery;
pub mod drain;
pub mod own_spans;
pub mod push;
pub mod source;
mod spans;
pub mod watched;

use std::sync::{Arc, OnceLock};

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{
    CounterVec, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry,
};

pub use alerting::AlertLimit;
use alerting::AlertingGauges;
pub use collector::CollectorMetrics;
use collector::CollectorVecs;
use delivery::DeliveryVecs;
pub use delivery::{DeliveryMetrics, GivenUp, RequestOutcome};
use drain::DrainVecs;
pub use drain::{DrainMetrics, LineFate, RequestFate};
pub use own_spans::{OwnSpans, SpanOutcome};
pub use push::PushMetrics;
pub use source::SourceMetrics;
use source::SourceVecs;
use watched::{WatchedFamily, Watcher};

/// Bounds of the time to write state, in seconds: an fsync on a good disk to a disk that hangs.
const STATE_WRITE_BUCKETS: [f64; 8] = [0.001, 0.0025, 0.01, 0.025, 0.1, 0.25, 1.0, 5.0];
/// Bounds of the time to answer a scrape, in seconds: from memory, so mostly well below a millisecond.
const SCRAPE_BUCKETS: [f64; 8] = [0.0001, 0.0005, 0.001, 0.005, 0.025, 0.1, 0.5, 2.5];

/// How a reload of the configuration ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReloadOutcome {
    /// The new configuration is in force.
    Ok,
    /// It had errors; the old one stays.
    Refused,
}

impl ReloadOutcome {
    /// Both, in the order in which they are exported.
    pub const ALL: [ReloadOutcome; 2] = [ReloadOutcome::Ok, ReloadOutcome::Refused];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            ReloadOutcome::Ok => "ok",
            ReloadOutcome::Refused => "refused",
        }
    }
}

/// Every self metric. Made once, shared in an [`Arc`].
pub struct Metrics {
    registry: Registry,
    watcher: Watcher,
    collectors: Arc<CollectorVecs>,
    sources: Arc<SourceVecs>,
    delivery: Arc<DeliveryVecs>,
    drains: Arc<DrainVecs>,
    source_up: IntGaugeVec,
    state_persistent: IntGauge,
    state_write_seconds: Histogram,
    state_write_failures: IntCounter,
    scrape_seconds: HistogramVec,
    scrape_bytes: IntGaugeVec,
    reloads: IntCounterVec,
    last_reload: GaugeVec,
    series_conflicts: IntCounter,
    family_conflicts: IntCounter,
    connections_refused: IntCounter,
    alerting: AlertingGauges,
    push: OnceLock<PushMetrics>,
}

impl Metrics {
    /// The formats of `rowmetry_scrape_…{format}`.
    pub const FORMATS: [&'static str; 3] = ["text", "openmetrics", "protobuf"];

    /// Makes all metrics in a registry of their own. `version` is the label of `rowmetry_build_info`.
    pub fn new(version: &str) -> Self {
        let (registry, watcher) = (Registry::new(), Watcher::default());
        #[cfg(target_os = "linux")]
        registry
            .register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))
            .expect("the process is registered once");
        let build = int_gauges(&registry, "rowmetry_build_info", "Constant 1; the version is a label.", &["version"]);
        build.with_label_values(&[version]).set(1);
        let metrics = Metrics {
            collectors: Arc::new(CollectorVecs::new(&watcher)),
            sources: Arc::new(SourceVecs::new(&watcher)),
            delivery: Arc::new(DeliveryVecs::new(&registry)),
            drains: Arc::new(DrainVecs::new(&watcher)),
            source_up: int_gauges(
                &registry,
                "rowmetry_source_up",
                "Whether the last connection to the source could be made and used.",
                &["source"],
            ),
            state_persistent: int_gauge(
                &registry,
                "rowmetry_state_persistent",
                "Whether counts survive a restart: 1 with a state directory, 0 in memory.",
            ),
            state_write_seconds: add(
                &registry,
                Histogram::with_opts(
                    HistogramOpts::new("rowmetry_state_write_seconds", "Time to make a read's result durable.")
                        .buckets(STATE_WRITE_BUCKETS.to_vec()),
                )
                .expect("the name and the buckets are valid"),
            ),
            state_write_failures: int_counter(
                &registry,
                "rowmetry_state_write_failures_total",
                "Results that could not be made durable, and so were not published.",
            ),
            scrape_seconds: add(
                &registry,
                HistogramVec::new(
                    HistogramOpts::new("rowmetry_scrape_seconds", "Time to prepare the reply to a scrape.")
                        .buckets(SCRAPE_BUCKETS.to_vec()),
                    &["format"],
                )
                .expect("the name and the buckets are valid"),
            ),
            scrape_bytes: int_gauges(
                &registry,
                "rowmetry_scrape_bytes",
                "Size of the last reply to a scrape, before compression.",
                &["format"],
            ),
            reloads: int_counters(
                &registry,
                "rowmetry_config_reloads_total",
                "Times that the configuration was read again.",
                &["outcome"],
            ),
            last_reload: gauges(
                &registry,
                "rowmetry_config_last_reload_success_timestamp_seconds",
                "When the configuration in force was read.",
                &[],
            ),
            series_conflicts: int_counter(
                &registry,
                "rowmetry_series_conflicts_total",
                "Series left out of a publication because another collector publishes the same label set.",
            ),
            family_conflicts: int_counter(
                &registry,
                "rowmetry_family_conflicts_total",
                "Families left out of a publication because the name is taken by a family of another type.",
            ),
            connections_refused: int_counter(
                &registry,
                "rowmetry_http_connections_refused_total",
                "Connections refused because as many as allowed were open.",
            ),
            alerting: AlertingGauges::new(&registry),
            push: OnceLock::new(),
            registry,
            watcher,
        };
        for format in Metrics::FORMATS {
            metrics.scrape_seconds.with_label_values(&[format]);
            metrics.scrape_bytes.with_label_values(&[format]);
        }
        for outcome in ReloadOutcome::ALL {
            metrics.reloads.with_label_values(&[outcome.as_str()]);
        }
        metrics
    }

    /// All of them, by name.
    pub fn gather(&self) -> Vec<MetricFamily> {
        let watched = self.watched();
        let mut all: Vec<_> =
            self.gather_few().into_iter().chain(watched.iter().flat_map(WatchedFamily::gather)).collect();
        all.sort_by(|a, b| a.name().cmp(b.name()));
        all
    }

    /// Those that have a series for each collector or source, which may be thousands.
    pub fn watched(&self) -> Vec<WatchedFamily> {
        self.watcher.families()
    }

    /// All the others: few, and different at each look.
    pub fn gather_few(&self) -> Vec<MetricFamily> {
        self.registry.gather()
    }

    /// The metrics of one collector; their closed label sets exist at 0 from here on. Make it once a collector.
    pub fn collector(&self, source: &str, pack: &str, collector: &str) -> CollectorMetrics {
        CollectorMetrics::new(self.collectors.clone(), source, pack, collector)
    }

    /// What is spent on one source; its series exist from here on.
    pub fn source(&self, source: &str) -> SourceMetrics {
        SourceMetrics::new(self.sources.clone(), source)
    }

    /// What comes from one drain; its closed series exist from here on. Requests are told of only where it is posted to.
    pub fn drain(&self, source: &str, is_posted: bool) -> DrainMetrics {
        DrainMetrics::new(self.drains.clone(), source, is_posted)
    }

    /// What becomes of spans on their way to the receiver; its series exist from here on.
    pub fn delivery(&self) -> DeliveryMetrics {
        DeliveryMetrics::new(self.delivery.clone())
    }

    /// What is said of metrics that are pushed; its series exist from here on.
    pub fn push(&self) -> &PushMetrics {
        self.push.get_or_init(|| PushMetrics::new(&self.registry))
    }

    /// Says whether a source can be reached.
    pub fn source_up(&self, source: &str, up: bool) {
        self.source_up.with_label_values(&[source]).set(up.into());
    }

    /// Forgets a source that a reload dropped.
    pub fn remove_source(&self, source: &str) {
        // A source that never was tried has no series; then there is nothing to forget.
        let _ = self.source_up.remove_label_values(&[source]);
        self.source(source).remove();
    }

    /// Says whether counts survive a restart.
    pub fn state_persistent(&self, persistent: bool) {
        self.state_persistent.set(persistent.into());
    }

    /// A result became durable, in so many seconds.
    pub fn state_written(&self, seconds: f64) {
        self.state_write_seconds.observe(seconds);
    }

    /// A result could not be made durable.
    pub fn state_write_failed(&self) {
        self.state_write_failures.inc();
    }

    /// A scrape was prepared in so many seconds; `format` is one of [`Metrics::FORMATS`].
    pub fn scraped(&self, format: &str, seconds: f64, bytes: usize) {
        self.scrape_seconds.with_label_values(&[format]).observe(seconds);
        self.scrape_bytes.with_label_values(&[format]).set(bytes.try_into().unwrap_or(i64::MAX));
    }

    /// The configuration was put in force at start, `now` in seconds since 1970.
    pub fn configured(&self, now: f64) {
        self.last_reload.with_label_values::<&str>(&[]).set(now);
    }

    /// The configuration was read again, `now` in seconds since 1970.
    pub fn reloaded(&self, outcome: ReloadOutcome, now: f64) {
        self.reloads.with_label_values(&[outcome.as_str()]).inc();
        if outcome == ReloadOutcome::Ok {
            self.configured(now);
        }
    }

    /// What alert rules are told was put in force: where links lead, and each limit as its gauge shows it.
    pub fn alerting(&self, dashboards: &str, runbooks: &str, limit: impl Fn(AlertLimit) -> f64) {
        self.alerting.configured(dashboards, runbooks, limit);
    }

    /// Series were left out of a publication because another collector publishes the same label sets.
    pub fn series_conflicted(&self, n: u64) {
        self.series_conflicts.inc_by(n);
    }

    /// Families were left out of a publication because the name is taken by a family of another type.
    pub fn families_conflicted(&self, n: u64) {
        self.family_conflicts.inc_by(n);
    }

    /// A connection was refused because as many as allowed were open.
    pub fn connection_refused(&self) {
        self.connections_refused.inc();
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

fn add<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> C {
    registry.register(Box::new(collector.clone())).expect("every self metric has a name of its own");
    collector
}

fn int_counter(registry: &Registry, name: &str, help: &str) -> IntCounter {
    add(registry, IntCounter::new(name, help).expect("the name is valid"))
}

fn int_gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    add(registry, IntGauge::new(name, help).expect("the name is valid"))
}

fn int_counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    add(registry, IntCounterVec::new(Opts::new(name, help), labels).expect("name and labels are valid"))
}

fn int_gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    add(registry, IntGaugeVec::new(Opts::new(name, help), labels).expect("name and labels are valid"))
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> CounterVec {
    add(registry, CounterVec::new(Opts::new(name, help), labels).expect("name and labels are valid"))
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
    add(registry, GaugeVec::new(Opts::new(name, help), labels).expect("name and labels are valid"))
}
