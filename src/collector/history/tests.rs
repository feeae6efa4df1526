//! Rows in, growth by step out.

use super::*;
use crate::family::Kind;
use crate::source::{CursorMode, Deletions, Moment, Rows};

const SECOND: Micros = 1_000_000;

const COUNTED: &str = "{name: c, rows: {table: t, key: id, time: at, columns: {kind: t.kind, size: t.size}}, metrics: [\
                       {counter: c_total, help: h, labels: [kind]}, \
                       {counter: size_total, help: h, value: size}, \
                       {histogram: c_bytes, help: h, value: size, buckets: [1, 2]}]}";

fn history(yaml: &str, steps: Steps) -> RowsHistory {
    let definition: pack::Collector = serde_saphyr::from_str(yaml).expect("the test's own YAML");
    let rows = definition.rows.as_ref().expect("it has rows");
    let query = RowsQuery::of(rows, pack::System::Postgres, Vec::new());
    RowsHistory::new(&definition, &query, &Limits::default(), &Arc::new(Guard::new(100)), steps)
}

fn steps(from: i64, to: i64, step: i64) -> Steps {
    Steps::new(from * SECOND, to * SECOND, step).expect("it fits")
}

/// A page of rows: id, kind, size, time in tenths of a second.
fn page(rows: &[(&str, &str, &str, i64)]) -> RowsPage {
    let cells: Vec<Option<&str>> = rows
        .iter()
        .flat_map(|(id, kind, size, _)| [*id, *kind, *size].map(|cell| (!cell.is_empty()).then_some(cell)))
        .collect();
    RowsPage {
        rows: Rows::of(3, &cells),
        times: rows.iter().map(|(.., time)| time * SECOND / 10).collect(),
        writers: Vec::new(),
        moment: Moment {
            mode: CursorMode::Rowid,
            now: 0,
            horizon: None,
            oldest_open: None,
            identity: String::new(),
            indexed: true,
            deletions: Deletions::default(),
        },
        next: None,
        resume: None,
    }
}

/// Name and labels, first step, and each change.
type Told = (String, u32, Vec<(u32, f64)>);

fn told(families: &[PastFamily]) -> Vec<Told> {
    let number = |value: Value| match value {
        Value::Number(number) => number,
        Value::Histogram(histogram) => histogram.count as f64 * 1000.0 + histogram.sum,
    };
    let of = |family: &PastFamily, series: &PastSeries| {
        let changes = series.values().map(|(step, value)| (step, number(value))).collect();
        (format!("{}{:?}", family.head.name, series.labels), series.begins, changes)
    };
    families.iter().flat_map(|family| family.series.iter().map(|series| of(family, series))).collect()
}

#[test]
fn a_row_counts_at_the_step_after_it() {
    let steps = steps(1000, 1035, 10);
    assert_eq!((steps.last(), steps.from(), steps.to()), (4, 1000 * SECOND, 1035 * SECOND));
    assert_eq!([0, 1, 3, 4].map(|step| steps.seconds(step)), [1000, 1010, 1030, 1035], "the end is a step of its own");
    for (tenths, step) in
        [(9_999, None), (10_000, Some(1)), (10_099, Some(1)), (10_100, Some(2)), (10_349, Some(4)), (10_350, None)]
    {
        assert_eq!(steps.of(tenths * SECOND / 10), step, "{tenths}");
    }
    let whole = super::Steps::new(60 * SECOND, 120 * SECOND, 60).expect("it fits");
    assert_eq!((whole.last(), whole.seconds(1), whole.of(120 * SECOND - 1)), (1, 120, Some(1)));
}

#[test]
fn a_window_that_cannot_be_is_refused() {
    for (from, to, step, why) in [
        (10, 10, 60, "empty"),
        (10, 9, 60, "empty"),
        (10, 1000, 301, "five minutes"),
        (10, 1000, 0, "five minutes"),
        (-10, 1000, 60, "1970"),
        (10, 1 << 40, 1, "too many"),
    ] {
        let refusal = Steps::new(from * SECOND, to * SECOND, step).expect_err("it does not fit");
        assert!(refusal.contains(why), "{refusal}");
    }
}

