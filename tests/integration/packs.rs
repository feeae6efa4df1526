//! Every pack that ships, on a database as its application makes it, against the truth told in other words.
//!
//! A pack is tested by being there: `tests/fixtures/<app>.sql`, `_rows.sql`, `_truth.yaml` and its drifts must exist.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;

use super::harness::exposition::{Scrape, name_of, plain_bounds};
use super::harness::prometheus::promtool_complaints;
use super::harness::{Cluster, Database, Exporter, Setup, exporter, test_file};

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

/// The names of a pack's collectors.
fn collectors(app: &str) -> Vec<String> {
    #[derive(Deserialize)]
    struct Pack {
        collectors: Vec<Collector>,
    }
    #[derive(Deserialize)]
    struct Collector {
        name: String,
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("packs").join(format!("{app}.yaml"));
    let pack = std::fs::read_to_string(file).expect("the pack ships");
    let pack: Pack = serde_saphyr::from_str(&pack).unwrap_or_else(|e| panic!("{app}.yaml: {e}"));
    pack.collectors.into_iter().map(|collector| collector.name).collect()
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
            let unread =
                apps.iter().flat_map(|app| collectors(app)).find(|name| exporter::states(scrape, name).is_empty());
            unread.map_or(Ok(()), |name| Err(format!("{name} has no state")))
        })
        .await;
    exporter.reads_again().await
}

/// An exporter that finds out by itself which pack applies.
async fn reading(database: &Database<'_>, app: &str) -> (Exporter, Scrape) {
    let apps = [app.to_owned()];
    let mut setup = Setup::of(&database.url).sourced("intervals", often(&apps));
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

/// Each collector of the pack, and the state it is in.
fn states(scrape: &Scrape) -> BTreeMap<String, Vec<String>> {
    let collectors: BTreeSet<String> = scrape
        .of("rowmetry_collector_state", &[])
        .filter_map(|(series, _)| Some(series.split("collector=\"").nth(1)?.split('"').next()?.to_string()))
        .collect();
    collectors.into_iter().map(|name| (name.clone(), exporter::states(scrape, &name))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_pack_says_the_truth() {
    for app in apps() {
        let told = told(&app);
        let database = filled(Cluster::shared(), &app).await;
        let (exporter, scrape) = reading(&database, &app).await;
        let bad: Vec<_> = states(&scrape).into_iter().filter(|(_, states)| states != &["ok"]).collect();
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
        let spoken: BTreeSet<String> = told
            .truth
            .iter()
            .map(|fact| family(fact.metric.as_deref().or(fact.series.as_deref()).unwrap_or_default(), &scrape))
            .collect();
        let prefix = format!("{app}_");
        let unspoken: Vec<&String> =
            scrape.types.keys().filter(|name| name.starts_with(&prefix) && !spoken.contains(*name)).collect();
        assert!(unspoken.is_empty(), "{app}: nobody tells the truth of {unspoken:?}");
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
async fn a_schema_that_drifted_costs_only_what_it_lacks() {
    for app in apps() {
        for drift in told(&app).drifts {
            let database = filled(Cluster::shared(), &app).await;
            database.run(fixture(&drift.script)).await;
            let (exporter, scrape) = reading(&database, &app).await;
            for (collector, states) in states(&scrape) {
                let wanted = if drift.absent.contains(&collector) { "absent" } else { "ok" };
                assert_eq!(states, [wanted], "{}: {collector}\n{}", drift.script, exporter.log_text());
            }
            let known: BTreeSet<String> = states(&scrape).into_keys().collect();
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
        let (exporter, _) = reading(&database, &app).await;
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
