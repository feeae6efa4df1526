//! Spans of rows reach a real receiver, each row's exactly one, whatever happens to the exporter and to the receiver.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::common::v1::any_value::Value;

use rowmetry::collector::Changes;
use rowmetry::config::OtlpSettings;
use rowmetry::config::otlp::{OtlpEndpoint, OtlpProtocol, RowSpanSettings};
use rowmetry::otlp::SpanQueue;
use rowmetry::otlp::delivery::{Delivery, Sender};
use rowmetry::otlp::encode::spans::Applications;
use rowmetry::span::{SpanId, SpanKind, SpanRecord, TraceId};
use rowmetry::state::State;
use rowmetry::telemetry::Metrics;

use super::harness::exporter::{Exporter, PATIENCE};
use super::harness::exposition::Scrape;
use super::harness::otlp::{Behaviour, OtlpReceiver, ReceivedSpan, Transport};
use super::harness::otlp_python::OtlpPython;
use super::harness::prometheus::Prometheus;
use super::harness::{Cluster, Database, Setup, eventually};

/// Deaths of the exporter and outages of the receiver that the promise is tested with.
const DEATHS: usize = 50;
const OUTAGES: usize = 20;
/// What a slow machine may take for it all.
const DEADLINE: Duration = Duration::from_secs(300);
/// The attribute that tells which row a span was made of.
const NUMBER: &str = "work.number";

async fn make_works(database: &Database<'_>) {
    database
        .run(
            "create table works (id bigint generated always as identity primary key, \
               done_at timestamptz not null default clock_timestamp(), kind text not null, seconds float8 not null);
             create index on works (done_at)",
        )
        .await;
}

fn insert(rows: usize) -> String {
    format!(
        "insert into works (kind, seconds) select (array['a', 'b', 'c'])[1 + n % 3], (n % 16) / 8.0 \
         from generate_series(1, {rows}) n"
    )
}

fn sending_to(database: &Database<'_>, url: &str, protocol: &str) -> Setup {
    let otlp = format!("{{endpoint: \"{url}\", protocol: {protocol}, timeout: 5s, traces: {{own: false}}}}");
    Setup::of(&database.url).with("otlp", otlp)
}

/// The numbers of the rows that spans were made of, each with the ids that its spans had.
fn by_number<'s>(spans: impl IntoIterator<Item = &'s ReceivedSpan>) -> BTreeMap<i64, BTreeSet<Vec<u8>>> {
    let mut found: BTreeMap<i64, BTreeSet<Vec<u8>>> = BTreeMap::new();
    for received in spans {
        let attribute = received.span.attributes.iter().find(|attribute| attribute.key == NUMBER);
        let value = attribute.and_then(|attribute| attribute.value.as_ref()?.value.clone());
        let Some(Value::IntValue(number)) = value else { panic!("a span without a number: {received:?}") };
        let id = [&*received.span.trace_id, &*received.span.span_id].concat();
        found.entry(number).or_default().insert(id);
    }
    found
}

async fn numbers(database: &Database<'_>) -> BTreeSet<i64> {
    let rows = database.rows("select id from works").await;
    rows.iter().map(|row| row[0].as_deref().expect("a key").parse().expect("a number")).collect()
}

