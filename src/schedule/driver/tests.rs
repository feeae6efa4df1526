//! A read over several runs that takes long: its result is shown until the next can be there.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::*;
use crate::collector::{Guard, SnapshotCollector};
use crate::config::{Limits, Settings, SourceSettings, Upstream, WebSettings};
use crate::schedule::NamesBoard;
use crate::source::spend::Spend;
use crate::source::{Examination, Reader, Reading, Rows};
use crate::store::{Board, Store};
use crate::telemetry::Metrics;

/// A scan of a Redis whose service lets one command through in a while.
struct Slow {
    left: u32,
}

/// Parts of a scan, and the pause after each: far longer together than a result of such an interval is shown.
const PARTS: u32 = 60;
const PAUSE: Duration = Duration::from_secs(20);

#[async_trait]
impl Reader for Slow {
    async fn read(&mut self, _now: Micros) -> Result<Reading, Failure> {
        if self.left > 0 {
            self.left -= 1;
            return Ok(Reading { more_after: Some(PAUSE), ..Reading::default() });
        }
        self.left = PARTS;
        Ok(Reading { rows: Some(Rows::of(1, &[Some("7")])), ..Reading::default() })
    }

    async fn examine(&mut self, _now: Micros) -> Result<Examination, Failure> {
        Err(Failure::new(Reason::BadReply, "nobody examines it"))
    }
}

async fn context() -> Arc<Context> {
    let metrics = Arc::new(Metrics::new("1"));
    Arc::new(Context {
        state: Arc::new(crate::state::State::open(None).await.expect("memory takes it")),
        store: Arc::new(Store::new(metrics.clone())),
        board: Arc::new(Board::new()),
        metrics,
        guard: Arc::new(Guard::new(120)),
        settings: Settings {
            listen: ([127, 0, 0, 1], 0).into(),
            state_dir: None,
            sources: Vec::new(),
            packs: Vec::new(),
            parameters: BTreeMap::new(),
            limits: Limits::default(),
            web: WebSettings::default(),
            zero_first: Duration::ZERO,
        },
        names: NamesBoard::default(),
    })
}

#[tokio::test(start_paused = true)]
async fn a_scan_that_takes_longer_than_results_are_shown_leaves_no_holes() {
    let context = context().await;
    let yaml =
        "{name: c, keys: {match: 'k:*', families: [{pattern: 'k:{a}'}]}, metrics: [{gauge: g, help: h, value: keys}]}";
    let definition: crate::pack::Collector = serde_saphyr::from_str(yaml).expect("a collector in YAML");
    let collector = SnapshotCollector::new(&definition, &Limits::default(), &context.guard);
    let mut source = SourceSettings::new("s", Upstream::Redis, secrecy::SecretString::from(""));
    source.interval = Duration::from_secs(1);
    let id = CollectorId::new("s", "p", "c");
    let reader = Box::new(Slow { left: PARTS });
    let driver = Driver {
        id: id.clone(),
        job: Job::Snapshot(Box::new(SnapshotJob::new(&definition, collector, reader, &context))),
        interval: source.interval,
        busy_share: 1.0,
        gate: Arc::new(Gate::new(&source, &Spend::default(), context.metrics.source("s"))),
        up: None,
        context: context.clone(),
        metrics: context.metrics.collector("s", "p", "c"),
        last_success: None,
        withdrawn: true,
        failures: 0,
        rested: Duration::ZERO,
        waits: Duration::ZERO,
        begun: None,
        whole: Duration::ZERO,
    };
    let (stop, told) = watch::channel(false);
    let task = tokio::spawn(driver.run(told));
    let pace = Duration::from_secs(5);
    // The state is read by a thread of its own, which the paused clock does not wait for.
    let patience = std::time::Instant::now() + Duration::from_secs(60);
    while context.store.series(&id).is_none() {
        assert!(std::time::Instant::now() < patience, "the first scan ends");
        tokio::time::sleep(pace).await;
    }
    let shown = Instant::now();
    while shown.elapsed() < PAUSE * PARTS * 4 {
        assert_eq!(context.store.series(&id), Some(1), "after {:?}", shown.elapsed());
        tokio::time::sleep(pace).await;
    }
    stop.send_replace(true);
    task.await.expect("it does not panic");
}
