//! Distributions: exact counts in classic buckets and in exponential ones beside them.
//!
//! Counts are exact for ever; only the resolution of the exponential buckets is halved when they grow too many.
//! Nothing here knows labels or metrics.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::exact::Exact;
use crate::family::{Exemplar, Histogram, NativeHistogram};
use crate::telemetry::Ignored;

/// Resolution at which exponential buckets begin: 8 for each power of two, so that a bucket is 9 % wide.
pub const FIRST_SCHEMA: i32 = 3;

/// Exponential buckets a series may have before their resolution is halved; the number that OpenTelemetry and
/// Prometheus' clients advise.
pub const NATIVE_BUCKET_LIMIT: usize = 160;

/// Observations this near to nought (2^-128, Prometheus' default) are counted in the zero bucket.
pub const ZERO_THRESHOLD: f64 = f64::from_bits((1023 - 128) << 52);

/// Upper bounds within one power of two at [`FIRST_SCHEMA`], halved: the largest `f64` not above `2^(i/8 - 1)`.
const FRACTIONS: [f64; 8] = [
    0.5,
    0.5452538663326287,
    0.5946035575013605,
    0.6484197773255048,
    0.7071067811865475,
    0.7711054127039704,
    0.8408964152537145,
    0.9170040432046712,
];

/// Upper bounds of classic buckets for a metric that names none, by the unit that ends its name.
pub fn default_bounds(name: &str) -> &'static [f64] {
    // OpenTelemetry's bounds for durations of calls to models, and three more: jobs take minutes.
    const SECONDS: &[f64] = &[
        0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92, 163.84, 327.68, 655.36,
    ];
    const RATIO: &[f64] = &[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0];
    const BYTES: &[f64] = &[
        256.0,
        1024.0,
        4096.0,
        16384.0,
        65536.0,
        262144.0,
        1048576.0,
        4194304.0,
        16777216.0,
        67108864.0,
        268435456.0,
        1073741824.0,
    ];
    const TOKENS: &[f64] = &[
        1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 1048576.0, 4194304.0, 16777216.0,
        67108864.0,
    ];
    const USD: &[f64] = &[0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];
    const OTHER: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10000.0];
    match name.rsplit('_').next() {
        Some("seconds") => SECONDS,
        Some("ratio") => RATIO,
        Some("bytes") => BYTES,
        Some("tokens") => TOKENS,
        Some("usd") => USD,
        _ => OTHER,
    }
}

/// One series' distribution as it grows.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    bounds: Arc<[f64]>,
    /// Counts by classic bucket, not cumulative; the last is that above every bound.
    counts: Vec<u64>,
    sum: Exact,
    native: NativeBuckets,
    /// By classic bucket like `counts`; none while no row with a span was observed. Never stored.
    exemplars: Option<Box<[Option<Exemplar>]>>,
}

impl Distribution {
    /// An empty one with these upper bounds, ascending.
    pub fn new(bounds: Arc<[f64]>) -> Self {
        let counts = vec![0; bounds.len() + 1];
        Distribution { bounds, counts, sum: Exact::ZERO, native: NativeBuckets::default(), exemplars: None }
    }

    /// Adds an observation: its exact value, and the nearest `f64` of it, which must be finite.
    ///
    /// # Errors
    /// [`Ignored::OutOfRange`] when the sum has outgrown its room; nothing is added then.
    pub fn observe(&mut self, exact: Exact, nearest: f64) -> Result<(), Ignored> {
        self.sum = self.sum.checked_add(exact).ok_or(Ignored::OutOfRange)?;
        let bucket = self.bucket(nearest);
        self.counts[bucket] += 1;
        self.native.observe(nearest);
        Ok(())
    }

    /// Remembers an observed row for the bucket of its value, unless that bucket shows one as late.
    pub fn remember(&mut self, exemplar: Exemplar) {
        let bucket = self.bucket(exemplar.value);
        let buckets = self.counts.len();
        let shown = &mut self.exemplars.get_or_insert_with(|| vec![None; buckets].into())[bucket];
        if exemplar.displaces(shown.as_ref()) {
            *shown = Some(exemplar);
        }
    }

    /// How many observations there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Counts by classic bucket, not cumulative, the last above every bound; and the exact sum.
    pub fn parts(&self) -> (&[u64], Exact) {
        (&self.counts, self.sum)
    }

