//! `rowmetry demo`: the whole thing with live traffic, on embedded databases of which nothing is left behind, or on servers that
//! were given.
//!
//! The traffic writes to SQLite files in a temporary folder, to Redis servers and to endpoints on loopback, or to servers that were
//! given, and posts log lines; Rowmetry reads them as it would read any other, here or elsewhere. Nothing here takes a short cut into the
//! store.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use secrecy::SecretString;
use tokio::sync::watch;

use crate::config::{LogSettings, OtlpSettings, Settings, SourceSettings, Start, Upstream, WebSettings};
use crate::demo::{self, Control, Pager, Place, Places, Progress, Servers, Traffic, TrafficSummary};
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
    /// Servers that the applications live on.
    pub servers: Servers,
    /// Make traffic alone; where log lines are posted, if anywhere.
    pub traffic_only: Option<TrafficOnly>,
    /// What goes wrong from the beginning, as `app/name`; `list` prints what there is.
    pub troubles: Vec<String>,
    /// Where troubles are switched on and off.
    pub control: Option<std::net::SocketAddr>,
    /// Where pages of Alertmanager are taken and shown, and the token that their sender needs.
    pub pager: Option<(std::net::SocketAddr, Option<SecretString>)>,
    /// What is sent by OTLP.
    pub otlp: OtlpSettings,
}

/// Traffic that somebody else reads.
#[derive(Debug, Clone, Default)]
pub struct TrafficOnly {
    /// The Rowmetry that log lines are posted to.
    pub drains_to: Option<String>,
}

/// The secret of all drains where traffic is made for a Rowmetry elsewhere and none was given: it keeps nobody out.
pub const DRAIN_SECRET: &str = "rowmetry-demo-drains";

/// Runs the demo until its time is over or it is told to stop. `own_spans` counts our own traces where they are sent.
///
/// # Errors
/// When the temporary database cannot be made or the address cannot be listened at.
pub async fn demo(request: DemoRequest, own_spans: Option<&OwnSpans>) -> anyhow::Result<()> {
    let known = demo::known_troubles()?;
    if request.troubles.iter().any(|name| name == "list") {
        say(known.described().trim_end());
        return Ok(());
    }
    if let Some(name) = request.troubles.iter().find(|name| known.get(name).is_none()) {
        anyhow::bail!("there is no trouble `{name}`; there are:\n{}", known.described());
    }
    let folder =
        tempfile::Builder::new().prefix("rowmetry-demo-").tempdir().context("cannot make a temporary folder")?;
    let mut stop = Stop::listen()?;
    let mut servers = request.servers.clone();
    if request.traffic_only.is_some() {
        servers.drain_secret.get_or_insert_with(|| SecretString::from(DRAIN_SECRET.to_owned()));
    }
    let pager = match &request.pager {
        Some((address, token)) => Some(Pager::open(*address, token.clone(), Arc::new(clock::now)).await?),
        None => None,
    };
    let prepare = Traffic::prepare_with(folder.path(), request.seed, Arc::new(clock::now), servers);
    let mut traffic = tokio::select! {
        prepared = prepare => prepared?,
        () = stop.told() => return Ok(()),
    };
    let troubles = traffic.troubles();
    request.troubles.iter().for_each(|name| {
        troubles.want(name, true);
    });
    let control = match request.control {
        Some(address) => Some(Control::open(address, troubles).await?),
        None => None,
    };
    let mut desks = String::new();
    if let Some(control) = &control {
        desks += &format!("  troubles     http://{}/troubles\n", control.address());
    }
    if let Some(pager) = &pager {
        desks += &format!("  pager        http://{}/\n", pager.address());
    }
    if let Some(only) = &request.traffic_only {
        if let Some(url) = &only.drains_to {
            traffic.deliver_to_url(url)?;
        }
        return make_traffic(&request, traffic, &desks, stop).await;
    }
    let progress = traffic.progress();
    let app = App::start(settings(&request, &traffic.places())?, own_spans).await?;
    let address = app.address();
    let (home, left) = match &request.servers.database_url {
        Some(_) => ("in databases rowmetry_demo_… of the server that was given", "Those databases stay."),
        None => ("in embedded databases", "Nothing is left behind."),
    };
    // Only now it is known where the drains are.
    traffic.deliver_to(address);
    say(&format!(
        "\n  Rowmetry's demo: made-up applications live {home}, and these are their true metrics.\n\n\
         \x20 front page   http://{address}/\n\
         \x20 metrics      http://{address}/metrics\n\
         \x20 ready        http://{address}/readyz\n{desks}\n\
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
    say(&format!("\n  {} rows and {} log lines written; {collectors}. {left}", summary.rows, summary.lines));
    Ok(())
}

/// Lets the traffic run for somebody else to read.
async fn make_traffic(request: &DemoRequest, traffic: Traffic, desks: &str, mut stop: Stop) -> anyhow::Result<()> {
    let places = traffic.places();
    say(
        "\n  Rowmetry's demo: made-up applications live on the servers that were given, and another Rowmetry reads them.\n",
    );
    for (kind, places) in [("database", &places.databases), ("keys", &places.redis), ("endpoints", &places.web)] {
        for place in places {
            say(&format!("  {:<16} {kind:<10} {}", place.app, without_password(&place.url)));
        }
    }
    for drain in &places.drains {
        let app = drain.database.as_deref().unwrap_or_default();
        say(&format!("  {app:<16} {:<10} {} ({})", "drain", drain.path, drain.kind.as_str()));
    }
    say(desks);
    let rate = f64::from(request.rate) / traffic.events_per_second().max(f64::MIN_POSITIVE);
    let over = async {
        match request.duration {
            Some(duration) => tokio::time::sleep(duration).await,
            None => std::future::pending().await,
        }
    };
    let end = async move {
        tokio::select! {
            () = over => {}
            () = stop.told() => {}
        }
    };
    let summary = traffic.run(rate, end).await.context("the traffic broke off")?;
    say(&format!("\n  {} rows and {} log lines written.", summary.rows, summary.lines));
    Ok(())
}

fn without_password(url: &str) -> String {
    match url::Url::parse(url) {
        Ok(mut url) => {
            // Only a URL without a host has no place for one.
            let _ = url.set_password(None);
            // A parameter can be one, too.
            url.set_query(None);
            url.to_string()
        }
        Err(_) => String::new(),
    }
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
    let system = places.system.unwrap_or(System::Sqlite);
    let databases = places.databases.iter().map(|place| {
        let mut source = source(place, place.app.clone(), system.into(), INTERVAL, packs);
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
