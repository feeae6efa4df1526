//! Rows in, families out: what a counter and a histogram make of cells.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::family::{SpanId, TraceId};

const START: Micros = 1_000;

fn metric(yaml: &str) -> Metric {
    serde_saphyr::from_str(yaml).expect("a metric in YAML")
}

fn set(yaml: &str) -> SeriesSet {
    static GUARD: LazyLock<Arc<Guard>> = LazyLock::new(|| Arc::new(Guard::new(120)));
    let limits = Limits { series_per_metric: 3, ..Limits::default() };
    SeriesSet::new(&metric(yaml), &limits, GUARD.clone())
}

fn lines(family: &Family) -> Vec<String> {
    let line = |series: &Series| match &series.value {
        Value::Number(number) => format!("{{{}}} {number}", series.labels.text()),
        Value::Histogram(histogram) => {
            format!("{{{}}} {} of {} in {:?}", series.labels.text(), histogram.sum, histogram.count, histogram.buckets)
        }
    };
    family.series.iter().map(line).collect()
}

/// The span of a row, told by a number.
fn span(row: u8) -> SpanContext {
    SpanContext { trace: TraceId([row; 16]), span: SpanId([row; 8]) }
}

/// Rows of one series: the number of the span, the value, the time in milliseconds.
fn add_rows(series: &mut SeriesSet, label: &str, rows: &[(u8, Option<&str>, Micros)]) {
    for (row, value, millis) in rows {
        let added = series.add_traced(&[Some(label)], *value, START, Some((span(*row), millis * 1000)));
        added.unwrap_or_else(|reason| panic!("{value:?}: {reason:?}"));
    }
}

/// Of a counter's first series: the number of the span, the value, the time in milliseconds.
fn shown(family: &Family) -> Option<(u8, f64, Micros)> {
    family.series[0].exemplar.map(|one| (one.span.trace.0[0], one.value, one.time / 1000))
}

/// Of each bucket of a histogram's first series: the number of the span and the value.
fn shown_by_bucket(family: &Family) -> Vec<Option<(u8, f64)>> {
    let Value::Histogram(histogram) = &family.series[0].value else { panic!("{family:?}") };
    histogram.exemplars.iter().map(|one| one.map(|one| (one.span.trace.0[0], one.value))).collect()
}

