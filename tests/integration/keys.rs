//! Every pack that counts Redis keys, on a Redis as its application fills it, beside its own database that knows the names.
//!
//! A pack is tested by being there: one with `keys` must have `tests/fixtures/<app>_keys.yaml`.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Deserialize;

use super::harness::exposition::{Scrape, name_of};
use super::harness::prometheus::promtool_complaints;
use super::harness::redis::Redis;
use super::harness::{Cluster, Exporter, Setup, exporter, test_file};

/// What `<app>_keys.yaml` holds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    keys: Vec<Key>,
    truth: Vec<Fact>,
    /// How many series each metric has in all.
    series: BTreeMap<String, usize>,
    /// Texts that must occur nowhere in the answer.
    never: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    key: String,
    value: String,
    seconds: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fact {
    series: String,
    value: f64,
}

/// The packs with collectors of keys, and those collectors.
fn apps() -> BTreeMap<String, Vec<String>> {
    #[derive(Deserialize)]
    struct Pack {
        collectors: Vec<Collector>,
    }
    #[derive(Deserialize)]
    struct Collector {
        name: String,
        keys: Option<serde_json::Value>,
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("packs");
    let files = std::fs::read_dir(folder).expect("packs ship").flatten().map(|entry| entry.path());
    let mut apps = BTreeMap::new();
    for file in files.filter(|path| path.extension().is_some_and(|extension| extension == "yaml")) {
        let text = std::fs::read_to_string(&file).expect("packs can be read");
        let pack: Pack = serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let of_keys: Vec<String> = pack.collectors.into_iter().filter(|c| c.keys.is_some()).map(|c| c.name).collect();
        if !of_keys.is_empty() {
            apps.insert(file.file_stem().expect("it has a name").to_string_lossy().into_owned(), of_keys);
        }
    }
    assert!(apps.len() >= 2, "two applications have a Redis");
    apps
}

fn fixture(name: &str) -> String {
    let file = test_file("fixtures").join(name);
    std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("there is {}: {e}", file.display()))
}

/// The key's name, or its names when it is of a window of time: a test that reaches the next window counts the same.
fn names(key: &str) -> Vec<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_millis();
    for (word, windows) in [("{now:", vec![0, 1]), ("{before:", vec![-1])] {
        if let Some((before, rest)) = key.split_once(word) {
            let (length, after) = rest.split_once('}').expect("a `}` ends it");
            let length: i128 = length.parse().expect("a number of milliseconds");
            let number = i128::try_from(now).expect("it fits") / length;
            return windows.into_iter().map(|window| format!("{before}{}{after}", number + window)).collect();
        }
    }
    vec![key.to_owned()]
}

async fn says_the_truth(app: &str, collectors: &[String], told: &Told, exporter: &Exporter) -> Scrape {
    exporter
        .scrapes(&format!("{app}: the keys are counted"), |scrape| {
            for fact in &told.truth {
                match scrape.series.get(&fact.series) {
                    Some(value) if *value == fact.value => {}
                    value => return Err(format!("{} is {value:?}, in truth {}", fact.series, fact.value)),
                }
            }
            for (metric, count) in &told.series {
                let shown: Vec<&String> = scrape.series.keys().filter(|series| name_of(series) == metric).collect();
                if shown.len() != *count {
                    return Err(format!("{metric} has not {count} series: {shown:?}"));
                }
            }
            let states = collectors.iter().map(|name| (name, exporter::states(scrape, name)));
            let bad: Vec<_> = states.filter(|(_, states)| states != &["ok"]).collect();
            if bad.is_empty() { Ok(()) } else { Err(format!("{bad:?}")) }
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_pack_counts_its_keys_and_tells_none() {
    for (app, collectors) in apps() {
        let told: Told = serde_saphyr::from_str(&fixture(&format!("{app}_keys.yaml")))
            .unwrap_or_else(|e| panic!("{app}_keys.yaml: {e}"));
        assert!(told.truth.len() > 5 && told.never.len() > 1, "{app}_keys.yaml says too little");
        let database = Cluster::shared().database().await;
        database.run(fixture(&format!("{app}.sql"))).await;
        database.run(fixture(&format!("{app}_rows.sql"))).await;
        let redis = Redis::new();
        for key in &told.keys {
            for name in names(&key.key) {
                redis.set_for(&name, &key.value, key.seconds);
            }
        }
        let often = collectors.iter().map(|name| format!("{app}/{name}: 250ms")).collect::<Vec<_>>().join(", ");
        // The Redis says neither its packs nor its database: it follows the only one there is.
        let mut setup = Setup::of(&database.url).source("cache", &redis.url());
        setup = setup.sourced("intervals", format!("{{{often}}}"));
        let exporter = setup.start().await;
        says_the_truth(&app, &collectors, &told, &exporter).await;

        let reply = exporter.get("/metrics", "text/plain").await.expect("it answers");
        assert_eq!(promtool_complaints(&reply.body), "", "{app}");
        for path in ["/metrics", "/"] {
            let text = exporter.get(path, "text/plain").await.expect("it answers").text();
            for never in &told.never {
                let line = text.lines().find(|line| line.contains(never.as_str()));
                assert_eq!(line, None, "{app}: {path} says {never:?}");
            }
        }
        assert!(!exporter.log_text().contains("leak"), "{}", exporter.log_text());

        // No value was read but those of limiters, and the database was asked for names only.
        assert_eq!((redis.calls("get"), redis.calls("keys")), (0, 0), "{app}");
        let has_limits = fixture(&format!("../../packs/{app}.yaml")).contains("\n          limit: ");
        assert_eq!(redis.calls("mget") > 0, has_limits, "{app}");

        // What is gone is gone, and the rest is 0 or absent as before.
        redis.run("FLUSHALL");
        exporter
            .scrapes(&format!("{app}: the keys are gone"), |scrape| {
                let left: Vec<_> = scrape
                    .series
                    .iter()
                    .filter(|(series, value)| told.series.contains_key(name_of(series)) && **value != 0.0)
                    .collect();
                if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
            })
            .await;
    }
}
