//! Pages in, counts out: what no real database does often enough to rely on it.

use super::*;
use crate::family::Value;
use crate::source::{Deletions, PagePosition, Rows};

const SECOND: Micros = 1_000_000;

fn settings(start: Start, seen_keys: usize) -> RowsSettings {
    let look_back = LookBack { unseen: 100 * SECOND, margin: 10 * SECOND, column: 0 };
    RowsSettings { start, look_back, page_rows: 100, limits: Limits { seen_keys, ..Limits::default() } }
}

fn collector_of(yaml: &str, settings: RowsSettings) -> RowsCollector {
    let definition: pack::Collector = serde_saphyr::from_str(yaml).expect("the test's own YAML");
    let rows = definition.rows.as_ref().expect("it has rows");
    let query = RowsQuery::of(rows, pack::System::Postgres, Vec::new());
    RowsCollector::new(&definition, query, settings, &Arc::new(Guard::new(100)))
}

const PLAIN: &str = "{name: c, rows: {table: t, key: id, time: at, columns: {kind: t.kind}}, \
                     metrics: [{counter: c_total, help: h, labels: [kind]}]}";
const STATES: &str = "{name: c, rows: {table: t, key: id, time: at, transition: t.state, columns: {kind: t.kind}}, \
                      metrics: [{counter: c_total, help: h, labels: [kind]}]}";

fn moment(now: i64, horizon: i64) -> Moment {
    Moment {
        mode: CursorMode::Horizon,
        now: now * SECOND,
        horizon: Some(horizon),
        oldest_open: Some(now * SECOND),
        identity: "one".to_owned(),
        indexed: true,
        deletions: Deletions::default(),
    }
}

/// A page of rows: key (and state), kind, time in seconds, writer.
fn page(moment: Moment, rows: &[(&[&str], i64, i64)]) -> RowsPage {
    let width = rows.first().map_or(2, |(cells, _, _)| cells.len());
    let cells: Vec<Option<&str>> = rows.iter().flat_map(|(cells, _, _)| cells.iter().map(|cell| Some(*cell))).collect();
    RowsPage {
        rows: Rows::of(width, &cells),
        times: rows.iter().map(|(_, time, _)| time * SECOND).collect(),
        writers: rows.iter().map(|(_, _, writer)| *writer).collect(),
        moment,
        next: None,
        resume: None,
    }
}

fn shown(collector: &RowsCollector) -> Vec<(String, f64)> {
    let families = collector.families(Micros::MAX);
    let of = |series: &crate::family::Series| match &series.value {
        Value::Number(number) => (series.labels.text().to_owned(), *number),
        Value::Histogram(histogram) => (series.labels.text().to_owned(), histogram.count as f64),
    };
    families.iter().flat_map(|family| family.series.iter().map(of)).collect()
}

#[test]
fn history_is_not_counted_and_what_comes_after_counts_once() {
    let mut collector = collector_of(PLAIN, settings(Start::Now, 100));
    collector.begin(&moment(1000, 50));
    assert_eq!(collector.next_range().floor, Some(990 * SECOND), "the margin before the oldest open transaction");
    let folded = collector.fold(&page(moment(1000, 50), &[(&["a", "x"], 995, 40)]), 0);
    assert_eq!((folded.counted, folded.ignored.get(&Ignored::History)), (0, Some(&1)));
    assert_eq!(collector.next_range().horizon, Some(50));
    // The old row is updated, a late one commits, and both are read again.
    for (counted, again) in [(1, 1), (0, 2)] {
        let rows: &[(&[&str], i64, i64)] = &[(&["a", "x"], 995, 60), (&["b", "x"], 994, 55)];
        let folded = collector.fold(&page(moment(1001, 50), rows), 0);
        assert_eq!((folded.counted, folded.ignored.get(&Ignored::AlreadyCounted)), (counted, Some(&again)));
    }
    assert_eq!(shown(&collector), [("kind=\"x\"".to_owned(), 1.0)]);
}

