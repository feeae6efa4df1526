//! Metrics that are pushed by OTLP say what a scrape says, whatever happens to the receiver.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;

use super::harness::exporter::PATIENCE;
use super::harness::exposition::key;
use super::harness::otlp::{Behaviour, OtlpReceiver, ReceivedMetrics, Transport};
use super::harness::otlp_python::OtlpPython;
use super::harness::{Cluster, Database, Scrape, Setup, eventually};
use super::tables::{events_truth, insert, make_events};

/// Rounds of rows and outages that deltas go through.
const ROUNDS: usize = 12;
/// What sums of decimal fractions may differ by after as many additions.
const ROUNDING: f64 = 1e-6;

fn pushing_to(database: &Database<'_>, url: &str, protocol: &str, how: &str) -> Setup {
    let traces = "traces: {rows: false, own: false}";
    let metrics = format!("metrics: {{push: true, interval: 300ms, {how}}}");
    Setup::of(&database.url)
        .sourced("start", "now")
        .with("otlp", format!("{{endpoint: \"{url}\", protocol: {protocol}, timeout: 5s, {traces}, {metrics}}}"))
}

/// What one data point says: series as the text format names them, and their values. None: the series ended.
struct Said {
    series: Vec<(String, f64)>,
    ended: bool,
    start: u64,
    time: u64,
    /// Name and labels.
    of: String,
}

fn said(received: &ReceivedMetrics) -> Vec<Said> {
    let mut all = Vec::new();
    let scopes = received.request.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics);
    for metric in scopes.flat_map(|scope| &scope.metrics) {
        let name = &metric.name;
        match metric.data.as_ref().expect("a metric has data") {
            Data::Sum(sum) => {
                for point in &sum.data_points {
                    all.push(number(name, point));
                }
            }
            Data::Gauge(gauge) => all.extend(gauge.data_points.iter().map(|point| number(name, point))),
            Data::Histogram(histogram) => {
                for point in &histogram.data_points {
                    let labels = labels(&point.attributes);
                    let mut series = ends(name, &labels, point.count, point.sum);
                    let bounds = point.explicit_bounds.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
                    let mut below = 0;
                    for (bound, count) in bounds.zip(&point.bucket_counts) {
                        below += count;
                        let mut labels = labels.clone();
                        labels.push(("le".to_owned(), bound));
                        series.push((text(&format!("{name}_bucket"), &labels), below as f64));
                    }
                    let (start, time) = (point.start_time_unix_nano, point.time_unix_nano);
                    all.push(Said { series, ended: point.flags == 1, start, time, of: text(name, &labels) });
                }
            }
            Data::ExponentialHistogram(histogram) => {
                for point in &histogram.data_points {
                    let labels = labels(&point.attributes);
                    let sides = [&point.positive, &point.negative].into_iter().flatten();
                    let counted: u64 = sides.flat_map(|side| &side.bucket_counts).sum::<u64>() + point.zero_count;
                    assert_eq!(counted, point.count, "buckets hold every observation of {name}");
                    let series = ends(name, &labels, point.count, point.sum);
                    let (start, time) = (point.start_time_unix_nano, point.time_unix_nano);
                    all.push(Said { series, ended: point.flags == 1, start, time, of: text(name, &labels) });
                }
            }
            Data::Summary(_) => panic!("{name} is a summary"),
        }
    }
    all
}

fn number(name: &str, point: &opentelemetry_proto::tonic::metrics::v1::NumberDataPoint) -> Said {
    let of = text(name, &labels(&point.attributes));
    let value = match point.value {
        Some(Number::AsDouble(value)) => Some(value),
        Some(Number::AsInt(_)) => panic!("{of} is of another kind of number than the others"),
        None => None,
    };
    let series = value.map(|value| (of.clone(), value)).into_iter().collect();
    Said { series, ended: point.flags == 1, start: point.start_time_unix_nano, time: point.time_unix_nano, of }
}

fn ends(name: &str, labels: &[(String, String)], count: u64, sum: Option<f64>) -> Vec<(String, f64)> {
    let sum = sum.map(|sum| (text(&format!("{name}_sum"), labels), sum));
    [(text(&format!("{name}_count"), labels), count as f64)].into_iter().chain(sum).collect()
}

fn labels(attributes: &[KeyValue]) -> Vec<(String, String)> {
    let pair = |pair: &KeyValue| match pair.value.as_ref().and_then(|value| value.value.clone()) {
        Some(Any::StringValue(value)) => (pair.key.clone(), value),
        other => panic!("{} is {other:?}", pair.key),
    };
    attributes.iter().map(pair).collect()
}

fn text(name: &str, labels: &[(String, String)]) -> String {
    let labels: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (&**name, &**value)).collect();
    key(name, &labels)
}