#[test]
fn a_counter_shows_its_youngest_row_with_a_span() {
    let mut series = set("{counter: x_total, help: h, labels: [a]}");
    series.add(&[Some("k")], None, START).expect("it counts");
    assert_eq!(shown(&series.families(None)), None);
    for (rows, expected) in [
        (&[(1, None, 50), (2, None, 70)][..], (2, 1.0, 70)),
        (&[(3, None, 60)], (2, 1.0, 70)),
        (&[(4, None, 70)], (2, 1.0, 70)),
        (&[(5, None, 71)], (5, 1.0, 71)),
    ] {
        add_rows(&mut series, "k", rows);
        assert_eq!(shown(&series.families(None)), Some(expected));
    }
    series.add(&[Some("k")], None, START).expect("it counts");
    assert_eq!(shown(&series.families(None)), Some((5, 1.0, 71)), "a row without a span changes nothing");
    assert_eq!(lines(&series.families(None)), [r#"{a="k"} 7"#]);
}

#[test]
fn a_sum_shows_what_the_row_added() {
    let mut series = set("{counter: x_total, help: h, value: cost, labels: [a]}");
    add_rows(&mut series, "k", &[(1, Some("7"), 10), (2, Some("0.1"), 11), (3, None, 12)]);
    assert_eq!(shown(&series.families(None)), Some((2, 0.1, 11)), "a row that says nothing of the metric is not shown");
    for (value, reason) in [("-1", Ignored::Negative), ("1e40", Ignored::OutOfRange)] {
        let refused = series.add_traced(&[Some("k")], Some(value), START, Some((span(9), 99_000)));
        assert_eq!((refused, shown(&series.families(None))), (Err(reason), Some((2, 0.1, 11))), "{value}");
    }
}

#[test]
fn each_bucket_shows_its_youngest_row_with_a_span() {
    let mut series = set("{histogram: x_seconds, help: h, value: s, labels: [a], buckets: [1, 2, 4]}");
    series.add(&[Some("k")], Some("1"), START).expect("a number");
    assert_eq!(shown_by_bucket(&series.families(None)), [], "no bucket has any");
    add_rows(&mut series, "k", &[(1, Some("1"), 10), (2, Some("0.5"), 9), (3, Some("9"), 8)]);
    assert_eq!(shown_by_bucket(&series.families(None)), [Some((1, 1.0)), None, None, Some((3, 9.0))]);
    add_rows(&mut series, "k", &[(4, Some("1.5"), 7), (5, Some("0.25"), 12), (6, Some("100"), 7)]);
    let expected = [Some((5, 0.25)), Some((4, 1.5)), None, Some((3, 9.0))];
    assert_eq!(shown_by_bucket(&series.families(None)), expected, "what was published before is not shown again");
    assert_eq!(shown(&series.families(None)), None, "a histogram has them in its buckets");
}

#[test]
fn what_is_shown_as_nought_shows_no_exemplar() {
    let mut counter = set("{counter: x_total, help: h, labels: [a]}");
    let mut histogram = set("{histogram: x_seconds, help: h, value: s, labels: [a], buckets: [1]}");
    add_rows(&mut counter, "k", &[(1, None, 10)]);
    add_rows(&mut histogram, "k", &[(1, Some("3"), 10)]);
    for since in [START - 1, START] {
        let hidden = since < START;
        assert_eq!(shown(&counter.families(Some(since))), (!hidden).then_some((1, 1.0, 10)));
        let buckets = if hidden { vec![] } else { vec![None, Some((1, 3.0))] };
        assert_eq!(shown_by_bucket(&histogram.families(Some(since))), buckets);
    }
}

#[test]
fn neither_a_new_epoch_nor_a_restart_knows_exemplars() {
    for yaml in
        ["{counter: x_total, help: h, value: s, labels: [a]}", "{histogram: x_seconds, help: h, value: s, labels: [a]}"]
    {
        let mut series = set(yaml);
        add_rows(&mut series, "k", &[(1, Some("3"), 10)]);
        let stored = series.export_dirty();
        let mut plain = set(yaml);
        plain.add(&[Some("k")], Some("3"), START).expect("a number");
        assert_eq!(stored, plain.export_dirty(), "they are not stored");
        assert_ne!(series.families(None), plain.families(None));

        let mut again = set(yaml);
        add_rows(&mut again, "k", &[(1, Some("3"), 10)]);
        again.load(&stored[0]).expect("it fits");
        assert_eq!(again.families(None), plain.families(None));

        series.reset(START);
        plain.reset(START);
        assert_eq!(series.families(None), plain.families(None));
        add_rows(&mut series, "k", &[(2, Some("3"), 5)]);
        assert_ne!(
            series.families(None),
            plain.families(None),
            "older rows than those of the last epoch are new again"
        );
    }
}

#[test]
fn counts_rows_by_label() {
    let mut series = set("{counter: x_total, help: h, labels: [status, model]}");
    for (status, model) in
        [(Some("ok"), Some("m\"1")), (None, Some("a")), (Some("ok"), Some("m\"1")), (Some(""), Some("a"))]
    {
        series.add(&[status, model], None, START).expect("rows without a value count");
    }
    let family = series.families(None);
    assert_eq!((&*family.name, family.kind), ("x_total", Kind::Counter));
    assert_eq!(lines(&family), [r#"{model="a"} 2"#, r#"{status="ok",model="m\"1"} 2"#]);
    assert_eq!(family.series[0].start, Some(START));
}

#[test]
fn adds_values_exactly_and_refuses_what_is_none() {
    let mut series = set("{counter: x_total, help: h, value: cost, labels: [a]}");
    for _ in 0..10 {
        series.add(&[Some("k")], Some("0.1"), START).expect("a number");
    }
    assert_eq!(lines(&series.families(None)), [r#"{a="k"} 1"#]);
    for (value, reason) in [
        ("-1", Ignored::Negative),
        ("-0.5", Ignored::Negative),
        ("NaN", Ignored::NotFinite),
        ("x", Ignored::NotANumber),
        ("1e40", Ignored::OutOfRange),
    ] {
        assert_eq!(series.add(&[Some("new")], Some(value), START), Err(reason), "{value}");
    }
    assert_eq!(series.add(&[Some("new")], None, START), Ok(()), "NULL says nothing of the metric");
    assert_eq!(series.len(), 1, "what is refused makes no series");
}

#[test]
fn observes_with_bounds_of_its_own_or_by_unit() {
    let mut series = set("{histogram: x_seconds, help: h, value: s, buckets: [2, 1]}");
    for value in ["1", "1.5", "-3", "7"] {
        series.add(&[], Some(value), START).expect("a number");
    }
    assert_eq!(lines(&series.families(None)), ["{} 6.5 of 4 in [(1.0, 2), (2.0, 3)]"]);
    let by_unit = set("{histogram: x_ratio, help: h, value: s}");
    assert_eq!(&by_unit.bounds[..2], [0.1, 0.2]);
}

#[test]
fn the_limit_leads_to_overflow_and_stays_there() {
    let mut series = set("{counter: x_total, help: h, labels: [a, b]}");
    for value in ["1", "2", "3", "4", "5", "1", "4"] {
        series.add(&[Some(value), None], None, START).expect("it counts");
    }
    let expected = [r#"{a="1"} 2"#, r#"{a="2"} 1"#, r#"{a="3"} 1"#, r#"{a="overflow",b="overflow"} 3"#];
    assert_eq!(lines(&series.families(None)), expected);
    assert_eq!((series.take_overflowed(), series.take_overflowed()), (3, 0));
    let mut again = set("{counter: x_total, help: h, labels: [a, b], series_limit: 1}");
    for stored in series.export_dirty() {
        again.load(&stored).expect("it fits");
    }
    again.add(&[Some("2"), None], None, START).expect("admitted before");
    again.add(&[Some("6"), None], None, START).expect("overflow");
    assert_eq!(lines(&again.families(None))[1..], [r#"{a="2"} 2"#, r#"{a="3"} 1"#, r#"{a="overflow",b="overflow"} 4"#]);
}

#[test]
fn a_higher_limit_admits_as_many_more() {
    let mut series = set("{counter: x_total, help: h, labels: [a]}");
    for value in ["1", "2", "3", "4"] {
        series.add(&[Some(value)], None, START).expect("it counts");
    }
    let mut again = set("{counter: x_total, help: h, labels: [a], series_limit: 4}");
    for stored in series.export_dirty() {
        again.load(&stored).expect("it fits");
    }
    for value in ["5", "6"] {
        again.add(&[Some(value)], None, START).expect("it counts");
    }
    assert_eq!(lines(&again.families(None))[3..], [r#"{a="5"} 1"#, r#"{a="overflow"} 2"#]);
}

#[test]
fn what_is_shown_follows_what_is_counted() {
    let mut series = set("{counter: x_total, help: h}");
    for shown in ["{} 1", "{} 2"] {
        series.add(&[], None, START).expect("it counts");
        assert_eq!(lines(&series.families(None)), [shown]);
    }
}

#[test]
fn personal_data_never_becomes_a_label() {
    let yaml = "{counter: x_total, help: h, labels: [a, {name: b, allow: [ids]}, {name: c, values: ['10.0.0.1']}]}";
    let mut series = set(yaml);
    let id = "123e4567-e89b-12d3-a456-426614174000";
    for mail in ["ann@example.org", "bob@example.org", "ann@example.org"] {
        series.add(&[Some(mail), Some(id), Some("10.0.0.1")], None, START).expect("it counts");
    }
    let expected = [format!(r#"{{a="redacted",b="{id}",c="10.0.0.1"}} 3"#)];
    assert_eq!(lines(&series.families(None)), expected);
    assert_eq!(series.take_replaced().collect::<Vec<_>>(), [(Replaced::Email, 3)]);
    assert_eq!(series.take_replaced().count(), 0);
}

#[test]
fn the_memory_of_raw_cells_is_bounded() {
    let mut series = set("{counter: x_total, help: h, labels: [a]}");
    for row in 0..1000 {
        series.add(&[Some(&format!("{row}@example.org"))], None, START).expect("it counts");
    }
    assert_eq!(lines(&series.families(None)), [r#"{a="redacted"} 1000"#]);
    assert!(series.admission.raw_len() <= 12, "{}", series.admission.raw_len());
}

#[test]
fn declared_values_exist_from_the_start() {
    let mut series = set("{counter: x_total, help: h, labels: [{name: a, values: [x, w]}, {name: b, values: [z]}]}");
    series.seed(START);
    series.add(&[Some("w"), Some("z")], None, START + 5).expect("it counts");
    assert_eq!(lines(&series.families(None)), [r#"{a="w",b="z"} 1"#, r#"{a="x",b="z"} 0"#]);
    assert_eq!(series.newest_start(), Some(START));
    let mut open = set("{counter: x_total, help: h, labels: [{name: a, values: [x]}, b]}");
    open.seed(START);
    assert!(open.is_empty(), "one label does not declare its values");
    let mut bare = set("{counter: x_total, help: h}");
    bare.seed(START);
    assert_eq!(lines(&bare.families(None)), ["{} 0"]);
}

#[test]
fn young_series_are_shown_as_nought_first() {
    let mut series = set("{histogram: x_seconds, help: h, value: s, labels: [a], buckets: [1]}");
    series.add(&[Some("old")], Some("3"), START).expect("a number");
    series.add(&[Some("young")], Some("3"), START + 1).expect("a number");
    let shown = series.families(Some(START));
    assert_eq!(lines(&shown), [r#"{a="old"} 3 of 1 in [(1.0, 0)]"#, r#"{a="young"} 0 of 0 in [(1.0, 0)]"#]);
    assert_eq!(lines(&series.families(Some(START + 1)))[1], r#"{a="young"} 3 of 1 in [(1.0, 0)]"#);
}

#[test]
fn only_what_changed_is_stored() {
    let mut series = set("{counter: x_total, help: h, labels: [a]}");
    for value in ["p", "q\"\n"] {
        series.add(&[Some(value)], None, START).expect("it counts");
    }
    assert_eq!(series.export_dirty().len(), 2);
    series.mark_clean();
    assert_eq!(series.export_dirty(), []);
    series.add(&[Some("q\"\n")], None, START).expect("it counts");
    let stored = StoredSeries { labels: r#"["q\"\n"]"#.into(), start: START, value: r#"{"n":2}"#.into() };
    assert_eq!(series.export_dirty(), [stored]);
}

#[test]
fn a_stored_series_that_does_not_fit_is_refused_with_a_reason() {
    let stored = |labels: &str, value: &str| StoredSeries { labels: labels.into(), start: 0, value: value.into() };
    for (yaml, labels, value, why) in [
        ("{counter: x_total, help: h, labels: [a]}", "[]", r#"{"n":1}"#, "0 labels"),
        ("{counter: x_total, help: h}", "[]", r#"{"sum":"1"}"#, "something else"),
        ("{counter: x_total, help: h, value: v}", "[]", r#"{"sum":"one"}"#, "no number"),
        ("{counter: x_total, help: h}", "{}", r#"{"n":1}"#, "list of texts"),
        ("{counter: x_total, help: h}", "[]", r#"{"n":-1}"#, "not one that is stored"),
    ] {
        let refusal = set(yaml).load(&stored(labels, value)).expect_err(why);
        assert!(refusal.why.contains(why), "{refusal}");
        assert!(refusal.to_string().contains("Reset this collector's state"), "{refusal}");
    }
    let mut old = set("{histogram: x_seconds, help: h, value: v, buckets: [1, 2]}");
    old.add(&[], Some("1"), START).expect("a number");
    let mut new = set("{histogram: x_seconds, help: h, value: v, buckets: [1, 3]}");
    let refusal = new.load(&old.export_dirty()[0]).expect_err("other buckets");
    assert!(refusal.why.contains("end at 1, 2, but the pack says 1, 3"), "{refusal}");
    assert!(new.is_empty());
}

proptest! {
    #[test]
    fn a_sum_is_the_same_in_any_order_and_after_a_restart(
        rows in prop::collection::vec((0usize..3, 0u64..1_000_000_000, 0u32..9), 0..60).prop_shuffle(),
        split in 0usize..60,
    ) {
        let yaml = "{counter: x_total, help: h, value: v, labels: [a]}";
        let name = |label: &usize| ["a", "b", "c"][*label];
        let mut forward = set(yaml);
        for (label, n, scale) in &rows {
            forward.add(&[Some(name(label))], Some(&format!("{n}e-{scale}")), START).expect("a number");
        }
        let mut backward = set(yaml);
        for (done, (label, n, scale)) in rows.iter().rev().enumerate() {
            if done == split {
                let stored = backward.export_dirty();
                backward = set(yaml);
                for series in &stored {
                    backward.load(series).expect("it fits");
                }
                prop_assert_eq!(backward.export_dirty(), []);
            }
            backward.add(&[Some(name(label))], Some(&format!("{n}e-{scale}")), START).expect("a number");
        }
        prop_assert_eq!(forward.families(None), backward.families(None));
        for series in forward.families(None).series {
            let label = series.labels.pairs().next().map(|(_, value)| value.to_owned());
            let units: i128 = rows.iter()
                .filter(|row| Some(name(&row.0)) == label.as_deref())
                .map(|(_, n, scale)| i128::from(*n) * 10i128.pow(9 - scale))
                .sum();
            let expected: f64 = format!("{units}e-9").parse().expect("a number");
            prop_assert_eq!(series.value, Value::Number(expected));
        }
    }
}
