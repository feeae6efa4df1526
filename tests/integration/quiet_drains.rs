//! What is told where lines do not come: a drain that went silent while its application works, a run that never ends.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::harness::exporter::PATIENCE;
use super::harness::wait::eventually;
use super::harness::{Cluster, Exporter, Scrape, Setup, python};
use super::tables::make_events;

/// What the drains want to see.
const TOKEN: (&str, &str) = ("Authorization", "Bearer a-token-of-tests-0123456789");

/// When the last line came.
const LAST: &str = "rowmetry_drain_last_line_timestamp_seconds{source=\"log\"}";

/// Rows of the database since then.
const ROWS: &str = "rowmetry_drain_rows_since_last_line{source=\"log\"}";

async fn told(exporter: &Exporter, body: &str) {
    let reply = exporter.post("/drains/log", &[TOKEN], body.as_bytes()).await.expect("it answers");
    assert_eq!(reply.status, 200, "{}", reply.text());
}

async fn shows(exporter: &Exporter, series: &str, wanted: f64) -> Scrape {
    exporter
        .scrapes(&format!("{series} is {wanted}"), |scrape| match scrape.series.get(series) {
            Some(value) if *value == wanted => Ok(()),
            other => Err(format!("it is {other:?}")),
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_that_went_silent_while_rows_come_is_seen() {
    let database = Cluster::shared().database().await;
    make_events(&database).await;
    let logs = "{drains: [{name: log, kind: http, token: a-token-of-tests-0123456789, packs: [lines]}]}";
    let setup = Setup::of(&database.url).with("logs", logs);
    let insert = |rows: u32| format!("insert into events (kind) select 'a' from generate_series(1, {rows})");
    database.run("insert into events (kind) select 'a' from generate_series(1, 7)").await;
    let exporter = setup.start().await;
    shows(&exporter, "events_total{kind=\"a\"}", 7.0).await;
    let before = exporter.scrape().await;
    assert_eq!(before.series.get(LAST), None, "no line has come");
    assert!(!before.series.keys().any(|series| series.starts_with("lines_")), "and no line is no count of 0");

    // A drain that was never set up is as silent as one that broke.
    eventually(PATIENCE, "rows come and no line", async || {
        // It counts from when it first looked.
        database.run(insert(1)).await;
        match exporter.try_scrape().await?.series.get(ROWS) {
            Some(rows) if *rows >= 4.0 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    exporter.reads_again().await;

    told(&exporter, "plain one").await;
    let scrape = shows(&exporter, ROWS, 0.0).await;
    let at = scrape.series[LAST];
    assert_eq!(scrape.series.get("lines_events_total{event=\"plain\"}"), Some(&1.0));
    database.run(insert(5)).await;
    assert_eq!(shows(&exporter, ROWS, 5.0).await.series[LAST], at);

    // A restart is no line, and no row is forgotten for it.
    assert!(exporter.terminate().success());
    database.run(insert(6)).await;
    let exporter = setup.start().await;
    assert_eq!(shows(&exporter, ROWS, 11.0).await.series[LAST], at);
    told(&exporter, "plain two").await;
    assert!(shows(&exporter, ROWS, 0.0).await.series[LAST] > at);
}

/// Runs that are lost soon.
const RUNS: &str = "app: short
title: Short
collectors:
  - name: runs
    logs:
      lines:
        - {json: {event: run_start}, columns: {run: run, kind: kind}, run: start}
        - {json: {event: run_end}, columns: {run: run, outcome: outcome}, run: end}
      runs: {id: run, lost_after: 2s, lost: {outcome: lost}}
    metrics:
      - {counter: short_runs_total, help: Runs., labels: [outcome, kind]}
      - {gauge: short_runs_in_flight, help: Runs under way., value: in_flight}
";

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_never_ends_is_told_of_once() {
    let logs = "{drains: [{name: log, kind: http, token: a-token-of-tests-0123456789, packs: [short]}]}";
    let setup = Setup::of_logs(logs);
    let pack = setup.folder.write("short.yaml", RUNS);
    let setup = setup.with("packs", format!("[\"{}\"]", pack.display()));
    let exporter = setup.start().await;
    told(&exporter, "{\"id\":\"1\",\"event\":\"run_start\",\"run\":\"a\",\"kind\":\"x\"}").await;
    // The end of another overtakes its beginning.
    told(&exporter, "{\"id\":\"2\",\"event\":\"run_end\",\"run\":\"b\",\"outcome\":\"ok\"}").await;
    told(&exporter, "{\"id\":\"3\",\"event\":\"run_start\",\"run\":\"b\",\"kind\":\"y\"}").await;
    let scrape = exporter.scrape().await;
    assert_eq!(scrape.series.get("short_runs_total{kind=\"y\",outcome=\"ok\"}"), Some(&1.0), "{:#?}", scrape.series);
    let lost = "short_runs_total{kind=\"x\",outcome=\"lost\"}";
    let scrape = shows(&exporter, lost, 1.0).await;
    assert_eq!(scrape.series.get("short_runs_in_flight"), Some(&0.0));
    // It ends after all: what was told is not taken back.
    told(&exporter, "{\"id\":\"4\",\"event\":\"run_end\",\"run\":\"a\",\"outcome\":\"ok\"}").await;
    let scrape = exporter.scrape().await;
    assert_eq!(scrape.sum("short_runs_total", &[]), 2.0);
    assert_eq!(scrape.sum("rowmetry_rows_ignored_total", &[("reason", "run_over")]), 1.0);

    // One that is under way when the exporter dies goes on, with all its time.
    told(&exporter, "{\"id\":\"5\",\"event\":\"run_start\",\"run\":\"c\",\"kind\":\"z\"}").await;
    exporter.kill();
    let exporter = setup.start().await;
    let scrape = exporter.scrape().await;
    assert_eq!(scrape.series.get("short_runs_in_flight"), Some(&1.0));
    assert_eq!(scrape.series.get(lost), Some(&1.0));
    shows(&exporter, "short_runs_total{kind=\"z\",outcome=\"lost\"}", 1.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_foreign_sender_brings_by_otlp_counts_once() {
    let logs =
        "{drains: [{name: log, kind: otlp, path: /v1/logs, token: a-token-of-tests-0123456789, packs: [lines]}]}";
    let setup = Setup::of_logs(logs);
    let exporter = setup.start().await;
    let made = python::run("otlp_logs_sender.py", br#"{"answers": []}"#).expect("the sender makes a request");
    let body = made["protobuf"].as_str().and_then(|text| BASE64_STANDARD.decode(text).ok()).expect("it is base64");
    for _ in 0..2 {
        let headers = [TOKEN, ("Content-Type", "application/x-protobuf")];
        let reply = exporter.post("/v1/logs", &headers, &body).await.expect("it answers");
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    let scrape = exporter.scrape().await;
    let levels = [("error", 1.0), ("info", 1.0), ("unknown", 2.0), ("warn", 1.0)];
    for (level, lines) in levels {
        assert_eq!(scrape.series.get(&format!("lines_levels_total{{level=\"{level}\"}}")), Some(&lines), "{level}");
    }
    assert_eq!(scrape.sum("lines_events_total", &[("event", "job_done")]), 1.0);
    let fate = |outcome| scrape.sum("rowmetry_drain_lines_total", &[("outcome", outcome)]);
    assert_eq!((fate("counted"), fate("repeated"), fate("unreadable")), (5.0, 5.0, 2.0));
}
