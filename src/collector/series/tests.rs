//! Rows in, families out: what a counter and a histogram make of cells.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;

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
