//! What was counted between two looks at a series.
//!
//! Pure arithmetic: it knows no time and nobody who is told.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::family::{Exemplar, Histogram, NativeHistogram, Value};
use crate::otlp::encode::metrics::joined;

/// `now` less `before`; none when that cannot be, since something went down or has another shape: then it counts anew.
pub fn since(now: &Value, before: &Value) -> Option<Value> {
    match (now, before) {
        (Value::Number(now), Value::Number(before)) => (now >= before).then_some(Value::Number(now - before)),
        (Value::Histogram(now), Value::Histogram(before)) => Some(Value::Histogram(Arc::new(histogram(now, before)?))),
        _ => None,
    }
}

/// Whether nothing was counted.
pub fn is_nought(value: &Value) -> bool {
    match value {
        Value::Number(value) => *value == 0.0,
        Value::Histogram(histogram) => histogram.count == 0,
    }
}

/// An exemplar, unless the last look showed it.
pub fn new_exemplar(now: Option<Exemplar>, before: Option<Exemplar>) -> Option<Exemplar> {
    now.filter(|exemplar| before != Some(*exemplar))
}

fn histogram(now: &Histogram, before: &Histogram) -> Option<Histogram> {
    if now.buckets.len() != before.buckets.len() {
        return None;
    }
    let mut buckets = Vec::with_capacity(now.buckets.len());
    let mut below = 0;
    for ((upper, now), (upper_before, before)) in now.buckets.iter().zip(&before.buckets) {
        let count = now.checked_sub(*before)?;
        if upper != upper_before || count < below {
            return None;
        }
        below = count;
        buckets.push((*upper, count));
    }
    let count = now.count.checked_sub(before.count).filter(|count| *count >= below)?;
    let native = match (&now.native, &before.native) {
        (Some(now), Some(before)) => Some(exponential(now, before)?),
        (None, None) => None,
        _ => return None,
    };
    let shown = |bucket: usize| before.exemplars.get(bucket).copied().flatten();
    let exemplars = now.exemplars.iter().enumerate().map(|(bucket, now)| new_exemplar(*now, shown(bucket)));
    // Rounding may leave a trace of a sum where nothing was counted.
    let sum = if count == 0 { 0.0 } else { now.sum - before.sum };
    Some(Histogram { count, sum, buckets, exemplars: exemplars.collect(), native })
}

/// At the coarser resolution of the two: that of a series goes down as it grows.
fn exponential(now: &NativeHistogram, before: &NativeHistogram) -> Option<NativeHistogram> {
    if now.zero_threshold != before.zero_threshold {
        return None;
    }
    let schema = now.schema.min(before.schema);
    let finer = |native: &NativeHistogram| u32::try_from(native.schema - schema).unwrap_or(0);
    let (by, by_before) = (finer(now), finer(before));
    Some(NativeHistogram {
        schema,
        zero_threshold: now.zero_threshold,
        zero: now.zero.checked_sub(before.zero)?,
        positive: side(joined(&now.positive, by), &joined(&before.positive, by_before))?,
        negative: side(joined(&now.negative, by), &joined(&before.negative, by_before))?,
    })
}

fn side(mut now: BTreeMap<i32, u64>, before: &BTreeMap<i32, u64>) -> Option<BTreeMap<i32, u64>> {
    for (index, before) in before {
        let count = now.get_mut(index)?;
        *count = count.checked_sub(*before)?;
    }
    now.retain(|_, count| *count > 0);
    Some(now)
}
