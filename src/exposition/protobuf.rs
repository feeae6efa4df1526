//! The Prometheus protobuf format, `io.prometheus.client.MetricFamily`, delimited.
//!
//! The only format with native histograms; classic buckets stand beside them, so that every server finds its kind.

mod message;

use std::collections::BTreeMap;

use message::{Bucket, BucketSpan, Counter, Gauge, LabelPair, Metric, MetricFamily, Timestamp};
use prost::Message as _;

use crate::family::{Family, Histogram, Kind, Micros, NativeHistogram, Series, Value};

/// A gap of at most so many empty buckets is written out as zeros; a new span would cost more bytes.
const GAP_WRITTEN_OUT: i64 = 2;
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
            metric.counter = Some(Counter { value: Some(*value), created_timestamp: start });
        }
        Value::Number(value) => metric.gauge = Some(Gauge { value: Some(*value) }),
        Value::Histogram(value) => metric.histogram = Some(histogram(value, start)),
    }
    metric
}

fn histogram(histogram: &Histogram, start: Option<Timestamp>) -> message::Histogram {
    let bucket = |(upper, count): &(f64, u64)| Bucket { cumulative_count: Some(*count), upper_bound: Some(*upper) };
    let mut message = message::Histogram {
        sample_count: Some(histogram.count),
        sample_sum: Some(histogram.sum),
        bucket: histogram.buckets.iter().map(bucket).collect(),
        created_timestamp: start,
        ..message::Histogram::default()
    };
    if let Some(native) = &histogram.native {
        fill(native, &mut message);
    }
    message
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
