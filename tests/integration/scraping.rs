//! What others make of the exposition: promtool, a real Prometheus, and two parsers of other hands.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::harness::exporter::PATIENCE;
use super::harness::exposition::{key, name_of, plain_bounds};
use super::harness::prometheus::{Prometheus, promtool_complaints};
use super::harness::{Cluster, Database, Exporter, Scrape, Setup, eventually, python};
use super::tables::{events_truth, insert, make_events, make_orders};

const OPENMETRICS: &str = "application/openmetrics-text;version=1.0.0";
const PROTOBUF: &str = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";

/// Rows of every kind, labels that need escaping among them.
async fn busy(database: &Database<'_>) -> Exporter {
    make_events(database).await;
    make_orders(database).await;
    database.run("create view slow_view as select 1 as value").await;
    let odd =
        r#"insert into events (kind, amount, seconds) values (E'two\nlines', 1, 1), ('say "hi" \ bye', 2.5, 0.1)"#;
    database
        .run(format!("{}; {odd}; insert into orders (state) values ('open'), ('paid')", insert(100, "now()")))
        .await;
    let exporter = Setup::of(&database.url).start().await;
    exporter.settles_at(&events_truth(database).await).await;
    exporter
}

#[tokio::test(flavor = "multi_thread")]
async fn promtool_finds_nothing_to_say() {
    let database = Cluster::shared().database().await;
    let exporter = busy(&database).await;
    let reply = exporter.get("/metrics", "text/plain").await.expect("it answers");
    assert!(reply.header("content-type").starts_with("text/plain; version=0.0.4"), "{}", reply.header("content-type"));
    assert_eq!(promtool_complaints(&reply.body), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_format_says_the_same_to_parsers_of_other_hands() {
    let database = Cluster::shared().database().await;
    let exporter = busy(&database).await;
    let text = app_series(&exporter.scrape().await);

    let reply = exporter.get("/metrics", OPENMETRICS).await.expect("it answers");
    assert!(reply.header("content-type").starts_with("application/openmetrics-text; version=1.0.0"));
    let parsed = python::run("check_openmetrics.py", &reply.body).unwrap_or_else(|e| panic!("{e}"));
    let mut openmetrics = BTreeMap::new();
    for sample in parsed["samples"].as_array().expect("the script prints samples") {
        let name = sample[0].as_str().expect("a name");
        let labels = sample[1].as_object().expect("labels");
        let pairs: Vec<(&str, &str)> =
            labels.iter().map(|(label, value)| (label.as_str(), value.as_str().unwrap_or_default())).collect();
        if !name.ends_with("_created") {
            openmetrics.insert(plain_bounds(&key(name, &pairs)), sample[2].as_f64().expect("a number"));
        }
    }
    openmetrics.retain(|series, _| is_of_apps(series));
    assert_eq!(openmetrics, text, "OpenMetrics and text differ");
    assert_eq!(parsed["families"]["events"], "counter");
    assert_eq!(parsed["families"]["events_seconds"], "histogram");

    let reply = exporter.get("/metrics", PROTOBUF).await.expect("it answers");
    assert!(reply.header("content-type").starts_with("application/vnd.google.protobuf"));
    let families = python::run("decode_protobuf.py", &reply.body).unwrap_or_else(|e| panic!("{e}"));
    let mut protobuf = protobuf_series(&families);
    protobuf.retain(|series, _| is_of_apps(series));
    assert_eq!(protobuf, text, "protobuf and text differ");
}

#[tokio::test(flavor = "multi_thread")]
async fn protobuf_holds_native_histograms_and_start_times() {
    let database = Cluster::shared().database().await;
    let exporter = busy(&database).await;
    let reply = exporter.get("/metrics", PROTOBUF).await.expect("it answers");
    let families = python::run("decode_protobuf.py", &reply.body).unwrap_or_else(|e| panic!("{e}"));
    let family = |name: &str| {
        let families = families.as_array().expect("a list");
        families.iter().find(|family| family["name"] == name).unwrap_or_else(|| panic!("no family {name}"))
    };
    let now = database.number("extract(epoch from now())").await;
    for metric in family("events_total")["metric"].as_array().expect("series") {
        let created = seconds(&metric["counter"]["created_timestamp"]);
        assert!(created > now - 600.0 && created <= now, "{metric}");
    }
    for metric in family("events_seconds")["metric"].as_array().expect("series") {
        let histogram = &metric["histogram"];
        assert!(seconds(&histogram["created_timestamp"]) > now - 600.0, "{metric}");
        // The deltas of a native histogram add up to the counts of its buckets, and those to the count.
        let mut bucket = 0.0;
        let mut total = number(&histogram["zero_count"]);
        for delta in histogram["positive_delta"].as_array().map(Vec::as_slice).unwrap_or_default() {
            bucket += number(delta);
            total += bucket;
        }
        assert_eq!(total, number(&histogram["sample_count"]), "{metric}");
        let spans = histogram["positive_span"].as_array().expect("native buckets");
        let length: f64 = spans.iter().map(|span| number(&span["length"])).sum();
        assert_eq!(length, histogram["positive_delta"].as_array().map_or(0, Vec::len) as f64, "{metric}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_increase_that_prometheus_sees_is_the_truth() {
    let database = Cluster::shared().database().await;
    make_events(&database).await;
    // Series begin at 0 for long enough that Prometheus, which looks every second, sees that.
    let exporter = Setup::of(&database.url).sourced("interval", "200ms").with("zero_first", "3s").start().await;
    let prometheus = Prometheus::scraping(exporter.setup.address, &[]).await;
    for _ in 0..5 {
        database.run(insert(300, "clock_timestamp()")).await;
        exporter.reads_again().await;
    }
    let truth = events_truth(&database).await;
    for kind in ["a", "b", "c"] {
        for (selector, name, labels) in [
            (format!("events_total{{kind=\"{kind}\"}}"), "events_total", vec![("kind", kind)]),
            (format!("events_seconds_count{{kind=\"{kind}\"}}"), "events_seconds_count", vec![("kind", kind)]),
            (format!("events_seconds_sum{{kind=\"{kind}\"}}"), "events_seconds_sum", vec![("kind", kind)]),
        ] {
            let expected = truth.get(name, &labels).expect("there are rows of each kind");
            eventually(PATIENCE, &format!("increase() of {selector}"), async || {
                match prometheus.increase(&selector).await? {
                    increase if increase == expected => Ok(()),
                    increase => {
                        let samples: Vec<f64> = prometheus.samples(&selector).await?.iter().map(|s| s.value).collect();
                        Err(format!("{increase}, in truth {expected}; samples {samples:?}"))
                    }
                }
            })
            .await;
        }
    }
    assert_eq!(prometheus.value("max_over_time(up[1h])", None).await, Ok(1.0));
    assert_eq!(prometheus.value("min_over_time(up[1h])", None).await, Ok(1.0), "no scrape failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_takes_native_histograms() {
    let database = Cluster::shared().database().await;
    let exporter = busy(&database).await;
    let truth = events_truth(&database).await;
    let prometheus = Prometheus::scraping(exporter.setup.address, &["native-histograms"]).await;
    for kind in ["a", "b", "c"] {
        let (count, sum) = (
            truth.get("events_seconds_count", &[("kind", kind)]).expect("there are rows"),
            truth.get("events_seconds_sum", &[("kind", kind)]).expect("there are rows"),
        );
        eventually(PATIENCE, "the native histogram is stored", async || {
            let series = format!("events_seconds{{kind=\"{kind}\"}}");
            let seen = (
                prometheus.value(&format!("histogram_count({series})"), None).await?,
                prometheus.value(&format!("histogram_sum({series})"), None).await?,
            );
            if seen == (count, sum) { Ok(()) } else { Err(format!("{seen:?}, in truth {:?}", (count, sum))) }
        })
        .await;
        let half = "percentile_cont(0.5) within group (order by seconds)";
        let median = database.number(&format!("select {half} from ledger where kind = '{kind}'")).await;
        let quantile = format!("histogram_quantile(0.5, events_seconds{{kind=\"{kind}\"}})");
        let estimate = prometheus.value(&quantile, None).await.unwrap_or_else(|e| panic!("{e}"));
        // Schema 3 buckets are 9 % wide; the rows lie on eighths of a second.
        assert!((estimate - median).abs() <= 0.15 * median + 0.125, "median {median}, estimate {estimate}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_and_cached_replies_are_the_same() {
    let database = Cluster::shared().database().await;
    let exporter = busy(&database).await;
    let headers = [("Accept", "text/plain"), ("Accept-Encoding", "gzip")];
    let packed = super::harness::http::get(exporter.setup.address, "/metrics", &headers).await.expect("it answers");
    assert_eq!(packed.header("content-encoding"), "gzip");
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(packed.body.as_slice()), &mut text)
        .expect("it is gzip");
    let packed = app_series(&Scrape::parse(&text).expect("it is the text format"));
    assert_eq!(packed, app_series(&exporter.scrape().await));
    let head =
        super::harness::http::request(exporter.setup.address, "HEAD", "/metrics", &headers, Duration::from_secs(5));
    // HEAD announces a length and sends nothing, which the strict client takes for a cut reply.
    assert!(head.await.is_err_and(|e| e.contains("not an HTTP reply")));
}

fn number(value: &Value) -> f64 {
    match value {
        Value::Null => 0.0,
        Value::String(text) => text.parse().unwrap_or(f64::NAN),
        value => value.as_f64().unwrap_or(f64::NAN),
    }
}

/// A protobuf timestamp, which JSON shows as text.
fn seconds(value: &Value) -> f64 {
    let time: jiff::Timestamp = value.as_str().unwrap_or_default().parse().unwrap_or_else(|e| panic!("{value}: {e}"));
    time.as_duration().as_secs_f64()
}

fn is_of_apps(series: &str) -> bool {
    ["events_", "orders_", "slow_"].iter().any(|prefix| name_of(series).starts_with(prefix))
}

/// The applications' series with `le` written one way.
fn app_series(scrape: &Scrape) -> BTreeMap<String, f64> {
    scrape
        .series
        .iter()
        .filter(|(series, _)| is_of_apps(series))
        .map(|(series, value)| (plain_bounds(series), *value))
        .collect()
}

fn protobuf_series(families: &Value) -> BTreeMap<String, f64> {
    let mut series = BTreeMap::new();
    for family in families.as_array().expect("a list") {
        let name = family["name"].as_str().expect("a name");
        for metric in family["metric"].as_array().map(Vec::as_slice).unwrap_or_default() {
            let labels = metric["label"].as_array().map(Vec::as_slice).unwrap_or_default();
            let pairs: Vec<(&str, &str)> = labels
                .iter()
                .map(|pair| (pair["name"].as_str().unwrap_or_default(), pair["value"].as_str().unwrap_or_default()))
                .collect();
            for kind in ["counter", "gauge", "untyped"] {
                if let Some(value) = metric.get(kind) {
                    series.insert(key(name, &pairs), number(&value["value"]));
                }
            }
            let Some(histogram) = metric.get("histogram") else { continue };
            series.insert(key(&format!("{name}_count"), &pairs), number(&histogram["sample_count"]));
            series.insert(key(&format!("{name}_sum"), &pairs), number(&histogram["sample_sum"]));
            let mut bounds: BTreeMap<String, f64> = BTreeMap::new();
            for bucket in histogram["bucket"].as_array().map(Vec::as_slice).unwrap_or_default() {
                let bound = bucket["upper_bound"].as_f64().map_or("+Inf".into(), |bound| bound.to_string());
                bounds.insert(bound, number(&bucket["cumulative_count"]));
            }
            bounds.entry("+Inf".into()).or_insert(number(&histogram["sample_count"]));
            for (bound, count) in &bounds {
                let with_bound: Vec<(&str, &str)> = pairs.iter().copied().chain([("le", bound.as_str())]).collect();
                series.insert(key(&format!("{name}_bucket"), &with_bound), *count);
            }
        }
    }
    series
}

#[test]
fn the_parsers_refuse_what_is_wrong() {
    let openmetrics = |text: &str| python::run("check_openmetrics.py", text.as_bytes());
    assert!(openmetrics("# TYPE a counter\na_total 1\n# EOF\n").is_ok());
    assert!(openmetrics("# TYPE a counter\na_total 1\n").is_err(), "no EOF");
    assert!(openmetrics("# TYPE a counter\na 1\n# EOF\n").is_err(), "no _total");
    let protobuf = |bytes: &[u8]| python::run("decode_protobuf.py", bytes);
    let family = b"\x0e\x0a\x01a\x18\x00\x22\x07\x1a\x05";
    assert!(protobuf(family).is_err(), "cut");
    let whole = b"\x12\x0a\x01a\x18\x00\x22\x0b\x1a\x09\x09\x00\x00\x00\x00\x00\x00\x08\x40";
    let parsed = protobuf(whole).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(protobuf_series(&parsed), BTreeMap::from([("a".to_string(), 3.0)]));
    assert!(protobuf(b"\x05\x0a\x01a\x48\x01").is_err(), "a field that the definition does not have");
}
