//! Rowmetry's own traces: what a collection did, scrapes as part of their caller's trace, and lines of the log that name theirs.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;

use super::harness::exporter::PATIENCE;
use super::harness::hostile::{Hostile, json};
use super::harness::otlp::canonical::{hex, texts};
use super::harness::otlp::{Behaviour, OtlpReceiver, ReceivedSpan, Transport};
use super::harness::redis::Redis;
use super::harness::{Cluster, Exporter, Scrape, Setup, eventually, http};
use super::tables::{events_truth, insert, make_events};

/// Counts spans of ours by what became of them.
const OWN_SPANS: &str = "rowmetry_otlp_own_spans_total";

/// Spans that one ordinary collection may have.
const MOST_SPANS: usize = 10;

/// Our own traces alone, to this receiver.
fn traced(setup: Setup, receiver: &OtlpReceiver, transport: Transport) -> Setup {
    let protocol = match transport {
        Transport::Http => "http/protobuf",
        Transport::Grpc => "grpc",
    };
    let url = receiver.url_of(transport);
    let otlp = "{endpoint: \"URL\", protocol: PROTOCOL, compression: gzip, headers: {x-key: s3cret}, timeout: 2s, \
                resource: {deployment.environment.name: test}, traces: {rows: false}}";
    setup.with("otlp", otlp.replace("URL", &url).replace("PROTOCOL", protocol))
}

/// A span as the tests look at it.
#[derive(Debug, Clone)]
struct Seen {
    name: String,
    trace: String,
    id: String,
    parent: String,
    kind: SpanKind,
    failed: Option<String>,
    attributes: BTreeMap<String, String>,
    whole: String,
}

fn seen(received: &ReceivedSpan) -> Seen {
    let span = &received.span;
    let status = span.status.as_ref().filter(|status| status.code() == StatusCode::Error);
    Seen {
        name: span.name.clone(),
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        kind: span.kind(),
        failed: status.map(|status| status.message.clone()),
        attributes: texts(&span.attributes),
        whole: format!("{received:?}"),
    }
}

impl Seen {
    fn get(&self, attribute: &str) -> &str {
        self.attributes.get(attribute).map_or("", String::as_str)
    }
}

/// Ends the exporter, which sends what waits, and gives all spans that came.
fn all_spans(exporter: &Exporter, receiver: &OtlpReceiver) -> Vec<Seen> {
    assert!(exporter.terminate().success());
    receiver.spans().iter().map(seen).collect()
}

/// The spans of the last trace whose root has this name, and which has a span of that name.
fn last_trace(spans: &[Seen], root: &str, with: &str) -> Vec<Seen> {
    let mut traces = spans.iter().filter(|span| span.name == root && span.parent.is_empty()).map(|span| &span.trace);
    let has_it = |trace: &&String| spans.iter().any(|span| span.trace == **trace && span.name == with);
    let trace = traces.rfind(has_it);
    let trace = trace.unwrap_or_else(|| panic!("no trace {root} with {with}: {:?}", names(spans)));
    spans.iter().filter(|span| span.trace == *trace).cloned().collect()
}

fn names(spans: &[Seen]) -> Vec<&str> {
    spans.iter().map(|span| span.name.as_str()).collect()
}

/// The one span of this name.
fn one<'s>(spans: &'s [Seen], name: &str) -> &'s Seen {
    let mut found = spans.iter().filter(|span| span.name == name);
    match (found.next(), found.next()) {
        (Some(span), None) => span,
        _ => panic!("not one {name}: {:?}", names(spans)),
    }
}