    /// The form in which it is published.
    pub fn published(&self) -> Histogram {
        let mut below = 0;
        let buckets = self.bounds.iter().zip(&self.counts).map(|(bound, count)| {
            below += count;
            (*bound, below)
        });
        Histogram {
            buckets: buckets.collect(),
            count: self.count(),
            sum: self.sum.to_f64(),
            exemplars: self.exemplars.as_deref().unwrap_or_default().to_vec(),
            native: Some(self.native.published()),
        }
    }

    /// The form in which it is stored: without exemplars, whose spans may be gone when it is read.
    pub fn stored(&self) -> StoredDistribution {
        StoredDistribution {
            count: self.count(),
            sum: self.sum.to_string(),
            bounds: self.bounds.iter().map(f64::to_string).collect(),
            buckets: self.counts.clone(),
            native: self.native.clone(),
        }
    }

    /// Takes a stored one's place, without exemplars.
    ///
    /// # Errors
    /// What does not fit, as the end of a sentence.
    pub fn restore(&mut self, stored: &StoredDistribution) -> Result<(), String> {
        let bounds: Vec<String> = self.bounds.iter().map(f64::to_string).collect();
        if stored.bounds != bounds {
            return Err(format!(
                "its buckets end at {}, but the pack says {}",
                stored.bounds.join(", "),
                bounds.join(", ")
            ));
        }
        if stored.buckets.len() != bounds.len() + 1 || stored.buckets.iter().sum::<u64>() != stored.count {
            return Err("its buckets do not add up to its count".to_owned());
        }
        if stored.native.count() != stored.count || !(-4..=FIRST_SCHEMA).contains(&stored.native.schema) {
            return Err("its exponential buckets do not add up to its count".to_owned());
        }
        self.sum = Exact::parse(&stored.sum).map_err(|_| format!("its sum `{}` is no number", stored.sum))?;
        self.counts.clone_from(&stored.buckets);
        self.native.clone_from(&stored.native);
        self.exemplars = None;
        Ok(())
    }

    /// The classic bucket of a value.
    fn bucket(&self, value: f64) -> usize {
        self.bounds.partition_point(|bound| *bound < value)
    }
}

/// A distribution as it is stored: no floating point, so that what is read back is what was written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredDistribution {
    count: u64,
    sum: String,
    bounds: Vec<String>,
    buckets: Vec<u64>,
    native: NativeBuckets,
}

/// Exponential buckets as they grow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NativeBuckets {
    schema: i32,
    zero: u64,
    #[serde(with = "pairs")]
    positive: BTreeMap<i32, u64>,
    #[serde(with = "pairs")]
    negative: BTreeMap<i32, u64>,
}

impl Default for NativeBuckets {
    fn default() -> Self {
        NativeBuckets { schema: FIRST_SCHEMA, zero: 0, positive: BTreeMap::new(), negative: BTreeMap::new() }
    }
}

impl NativeBuckets {
    fn observe(&mut self, value: f64) {
        if value.abs() <= ZERO_THRESHOLD {
            self.zero += 1;
            return;
        }
        let index = coarser(first_index(value.abs()), FIRST_SCHEMA - self.schema);
        let side = if value > 0.0 { &mut self.positive } else { &mut self.negative };
        *side.entry(index).or_default() += 1;
        while self.positive.len() + self.negative.len() > NATIVE_BUCKET_LIMIT {
            self.halve();
        }
    }

    /// Joins neighbours, two by two. At schema -4 every `f64` has a place in fewer buckets than the limit.
    fn halve(&mut self) {
        self.schema -= 1;
        for side in [&mut self.positive, &mut self.negative] {
            let mut joined = BTreeMap::new();
            for (index, count) in std::mem::take(side) {
                *joined.entry(coarser(index, 1)).or_default() += count;
            }
            *side = joined;
        }
    }

    fn count(&self) -> u64 {
        self.zero + self.positive.values().sum::<u64>() + self.negative.values().sum::<u64>()
    }

    fn published(&self) -> NativeHistogram {
        NativeHistogram {
            schema: self.schema,
            zero_threshold: ZERO_THRESHOLD,
            zero: self.zero,
            positive: self.positive.clone(),
            negative: self.negative.clone(),
        }
    }
}

/// Bucket of a positive value above the zero threshold at [`FIRST_SCHEMA`].
fn first_index(value: f64) -> i32 {
    let bits = value.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i32 - 1022;
    let fraction = f64::from_bits((bits & ((1 << 52) - 1)) | (1022 << 52));
    let within = FRACTIONS.partition_point(|bound| *bound < fraction) as i32;
    within + (exponent - 1) * FRACTIONS.len() as i32
}

/// The bucket that holds bucket `index` when resolution is halved `times` times: the index divided, rounded up.
fn coarser(index: i32, times: i32) -> i32 {
    (index + (1 << times) - 1) >> times
}

