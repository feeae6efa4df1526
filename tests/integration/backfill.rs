//! The past of a database in a real Prometheus: what it answers to queries is what SQL says of the same window.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use serde_json::Value;
use sqlx::Connection;

use super::harness::prometheus::Prometheus;
use super::harness::{Cluster, Database, Setup, python};
use super::tables::{insert, make_events};

/// One metric of two collectors, the second of a table whose rows change.
const SHOP: &str = "app: shop
title: Shop
detect: [sales, returns]
collectors:
  - name: sales
    rows: {table: sales, key: id, time: at, columns: {kind: \"'sale'\", state: t.state, cents: t.cents}}
    metrics:
      - {counter: shop_records_total, help: 'Records, of any kind.', labels: [kind, state]}
      - {counter: shop_cents_total, help: Cents., value: cents, labels: [{name: state, values: [paid, never]}]}
  - name: returns
    rows: {table: returns, key: [sale, part], time: at, filter: t.state <> 'open', transition: t.state, columns: {kind: \"'return'\", state: t.state}}
    metrics:
      - {counter: shop_records_total, help: 'Records, of any kind.', labels: [kind, state]}
  - name: stock
    snapshot: {sql: 'select count(*) as n from sales'}
    metrics:
      - {gauge: shop_stock, help: Stock., value: n}
";

/// Seconds in an hour.
const HOUR: i64 = 3600;

/// The last whole minute some hours ago, in seconds since 1970.
fn hours_ago(hours: i64) -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is after 1970");
    let now = i64::try_from(now.as_secs()).expect("it is long before the end of time");
    now / 60 * 60 - hours * HOUR
}

fn rfc3339(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).expect("a time of today").to_string()
}

/// A setup with the packs `events` and `shop`.
fn setup(url: &str) -> Setup {
    let setup = Setup::of(url);
    let shop = setup.folder.write("shop.yaml", SHOP);
    let events = super::harness::test_file("integration/packs/events.yaml");
    setup.with("packs", format!("[\"{}\", \"{}\"]", shop.display(), events.display()))
}

/// What a run came to: output, log, exit code.
struct Ran {
    out: Vec<u8>,
    log: String,
    code: Option<i32>,
}

fn ran(mut command: Command) -> Ran {
    let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().expect("it can be started");
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    Ran { out: output.stdout, log, code: output.status.code() }
}

fn backfill(setup: &Setup, from: i64, to: i64, more: &[&str]) -> Ran {
    let (from, to) = (rfc3339(from), rfc3339(to));
    ran(setup.command(&[&["backfill", "--from", &from, "--to", &to], more].concat()))
}

/// Tables of the pack `shop`, with rows at odd times from hour to hour before and behind a window of these seconds.
async fn make_shop(database: &Database<'_>, from: i64, to: i64) {
    let time = format!("to_timestamp({from} - 1000) + random() * ({to} - {from} + 2000) * interval '1 second'");
    database
        .run(format!(
            "select setseed(0.25);
             create table sales (id bigint primary key, at timestamptz not null, state text, cents numeric);
             create table returns (sale bigint, part int, at timestamp, state text, primary key (sale, part));
             create index on sales (at);
             insert into sales select n, {time}, (array['paid', 'open', null])[1 + n % 3], n * 0.37
               from generate_series(1, 20000) n;
             -- Many at the very same moment, the first and the last of the window among them.
             insert into sales select 100000 + n, to_timestamp({from} + 60 * (n % 3)), 'paid', 1 from generate_series(1, 50) n;
             insert into sales select 200000 + n, to_timestamp({to}), 'paid', 1 from generate_series(1, 7) n;
             insert into returns select n, n % 2, ({time}) at time zone 'UTC', (array['open', 'done', 'lost'])[1 + n % 3]
               from generate_series(1, 5000) n;
             insert into returns values (1000000, 1, null, 'done');"
        ))
        .await;
}

/// Every series of the pack `shop`, with its value at a time as SQL says it: of the rows from `from` on and before `at`.
async fn shop_truth(database: &Database<'_>, from: i64, at: i64) -> BTreeMap<String, f64> {
    let within = |time: &str| format!("{time} >= to_timestamp({from}) and {time} < to_timestamp({at})");
    let sales = within("at");
    let returns = within("(at at time zone 'UTC')");
    series(
        database,
        &format!(
            "select 'shop_records_total', 'sale', coalesce(state, ''), count(*)::text from sales where {sales} group by 3
             union all select 'shop_records_total', 'return', state, count(*)::text from returns
               where {returns} and state <> 'open' group by 3
             union all select 'shop_cents_total', '', coalesce(state, ''), sum(cents)::text from sales where {sales} group by 3"
        ),
        &["kind", "state"],
    )
    .await
}

/// Every series of the pack `events`.
async fn events_truth(database: &Database<'_>, from: i64, at: i64) -> BTreeMap<String, f64> {
    let rows = format!(
        "(select * from events where created_at >= to_timestamp({from}) and created_at < to_timestamp({at})) e"
    );
    series(
        database,
        &format!(
            "select 'events_total', '', kind, count(*)::text from {rows} group by 3
             union all select 'events_amount_total', '', kind, sum(amount)::text from {rows} group by 3
             union all select 'events_seconds_count', '', kind, count(seconds)::text from {rows} group by 3
             union all select 'events_seconds_sum', '', kind, sum(seconds::numeric)::text from {rows} group by 3
             union all select 'events_seconds_bucket', le, kind, count(seconds) filter (where seconds <= bound)::text
               from {rows} cross join (values ('0.5', 0.5), ('1.0', 1), ('2.5', 2.5), ('5.0', 5), ('+Inf', 'Infinity'::float8))
               b (le, bound) group by 2, 3"
        ),
        &["le", "kind"],
    )
    .await
}

/// Rows of a name, label values and a number, by the series' name; series at 0 are as good as none.
async fn series(database: &Database<'_>, sql: &str, labels: &[&str]) -> BTreeMap<String, f64> {
    let mut series = BTreeMap::new();
    for row in database.rows(sql).await {
        let cell = |at: usize| row[at].clone().unwrap_or_default();
        let pairs = labels.iter().enumerate().map(|(at, label)| ((*label).to_owned(), cell(at + 1)));
        // The sum of no value at all is NULL.
        let Some(value) = &row[labels.len() + 1] else { continue };
        let value: f64 = value.parse().expect("SQL tells a number");
        if value != 0.0 {
            series.insert(key(&cell(0), pairs.collect()), value);
        }
    }
    series
}

fn key(name: &str, mut labels: BTreeMap<String, String>) -> String {
    labels.retain(|_, value| !value.is_empty());
    format!("{name}{labels:?}")
}

/// What Prometheus answers to an instant query, by the series' name without these labels.
async fn answer(prometheus: &Prometheus, query: &str, at: i64, without: &[&str]) -> BTreeMap<String, f64> {
    let answer = prometheus.query(query, Some(at * 1000)).await.unwrap_or_else(|error| panic!("{error}"));
    let mut series = BTreeMap::new();
    for one in answer.as_array().expect("a vector") {
        let labels: BTreeMap<String, String> = serde_json::from_value(one["metric"].clone()).expect("labels");
        let name = labels.get("__name__").cloned().unwrap_or_default();
        let labels = labels.into_iter().filter(|(name, _)| name != "__name__" && !without.contains(&name.as_str()));
        let value: f64 = one["value"][1].as_str().and_then(|text| text.parse().ok()).expect("a number");
        if value != 0.0 {
            assert!(series.insert(key(&name, labels.collect()), value).is_none(), "twice: {one}");
        }
    }
    series
}

/// Python's parser reads it: what is no histogram as a whole, and everything as it is at these times. Of a histogram with
/// several times it would drop all but the first bucket of the second one, and then miss them.
fn read_by_python(text: &str, times: &[i64]) {
    let all_but_histograms = |line: &&str| !line.contains("events_seconds");
    let mut parts = vec![text.lines().filter(all_but_histograms).collect::<Vec<_>>()];
    for time in times {
        let end = format!(" {time}");
        parts.push(text.lines().filter(|line| line.starts_with('#') || line.ends_with(&end)).collect());
    }
    for lines in parts {
        let part = lines.join("\n") + "\n";
        let parsed = python::run("check_openmetrics.py", part.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
        let samples = parsed["samples"].as_array().map_or(0, Vec::len);
        assert!(samples > 0);
        assert_eq!(samples, lines.iter().filter(|line| !line.starts_with('#')).count());
        assert_eq!(parsed["families"]["events"], Value::from("counter"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_answers_with_the_truth_of_the_past() {
    let database = Cluster::shared().database().await;
    // An odd length, so that the last step is a short one; longer than a block.
    let (from, to) = (hours_ago(6), hours_ago(1) + 17);
    make_events(&database).await;
    make_shop(&database, from, to).await;
    database.run(insert(15_000, &format!("to_timestamp({from}) + (n * 7919 % 18100) * interval '1 second'"))).await;
    database
        .run(format!("insert into events (created_at, kind, amount) values (to_timestamp({to} - 900), 'late', 0)"))
        .await;
    let setup = setup(&database.url).sourced("page_rows", "1000");
    let ran = backfill(&setup, from, to, &["--label", "job=rowmetry", "--label", "instance=shop:9469"]);
    assert_eq!(ran.code, Some(0), "{}", ran.log);
    assert!(ran.log.contains("Gauges are not among it"), "{}", ran.log);
    assert!(!setup.state_dir().exists(), "the state is not touched");
    let text = String::from_utf8(ran.out.clone()).expect("it is text");
    assert_eq!(text.matches("# TYPE shop_records counter").count(), 1, "two collectors, one family");
    assert!(text.ends_with("\n# EOF\n") && !text.contains("shop_stock"), "no gauge");
    assert!(text.contains(&format!(
        "\nshop_cents_total{{state=\"never\",job=\"rowmetry\",instance=\"shop:9469\"}} 0 {from}\n"
    )));
    let late = |value: u32, at: i64| {
        format!("\nevents_total{{kind=\"late\",job=\"rowmetry\",instance=\"shop:9469\"}} {value} {at}\n")
    };
    // It happened a quarter of an hour before the end, 17 seconds after a step.
    let (before, after) = (to - 900 - 17, to - 900 + 43);
    assert!(text.contains(&(late(0, before) + &late(1, after)[1..])), "0 one step before the first value");
    assert!(!text.contains(&late(0, before - 60)), "and not sooner");

    read_by_python(&text, &[from, from + HOUR, to]);

    let prometheus = Prometheus::of_openmetrics(&ran.out).await;
    let mut windows = 0;
    for at in (from..to).step_by(23 * 60).skip(1).chain([from + 60, to]) {
        for (pack, truth) in
            [("shop_", shop_truth(&database, from, at).await), ("events_", events_truth(&database, from, at).await)]
        {
            let query = format!("{{__name__=~\"{pack}.*\",job=\"rowmetry\",instance=\"shop:9469\"}}");
            let answered = answer(&prometheus, &query, at, &["job", "instance"]).await;
            assert!(!truth.is_empty());
            assert_eq!(answered, truth, "{pack} at {at}");
            windows += 1;
        }
    }
    assert!(windows > 25, "{windows}");
    // What a dashboard asks: the growth between two steps, as the difference of what was at them, is that of the rows between.
    for (first, last) in [(from, to), (from + HOUR, from + 2 * HOUR), (from + 61 * 60, from + 67 * 60)] {
        let grown = database
            .number(&format!(
                "select count(*) from events where kind = 'a' and created_at >= to_timestamp({first}) and created_at < to_timestamp({last})"
            ))
            .await;
        let query = |at: i64| format!("sum(events_total{{kind=\"a\"}} @ {at})");
        let difference = format!("{} - {}", query(last), query(first));
        assert_eq!(prometheus.value(&difference, Some(last * 1000)).await, Ok(grown), "{first} to {last}");
        // `increase` has both ends of this window as its first and last sample, so that nothing is extrapolated.
        let increase = format!("sum(increase(events_total{{kind=\"a\"}}[{}s]))", last - first);
        let increased = prometheus.value(&increase, Some(last * 1000)).await.expect("an increase");
        assert!((increased - grown).abs() < 1e-6, "{increased} instead of {grown}");
    }
    let gaps = "count(absent_over_time(events_total{kind=\"a\"}[61s])) or vector(0)";
    assert_eq!(prometheus.value(gaps, Some((from + 3 * HOUR) * 1000)).await, Ok(0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_are_told_apart_and_what_fails_costs_nothing_else() {
    let cluster = Cluster::shared();
    let (one, other) = (cluster.database().await, cluster.database().await);
    let (from, to) = (hours_ago(3), hours_ago(1));
    for (database, rows) in [(&one, 300), (&other, 700)] {
        make_events(database).await;
        database.run(insert(rows, &format!("to_timestamp({from} + n)"))).await;
    }
    make_shop(&one, from, to).await;
    one.run("drop table returns").await;
    // Named, so that the pack applies though a table is missing.
    let setup = setup(&one.url).sourced("packs", "[events, shop]").source("other", &other.url);
    let whole = backfill(&setup, from, to, &[]);
    assert_eq!(whole.code, Some(1), "{}", whole.log);
    assert!(
        whole.log.contains("app/shop/returns") && whole.log.contains("table returns does not exist"),
        "{}",
        whole.log
    );
    let text = String::from_utf8(whole.out).expect("it is text");
    for (source, rows) in [("app", 100), ("other", 234)] {
        let line = format!("events_total{{source=\"{source}\",kind=\"b\"}} {rows} {to}\n");
        assert!(text.contains(&line), "{line}");
    }
    // Only one source runs the collectors of the shop.
    assert!(text.contains(&format!("shop_records_total{{kind=\"sale\",state=\"paid\"}} 0 {from}\n")));
    // One source alone keeps its label, since the running exporter reads both.
    let part = backfill(&setup, from, to, &["--source", "other", "--pack", "events/events", "--step", "5m"]);
    assert_eq!(part.code, Some(0), "{}", part.log);
    let text = String::from_utf8(part.out).expect("it is text");
    assert!(text.contains(&format!("events_total{{source=\"other\",kind=\"b\"}} 234 {to}\n")), "{text}");
    assert!(!text.contains("app") && !text.contains("shop_"));
    assert_eq!(text.matches("events_total{source=\"other\",kind=\"b\"}").count(), 2 * 12 + 1);
    for (more, code, said) in [
        (&["--source", "none"][..], 1, "no source `none`"),
        (&["--pack", "none"], 1, "no pack `none`"),
        (&["--pack", "shop/stock"], 1, "no collector `stock` that counts rows"),
        (&["--source", "other", "--pack", "shop"], 1, "nothing to read"),
        (&["--step", "6m"], 2, "five minutes"),
        (&["--label", "a b=c"], 2, "letters, digits"),
        (&["--label", "a=1", "--label", "a=2"], 2, "given twice"),
    ] {
        let ran = backfill(&setup, from, to, more);
        assert_eq!((ran.code, ran.out.len()), (Some(code), 0), "{more:?}: {}", ran.log);
        assert!(ran.log.contains(said), "{more:?}: {}", ran.log);
    }
    assert_eq!(backfill(&setup, to, from, &[]).code, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_has_enough_ends_it_quietly() {
    let database = Cluster::shared().database().await;
    let (from, to) = (hours_ago(6), hours_ago(1));
    make_events(&database).await;
    database.run(insert(100, &format!("to_timestamp({from} + n)"))).await;
    let setup = setup(&database.url);
    let (from, to) = (rfc3339(from), rfc3339(to));
    let mut command = setup.command(&["backfill", "--from", &from, "--to", &to, "--step", "1s"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it can be started");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it is our child");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    assert!(!log.contains("panicked") && !log.contains("roken pipe"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_sqlite_file_has_a_past_too() {
    let folder = super::harness::guard::Folder::new("past");
    let file = folder.path().join("app.db");
    let (from, to) = (hours_ago(3), hours_ago(1));
    let mut connection = sqlx::SqliteConnection::connect(&format!("sqlite://{}?mode=rwc", file.display()))
        .await
        .expect("the folder is ours");
    // Rowids are in no order of time.
    let sql = format!(
        "create table events (id integer primary key, created_at text not null, kind text, amount real, seconds real);
         with recursive n(n) as (select 1 union all select n + 1 from n where n < 5000)
         insert into events select n, datetime({from} - 500 + (n * 7919) % 8500, 'unixepoch'), char(97 + n % 3), n * 0.25, n % 8
           from n;"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await.expect("it is SQL");
    let rows: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
        "select count(*) from events where unixepoch(created_at) >= {from} and unixepoch(created_at) < {to} and kind = 'b'"
    )))
    .fetch_one(&mut connection)
    .await
    .expect("it is SQL");
    let setup = setup(&format!("sqlite:{}", file.display())).sourced("page_rows", "700");
    let ran = backfill(&setup, from, to, &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.log);
    let text = String::from_utf8(ran.out).expect("it is text");
    read_by_python(&text, &[from, to]);
    assert!(rows > 1000 && text.contains(&format!("events_total{{kind=\"b\"}} {rows} {to}\n")), "{rows}");
    for at in [from + 60, from + 30 * 60, from + HOUR] {
        let rows: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
            "select count(*) from events where unixepoch(created_at) >= {from} and unixepoch(created_at) < {at} and kind = 'c'
               and seconds <= 2.5"
        )))
        .fetch_one(&mut connection)
        .await
        .expect("it is SQL");
        let line = format!("events_seconds_bucket{{kind=\"c\",le=\"2.5\"}} {rows} {at}\n");
        assert!(text.contains(&line), "{line}");
    }
}
