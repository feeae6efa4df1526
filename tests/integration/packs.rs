//! Every application's pack that ships, on a database as its application makes it, against the truth told in other words.
//!
//! A pack is tested by being there: `tests/fixtures/<app>.sql`, `_rows.sql`, `_truth.yaml` and its drifts must exist. Packs that
//! are common to a kind of server have tests of their own (`console.rs`, `server.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rowmetry::pack::Collector;
use serde::Deserialize;

use super::harness::exposition::{Scrape, name_of, plain_bounds};
use super::harness::pgbouncer::{PgBouncer, Traffic};
use super::harness::prometheus::promtool_complaints;
use super::harness::{Cluster, Database, Exporter, Setup, test_file};

/// What `<app>_truth.yaml` holds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    truth: Vec<Fact>,
    /// Texts that must occur nowhere in the answer.
    never: Vec<String>,
    drifts: Vec<Drift>,
    /// What is to be seen after a script is run while the exporter reads.
    later: Option<Later>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Later {
    script: String,
    truth: Vec<Fact>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fact {
    metric: Option<String>,
    #[serde(default)]
    labels: Vec<String>,
    sql: Option<String>,
    #[serde(default)]
    others: bool,
    series: Option<String>,
    value: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Drift {
    script: String,
    absent: BTreeSet<String>,
    gone: Vec<String>,
    #[serde(default)]
    truth: Vec<Fact>,
}

fn apps() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("packs");
    let mut apps: Vec<String> = std::fs::read_dir(folder)
        .expect("packs ship")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .filter(|path| !std::fs::read_to_string(path).expect("packs can be read").contains("\ncommon: "))
        .filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
        .collect();
    apps.sort();
    assert!(!apps.is_empty(), "packs ship");
    apps
}

fn fixture(name: &str) -> String {
    let file = test_file("fixtures").join(name);
    std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("every pack has {}: {e}", file.display()))
}

fn told(app: &str) -> Told {
    let told: Told = serde_saphyr::from_str(&fixture(&format!("{app}_truth.yaml")))
        .unwrap_or_else(|e| panic!("{app}_truth.yaml: {e}"));
    assert!(
        told.truth.len() > 5 && told.drifts.len() >= 3 && !told.never.is_empty(),
        "{app}_truth.yaml says too little"
    );
    told
}

async fn filled<'c>(cluster: &'c Cluster, app: &str) -> Database<'c> {
    let database = cluster.database().await;
    database.run(fixture(&format!("{app}.sql"))).await;
    database.run(fixture(&format!("{app}_rows.sql"))).await;
    database
}

/// The names of those of a pack's collectors that read a database. Where no traces are sent, none reads for spans alone.
fn collectors(app: &str) -> Vec<String> {
    #[derive(Deserialize)]
    struct Pack {
        collectors: Vec<Collector>,
    }
    #[derive(Deserialize)]
    struct Collector {
        name: String,
        rows: Option<serde_json::Value>,
        snapshot: Option<serde_json::Value>,
        #[serde(default)]
        metrics: Vec<serde_json::Value>,
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("packs").join(format!("{app}.yaml"));
    let pack = std::fs::read_to_string(file).expect("the pack ships");
    let pack: Pack = serde_saphyr::from_str(&pack).unwrap_or_else(|e| panic!("{app}.yaml: {e}"));
    let read = pack.collectors.into_iter().filter(|collector| collector.rows.is_some() || collector.snapshot.is_some());
    read.filter(|collector| !collector.metrics.is_empty()).map(|collector| collector.name).collect()
}

/// The value of `intervals` with which every collector of the packs is read often, whatever the pack says.
fn often<'a>(apps: impl IntoIterator<Item = &'a String>) -> String {
    let each =
        |app: &String| collectors(app).into_iter().map(move |name| format!("{app}/{name}: 250ms")).collect::<Vec<_>>();
    format!("{{{}}}", apps.into_iter().flat_map(each).collect::<Vec<_>>().join(", "))
}

/// Waits until every collector of the packs has been read, and read again where it can be.
async fn settled(exporter: &Exporter, apps: &[String]) -> Scrape {
    exporter
        .scrapes("every collector was read", |scrape| {
            let read: BTreeMap<&String, _> = apps.iter().map(|app| (app, states(scrape, app))).collect();
            let unread = apps
                .iter()
                .flat_map(|app| collectors(app).into_iter().map(move |name| (app, name)))
                .find(|(app, name)| read[app].get(name).is_none_or(Vec::is_empty));
            unread.map_or(Ok(()), |(app, name)| Err(format!("{app}/{name} has no state")))
        })
        .await;
    exporter.reads_again().await
}