async fn a_collection_over(transport: Transport) {
    let receiver = OtlpReceiver::start();
    let database = Cluster::shared().database().await;
    make_events(&database).await;
    database.run(insert(10, "now()")).await;
    let (role, _) = database.role("tracer").await;
    database.run(format!("grant select on events to {role}")).await;
    let url = database.url.replace("postgres@", &format!("{role}:{role}@"));
    assert!(url.contains(&role), "{url}");
    let exporter = traced(Setup::of(&url).sourced("packs", "[events]"), &receiver, transport).start().await;
    let truth = events_truth(&database).await;
    exporter.scrapes("events are counted", |scrape| truth.compare(scrape)).await;
    let sent = |scrape: &Scrape| scrape.sum(OWN_SPANS, &[("outcome", "sent")]);
    let scrape = exporter
        .scrapes("spans are sent", |scrape| if sent(scrape) > 0.0 { Ok(()) } else { Err("none".to_owned()) })
        .await;
    assert_eq!(scrape.sum(OWN_SPANS, &[("outcome", "failed")]), 0.0);
    let spans = all_spans(&exporter, &receiver);

    let trace = last_trace(&spans, "collect events/events", "persist");
    let root = one(&trace, "collect events/events");
    assert_eq!((root.get("rowmetry.source"), root.get("rowmetry.pack")), ("app", "events"));
    for child in ["read", "fold", "persist", "publish"] {
        let child = one(&trace, child);
        assert_eq!((&child.parent, child.kind, &child.failed), (&root.id, SpanKind::Internal, &None), "{child:?}");
    }
    let read = one(&trace, "read");
    for (name, operation, table) in
        [("BEGIN", "BEGIN", ""), ("SELECT events", "SELECT", "events"), ("COMMIT", "COMMIT", "")]
    {
        let asked = one(&trace, name);
        assert_eq!((&asked.parent, asked.kind), (&read.id, SpanKind::Client), "{name}");
        assert_eq!(asked.get("db.system.name"), "postgresql");
        assert_eq!(asked.get("db.namespace"), database.name);
        assert_eq!((asked.get("db.operation.name"), asked.get("db.collection.name")), (operation, table));
        assert_eq!((asked.get("db.query.summary"), asked.get("server.address")), (name, "127.0.0.1"));
        assert!(asked.get("server.port").parse::<u16>().is_ok(), "{asked:?}");
    }
    assert!(trace.len() <= MOST_SPANS, "{:?}", names(&trace));
    let folded: f64 = spans
        .iter()
        .filter(|span| span.name == "collect events/events")
        .filter_map(|span| span.get("rowmetry.rows").parse::<f64>().ok())
        .sum();
    assert_eq!(folded, 10.0);
    let connected = spans.iter().find(|span| span.name == "connect").expect("there was a first connection");
    assert_eq!(connected.kind, SpanKind::Client);

    for span in &spans {
        for secret in [&format!("{role}:"), "select ", "s3cret", "row_security"] {
            assert!(!span.whole.contains(secret), "{secret}: {}", span.whole);
        }
        for noise in ["code.file.path", "thread.id", "busy_ns", "target", "level"] {
            assert!(!span.attributes.contains_key(noise), "{noise}: {span:?}");
        }
    }
    let first = &receiver.spans()[0];
    assert_eq!((first.transport, first.scope.0.as_str()), (transport, "rowmetry"));
    for (name, value) in [("service.name", "rowmetry"), ("deployment.environment.name", "test")] {
        assert_eq!(first.resource.get(name).map(String::as_str), Some(value), "{:?}", first.resource);
    }
    assert!(first.resource.contains_key("service.instance.id"), "{:?}", first.resource);
    for request in receiver.requests() {
        assert_eq!(request.encoding.as_deref(), Some("gzip"));
        assert_eq!(request.headers.get("x-key").map(String::as_str), Some("s3cret"), "once: {:?}", request.headers);
        let agent = &request.headers["user-agent"];
        assert!(agent.starts_with("rowmetry/"), "{agent}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_is_one_trace_over_http() {
    a_collection_over(Transport::Http).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_is_one_trace_over_grpc() {
    a_collection_over(Transport::Grpc).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scrape_and_a_health_check_are_part_of_one_trace_with_those_who_ask_and_are_asked() {
    let receiver = OtlpReceiver::start();
    let endpoint = Hostile::plain(json("200 OK", r#"{"status": "healthy"}"#));
    let secret = endpoint.url("/hidden-place").replace("http://", "http://ana:s3cret@");
    let setup = Setup::of(&secret).sourced("packs", "[endpoint]");
    let exporter = traced(setup, &receiver, Transport::Http).start().await;
    let address = exporter.setup.address;
    let (followed, left) = ("0af7651916cd43dd8448eb211c80319c", "1bf7651916cd43dd8448eb211c80319c");
    let caller = "b7ad6b7169203331";
    for (trace, flags) in [(followed, "01"), (left, "00")] {
        let traceparent = format!("00-{trace}-{caller}-{flags}");
        let reply = http::get(address, "/metrics", &[("Traceparent", &traceparent)]).await.expect("a reply");
        assert_eq!(reply.status, 200);
    }
    let [first, second] = [3, 4].map(|number| format!("00-{number:032x}-{caller}-01"));
    http::get(address, "/", &[("traceparent", &first), ("traceparent", &second)]).await.expect("a reply");
    exporter.get("/healthz", "*/*").await.expect("a reply");
    exporter.get("/nowhere", "*/*").await.expect("a reply");
    exporter.get("/api/status", "*/*").await.expect("a reply");
    let spans = all_spans(&exporter, &receiver);

    let scrape = spans.iter().find(|span| span.trace == followed).expect("the scrape's trace goes on");
    assert_eq!((scrape.name.as_str(), scrape.parent.as_str()), ("GET /metrics", caller));
    assert_eq!(scrape.kind, SpanKind::Server);
    for (attribute, value) in [
        ("http.request.method", "GET"),
        ("http.route", "/metrics"),
        ("url.path", "/metrics"),
        ("url.scheme", "http"),
        ("http.response.status_code", "200"),
        // As the test asks.
        ("network.protocol.version", "1.0"),
    ] {
        assert_eq!(scrape.get(attribute), value, "{attribute}");
    }
    assert!(spans.iter().all(|span| span.trace != left), "who asked said that it is not sent");
    assert_eq!(one(&spans, "GET /api/status").parent, "", "nobody named a trace");
    assert_eq!(one(&spans, "GET /").parent, "", "two traces were named");
    assert!(spans.iter().all(|span| !span.whole.contains("healthz") && !span.whole.contains("nowhere")));

    let request = spans.iter().find(|span| span.name == "GET").expect("the endpoint was asked");
    assert_eq!(request.kind, SpanKind::Client);
    assert_eq!((request.get("http.response.status_code"), request.get("server.address")), ("200", "localhost"));
    let told: Vec<String> = endpoint.asked().iter().filter_map(|asked| traceparent(&asked.head)).collect();
    assert!(!told.is_empty() && told.len() == endpoint.asked().len(), "{told:?}");
    assert!(told.contains(&format!("00-{}-{}-01", request.trace, request.id)), "{request:?} {told:?}");
    for span in &spans {
        assert!(!span.whole.contains("s3cret") && !span.whole.contains("hidden-place"), "{}", span.whole);
    }
}

fn traceparent(head: &str) -> Option<String> {
    let header = head.lines().find(|line| line.to_ascii_lowercase().starts_with("traceparent:"))?;
    Some(header.split_once(':')?.1.trim().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_gone_or_silent_delays_nothing() {
    let receiver = OtlpReceiver::start();
    receiver.stop();
    let database = Cluster::shared().database().await;
    make_events(&database).await;
    let setup = Setup::of(&database.url).sourced("packs", "[events]");
    let exporter = traced(setup, &receiver, Transport::Grpc).start().await;
    let of = |scrape: &Scrape, outcome: &str| scrape.sum(OWN_SPANS, &[("outcome", outcome)]);
    database.run(insert(20, "now()")).await;
    exporter.settles_at(&events_truth(&database).await).await;
    let fails = async |more_than: f64| {
        exporter
            .scrapes("spans are lost", |scrape| match of(scrape, "failed") {
                failed if failed > more_than => Ok(()),
                failed => Err(failed.to_string()),
            })
            .await
    };
    let failed = of(&fails(0.0).await, "failed");
    fails(failed).await;
    receiver.start_again();
    exporter.logs("our own traces are accepted again").await;
    let log = exporter.log_text();
    assert_eq!(log.matches("our own traces are not accepted").count(), 1, "once, however often: {log}");
    assert!(receiver.span_count() > 0);

    // A receiver that takes requests and never answers holds nobody up either, also when the process ends.
    receiver.behave(Behaviour::Hang);
    database.run(insert(20, "now()")).await;
    exporter.settles_at(&events_truth(&database).await).await;
    fails(of(&exporter.scrape().await, "failed")).await;
    let began = Instant::now();
    assert!(exporter.terminate().success());
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_receiver_refuses_of_a_batch_is_told() {
    let receiver = OtlpReceiver::start();
    receiver.behave(Behaviour::Partial { rejected: 1, message: "too old".to_owned() });
    let endpoint = Hostile::plain(json("200 OK", r#"{"status": "healthy"}"#));
    let mut setup = Setup::of(&endpoint.url("/")).sourced("packs", "[endpoint]");
    setup = traced(setup, &receiver, Transport::Http);
    setup.variables.insert("OTEL_EXPORTER_OTLP_HEADERS".into(), "x-other=1".into());
    let exporter = setup.start().await;
    exporter
        .scrapes("what was refused is counted", |scrape| {
            let of = |outcome: &str| scrape.sum(OWN_SPANS, &[("outcome", outcome)]);
            if of("failed") > 0.0 && of("sent") > 0.0 { Ok(()) } else { Err("not yet".to_owned()) }
        })
        .await;
    exporter.logs("spans were refused: too old").await;
    assert!(exporter.terminate().success());
    for request in receiver.requests() {
        assert_eq!(request.headers.get("x-other"), None, "the file has headers of its own");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_a_collection_name_its_trace() {
    let receiver = OtlpReceiver::start();
    let database = Cluster::shared().database().await;
    make_events(&database).await;
    let mut setup = traced(Setup::of(&database.url).sourced("packs", "[events]"), &receiver, Transport::Http);
    setup.arguments = vec!["--log-format".into(), "json".into()];
    let exporter = setup.start().await;
    database.run("alter table events rename to elsewhere").await;
    exporter.state("events", "absent").await;
    let line = eventually(PATIENCE, "the log tells of the failure", async || {
        let told: Vec<serde_json::Value> = exporter
            .log_text()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
            .collect();
        assert!(told.iter().all(|line| line.get("span").is_none() && line.get("spans").is_none()), "{told:?}");
        let outside = told.iter().find(|line| line["message"].as_str().is_some_and(|told| told.starts_with("serving")));
        assert!(outside.is_some_and(|line| line.get("trace_id").is_none()), "{told:?}");
        told.into_iter().find(|line| line["reason"] == "missing_table").ok_or_else(|| "not yet".to_owned())
    })
    .await;
    let trace = line["trace_id"].as_str().expect("a trace").to_owned();
    let spans = all_spans(&exporter, &receiver);
    let of_trace: Vec<Seen> = spans.into_iter().filter(|span| span.trace == trace).collect();
    let root = one(&of_trace, "collect events/events");
    assert_eq!(line["span_id"], root.id.as_str());
    assert_eq!(root.get("error.type"), "missing_table");
    assert!(root.failed.as_ref().is_some_and(|why| why.contains("events")), "{root:?}");
    let read = one(&of_trace, "read");
    assert_eq!((&read.parent, read.get("error.type"), &read.failed), (&root.id, "missing_table", &root.failed));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_traces_nothing_is_said_of_them_and_a_refused_statement_has_its_code() {
    let database = Cluster::shared().database().await;
    make_events(&database).await;
    let (role, url) = database.role("reader").await;
    let quiet = Setup::of(&url).sourced("packs", "[events]").start().await;
    let scrape = quiet.state("events", "forbidden").await;
    assert_eq!(scrape.of(OWN_SPANS, &[]).count(), 0);
    quiet.logs("permission denied").await;
    assert!(!quiet.log_text().contains("trace_id"), "{}", quiet.log_text());

    let receiver = OtlpReceiver::start();
    let traced = traced(Setup::of(&url).sourced("packs", "[events]"), &receiver, Transport::Http).start().await;
    traced.state("events", "forbidden").await;
    let refused = all_spans(&traced, &receiver);
    let refused = refused.iter().find(|span| span.name == "SELECT events").expect("it was tried");
    assert_eq!((refused.get("db.response.status_code"), refused.get("error.type")), ("42501", "forbidden"), "{role}");
    assert!(traced.log_text().contains(" trace_id="), "{}", traced.log_text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_of_many_commands_is_one_span() {
    let receiver = OtlpReceiver::start();
    let redis = Redis::new();
    redis.populate(20_000, "other");
    redis.set((0..5).map(|user| format!("online:hall:{user}")), "1");
    let setup = Setup::of(&redis.url()).sourced("packs", "[online]");
    let exporter = traced(setup, &receiver, Transport::Http).start().await;
    exporter
        .scrapes("users are counted", |scrape| match scrape.sum("online_everybody", &[]) {
            5.0 => Ok(()),
            users => Err(users.to_string()),
        })
        .await;
    let spans = all_spans(&exporter, &receiver);
    let trace = last_trace(&spans, "collect online/everybody", "publish");
    let (scan, read) = (one(&trace, "SCAN"), one(&trace, "read"));
    assert_eq!((&scan.parent, scan.kind), (&read.id, SpanKind::Client));
    assert_eq!((scan.get("db.system.name"), scan.get("db.namespace")), ("redis", "0"));
    assert!(scan.get("rowmetry.commands").parse::<u64>().is_ok_and(|commands| commands > 20), "{scan:?}");
    assert!(trace.len() <= MOST_SPANS, "{:?}", names(&trace));
    assert!(spans.iter().all(|span| !span.whole.contains("online:hall")));
}
