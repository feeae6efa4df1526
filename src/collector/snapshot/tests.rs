//! Rows of a query in, gauges out.

use std::sync::LazyLock;

use super::*;

fn collector(metrics: &str) -> SnapshotCollector {
    reading("snapshot: {sql: select 1}", metrics)
}

fn reading(what: &str, metrics: &str) -> SnapshotCollector {
    static GUARD: LazyLock<Arc<Guard>> = LazyLock::new(|| Arc::new(Guard::new(120)));
    let yaml = format!("{{name: c, {what}, metrics: [{metrics}]}}");
    let collector: Collector = serde_saphyr::from_str(&yaml).expect("a collector in YAML");
    SnapshotCollector::new(&collector, &Limits { series_per_metric: 3, ..Limits::default() }, &GUARD)
}

fn lines(outcome: &SnapshotOutcome) -> Vec<String> {
    let mut lines = Vec::new();
    for family in &outcome.families {
        for series in &family.series {
            let Value::Number(number) = &series.value else { panic!("a snapshot has no histograms") };
            lines.push(format!("{}{{{}}} {number}", family.name, series.labels.text()));
        }
    }
    lines
}

#[test]
fn columns_are_asked_for_once_each() {
    let collector = collector(
        "{gauge: g, help: h, value: n, labels: [a, {name: b, column: c}]}, {gauge: k, help: h, value: c, labels: [a]}",
    );
    assert_eq!(collector.columns(), ["a", "c", "n"]);
}