/// The series of the application in a scrape.
fn scraped(scrape: &Scrape) -> BTreeMap<String, f64> {
    let events = scrape.series.iter().filter(|(key, _)| key.starts_with("events_"));
    events.map(|(key, value)| (key.clone(), *value)).collect()
}

/// The same without buckets, which exponential histograms have others of.
fn without_buckets(series: BTreeMap<String, f64>) -> BTreeMap<String, f64> {
    series.into_iter().filter(|(key, _)| !key.contains("_bucket{")).collect()
}

fn expect_equal(pushed: &BTreeMap<String, f64>, scraped: &BTreeMap<String, f64>) -> Result<(), String> {
    let keys: BTreeSet<&String> = pushed.keys().chain(scraped.keys()).collect();
    let differ = |key: &&&String| match (pushed.get(**key), scraped.get(**key)) {
        (Some(pushed), Some(scraped)) => (pushed - scraped).abs() > ROUNDING,
        _ => true,
    };
    let differing: Vec<String> = keys
        .iter()
        .filter(differ)
        .map(|key| format!("{key}: {:?} {:?}", pushed.get(*key), scraped.get(*key)))
        .collect();
    if differing.is_empty() { Ok(()) } else { Err(format!("pushed and scraped differ: {differing:#?}")) }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pushed_is_what_a_scrape_says() {
    let database = Cluster::shared().database().await;
    make_events(&database).await;
    for (transport, protocol) in [(Transport::Http, "http/protobuf"), (Transport::Grpc, "grpc")] {
        let receiver = OtlpReceiver::start();
        let setup = pushing_to(&database, &receiver.url_of(transport), protocol, "temporality: cumulative")
            .with("zero_first", "0s");
        let exporter = setup.start().await;
        database.run(insert(200, "clock_timestamp()")).await;
        let scrape = exporter.reads_again().await;
        let wanted = scraped(&scrape);
        assert!(wanted.len() > 10, "{wanted:?}");
        receiver.clear();
        let requests = receiver.wait_for_metrics(1, PATIENCE).await;
        assert!(requests.iter().all(|request| request.transport == transport), "{protocol}");
        let all = said(&requests[0]);
        let pushed: BTreeMap<String, f64> =
            all.iter().flat_map(|said| said.series.clone()).filter(|(key, _)| key.starts_with("events_")).collect();
        expect_equal(&pushed, &wanted).unwrap_or_else(|e| panic!("{protocol}: {e}"));
        assert!(all.iter().any(|said| said.of.starts_with("rowmetry_build_info")), "our own metrics too");
        for said in all.iter().filter(|said| said.of.starts_with("events_")) {
            assert!(0 < said.start && said.start < said.time, "{}: {} to {}", said.of, said.start, said.time);
        }
        let resource = requests[0].request.resource_metrics[0].resource.as_ref().expect("a resource");
        let resource: BTreeMap<String, String> = labels(&resource.attributes).into_iter().collect();
        assert_eq!(resource["service.name"], "rowmetry");
        assert!(resource["service.instance.id"].ends_with(&format!(":{}", setup.address.port())), "{resource:?}");

        // A table that is gone: absent is not zero, and receivers are told.
        let series: BTreeSet<String> =
            all.iter().map(|said| said.of.clone()).filter(|of| of.starts_with("events_")).collect();
        database.run("alter table events rename to elsewhere").await;
        eventually(PATIENCE, "the end of each series is told", async || {
            let came = receiver.metrics();
            let ended = came.iter().flat_map(said).filter(|said| said.ended && said.of.starts_with("events_"));
            let ended: Vec<String> = ended.map(|said| said.of).collect();
            let distinct: BTreeSet<String> = ended.iter().cloned().collect();
            assert_eq!(ended.len(), distinct.len(), "told once");
            if distinct == series { Ok(()) } else { Err(format!("{distinct:?} of {series:?}")) }
        })
        .await;
        database.run("alter table elsewhere rename to events").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deltas_that_were_taken_add_up_whatever_happens_to_the_receiver() {
    let database = Cluster::shared().database().await;
    make_events(&database).await;
    let receiver = OtlpReceiver::start();
    let how = "temporality: delta, histograms: exponential";
    let exporter = pushing_to(&database, &receiver.http_url(), "http/protobuf", how).start().await;
    exporter.reads_again().await;
    let refuse = |code| Behaviour::Status { code, retry_after: None };
    for round in 0..ROUNDS {
        match round % 4 {
            0 => receiver.behave_times(refuse(503), 2),
            1 => receiver.stop(),
            2 => receiver.behave_times(refuse(400), 1),
            _ => receiver.behave(Behaviour::TooLargeAbove(40)),
        }
        let before = receiver.requests().len();
        database.run(insert(20 + round, "clock_timestamp()")).await;
        exporter.settles_at(&events_truth(&database).await).await;
        if round % 4 == 1 {
            exporter
                .scrapes("a push found nobody", |scrape| {
                    match scrape.get("rowmetry_otlp_push_requests_total", &[("outcome", "later")]) {
                        Some(later) if later >= (round / 4 + 1) as f64 => Ok(()),
                        other => Err(format!("{other:?}")),
                    }
                })
                .await;
            receiver.start_again();
        }
        receiver.wait_for_requests(before + 2, PATIENCE).await;
        receiver.behave(Behaviour::Accept);
    }
    database.run(insert(33, "clock_timestamp()")).await;
    let scrape = exporter.settles_at(&events_truth(&database).await).await;
    assert_eq!(scrape.get("rowmetry_otlp_push_resets_total", &[]), Some(0.0));
    assert!(exporter.terminate().success(), "the last push goes out at the end");

    let mut sums: BTreeMap<String, f64> = BTreeMap::new();
    let mut covered: BTreeMap<String, u64> = BTreeMap::new();
    for said in receiver.metrics().iter().flat_map(said).filter(|said| said.of.starts_with("events_")) {
        let until = covered.insert(said.of.clone(), said.time).unwrap_or(0);
        assert!(until <= said.start && said.start < said.time, "{} tells of a time twice", said.of);
        for (key, value) in said.series {
            *sums.entry(key).or_default() += value;
        }
    }
    expect_equal(&sums, &without_buckets(scraped(&scrape))).unwrap_or_else(|e| panic!("{e}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_pushed_and_nothing_said_of_it_unless_somebody_asks() {
    let database = Cluster::shared().database().await;
    make_events(&database).await;
    let exporter = Setup::of(&database.url).start().await;
    let scrape = exporter.reads_again().await;
    assert!(!scrape.series.keys().any(|key| key.starts_with("rowmetry_otlp_push")));

    // A receiver that is not there costs no scrape and no row, and is told of once.
    let setup = pushing_to(&database, "http://127.0.0.1:9", "http/protobuf", "temporality: delta");
    let exporter = setup.start().await;
    exporter
        .scrapes("several pushes found nobody", |scrape| {
            match scrape.get("rowmetry_otlp_push_requests_total", &[("outcome", "later")]) {
                Some(later) if later >= 3.0 => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    database.run(insert(10, "clock_timestamp()")).await;
    exporter.reads_again().await;
    let began = std::time::Instant::now();
    assert!(exporter.terminate().success());
    assert!(began.elapsed() < Duration::from_secs(15), "it does not hold up the end: {:?}", began.elapsed());
    assert_eq!(exporter.log_text().matches("metrics cannot be pushed").count(), 1, "{}", exporter.log_text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_shares_no_code_with_us_reads_the_same_points() {
    let database = Cluster::shared().database().await;
    make_events(&database).await;
    database.run(&insert(200, "now() - n * interval '1 s'")).await;
    // What the application's points say, but for when they were sent.
    let told = |points: Vec<serde_json::Value>| -> BTreeSet<String> {
        let mut own =
            points.into_iter().filter(|point| point["name"].as_str().unwrap_or_default().starts_with("events_"));
        let mut told = BTreeSet::new();
        for mut point in own.by_ref() {
            let fields = point.as_object_mut().expect("an object");
            for when in ["time", "resource"] {
                fields.remove(when);
            }
            told.insert(point.to_string());
        }
        told
    };
    for how in ["histograms: explicit", "histograms: exponential"] {
        let receiver = OtlpReceiver::start();
        let setup = pushing_to(&database, &receiver.http_url(), "http/protobuf", how).sourced("start", "all");
        let exporter = setup.start().await;
        exporter.settles_at(&events_truth(&database).await).await;
        receiver.clear();
        let wanted = told(receiver.wait_for_metrics(2, PATIENCE).await[1].points());
        assert!(wanted.len() > 5, "{wanted:?}");
        for (transport, protocol) in [(Transport::Http, "http/protobuf"), (Transport::Grpc, "grpc")] {
            let python = OtlpPython::start().await;
            let setup = pushing_to(&database, &python.url_of(transport), protocol, how).sourced("start", "all");
            let _exporter = setup.start().await;
            eventually(PATIENCE, "the other receiver has the same points", async || {
                let read = told(python.points());
                let missing: Vec<_> = wanted.difference(&read).take(1).collect();
                if missing.is_empty() { Ok(()) } else { Err(format!("{protocol}: {missing:?} is not in {read:?}")) }
            })
            .await;
        }
    }
}