#[test]
fn a_sweep_goes_on_from_the_moment_of_its_first_page() {
    let mut collector = collector_of(PLAIN, settings(Start::All, 100));
    collector.begin(&moment(1000, 50));
    let mut first = page(moment(1000, 50), &[(&["a", "x"], 500, 10)]);
    first.next = Some(PagePosition(vec!["a".to_owned()]));
    let further = collector.range_after(&first).expect("there is more");
    assert!(collector.fold(&first, 0).more);
    assert_eq!(collector.next_range(), further, "what was read ahead is what is asked for");
    assert_eq!(collector.next_range().horizon, None);
    collector.fold(&page(moment(2000, 900), &[(&["b", "x"], 999, 49)]), 0);
    assert_eq!(collector.next_range().horizon, Some(50));
    assert_eq!(collector.next_range().floor, Some(990 * SECOND));
    let folded = collector.fold(&page(moment(2001, 900), &[(&["b", "x"], 999, 70), (&["c", "x"], 995, 55)]), 0);
    assert_eq!((folded.counted, folded.ignored.get(&Ignored::AlreadyCounted)), (1, Some(&1)));
    assert_eq!(shown(&collector), [("kind=\"x\"".to_owned(), 3.0)]);
}

#[test]
fn what_is_stored_goes_on_as_it_was() {
    let mut before = collector_of(PLAIN, settings(Start::All, 100));
    before.begin(&moment(1000, 50));
    before.fold(&page(moment(1000, 50), &[(&["a", "x"], 995, 60), (&["b", "y"], 996, 61)]), 0);
    let changes = before.take_changes();
    assert_eq!((changes.series.len(), changes.seen.added.len()), (2, 2));
    assert!(before.take_changes().series.is_empty(), "what was written is not written again");
    let restore = |yaml: &str| {
        let mut after = collector_of(yaml, settings(Start::All, 100));
        let changed = after.restore(&changes.cursor, changes.series.clone(), changes.seen.added.clone(), 0);
        (after, changed.expect("it can be read"))
    };
    let (mut after, changed) = restore(PLAIN);
    assert_eq!((changed.len(), shown(&after)), (0, shown(&before)));
    let folded = after.fold(&page(moment(1001, 70), &[(&["a", "x"], 995, 60), (&["c", "x"], 997, 62)]), 0);
    assert_eq!(folded.counted, 1);
    // The label's meaning changed: its series begin anew, and that is told.
    let (after, changed) = restore(&PLAIN.replace("t.kind", "lower(t.kind)"));
    assert_eq!((changed, shown(&after)), (vec!["c_total".to_owned()], Vec::new()));
    assert!(collector_of(PLAIN, settings(Start::All, 100)).restore("{}", Vec::new(), Vec::new(), 0).is_err());
}

#[test]
fn another_database_begins_at_nought_and_shared_rows_do_not_count_twice() {
    for elsewhere in [Moment { identity: "two".to_owned(), ..moment(1100, 80) }, moment(1100, 30)] {
        let mut collector = collector_of(PLAIN, settings(Start::All, 100));
        collector.begin(&moment(1000, 50));
        collector.fold(&page(moment(1000, 50), &[(&["a", "x"], 995, 40), (&["b", "x"], 996, 41)]), 0);
        let rows: &[(&[&str], i64, i64)] = &[(&["a", "x"], 995, 7), (&["c", "x"], 997, 8)];
        let folded = collector.fold(&page(elsewhere.clone(), rows), 5);
        assert!(folded.new_epoch && folded.more && folded.counted == 0);
        assert_eq!(shown(&collector), [("kind=\"x\"".to_owned(), 0.0)]);
        assert_eq!(collector.next_range().horizon, None, "every row from the floor on may be new");
        let folded = collector.fold(&page(elsewhere, rows), 5);
        assert_eq!((folded.new_epoch, folded.counted), (false, 1));
    }
}

