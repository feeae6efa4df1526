//! The self metrics of spans that one collector makes of its rows.
//!
//! They have series for collectors that make spans alone: where none are to be made, absent is the truth. The counters of all
//! reasons start at 0 then.

use std::collections::BTreeMap;

use prometheus::IntCounterVec;

use super::collector::forget;
use super::watched::{Watched, Watcher};
use crate::telemetry::SpanSkipped;

pub(super) struct SpanVecs {
    made: Watched<IntCounterVec>,
    skipped: Watched<IntCounterVec>,
}

impl SpanVecs {
    pub(super) fn new(watcher: &Watcher) -> Self {
        SpanVecs {
            made: watcher.int_counters(
                "rowmetry_spans_made_total",
                "Spans made of rows and queued to be sent.",
                &["source", "pack", "collector"],
            ),
            skipped: watcher.int_counters(
                "rowmetry_spans_skipped_total",
                "Spans that rows which were counted did not make, by reason.",
                &["source", "pack", "collector", "reason"],
            ),
        }
    }

    pub(super) fn add(&self, id: &[&str; 3], made: u64, skipped: &BTreeMap<SpanSkipped, u64>) {
        let [source, pack, collector] = *id;
        self.made.change().with_label_values(id).inc_by(made);
        for reason in SpanSkipped::ALL {
            let spans = skipped.get(&reason).copied().unwrap_or_default();
            self.skipped.change().with_label_values(&[source, pack, collector, reason.as_str()]).inc_by(spans);
        }
    }

    pub(super) fn forget(&self, id: &[&str; 3]) {
        let [source, pack, collector] = *id;
        forget(&self.made, id);
        for reason in SpanSkipped::ALL {
            forget(&self.skipped, &[source, pack, collector, reason.as_str()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;

    #[test]
    fn only_collectors_that_make_spans_have_series() {
        let metrics = Metrics::new("1.2.3");
        let handle = metrics.collector("main", "app", "orders");
        let lines = || {
            let text = prometheus::TextEncoder::new().encode_to_string(&metrics.gather()).expect("encodes");
            text.lines().filter(|line| line.starts_with("rowmetry_spans_")).map(String::from).collect::<Vec<_>>()
        };
        assert_eq!(lines(), Vec::<String>::new());
        handle.spans(7, &BTreeMap::from([(SpanSkipped::BadTime, 2)]));
        handle.spans(1, &BTreeMap::new());
        let of = |name: &str, reason: &str, value: u64| {
            format!("{name}{{collector=\"orders\",pack=\"app\"{reason},source=\"main\"}} {value}")
        };
        let skipped = |reason, value| of("rowmetry_spans_skipped_total", &format!(",reason=\"{reason}\""), value);
        let expected = [
            of("rowmetry_spans_made_total", "", 8),
            skipped("bad_time", 2),
            skipped("columns_unread", 0),
            skipped("ends_before_start", 0),
            skipped("queue_full", 0),
            skipped("time_missing", 0),
            skipped("trace_missing", 0),
        ];
        assert_eq!(lines(), expected);
        handle.remove();
        assert_eq!(lines(), Vec::<String>::new());
    }
}