#[test]
fn series_begin_at_nought_one_step_before_their_first_row() {
    let mut history = history(COUNTED, steps(0, 100, 10));
    history.fold(&page(&[("1", "a", "2", 0), ("2", "a", "0.5", 99), ("3", "b", "1", 350), ("4", "a", "", 999)]));
    assert_eq!(history.counted, 4);
    let changes = |of: &[(u32, f64)]| of.to_vec();
    assert_eq!(
        told(&history.families()),
        [
            ("c_total{kind=\"a\"}".to_owned(), 0, changes(&[(1, 2.0), (10, 3.0)])),
            ("c_total{kind=\"b\"}".to_owned(), 3, changes(&[(4, 1.0)])),
            // Without labels it is there from the beginning.
            ("size_total{}".to_owned(), 0, changes(&[(0, 0.0), (1, 2.5), (4, 3.5)])),
            ("c_bytes{}".to_owned(), 0, changes(&[(0, 0.0), (1, 2002.5), (4, 3003.5)])),
        ]
    );
}

#[test]
fn declared_values_are_there_from_the_beginning() {
    let declared = COUNTED.replace("labels: [kind]", "labels: [{name: kind, values: [a, z]}]");
    let mut history = history(&declared, steps(0, 100, 10));
    history.fold(&page(&[("1", "a", "", 500), ("2", "new", "", 500)]));
    let told = told(&history.families());
    assert_eq!(told[0], ("c_total{kind=\"a\"}".to_owned(), 0, vec![(0, 0.0), (6, 1.0)]));
    assert_eq!(told[1], ("c_total{kind=\"new\"}".to_owned(), 5, vec![(6, 1.0)]));
    assert_eq!(told[2], ("c_total{kind=\"z\"}".to_owned(), 0, vec![(0, 0.0)]));
}

#[test]
fn the_order_of_rows_and_pages_does_not_matter() {
    let ids: Vec<String> = (0..300).map(|id| id.to_string()).collect();
    let rows: Vec<(&str, &str, &str, i64)> = ids
        .iter()
        .enumerate()
        .map(|(n, id)| (id.as_str(), ["a", "b", "c"][n % 3], ["0.1", "0.2", "7", ""][n % 4], (n as i64 * 7919) % 1200))
        .collect();
    let mut in_order = rows.clone();
    in_order.sort_by_key(|(.., time)| *time);
    let past = |rows: &[(&str, &str, &str, i64)], size: usize| {
        let mut history = history(COUNTED, steps(0, 100, 10));
        rows.chunks(size).for_each(|chunk| history.fold(&page(chunk)));
        (history.counted, history.bytes(), told(&history.families()))
    };
    let expected = past(&in_order, 300);
    let within = rows.iter().filter(|(.., time)| *time < 1000).count() as u64;
    assert_eq!((expected.0, within < 300), (within, true), "some lie behind the window");
    for size in [1, 7, 300] {
        assert_eq!(past(&rows, size), expected, "pages of {size}");
    }
}

#[test]
fn what_the_live_collector_refuses_is_refused() {
    let mut history = history(COUNTED, steps(0, 100, 10));
    history.fold(&page(&[
        ("", "a", "1", 10),
        ("1", "a", "-1", 20),
        ("1", "a", "-1", 20),
        ("2", "a", "x", 30),
        ("3", "x@example.org", "1e99", 40),
    ]));
    assert_eq!(history.counted, 3);
    let reasons: Vec<(&str, u64)> = history.ignored.iter().map(|(reason, rows)| (reason.as_str(), *rows)).collect();
    // A histogram takes a value below zero.
    assert_eq!(
        reasons,
        [("already_counted", 1), ("not_a_number", 2), ("negative", 1), ("out_of_range", 2), ("key_missing", 1)]
    );
    let told = told(&history.families());
    assert_eq!(told[0].0, "c_total{kind=\"a\"}");
    assert_eq!(told[1], ("c_total{kind=\"redacted\"}".to_owned(), 0, vec![(1, 1.0)]));
}

#[test]
fn families_of_one_name_become_one() {
    let past = |label: &str, kind: Kind| {
        let mut history = history(COUNTED, steps(0, 100, 10));
        history.fold(&page(&[("1", label, "", 10)]));
        let mut family = history.families().remove(0);
        family.head.kind = kind;
        family
    };
    let mut last = past("a", Kind::Counter);
    last.head.name = "a_total".into();
    let parts =
        [past("b", Kind::Counter), past("a", Kind::Counter), past("b", Kind::Counter), past("c", Kind::Gauge), last];
    let (families, left_out) = merged(parts);
    let names: Vec<String> = told(&families).into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names, ["a_total{kind=\"a\"}", "c_total{kind=\"b\"}", "c_total{kind=\"a\"}"]);
    assert_eq!(left_out, 2);
}
