//! Histograms as OTLP has them: with explicit bounds, or with exponential buckets.
//!
//! Joining neighbouring buckets loses resolution, never a count.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::{ExponentialHistogramDataPoint, HistogramDataPoint};

use super::{Point, attributes, exemplar, flags, nanos};
use crate::family::{Histogram, Micros, NativeHistogram, Value};

/// Buckets on one side of nought at most, empty ones between them included: `MaxSize` of OpenTelemetry's own exponential
/// histograms unless somebody sets another
/// (<https://opentelemetry.io/docs/specs/otel/metrics/sdk/#base2-exponential-bucket-histogram-aggregation>).
pub const BUCKET_LIMIT: usize = 160;

/// A point with explicit bounds. Its sum is told even where observations are below nought, which OTLP advises against:
/// receivers divide by the count, and such observations are rare.
pub(super) fn explicit(point: &Point, now: Micros) -> HistogramDataPoint {
    let mut data = HistogramDataPoint {
        attributes: attributes(&point.labels),
        start_time_unix_nano: nanos(point.start.min(now)),
        time_unix_nano: nanos(now),
        flags: flags(point.value.is_none()),
        ..Default::default()
    };
    if let Some(Value::Histogram(histogram)) = &point.value {
        data.count = histogram.count;
        data.sum = Some(histogram.sum);
        data.explicit_bounds = histogram.buckets.iter().map(|(upper, _)| *upper).collect();
        data.bucket_counts = counts(histogram);
        data.exemplars = histogram.exemplars.iter().flatten().map(exemplar).collect();
    }
    data
}

/// A point with exponential buckets; the histogram has native ones.
pub(super) fn exponential(point: &Point, now: Micros) -> ExponentialHistogramDataPoint {
    let mut data = ExponentialHistogramDataPoint {
        attributes: attributes(&point.labels),
        start_time_unix_nano: nanos(point.start.min(now)),
        time_unix_nano: nanos(now),
        flags: flags(point.value.is_none()),
        ..Default::default()
    };
    if let Some(Value::Histogram(histogram)) = &point.value {
        data.count = histogram.count;
        data.sum = Some(histogram.sum);
        data.exemplars = histogram.exemplars.iter().flatten().map(exemplar).collect();
        if let Some(native) = &histogram.native {
            fill(native, &mut data);
        }
    }
    data
}

/// Both sides have one scale, so the wider of them decides. OTLP's scale is Prometheus' schema.
fn fill(native: &NativeHistogram, data: &mut ExponentialHistogramDataPoint) {
    let by = joins(&native.positive).max(joins(&native.negative));
    data.scale = native.schema - by as i32;
    data.zero_threshold = native.zero_threshold;
    data.zero_count = native.zero;
    data.positive = side(&joined(&native.positive, by));
    data.negative = side(&joined(&native.negative, by));
}

/// How many times neighbours must be joined until no more buckets than the limit are left.
fn joins(buckets: &BTreeMap<i32, u64>) -> u32 {
    let (Some((&first, _)), Some((&last, _))) = (buckets.first_key_value(), buckets.last_key_value()) else {
        return 0;
    };
    let width = |by| i64::from(coarser(last, by)) - i64::from(coarser(first, by)) + 1;
    // All bits shifted out leave two buckets at most, so there is an end.
    (0..i32::BITS).find(|by| width(*by) <= BUCKET_LIMIT as i64).unwrap_or(i32::BITS - 1)
}

/// The same counts with neighbours joined, two by two, so many times: the schema goes down by as much.
pub fn joined(buckets: &BTreeMap<i32, u64>, by: u32) -> BTreeMap<i32, u64> {
    let mut joined = BTreeMap::new();
    for (&index, &count) in buckets {
        *joined.entry(coarser(index, by)).or_default() += count;
    }
    joined
}

/// Where a bucket of Prometheus' numbering goes when neighbours are joined: bucket `i` ends at `base^i`, so 1 and 2 become 1.
fn coarser(index: i32, by: u32) -> i32 {
    (index.saturating_sub(1) >> by) + 1
}

/// A run of buckets. Prometheus' bucket `i` is `(base^(i-1), base^i]`, OTLP's is `(base^i, base^(i+1)]`: one less.
fn side(buckets: &BTreeMap<i32, u64>) -> Option<Buckets> {
    let (&first, &last) = (buckets.first_key_value()?.0, buckets.last_key_value()?.0);
    let counts = (first..=last).map(|index| buckets.get(&index).copied().unwrap_or(0));
    Some(Buckets { offset: first - 1, bucket_counts: counts.collect() })
}

/// What each bucket holds by itself, that above every bound last.
fn counts(histogram: &Histogram) -> Vec<u64> {
    let mut below = 0;
    let ends = histogram.buckets.iter().map(|(_, count)| *count).chain([histogram.count]);
    ends.map(|end| end.saturating_sub(std::mem::replace(&mut below, end))).collect()
}
