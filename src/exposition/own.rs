//! Families of the `prometheus` crate, in which Rowmetry keeps its own metrics, in our form, and as bodies.
//!
//! A body is kept until its family changes: with many collectors there are thousands of series, and few differ from scrape to
//! scrape. Counters, gauges and histograms; nothing of ours is a summary or untyped, and those are left out.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use prometheus::proto::{Metric, MetricFamily, MetricType};

use super::Format;
use super::packed::{Packed, pack};
use crate::family::{Family, Histogram, Kind, Labels, Series, Value};
use crate::telemetry::Metrics;
use crate::telemetry::metrics::watched::WatchedFamily;

/// The bodies of our own metrics.
#[derive(Default)]
pub struct OwnBodies {
    kept: [Mutex<Vec<Kept>>; Format::ALL.len()],
}

/// What one family came to.
#[derive(Default)]
struct Kept {
    /// The family's count of changes that it shows; none before the first time.
    changes: Option<u64>,
    plain: Bytes,
    packed: Option<Arc<Packed>>,
}

/// Our own metrics in parts. The end of the format is in the last.
#[derive(Debug)]
pub struct OwnParts<T> {
    /// The parts.
    pub parts: Vec<T>,
    /// How many bytes they are when they are not packed.
    pub length: usize,
}

impl OwnBodies {
    /// Our own metrics as they are now.
    pub fn plain(&self, metrics: &Metrics, format: Format) -> OwnParts<Bytes> {
        self.now(metrics, format, |kept| kept.plain.clone(), Bytes::from)
    }

    /// The same, packed.
    pub fn packed(&self, metrics: &Metrics, format: Format) -> OwnParts<Arc<Packed>> {
        self.now(metrics, format, Kept::packed, |few| pack(&few))
    }

    fn now<T>(
        &self,
        metrics: &Metrics,
        format: Format,
        part: impl Fn(&mut Kept) -> T,
        last: impl FnOnce(Vec<u8>) -> T,
    ) -> OwnParts<T> {
        let mut few = Vec::new();
        format.encode(&families(&metrics.gather_few()), &mut few);
        few.extend_from_slice(format.end());
        let watched = metrics.watched();
        let mut kept = self.kept[format.index()].lock().unwrap_or_else(PoisonError::into_inner);
        kept.resize_with(watched.len(), Kept::default);
        let mut length = few.len();
        let mut parts = Vec::with_capacity(watched.len() + 1);
        for (kept, family) in kept.iter_mut().zip(&watched) {
            kept.bring_up_to_date(family, format);
            length += kept.plain.len();
            parts.push(part(kept));
        }
        parts.push(last(few));
        OwnParts { parts, length }
    }
}

impl Kept {
    fn bring_up_to_date(&mut self, family: &WatchedFamily, format: Format) {
        let changes = family.changes();
        if self.changes == Some(changes) {
            return;
        }
        let mut plain = Vec::with_capacity(self.plain.len() + self.plain.len() / 8);
        format.encode(&families(&family.gather()), &mut plain);
        *self = Kept { changes: Some(changes), plain: plain.into(), packed: None };
    }

    fn packed(&mut self) -> Arc<Packed> {
        self.packed.get_or_insert_with(|| pack(&self.plain)).clone()
    }
}

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
        exemplar: None,
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
                exemplars: Vec::new(),
                native: None,
            }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_says_what_is_true_now() {
        let metrics = Metrics::new("1");
        let bodies = OwnBodies::default();
        let collector = metrics.collector("s", "p", "c");
        let text = |gzipped| {
            let mut text = String::new();
            let length = if gzipped {
                let own = bodies.packed(&metrics, Format::Text);
                let bytes = crate::exposition::packed::join(&own.parts).concat();
                let mut decoder = flate2::read::GzDecoder::new(&*bytes);
                std::io::Read::read_to_string(&mut decoder, &mut text).expect("one stream of gzip");
                own.length
            } else {
                let own = bodies.plain(&metrics, Format::Text);
                text = String::from_utf8(own.parts.concat()).expect("text");
                own.length
            };
            assert_eq!(text.len(), length);
            text
        };
        let labels = "collector=\"c\",pack=\"p\",source=\"s\"";
        let says = |what: &str, value: u64| {
            for gzipped in [false, true] {
                let (text, line) = (text(gzipped), format!("{what}{{{labels}}} {value}\n"));
                assert!(text.contains(&line), "{line} is not in {text}");
            }
        };
        says("rowmetry_collector_runs_total", 0);
        collector.succeeded(1.0, 5, 9.0);
        says("rowmetry_collector_runs_total", 1);
        says("rowmetry_collector_rows_total", 5);
        collector.succeeded(1.0, 2, 9.0);
        says("rowmetry_collector_rows_total", 7);
        collector.remove();
        assert!(!text(false).contains(labels), "a reload dropped it");
    }
}
