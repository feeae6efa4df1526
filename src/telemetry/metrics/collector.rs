//! The self metrics of one collector, behind one handle.
//!
//! What is not known yet has no series: absent is not zero. Counters with a closed list of reasons all start at 0.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::{MetricVec, MetricVecBuilder};
use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec};

use super::spans::SpanVecs;
use super::watched::{Watched, Watcher};
use crate::telemetry::{Ignored, Reason, Replaced, SpanSkipped, State};

const ID: [&str; 3] = ["source", "pack", "collector"];
const ID_AND_REASON: [&str; 4] = ["source", "pack", "collector", "reason"];
const ID_AND_STATE: [&str; 4] = ["source", "pack", "collector", "state"];
const ID_AND_METRIC: [&str; 4] = ["source", "pack", "collector", "metric"];

/// The families that have a series a collector.
pub(super) struct CollectorVecs {
    /// The metrics that have series here, by collector, so that whoever removes a collector removes theirs too.
    shown: Mutex<BTreeMap<[String; 3], BTreeSet<String>>>,
    up: Watched<IntGaugeVec>,
    state: Watched<IntGaugeVec>,
    duration: Watched<GaugeVec>,
    runs: Watched<IntCounterVec>,
    failures: Watched<IntCounterVec>,
    last_success: Watched<GaugeVec>,
    interval: Watched<GaugeVec>,
    rows: Watched<IntCounterVec>,
    ignored: Watched<IntCounterVec>,
    horizon_lag: Watched<GaugeVec>,
    look_back: Watched<GaugeVec>,
    behind: Watched<GaugeVec>,
    seen_keys: Watched<IntGaugeVec>,
    seen_keys_dropped: Watched<IntCounterVec>,
    settled_only: Watched<IntGaugeVec>,
    indexed: Watched<IntGaugeVec>,
    epochs: Watched<IntCounterVec>,
    audit_missing: Watched<IntGaugeVec>,
    audit_extra: Watched<IntGaugeVec>,
    audit_deleted: Watched<IntGaugeVec>,
    audit_last: Watched<GaugeVec>,
    series: Watched<IntGaugeVec>,
    overflow: Watched<IntCounterVec>,
    replaced: Watched<IntCounterVec>,
    scan_commands: Watched<IntCounterVec>,
    scan_keys: Watched<IntGaugeVec>,
    scan_seconds: Watched<GaugeVec>,
    scan_truncated: Watched<IntGaugeVec>,
    spans: SpanVecs,
}

