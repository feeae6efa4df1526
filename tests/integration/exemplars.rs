//! From a number to a row's trace: what a real Prometheus stores of exemplars, and what other parsers read.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use rowmetry::collector::{Guard, SeriesSet};
use rowmetry::config::{Limits, WebSettings};
use rowmetry::family::{Micros, SpanContext, SpanId, TraceId};
use rowmetry::store::{Board, CollectorId, Store};
use rowmetry::telemetry::Metrics;
use rowmetry::web::{WebState, serve};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::harness::exporter::PATIENCE;
use super::harness::prometheus::{Prometheus, StoredExemplar, promtool_complaints};
use super::harness::{eventually, http, python};

const OPENMETRICS: &str = "application/openmetrics-text;version=1.0.0";
/// When the first row happened, in microseconds since 1970: a quarter of a second that every float holds exactly.
const BEGAN: Micros = 1_795_229_598_250_000;
/// Time between two rows, in microseconds.
const STEP: Micros = 250_000;

/// A web server in this process, and two sources that count what the tests give them.
struct Exporter {
    address: std::net::SocketAddr,
    store: Arc<Store>,
    sources: [Source; 2],
    _stop: oneshot::Sender<()>,
}

/// The counter and the histogram of one source.
struct Source {
    name: &'static str,
    calls: SeriesSet,
    seconds: SeriesSet,
}

impl Exporter {
    async fn start() -> Exporter {
        let metrics = Arc::new(Metrics::new("1.2.3"));
        let store = Arc::new(Store::new(metrics.clone()));
        let now = AtomicI64::new(BEGAN);
        let clock = Arc::new(move || now.fetch_add(1000, Ordering::Relaxed));
        let settings = WebSettings::default();
        let web = WebState::new(store.clone(), Arc::new(Board::new()), metrics, settings, None, "1.2.3", clock);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it listens");
        let (stop, stopped) = oneshot::channel();
        tokio::spawn(serve(listener, Arc::new(web), async move {
            let _ = stopped.await;
        }));
        let series = |yaml| {
            let metric = serde_saphyr::from_str(yaml).expect("a metric in YAML");
            SeriesSet::new(&metric, &Limits::default(), Arc::new(Guard::new(120)))
        };
        let source = |name| Source {
            name,
            calls: series("{counter: app_calls_total, help: Calls., labels: [model]}"),
            seconds: series(
                "{histogram: app_calls_seconds, help: Waiting., value: s, labels: [model], buckets: [1, 2]}",
            ),
        };
        Exporter { address, store, sources: ["blue", "green"].map(source), _stop: stop }
    }

    /// A row of the model `m` of a source: which one it is, how long it took, how many microseconds after
    /// the first it happened.
    fn count(&mut self, source: usize, row: u8, seconds: &str, micros: i64) {
        let span = Some((span(row), BEGAN + micros));
        let Source { calls, seconds: distribution, .. } = &mut self.sources[source];
        calls.add_traced(&[Some("m")], None, BEGAN, span).expect("it counts");
        distribution.add_traced(&[Some("m")], Some(seconds), BEGAN, span).expect("it counts");
    }

    fn publish(&self) {
        for source in &self.sources {
            let families = vec![source.calls.families(None), source.seconds.families(None)];
            self.store.publish(&CollectorId::new(source.name, "app", "calls"), families);
        }
    }

    async fn body(&self, accept: &str) -> Vec<u8> {
        http::get(self.address, "/metrics", &[("Accept", accept)]).await.expect("it answers").body
    }
}

fn span(row: u8) -> SpanContext {
    SpanContext { trace: TraceId([row; 16]), span: SpanId([row; 8]) }
}

/// What Prometheus must have stored, as [`stored`] tells it: source, bound if it is a bucket's, row, value, steps.
type Expected = (&'static str, &'static str, u8, f64, i64);

/// The exemplars of a query, as they are expected.
async fn stored(prometheus: &Prometheus, query: &str, expected: &[Expected]) {
    let expected: Vec<_> = expected
        .iter()
        .map(|(source, bound, row, value, steps)| {
            let (trace, of) = (span(*row).trace.to_string(), span(*row).span.to_string());
            (source.to_string(), bound.to_string(), trace, of, *value, (BEGAN + steps * STEP) / 1000)
        })
        .collect();
    eventually(PATIENCE, query, async || {
        let label = |one: &StoredExemplar, name: &str| one.series.get(name).cloned().unwrap_or_default();
        let all = prometheus.query_exemplars(query).await?.into_iter();
        let mut all: Vec<_> = all
            .map(|one| {
                let (source, bound) = (label(&one, "source"), label(&one, "le"));
                (source, bound, one.trace_id, one.span_id, one.value, one.at)
            })
            .collect();
        // The order of the series is none of ours; that of the exemplars of one series is.
        all.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
        if all == expected { Ok(()) } else { Err(format!("{all:?}, in truth {expected:?}")) }
    })
    .await;
}