/// Every row has one span and every span a row.
async fn expect_truth(database: &Database<'_>, spans: &[ReceivedSpan]) {
    let found = by_number(spans);
    let truth = numbers(database).await;
    let seen: BTreeSet<i64> = found.keys().copied().collect();
    let lost: Vec<_> = truth.difference(&seen).take(5).collect();
    let made_up: Vec<_> = seen.difference(&truth).take(5).collect();
    assert!(lost.is_empty() && made_up.is_empty(), "rows without a span: {lost:?}; spans without a row: {made_up:?}");
    let several: Vec<_> = found.iter().filter(|(_, ids)| ids.len() > 1).take(5).collect();
    assert!(several.is_empty(), "a row sent twice is the same span, and these were not: {several:?}");
    let ids: BTreeSet<_> = found.values().flatten().collect();
    assert_eq!(ids.len(), truth.len(), "no two rows have the same span");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_thousand_rows_are_a_hundred_thousand_spans() {
    let database = Cluster::shared().database().await;
    make_works(&database).await;
    database.run(&insert(100_000)).await;
    for (transport, protocol) in [(Transport::Http, "http/protobuf"), (Transport::Grpc, "grpc")] {
        let receiver = OtlpReceiver::start();
        let exporter = sending_to(&database, &receiver.url_of(transport), protocol).start().await;
        let spans = receiver.wait_for_spans(100_000, DEADLINE).await;
        assert_eq!(spans.len(), 100_000, "{protocol}: none twice when nothing fails");
        expect_truth(&database, &spans).await;
        let scrape = exporter
            .scrapes("nothing waits any more", |scrape| match scrape.get("rowmetry_spans_queued", &[]) {
                Some(0.0) => Ok(()),
                waiting => Err(format!("{waiting:?} spans wait")),
            })
            .await;
        assert_eq!(scrape.get("rowmetry_spans_sent_total", &[]), Some(100_000.0));
        assert_eq!(scrape.sum("rowmetry_spans_made_total", &[("collector", "works")]), 100_000.0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_deaths_and_twenty_outages_lose_no_span() {
    let seed = std::env::var("ROWMETRY_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| fastrand::u64(..));
    eprintln!("ROWMETRY_TEST_SEED={seed} repeats the choices of this run");
    let mut random = fastrand::Rng::with_seed(seed);
    let database = Cluster::shared().database().await;
    make_works(&database).await;
    let receiver = Arc::new(OtlpReceiver::start());
    let setup = sending_to(&database, &receiver.http_url(), "http/protobuf")
        .sourced("interval", "50ms")
        .sourced("page_rows", "100");
    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let (pool, stop) = (database.pool.clone(), stop.clone());
        let mut random = fastrand::Rng::with_seed(seed.wrapping_add(1));
        tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let rows = insert(random.usize(1..40));
                let end = if random.u8(0..5) == 0 { "rollback" } else { "commit" };
                let script = format!("begin; {rows}; select pg_sleep({}); {end}", random.f64() * 0.05);
                sqlx::raw_sql(sqlx::AssertSqlSafe(script)).execute(&pool).await.expect("the script is good SQL");
            }
        })
    };
    // Outages of every kind: refused, cut after it was taken, hanging, told to come later.
    let outages = {
        let (receiver, stop) = (receiver.clone(), stop.clone());
        let mut random = fastrand::Rng::with_seed(seed.wrapping_add(2));
        tokio::spawn(async move {
            let mut outages = 0;
            let mut pace = tokio::time::interval(Duration::from_millis(400));
            while outages < OUTAGES || !stop.load(Ordering::Relaxed) {
                pace.tick().await;
                let kind = random.u8(0..4);
                match kind {
                    0 => receiver.behave(Behaviour::CutConnection),
                    1 => receiver.behave(Behaviour::Status { code: 503, retry_after: Some("1".into()) }),
                    2 => receiver.behave(Behaviour::Hang),
                    _ => receiver.stop(),
                }
                pace.tick().await;
                if kind == 3 {
                    receiver.start_again();
                }
                receiver.behave(Behaviour::Accept);
                outages += 1;
            }
            outages
        })
    };
    let began = Instant::now();
    for death in 0..DEATHS {
        let exporter = setup.spawn();
        let life = Duration::from_millis(50 + random.u64(0..600));
        // Half of the lives end wherever they are, the other half some time after they answer.
        if death % 2 == 1 {
            exporter.ready().await;
        }
        let end = Instant::now() + life;
        let mut pace = tokio::time::interval(Duration::from_millis(5));
        while Instant::now() < end {
            pace.tick().await;
        }
        exporter.kill();
        assert!(began.elapsed() < DEADLINE, "death {death} after {:?}", began.elapsed());
    }
    stop.store(true, Ordering::Relaxed);
    writer.await.expect("the writer goes on");
    let outages = outages.await.expect("outages go on");
    let exporter = setup.start().await;
    let rows = numbers(&database).await.len() as u64;
    eventually(DEADLINE, "every row has its span", async || {
        let found = by_number(&receiver.spans()).len() as u64;
        if found >= rows { Ok(()) } else { Err(format!("{found} of {rows}\n{}", exporter.log_text())) }
    })
    .await;
    let spans = receiver.spans();
    eprintln!("{DEATHS} deaths, {outages} outages, {rows} rows, {} spans with repeats", spans.len());
    expect_truth(&database, &spans).await;
    assert!(outages >= OUTAGES && rows > 1000, "too little happened to mean much: {outages} outages, {rows} rows");
    assert!(spans.len() as u64 > rows, "nothing was ever sent again, so nothing was tried");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_span_that_is_refused_costs_no_other() {
    let database = Cluster::shared().database().await;
    make_works(&database).await;
    database.run(&insert(300)).await;
    database.run("update works set kind = 'poison' where id in (7, 250)").await;
    for (transport, protocol) in [(Transport::Http, "http/protobuf"), (Transport::Grpc, "grpc")] {
        let receiver = OtlpReceiver::start();
        receiver.behave(Behaviour::RefuseSpansNamed("work poison".into()));
        let exporter = sending_to(&database, &receiver.url_of(transport), protocol).start().await;
        let spans = receiver.wait_for_spans(298, PATIENCE).await;
        assert_eq!(by_number(&spans).len(), 298, "{protocol}");
        exporter
            .scrapes("both are given up", |scrape| {
                let given_up = scrape.get("rowmetry_spans_given_up_total", &[("reason", "refused")]);
                let queued = scrape.get("rowmetry_spans_queued", &[]);
                if (given_up, queued) == (Some(2.0), Some(0.0)) {
                    Ok(())
                } else {
                    Err(format!("{given_up:?} {queued:?}"))
                }
            })
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_span_at_which_the_receiver_fails_for_ever_costs_no_other() {
    let database = Cluster::shared().database().await;
    make_works(&database).await;
    database.run(&insert(300)).await;
    database.run("update works set kind = 'poison' where id in (7, 250)").await;
    for (transport, protocol) in [(Transport::Http, "http/protobuf"), (Transport::Grpc, "grpc")] {
        let receiver = OtlpReceiver::start();
        receiver.behave(Behaviour::FailAtSpansNamed("work poison".into()));
        let exporter = sending_to(&database, &receiver.url_of(transport), protocol).start().await;
        exporter
            .scrapes("both are given up", |scrape| {
                let given_up = scrape.get("rowmetry_spans_given_up_total", &[("reason", "failing")]);
                let queued = scrape.get("rowmetry_spans_queued", &[]);
                if (given_up, queued) == (Some(2.0), Some(0.0)) {
                    Ok(())
                } else {
                    Err(format!("{given_up:?} {queued:?}"))
                }
            })
            .await;
        assert_eq!(by_number(&receiver.spans()).len(), 298, "{protocol}");
        assert!(exporter.log_text().contains("a bug at spans named work poison"), "{}", exporter.log_text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_fails_at_everything_for_long_costs_no_span() {
    let database = Cluster::shared().database().await;
    make_works(&database).await;
    database.run(&insert(300)).await;
    let receiver = OtlpReceiver::start();
    receiver.behave(Behaviour::Status { code: 500, retry_after: None });
    let exporter = sending_to(&database, &receiver.http_url(), "http/protobuf").start().await;
    eventually(PATIENCE, "it is asked beyond the first pauses", async || match receiver.requests().len() {
        8.. => Ok(()),
        asked => Err(format!("{asked} requests")),
    })
    .await;
    receiver.behave(Behaviour::Accept);
    let spans = receiver.wait_for_spans(300, PATIENCE).await;
    expect_truth(&database, &spans).await;
    assert_eq!(exporter.scrape().await.sum("rowmetry_spans_given_up_total", &[]), 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_of_which_nobody_told_are_sent_too() {
    let receiver = OtlpReceiver::start();
    let state = Arc::new(State::open(None).await.expect("it opens"));
    let metrics = Metrics::new("1.2.3");
    let url = format!("{}/v1/traces", receiver.http_url());
    let endpoint = OtlpEndpoint::new(url.parse().expect("a URL"), OtlpProtocol::HttpProtobuf);
    let transport = rowmetry::otlp::Transport::new(&endpoint).expect("a good endpoint");
    let applications = Applications::new(&OtlpSettings::default(), &RowSpanSettings::default(), "1.2.3");
    let sender = Sender::new(transport, applications, metrics.delivery(), 10);
    let (_stop, told) = tokio::sync::watch::channel(false);
    tokio::spawn(Delivery::new(sender, state.clone(), Arc::new(SpanQueue::new(100, 0))).run(told));
    for number in 1..=2 {
        let span = SpanRecord {
            trace: TraceId([number; 16]),
            span: SpanId([number; 8]),
            parent: None,
            name: "work".into(),
            kind: SpanKind::Internal,
            start: 1,
            end: 2,
            error: None,
            attributes: Vec::new(),
        };
        eventually(PATIENCE, "it has looked and found nothing", async || {
            let shown = |name: &str| metrics.gather().iter().any(|family| family.name() == name);
            let waits = shown("rowmetry_spans_oldest_queued_timestamp_seconds");
            if shown("rowmetry_spans_queued") && !waits { Ok(()) } else { Err("not yet".to_owned()) }
        })
        .await;
        let changes = Changes { cursor: "{}".into(), spans: vec![span], ..Changes::default() };
        state.save("s/p/c", &changes, 50).await.expect("it writes");
        receiver.wait_for_spans(number.into(), PATIENCE).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_is_sent_in_parts_and_what_is_partly_taken_is_counted() {
    let database = Cluster::shared().database().await;
    make_works(&database).await;
    database.run(&insert(200)).await;
    let receiver = OtlpReceiver::start();
    receiver.behave(Behaviour::TooLargeAbove(60));
    let exporter = sending_to(&database, &receiver.http_url(), "http/protobuf").start().await;
    receiver.wait_for_spans(200, PATIENCE).await;
    receiver.behave_times(Behaviour::Partial { rejected: 3, message: "three are too old".into() }, 1);
    database.run(&insert(10)).await;
    exporter
        .scrapes("three are given up", |scrape| {
            let given_up = scrape.get("rowmetry_spans_given_up_total", &[("reason", "partial_success")]);
            if given_up == Some(3.0) { Ok(()) } else { Err(format!("{given_up:?}")) }
        })
        .await;
    assert_eq!(receiver.span_count(), 207, "they are not sent again");
    assert!(exporter.log_text().contains("three are too old"), "{}", exporter.log_text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_says_later_is_asked_again_when_it_said() {
    let database = Cluster::shared().database().await;
    make_works(&database).await;
    database.run(&insert(5)).await;
    for (transport, protocol) in [(Transport::Http, "http/protobuf"), (Transport::Grpc, "grpc")] {
        let receiver = OtlpReceiver::start();
        receiver.behave_times(Behaviour::Status { code: 503, retry_after: Some("2".into()) }, 1);
        let _exporter = sending_to(&database, &receiver.url_of(transport), protocol).start().await;
        receiver.wait_for_spans(5, PATIENCE).await;
        let requests = receiver.requests();
        let waited = requests[1].at.duration_since(requests[0].at);
        // It never comes before; how late it comes depends on the machine.
        assert!(waited >= Duration::from_millis(1990), "{protocol}: {waited:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_hangs_delays_no_count_and_the_queue_has_its_bound() {
    let database = Cluster::shared().database().await;
    make_works(&database).await;
    let receiver = OtlpReceiver::start();
    receiver.behave(Behaviour::Hang);
    let setup = sending_to(&database, &receiver.http_url(), "http/protobuf");
    let otlp = setup.settings["otlp"].replace("own: false", "own: false, queue_spans: 1000");
    let exporter = setup.with("otlp", otlp).start().await;
    database.run(&insert(1500)).await;
    let scrape = exporter
        .scrapes("every row counts", |scrape| {
            let counted: f64 = scrape.of("works_total", &[]).map(|(_, value)| value).sum();
            if counted == 1500.0 { Ok(()) } else { Err(format!("{counted} of 1500")) }
        })
        .await;
    let skipped = scrape.sum("rowmetry_spans_skipped_total", &[("collector", "works"), ("reason", "queue_full")]);
    assert_eq!(skipped, 500.0);
    receiver.behave(Behaviour::Accept);
    let spans = receiver.wait_for_spans(1000, PATIENCE).await;
    assert_eq!(by_number(&spans).len(), 1000, "what had room comes in the end");
}

/// A pack whose spans need more than its metric: a column and another table.
const NEEDY: &str = "
app: needy
title: Needy
detect: [tasks]
collectors:
  - name: tasks
    rows:
      table: tasks
      key: id
      time: done_at
      columns:
        kind: t.kind
        seconds: t.seconds
        place: (select p.name from places p where p.id = t.place_id)
    metrics:
      - {counter: tasks_total, help: Rows of tasks., labels: [kind]}
    spans:
      - {name: task, duration: seconds, attributes: {task.place: place}}
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_spans_alone_need_costs_no_metric_where_it_is_missing_or_forbidden() {
    const TASKS: &str = "create table tasks (id bigint generated always as identity primary key, \
        done_at timestamptz not null default clock_timestamp(), kind text not null";
    const PLACES: &str = "create table places (id bigint primary key, name text not null)";
    const INSERT: &str = "insert into tasks (kind) select 'a' from generate_series(1, 30)";
    for (case, script, mend) in [
        (
            "a column",
            format!(
                "{TASKS}, seconds float8 default 1); {PLACES}; grant select on all tables in schema public to ROLE"
            ),
            "alter table tasks add place_id bigint",
        ),
        (
            "a table",
            format!(
                "{TASKS}, seconds float8 default 1, place_id bigint); grant select on all tables in schema public to ROLE"
            ),
            "create table places (id bigint primary key, name text not null); grant select on places to ROLE",
        ),
        (
            "a grant of a column",
            format!(
                "{TASKS}, seconds float8 default 1, place_id bigint); {PLACES}; grant select on places to ROLE; \
                 grant select (id, done_at, kind, xmin) on tasks to ROLE"
            ),
            "grant select on tasks to ROLE",
        ),
    ] {
        let database = Cluster::shared().database().await;
        let (role, url) = database.role("reader").await;
        database.run(script.replace("ROLE", &role)).await;
        database.run(INSERT).await;
        let receiver = OtlpReceiver::start();
        let otlp = format!("{{endpoint: \"{}\", traces: {{own: false}}}}", receiver.http_url());
        let setup = Setup::of(&url).with("otlp", otlp).sourced("start", "now");
        let packs = setup.folder.write("needy.yaml", NEEDY);
        let setup = setup.with("packs", format!("[\"{}\"]", packs.display()));
        let exporter = setup.start().await;
        exporter.reads_again().await;
        database.run(INSERT).await;
        let scrape = exporter
            .scrapes(case, |scrape| match scrape.get("tasks_total", &[("kind", "a")]) {
                Some(30.0) => Ok(()),
                other => Err(format!("{other:?} rows")),
            })
            .await;
        let skipped = [("collector", "tasks"), ("reason", "columns_unread")];
        assert_eq!(scrape.sum("rowmetry_spans_skipped_total", &skipped), 30.0, "{case}");
        assert!(exporter.log_text().contains("counted without spans"), "{case}: {}", exporter.log_text());
        let check = setup.command(&["check"]).output().expect("it can be started");
        let told = String::from_utf8_lossy(&check.stdout);
        assert!(told.contains("Its rows are counted without spans"), "{case}: {told}");
        drop(exporter);
        database.run(mend.replace("ROLE", &role)).await;
        let exporter = setup.start().await;
        database.run(INSERT).await;
        receiver.wait_for_spans(30, PATIENCE).await;
        exporter
            .scrapes(case, |scrape| match scrape.get("tasks_total", &[("kind", "a")]) {
                Some(60.0) => Ok(()),
                other => Err(format!("{other:?} rows")),
            })
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_outlives_its_source_a_time_without_traces_and_a_smaller_queue() {
    async fn counts(exporter: &Exporter, rows: f64) -> Scrape {
        let all = |scrape: &Scrape| scrape.of("works_total", &[]).map(|(_, value)| value).sum::<f64>();
        let counted = |scrape: &Scrape| if all(scrape) == rows { Ok(()) } else { Err(format!("{}", all(scrape))) };
        exporter.scrapes(&format!("{rows} rows are counted"), counted).await
    }
    let database = Cluster::shared().database().await;
    make_works(&database).await;
    let receiver = OtlpReceiver::start();
    let one = sending_to(&database, &receiver.http_url(), "http/protobuf");
    receiver.stop();
    let exporter = one.clone().source("twin", &database.url).start().await;
    database.run(&insert(100)).await;
    counts(&exporter, 200.0).await;

    // Its source goes while its spans wait.
    one.write();
    exporter.process.signal("HUP");
    counts(&exporter, 100.0).await;
    database.run(&insert(50)).await;
    counts(&exporter, 150.0).await;
    exporter.terminate();

    // Without traces rows count as they did, and make no spans.
    let mut without = one.clone();
    without.settings.remove("otlp");
    let exporter = without.start().await;
    database.run(&insert(10)).await;
    counts(&exporter, 160.0).await;
    exporter.terminate();

    // More waits than may wait now: nothing comes, nothing goes.
    let otlp = one.settings["otlp"].replace("own: false", "own: false, queue_spans: 20");
    let exporter = one.with("otlp", otlp).start().await;
    database.run(&insert(5)).await;
    let scrape = counts(&exporter, 165.0).await;
    assert_eq!(scrape.sum("rowmetry_spans_skipped_total", &[("reason", "queue_full")]), 5.0);
    assert_eq!(scrape.get("rowmetry_spans_queued", &[]), Some(250.0));
    receiver.start_again();
    receiver.wait_for_spans(250, PATIENCE).await;
    exporter
        .scrapes("nothing waits", |scrape| match scrape.get("rowmetry_spans_queued", &[]) {
            Some(0.0) => Ok(()),
            waiting => Err(format!("{waiting:?} wait")),
        })
        .await;
    database.run(&insert(7)).await;
    let found = by_number(&receiver.wait_for_spans(257, PATIENCE).await);
    let of =
        |rows: std::ops::RangeInclusive<i64>| rows.map(|row| found.get(&row).map_or(0, BTreeSet::len)).sum::<usize>();
    assert_eq!([of(1..=100), of(101..=150), of(151..=165), of(166..=172)], [200, 50, 0, 7]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_pause_does_not_hide_how_much_waits() {
    let database = Cluster::shared().database().await;
    make_works(&database).await;
    database.run(&insert(5)).await;
    let receiver = OtlpReceiver::start();
    receiver.behave(Behaviour::Status { code: 503, retry_after: Some("3600".into()) });
    let exporter = sending_to(&database, &receiver.http_url(), "http/protobuf").start().await;
    receiver.wait_for_requests(1, PATIENCE).await;
    database.run(&insert(100)).await;
    exporter
        .scrapes("all that waits is told", |scrape| match scrape.get("rowmetry_spans_queued", &[]) {
            Some(105.0) => Ok(()),
            waiting => Err(format!("{waiting:?} wait")),
        })
        .await;
    assert_eq!(receiver.requests().len(), 1, "it is not asked meanwhile");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_shares_no_code_with_us_reads_the_same() {
    let database = Cluster::shared().database().await;
    make_works(&database).await;
    database.run(&insert(20)).await;
    let receiver = OtlpReceiver::start();
    let python = OtlpPython::start().await;
    let _exporter = sending_to(&database, &receiver.http_url(), "http/protobuf").start().await;
    let spans = receiver.wait_for_spans(20, PATIENCE).await;
    let mut wanted: Vec<_> = spans.iter().map(ReceivedSpan::canonical).collect();
    let order = |span: &serde_json::Value| span["span_id"].as_str().unwrap_or_default().to_owned();
    wanted.sort_by_key(order);
    for (round, (transport, protocol)) in
        [(Transport::Http, "http/protobuf"), (Transport::Grpc, "grpc")].into_iter().enumerate()
    {
        let _exporter = sending_to(&database, &python.url_of(transport), protocol).start().await;
        let all = python.wait_for_spans(20 * (round + 1), PATIENCE).await;
        let mut read = all[20 * round..].to_vec();
        read.sort_by_key(order);
        assert_eq!(read, wanted, "{protocol}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_leads_from_a_number_to_the_span_of_a_row() {
    let database = Cluster::shared().database().await;
    make_works(&database).await;
    for features in [&["exemplar-storage"][..], &["exemplar-storage", "native-histograms"]] {
        let receiver = OtlpReceiver::start();
        let exporter = sending_to(&database, &receiver.http_url(), "http/protobuf").start().await;
        let prometheus = Prometheus::scraping(exporter.setup.address, features).await;
        let mut stored = Vec::new();
        for _ in 0..3 {
            database.run(&insert(30)).await;
            stored = eventually(PATIENCE, "Prometheus has an exemplar of each kind and of a bucket", async || {
                let kinds: BTreeSet<String> = prometheus
                    .query_exemplars("works_total")
                    .await?
                    .iter()
                    .filter_map(|exemplar| exemplar.series.get("kind").cloned())
                    .collect();
                let buckets = prometheus.query_exemplars("works_seconds_bucket").await?;
                let native = prometheus.query_exemplars("works_seconds").await?;
                if kinds.len() < 3 || (buckets.is_empty() && native.is_empty()) {
                    return Err(format!("{kinds:?}, {} of buckets, {} native", buckets.len(), native.len()));
                }
                Ok([prometheus.query_exemplars("works_total").await?, buckets, native].concat())
            })
            .await;
        }
        // What is shown was queued, and what was queued arrives.
        let rows = numbers(&database).await.len() as u64;
        let spans = receiver.wait_for_spans(rows, PATIENCE).await;
        let known: BTreeSet<(String, String)> = spans
            .iter()
            .map(|received| {
                let told = received.canonical();
                let text = |key: &str| told[key].as_str().unwrap_or_default().to_owned();
                (text("trace_id"), text("span_id"))
            })
            .collect();
        for exemplar in &stored {
            let id = (exemplar.trace_id.clone(), exemplar.span_id.clone());
            assert!(known.contains(&id), "the receiver has no span of {exemplar:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_sent_before_a_pause_or_a_stop_is_not_sent_again() {
    let database = Cluster::shared().database().await;
    make_works(&database).await;
    database.run(&insert(20_000)).await;
    let receiver = OtlpReceiver::start();
    receiver.behave(Behaviour::Delay(Duration::from_millis(50)));
    let came = async |spans: u64| {
        eventually(PATIENCE, "spans come", async || match receiver.span_count() {
            came if came >= spans => Ok(()),
            came => Err(format!("{came} of {spans}")),
        })
        .await;
    };
    // Several requests to what the state keeps as one, so that a pause comes in its midst.
    let setup = sending_to(&database, &receiver.http_url(), "http/protobuf");
    let otlp = setup.settings["otlp"].replace("own: false", "own: false, batch_spans: 100");
    let setup = setup.with("otlp", otlp);
    let exporter = setup.spawn();
    for paused_after in [150, 650] {
        came(paused_after).await;
        receiver.behave_times(Behaviour::Status { code: 503, retry_after: Some("1".into()) }, 1);
        came(paused_after + 250).await;
        receiver.behave(Behaviour::Delay(Duration::from_millis(50)));
    }
    came(3000).await;
    let spans = receiver.spans();
    assert_eq!(by_number(&spans).len(), spans.len(), "a pause makes nothing come twice");
    assert!(exporter.terminate().success());
    receiver.behave(Behaviour::Accept);
    let _exporter = setup.spawn();
    eventually(DEADLINE, "every row has its span", async || {
        let found = by_number(&receiver.spans()).len();
        if found == 20_000 { Ok(()) } else { Err(format!("{found}")) }
    })
    .await;
    let spans = receiver.spans();
    expect_truth(&database, &spans).await;
    // What the state keeps as one is sent again as one when the stop came in its midst.
    assert!(spans.len() <= 20_512, "{} were sent again", spans.len() - 20_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_refuses_everything_from_the_first_is_no_receiver_and_costs_no_span() {
    let database = Cluster::shared().database().await;
    make_works(&database).await;
    database.run(&insert(300)).await;
    let receiver = OtlpReceiver::start();
    receiver.behave(Behaviour::Status { code: 400, retry_after: None });
    let setup = sending_to(&database, &receiver.http_url(), "http/protobuf");
    let exporter = setup.start().await;
    exporter.logs("it has refused every span so far").await;
    let scrape = exporter.scrape().await;
    assert_eq!(scrape.sum("rowmetry_spans_given_up_total", &[]), 0.0);
    assert!(receiver.requests().len() < 20, "{} requests for nothing", receiver.requests().len());
    assert!(exporter.terminate().success());
    receiver.behave(Behaviour::Accept);
    let _exporter = setup.start().await;
    expect_truth(&database, &receiver.wait_for_spans(300, PATIENCE).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exemplars_are_shown_unless_the_operator_wants_none() {
    let database = Cluster::shared().database().await;
    make_works(&database).await;
    database.run(&insert(30)).await;
    for (setting, shown) in [("exemplars: true", true), ("exemplars: false", false)] {
        let receiver = OtlpReceiver::start();
        let setup = sending_to(&database, &receiver.http_url(), "http/protobuf");
        let otlp = setup.settings["otlp"].replace("own: false", &format!("own: false, {setting}"));
        let exporter = setup.with("otlp", otlp).start().await;
        receiver.wait_for_spans(30, PATIENCE).await;
        let text = eventually(PATIENCE, "every row is shown", async || {
            let text = exporter.get("/metrics", "application/openmetrics-text;version=1.0.0").await?.text();
            if text.contains("works_total{kind=\"a\"} 10") { Ok(text) } else { Err("not yet".to_owned()) }
        })
        .await;
        assert_eq!(text.contains("# {trace_id="), shown, "{setting}");
    }
}
