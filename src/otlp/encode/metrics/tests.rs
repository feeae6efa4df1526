//! Families in, messages out.

use std::collections::BTreeMap;

use super::histogram::BUCKET_LIMIT;
use super::*;
use crate::family::{Histogram as OurHistogram, NativeHistogram, Series, SpanContext, SpanId, TraceId};
use proptest::prelude::*;

/// Ten minutes into 1970, so that times are read with ease.
const NOW: Micros = 600_000_000;

fn labels(value: &str) -> Labels {
    Labels::new([(Arc::from("kind"), value)])
}

fn exemplar_of(value: f64) -> Exemplar {
    Exemplar { span: SpanContext { trace: TraceId([1; 16]), span: SpanId([2; 8]) }, value, time: 590_000_000 }
}

fn series(value: Value) -> Series {
    Series { labels: labels("a\"b"), value, start: Some(60_000_000), exemplar: None }
}

fn family(name: &str, kind: Kind, series: Vec<Series>) -> Family {
    Family { name: name.into(), help: "What it is.".into(), kind, series }
}

fn encoded(family: &Family, form: HistogramForm, temporality: Temporality) -> Metric {
    let points: Vec<Point> = family
        .series
        .iter()
        .map(|series| Point {
            labels: series.labels.clone(),
            start: series.start.unwrap_or(30_000_000),
            value: Some(series.value.clone()),
            exemplar: series.exemplar,
        })
        .collect();
    metric(&Head::new(family, form), temporality, points.iter(), NOW)
}

fn distribution(native: Option<NativeHistogram>) -> Value {
    Value::Histogram(Arc::new(OurHistogram {
        count: 7,
        sum: 12.5,
        buckets: vec![(0.5, 1), (1.0, 1), (2.5, 4)],
        exemplars: vec![None, None, Some(exemplar_of(2.0)), None],
        native,
    }))
}

#[test]
fn each_kind_is_what_the_specification_says() {
    let counter = Series { exemplar: Some(exemplar_of(3.0)), ..series(Value::Number(41.0)) };
    let native = NativeHistogram {
        schema: 0,
        zero_threshold: 0.001,
        zero: 1,
        positive: BTreeMap::from([(0, 2), (3, 3)]),
        negative: BTreeMap::from([(-1, 1)]),
    };
    let families = [
        (family("shop_spent_seconds_total", Kind::Counter, vec![counter]), HistogramForm::Explicit),
        (family("shop_fill_ratio", Kind::Gauge, vec![series(Value::Number(0.25))]), HistogramForm::Explicit),
        (family("shop_build_info", Kind::Info, vec![series(Value::Number(1.0))]), HistogramForm::Explicit),
        (family("shop_answer_bytes", Kind::Histogram, vec![series(distribution(None))]), HistogramForm::Exponential),
        (family("shop_wait", Kind::Histogram, vec![series(distribution(Some(native)))]), HistogramForm::Exponential),
    ];
    let metrics: Vec<Metric> =
        families.iter().map(|(family, form)| encoded(family, *form, Temporality::Cumulative)).collect();
    insta::assert_debug_snapshot!(metrics);
}

#[test]
fn only_what_counts_from_a_start_is_delta() {
    for (kind, value, expected) in [
        (Kind::Counter, Value::Number(1.0), Some(AggregationTemporality::Delta)),
        (Kind::Info, Value::Number(1.0), Some(AggregationTemporality::Cumulative)),
        (Kind::Histogram, distribution(None), Some(AggregationTemporality::Delta)),
        (Kind::Gauge, Value::Number(1.0), None),
    ] {
        let metric = encoded(&family("x", kind, vec![series(value)]), HistogramForm::Explicit, Temporality::Delta);
        let temporality = match metric.data.expect("every metric has data") {
            Data::Sum(sum) => Some(sum.aggregation_temporality()),
            Data::Histogram(histogram) => Some(histogram.aggregation_temporality()),
            Data::ExponentialHistogram(histogram) => Some(histogram.aggregation_temporality()),
            Data::Gauge(_) | Data::Summary(_) => None,
        };
        assert_eq!(temporality, expected, "{kind:?}");
    }
}

#[test]
fn a_series_that_ended_has_no_value_and_says_so() {
    for (kind, exponential) in
        [(Kind::Gauge, false), (Kind::Counter, false), (Kind::Histogram, false), (Kind::Histogram, true)]
    {
        let head = Head { name: "x".into(), help: "X.".into(), kind, exponential };
        let point = Point { labels: labels("a"), start: NOW, value: None, exemplar: None };
        let (flags, empty) = match metric(&head, Temporality::Cumulative, [&point].into_iter(), NOW).data {
            Some(Data::Gauge(gauge)) => (gauge.data_points[0].flags, gauge.data_points[0].value.is_none()),
            Some(Data::Sum(sum)) => (sum.data_points[0].flags, sum.data_points[0].value.is_none()),
            Some(Data::Histogram(histogram)) => {
                (histogram.data_points[0].flags, histogram.data_points[0].bucket_counts.is_empty())
            }
            Some(Data::ExponentialHistogram(histogram)) => {
                (histogram.data_points[0].flags, histogram.data_points[0].positive.is_none())
            }
            other => panic!("{other:?}"),
        };
        assert_eq!((flags, empty), (1, true), "{kind:?}");
    }
}

