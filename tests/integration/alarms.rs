//! A night with everything that an operator runs: each thing is broken in turn, the right page must arrive at the webhook with the right
//! labels, and be taken back when it is mended. And while all is well, every panel of every dashboard has data.
//!
//! The rules are the shipped ones, with their own waiting times: it takes a quarter of an hour, in which other tests run.

mod stage;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::drift;
use super::harness::eventually;
use stage::{PATIENCE, Stage};

/// Time in which an alert must fire: the longest `for` of those that are waited for, and a window of 5 minutes to fill.
const FIRES_WITHIN: Duration = Duration::from_secs(720);
/// Time in which it must be over: a window of 15 minutes that empties.
const ENDS_WITHIN: Duration = Duration::from_secs(1200);
/// Time in which a panel must have data: two reads, and what the traffic does seldom.
const FILLED_WITHIN: Duration = Duration::from_secs(240);

#[tokio::test(flavor = "multi_thread")]
async fn a_night_of_broken_servers_pages_rightly() {
    let stage = Stage::set().await;
    rules_are_healthy(&stage).await;
    panels_have_data(&stage).await;
    emits_what_is_asked_for(&stage).await;
}

/// Prometheus evaluates every rule without an error.
async fn rules_are_healthy(stage: &Stage) {
    eventually(PATIENCE, "every rule was evaluated", async || {
        let groups = stage.prometheus.api("/api/v1/rules").await?;
        let rules: Vec<_> = groups["groups"]
            .as_array()
            .into_iter()
            .flatten()
            .flat_map(|of| of["rules"].as_array().into_iter().flatten())
            .collect();
        let (recordings, alerts) = drift::rules();
        if rules.len() != recordings.len() + alerts.len() {
            return Err(format!("{} of {} rules", rules.len(), recordings.len() + alerts.len()));
        }
        let bad: Vec<String> = rules
            .iter()
            .filter(|rule| rule["health"] != "ok")
            .map(|rule| format!("{}: {} {}", rule["name"], rule["health"], rule["lastError"]))
            .collect();
        if bad.is_empty() { Ok(()) } else { Err(bad.join("\n")) }
    })
    .await;
}

/// Each query of each panel that says nothing else answers with data.
async fn panels_have_data(stage: &Stage) {
    let mut waiting: Vec<drift::Query> = drift::boards().iter().flat_map(drift::queries).collect();
    let all = waiting.len();
    let empty: BTreeSet<String> = waiting
        .iter()
        .filter(|query| query.may_be_empty)
        .map(|query| format!("{}: {}", query.file, query.panel))
        .collect();
    waiting.retain(|query| !query.may_be_empty);
    eventually(FILLED_WITHIN, "every panel has data", async || {
        let mut left = Vec::new();
        for query in std::mem::take(&mut waiting) {
            match stage.prometheus.query(&asked(&query.expr), None).await {
                Ok(answer) if has_data(&answer) => {}
                Ok(_) => left.push(query),
                // A query that cannot be evaluated will not be better later.
                Err(error) => panic!("{}: {}: {error}", query.file, query.panel),
            }
        }
        waiting = left;
        let names: Vec<String> =
            waiting.iter().map(|query| format!("{}: {}: {}", query.file, query.panel, query.expr)).collect();
        if names.is_empty() { Ok(()) } else { Err(names.join("\n")) }
    })
    .await;
    println!(
        "{all} queries; without data until something fails:\n{}",
        empty.into_iter().collect::<Vec<_>>().join("\n")
    );
}

/// A panel's expression as Grafana asks it, with everything chosen.
fn asked(expr: &str) -> String {
    let mut text = drift::filled(expr);
    while let Some(start) = text.find('$') {
        let name = |c: char| c.is_ascii_alphanumeric() || "_{}:".contains(c);
        let length = text[start + 1..].find(|c: char| !name(c)).unwrap_or(text.len() - start - 1);
        text.replace_range(start..=start + length, ".*");
    }
    text
}

fn has_data(answer: &serde_json::Value) -> bool {
    let series = answer.as_array().map(Vec::as_slice).unwrap_or_default();
    // What answers NaN alone divides by nothing, and draws nothing.
    series.iter().any(|series| series["value"][1] != "NaN")
}

/// What Rowmetry can emit was seen, under the labels that it is said to have, but for what only other parts have.
async fn emits_what_is_asked_for(stage: &Stage) {
    let series = stage.prometheus.api("/api/v1/series?match[]=%7Bjob%3D%22rowmetry%22%7D").await.expect("it answers");
    let mut labels: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for series in series.as_array().into_iter().flatten().filter_map(serde_json::Value::as_object) {
        let name = series["__name__"].as_str().unwrap_or_default().to_owned();
        labels.entry(name).or_default().extend(series.keys().filter(|label| *label != "__name__").cloned());
    }
    let told = drift::unlike(&labels);
    assert!(told.is_empty(), "{}", told.join("\n"));
}