#[test]
fn each_read_replaces_the_last() {
    let mut collector = collector("{gauge: g, help: h, value: n, labels: [a]}");
    let first = collector.fold(&Rows::of(2, &[Some("x"), Some("1"), Some("w"), Some("2.5"), Some("v"), None]));
    assert_eq!(lines(&first), [r#"g{a="w"} 2.5"#, r#"g{a="x"} 1"#]);
    let second = collector.fold(&Rows::of(2, &[Some("x"), Some("-3")]));
    assert_eq!(lines(&second), [r#"g{a="x"} -3"#]);
    assert_eq!(lines(&collector.fold(&Rows::new(2))), [""; 0]);
}

#[test]
fn rows_of_one_series_are_merged_by_the_rule() {
    let rows = Rows::of(1, &[Some("0.1"), Some("0.2"), Some("-7")]);
    for (metric, expected) in [
        ("{gauge: g, help: h, value: n}", "g{} -6.7"),
        ("{gauge: g, help: h, value: n, merge: max}", "g{} 0.2"),
        ("{gauge: g, help: h, value: n, merge: min}", "g{} -7"),
        ("{gauge: g_timestamp_seconds, help: h, value: n}", "g_timestamp_seconds{} -7"),
    ] {
        assert_eq!(lines(&collector(metric).fold(&rows)), [expected], "{metric}");
    }
}

#[test]
fn times_and_truths_become_numbers_and_the_rest_is_refused() {
    let mut collector = collector("{gauge: g, help: h, value: n, labels: [a]}, {info: i_info, help: h, labels: [a]}");
    collector.shown[0].admission = {
        let metric: Metric = serde_saphyr::from_str("{gauge: g, help: h, value: n, labels: [a], series_limit: 20}")
            .expect("a metric in YAML");
        Admission::new(&metric, 20, Arc::new(Guard::new(120)))
    };
    let mut rows = Rows::new(2);
    for (label, value) in [
        ("1", "2026-11-21 02:53:18.123+00"),
        ("2", "2026-11-21T02:53:18.123Z"),
        ("3", "2026-11-21"),
        ("4", "true"),
        ("5", "false"),
        ("6", "infinity"),
        ("7", "NaN"),
        ("8", "soon"),
        ("9", "1e50"),
    ] {
        rows.push(Some(label));
        rows.push(Some(value));
    }
    let outcome = collector.fold(&rows);
    assert_eq!(
        lines(&outcome)[..5],
        [
            r#"g{a="1"} 1795229598.123"#,
            r#"g{a="2"} 1795229598.123"#,
            r#"g{a="3"} 1795219200"#,
            r#"g{a="4"} 1"#,
            r#"g{a="5"} 0"#,
        ]
    );
    assert_eq!(
        lines(&outcome)[5..],
        [r#"i_info{a="1"} 1"#, r#"i_info{a="2"} 1"#, r#"i_info{a="3"} 1"#, r#"i_info{a="overflow"} 1"#]
    );
    let ignored = [(Ignored::NotANumber, 1), (Ignored::NotFinite, 2), (Ignored::OutOfRange, 1)];
    assert_eq!(outcome.ignored, BTreeMap::from(ignored));
    assert_eq!(outcome.overflowed.values().sum::<u64>(), 6);
}

#[test]
fn a_state_set_shows_every_state() {
    let metric =
        "{gauge: s, help: h, labels: [t, {name: state, values: [up, down]}], state_label: state, series_limit: 9}";
    let rows = Rows::of(2, &[Some("a"), Some("down"), Some("b"), Some("odd"), Some("c"), None]);
    assert_eq!(
        lines(&collector(metric).fold(&rows)),
        [
            r#"s{t="a",state="down"} 1"#,
            r#"s{t="a",state="up"} 0"#,
            r#"s{t="b",state="down"} 0"#,
            r#"s{t="b",state="odd"} 1"#,
            r#"s{t="b",state="up"} 0"#,
            r#"s{t="c",state="down"} 0"#,
            r#"s{t="c",state="up"} 0"#,
        ]
    );
    let both = Rows::of(2, &[Some("a"), Some("down"), Some("a"), Some("up")]);
    assert_eq!(lines(&collector(metric).fold(&both)), [r#"s{t="a",state="down"} 1"#, r#"s{t="a",state="up"} 1"#]);
}

#[test]
fn declared_values_without_a_row_are_nought_once_read() {
    let metric = "{gauge: g, help: h, value: n, labels: [{name: a, values: [p, q]}]},
                  {gauge: t_timestamp_seconds, help: h, value: n, labels: [{name: a, values: [p, q]}]},
                  {gauge: bare, help: h, value: n, merge: min},
                  {gauge: least, help: h, value: n, merge: min, labels: [{name: a, values: [p, q]}]}";
    let mut collector = collector(metric);
    let nothing = collector.fold(&Rows::new(2));
    let noughts = [r#"g{a="p"} 0"#, r#"g{a="q"} 0"#, r#"least{a="p"} 0"#, r#"least{a="q"} 0"#];
    assert_eq!(lines(&nothing), noughts);
    let one = collector.fold(&Rows::of(2, &[Some("q"), Some("5")]));
    let expected = [
        r#"g{a="p"} 0"#,
        r#"g{a="q"} 5"#,
        r#"t_timestamp_seconds{a="q"} 5"#,
        "bare{} 5",
        r#"least{a="p"} 0"#,
        r#"least{a="q"} 5"#,
    ];
    assert_eq!(lines(&one), expected);
}

#[test]
fn admitted_label_sets_survive_a_restart() {
    let metric = "{gauge: g, help: h, value: n, labels: [a]}";
    let mut before = collector(metric);
    let rows = |labels: &[&'static str]| {
        let cells: Vec<Option<&str>> = labels.iter().flat_map(|label| [Some(*label), Some("1")]).collect();
        Rows::of(2, &cells)
    };
    before.fold(&rows(&["x", "w"]));
    let admitted = before.admitted();
    assert_eq!(admitted.iter().map(|set| &*set.labels).collect::<Vec<_>>(), [r#"["x"]"#, r#"["w"]"#]);
    before.mark_clean();
    assert_eq!(before.admitted(), []);
    let mut after = collector(metric);
    let gone = Admitted { metric: "gone".into(), labels: "[]".into() };
    let misfit = Admitted { metric: "g".into(), labels: "[]".into() };
    after.load_admitted(&[admitted, vec![gone, misfit]].concat());
    assert_eq!(after.admitted(), []);
    let outcome = after.fold(&rows(&["1", "2", "w", "x", "3", "ann@example.org"]));
    assert_eq!(lines(&outcome), [r#"g{a="1"} 1"#, r#"g{a="overflow"} 3"#, r#"g{a="w"} 1"#, r#"g{a="x"} 1"#]);
    assert_eq!(outcome.overflowed.values().sum::<u64>(), 3);
    assert_eq!(outcome.replaced, BTreeMap::from([(Replaced::Email, 1)]));
    assert_eq!(after.admitted().len(), 2);
}

#[test]
fn parameters_are_shown_as_the_operator_sets_them() {
    let yaml = "{app: x, title: X, collectors: [], parameters: {
        budget: {value: 5, help: A budget., gauge: x_budget_usd}, scale: {value: 2, help: Hidden.}}}";
    let pack: Pack = serde_saphyr::from_str(yaml).expect("a pack in YAML");
    let value = |overrides: &BTreeMap<String, f64>| {
        let families = parameter_families(&pack, overrides);
        assert_eq!((families.len(), &*families[0].name), (1, "x_budget_usd"));
        families[0].series[0].value.clone()
    };
    assert_eq!(value(&BTreeMap::new()), Value::Number(5.0));
    assert_eq!(value(&BTreeMap::from([("budget".to_owned(), 7.5)])), Value::Number(7.5));
}

#[test]
fn a_value_that_is_null_or_no_number_is_absent_and_not_the_declared_nought() {
    let mut collector = collector("{gauge: g, help: h, value: n, labels: [{name: a, values: [x, v, w]}]}");
    let rows = Rows::of(2, &[Some("x"), Some("NaN"), Some("v"), None]);
    assert_eq!(lines(&collector.fold(&rows)), [r#"g{a="w"} 0"#]);
    // Another row of the same series that does say how much is not taken away with it.
    let rows = Rows::of(2, &[Some("x"), Some("2"), Some("x"), Some("NaN")]);
    assert_eq!(lines(&collector.fold(&rows)), [r#"g{a="v"} 0"#, r#"g{a="w"} 0"#, r#"g{a="x"} 2"#]);
}

#[test]
fn what_a_server_or_an_endpoint_does_not_report_is_not_nought() {
    let metric = "{gauge: g, help: h, value: n, labels: [{name: a, values: [x, z]}]}";
    let keys = "keys: {match: 'k:*', families: [{pattern: 'k:{a}'}]}";
    for (what, silence) in [
        ("snapshot: {sql: select 1}", vec![r#"g{a="x"} 0"#, r#"g{a="z"} 0"#]),
        (keys, vec![r#"g{a="x"} 0"#, r#"g{a="z"} 0"#]),
        ("probe: {}", vec![]),
        ("info: {}", vec![]),
        ("show: {command: POOLS}", vec![]),
    ] {
        let mut collector = reading(what, metric);
        assert_eq!(lines(&collector.fold(&Rows::new(2))), silence, "{what}");
        let one = collector.fold(&Rows::of(2, &[Some("x"), Some("3")]));
        assert_eq!(lines(&one).len(), silence.len().max(1), "{what}");
    }
}

#[test]
fn a_server_s_totals_beyond_the_limit_are_left_out_and_not_added_up() {
    let mut collector = collector("{counter: c_total, help: h, value: n, server_total: true, labels: [a]}");
    let of = |cells: &[&'static str]| Rows::of(2, &cells.iter().map(|cell| Some(*cell)).collect::<Vec<_>>());
    collector.fold(&of(&["1", "5", "2", "5", "3", "5", "4", "5"]));
    // Another one takes the place of the fourth among those that are told of, with a history of its own.
    let outcome = collector.fold(&of(&["1", "6", "2", "6", "3", "6", "5", "900"]));
    assert_eq!(lines(&outcome), [r#"c_total{a="1"} 6"#, r#"c_total{a="2"} 6"#, r#"c_total{a="3"} 6"#]);
    assert_eq!(outcome.overflowed, BTreeMap::from([("c_total".into(), 1)]));
}

#[test]
fn a_row_that_says_nothing_takes_no_series_room() {
    let mut collector = collector("{gauge: g, help: h, value: n, labels: [a]}");
    let silent = ["p", "q", "r", "s"].map(|label| [Some(label), None]).concat();
    collector.fold(&Rows::of(2, &silent));
    let outcome = collector.fold(&Rows::of(2, &[Some("x"), Some("1")]));
    assert_eq!(lines(&outcome), [r#"g{a="x"} 1"#]);
}

#[test]
fn what_could_not_be_stored_is_stored_later() {
    let mut collector = collector("{gauge: g, help: h, value: n, labels: [a]}");
    collector.fold(&Rows::of(2, &[Some("x"), Some("1")]));
    let stored = collector.admitted();
    collector.mark_clean();
    collector.fold(&Rows::of(2, &[Some("y"), Some("1")]));
    // It was not written, and the state is read again.
    collector.load_admitted(&stored);
    let left: Vec<String> = collector.admitted().into_iter().map(|set| set.labels).collect();
    assert_eq!(left, [r#"["y"]"#]);
}

#[test]
fn a_server_s_total_is_never_below_nought() {
    let mut collector = collector("{counter: c_total, help: h, value: n, server_total: true}");
    let outcome = collector.fold(&Rows::of(1, &[Some("-5")]));
    assert_eq!(lines(&outcome), [""; 0]);
    assert_eq!(outcome.ignored, BTreeMap::from([(Ignored::Negative, 1)]));
}

#[test]
fn a_scaled_number_is_the_nearest_there_is() {
    for (text, scale, wanted) in [
        ("5", 1e-6, "0.000005"),
        ("123456789012", 0.001, "123456789.012"),
        ("7", 1e-9, "0.000000007"),
        ("1.5", 1024.0, "1536"),
        ("3", 0.3, "0.8999999999999999"),
        ("3", -0.001, "-0.003"),
        ("soon", 0.001, "soon"),
    ] {
        assert_eq!(scaled(text, Some(scale)), wanted, "{text} {scale}");
    }
}
