//! Spans of the past, sent again: the same that the running exporter sent, whatever the receiver does meanwhile.

use std::process::{Command, Output};
use std::time::Duration;

use super::harness::otlp::{Behaviour, OtlpReceiver};
use super::harness::{Cluster, Database, Setup};

/// Rows of the table, one a second.
const ROWS: u64 = 3000;
/// The time of the first.
const FIRST: &str = "2026-01-31T00:00:00Z";
/// A time after the last.
const END: &str = "2026-01-31T01:00:00Z";
/// What a slow machine may take.
const DEADLINE: Duration = Duration::from_secs(60);

async fn make_works(database: &Database<'_>) {
    database
        .run(format!(
            "create table works (id bigint primary key, done_at timestamptz not null, kind text not null, seconds float8);
             create index on works (done_at);
             insert into works select n, timestamptz '{FIRST}' + (n - 1) * interval '1 second', (array['a', 'b', 'c'])[1 + n % 3],
               case when n > 10 then (n % 16) / 8.0 end from generate_series(1, {ROWS}) n"
        ))
        .await;
}

fn setup(database: &Database<'_>, receiver: &OtlpReceiver) -> Setup {
    Setup::of(&database.url).with("otlp", otlp(receiver, "own: false")).sourced("page_rows", "700")
}

/// Settings of OTLP with this one for traces.
fn otlp(receiver: &OtlpReceiver, traces: &str) -> String {
    format!("{{endpoint: \"{}\", timeout: 5s, traces: {{{traces}}}}}", receiver.http_url())
}

fn ran(mut command: Command) -> (Option<i32>, String) {
    let Output { status, stderr, stdout } = command.output().expect("it can be started");
    assert!(stdout.is_empty(), "it prints nothing");
    (status.code(), String::from_utf8_lossy(&stderr).into_owned())
}

fn replay(setup: &Setup, from: &str, to: &str, more: &[&str]) -> (Option<i32>, String) {
    ran(setup.command(&[&["replay", "--from", from, "--to", to], more].concat()))
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_of_the_past_are_those_that_were_sent_live() {
    let database = Cluster::shared().database().await;
    make_works(&database).await;
    let (live, again) = (OtlpReceiver::start(), OtlpReceiver::start());
    let exporter = setup(&database, &live).start().await;
    // The first ten rows do not say how long they took.
    live.wait_for_spans(ROWS - 10, DEADLINE).await;
    // It runs on meanwhile.
    let replaying = setup(&database, &again);
    let (code, log) = replay(&replaying, FIRST, END, &["--dry-run"]);
    assert_eq!((code, again.span_count()), (Some(0), 0), "{log}");
    let (code, log) = replay(&replaying, FIRST, END, &[]);
    assert_eq!(code, Some(0), "{log}");
    assert!(
        log.contains("rows=3000") && log.contains("accepted=2990") && log.contains("\"time_missing\": 10"),
        "{log}"
    );
    assert_eq!(again.span_count(), ROWS - 10, "none twice");
    assert_eq!(again.span_ids(), live.span_ids());
    let told = |receiver: &OtlpReceiver| {
        let mut spans: Vec<_> = receiver.spans().into_iter().map(|received| format!("{:?}", received.span)).collect();
        spans.sort();
        spans
    };
    assert_eq!(told(&again), told(&live), "names, times and attributes too");
    // A part, to the microsecond.
    again.clear();
    let (code, log) = replay(&replaying, "2026-01-31T00:10:00Z", "2026-01-31T00:20:00Z", &["--pack", "works/works"]);
    assert_eq!((code, again.span_count()), (Some(0), 600), "{log}");
    drop(exporter);
    assert!(!replaying.state_dir().exists(), "the state is not touched");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_comes_back_gets_the_rest_and_one_that_does_not_is_told() {
    let database = Cluster::shared().database().await;
    make_works(&database).await;
    let receiver = OtlpReceiver::start();
    let setup = setup(&database, &receiver);
    receiver.behave_times(Behaviour::Status { code: 503, retry_after: None }, 3);
    let (code, log) = replay(&setup, FIRST, END, &[]);
    assert_eq!((code, receiver.span_count()), (Some(0), ROWS - 10), "{log}");
    assert!(log.contains("has to be waited for"), "{log}");
    let all = receiver.span_ids();

    // It goes away for good in the midst of it. What is said then leads to the rest.
    receiver.clear();
    receiver.behave(Behaviour::Delay(Duration::from_millis(100)));
    let midst = setup.clone().with("otlp", otlp(&receiver, "batch_spans: 100"));
    let running = tokio::task::spawn_blocking(move || replay(&midst, FIRST, END, &["--timeout", "1s"]));
    receiver.wait_for_spans(500, DEADLINE).await;
    receiver.stop();
    let (code, log) = running.await.expect("it does not panic");
    assert_eq!(code, Some(1), "{log}");
    assert!((500..ROWS - 10).contains(&receiver.span_count()), "{log}");
    let (_, go_on) = log.split_once("Go on with: rowmetry replay --from ").unwrap_or_else(|| panic!("{log}"));
    let (from, rest) = go_on.split_once(' ').unwrap_or_else(|| panic!("{log}"));
    // 500 came, and what was not answered may have.
    assert!(from > "2026-01-31T00:05:00Z", "{log}");
    assert!(rest.starts_with("--to 2026-01-31T01:00:00Z --source app --pack works/works"), "{log}");
    receiver.start_again();
    receiver.behave(Behaviour::Accept);
    let (code, log) = replay(&setup, from, END, &["--source", "app", "--pack", "works/works"]);
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(receiver.span_ids(), all);

    // What it refuses is told, and costs no other span.
    receiver.clear();
    receiver.behave(Behaviour::RefuseSpansNamed("work c".into()));
    let (code, log) = replay(&setup, FIRST, "2026-01-31T00:01:00Z", &[]);
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("accepted=33") && log.contains("refused=17"), "{log}");
    // One of them shows that it is no receiver which refuses everything, and comes twice.
    assert_eq!(receiver.span_ids().len(), 33);
    receiver.behave(Behaviour::Status { code: 401, retry_after: None });
    let (code, log) = replay(&setup, FIRST, END, &[]);
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("takes no more"), "nobody waits for what must be mended: {log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_receiver_it_is_told_how_to_name_one() {
    let database = Cluster::shared().database().await;
    make_works(&database).await;
    let setup = Setup::of(&database.url);
    let (code, log) = replay(&setup, FIRST, END, &[]);
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("otlp.endpoint") && log.contains("OTEL_EXPORTER_OTLP_ENDPOINT"), "{log}");
    let (code, log) = replay(&setup, FIRST, END, &["--dry-run"]);
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("spans=2990"), "{log}");
    assert_eq!(replay(&setup, END, FIRST, &[]).0, Some(2));
    assert_eq!(replay(&setup, FIRST, END, &["--pack", "orders"]).0, Some(1), "nothing that makes spans");
    // The variable does as well.
    let receiver = OtlpReceiver::start();
    let mut command = setup.command(&["replay", "--from", FIRST, "--to", END]);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.http_url());
    let (code, log) = ran(command);
    assert_eq!((code, receiver.span_count()), (Some(0), ROWS - 10), "{log}");
}
