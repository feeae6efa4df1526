use serde_json::json;

use super::*;
use crate::source::logs::{Level, LineId};

const PACK: &str = "app: shop
title: Shop
parameters: {rate: {value: 2, help: Euros., gauge: shop_rate}}
collectors:
- name: orders
  logs:
    lines:
    - {json: {event: begun}, columns: {id: id, agent: agent}, run: start}
    - {json: {event: ended}, columns: {id: id, outcome: outcome, price: price}, run: end}
    runs: {id: id, lost_after: 10s, lost: {outcome: lost}}
  metrics:
  - {counter: shop_orders_total, help: Orders., labels: [{name: outcome, values: [ok, lost]}, {name: agent, values: [a]}]}
  - {counter: shop_euros_total, help: Euros., value: price, scale: rate}
  - {gauge: shop_orders_in_flight, help: Under way., value: in_flight}
- name: queues
  logs: {lines: [{json: {event: queue}, columns: {queue: queue, jobs: jobs}}]}
  metrics:
  - {gauge: shop_jobs, help: Jobs., value: jobs, labels: [queue], series_limit: 1}
";

const SECOND: Micros = 1_000_000;

fn collector(number: usize) -> LogsCollector {
    let pack = crate::pack::load::parse("shop.yaml", PACK).unwrap_or_else(|errors| panic!("{errors}"));
    let settings =
        LogsSettings { limits: Limits::default(), runs: 10, parameters: vec![("rate".into(), 2.0)], exemplars: true };
    LogsCollector::new(&pack.collectors[number], &settings, |_| None, &Arc::new(Guard::new(120)))
        .expect("its expressions are good")
        .expect("it is one of lines")
}

fn line(number: u128, json: serde_json::Value) -> LogLine {
    let level = Some(Level::Info);
    LogLine { id: LineId(number), time: None, level, text: json.to_string(), json: Some(json), record: None }
}

/// What is shown: each series, and its value.
fn shown(collector: &LogsCollector) -> Vec<String> {
    let families = collector.families(None).unwrap_or_default();
    let series = families.iter().flat_map(|family| family.series.iter().map(move |series| (family, series)));
    series
        .map(|(family, series)| match &series.value {
            Value::Number(value) => format!("{}{:?} {value}", family.name, series.labels),
            value => format!("{value:?}"),
        })
        .collect()
}

#[test]
fn lines_make_what_their_pack_says() {
    let mut orders = collector(0);
    assert_eq!(orders.families(None), None, "no line has come");
    let lines = [
        line(1, json!({"event": "begun", "id": "1", "agent": "a"})),
        line(2, json!({"event": "ended", "id": "1", "outcome": "ok", "price": "1.25"})),
        line(3, json!({"event": "begun", "id": "2", "agent": "a"})),
        line(4, json!({"event": "ended", "id": "3", "outcome": "ok", "price": "dear"})),
        line(5, json!({"event": "begun", "id": "3", "agent": "a"})),
        line(8, json!({"event": "ended", "id": "1", "outcome": "ok", "price": 1})),
        line(9, json!({"event": "ended", "outcome": "ok"})),
        line(10, json!({"event": "other"})),
    ];
    let folded = orders.fold(lines.iter(), SECOND);
    assert_eq!(folded.fits, [[true; 7].as_slice(), &[false]].concat());
    let ignored = [(Ignored::NotANumber, 1), (Ignored::KeyMissing, 1), (Ignored::RunOver, 1)];
    assert_eq!(folded.ignored, ignored.into());
    let before = [
        "shop_orders_total{outcome=\"lost\",agent=\"a\"} 0",
        "shop_orders_total{outcome=\"ok\",agent=\"a\"} 2",
        "shop_euros_total{} 2.5",
        "shop_orders_in_flight{} 1",
    ];
    assert_eq!(shown(&orders), before);

    // What is written is what is shown, and what goes on.
    let changes = orders.take_changes();
    assert!(LogsCollector::is_empty(&orders.take_changes()), "all was taken");
    let runs = changes.runs.written.into_iter().map(|((_, id), body)| (id, body)).collect();
    let stored = StoredLogs { columns: changes.definition, cursor: changes.cursor, series: changes.series, runs };
    let mut again = collector(0);
    assert_eq!(again.restore(stored, 2 * SECOND), Ok(Vec::new()));
    assert_eq!((shown(&again), again.lines()), (before.map(String::from).to_vec(), 7));
    assert_eq!(again.next_tick(), Some(11 * SECOND), "the first is forgotten then");
    again.tick(10, 11 * SECOND);
    assert_eq!(shown(&again), before, "nobody listened meanwhile, so the second has its time again");
    again.tick(10, 12 * SECOND);
    assert_eq!(shown(&again)[0], "shop_orders_total{outcome=\"lost\",agent=\"a\"} 1");
    assert_eq!(shown(&again)[3], "shop_orders_in_flight{} 0");
}

#[test]
fn a_gauge_shows_what_was_told_last_and_counts_what_it_leaves_out() {
    let mut queues = collector(1);
    let lines = [
        line(1, json!({"event": "queue", "queue": "mail", "jobs": "7"})),
        line(2, json!({"event": "queue", "queue": "sms", "jobs": 3})),
        line(3, json!({"event": "queue", "queue": "mail", "jobs": "[REDACTED]"})),
        line(4, json!({"event": "queue", "queue": "mail", "jobs": "many"})),
    ];
    let folded = queues.fold(lines.iter(), SECOND);
    assert_eq!((folded.rows, folded.ignored), (4, [(Ignored::NotANumber, 1)].into()));
    assert_eq!(shown(&queues), ["shop_jobs{queue=\"mail\"} 7"]);
    let jobs: Vec<_> = queues.take_admissions().into_iter().map(|jobs| (jobs.series, jobs.overflowed)).collect();
    assert_eq!(jobs, [(1, 1)], "a second queue is one too many");
}
