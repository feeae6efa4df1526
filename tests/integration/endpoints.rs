//! Every pack that asks an endpoint, against answers as its application gives them in each of its versions.
//!
//! A pack is tested by asking: `tests/fixtures/<app>_endpoints.yaml` must exist then.

use std::collections::BTreeMap;
use std::sync::Arc;

use rowmetry::pack::{Pack, builtin};
use serde::Deserialize;

use super::harness::hostile::{Hostile, answer};
use super::harness::{Scrape, Setup, test_file};

/// What `<app>_endpoints.yaml` holds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    answers: Vec<Answer>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    name: String,
    path: String,
    status: u16,
    #[serde(default = "json")]
    content_type: String,
    body: String,
    /// Every series of these families, as `family{label="value"}` without the labels `target` and `endpoint`.
    series: BTreeMap<String, f64>,
    /// Families that show nothing.
    #[serde(default)]
    absent: Vec<String>,
}

fn json() -> String {
    "application/json".to_owned()
}

fn asking() -> Vec<Arc<Pack>> {
    let packs = builtin().expect("the packs pass lint");
    packs.into_iter().filter(|pack| pack.collectors.iter().any(|collector| collector.probe.is_some())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_of_every_version_is_understood() {
    let packs = asking();
    assert!(!packs.is_empty(), "some packs ask endpoints");
    for pack in packs {
        let file = test_file("fixtures").join(format!("{}_endpoints.yaml", pack.app));
        let text =
            std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{} asks, so {}: {e}", pack.app, file.display()));
        let told: Told = serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let server = Hostile::plain(answer("200 OK", "", ""));
        let often: Vec<String> =
            pack.collectors.iter().map(|collector| format!("{}/{}: 250ms", pack.app, collector.name)).collect();
        let setup = Setup::of(&server.url(&told.answers[0].path)).sourced("packs", format!("[{}]", pack.app));
        let exporter = setup.sourced("intervals", format!("{{{}}}", often.join(", "))).start().await;
        for given in &told.answers {
            let good = answer(
                &format!("{} X", given.status),
                &format!("Content-Type: {}\r\n", given.content_type),
                &given.body,
            );
            let other = answer("404 X", "", "");
            let start = format!("GET {} ", given.path);
            server.acts(Arc::new(
                move |head, wire| if head.starts_with(&start) { good(head, wire) } else { other(head, wire) },
            ));
            let probes = |scrape: &Scrape| scrape.sum("app_health_probes_total", &[("endpoint", &given.path)]);
            let before = probes(&exporter.scrape().await);
            let what = format!("{}: {}", pack.app, given.name);
            exporter
                .scrapes(&what, |scrape| {
                    // The second of two more surely began after the server was told.
                    if probes(scrape) < before + 2.0 {
                        return Err("it was not asked again".into());
                    }
                    let differences = differences(given, scrape);
                    if differences.is_empty() { Ok(()) } else { Err(differences.join("\n")) }
                })
                .await;
        }
    }
}

fn differences(given: &Answer, scrape: &Scrape) -> Vec<String> {
    let mut differences = Vec::new();
    let endpoint = format!("endpoint=\"{}\"", given.path);
    let families: Vec<&str> = given.series.keys().map(|key| key.split('{').next().unwrap_or(key)).collect();
    let found: BTreeMap<String, f64> = scrape
        .series
        .iter()
        .filter(|(key, _)| key.contains(&endpoint))
        .map(|(key, value)| (plain(key, &endpoint), *value))
        .collect();
    for (key, wanted) in &given.series {
        let value = found.get(key);
        if value != Some(wanted) {
            differences.push(format!("{key} is {value:?} and should be {wanted}"));
        }
    }
    let state = |key: &str| key.starts_with("app_health_outcome{");
    for (key, value) in &found {
        let family = key.split('{').next().unwrap_or(key);
        let too_much = families.contains(&family) && !given.series.contains_key(key) && !(state(key) && *value == 0.0);
        if too_much || given.absent.iter().any(|absent| absent == family) {
            differences.push(format!("{key} is {value} and should not be there"));
        }
    }
    differences
}

/// A key without the labels that all have.
fn plain(key: &str, endpoint: &str) -> String {
    let Some((name, labels)) = key.trim_end_matches('}').split_once('{') else { return key.to_owned() };
    let own = labels.split(',').filter(|label| *label != endpoint && *label != "target=\"app\"").collect::<Vec<_>>();
    if own.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", own.join(",")) }
}