impl CollectorVecs {
    pub(super) fn new(watcher: &Watcher) -> Self {
        let gauge = |name, help| watcher.gauges(name, help, &ID);
        let whole = |name, help| watcher.int_gauges(name, help, &ID);
        let counter = |name, help| watcher.int_counters(name, help, &ID);
        CollectorVecs {
            shown: Mutex::default(),
            up: whole("rowmetry_collector_up", "Whether the collector's last run succeeded."),
            state: watcher.int_gauges(
                "rowmetry_collector_state",
                "What the collector's last run came to: 1 for the state it is in, 0 for the others.",
                &ID_AND_STATE,
            ),
            duration: gauge("rowmetry_collector_duration_seconds", "How long the last run took."),
            runs: counter("rowmetry_collector_runs_total", "Runs that ended, whatever came of them."),
            failures: watcher.int_counters(
                "rowmetry_collector_failures_total",
                "Runs that failed, by reason.",
                &ID_AND_REASON,
            ),
            last_success: gauge(
                "rowmetry_collector_last_success_timestamp_seconds",
                "When the last successful run ended; absent before the first.",
            ),
            interval: gauge(
                "rowmetry_collector_interval_seconds",
                "Time between two runs now; longer than configured where the database's share of time, a budget or a quiet application says so.",
            ),
            rows: counter("rowmetry_collector_rows_total", "New rows that were counted."),
            ignored: watcher.int_counters(
                "rowmetry_rows_ignored_total",
                "Rows that were read and not counted, by reason.",
                &ID_AND_REASON,
            ),
            horizon_lag: gauge(
                "rowmetry_collector_horizon_lag_seconds",
                "Age of the moment before which everything is settled; grows while a transaction stays open.",
            ),
            look_back: gauge(
                "rowmetry_collector_look_back_seconds",
                "How far back the last read looked for late rows.",
            ),
            behind: gauge(
                "rowmetry_collector_behind_seconds",
                "Age of the newest row read while more rows wait; 0 when none waits.",
            ),
            seen_keys: whole("rowmetry_collector_seen_keys", "Keys of counted rows that are remembered."),
            seen_keys_dropped: counter(
                "rowmetry_seen_keys_dropped_total",
                "Keys forgotten to keep to the bound; such rows could count again when they are written again.",
            ),
            settled_only: whole(
                "rowmetry_collector_settled_only",
                "Whether only settled rows are read (1), because too many keys would have to be remembered.",
            ),
            indexed: whole("rowmetry_collector_indexed", "Whether an index serves the read."),
            epochs: counter(
                "rowmetry_collector_epochs_total",
                "Times that the database turned out to be another or a restored one and counting began anew.",
            ),
            audit_missing: whole("rowmetry_audit_missing_rows", "Rows in the table that were not counted, by recount."),
            audit_extra: whole("rowmetry_audit_extra_rows", "Rows counted that a recount could not explain."),
            audit_deleted: whole("rowmetry_audit_deleted_rows", "Rows counted and since deleted from the table."),
            audit_last: gauge("rowmetry_audit_last_timestamp_seconds", "When the last recount ended."),
            series: watcher.int_gauges("rowmetry_metric_series", "Series of a metric.", &ID_AND_METRIC),
            overflow: watcher.int_counters(
                "rowmetry_series_overflow_total",
                "Rows or label sets that went to the overflow series because the metric had all it may have.",
                &ID_AND_METRIC,
            ),
            replaced: watcher.int_counters(
                "rowmetry_labels_replaced_total",
                "Values of labels, and in names and attributes of spans, replaced because they looked like personal data, or were too long.",
                &ID_AND_REASON,
            ),
            scan_commands: counter("rowmetry_scan_commands_total", "Commands that finished scans of keys took."),
            scan_keys: whole("rowmetry_scan_keys", "Different keys of the pack's families that the last scan found."),
            scan_seconds: gauge(
                "rowmetry_scan_seconds",
                "How long the last scan took from its first command to its last.",
            ),
            scan_truncated: whole(
                "rowmetry_scan_truncated",
                "Whether the last scan met more keys than are remembered, so that its counts were not published.",
            ),
            spans: SpanVecs::new(watcher),
        }
    }
}

/// The self metrics of one collector. Clones share everything.
#[derive(Clone)]
pub struct CollectorMetrics {
    vecs: Arc<CollectorVecs>,
    id: Arc<[String; 3]>,
}

impl CollectorMetrics {
    pub(super) fn new(vecs: Arc<CollectorVecs>, source: &str, pack: &str, collector: &str) -> Self {
        let handle = CollectorMetrics { vecs, id: Arc::new([source.into(), pack.into(), collector.into()]) };
        let id = handle.id();
        for vec in [&handle.vecs.runs, &handle.vecs.rows, &handle.vecs.seen_keys_dropped, &handle.vecs.epochs] {
            vec.change().with_label_values(&id);
        }
        for state in State::ALL {
            handle.vecs.state.change().with_label_values(&handle.id_and(state.as_str()));
        }
        for reason in Reason::ALL {
            handle.vecs.failures.change().with_label_values(&handle.id_and(reason.as_str()));
        }
        for reason in Ignored::ALL {
            handle.vecs.ignored.change().with_label_values(&handle.id_and(reason.as_str()));
        }
        for reason in Replaced::ALL {
            handle.vecs.replaced.change().with_label_values(&handle.id_and(reason.as_str()));
        }
        handle
    }

