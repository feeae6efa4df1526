//! What Rowmetry itself takes with the applications that ship: resident memory, and the page that all of them make.
//!
//! Everything that it reads is real: Postgres behind PgBouncer in transaction mode, Redis, and endpoints that answer as the
//! applications do.

mod endpoints;
mod keys;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rowmetry::pack::{Reads, ServerKind};

use crate::pages::against_nginx;
use crate::parts::harness::pgbouncer::PgBouncer;
use crate::parts::harness::redis::Redis;
use crate::parts::harness::{Cluster, Database, Exporter, Setup, eventually, test_file};
use crate::table::{Table, mebibytes};

/// The applications, and whether each has a Redis and endpoints.
const APPS: [(&str, bool, bool); 5] = [
    ("mentor", true, false),
    ("promptcademy", false, false),
    ("coding_platform", true, true),
    ("voyager", false, false),
    ("syncedup", false, true),
];
/// Time between two reads of every collector, whatever its pack says: a fifteenth of the usual, so that a short watch sees as
/// many reads as an operator does in half an hour.
const INTERVAL: &str = "4s";
/// Time between two scans of a Redis, each of which looks at all its keys.
const SCAN_INTERVAL: &str = "15s";
/// How often an application's traffic is repeated before the exporter starts, which then has to catch up.
const BACKLOG: usize = 50;
/// When the backlog happened: long enough ago that none of it is looked at twice.
const LONG_AGO: &str = "(now() - interval '3 hours')";
/// Time between two moments of traffic while the exporter runs.
const TRAFFIC: Duration = Duration::from_secs(20);
/// Time between two looks at the memory.
const LOOK: Duration = Duration::from_secs(1);
/// Memory is steady when it has not grown for so long.
const STEADY: Duration = Duration::from_secs(30);
/// Growth that counts as none, in bytes.
const STEADY_BYTES: u64 = 256 << 10;
/// The shortest and the longest watch.
const WATCH: [Duration; 2] = [Duration::from_secs(45), Duration::from_secs(150)];
/// Time that the reads take which a new configuration begins with.
const SETTLING: Duration = Duration::from_secs(5);
/// Time until every collector has been read for the first time.
const PATIENCE: Duration = Duration::from_secs(120);

/// Resident memory with two packs and nothing to do.
pub async fn two(cluster: &Cluster, table: &mut Table) {
    let mut setup: Option<Setup> = None;
    let mut databases = Vec::new();
    for app in ["mentor", "promptcademy"] {
        let database = filled(cluster, app).await;
        setup = Some(match setup {
            None => Setup::of(&database.url),
            Some(setup) => setup.source(app, &database.url),
        });
        databases.push(database);
    }
    let mut setup = setup.expect("there are two packs");
    setup.settings.remove("packs");
    let exporter = setup.start().await;
    for _ in 0..10 {
        exporter.reads_again().await;
    }
    let [resident, _] = exporter.process.resident_bytes();
    table.row("resident memory, two packs, no backlog", mebibytes(resident as f64), "", "under 40 MiB");
}

/// Resident memory and the page with all applications, everything they have, and every pack that is common to a server.
pub async fn five(table: &mut Table) {
    let cluster = &Cluster::private();
    let observed = cluster.database().await;
    observed.run("alter system set shared_preload_libraries = 'pg_stat_statements'").await;
    observed.pool.close().await;
    cluster.stop();
    cluster.start();
    let pooler = PgBouncer::strict(cluster, 2);
    let (mut databases, mut servers, mut endpoints) = (Vec::new(), Vec::new(), Vec::new());
    let mut sources: Vec<(String, String, Option<&str>, String)> = Vec::new();
    for (app, has_redis, has_endpoints) in APPS {
        let database = filled(cluster, app).await;
        database.run("create extension pg_stat_statements").await;
        database.run(rows(&format!("{app}.sql"))).await;
        let traffic = rows(&format!("{app}_traffic.sql"));
        for _ in 0..BACKLOG {
            database.run(traffic.replace("now()", LONG_AGO)).await;
        }
        let often = intervals(&[app], Reads::Database, ServerKind::Postgres);
        sources.push((app.into(), pooler.url(&database.name), None, often));
        databases.push((database, traffic));
        if has_redis {
            let redis = Redis::new();
            keys::fill(&redis, app);
            let often = intervals(&[app], Reads::Redis, ServerKind::Redis);
            sources.push((format!("{app}_redis"), redis.url(), Some(app), often));
            servers.push(redis);
        }
        if has_endpoints {
            let server = endpoints::serve(app);
            let often = intervals(&[app], Reads::Http, ServerKind::Http);
            sources.push((format!("{app}_site"), server.url("/"), Some(app), often));
            endpoints.push(server);
        }
    }
    let often = intervals(&[], Reads::Pgbouncer, ServerKind::Pgbouncer);
    sources.push(("pooler".into(), pooler.console("watcher", "watcher"), None, often));

    let mut sources = sources.into_iter();
    let (name, url, _, often) = sources.next().expect("there are sources");
    let mut setup = Setup::of(&url).with_server().sourced("name", name).sourced("intervals", often);
    for (name, url, database, often) in sources {
        setup = setup.source(&name, &url).with_server().sourced("intervals", often);
        if let Some(database) = database {
            setup = setup.sourced("database", database);
        }
    }
    setup.settings.remove("packs");
    let exporter = setup.start().await;
    everything_is_read(&exporter).await;
    watch(&exporter, &databases, table).await;
    as_usual(&exporter).await;
    page(&exporter, table).await;
}

