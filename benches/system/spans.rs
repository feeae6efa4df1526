//! What traces cost: spans of rows on their way to a receiver, and our own traces beside the work that they tell of.
//!
//! The receiver is the one of the tests; it runs within this process and shares the cores with everything else.

use std::time::Instant;

use crate::parts::harness::otlp::{Behaviour, OtlpReceiver, Transport};
use crate::parts::harness::{Cluster, Database, Exporter, Setup, eventually, test_file};
use crate::reads::{PATIENCE, largest};
use crate::table::{Table, mebibytes, middle};

/// Rows of the table, one span each: this part of the largest table, 200,000 unless set otherwise.
const PART: u64 = 25;
/// Rounds of each way to send, in turn with the others.
const ROUNDS: usize = 3;
/// Pairs of catching up, one with our own traces and one without.
const PAIRS: usize = 8;
/// Pairs of small collections, one with and one without.
const SMALL_READS: usize = 41;
/// New rows for each of them: the trickle of an application in use.
const TRICKLE: u64 = 20;
/// The ways to send that are compared: how each is called, its transport, and its settings.
const WAYS: [(&str, Transport, &str); 3] = [
    ("HTTP", Transport::Http, "protocol: http/protobuf"),
    ("gRPC", Transport::Grpc, "protocol: grpc"),
    ("HTTP with gzip", Transport::Http, "protocol: http/protobuf, compression: gzip"),
];

/// Spans a second to an accepting receiver, and what catching up costs more with them.
pub async fn spans(cluster: &Cluster, table: &mut Table) {
    let rows = largest() / PART;
    let database = filled(cluster, rows).await;
    // What was never read is not in the caches yet.
    catch_up(&setup(&database), rows, None).await;
    let sending = |receiver: &OtlpReceiver, transport, settings| {
        let traces = format!("traces: {{own: false, queue_spans: {rows}}}");
        let url = receiver.url_of(transport);
        setup(&database).with("otlp", format!("{{endpoint: \"{url}\", {settings}, {traces}}}"))
    };
    let hanging = OtlpReceiver::start();
    hanging.behave(Behaviour::Hang);
    let (mut without, mut kept) = (Vec::new(), Vec::new());
    let mut with: [Vec<CaughtUp>; WAYS.len()] = Default::default();
    for _ in 0..ROUNDS {
        without.push(catch_up(&setup(&database), rows, None).await);
        kept.push(catch_up(&sending(&hanging, Transport::Http, "timeout: 10s"), rows, None).await);
        for ((_, transport, settings), caught_up) in WAYS.iter().zip(&mut with) {
            let receiver = OtlpReceiver::start();
            receiver.keep_only_counts();
            let setup = sending(&receiver, *transport, settings);
            caught_up.push(catch_up(&setup, rows, Some(&receiver)).await);
        }
    }
    let median = |runs: &[CaughtUp], of: fn(&CaughtUp) -> f64| middle(runs.iter().map(of));
    let counted_without = median(&without, |run| run.counted);
    table.row(
        format!("catching up with {rows} rows, without spans"),
        format!("{:.0} rows/s", rows as f64 / counted_without),
        format!("at its peak {}", mebibytes(median(&without, |run| run.peak))),
        "",
    );
    let counted_kept = median(&kept, |run| run.counted);
    table.row(
        format!("catching up with {rows} rows, each a span, the receiver hangs"),
        format!("{:.0} rows/s", rows as f64 / counted_kept),
        format!("{:.2} of the time without", counted_kept / counted_without),
        "2",
    );
    for ((name, _, _), runs) in WAYS.iter().zip(&with) {
        let (counted, sent) = (median(runs, |run| run.counted), median(runs, |run| run.sent));
        table.row(
            format!("catching up with {rows} rows, each a span, {name}"),
            format!("{:.0} rows/s", rows as f64 / counted),
            format!("{:.2} of the time without", counted / counted_without),
            "2",
        );
        table.row(
            format!("spans at the receiver, {name}, until the last"),
            format!("{:.0} spans/s", rows as f64 / sent),
            format!("at its peak {}", mebibytes(median(runs, |run| run.peak))),
            "20000 spans/s",
        );
    }
}

/// One run from an empty state, start-up included.
struct CaughtUp {
    /// Seconds until all rows were counted.
    counted: f64,
    /// Seconds until the receiver had all spans.
    sent: f64,
    /// The exporter's resident bytes at their peak.
    peak: f64,
}

async fn catch_up(setup: &Setup, rows: u64, receiver: Option<&OtlpReceiver>) -> CaughtUp {
    let began = Instant::now();
    let exporter = setup.spawn();
    let seconds = || began.elapsed().as_secs_f64();
    let counted = async {
        eventually(PATIENCE, "all rows are counted", async || {
            let counted = exporter.try_scrape().await?.sum("chats_total", &[]);
            if counted == rows as f64 { Ok(()) } else { Err(format!("{counted} of {rows}")) }
        })
        .await;
        seconds()
    };
    let sent = async {
        let Some(receiver) = receiver else { return 0.0 };
        eventually(PATIENCE, "all spans are sent", async || {
            let came = receiver.span_count();
            if came >= rows { Ok(()) } else { Err(format!("{came} of {rows}")) }
        })
        .await;
        seconds()
    };
    let (counted, sent) = tokio::join!(counted, sent);
    if let Some(receiver) = receiver {
        assert_eq!(receiver.span_count(), rows, "none is lost and none is sent twice");
    }
    let [_, peak] = exporter.process.resident_bytes();
    CaughtUp { counted, sent, peak: peak as f64 }
}