    /// A run succeeded: how long it took, how many new rows it counted, and the time now in seconds since 1970.
    pub fn succeeded(&self, duration: f64, rows_new: u64, now: f64) {
        let id = self.id();
        self.ended(State::Ok, duration);
        self.vecs.rows.change().with_label_values(&id).inc_by(rows_new);
        self.vecs.last_success.change().with_label_values(&id).set(now);
    }

    /// A run failed, after so many seconds.
    pub fn failed(&self, reason: Reason, duration: f64) {
        self.ended(reason.state(), duration);
        self.vecs.failures.change().with_label_values(&self.id_and(reason.as_str())).inc();
    }

    /// Rows were read and not counted.
    pub fn ignored(&self, reason: Ignored, rows: u64) {
        if rows == 0 {
            return;
        }
        self.vecs.ignored.change().with_label_values(&self.id_and(reason.as_str())).inc_by(rows);
    }

    /// Label values were replaced.
    pub fn replaced(&self, reason: Replaced, values: u64) {
        if values == 0 {
            return;
        }
        self.vecs.replaced.change().with_label_values(&self.id_and(reason.as_str())).inc_by(values);
    }

    /// Time between two runs now, in seconds.
    pub fn interval(&self, seconds: f64) {
        self.vecs.interval.change().with_label_values(&self.id()).set(seconds);
    }

    /// Age of the settled horizon, in seconds.
    pub fn horizon_lag(&self, seconds: f64) {
        self.vecs.horizon_lag.change().with_label_values(&self.id()).set(seconds);
    }

    /// How far back the last read looked, in seconds.
    pub fn look_back(&self, seconds: f64) {
        self.vecs.look_back.change().with_label_values(&self.id()).set(seconds);
    }

    /// Age of the newest row read while more wait, in seconds; 0 when none waits.
    pub fn behind(&self, seconds: f64) {
        self.vecs.behind.change().with_label_values(&self.id()).set(seconds);
    }

    /// A scan of keys ended.
    pub fn scanned(&self, commands: u64, keys: u64, seconds: f64, truncated: bool) {
        let id = self.id();
        self.vecs.scan_commands.change().with_label_values(&id).inc_by(commands);
        self.vecs.scan_keys.change().with_label_values(&id).set(i64::try_from(keys).unwrap_or(i64::MAX));
        self.vecs.scan_seconds.change().with_label_values(&id).set(seconds);
        self.vecs.scan_truncated.change().with_label_values(&id).set(truncated.into());
    }

    /// Spans were made of rows, and others not, by reason. A collector that makes none never calls it.
    pub fn spans(&self, made: u64, skipped: &BTreeMap<SpanSkipped, u64>) {
        self.vecs.spans.add(&self.id(), made, skipped);
    }

    /// How many keys are remembered.
    pub fn seen_keys(&self, keys: usize) {
        self.vecs.seen_keys.change().with_label_values(&self.id()).set(whole(keys));
    }

    /// Keys were forgotten to keep to the bound.
    pub fn seen_keys_dropped(&self, keys: u64) {
        if keys == 0 {
            return;
        }
        self.vecs.seen_keys_dropped.change().with_label_values(&self.id()).inc_by(keys);
    }

    /// Whether only settled rows are read.
    pub fn settled_only(&self, only: bool) {
        self.vecs.settled_only.change().with_label_values(&self.id()).set(only.into());
    }

    /// Whether an index serves the read.
    pub fn indexed(&self, indexed: bool) {
        self.vecs.indexed.change().with_label_values(&self.id()).set(indexed.into());
    }

    /// Counting began anew: the database is another or a restored one.
    pub fn epoch_began(&self) {
        self.vecs.epochs.change().with_label_values(&self.id()).inc();
    }

    /// A recount ended, `now` in seconds since 1970.
    pub fn audited(&self, missing: u64, extra: u64, deleted: u64, now: f64) {
        let id = self.id();
        for (vec, rows) in
            [(&self.vecs.audit_missing, missing), (&self.vecs.audit_extra, extra), (&self.vecs.audit_deleted, deleted)]
        {
            vec.change().with_label_values(&id).set(whole(rows));
        }
        self.vecs.audit_last.change().with_label_values(&id).set(now);
    }