#[test]
fn too_many_unsettled_keys_wait_for_their_transaction() {
    let mut collector = collector_of(PLAIN, settings(Start::All, 10));
    collector.begin(&moment(1000, 50));
    let keys: Vec<String> = (0..12).map(|key| format!("k{key}")).collect();
    let cells: Vec<[&str; 2]> = keys.iter().map(|key| [key.as_str(), "x"]).collect();
    let unsettled: Vec<(&[&str], i64, i64)> = cells.iter().map(|cells| (&cells[..], 995, 60)).collect();
    let folded = collector.fold(&page(moment(1000, 50), &unsettled), 0);
    assert_eq!((folded.counted, folded.keys_dropped), (12, 0), "they surely come again, so none is forgotten");
    assert!(collector.next_range().settled_only);
    // The transaction has ended: the keys are settled, the oldest of them go, and reading is whole again.
    let folded = collector.fold(&page(moment(1001, 90), &unsettled), 0);
    assert_eq!((folded.counted, folded.keys_dropped), (0, 3));
    collector.fold(&page(moment(1100, 95), &[]), 0);
    assert!(!collector.next_range().settled_only);
    assert_eq!(shown(&collector), [("kind=\"x\"".to_owned(), 12.0)]);
}

#[test]
fn in_overlap_a_forgotten_key_takes_the_floor_with_it() {
    let overlap = |now| Moment { mode: CursorMode::Overlap, horizon: None, oldest_open: None, ..moment(now, 0) };
    let mut collector = collector_of(PLAIN, settings(Start::All, 10));
    collector.begin(&overlap(1000));
    let keys: Vec<String> = (0..12).map(|key| format!("k{key}")).collect();
    let cells: Vec<[&str; 2]> = keys.iter().map(|key| [key.as_str(), "x"]).collect();
    let rows: Vec<(&[&str], i64, i64)> = cells.iter().zip(950..).map(|(cells, time)| (&cells[..], time, 0)).collect();
    let folded = collector.fold(&page(overlap(1000), &rows), 0);
    assert_eq!((folded.counted, folded.keys_dropped), (12, 3));
    assert_eq!(collector.next_range().floor, Some(952 * SECOND + 1), "what is forgotten is not read again");
}

#[test]
fn each_state_of_a_row_counts_once_however_often_it_is_written() {
    let mut collector = collector_of(STATES, settings(Start::All, 100));
    collector.begin(&moment(1000, 50));
    collector.fold(&page(moment(1000, 50), &[(&["a", "done", "x"], 995, 40)]), 0);
    // Written again an hour later, when a key kept for the look-back alone would be gone.
    let rows: &[(&[&str], i64, i64)] = &[(&["a", "done", "x"], 4600, 60), (&["b", "done", "x"], 4600, 61)];
    assert_eq!(collector.fold(&page(moment(4600, 70), rows), 0).counted, 1);
    assert_eq!(collector.fold(&page(moment(9000, 80), &[(&["a", "failed", "x"], 9000, 75)]), 0).counted, 1);
    assert_eq!(shown(&collector), [("kind=\"x\"".to_owned(), 3.0)]);
}

#[test]
fn a_table_that_comes_later_counts_from_its_first_row() {
    let mut collector = collector_of(PLAIN, settings(Start::Now, 100));
    collector.begin(&moment(1000, 50));
    assert!(collector.is_before_first_look());
    collector.table_was_missing(&moment(1000, 50));
    assert!(!collector.is_before_first_look());
    assert_eq!(collector.next_range().horizon, Some(50));
    let folded = collector.fold(&page(moment(1060, 70), &[(&["a", "x"], 1030, 60)]), 0);
    assert_eq!(folded.counted, 1);
}

