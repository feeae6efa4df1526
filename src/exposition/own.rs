//! Families of the `prometheus` crate, in which Rowmetry keeps its own metrics, in our form.
//!
//! Counters, gauges and histograms; nothing of ours is a summary or untyped, and those are left out.

use std::sync::Arc;

use prometheus::proto::{Metric, MetricFamily, MetricType};

use crate::family::{Family, Histogram, Kind, Labels, Series, Value};

/// Our form of gathered families, in their order. A gauge whose name ends in `_info` becomes an info family.
pub fn families(gathered: &[MetricFamily]) -> Vec<Arc<Family>> {
    gathered.iter().filter_map(family).map(Arc::new).collect()
}

fn family(gathered: &MetricFamily) -> Option<Family> {
    let kind = match gathered.get_field_type() {
        MetricType::COUNTER => Kind::Counter,
        MetricType::GAUGE if gathered.name().ends_with("_info") => Kind::Info,
        MetricType::GAUGE => Kind::Gauge,
        MetricType::HISTOGRAM => Kind::Histogram,
        MetricType::SUMMARY | MetricType::UNTYPED => return None,
    };
    let series = gathered.get_metric().iter().map(|metric| Series {
        labels: Labels::new(metric.get_label().iter().map(|label| (Arc::from(label.name()), label.value()))),
        value: value(kind, metric),
        start: None,
    });
    Some(Family { name: gathered.name().into(), help: gathered.help().into(), kind, series: series.collect() })
}

fn value(kind: Kind, metric: &Metric) -> Value {
    match kind {
        Kind::Counter => Value::Number(metric.get_counter().get_value()),
        Kind::Gauge | Kind::Info => Value::Number(metric.get_gauge().get_value()),
        Kind::Histogram => {
            let histogram = metric.get_histogram();
            let buckets = histogram.get_bucket().iter().map(|bucket| (bucket.upper_bound(), bucket.cumulative_count()));
            Value::Histogram(Arc::new(Histogram {
                count: histogram.get_sample_count(),
                sum: histogram.get_sample_sum(),
                buckets: buckets.filter(|(upper, _)| upper.is_finite()).collect(),
                native: None,
            }))
        }
    }
}
