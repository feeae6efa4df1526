//! How many series a second each wire format encodes, at 100,000 series; and what exemplars add.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rowmetry::exposition::Format;
use rowmetry::family::{Exemplar, Family, Histogram, Kind, Labels, Series, SpanContext, SpanId, TraceId, Value};

/// Series as the text format counts them: each line of a histogram is one.
const SERIES: usize = 100_000;
/// Lines of one histogram: ten buckets, `+Inf`, sum and count.
const HISTOGRAM_LINES: usize = 13;
/// Histograms among the series.
const HISTOGRAMS: usize = 1_000;
/// Series of one counter or gauge.
const PER_FAMILY: usize = 2_900;

/// With exemplars, every counter and every bucket has one, which is more than any application makes.
fn families(exemplars: bool) -> Vec<Arc<Family>> {
    let exemplar = |number: usize| exemplars.then(|| exemplar(number));
    let labels = |number: usize| {
        let (tenant, kind) = (format!("tenant-{}", number % 500), format!("kind {number}"));
        Labels::new([(Arc::from("tenant"), tenant.as_str()), (Arc::from("kind"), kind.as_str())])
    };
    let start = Some(1_771_612_800_000_000);
    let mut families = Vec::new();
    for first in (0..SERIES - HISTOGRAMS * HISTOGRAM_LINES).step_by(PER_FAMILY) {
        let counter = families.len() % 3 != 0;
        let series = |number: usize| Series {
            labels: labels(first + number),
            value: Value::Number(if counter { (number * 7) as f64 } else { number as f64 * 0.37 }),
            start: if counter { start } else { None },
            exemplar: exemplar(first + number).filter(|_| counter),
        };
        let suffix = if counter { "_total" } else { "" };
        families.push(Arc::new(Family {
            name: format!("application_things_{first}{suffix}").into(),
            help: "Things of the application.".into(),
            kind: if counter { Kind::Counter } else { Kind::Gauge },
            series: (0..PER_FAMILY).map(series).collect(),
        }));
    }
    let histogram = |number: usize| Histogram {
        count: 1000 + number as u64,
        sum: number as f64 * 1.25,
        buckets: (1..=10).map(|bound| (bound as f64 * 0.5, 100 * bound)).collect(),
        exemplars: if exemplars { vec![exemplar(number); 11] } else { Vec::new() },
        native: None,
    };
    families.push(Arc::new(Family {
        name: "application_seconds".into(),
        help: "Seconds of the application's work.".into(),
        kind: Kind::Histogram,
        series: (0..HISTOGRAMS)
            .map(|number| Series {
                labels: labels(number),
                value: Value::Histogram(Arc::new(histogram(number))),
                start,
                exemplar: None,
            })
            .collect(),
    }));
    families
}

fn exemplar(number: usize) -> Exemplar {
    let span = SpanContext {
        trace: TraceId((number as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes()),
        span: SpanId((number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()),
    };
    Exemplar { span, value: number as f64 * 0.125, time: 1_771_612_800_000_000 + number as i64 * 1_000_003 }
}

fn encode(criterion: &mut Criterion) {
    let families = families(false);
    let traced = self::families(true);
    let lines: usize = families
        .iter()
        .map(|family| family.series.len() * if family.kind == Kind::Histogram { HISTOGRAM_LINES } else { 1 })
        .sum();
    assert_eq!(lines, SERIES);
    let mut group = criterion.benchmark_group("encode 100k series");
    group.throughput(Throughput::Elements(SERIES as u64)).sample_size(30);
    for format in Format::ALL {
        for (families, with) in [(&families, ""), (&traced, ", all with exemplars")] {
            let mut out = Vec::new();
            group.bench_function(format!("{}{with}", format.as_str()), |bencher| {
                bencher.iter(|| {
                    out.clear();
                    format.encode(black_box(families), &mut out);
                    black_box(out.len())
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, encode);
criterion_main!(benches);