#[test]
fn one_bad_row_costs_no_other() {
    let mut collector = collector_of(
        "{name: c, rows: {table: t, key: id, time: at, columns: {kind: t.kind}}, \
          metrics: [{counter: c_total, help: h, value: kind}, {counter: n_total, help: h}]}",
        settings(Start::All, 100),
    );
    collector.begin(&moment(1000, 50));
    let values = ["1", "NaN", "-1", "x", "", "1e99", "Infinity", "2.5"];
    let keys: Vec<String> = (0..values.len()).map(|key| key.to_string()).collect();
    let cells: Vec<[&str; 2]> = keys.iter().zip(values).map(|(key, value)| [key.as_str(), value]).collect();
    let rows: Vec<(&[&str], i64, i64)> = cells.iter().map(|cells| (&cells[..], 995, 40)).collect();
    let folded = collector.fold(&page(moment(1000, 50), &rows), 0);
    assert_eq!(folded.counted, 8);
    let ignored: Vec<(Ignored, u64)> = folded.ignored.into_iter().collect();
    assert_eq!(
        ignored,
        [(Ignored::NotANumber, 2), (Ignored::NotFinite, 2), (Ignored::Negative, 1), (Ignored::OutOfRange, 1)]
    );
    assert_eq!(shown(&collector).iter().map(|(_, value)| *value).collect::<Vec<_>>(), [3.5, 8.0]);
    let without_key =
        RowsPage { rows: Rows::of(2, &[None, Some("1")]), ..page(moment(1001, 60), &[(&["z", "1"], 995, 55)]) };
    let folded = collector.fold(&without_key, 0);
    assert_eq!((folded.counted, folded.ignored.get(&Ignored::KeyMissing)), (0, Some(&1)));
}

#[test]
fn keys_that_a_sweep_has_not_passed_are_not_forgotten() {
    let mut collector = collector_of(PLAIN, settings(Start::All, 10));
    collector.begin(&moment(1000, 50));
    let keys: Vec<String> = (0..16).map(|key| format!("k{key}")).collect();
    let cells: Vec<[&str; 2]> = keys.iter().map(|key| [key.as_str(), "x"]).collect();
    let rows: Vec<(&[&str], i64, i64)> = cells.iter().zip(991..).map(|(cells, time)| (&cells[..], time, 60)).collect();
    collector.fold(&page(moment(1000, 50), &rows), 0);
    assert!(collector.next_range().settled_only);
    // Everything comes again, page by page, and now all of it is settled.
    let mut counted = 0;
    for (number, part) in rows.chunks(4).enumerate() {
        let mut page = page(moment(1001, 90), part);
        page.next = (number < 3).then(|| PagePosition(vec![number.to_string()]));
        counted += collector.fold(&page, 0).counted;
    }
    assert_eq!(counted, 0);
    assert_eq!(shown(&collector), [("kind=\"x\"".to_owned(), 16.0)]);
}

#[test]
fn the_floor_waits_for_rows_that_were_left_unread() {
    let mut collector = collector_of(PLAIN, settings(Start::All, 10));
    collector.begin(&moment(1000, 50));
    let keys: Vec<String> = (0..12).map(|key| format!("k{key}")).collect();
    let cells: Vec<[&str; 2]> = keys.iter().map(|key| [key.as_str(), "x"]).collect();
    let unsettled: Vec<(&[&str], i64, i64)> = cells.iter().map(|cells| (&cells[..], 995, 60)).collect();
    collector.fold(&page(moment(1000, 50), &unsettled), 0);
    let floor = collector.next_range().floor;
    assert!(collector.next_range().settled_only);
    // The horizon is held by a session of another database, which nobody can see: hours later nothing was read yet.
    collector.fold(&page(moment(9000, 50), &[]), 0);
    assert_eq!(collector.next_range().floor, floor);
    collector.fold(&page(moment(9001, 90), &[(&["z", "x"], 1001, 70)]), 0);
    assert_eq!(shown(&collector), [("kind=\"x\"".to_owned(), 13.0)]);
    // All is settled, so keys could go and the floor may move on.
    collector.fold(&page(moment(9002, 91), &[]), 0);
    assert!(!collector.next_range().settled_only);
    collector.fold(&page(moment(9003, 92), &[]), 0);
    assert_eq!(collector.next_range().floor, Some(8993 * SECOND));
}

