use opentelemetry::trace::{Span as _, Tracer as _};
use opentelemetry_sdk::error::OTelSdkError;
use tokio::sync::Semaphore;

use super::*;
use crate::config::otlp::OtlpProtocol;

/// A receiver that takes a batch for each permit, and says what it is told to.
#[derive(Debug)]
struct Scripted {
    permits: Semaphore,
    answers: Mutex<Vec<bool>>,
    came: Mutex<Vec<SpanData>>,
}

impl Scripted {
    fn new(permits: usize, answers: &[bool]) -> Self {
        Scripted {
            permits: Semaphore::new(permits),
            answers: Mutex::new(answers.iter().rev().copied().collect()),
            came: Mutex::default(),
        }
    }
}

impl Export for Scripted {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.permits.acquire().await.expect("it is never closed").forget();
        self.came.lock().expect("no test panics here").extend(batch);
        match self.answers.lock().expect("no test panics here").pop() {
            Some(false) => Err(OTelSdkError::InternalFailure("no\nroute".into())),
            _ => Ok(()),
        }
    }
}

fn settings() -> (OtlpSettings, TraceSettings) {
    let url = url::Url::parse("http://localhost:4318/v1/traces").expect("a URL");
    let traces = TraceSettings {
        endpoint: OtlpEndpoint::new(url, OtlpProtocol::HttpProtobuf),
        rows: None,
        own: Some(Sampler { ratio: 1.0, parent_based: true }),
        propagate: false,
        batch_spans: TraceSettings::BATCH_SPANS,
    };
    let mut settings = OtlpSettings { service_name: "watcher".into(), ..OtlpSettings::default() };
    settings.resource.insert("service.instance.id".into(), "here".into());
    settings.traces = Some(traces.clone());
    (settings, traces)
}

fn counts(spans: &OwnSpans) -> [u64; 3] {
    SpanOutcome::ALL.map(|outcome| spans.get(outcome))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_finds_no_room_is_counted_and_nobody_waits_for_a_receiver() {
    let (settings, to) = settings();
    let sampler = Sampler { ratio: 1.0, parent_based: true };
    let own = OwnTraces::over(Scripted::new(0, &[]), Why::default(), &settings, &to, sampler, "1");
    let tracer = own.tracer();
    let began = std::time::Instant::now();
    for _ in 0..QUEUE + 100 {
        tracer.start("span").end();
    }
    assert!(began.elapsed() < STOP_WITHIN, "{:?}", began.elapsed());
    assert_eq!(counts(own.spans()), [0, 0, 100]);
    let spans = own.spans().clone();
    let began = std::time::Instant::now();
    tokio::task::spawn_blocking(move || own.stop()).await.expect("it stops");
    assert!(began.elapsed() < STOP_WITHIN * 2, "{:?}", began.elapsed());
    assert_eq!(counts(&spans)[0], 0);
}

#[tokio::test]
async fn outcomes_are_counted_and_troubles_told_when_they_begin_and_end() {
    let answers = [true, false, false, true];
    let spans = OwnSpans::new();
    let exporter = Counted {
        inner: Arc::new(Scripted::new(answers.len(), &answers)),
        why: Why::default(),
        runtime: Handle::current(),
        limit: Duration::from_millis(50),
        spans: spans.clone(),
        waiting: Arc::new(AtomicUsize::new(QUEUE)),
        failing: AtomicBool::new(false),
    };
    let mut troubles = Vec::new();
    for _ in answers {
        let _ = exporter.export(Vec::new()).await;
        troubles.push(exporter.failing.load(Ordering::Relaxed));
    }
    assert_eq!(troubles, [false, true, true, false]);
    // Nobody answers any more.
    let late = exporter.export(Vec::new()).await.expect_err("there is a limit");
    assert!(matches!(late, OTelSdkError::Timeout(_)), "{late}");
    assert_eq!(words(&OTelSdkError::InternalFailure("no\nroute".into())), "Operation failed: no route");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_batch_is_sent_when_it_stops_and_says_who_we_are() {
    let (settings, to) = settings();
    let sampler = Sampler { ratio: 1.0, parent_based: true };
    let exporter = Arc::new(Mutex::new(Vec::new()));
    let own = OwnTraces::over(Told(exporter.clone()), Why::default(), &settings, &to, sampler, "1.2");
    own.tracer().start("span").end();
    let spans = own.spans().clone();
    tokio::task::spawn_blocking(move || own.stop()).await.expect("it stops");
    assert_eq!(counts(&spans), [1, 0, 0]);
    let told = exporter.lock().expect("no test panics here").join(" ");
    for part in ["service.name=watcher", "service.version=1.2", "service.instance.id=here", "telemetry.sdk.name="] {
        assert!(told.contains(part), "{part}: {told}");
    }
}

/// Keeps the resource it is told.
#[derive(Debug)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Export for Told {
    async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
        Ok(())
    }

    fn set_resource(&mut self, resource: &Resource) {
        let told = resource.iter().map(|(name, value)| format!("{name}={value}"));
        self.0.lock().expect("no test panics here").extend(told);
    }
}

#[test]
fn the_sampler_is_what_the_settings_say() {
    for (ratio, parent_based, wanted) in [
        (1.0, false, "AlwaysOn"),
        (0.0, false, "AlwaysOff"),
        (0.25, false, "TraceIdRatioBased(0.25)"),
        (1.0, true, "ParentBased(AlwaysOn)"),
        (0.25, true, "ParentBased(TraceIdRatioBased(0.25))"),
    ] {
        assert_eq!(format!("{:?}", sampled(Sampler { ratio, parent_based })), wanted);
    }
}
