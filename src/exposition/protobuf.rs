//! The Prometheus protobuf format, `io.prometheus.client.MetricFamily`, delimited.
//!
//! The only format with native histograms; classic buckets stand beside them, so that every server finds its kind.

mod message;

use std::collections::BTreeMap;

use message::{Bucket, BucketSpan, Counter, Gauge, LabelPair, Metric, MetricFamily, Timestamp};
use prost::Message as _;

use crate::family::{Exemplar, Family, Histogram, Kind, Micros, NativeHistogram, Series, SpanContext, Value};

/// A gap of at most so many empty buckets is written out as zeros; a new span would cost more bytes.
const GAP_WRITTEN_OUT: i64 = 2;
/// Exemplars of a native histogram at most, the youngest: as many as Prometheus' client for Go shows by default
/// (`NativeHistogramMaxExemplars`).
const NATIVE_EXEMPLARS: usize = 10;
/// Field 4 of a family, length-delimited: one metric.
const METRIC_TAG: u8 = (4 << 3) | 2;

/// Appends a family.
pub fn encode(family: &Family, out: &mut Vec<u8>) {
    let kind = match family.kind {
        Kind::Counter => message::COUNTER,
        Kind::Gauge | Kind::Info => message::GAUGE,
        Kind::Histogram => message::HISTOGRAM,
    };
    let head =
        MetricFamily { name: Some(family.name.to_string()), help: Some(family.help.to_string()), r#type: Some(kind) };
    // The metrics are encoded one by one behind the head, so that a large family is never held as messages.
    let mut body = head.encode_to_vec();
    for series in &family.series {
        let metric = metric(family.kind, series);
        body.push(METRIC_TAG);
        metric.encode_length_delimited(&mut body).expect("a vector grows");
    }
    prost::encoding::encode_varint(body.len() as u64, out);
    out.extend_from_slice(&body);
}

fn metric(kind: Kind, series: &Series) -> Metric {
    let label = |(name, value): (&str, &str)| LabelPair { name: Some(name.into()), value: Some(value.into()) };
    let mut metric = Metric { label: series.labels.pairs().map(label).collect(), ..Metric::default() };
    let start = series.start.map(timestamp);
    match &series.value {
        Value::Number(value) if kind == Kind::Counter => {
            let exemplar = series.exemplar.as_ref().map(boxed);
            metric.counter = Some(Counter { value: Some(*value), exemplar, created_timestamp: start });
        }
        Value::Number(value) => metric.gauge = Some(Gauge { value: Some(*value) }),
        Value::Histogram(value) => metric.histogram = Some(histogram(value, start)),
    }
    metric
}

fn histogram(histogram: &Histogram, start: Option<Timestamp>) -> message::Histogram {
    let bucket = |(number, (upper, count)): (usize, &(f64, u64))| Bucket {
        cumulative_count: Some(*count),
        upper_bound: Some(*upper),
        exemplar: histogram.exemplars.get(number).and_then(Option::as_ref).map(boxed),
    };
    let mut message = message::Histogram {
        sample_count: Some(histogram.count),
        sample_sum: Some(histogram.sum),
        bucket: histogram.buckets.iter().enumerate().map(bucket).collect(),
        created_timestamp: start,
        ..message::Histogram::default()
    };
    // The bucket of all observations is the count, and is written for what it leads to alone.
    let last = histogram.buckets.len();
    if histogram.exemplars.get(last).is_some_and(Option::is_some) {
        message.bucket.push(bucket((last, &(f64::INFINITY, histogram.count))));
    }
    if let Some(native) = &histogram.native {
        fill(native, &mut message);
        message.exemplars = youngest(&histogram.exemplars);
    }
    message
}

/// The youngest, in the order of their time: Prometheus refuses one that comes after a younger one.
fn youngest(exemplars: &[Option<Exemplar>]) -> Vec<message::Exemplar> {
    let mut by_time: Vec<&Exemplar> = exemplars.iter().flatten().collect();
    by_time.sort_by_key(|exemplar| exemplar.time);
    by_time.drain(..by_time.len().saturating_sub(NATIVE_EXEMPLARS));
    by_time.into_iter().map(exemplar).collect()
}

fn boxed(one: &Exemplar) -> Box<message::Exemplar> {
    Box::new(exemplar(one))
}

fn exemplar(exemplar: &Exemplar) -> message::Exemplar {
    let label = |name: &str, value: String| LabelPair { name: Some(name.into()), value: Some(value) };
    let SpanContext { trace, span } = exemplar.span;
    message::Exemplar {
        label: vec![label("trace_id", trace.to_string()), label("span_id", span.to_string())],
        value: Some(exemplar.value),
        timestamp: Some(timestamp(exemplar.time)),
    }
}

fn fill(native: &NativeHistogram, message: &mut message::Histogram) {
    message.schema = Some(native.schema);
    message.zero_threshold = Some(native.zero_threshold);
    message.zero_count = Some(native.zero);
    (message.positive_span, message.positive_delta) = spans(&native.positive);
    (message.negative_span, message.negative_delta) = spans(&native.negative);
    let empty = message.positive_span.is_empty() && message.negative_span.is_empty();
    if empty && native.zero == 0 && native.zero_threshold <= 0.0 {
        // Without any span this would read as a classic histogram; an empty one says that it is native.
        message.positive_span = vec![BucketSpan { offset: Some(0), length: Some(0) }];
    }
}

/// Runs of buckets, and each count as the difference to the one before.
fn spans(buckets: &BTreeMap<i32, u64>) -> (Vec<BucketSpan>, Vec<i64>) {
    let (mut spans, mut deltas): (Vec<(i64, u32)>, Vec<i64>) = (Vec::new(), Vec::new());
    let mut next = 0_i64;
    let mut last = 0_i64;
    for (&index, &count) in buckets {
        let index = i64::from(index);
        let gap = index - next;
        match spans.last_mut() {
            Some((_, length)) if gap <= GAP_WRITTEN_OUT => {
                for _ in 0..gap {
                    deltas.push(-last);
                    last = 0;
                    *length += 1;
                }
                *length += 1;
            }
            _ => spans.push((gap, 1)),
        }
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        deltas.push(count - last);
        last = count;
        next = index + 1;
    }
    let span =
        |(offset, length)| BucketSpan { offset: Some(i32::try_from(offset).unwrap_or(i32::MAX)), length: Some(length) };
    (spans.into_iter().map(span).collect(), deltas)
}

fn timestamp(micros: Micros) -> Timestamp {
    Timestamp { seconds: micros.div_euclid(1_000_000), nanos: (micros.rem_euclid(1_000_000) * 1000) as i32 }
}
