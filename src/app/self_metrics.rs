//! The page of the manual about Rowmetry's own metrics, made from the metrics themselves.

use std::collections::BTreeMap;

use crate::exposition::own;
use crate::reference;
use crate::telemetry::metrics::{Metrics, OwnSpans, RequestOutcome};

/// Every metric about Rowmetry itself, as Markdown. Each is touched once, so that it has a series to show its labels.
pub fn self_metrics() -> String {
    let metrics = Metrics::new(super::VERSION);
    metrics.configured(0.0);
    metrics.alerting("url", "url", |_| 0.0);
    metrics.source_up("source", true);
    metrics.source("source").limited(Some(0), None);
    metrics.scraped("text", 0.0, 0);
    metrics.push().pushed(0.0);
    metrics.push().succeeded(0.0);
    let delivery = metrics.delivery();
    delivery.limited(0);
    delivery.queued(0, Some(0.0));
    delivery.requested(RequestOutcome::Accepted, 0.0);
    let collector = metrics.collector("source", "pack", "collector");
    collector.succeeded(0.0, 0, 0.0);
    collector.interval(0.0);
    collector.horizon_lag(0.0);
    collector.look_back(0.0);
    collector.behind(0.0);
    collector.seen_keys(0);
    collector.settled_only(false);
    collector.indexed(true);
    collector.audited(0, 0, 0, 0.0);
    collector.series("metric", 0);
    collector.scanned(0, 0, 0.0, false);
    collector.spans(0, &BTreeMap::new());
    let drain = metrics.drain("source", true);
    drain.last_line(0.0);
    drain.rows_since_last_line(0);
    metrics.own_spans(&OwnSpans::new());
    reference::self_metrics(&own::families(&metrics.gather()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_committed_page_is_not_stale() {
        let committed = include_str!("../../docs/self-metrics.md");
        assert!(super::self_metrics() == committed, "docs/self-metrics.md is stale: make docs");
    }
}