#[test]
fn the_first_look_knows_every_row_that_reached_its_state_long_ago() {
    let mut collector = collector_of(STATES, settings(Start::Now, 100));
    collector.begin(&moment(1_000_000, 50));
    assert_eq!(collector.next_range().floor, None);
    collector.fold(&page(moment(1_000_000, 50), &[(&["a", "done", "x"], 5, 40)]), 0);
    let touched: &[(&[&str], i64, i64)] = &[(&["a", "done", "x"], 1_000_005, 60)];
    assert_eq!(collector.fold(&page(moment(1_000_006, 70), touched), 0).counted, 0);
}

#[test]
fn a_clock_set_back_hides_nothing_that_was_shown() {
    let mut before = collector_of(PLAIN, settings(Start::All, 100));
    before.begin(&moment(1000, 50));
    before.fold(&page(moment(1000, 50), &[]), 0);
    before.fold(&page(moment(1001, 60), &[(&["a", "x"], 1000, 55)]), 5000 * SECOND);
    let changes = before.take_changes();
    let mut after = collector_of(PLAIN, settings(Start::All, 100));
    after.restore(&changes.cursor, changes.series, changes.seen.added, 1000 * SECOND).expect("it can be read");
    let families = after.families(900 * SECOND);
    assert_eq!(families[0].series[0].value, Value::Number(1.0));
}

#[test]
fn a_sweep_that_goes_on_for_long_remembers_no_more_than_its_bound() {
    let mut collector = collector_of(PLAIN, settings(Start::All, 10));
    collector.begin(&moment(1000, 50));
    let keys: Vec<String> = (0..12).map(|key| format!("k{key}")).collect();
    let cells: Vec<[&str; 2]> = keys.iter().map(|key| [key.as_str(), "x"]).collect();
    let late: Vec<(&[&str], i64, i64)> = cells.iter().map(|cells| (&cells[..], 5000, 60)).collect();
    let mut first = page(moment(1000, 50), &[(&["a", "x"], 500, 10)]);
    first.next = Some(PagePosition(vec!["a".to_owned()]));
    collector.fold(&first, 0);
    assert_eq!(collector.next_range().leave, None, "as long as there is room, what can be seen counts at once");
    // Rows that came after the sweep began: the next one meets them again, so their keys fill the room.
    let mut second = page(moment(6000, 900), &late);
    second.next = Some(PagePosition(vec!["b".to_owned()]));
    collector.fold(&second, 0);
    let left = crate::source::Leave { horizon: 50, floor: 990 * SECOND };
    assert_eq!(collector.next_range().leave, Some(left), "the rest is left to the next sweep");
    collector.fold(&page(moment(6001, 900), &[]), 0);
    let next = collector.next_range();
    assert_eq!((next.horizon, next.floor, next.settled_only), (Some(50), Some(990 * SECOND), true));
    collector.fold(&page(moment(6002, 901), &late), 0);
    collector.fold(&page(moment(6003, 902), &[]), 0);
    assert!(!collector.next_range().settled_only);
    assert_eq!(shown(&collector), [("kind=\"x\"".to_owned(), 13.0)]);
}

#[test]
fn a_count_of_all_history_begins_with_its_first_row_but_not_before_1970() {
    for (first, start) in [(500, 500 * SECOND), (-500, 0)] {
        let mut collector = collector_of(PLAIN, settings(Start::All, 100));
        collector.begin(&moment(1000, 50));
        collector.fold(&page(moment(1000, 50), &[(&["a", "x"], first, 10)]), 0);
        assert_eq!(collector.families(Micros::MAX)[0].series[0].start, Some(start));
    }
}

