//! A night with everything that an operator runs: each thing is broken in turn, the right page must arrive at the webhook with the right
//! labels, and be taken back when it is mended. And while all is well, every panel of every dashboard has data.
//!
//! The rules are the shipped ones, with their own waiting times: it takes a quarter of an hour, in which other tests run.

mod stage;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::drift;
use super::harness::alertmanager::Held;
use super::harness::eventually;
use stage::{PATIENCE, Stage};

/// Time in which an alert must fire: the longest `for` of those that are waited for, and a window of 5 minutes to fill.
const FIRES_WITHIN: Duration = Duration::from_secs(720);
/// Time in which it must be over: a window of 15 minutes that empties.
const ENDS_WITHIN: Duration = Duration::from_secs(1200);
/// Time in which a panel must have data: two reads, and what the traffic does seldom.
const FILLED_WITHIN: Duration = Duration::from_secs(240);

/// An alert of the night: its name, and the labels that what arrives must bear.
struct Expected {
    alert: &'static str,
    severity: &'static str,
    labels: &'static [(&'static str, &'static str)],
}

const fn page(alert: &'static str, labels: &'static [(&'static str, &'static str)]) -> Expected {
    Expected { alert, severity: "critical", labels }
}

const fn chat(alert: &'static str, labels: &'static [(&'static str, &'static str)]) -> Expected {
    Expected { alert, severity: "warning", labels }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_of_broken_servers_pages_rightly() {
    let mut stage = Stage::set().await;
    rules_are_healthy(&stage).await;
    panels_have_data(&stage).await;
    emits_what_is_asked_for(&stage).await;
    if let Some(clients) = stage.clients.take() {
        clients.end().await;
    }
    tokio::join!(calls(&stage), prompts(&stage), endpoints(&stage), keys(&stage));
    database(&stage).await;
    log_is_clean(&stage);
}

/// SyncedUp: dead jobs, a backlog of recordings, a cron that does not come.
async fn calls(stage: &Stage) {
    // The demo's history has each of them; the night begins without.
    let mend = "update transcription_queue set attempts = 0 where status = 'pending' and attempts >= 3;\
                update cron_heartbeats set last_ok = now();\
                delete from pending_recordings where processed_at is null";
    stage.sql("syncedup", mend).await;
    const APP: (&str, &str) = ("app", "syncedup");
    let broken = [
        ("syncedup/dead_jobs", chat("SyncedupTranscriptionJobsDead", &[APP])),
        ("syncedup/recordings_backlog", chat("SyncedupRecordingsStale", &[APP])),
        ("syncedup/stale_cron", chat("SyncedupCronStale", &[APP, ("name", "rollups")])),
    ];
    for (_, expected) in &broken {
        stage.is_quiet(expected).await;
    }
    for (trouble, _) in &broken {
        stage.trouble(trouble, true).await;
    }
    for (_, expected) in &broken {
        stage.is_told(expected).await;
    }
    for (trouble, _) in &broken {
        stage.trouble(trouble, false).await;
    }
    for (_, expected) in &broken {
        stage.is_taken_back(expected).await;
    }
}

/// Promptcademy: a provider that fails, a cost over its budget, policies that refuse; then row-level security hides rows from Rowmetry.
async fn prompts(stage: &Stage) {
    const APP: (&str, &str) = ("app", "promptcademy");
    let broken = [
        ("promptcademy/provider_errors", chat("PromptcademyProviderErrorsSpike", &[APP, ("provider", "openai")])),
        ("promptcademy/cost_over_budget", page("PromptcademyCostRunsAway", &[APP])),
        ("promptcademy/rls_errors", chat("PromptcademyRlsErrors", &[APP])),
    ];
    for (trouble, expected) in &broken {
        stage.is_quiet(expected).await;
        stage.trouble(trouble, true).await;
    }
    for (_, expected) in &broken {
        stage.is_told(expected).await;
    }
    for (trouble, _) in &broken {
        stage.trouble(trouble, false).await;
    }
    stage.raise_limits();
    for (_, expected) in &broken {
        stage.is_taken_back(expected).await;
    }
    let hidden = chat("RowmetryCollectorRowsHidden", &[APP, ("source", "promptcademy"), ("pack", "promptcademy")]);
    stage.is_quiet(&hidden).await;
    stage.sql("promptcademy", "alter role rowmetry nobypassrls").await;
    stage.is_told(&hidden).await;
    stage.sql("promptcademy", "alter role rowmetry bypassrls").await;
    stage.is_taken_back(&hidden).await;
}

/// An endpoint says that it is ill.
async fn endpoints(stage: &Stage) {
    let ill = page(
        "HealthEndpointUnhealthy",
        &[("app", "syncedup"), ("source", "syncedup-web"), ("endpoint", "/api/health")],
    );
    stage.is_quiet(&ill).await;
    stage.trouble("syncedup/unhealthy", true).await;
    stage.is_told(&ill).await;
    stage.trouble("syncedup/unhealthy", false).await;
    stage.is_taken_back(&ill).await;
}

/// Redis is gone: of each application that keeps keys there.
async fn keys(stage: &Stage) {
    let gone = [
        page("RedisUnreachable", &[("app", "mentor"), ("source", "mentor-redis")]),
        page("RedisUnreachable", &[("app", "coding_platform"), ("source", "coding_platform-redis")]),
    ];
    for expected in &gone {
        stage.is_quiet(expected).await;
    }
    stage.redis.stop();
    for expected in &gone {
        stage.is_told(expected).await;
    }
    stage.redis.start();
    for expected in &gone {
        stage.is_taken_back(expected).await;
    }
}

/// Postgres is gone: each application's page comes, and what follows from it is not told beside it.
async fn database(stage: &Stage) {
    let gone = [
        page("PostgresUnreachable", &[("app", "coding_platform"), ("source", "coding_platform")]),
        page("PostgresUnreachable", &[("app", "mentor"), ("source", "mentor")]),
        page("PostgresUnreachable", &[("app", "promptcademy"), ("source", "promptcademy")]),
        page("PostgresUnreachable", &[("app", "syncedup"), ("source", "syncedup")]),
        page("PostgresUnreachable", &[("app", "voyager"), ("source", "voyager")]),
    ];
    for expected in &gone {
        stage.is_quiet(expected).await;
    }
    // What the application says of it is no news beside that page.
    let consequence =
        page("HealthEndpointUnhealthy", &[("app", "syncedup"), ("source", "syncedup-web"), ("symptom", "true")]);
    stage.is_quiet(&consequence).await;
    let told = stage.pages(&consequence, "firing").len();
    stage.trouble("syncedup/unhealthy", true).await;
    eventually(PATIENCE, "the endpoint is ill", async || {
        let ill = "max(app_health_outcome{target=\"syncedup-web\",outcome=\"unhealthy\"})";
        match stage.prometheus.value(ill, None).await? {
            1.0 => Ok(()),
            value => Err(format!("{value}")),
        }
    })
    .await;
    stage.cluster.stop();
    for expected in &gone {
        stage.is_told(expected).await;
    }
    eventually(FIRES_WITHIN, "what follows is silent", async || {
        let held = stage.held(&consequence).await?;
        let is_silent = !held.is_empty() && held.iter().all(|alert| alert.inhibited);
        if is_silent { Ok(()) } else { Err(format!("{held:?}")) }
    })
    .await;
    assert_eq!(stage.pages(&consequence, "firing").len(), told, "it paged beside its cause");
    stage.cluster.start();
    stage.trouble("syncedup/unhealthy", false).await;
    for expected in &gone {
        stage.is_taken_back(expected).await;
    }
}

impl Stage {
    /// It does not fire yet, so that what comes later comes of what is broken then.
    async fn is_quiet(&self, expected: &Expected) {
        eventually(ENDS_WITHIN, &format!("{} is quiet", expected.alert), async || {
            let firing = self.held(expected).await?;
            if firing.is_empty() { Ok(()) } else { Err(format!("{firing:?}")) }
        })
        .await;
    }

    /// It arrives where its severity is told, with these labels.
    async fn is_told(&self, expected: &Expected) {
        let what = format!("{} {:?} arrives", expected.alert, expected.labels);
        eventually(FIRES_WITHIN, &what, async || {
            let held = self.held(expected).await?;
            if held.is_empty() {
                return Err(self.pending(expected).await);
            }
            let is_right = |alert: &Held| {
                alert.labels.get("severity").map(String::as_str) == Some(expected.severity) && !alert.inhibited
            };
            if !held.iter().all(is_right) {
                return Err(format!("{held:?}"));
            }
            self.arrived(expected, "firing")
        })
        .await;
        println!("{what}");
    }

    /// It is over, and that is told too.
    async fn is_taken_back(&self, expected: &Expected) {
        let what = format!("{} {:?} is taken back", expected.alert, expected.labels);
        eventually(ENDS_WITHIN, &what, async || {
            let held = self.held(expected).await?;
            if !held.is_empty() {
                return Err(format!("{held:?}"));
            }
            self.arrived(expected, "resolved")
        })
        .await;
        println!("{what}");
    }

    /// What Alertmanager holds of it.
    async fn held(&self, expected: &Expected) -> Result<Vec<Held>, String> {
        let fits = |alert: &Held| {
            let has = |(name, value): &(&str, &str)| alert.labels.get(*name).is_some_and(|found| found == value);
            has(&("alertname", expected.alert)) && has(&("job", "rowmetry")) && expected.labels.iter().all(has)
        };
        Ok(self.alertmanager.alerts().await?.into_iter().filter(fits).collect())
    }

    /// Whether a message of this status came: a page with the labels, and a line in the chat.
    fn arrived(&self, expected: &Expected, status: &str) -> Result<(), String> {
        let app = expected.labels.iter().find(|(name, _)| *name == "app").map_or("", |(_, app)| app);
        if expected.severity == "critical" && self.pages(expected, status).is_empty() {
            return Err(format!("no page says {status}"));
        }
        let resolved = status == "resolved";
        let title = format!(" {} · {app} · rowmetry", expected.alert);
        let chats = self.inbox.at("/chat");
        let titles = chats.iter().filter_map(|message| message.body["attachments"][0]["title"].as_str());
        let mut fitting = titles.filter(|text| text.contains(&title) && text.starts_with("[RESOLVED]") == resolved);
        fitting.next().map(|_| ()).ok_or_else(|| format!("the chat has no {status} `{title}`"))
    }

    /// Where it stands in Prometheus, for who reads why a test failed.
    async fn pending(&self, expected: &Expected) -> String {
        let query = format!("ALERTS{{alertname=\"{}\"}}", expected.alert);
        self.prometheus.query(&query, None).await.map_or_else(|error| error, |found| found.to_string())
    }

    /// The pages that say so of it, by their labels.
    fn pages(&self, expected: &Expected, status: &str) -> Vec<BTreeMap<String, String>> {
        let fits = |labels: &BTreeMap<String, String>| {
            let has = |(name, value): &(&str, &str)| labels.get(*name).is_some_and(|found| found == value);
            has(&("alertname", expected.alert)) && expected.labels.iter().all(has)
        };
        let all = self.inbox.at("/page").into_iter().flat_map(|message| message.alerts(status));
        all.filter(fits).collect()
    }
}

/// Nobody who was broken ended or complained of what is not so.
fn log_is_clean(stage: &Stage) {
    for (process, name) in [(&stage.exporter, "rowmetry.log"), (&stage.traffic, "traffic.log")] {
        assert!(process.ended().is_none(), "{name}: {}", stage.log(name));
        assert!(!stage.log(name).contains("panicked"), "{name}: {}", stage.log(name));
    }
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
    eventually(FILLED_WITHIN, "what is stored is what the manual says", async || {
        let series = stage.prometheus.api("/api/v1/series?match[]=%7Bjob%3D%22rowmetry%22%7D").await?;
        let mut labels: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for series in series.as_array().into_iter().flatten().filter_map(serde_json::Value::as_object) {
            let name = series["__name__"].as_str().unwrap_or_default().to_owned();
            labels.entry(name).or_default().extend(series.keys().filter(|label| *label != "__name__").cloned());
        }
        let told = drift::unlike(&labels);
        if told.is_empty() { Ok(()) } else { Err(told.join("\n")) }
    })
    .await;
}