/// What our own traces, and spans of rows, cost a collection: a small one and one of many rows.
pub async fn tracing(cluster: &Cluster, table: &mut Table) {
    let receiver = OtlpReceiver::start();
    receiver.keep_only_counts();
    let rows = largest() / PART;
    let sending = |traces: &str| format!("{{endpoint: \"{}\", traces: {{{traces}}}}}", receiver.http_url());
    let own = sending("rows: false, own: true, sample_ratio: 1");
    let of_rows = sending("own: false");

    let database = filled(cluster, rows).await;
    catch_up(&setup(&database), rows, None).await;
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..PAIRS {
        // Who comes second may have it easier or harder, so they change places.
        for with in [round % 2, 1 - round % 2] {
            let plain = setup(&database);
            let setup = if with == 1 { plain.with("otlp", &own) } else { plain };
            times[with].push(catch_up(&setup, rows, None).await.counted);
        }
    }
    let [without, with] = times.map(middle);
    let seconds = |time: f64| format!("{time:.2} s");
    compared(table, &format!("catching up with {rows} rows, our own traces sent"), [without, with], "1.2", seconds);

    let (traced, spanned) = (filled(cluster, 0).await, filled(cluster, 0).await);
    let plain = filled(cluster, 0).await;
    let databases = [&plain, &traced, &spanned];
    let mut exporters = Vec::new();
    for (database, otlp) in databases.iter().zip([None, Some(&own), Some(&of_rows)]) {
        let setup = setup(database).sourced("interval", "100ms");
        exporters.push(match otlp {
            None => setup.start().await,
            Some(otlp) => setup.with("otlp", otlp).start().await,
        });
    }
    let mut times = [const { Vec::new() }; 3];
    for _ in 0..SMALL_READS {
        for ((exporter, database), times) in exporters.iter().zip(databases).zip(&mut times) {
            times.push(small_read(exporter, database).await);
        }
    }
    let (all, of_rows) = (receiver.span_count(), TRICKLE * SMALL_READS as u64);
    assert!(all > of_rows, "spans of {of_rows} rows and our own traces are sent, not {all} spans");
    let [without, with_own, with_rows] = times.map(middle);
    let milliseconds = |time: f64| format!("{:.2} ms", time * 1e3);
    compared(
        table,
        &format!("read of {TRICKLE} new rows, our own traces sent"),
        [without, with_own],
        "1.2",
        milliseconds,
    );
    compared(table, &format!("read of {TRICKLE} new rows, each a span"), [without, with_rows], "", milliseconds);
}

fn compared(table: &mut Table, what: &str, [without, with]: [f64; 2], aim: &str, shown: impl Fn(f64) -> String) {
    table.row(
        what,
        format!("{}, without {}", shown(with), shown(without)),
        format!("{:.2} of its time", with / without),
        aim,
    );
}

/// How long the read took that counted a few new rows.
async fn small_read(exporter: &Exporter, database: &Database<'_>) -> f64 {
    let counted = exporter.scrape().await.sum("chats_total", &[]);
    database.run(chats(TRICKLE, "now()")).await;
    let scrape = exporter
        .scrapes("the new rows are counted", |scrape| {
            let now = scrape.sum("chats_total", &[]);
            if now == counted + TRICKLE as f64 { Ok(()) } else { Err(format!("{now}")) }
        })
        .await;
    scrape.sum("rowmetry_collector_duration_seconds", &[("collector", "chats")])
}

fn setup(database: &Database<'_>) -> Setup {
    let packs = test_file("../benches/system/packs");
    // A state directory of its own each time it is called: every run begins anew.
    Setup::of(&database.url).with("packs", format!("[\"{}\"]", packs.display())).sourced("audit_interval", "0s")
}

/// A table of so many calls that happened before the look-back.
async fn filled<'c>(cluster: &'c Cluster, rows: u64) -> Database<'c> {
    let database = cluster.database().await;
    database
        .run(
            "create table chats (id uuid, created_at timestamptz, model text, provider text, seconds float8, \
             input_tokens int, output_tokens int, status text)",
        )
        .await;
    database.run(chats(rows, "now() - interval '2 days' + n * interval '10 ms'")).await;
    database.run("create index on chats (created_at); alter table chats add primary key (id)").await;
    database.run("vacuum analyze chats").await;
    database
}

fn chats(count: u64, time: &str) -> String {
    format!(
        "insert into chats select gen_random_uuid(), {time}, (array['gpt-4o', 'claude-sonnet', 'gemini-flash'])[1 + n % 3], \
         (array['openai', 'anthropic', 'google'])[1 + n % 3], (n % 48) / 8.0, n % 4000, n % 500, \
         case when n % 50 = 0 then 'error' else 'ok' end from generate_series(1, {count}) n"
    )
}
