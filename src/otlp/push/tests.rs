//! A receiver that answers as it is told, and the clock of tokio, which is paused.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;

use super::*;
use crate::config::otlp::{HistogramForm, OtlpEndpoint, OtlpProtocol, Temporality};
use crate::family::{Family, Histogram, Kind, Labels, NativeHistogram, Series, Value};
use crate::store::CollectorId;

const INTERVAL: Duration = Duration::from_secs(60);
const SECOND: Micros = 1_000_000;
/// When the process of a test begins.
const START: Micros = 1000 * SECOND;

/// A number that was received.
#[derive(Debug, Clone, PartialEq)]
struct Received {
    name: String,
    label: String,
    /// Seconds after the process began.
    start: f64,
    time: f64,
    /// None: the series ended.
    value: Option<f64>,
}

/// Answers in turn; what it accepts it keeps.
#[derive(Default)]
struct Receiver {
    answers: Mutex<VecDeque<Answer>>,
    /// The points of each request, whatever the answer was.
    asked: Mutex<Vec<Vec<Received>>>,
    accepted: Mutex<Vec<Received>>,
}

impl Receiver {
    fn answers(self: &Arc<Self>, answers: impl IntoIterator<Item = Answer>) {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).extend(answers);
    }

    /// What was accepted since it was last asked, our own metrics excepted.
    fn take(&self) -> Vec<Received> {
        std::mem::take(&mut self.accepted.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn take_asked(&self) -> Vec<usize> {
        let asked = std::mem::take(&mut *self.asked.lock().unwrap_or_else(PoisonError::into_inner));
        asked.iter().map(Vec::len).collect()
    }
}

impl Deliver for Arc<Receiver> {
    async fn deliver(&self, request: ExportMetricsServiceRequest) -> Answer {
        let points = received(request);
        let answer = self.answers.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let answer = answer.unwrap_or(Answer::Accepted);
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(points.clone());
        if matches!(answer, Answer::Accepted | Answer::Partial { .. }) {
            let mut accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
            accepted.extend(points.into_iter().filter(|point| point.name.starts_with("shop_")));
        }
        answer
    }
}

/// Histograms as their counts.
fn received(request: ExportMetricsServiceRequest) -> Vec<Received> {
    let after = |nanos: u64| nanos as f64 / 1e9 - (START / SECOND) as f64;
    let label = |attributes: &[opentelemetry_proto::tonic::common::v1::KeyValue]| {
        let value = attributes.first().and_then(|pair| pair.value.clone()?.value);
        if let Some(Any::StringValue(text)) = value { text } else { String::new() }
    };
    let mut points = Vec::new();
    let scopes = request.resource_metrics.into_iter().flat_map(|resource| resource.scope_metrics);
    for metric in scopes.flat_map(|scope| scope.metrics) {
        let name = &metric.name;
        match metric.data.expect("every metric has data") {
            Data::Sum(sum) => points.extend(sum.data_points.iter().map(|point| Received {
                name: name.clone(),
                label: label(&point.attributes),
                start: after(point.start_time_unix_nano),
                time: after(point.time_unix_nano),
                value: point.value.map(double),
            })),
            Data::Gauge(gauge) => points.extend(gauge.data_points.iter().map(|point| Received {
                name: name.clone(),
                label: label(&point.attributes),
                start: 0.0,
                time: after(point.time_unix_nano),
                value: point.value.map(double),
            })),
            Data::Histogram(histogram) => points.extend(histogram.data_points.iter().map(|point| Received {
                name: name.clone(),
                label: label(&point.attributes),
                start: after(point.start_time_unix_nano),
                time: after(point.time_unix_nano),
                value: (point.flags == 0).then_some(point.count as f64),
            })),
            other => panic!("not asked for: {other:?}"),
        }
    }
    points
}

fn double(value: Number) -> f64 {
    match value {
        Number::AsDouble(value) => value,
        Number::AsInt(_) => panic!("all numbers are of one kind"),
    }
}

/// A pusher that runs.
struct Scene {
    receiver: Arc<Receiver>,
    store: Arc<Store>,
    metrics: Arc<Metrics>,
    task: tokio::task::JoinHandle<()>,
    stop: watch::Sender<bool>,
}

impl Scene {
    fn begin(temporality: Temporality, batch_points: usize) -> Scene {
        let metrics = Arc::new(Metrics::new("1"));
        let store = Arc::new(Store::new(metrics.clone()));
        let receiver = Arc::new(Receiver::default());
        let url = url::Url::parse("http://localhost:4318/v1/metrics").expect("a URL");
        let settings = PushSettings {
            endpoint: OtlpEndpoint::new(url, OtlpProtocol::HttpProtobuf),
            interval: INTERVAL,
            temporality,
            histograms: HistogramForm::Explicit,
            batch_points,
        };
        let began = Instant::now();
        let now: Clock = Arc::new(move || START + began.elapsed().as_micros() as Micros);
        let otlp = OtlpSettings::default();
        let push = Push::new(settings, &otlp, "host:1", "1", store.clone(), metrics.clone(), now);
        let (stop, told) = watch::channel(false);
        let task = tokio::spawn(run(push, receiver.clone(), START, told));
        Scene { receiver, store, metrics, task, stop }
    }

    /// Publishes families in place of those before.
    fn publish(&self, families: Vec<Family>) {
        self.store.publish(&CollectorId::new("s", "p", "c"), families);
    }

    /// Lets time pass.
    async fn after(&self, seconds: u64) -> Vec<Received> {
        // Half a second later than the interval, so that the push is over.
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        self.receiver.take()
    }

    async fn end(self) -> Vec<Received> {
        self.stop.send_replace(true);
        self.task.await.expect("it ends");
        self.receiver.take()
    }

    /// A self metric, as the text format prints it.
    fn says(&self, line: &str) {
        let mut text = Vec::new();
        crate::exposition::Format::Text.encode(&own::families(&self.metrics.gather()), &mut text);
        let text = String::from_utf8(text).expect("text");
        let ours: Vec<&str> = text.lines().filter(|line| line.contains("otlp_push")).collect();
        assert!(ours.contains(&line), "{line} is not in {ours:#?}");
    }
}

fn family(name: &str, kind: Kind, start: Option<Micros>, values: &[(&str, f64)]) -> Family {
    let series = values.iter().map(|(label, value)| Series {
        labels: Labels::new([(Arc::from("kind"), *label)]),
        value: Value::Number(*value),
        start: start.map(|start| START + start * SECOND),
        exemplar: None,
    });
    Family { name: name.into(), help: "X.".into(), kind, series: series.collect() }
}

fn sales(start: Micros, values: &[(&str, f64)]) -> Family {
    family("shop_sales_total", Kind::Counter, Some(start), values)
}

fn open(values: &[(&str, f64)]) -> Family {
    family("shop_open", Kind::Gauge, None, values)
}

fn later(after: Option<u64>) -> Answer {
    Answer::Later { after: after.map(Duration::from_secs), why: "busy".into() }
}

/// Label, value and the seconds that it covers.
fn short(received: &[Received]) -> Vec<(&str, Option<f64>, f64, f64)> {
    received.iter().map(|point| (&*point.label, point.value, point.start, point.time)).collect()
}

#[tokio::test(start_paused = true)]
async fn cumulative_values_are_sent_whole_and_their_end_is_told_once() {
    let scene = Scene::begin(Temporality::Cumulative, 2000);
    scene.publish(vec![sales(-500, &[("a", 3.0), ("b", 4.0)]), open(&[("x", 7.0)])]);
    let first = scene.after(61).await;
    let sold = [("x", Some(7.0), 0.0, 60.0), ("a", Some(3.0), -500.0, 60.0), ("b", Some(4.0), -500.0, 60.0)];
    assert_eq!(short(&first), sold);
    // One series ends, and then a whole family.
    scene.publish(vec![sales(-500, &[("b", 4.0)]), open(&[("x", 7.0)])]);
    scene.receiver.answers([Answer::Refused { why: "no".into() }]);
    assert_eq!(scene.after(60).await, []);
    let second = scene.after(60).await;
    assert_eq!(short(&second)[1..], [("b", Some(4.0), -500.0, 180.0), ("a", None, 60.0, 180.0)]);
    scene.publish(vec![]);
    let third = scene.after(60).await;
    assert_eq!(short(&third), [("x", None, 0.0, 240.0), ("b", None, 180.0, 240.0)]);
    assert_eq!(scene.after(60).await, [], "told once");
    assert_eq!(scene.end().await, []);
}

#[tokio::test(start_paused = true)]
async fn deltas_are_what_was_counted_since_the_receiver_took_some() {
    let scene = Scene::begin(Temporality::Delta, 2000);
    scene.publish(vec![sales(5, &[("a", 3.0)]), open(&[("x", 7.0)])]);
    assert_eq!(short(&scene.after(61).await), [("x", Some(7.0), 0.0, 60.0), ("a", Some(3.0), 5.0, 60.0)]);
    scene.publish(vec![sales(5, &[("a", 5.0)]), open(&[("x", 6.0)])]);
    scene.receiver.answers([Answer::Refused { why: "no".into() }]);
    assert_eq!(scene.after(60).await, []);
    scene.publish(vec![sales(5, &[("a", 9.0)]), open(&[("x", 5.0)])]);
    let both = scene.after(60).await;
    assert_eq!(short(&both), [("x", Some(5.0), 0.0, 180.0), ("a", Some(6.0), 60.0, 180.0)], "since it last took some");
    assert_eq!(short(&scene.after(60).await), [("x", Some(5.0), 0.0, 240.0)], "nothing was counted");

    // A database that is away for a while does not make a new series.
    scene.publish(vec![]);
    assert_eq!(short(&scene.after(60).await), [("x", None, 0.0, 300.0)]);
    scene.publish(vec![sales(5, &[("a", 10.0)])]);
    assert_eq!(short(&scene.after(60).await), [("a", Some(1.0), 180.0, 360.0)]);

    // A new epoch begins anew, and a value that went down too.
    scene.publish(vec![sales(400, &[("a", 2.0)])]);
    assert_eq!(short(&scene.after(60).await), [("a", Some(2.0), 400.0, 420.0)]);
    scene.publish(vec![sales(400, &[("a", 1.0)])]);
    assert_eq!(short(&scene.after(60).await), [("a", Some(1.0), 420.0, 480.0)]);
    scene.says("rowmetry_otlp_push_resets_total 1");
    scene.publish(vec![sales(400, &[("a", 4.0)])]);
    assert_eq!(short(&scene.end().await), [("a", Some(3.0), 480.0, 481.0)], "the last push");
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_process_told_is_not_told_again_as_a_delta() {
    let scene = Scene::begin(Temporality::Delta, 2000);
    scene.publish(vec![sales(-500, &[("a", 1000.0)])]);
    scene.receiver.answers([Answer::Refused { why: "no".into() }]);
    assert_eq!(scene.after(61).await, []);
    scene.publish(vec![sales(-500, &[("a", 1003.0)])]);
    assert_eq!(short(&scene.after(60).await), [("a", Some(3.0), 0.0, 120.0)]);
    // Without news it is told once, so that it is there.
    scene.publish(vec![sales(-500, &[("a", 1003.0), ("b", 50.0)])]);
    assert_eq!(short(&scene.after(60).await), [("b", Some(0.0), 0.0, 180.0)]);
    assert_eq!(scene.after(60).await, []);
    scene.end().await;
}

#[tokio::test(start_paused = true)]
async fn large_pushes_are_split_and_what_is_too_large_is_halved() {
    let scene = Scene::begin(Temporality::Cumulative, 400);
    let labels: Vec<String> = (0..1000).map(|label| label.to_string()).collect();
    let values: Vec<(&str, f64)> = labels.iter().map(|label| (&**label, 1.0)).collect();
    scene.publish(vec![sales(0, &values)]);
    scene.receiver.answers([Answer::TooLarge { why: "no".into() }]);
    let mut got: Vec<String> = scene.after(61).await.into_iter().map(|point| point.label).collect();
    let asked = scene.receiver.take_asked();
    assert_eq!(asked[..3], [400, 200, 200], "{asked:?}");
    assert!(asked[3..].iter().all(|points| *points <= 200), "it learns: {asked:?}");
    let mut all = labels.clone();
    got.sort();
    all.sort();
    assert_eq!(got, all);
    scene.says("rowmetry_otlp_push_requests_total{outcome=\"too_large\"} 1");
    scene.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_busy_is_asked_again_within_the_interval_alone() {
    let scene = Scene::begin(Temporality::Cumulative, 2000);
    scene.publish(vec![sales(0, &[("a", 1.0)])]);
    scene.receiver.answers([later(None), later(Some(5))]);
    assert_eq!(scene.after(61).await, [], "not at once");
    let got = scene.after(10).await;
    assert_eq!(short(&got), [("a", Some(1.0), 0.0, 60.0)], "the same again");
    assert_eq!(scene.receiver.take_asked().len(), 3);

    // It is busy for minutes: the next interval has newer values, and nothing piles up.
    scene.receiver.answers(std::iter::repeat_n(later(None), 1000));
    for minute in 0..5 {
        assert_eq!(scene.after(60).await, []);
        let asked = scene.receiver.take_asked();
        assert!((3..=8).contains(&asked.len()), "{asked:?} in a minute");
        assert!(asked.iter().all(|points| *points == asked[0]), "{asked:?}");
        scene.publish(vec![sales(0, &[("a", f64::from(minute))])]);
    }
    scene.receiver.answers.lock().unwrap_or_else(PoisonError::into_inner).clear();
    let got = scene.after(60).await;
    assert_eq!(got.last().and_then(|point| point.value), Some(4.0));
    scene.receiver.take_asked();

    // It asks for a pause longer than the interval.
    scene.receiver.answers([later(Some(150))]);
    scene.after(60).await;
    assert_eq!(scene.receiver.take_asked().len(), 1);
    scene.after(120).await;
    assert_eq!(scene.receiver.take_asked().len(), 0, "it asked for that");
    scene.after(60).await;
    assert_eq!(scene.receiver.take_asked().len(), 1);
    scene.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_does_not_know_us_is_asked_seldom() {
    let scene = Scene::begin(Temporality::Delta, 2000);
    scene.publish(vec![sales(0, &[("a", 1.0)])]);
    scene.receiver.answers([Answer::Misconfigured { why: "401".into() }]);
    assert_eq!(scene.after(300).await, []);
    assert_eq!(scene.receiver.take_asked().len(), 1);
    assert_eq!(short(&scene.after(61).await), [("a", Some(1.0), 0.0, 360.0)]);
    scene.says("rowmetry_otlp_push_requests_total{outcome=\"misconfigured\"} 1");
    scene.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_became_of_points_is_counted() {
    let scene = Scene::begin(Temporality::Cumulative, 1_000_000);
    scene.publish(vec![sales(0, &[("a", 1.0), ("b", 1.0)])]);
    scene.receiver.answers([Answer::Partial { rejected: 1, message: "old".into() }]);
    scene.after(61).await;
    let first = scene.receiver.take_asked()[0];
    scene.says("rowmetry_otlp_push_points_total{outcome=\"rejected\"} 1");
    scene.says(&format!("rowmetry_otlp_push_points_total{{outcome=\"accepted\"}} {}", first - 1));
    scene.says("rowmetry_otlp_push_points_total{outcome=\"dropped\"} 0");
    scene.receiver.answers([later(Some(70))]);
    scene.after(60).await;
    let second = scene.receiver.take_asked()[0];
    scene.says(&format!("rowmetry_otlp_push_points_total{{outcome=\"dropped\"}} {second}"));
    scene.after(120).await;
    scene.says("rowmetry_otlp_push_last_success_timestamp_seconds 1240");
    scene.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_hangs_does_not_hold_up_the_end() {
    struct Hanging;
    impl Deliver for Hanging {
        async fn deliver(&self, _: ExportMetricsServiceRequest) -> Answer {
            std::future::pending().await
        }
    }
    let scene = Scene::begin(Temporality::Cumulative, 10);
    let url = url::Url::parse("http://localhost:4318/v1/metrics").expect("a URL");
    let settings = PushSettings {
        endpoint: OtlpEndpoint::new(url, OtlpProtocol::HttpProtobuf),
        interval: INTERVAL,
        temporality: Temporality::Cumulative,
        histograms: HistogramForm::Explicit,
        batch_points: 10,
    };
    let otlp = OtlpSettings::default();
    // Before the first push, and while one is under way.
    for (until, within) in [(Duration::ZERO, LAST_PUSH_WITHIN), (INTERVAL * 3 / 2, UNDER_WAY_WITHIN)] {
        let (stop, told) = watch::channel(false);
        let (store, metrics) = (scene.store.clone(), scene.metrics.clone());
        let push = Push::new(settings.clone(), &otlp, "host:1", "1", store, metrics, Arc::new(|| START));
        let task = tokio::spawn(run(push, Hanging, START, told));
        tokio::time::sleep(until).await;
        stop.send_replace(true);
        let began = Instant::now();
        tokio::time::timeout(INTERVAL, task).await.expect("it ends in time").expect("it ends");
        assert_eq!(began.elapsed().as_secs(), within.as_secs());
    }
}

mod deltas {
    use proptest::prelude::*;

    use super::*;

    /// What happens in one round: rows come, the source may be away, the resolution may be halved, the receiver may take it.
    #[derive(Debug, Clone)]
    struct Round {
        rows: Vec<i32>,
        away: bool,
        coarser: bool,
        epoch: bool,
        taken: bool,
    }

    fn round() -> impl Strategy<Value = Round> {
        let rows = proptest::collection::vec(-20..40_i32, 0..6);
        (rows, prop::bool::weighted(0.2), prop::bool::weighted(0.2), prop::bool::weighted(0.1), any::<bool>())
            .prop_map(|(rows, away, coarser, epoch, taken)| Round { rows, away, coarser, epoch, taken })
    }

    /// What counts as one histogram: by bucket of the coarsest resolution.
    #[derive(Debug, Clone, Default, PartialEq)]
    struct Total {
        number: f64,
        count: u64,
        sum: f64,
        classic: Vec<u64>,
        native: BTreeMap<i32, u64>,
    }

    const COARSEST: i32 = -4;

    fn add(total: &mut Total, histogram: &Histogram) {
        total.count += histogram.count;
        total.sum += histogram.sum;
        total.classic.resize(histogram.buckets.len(), 0);
        for (total, (_, count)) in total.classic.iter_mut().zip(&histogram.buckets) {
            *total += count;
        }
        let native = histogram.native.as_ref().expect("it has");
        for (index, count) in encode::joined(&native.positive, (native.schema - COARSEST) as u32) {
            *total.native.entry(index).or_default() += count;
        }
    }

    fn histogram(rows: &[i32], schema: i32) -> Histogram {
        let below = |upper: f64| rows.iter().filter(|row| f64::from(**row) <= upper).count() as u64;
        let mut positive = BTreeMap::new();
        for row in rows {
            *positive.entry(*row).or_insert(0) += 1;
        }
        let positive = encode::joined(&positive, (3 - schema) as u32);
        Histogram {
            count: rows.len() as u64,
            sum: rows.iter().map(|row| f64::from(*row)).sum(),
            buckets: [-10.0, 0.0, 10.0, 30.0].map(|upper| (upper, below(upper))).to_vec(),
            exemplars: Vec::new(),
            native: Some(NativeHistogram { schema, zero_threshold: 0.0, zero: 0, positive, negative: BTreeMap::new() }),
        }
    }

    proptest! {
        /// Whatever is refused, what the receiver took adds up to what was counted: at the end, and in each epoch that ended
        /// with an accepted push.
        #[test]
        fn what_was_taken_adds_up(rounds in proptest::collection::vec(round(), 1..25)) {
            let mut ledger = Ledger::new(Temporality::Delta, HistogramForm::Exponential, START);
            let (mut rows, mut schema, mut start) = (Vec::new(), 3, START);
            let (mut taken, mut epoch) = (Total::default(), Total::default());
            let last = Round { rows: vec![], away: false, coarser: false, epoch: false, taken: true };
            let mut covered = START;
            for (at, round) in rounds.into_iter().chain([last]).enumerate() {
                let now = START + (at as Micros + 1) * INTERVAL.as_micros() as Micros;
                if round.epoch {
                    (rows, schema, start) = (Vec::new(), 3, now - 1);
                    // What was not taken of the last epoch is not told.
                    epoch = Total::default();
                }
                rows.extend(round.rows);
                if round.coarser && schema > COARSEST {
                    schema -= 1;
                }
                let mut due = Vec::new();
                ledger.begin();
                if !round.away {
                    let counter = rows.len() as f64;
                    let mut families = [sales(0, &[("a", counter)]), sales(0, &[("a", 0.0)])];
                    families[0].series[0].start = Some(start);
                    families[1].name = "shop_wait".into();
                    families[1].kind = Kind::Histogram;
                    families[1].series[0].start = Some(start);
                    families[1].series[0].value = Value::Histogram(Arc::new(histogram(&rows, schema)));
                    families.iter().for_each(|family| ledger.look(family, now, &mut due));
                }
                ledger.ended(&mut due);
                if round.taken {
                    ledger.accepted(&due, now);
                    for due in &due {
                        match due.point.value.as_ref().expect("no counter ends") {
                            Value::Number(number) => {
                                prop_assert!(*number >= 0.0);
                                epoch.number += number;
                            }
                            Value::Histogram(histogram) => {
                                prop_assert!(due.point.start >= covered.min(start), "no time is told twice");
                                covered = now;
                                add(&mut epoch, histogram);
                            }
                        }
                    }
                    if !round.away {
                        let mut whole = Total { number: rows.len() as f64, ..Total::default() };
                        add(&mut whole, &histogram(&rows, schema));
                        prop_assert_eq!(&epoch, &whole);
                        taken = whole;
                    }
                }
            }
            prop_assert_eq!(taken.count, rows.len() as u64);
            prop_assert_eq!(ledger.take_resets(), 0);
        }
    }
}