/// An exporter that finds out by itself which pack applies, and reads by this URL.
async fn reading(url: &str, app: &str) -> (Exporter, Scrape) {
    let apps = [app.to_owned()];
    let mut setup = Setup::of(url).sourced("intervals", often(&apps)).with_server();
    setup.settings.remove("packs");
    let exporter = setup.start().await;
    let scrape = settled(&exporter, &apps).await;
    let found = format!("pack=\"{app}\"");
    let states = scrape.of("rowmetry_collector_state", &[]).filter(|(series, _)| series.contains(&found));
    assert!(states.count() > 0, "{app} was not detected");
    (exporter, scrape)
}

/// What differs between the facts and the scrape.
async fn differences(database: &Database<'_>, facts: &[Fact], scrape: &Scrape) -> Vec<String> {
    let said: BTreeMap<String, f64> =
        scrape.series.iter().map(|(series, value)| (plain_bounds(series), *value)).collect();
    let mut differences = Vec::new();
    for fact in facts {
        let mut expected = BTreeMap::new();
        let truth = super::harness::Truth::about("");
        match fact {
            Fact { series: Some(series), value: Some(value), metric: None, sql: None, .. } => {
                let key = Scrape::parse(&format!("# TYPE {0} gauge\n{series} 0\n", name_of(series)))
                    .unwrap_or_else(|e| panic!("{series}: {e}"));
                expected.extend(key.series.into_keys().map(|key| (plain_bounds(&key), *value)));
            }
            Fact { metric: Some(metric), sql: Some(sql), series: None, value: None, .. } => {
                let labels: Vec<&str> = fact.labels.iter().map(String::as_str).collect();
                let truth = truth.query(database, metric, &labels, sql).await;
                expected.extend(truth.into_series());
                for (series, value) in said.iter().filter(|(series, _)| name_of(series) == metric && !fact.others) {
                    if *value != 0.0 && !expected.contains_key(series) {
                        differences.push(format!("{series} is {value}, in truth there is none"));
                    }
                }
            }
            _ => panic!("a fact has metric and sql, or series and value"),
        }
        for (series, truth) in expected {
            match said.get(&series) {
                Some(value) if *value == truth => {}
                value => differences.push(format!("{series} is {value:?}, in truth {truth}")),
            }
        }
    }
    differences
}

/// Each collector of a pack, and the states it is in.
fn states(scrape: &Scrape, pack: &str) -> BTreeMap<String, Vec<String>> {
    let mut states: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (series, value) in scrape.of("rowmetry_collector_state", &[("pack", pack)]) {
        let label = |name: &str| series.split(&format!("{name}=\"")).nth(1)?.split('"').next().map(str::to_owned);
        let (Some(collector), Some(state)) = (label("collector"), label("state")) else { panic!("{series}") };
        let of_it = states.entry(collector).or_default();
        if value == 1.0 {
            of_it.push(state);
        }
    }
    states
}

#[tokio::test(flavor = "multi_thread")]
async fn every_pack_says_the_truth() {
    for app in apps() {
        let told = told(&app);
        let database = filled(Cluster::shared(), &app).await;
        let (exporter, scrape) = reading(&database.url, &app).await;
        let bad: Vec<_> = states(&scrape, &app).into_iter().filter(|(_, states)| states != &["ok"]).collect();
        assert!(bad.is_empty(), "{app}: {bad:?}\n{}", exporter.log_text());
        let differences = differences(&database, &told.truth, &scrape).await;
        assert!(differences.is_empty(), "{app}:\n{}", differences.join("\n"));

        let reply = exporter.get("/metrics", "text/plain").await.expect("it answers");
        assert_eq!(promtool_complaints(&reply.body), "", "{app}");
        for path in ["/metrics", "/"] {
            let text = exporter.get(path, "text/plain").await.expect("it answers").text();
            for never in told.never.iter().chain([&"leak".to_string()]) {
                let line = text.lines().find(|line| line.contains(never.as_str()));
                assert_eq!(line, None, "{app}: {path} says {never:?}");
            }
        }
        let log = exporter.log_text();
        for never in &told.never {
            assert!(!log.contains(never.as_str()), "{app}: the log says {never:?}");
        }

        // The truth speaks of every family of the pack.
        let unspoken: Vec<String> =
            families(&app).into_iter().filter(|family| !told.truth.iter().any(|fact| fact.speaks_of(family))).collect();
        assert!(unspoken.is_empty(), "{app}: nobody tells the truth of {unspoken:?}");
    }
}

/// The names of the metrics that a pack makes of a database, and of its parameters that are exported.
fn families(app: &str) -> BTreeSet<String> {
    let packs = rowmetry::pack::builtin().expect("the built-in packs pass lint");
    let pack = packs.into_iter().find(|pack| pack.app == app).expect("the pack ships");
    let of_a_database = |collector: &&Collector| collector.rows.is_some() || collector.snapshot.is_some();
    let collectors = pack.collectors.iter().filter(of_a_database);
    let metrics = collectors.flat_map(|collector| &collector.metrics).map(|metric| metric.name().to_owned());
    metrics.chain(pack.parameters.values().filter_map(|parameter| parameter.gauge.clone())).collect()
}