/// Prometheus refused none: neither older ones than it had, nor any at all.
async fn refused_none(prometheus: &Prometheus) {
    for name in [
        "prometheus_target_scrapes_exemplar_out_of_order_total",
        "prometheus_tsdb_exemplar_out_of_order_exemplars_total",
    ] {
        assert_eq!(prometheus.own(name).await, Ok(0.0), "{name}; {}", prometheus.log_text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_leads_from_counters_and_buckets_to_traces() {
    let mut exporter = Exporter::start().await;
    exporter.count(0, 1, "0.5", 0);
    exporter.count(0, 2, "7.25", 2 * STEP);
    exporter.count(1, 3, "1.5", STEP);
    exporter.publish();
    let prometheus = Prometheus::scraping(exporter.address, &["exemplar-storage"]).await;
    let calls = [("blue", "", 2, 1.0, 2), ("green", "", 3, 1.0, 1)];
    stored(&prometheus, "app_calls_total", &calls).await;
    let buckets = [("blue", "+Inf", 2, 7.25, 2), ("blue", "1.0", 1, 0.5, 0), ("green", "2.0", 3, 1.5, 1)];
    stored(&prometheus, "app_calls_seconds_bucket", &buckets).await;

    // Later rows come beside what is stored; an older one that is read late, and one of the same millisecond, do not.
    exporter.count(0, 4, "0.25", 5 * STEP);
    exporter.count(0, 5, "0.125", 4 * STEP);
    exporter.count(1, 6, "1.75", STEP + 999);
    exporter.publish();
    let calls = [("blue", "", 2, 1.0, 2), ("blue", "", 4, 1.0, 5), ("green", "", 3, 1.0, 1)];
    stored(&prometheus, "app_calls_total", &calls).await;
    let buckets = [buckets[0], buckets[1], ("blue", "1.0", 4, 0.25, 5), buckets[2]];
    stored(&prometheus, "app_calls_seconds_bucket", &buckets).await;
    eventually(PATIENCE, "the late rows are scraped", async || {
        match prometheus.value("sum(app_calls_total)", None).await? {
            6.0 => Ok(()),
            value => Err(format!("{value} of 6")),
        }
    })
    .await;
    stored(&prometheus, "app_calls_seconds_bucket", &buckets).await;
    refused_none(&prometheus).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_leads_from_native_histograms_to_traces() {
    let mut exporter = Exporter::start().await;
    // Prometheus 2.42 takes one exemplar of a native histogram, that of the lowest classic bucket that has any; later ones
    // take the whole list. With one bucket each they agree.
    exporter.count(0, 1, "7.25", 0);
    exporter.count(1, 2, "1.5", STEP);
    exporter.publish();
    let prometheus = Prometheus::scraping(exporter.address, &["exemplar-storage", "native-histograms"]).await;
    let (calls, seconds) =
        ([("blue", "", 1, 1.0, 0), ("green", "", 2, 1.0, 1)], [("blue", "", 1, 7.25, 0), ("green", "", 2, 1.5, 1)]);
    stored(&prometheus, "app_calls_total", &calls).await;
    stored(&prometheus, "app_calls_seconds", &seconds).await;
    exporter.count(0, 3, "8.5", 4 * STEP);
    exporter.publish();
    stored(&prometheus, "app_calls_total", &[calls[0], ("blue", "", 3, 1.0, 4), calls[1]]).await;
    stored(&prometheus, "app_calls_seconds", &[seconds[0], ("blue", "", 3, 8.5, 4), seconds[1]]).await;
    refused_none(&prometheus).await;
    let count = prometheus.value("histogram_count(app_calls_seconds{source=\"blue\"})", None).await;
    assert_eq!(count, Ok(2.0), "they are those of native histograms");
}

#[tokio::test(flavor = "multi_thread")]
async fn parsers_of_other_hands_read_what_was_counted() {
    let mut exporter = Exporter::start().await;
    exporter.count(0, 1, "0.5", 0);
    exporter.count(1, 0xfe, "7.25", 3 * STEP);
    exporter.publish();
    let parsed =
        python::run("check_openmetrics.py", &exporter.body(OPENMETRICS).await).unwrap_or_else(|e| panic!("{e}"));
    let recent = |row: u8| json!({"trace_id": span(row).trace.to_string(), "span_id": span(row).span.to_string()});
    let (blue, green) = (json!({"source": "blue", "model": "m"}), json!({"source": "green", "model": "m"}));
    let (fast, slow) =
        (json!({"source": "blue", "model": "m", "le": "1.0"}), json!({"source": "green", "model": "m", "le": "+Inf"}));
    let expected = json!([
        ["app_calls_seconds_bucket", fast, recent(1), 0.5, 1_795_229_598.25],
        ["app_calls_seconds_bucket", slow, recent(0xfe), 7.25, 1_795_229_599.0],
        ["app_calls_total", blue, recent(1), 1.0, 1_795_229_598.25],
        ["app_calls_total", green, recent(0xfe), 1.0, 1_795_229_599.0],
    ]);
    assert_eq!(parsed["exemplars"], expected);

    let text = exporter.body("text/plain").await;
    assert_eq!(promtool_complaints(&text), "");
    assert!(!String::from_utf8_lossy(&text).contains("trace_id"), "text 0.0.4 has no exemplars");
}
