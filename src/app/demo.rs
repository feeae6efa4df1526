//! `rowmetry demo`: the whole thing on embedded databases with live traffic, and nothing left behind.
//!
//! The traffic writes to SQLite files in a temporary folder, to Redis servers and to endpoints on loopback, and posts log lines;
//! Rowmetry reads them as it would read any other. Nothing here takes a short cut into the store.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use secrecy::SecretString;
use tokio::sync::watch;

use crate::config::{LogSettings, OtlpSettings, Settings, SourceSettings, Start, Upstream, WebSettings};
use crate::demo::{Place, Places, Progress, Traffic, TrafficSummary};
use crate::pack::{self, Pack, System};
use crate::schedule::clock;
use crate::telemetry::State;
use crate::telemetry::metrics::OwnSpans;

use super::{App, Stop};

/// Time between two reads: short, so that one sees it live.
const INTERVAL: Duration = Duration::from_secs(1);

/// Time between two probes of an endpoint, some of which take a second.
const PROBE_INTERVAL: Duration = Duration::from_secs(3);

/// New series are shown as 0 for two reads.
const ZERO_FIRST: Duration = Duration::from_secs(2);

/// Time between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(2);

/// What the demo was asked for.
#[derive(Debug, Clone)]
pub struct DemoRequest {
    /// Where to serve.
    pub listen: std::net::SocketAddr,
    /// The same seed makes the same traffic.
    pub seed: u64,
    /// Rows a second, about.
    pub rate: u32,
    /// When to end by itself.
    pub duration: Option<Duration>,
    /// What is sent by OTLP.
    pub otlp: OtlpSettings,
}

/// Runs the demo until its time is over or it is told to stop. `own_spans` counts our own traces where they are sent.
///
/// # Errors
/// When the temporary database cannot be made or the address cannot be listened at.
pub async fn demo(request: DemoRequest, own_spans: Option<&OwnSpans>) -> anyhow::Result<()> {
    let folder =
        tempfile::Builder::new().prefix("rowmetry-demo-").tempdir().context("cannot make a temporary folder")?;
    let mut stop = Stop::listen()?;
    let mut traffic = Traffic::prepare(folder.path(), request.seed, Arc::new(clock::now)).await?;
    let progress = traffic.progress();
    let app = App::start(settings(&request, &traffic.places())?, own_spans).await?;
    let address = app.address();
    // Only now it is known where the drains are.
    traffic.deliver_to(address);
    say(&format!(
        "\n  Rowmetry's demo: made-up applications live in embedded databases, and these are their true metrics.\n\n\
         \x20 front page   http://{address}/\n\
         \x20 metrics      http://{address}/metrics\n\
         \x20 ready        http://{address}/readyz\n\n\
         \x20 seed {}, about {} rows a second; {}\n",
        request.seed,
        request.rate,
        match request.duration {
            Some(duration) => format!("ends in {}", crate::duration::format(duration)),
            None => "Ctrl-C ends it".to_owned(),
        }
    ));
    let (end, mut ended) = watch::channel(false);
    let rate = f64::from(request.rate) / traffic.events_per_second().max(f64::MIN_POSITIVE);
    let mut writer = tokio::spawn(traffic.run(rate, async move {
        let _ = ended.wait_for(|end| *end).await;
    }));
    let over = async {
        match request.duration {
            Some(duration) => tokio::time::sleep(duration).await,
            None => std::future::pending().await,
        }
    };
    let broke_off = tokio::select! {
        () = over => None,
        () = stop.told() => None,
        () = show_progress(&app, &progress) => None,
        ended = &mut writer => Some(ended),
    };
    let collectors = collectors(&app);
    // Reads end first: what is read ends with the traffic.
    app.stop().await;
    end.send_replace(true);
    let written = match broke_off {
        Some(ended) => ended,
        None => writer.await,
    };
    let summary = written.context("the traffic broke off")?.context("the traffic broke off")?;
    say(&format!(
        "\n  {} rows and {} log lines written; {collectors}. Nothing is left behind.",
        summary.rows, summary.lines
    ));
    Ok(())
}

fn settings(request: &DemoRequest, places: &Places) -> anyhow::Result<Settings> {
    let packs = pack::builtin()?;
    let sources = sources(places, &packs);
    Ok(Settings {
        listen: request.listen,
        state_dir: None,
        sources,
        packs,
        parameters: std::collections::BTreeMap::new(),
        limits: crate::config::Limits::default(),
        web: WebSettings::default(),
        alerts: crate::config::AlertSettings::default(),
        zero_first: ZERO_FIRST,
        otlp: request.otlp.clone(),
        logs: LogSettings { drains: places.drains.clone(), ..LogSettings::default() },
    })
}

/// Each application's database, its Redis and its endpoints; the last two follow the database, whose packs are known.
fn sources(places: &Places, packs: &[Arc<Pack>]) -> Vec<SourceSettings> {
    let databases = places.databases.iter().map(|place| {
        let mut source = source(place, place.app.clone(), System::Sqlite.into(), INTERVAL, packs);
        source.packs = Some(vec![place.app.clone()]);
        source
    });
    let follow = |place: &Place, kind: Upstream, interval: Duration| {
        let name = format!("{}-{}", place.app, if kind == Upstream::Http { "web" } else { "redis" });
        let mut source = source(place, name, kind, interval, packs);
        source.database = Some(place.app.clone());
        source
    };
    let redis = places.redis.iter().map(|place| follow(place, Upstream::Redis, INTERVAL));
    let web = places.web.iter().map(|place| follow(place, Upstream::Http, PROBE_INTERVAL));
    databases.chain(redis).chain(web).collect()
}

fn source(place: &Place, name: String, kind: Upstream, interval: Duration, packs: &[Arc<Pack>]) -> SourceSettings {
    let mut source = SourceSettings::new(name, kind, SecretString::from(place.url.clone()));
    source.interval = interval;
    source.start = Start::All;
    source.audit_interval = INTERVAL * 30;
    // What a pack reads rarely for a production database's sake is read often here.
    source.intervals = packs
        .iter()
        .flat_map(|pack| pack.collectors.iter().map(move |collector| format!("{}/{}", pack.app, collector.name)))
        .map(|path| (path, interval))
        .collect();
    source
}

async fn show_progress(app: &App, progress: &Progress) {
    let began = Instant::now();
    let terminal = std::io::stdout().is_terminal();
    let mut ticks = tokio::time::interval(PROGRESS);
    loop {
        ticks.tick().await;
        let TrafficSummary { rows, lines, .. } = progress.summary();
        let line = format!(
            "  {:>5} s  {rows:>8} rows, {lines:>6} log lines written  {}",
            began.elapsed().as_secs(),
            collectors(app)
        );
        if terminal {
            print!("\r{line}\x1b[K");
            // Progress is a courtesy: a closed terminal is no reason to stop.
            let _ = std::io::stdout().flush();
        } else {
            say(&line);
        }
    }
}

fn collectors(app: &App) -> String {
    let view = app.board().view();
    let ok = view.collectors.values().filter(|status| status.state == Some(State::Ok)).count();
    let counted: u64 = view.collectors.values().filter_map(|status| status.rows_counted).sum();
    format!("{ok} of {} collectors ok, {counted} rows counted", view.collectors.len())
}

fn say(text: &str) {
    // Output that nobody reads any more is no failure.
    let _ = writeln!(std::io::stdout(), "{text}");
}