    /// How many series a metric has. Its overflow counter exists at 0 from here on.
    pub fn series(&self, metric: &str, series: usize) {
        let (labels, series) = (self.id_and(metric), whole(series));
        if self.remember(metric) {
            self.vecs.overflow.change().with_label_values(&labels);
        } else if self.vecs.series.look().with_label_values(&labels).get() == series {
            return;
        }
        self.vecs.series.change().with_label_values(&labels).set(series);
    }

    /// Rows or label sets of a metric went to the overflow series.
    pub fn overflowed(&self, metric: &str, n: u64) {
        if self.remember(metric) || n > 0 {
            self.vecs.overflow.change().with_label_values(&self.id_and(metric)).inc_by(n);
        }
    }

    /// Takes every series of the collector away: a reload dropped it.
    pub fn remove(&self) {
        let vecs = &*self.vecs;
        let id = self.id();
        for vec in [
            &vecs.up,
            &vecs.seen_keys,
            &vecs.settled_only,
            &vecs.indexed,
            &vecs.audit_missing,
            &vecs.audit_extra,
            &vecs.audit_deleted,
            &vecs.scan_keys,
            &vecs.scan_truncated,
        ] {
            forget(vec, &id);
        }
        for vec in [
            &vecs.duration,
            &vecs.last_success,
            &vecs.interval,
            &vecs.horizon_lag,
            &vecs.look_back,
            &vecs.behind,
            &vecs.audit_last,
            &vecs.scan_seconds,
        ] {
            forget(vec, &id);
        }
        for vec in [&vecs.runs, &vecs.rows, &vecs.seen_keys_dropped, &vecs.epochs, &vecs.scan_commands] {
            forget(vec, &id);
        }
        State::ALL.iter().for_each(|state| forget(&vecs.state, &self.id_and(state.as_str())));
        Reason::ALL.iter().for_each(|reason| forget(&vecs.failures, &self.id_and(reason.as_str())));
        Ignored::ALL.iter().for_each(|reason| forget(&vecs.ignored, &self.id_and(reason.as_str())));
        Replaced::ALL.iter().for_each(|reason| forget(&vecs.replaced, &self.id_and(reason.as_str())));
        vecs.spans.forget(&id);
        let metrics = vecs.shown.lock().unwrap_or_else(PoisonError::into_inner).remove(&*self.id);
        for metric in metrics.iter().flatten() {
            forget(&vecs.series, &self.id_and(metric));
            forget(&vecs.overflow, &self.id_and(metric));
        }
    }

    fn ended(&self, now: State, duration: f64) {
        let id = self.id();
        self.vecs.up.change().with_label_values(&id).set((now == State::Ok).into());
        for state in State::ALL {
            // They are there since the handle was made, and mostly stay as they are.
            let (labels, on) = (self.id_and(state.as_str()), (state == now).into());
            if self.vecs.state.look().with_label_values(&labels).get() != on {
                self.vecs.state.change().with_label_values(&labels).set(on);
            }
        }
        self.vecs.duration.change().with_label_values(&id).set(duration);
        self.vecs.runs.change().with_label_values(&id).inc();
    }

    /// Whether the metric is new here.
    fn remember(&self, metric: &str) -> bool {
        let mut shown = self.vecs.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = shown.get(&*self.id).is_some_and(|metrics| metrics.contains(metric));
        !is_known && shown.entry((*self.id).clone()).or_default().insert(metric.into())
    }

    fn id(&self) -> [&str; 3] {
        [&self.id[0], &self.id[1], &self.id[2]]
    }

    fn id_and<'a>(&'a self, last: &'a str) -> [&'a str; 4] {
        [&self.id[0], &self.id[1], &self.id[2], last]
    }
}

impl std::fmt::Debug for CollectorMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CollectorMetrics({})", self.id.join("/"))
    }
}

fn whole(n: impl TryInto<i64>) -> i64 {
    n.try_into().unwrap_or(i64::MAX)
}