impl Fact {
    fn speaks_of(&self, family: &str) -> bool {
        let name = name_of(self.metric.as_deref().or(self.series.as_deref()).unwrap_or_default());
        name.strip_prefix(family).is_some_and(|part| ["", "_bucket", "_sum", "_count"].contains(&part))
    }
}

/// The family that a series belongs to.
fn family(series: &str, scrape: &Scrape) -> String {
    let name = name_of(series);
    let parts = ["_bucket", "_sum", "_count"];
    let family =
        parts.iter().filter_map(|part| name.strip_suffix(part)).find(|family| scrape.types.contains_key(*family));
    family.unwrap_or(name).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_pack_says_the_same_through_a_transaction_pooler() {
    let cluster = Cluster::shared();
    // Fewer connections to the server than clients that use it, so that no client has one for itself.
    let pgbouncer = PgBouncer::before(cluster, 2);
    for app in apps() {
        let database = filled(cluster, &app).await;
        let url = pgbouncer.url(&database.name);
        let traffic = Traffic::through(&url).await;
        let (exporter, scrape) = reading(&url, &app).await;
        let bad: Vec<_> = states(&scrape, &app).into_iter().filter(|(_, states)| states != &["ok"]).collect();
        assert!(bad.is_empty(), "{app}: {bad:?}\n{}", exporter.log_text());
        let differences = differences(&database, &told(&app).truth, &scrape).await;
        assert!(differences.is_empty(), "{app}:\n{}", differences.join("\n"));
        let lacks: Vec<_> = states(&scrape, "postgres").into_iter().filter(|(_, states)| states != &["ok"]).collect();
        assert_eq!(lacks, [("statements".to_owned(), vec!["absent".to_owned()])], "{}", exporter.log_text());
        assert!(traffic.end().await > 0, "{app}: nobody else used the pooler");
        assert!(!exporter.log_text().contains("prepared statement"), "{}", exporter.log_text());
    }
    assert!(pgbouncer.is_running());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_drifted_costs_only_what_it_lacks() {
    for app in apps() {
        for drift in told(&app).drifts {
            let database = filled(Cluster::shared(), &app).await;
            database.run(fixture(&drift.script)).await;
            let (exporter, scrape) = reading(&database.url, &app).await;
            for (collector, states) in states(&scrape, &app) {
                let wanted = if drift.absent.contains(&collector) { "absent" } else { "ok" };
                assert_eq!(states, [wanted], "{}: {collector}\n{}", drift.script, exporter.log_text());
            }
            let known: BTreeSet<String> = states(&scrape, &app).into_keys().collect();
            assert!(drift.absent.is_subset(&known), "{}: {:?} among {known:?}", drift.script, drift.absent);
            for gone in &drift.gone {
                let left: Vec<&String> =
                    scrape.series.keys().filter(|series| family(series, &scrape) == *gone).collect();
                assert!(left.is_empty(), "{}: {left:?}", drift.script);
            }
            let differences = differences(&database, &drift.truth, &scrape).await;
            assert!(differences.is_empty(), "{}:\n{}", drift.script, differences.join("\n"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_change_later_count_once() {
    let mut changed = 0;
    for app in apps() {
        let Some(later) = told(&app).later else { continue };
        let database = filled(Cluster::shared(), &app).await;
        let (exporter, _) = reading(&database.url, &app).await;
        database.run(fixture(&later.script)).await;
        // Again and again: what was counted once is not counted with the next read either.
        for _ in 0..2 {
            let scrape = exporter.reads_again().await;
            let differences = differences(&database, &later.truth, &scrape).await;
            assert!(differences.is_empty(), "{app}:\n{}\n{}", differences.join("\n"), exporter.log_text());
        }
        changed += 1;
    }
    assert!(changed > 0, "no pack tells what changes later");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_packs_in_one_database_and_rows_that_come_later() {
    // Two applications that share a server, each with its database, and one exporter for both.
    let apps = apps();
    let cluster = Cluster::shared();
    let mut databases = Vec::new();
    for app in &apps {
        databases.push(filled(cluster, app).await);
    }
    let mut setup = Setup::of(&databases[0].url).sourced("intervals", often(&apps));
    setup.settings.remove("packs");
    for (number, database) in databases.iter().enumerate().skip(1) {
        setup = setup.source(&format!("app{number}"), &database.url).sourced("intervals", often(&apps));
    }
    let exporter = setup.start().await;
    let scrape = settled(&exporter, &apps).await;
    for (app, database) in apps.iter().zip(&databases) {
        let differences = differences(database, &told(app).truth, &scrape).await;
        assert!(differences.is_empty(), "{app}:\n{}", differences.join("\n"));
    }
}