/// A collector of `kind` whose rows make a span and a part of it each.
fn tracing_of(start: Start) -> RowsCollector {
    let yaml = "{name: c, rows: {table: t, key: id, time: at, columns: {kind: t.kind, seconds: t.seconds}}, \
                metrics: [{counter: c_total, help: h, labels: [kind]}], \
                spans: [{name: 'work {kind}', duration: seconds}, {name: part, duration: seconds}]}";
    let definition: pack::Collector = serde_saphyr::from_str(yaml).expect("the test's own YAML");
    let query = RowsQuery::of(definition.rows.as_ref().expect("it has rows"), pack::System::Postgres, Vec::new());
    let guard = Arc::new(Guard::new(100));
    let spans = SpanMaker::new(&definition, &query, "main", "plants", &guard);
    RowsCollector::new(&definition, query, settings(start, 100), &guard).with_spans(spans)
}

#[test]
fn rows_that_count_make_spans_once_as_far_as_there_is_room() {
    let mut collector = tracing_of(Start::Now);
    collector.begin(&moment(1000, 50));
    collector.give_room(100);
    let folded = collector.fold(&page(moment(1000, 50), &[(&["a", "x", "1"], 995, 40)]), 0);
    assert_eq!((folded.spans_made, folded.spans_skipped.len()), (0, 0), "history makes none");
    assert_eq!(collector.take_changes().spans, []);

    // Room for two of three rows and a half, of which one tells no length of time.
    let rows: &[(&[&str], i64, i64)] = &[
        (&["b", "ann@example.net", "2"], 1001, 60),
        (&["c", "x", "soon"], 1001, 60),
        (&["d", "x", "1"], 1002, 60),
        (&["e", "x", "1"], 1003, 60),
    ];
    let all = page(moment(1005, 55), rows);
    assert_eq!(collector.spans_of(&all), 8);
    collector.give_room(5);
    let folded = collector.fold(&all, 0);
    assert_eq!((folded.counted, folded.spans_made), (4, 4), "all count");
    let skipped = [(SpanSkipped::QueueFull, 2), (SpanSkipped::BadTime, 2)];
    assert_eq!(folded.spans_skipped, skipped.into());
    assert_eq!(folded.spans_replaced.into_iter().collect::<Vec<_>>(), [(crate::telemetry::Replaced::Email, 1)]);
    let spans = collector.take_changes().spans;
    let told: Vec<_> = spans.iter().map(|span| (span.name.as_str(), span.start / SECOND, span.end / SECOND)).collect();
    assert_eq!(told, [("work redacted", 999, 1001), ("part", 999, 1001), ("work x", 1001, 1002), ("part", 1001, 1002)]);

    // Read again, nothing is made again.
    collector.give_room(100);
    let folded = collector.fold(&page(moment(1006, 55), rows), 0);
    assert_eq!((folded.counted, folded.spans_made, folded.spans_skipped.len()), (0, 0, 0));
    assert_eq!(collector.take_changes().spans, []);
}

#[test]
fn a_row_of_the_future_is_no_exemplar() {
    let mut collector = tracing_of(Start::Now);
    collector.begin(&moment(1000, 50));
    collector.fold(&page(moment(1000, 50), &[]), 0);
    let mut shown_after = |key: &str, at: i64| {
        collector.give_room(100);
        let folded = collector.fold(&page(moment(1005, 55), &[(&[key, "x", "1"], at, 60)]), 0);
        assert_eq!(folded.spans_made, 2, "it makes spans nevertheless");
        let families = collector.families(Micros::MAX);
        families[0].series[0].exemplar.map(|exemplar| exemplar.time / SECOND)
    };
    assert_eq!(shown_after("a", 1_000_000), None);
    assert_eq!(shown_after("b", 1001), Some(1001));
    assert_eq!(shown_after("c", 1_000_000), Some(1001));
    assert_eq!(shown_after("d", 1002), Some(1002));
}