pub(super) fn forget<T: MetricVecBuilder>(vec: &Watched<MetricVec<T>>, labels: &[&str]) {
    // What has no series yet has nothing to forget.
    let _ = vec.change().remove_label_values(labels);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::telemetry::{Ignored, Metrics, Reason, SpanSkipped};

    /// Every series of one collector as `name{last label} value`.
    fn lines(metrics: &Metrics) -> Vec<String> {
        let text = prometheus::TextEncoder::new().encode_to_string(&metrics.gather()).expect("encodes");
        text.lines().filter(|line| !line.starts_with('#') && line.contains("collector=")).map(String::from).collect()
    }

    fn value(metrics: &Metrics, name: &str, part: &str) -> Option<String> {
        let lines = lines(metrics);
        let line = lines.iter().find(|line| line.starts_with(&format!("{name}{{")) && line.contains(part))?;
        line.rsplit(' ').next().map(String::from)
    }

    #[test]
    fn a_run_flips_the_state_and_nothing_else_keeps_it() {
        let metrics = Metrics::new("1.2.3");
        let handle = metrics.collector("main", "app", "orders");
        assert_eq!(value(&metrics, "rowmetry_collector_up", ""), None, "not known before the first run");
        assert_eq!(value(&metrics, "rowmetry_collector_state", "state=\"ok\"").as_deref(), Some("0"));
        assert_eq!(value(&metrics, "rowmetry_rows_ignored_total", "key_missing").as_deref(), Some("0"));

        handle.succeeded(0.5, 7, 1000.0);
        assert_eq!(value(&metrics, "rowmetry_collector_state", "state=\"ok\"").as_deref(), Some("1"));
        handle.failed(Reason::LockTimeout, 1.5);
        handle.ignored(Ignored::Negative, 3);
        let states: Vec<String> = lines(&metrics)
            .into_iter()
            .filter(|l| l.starts_with("rowmetry_collector_state") && l.ends_with(" 1"))
            .collect();
        assert_eq!(states.len(), 1, "{states:?}");
        assert!(states[0].contains("state=\"timeout\""), "{states:?}");
        for (name, part, expected) in [
            ("rowmetry_collector_up", "", "0"),
            ("rowmetry_collector_runs_total", "", "2"),
            ("rowmetry_collector_rows_total", "", "7"),
            ("rowmetry_collector_duration_seconds", "", "1.5"),
            ("rowmetry_collector_last_success_timestamp_seconds", "", "1000"),
            ("rowmetry_collector_failures_total", "lock_timeout", "1"),
            ("rowmetry_collector_failures_total", "reason=\"timeout\"", "0"),
            ("rowmetry_rows_ignored_total", "negative", "3"),
        ] {
            assert_eq!(value(&metrics, name, part).as_deref(), Some(expected), "{name}{{{part}}}");
        }
    }

    #[test]
    fn a_removed_collector_leaves_no_series_and_its_neighbour_stays() {
        let metrics = Metrics::new("1.2.3");
        let handle = metrics.collector("main", "app", "orders");
        let neighbour = metrics.collector("main", "app", "users");
        handle.succeeded(0.5, 7, 1000.0);
        handle.interval(60.0);
        handle.horizon_lag(1.0);
        handle.look_back(1.0);
        handle.behind(0.0);
        handle.seen_keys(1);
        handle.settled_only(false);
        handle.indexed(true);
        handle.audited(0, 0, 0, 1000.0);
        handle.series("app_orders_total", 3);
        handle.overflowed("app_other_total", 3);
        handle.spans(3, &BTreeMap::from([(SpanSkipped::BadTime, 2)]));
        assert!(lines(&metrics).iter().any(|line| line.contains("app_other_total")));
        // Whoever removes it has not its handle.
        metrics.collector("main", "app", "orders").remove();
        let left: Vec<String> = lines(&metrics).into_iter().filter(|line| line.contains("orders")).collect();
        assert_eq!(left, Vec::<String>::new());
        neighbour.succeeded(0.1, 1, 1.0);
        assert_eq!(value(&metrics, "rowmetry_collector_up", "users").as_deref(), Some("1"));
    }
}