/// A map as a list of pairs: JSON has no whole numbers as keys.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(map: &BTreeMap<i32, u64>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<i32, u64>, D::Error> {
        Ok(Vec::<(i32, u64)>::deserialize(deserializer)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn upper(index: i32, schema: i32) -> f64 {
        (f64::from(index) * (-f64::from(schema)).exp2()).exp2()
    }

    fn filled(values: &[f64]) -> Distribution {
        let mut distribution = Distribution::new(default_bounds("x_seconds").into());
        for value in values {
            let exact = Exact::parse(&value.to_string()).expect("a number");
            distribution.observe(exact, *value).expect("it is small");
        }
        distribution
    }

    #[test]
    fn powers_of_two_belong_to_the_bucket_they_end() {
        for (value, index) in [(1.0, 0), (2.0, 8), (0.5, -8), (1.0000000000000002, 1), (4.0, 16), (3.0, 13)] {
            assert_eq!(first_index(value), index, "{value}");
        }
        assert_eq!([-3, -2, -1, 0, 1, 2, 3].map(|i| coarser(i, 1)), [-1, -1, 0, 0, 1, 1, 2]);
        let edge = filled(&[ZERO_THRESHOLD, -ZERO_THRESHOLD, 0.0, ZERO_THRESHOLD * 1.5]);
        assert_eq!((edge.native.zero, edge.native.positive.len()), (3, 1));
    }

    #[test]
    fn a_value_on_a_bound_is_within_it() {
        let published = filled(&[0.01, 0.010000000000000002, 655.36, 656.0]).published();
        assert_eq!(published.buckets.first(), Some(&(0.01, 1)));
        assert_eq!(published.buckets.last(), Some(&(655.36, 3)));
        assert_eq!(published.count, 4);
    }

    #[test]
    fn resolution_halves_until_everything_fits() {
        let wide: Vec<f64> = (-400..400).map(|i| (f64::from(i) / 4.0).exp2()).collect();
        let distribution = filled(&wide);
        let published = distribution.published().native.expect("there is one");
        assert_eq!((published.schema, published.positive.len()), (-1, 101));
        assert_eq!(distribution.native.count(), 800);
    }

    #[test]
    fn refuses_what_was_counted_in_other_buckets() {
        let stored = filled(&[1.0]).stored();
        let mut other = Distribution::new(Arc::from([1.0, 2.0]));
        let refusal = other.restore(&stored).expect_err("the bounds differ");
        assert!(refusal.ends_with("but the pack says 1, 2"), "{refusal}");
        let mut broken = stored.clone();
        broken.count = 7;
        assert!(filled(&[]).restore(&broken).is_err());
    }

    proptest! {
        #[test]
        fn every_observation_lies_in_its_bucket(
            values in prop::collection::vec((-1e12f64..1e12, -30i32..1), 1..400),
        ) {
            let values: Vec<f64> = values.into_iter().map(|(v, e)| v * 10f64.powi(e)).collect();
            let distribution = filled(&values);
            let native = distribution.published().native.expect("there is one");
            prop_assert_eq!(distribution.native.count(), values.len() as u64);
            prop_assert!(native.positive.len() + native.negative.len() <= NATIVE_BUCKET_LIMIT);
            let mut positive = BTreeMap::new();
            for value in values.iter().filter(|value| **value > ZERO_THRESHOLD) {
                let found = native.positive.keys().find(|i| *value <= upper(**i, native.schema)).copied();
                let index = found.ok_or_else(|| TestCaseError::fail(format!("{value} has no bucket")))?;
                prop_assert!(*value > upper(index - 1, native.schema) * (1.0 - 1e-14), "{} above bucket", value);
                *positive.entry(index).or_insert(0u64) += 1;
            }
            prop_assert_eq!(positive, native.positive);
        }

        #[test]
        fn classic_buckets_are_those_counted_naively(values in prop::collection::vec(0f64..2000.0, 0..200)) {
            let published = filled(&values).published();
            for (bound, count) in &published.buckets {
                prop_assert_eq!(*count, values.iter().filter(|value| *value <= bound).count() as u64);
            }
        }

        #[test]
        fn what_is_stored_comes_back(values in prop::collection::vec(-1e9f64..1e9, 0..300)) {
            let distribution = filled(&values);
            let json = serde_json::to_string(&distribution.stored()).expect("plain data");
            let mut back = filled(&[]);
            back.restore(&serde_json::from_str(&json).expect("its own text")).expect("it fits");
            prop_assert_eq!(back, distribution);
        }
    }
}