/// From here on the exporter reads at the usual intervals.
async fn as_usual(exporter: &Exporter) {
    let mut setup = exporter.setup.clone();
    for source in &mut setup.sources {
        source.remove("intervals");
        source.remove("interval");
    }
    setup.write();
    exporter.process.signal("HUP");
    exporter
        .scrapes("the configuration is read again", |scrape| {
            match scrape.get("rowmetry_config_reloads_total", &[("outcome", "ok")]) {
                Some(1.0) => Ok(()),
                reloads => Err(format!("{reloads:?}")),
            }
        })
        .await;
    everything_is_read(exporter).await;
    // Each was read at once, to see where it stands; that does not go on.
    tokio::time::sleep(SETTLING).await;
}

/// Waits until each collector of each pack was read, and all of them well.
async fn everything_is_read(exporter: &Exporter) {
    let packs = rowmetry::pack::builtin().expect("the built-in packs pass lint");
    // Common to endpoints, and so not chosen where an application asks its own.
    let wanted: BTreeSet<String> = packs
        .iter()
        .filter(|pack| pack.common != Some(ServerKind::Http))
        .flat_map(|pack| pack.collectors.iter().map(|collector| format!("{}/{}", pack.app, collector.name)))
        .collect();
    eventually(PATIENCE, "every collector was read", async || {
        let scrape = exporter.try_scrape().await?;
        let label =
            |series: &str, name: &str| Some(series.split(&format!("{name}=\"")).nth(1)?.split('"').next()?.to_owned());
        let ok: BTreeSet<String> = scrape
            .of("rowmetry_collector_state", &[("state", "ok")])
            .filter(|(_, value)| *value == 1.0)
            .filter_map(|(series, _)| Some(format!("{}/{}", label(series, "pack")?, label(series, "collector")?)))
            .collect();
        let missing: Vec<_> = wanted.difference(&ok).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("not these: {missing:?}")) }
    })
    .await;
}

/// Resident memory while traffic goes on, once it is steady.
async fn watch(exporter: &Exporter, databases: &[(Database<'_>, String)], table: &mut Table) {
    let began = Instant::now();
    let runs = |scrape: &crate::parts::harness::Scrape| scrape.sum("rowmetry_collector_runs_total", &[]);
    let before = runs(&exporter.scrape().await);
    let (mut most, mut grown) = (0, Instant::now());
    let mut pace = tokio::time::interval(LOOK);
    let mut next = began;
    while began.elapsed() < WATCH[0] || (grown.elapsed() < STEADY && began.elapsed() < WATCH[1]) {
        pace.tick().await;
        if Instant::now() >= next {
            next += TRAFFIC;
            for (database, traffic) in databases {
                database.run(traffic).await;
            }
        }
        let [resident, _] = exporter.process.resident_bytes();
        if resident > most + STEADY_BYTES {
            (most, grown) = (resident, Instant::now());
        }
    }
    let [resident, peak] = exporter.process.resident_bytes();
    let scrape = exporter.scrape().await;
    let name = format!("five applications, {} packs", rowmetry::pack::builtin().map_or(0, |packs| packs.len()));
    let collectors = scrape.of("rowmetry_collector_state", &[("state", "ok")]).count();
    table.row(
        format!("{name}: series on the page"),
        format!("{} of {} families, {collectors} collectors", scrape.series.len(), scrape.types.len()),
        "",
        "",
    );
    table.row(
        format!("{name}: resident memory"),
        format!("{}, at its peak {}", mebibytes(resident as f64), mebibytes(peak as f64)),
        format!(
            "after {:.0} reads in {:.0} s, {:.0} keys seen",
            runs(&scrape) - before,
            began.elapsed().as_secs_f64(),
            scrape.sum("rowmetry_collector_seen_keys", &[])
        ),
        "under 60 MiB",
    );
}

/// The page against nginx with the same bytes, while everything is read as usual.
async fn page(exporter: &Exporter, table: &mut Table) {
    let body = exporter.get("/metrics", "text/plain").await.expect("it answers").body;
    for (name, [ours, theirs]) in against_nginx(exporter, &body).await {
        table.row(
            format!("five applications: /metrics, {} kB, {name}", body.len() / 1000),
            format!("{:.3} ms, nginx {:.3} ms", ours * 1e3, theirs * 1e3),
            format!("{:.2} of its time", ours / theirs),
            if name == "p99" { "1.5" } else { "" },
        );
    }
}

async fn filled<'c>(cluster: &'c Cluster, app: &str) -> Database<'c> {
    let database = cluster.database().await;
    for script in [format!("{app}.sql"), format!("{app}_rows.sql")] {
        let text = std::fs::read_to_string(test_file("fixtures").join(script)).expect("the fixtures are there");
        database.run(text).await;
    }
    database
}

/// A script of further rows.
fn rows(name: &str) -> String {
    let file = test_file("../benches/system/rows").join(name);
    std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("there is {}: {e}", file.display()))
}

/// The value of `intervals` for a source that runs these packs and those that are common to its kind of server.
fn intervals(apps: &[&str], reads: Reads, kind: ServerKind) -> String {
    let packs = rowmetry::pack::builtin().expect("the built-in packs pass lint");
    let interval = if reads == Reads::Redis { SCAN_INTERVAL } else { INTERVAL };
    let of_it = packs.iter().filter(|pack| {
        apps.contains(&pack.app.as_str()) || (pack.common == Some(kind) && (reads != Reads::Http || apps.is_empty()))
    });
    let each: Vec<String> = of_it
        .flat_map(|pack| {
            let collectors = pack.collectors.iter().filter(|collector| collector.reads() == reads);
            collectors.map(move |collector| format!("{}/{}: {interval}", pack.app, collector.name))
        })
        .collect();
    format!("{{{}}}", each.join(", "))
}