#[test]
fn what_the_operator_says_of_the_resource_goes_before() {
    let said = |pairs: &[(&str, &str)]| OtlpSettings {
        service_name: "shop-metrics".into(),
        resource: pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
        ..OtlpSettings::default()
    };
    let shown = |settings: &OtlpSettings| {
        let pairs = resource(settings, "web-1:9750", "1.2.3").attributes.into_iter().map(|pair| {
            let Some(Any::StringValue(value)) = pair.value.and_then(|value| value.value) else { panic!("no text") };
            format!("{}={value}", pair.key)
        });
        pairs.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        shown(&OtlpSettings::default()),
        "service.name=rowmetry service.instance.id=web-1:9750 service.version=1.2.3"
    );
    assert_eq!(
        shown(&said(&[
            ("service.instance.id", "7"),
            ("service.name", "other"),
            ("deployment.environment.name", "test")
        ])),
        "service.name=shop-metrics service.version=1.2.3 deployment.environment.name=test service.instance.id=7"
    );
}

/// Prometheus' bucket of a value, from its definition.
fn bucket(value: f64, schema: i32) -> i32 {
    let upper = |index: i32| (f64::from(index) * 2_f64.powi(-schema)).exp2();
    let mut index = (value.log2() * 2_f64.powi(schema)).ceil() as i32;
    while upper(index) < value {
        index += 1;
    }
    while upper(index - 1) >= value {
        index -= 1;
    }
    index
}

fn count(buckets: &BTreeMap<i32, u64>) -> u64 {
    buckets.values().sum()
}

proptest! {
    /// Whatever is joined, a value is in the one bucket whose bounds by OTLP's definition hold it, and no count is lost.
    #[test]
    fn every_value_is_within_the_bounds_of_its_bucket(
        values in proptest::collection::vec((-60_f64..60.0).prop_map(f64::exp2), 1..80),
        wide in proptest::collection::vec((-900_f64..900.0).prop_map(f64::exp2), 0..3),
        schema in -4..=8_i32,
    ) {
        let values: Vec<f64> = values.into_iter().chain(wide).collect();
        let mut positive = BTreeMap::new();
        for value in &values {
            *positive.entry(bucket(*value, schema)).or_insert(0_u64) += 1;
        }
        let native = NativeHistogram { schema, positive: positive.clone(), negative: positive, ..Default::default() };
        let histogram = OurHistogram { native: Some(native), ..OurHistogram::default() };
        let value = Some(Value::Histogram(Arc::new(histogram)));
        let point = Point { labels: Labels::none(), start: 0, value, exemplar: None };
        let data = histogram::exponential(&point, NOW);
        let side = data.positive.clone().expect("there are values");
        prop_assert_eq!(Some(&side), data.negative.as_ref(), "both sides have one scale");
        prop_assert!(side.bucket_counts.len() <= BUCKET_LIMIT);
        prop_assert_eq!(side.bucket_counts.iter().sum::<u64>(), values.len() as u64);
        prop_assert!(data.scale <= schema);
        // No resolution is given away.
        prop_assert!(data.scale == schema || 2 * side.bucket_counts.len() >= BUCKET_LIMIT - 1);

        // In powers of two, where a bound is exact: (base^index, base^(index+1)].
        let width = 2_f64.powi(-data.scale);
        for (at, found) in side.bucket_counts.iter().enumerate() {
            let index = f64::from(side.offset) + at as f64;
            let within = |value: &&f64| {
                let place = value.log2() / width;
                // Where rounding of the logarithm decides, either neighbour will do.
                place > index - 1e-9 && place <= index + 1.0 + 1e-9
            };
            prop_assert!(*found <= values.iter().filter(within).count() as u64, "bucket {index} of {data:?}");
        }
    }

    #[test]
    fn joining_loses_no_count(indexes in proptest::collection::btree_map(-5000..5000_i32, 1..9_u64, 0..50), by in 0..14_u32) {
        let joined = joined(&indexes, by);
        prop_assert_eq!(count(&joined), count(&indexes));
        for (index, _) in indexes {
            // The bucket that ends at or after the end of the finer one, and begins at or before its beginning.
            let coarse = f64::from(index) / 2_f64.powi(by as i32);
            prop_assert!(joined.contains_key(&(coarse.ceil() as i32)));
        }
    }
}

#[test]
fn exact_powers_of_two_are_in_the_bucket_that_ends_there() {
    // At scale 0 OTLP's bucket -1 is (0.5, 1] and 0 is (1, 2].
    for (value, index) in [(1.0, -1), (1.5, 0), (2.0, 0), (0.5, -2), (1024.0, 9)] {
        let positive = BTreeMap::from([(bucket(value, 0), 1)]);
        let native = NativeHistogram { schema: 0, positive, ..Default::default() };
        let histogram = OurHistogram { native: Some(native), ..OurHistogram::default() };
        let value_of = Some(Value::Histogram(Arc::new(histogram)));
        let data =
            histogram::exponential(&Point { labels: Labels::none(), start: 0, value: value_of, exemplar: None }, NOW);
        assert_eq!(data.positive.expect("one value").offset, index, "{value}");
    }
}
