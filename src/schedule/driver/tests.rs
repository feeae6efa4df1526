use std::collections::BTreeMap;

use async_trait::async_trait;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::*;
use crate::collector::{Guard, SnapshotCollector};
use crate::config::{Limits, Settings, SourceSettings, Upstream, WebSettings};
use crate::schedule::NamesBoard;
use crate::source::spend::Spend;
use crate::source::{Examination, Reader, Reading};
use crate::state::State as Kept;
use crate::store::{Board, Store};
use crate::telemetry::metrics::Metrics;

const MINUTE: Duration = Duration::from_secs(60);

/// Fails each time, and tells when it was asked.
struct Failing(UnboundedSender<Instant>);

#[async_trait]
impl Reader for Failing {
    async fn read(&mut self, _now: Micros) -> Result<Reading, Failure> {
        self.0.send(Instant::now()).expect("the test listens");
        Err(Failure::new(Reason::StateWrite, "the disk is full"))
    }

    async fn examine(&mut self, _now: Micros) -> Result<Examination, Failure> {
        Ok(Examination::default())
    }
}

async fn context() -> Arc<Context> {
    let metrics = Arc::new(Metrics::new("0"));
    let settings = Settings {
        listen: ([127, 0, 0, 1], 0).into(),
        state_dir: None,
        sources: Vec::new(),
        packs: Vec::new(),
        parameters: BTreeMap::new(),
        limits: Limits::default(),
        web: WebSettings::default(),
        alerts: crate::config::AlertSettings::default(),
        zero_first: Duration::ZERO,
        otlp: crate::config::OtlpSettings::default(),
        logs: crate::config::LogSettings::default(),
    };
    Arc::new(Context {
        state: Arc::new(Kept::open(None).await.expect("memory is there")),
        store: Arc::new(Store::new(metrics.clone())),
        board: Arc::new(Board::new()),
        metrics,
        guard: Arc::new(Guard::new(120)),
        settings,
        spans: None,
        names: NamesBoard::default(),
    })
}

/// Brings a result after so many parts, and tells at each whether the last one is shown.
struct Long {
    parts: u32,
    read: u32,
    shown: UnboundedSender<bool>,
    context: Arc<Context>,
}

#[async_trait]
impl Reader for Long {
    async fn read(&mut self, _now: Micros) -> Result<Reading, Failure> {
        self.read += 1;
        let id = CollectorId::new("s", "web", "it");
        self.shown.send(self.context.store.series(&id).is_some()).expect("the test listens");
        if self.read.is_multiple_of(self.parts) {
            let rows = crate::source::Rows::of(1, &[Some("1")]);
            return Ok(Reading { rows: Some(rows), ..Reading::default() });
        }
        Ok(Reading { more_after: Some(MINUTE), ..Reading::default() })
    }

    async fn examine(&mut self, _now: Micros) -> Result<Examination, Failure> {
        Ok(Examination::default())
    }
}

/// A driver of a collector that reads once a minute.
fn driver(reads: &str, reader: Box<dyn Reader>, context: &Arc<Context>) -> Driver {
    let text = format!(
        "app: web\ntitle: Web\ncollectors:\n- {{name: it, {reads}, metrics: [{{gauge: web_up, help: Up., value: up}}]}}\n"
    );
    let pack = crate::pack::load::parse("web.yaml", &text).unwrap_or_else(|errors| panic!("{errors}"));
    let definition = &pack.collectors[0];
    let collector = SnapshotCollector::new(definition, &Limits::default(), &context.guard);
    let job = SnapshotJob::new(definition, collector, reader, context);
    let mut source = SourceSettings::new("s", Upstream::Http, "http://h/".to_owned().into());
    source.interval = MINUTE;
    Driver {
        id: CollectorId::new("s", "web", "it"),
        job: Job::Snapshot(Box::new(job)),
        interval: MINUTE,
        busy_share: 1.0,
        gate: Arc::new(Gate::new(&source, &Spend::default(), context.metrics.source("s"))),
        up: None,
        metrics: context.metrics.collector("s", "web", "it"),
        context: context.clone(),
        last_success: None,
        withdrawn: true,
        failures: 0,
        rested: Duration::ZERO,
        waits: Duration::ZERO,
        whole: Duration::ZERO,
    }
}

/// The pauses between the first runs of a collector that fails each time.
async fn pauses_of(reads: &str) -> Vec<Duration> {
    let context = context().await;
    let (told, mut asked) = unbounded_channel();
    let driver = driver(reads, Box::new(Failing(told)), &context);
    let (_stop, stopped) = watch::channel(false);
    // No timer but the driver's own: paused time leaps to the next whenever the state's thread is waited for.
    let mut times = Vec::new();
    let listen = async {
        while times.len() < 5 {
            times.extend(asked.recv().await);
        }
    };
    tokio::select! {
        () = driver.run(stopped) => {}
        () = listen => {}
    }
    times.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_is_asked_no_sooner_than_after_the_interval_even_after_failures() {
    let pauses = pauses_of("probe: {}").await;
    assert!(pauses.len() == 4 && pauses.iter().all(|pause| *pause >= MINUTE), "{pauses:?}");
    let pauses = pauses_of("snapshot: {sql: select 1 as up}").await;
    assert!(pauses[0] < MINUTE, "a database is asked again soon: {pauses:?}");
}

#[tokio::test(start_paused = true)]
async fn what_a_long_scan_found_is_shown_until_the_next_is_over() {
    let context = context().await;
    let (told, mut shown) = unbounded_channel();
    let long = Long { parts: 11, read: 0, shown: told, context: context.clone() };
    let driver = driver("snapshot: {sql: select 1 as up}", Box::new(long), &context);
    let (_stop, stopped) = watch::channel(false);
    let mut all = Vec::new();
    let listen = async {
        while all.len() < 50 {
            all.extend(shown.recv().await);
        }
    };
    tokio::select! {
        () = driver.run(stopped) => {}
        () = listen => {}
    }
    assert!(all[..11].iter().all(|shown| !shown), "nothing is known before the first is over: {all:?}");
    assert!(all[11..].iter().all(|shown| *shown), "and then it is: {all:?}");
}
