//! Alertmanager's file: who is told, what is silenced, and what a message looks like.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;

use crate::harness::alertmanager::{Alertmanager, Inbox, PAGER_TOKEN, alerts_folder, shipped};
use crate::harness::guard::Folder;
use crate::harness::{eventually, holds_for, program};

/// Time that anything may take beside the file's own times.
const PATIENCE: Duration = Duration::from_secs(90);
/// Stands before the lines of the example that a team takes into force.
const EXAMPLE: &str = "#| ";

type Labels = BTreeMap<String, String>;

#[derive(Deserialize)]
struct Routes {
    routes: Vec<Route>,
    with_example: Vec<Route>,
}

#[derive(Deserialize)]
struct Route {
    receivers: Vec<String>,
    labels: Labels,
}

#[derive(Deserialize)]
struct Case {
    why: String,
    told: Vec<Labels>,
    #[serde(default)]
    silenced: Vec<Labels>,
}

fn data<T: serde::de::DeserializeOwned>(name: &str) -> T {
    let text = std::fs::read_to_string(alerts_folder().join("tests").join(name)).expect("the test's data is there");
    serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// What `amtool` prints; panics when it is not content.
fn amtool(arguments: &[&str]) -> String {
    let output = Command::new(program("amtool")).args(arguments).output().expect("amtool can be started");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "amtool {arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// The shipped file with its example of a team's own route in force.
fn with_example() -> String {
    shipped().replace(EXAMPLE, "")
}

/// The shipped file with PagerDuty in place of the webhook.
fn with_pagerduty() -> String {
    let text = shipped();
    let (before, rest) = text.split_once("    webhook_configs:").expect("the receiver `page` is a webhook");
    let (_, after) = rest.split_once("    #~ ").expect("an example of PagerDuty stands below it");
    format!("{before}    #~ {after}").replace("#~ ", "")
}

fn check(file: &Path) {
    let said = amtool(&["check-config", &file.display().to_string()]);
    assert!(said.contains("SUCCESS") && said.contains("1 templates"), "{said}");
}

#[test]
fn amtool_takes_the_file_and_its_examples() {
    check(&alerts_folder().join("alertmanager.yml"));
    let folder = Folder::new("alertmanager-examples");
    std::os::unix::fs::symlink(alerts_folder().join("templates"), folder.path().join("templates")).expect("it is new");
    check(&folder.write("example.yml", with_example()));
    check(&folder.write("pagerduty.yml", with_pagerduty()));
}

#[test]
fn each_alert_goes_to_its_receivers() {
    let Routes { routes, with_example: example_routes } = data("routes.yml");
    let folder = Folder::new("alertmanager-routes");
    let files = [
        (folder.write("shipped.yml", shipped()), routes),
        (folder.write("example.yml", with_example()), example_routes),
    ];
    for (file, routes) in files {
        assert!(routes.len() >= 5, "a table that lost its lines tests nothing");
        for route in routes {
            let pairs: Vec<String> = route.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let config = format!("--config.file={}", file.display());
            let mut arguments = vec!["config", "routes", "test", config.as_str()];
            arguments.extend(pairs.iter().map(String::as_str));
            assert_eq!(amtool(&arguments).trim(), route.receivers.join(","), "{pairs:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_follows_from_another_alert_is_silenced_and_nothing_else() {
    let cases: Vec<Case> = data("inhibition.yml");
    let alertmanager = Alertmanager::shipped(&Inbox::open().await).await;
    for (number, case) in cases.iter().enumerate() {
        let job = format!("case-{number}");
        let complete = |labels: &Labels| -> Labels {
            let mut labels = labels.clone();
            labels.entry("job".into()).or_insert_with(|| job.clone());
            labels.retain(|_, value| !value.is_empty());
            labels
        };
        let [told, silenced] = [&case.told, &case.silenced].map(|list| list.iter().map(complete).collect::<Vec<_>>());
        alertmanager.fire_all(told.iter().chain(&silenced)).await;
        let held = alertmanager.alerts().await.expect("Alertmanager answers");
        for (labels, inhibited) in told.iter().map(|l| (l, false)).chain(silenced.iter().map(|l| (l, true))) {
            let found = held.iter().find(|held| held.labels == *labels);
            let found = found.unwrap_or_else(|| panic!("{}: {labels:?} is not held", case.why));
            assert_eq!(found.inhibited, inhibited, "{}: {labels:?}", case.why);
        }
        // Those without a job are each other's neighbours in every case.
        alertmanager.resolve_all(told.iter().chain(&silenced)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_arrives_with_its_token_and_the_chat_reads_well() {
    let inbox = Inbox::open().await;
    let alertmanager = Alertmanager::shipped(&inbox).await;
    let own = [("app", "mentor"), ("job", "production"), ("severity", "critical")];
    let with = |more: &[(&str, &str)]| -> Labels {
        own.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let down = with(&[("alertname", "PostgresUnreachable"), ("source", "db"), ("sev", "SEV1"), ("symptom", "false")]);
    let symptom = with(&[("alertname", "MentorSystemErrors"), ("sev", "SEV2"), ("symptom", "true")]);
    alertmanager.fire_all([&down, &symptom]).await;
    let labels = inbox.page(PATIENCE, "firing", &[("alertname", "PostgresUnreachable")]).await;
    assert_eq!(labels, down, "all labels are there");
    let chat = eventually(PATIENCE, "the chat has it", async || inbox.at("/chat").pop().ok_or("nothing".into())).await;
    holds_for(Duration::from_secs(3), "the symptom is not told", async || {
        let told = [inbox.at("/page"), inbox.at("/chat")].map(|messages| messages.len());
        if told == [1, 1] { Ok(()) } else { Err(format!("{told:?} messages")) }
    })
    .await;
    let pages = inbox.at("/page");
    assert_eq!(pages[0].authorization, format!("Bearer {PAGER_TOKEN}"));
    assert_eq!(chat.body["attachments"][0]["title"], "[SEV1] PostgresUnreachable · mentor · production");
    assert_eq!(chat.body["attachments"][0]["color"], "danger");
    assert_eq!(
        chat.body["attachments"][0]["text"].as_str().unwrap_or_default().trim(),
        "*Something is amiss*\n3 &lt;things&gt; are amiss &amp; &lt;!channel&gt; users notice.\n\
         <https://runbooks.example/app.md#amiss|Runbook> · <https://grafana.example/d/rowmetry-app|Dashboard> · \
         <http://prometheus.example/graph|Expression>"
    );
}

/// The file's times are made short here, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_over_is_told_and_much_is_told_briefly() {
    let inbox = Inbox::open().await;
    let quick =
        shipped().replace("group_wait: 10s", "group_wait: 1s").replace("group_interval: 1m", "group_interval: 1s");
    assert_ne!(quick, shipped(), "the file's times are others than this test thinks");
    let alertmanager = Alertmanager::start(&quick, &inbox).await;
    let alert = |number: usize| -> Labels {
        let own =
            [("alertname", "MentorAiBuildsStuck"), ("app", "mentor"), ("job", "production"), ("severity", "critical")];
        let mut labels: Labels = own.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        labels.insert("tenant".into(), format!("tenant-{number:02}"));
        labels
    };
    let alerts: Vec<Labels> = (0..14).map(alert).collect();
    alertmanager.fire_all(&alerts).await;
    inbox.page(PATIENCE, "firing", &[("tenant", "tenant-13")]).await;
    let chat = eventually(PATIENCE, "the chat has it", async || inbox.at("/chat").pop().ok_or("nothing".into())).await;
    assert_eq!(
        chat.body["attachments"][0]["title"],
        "[CRITICAL] MentorAiBuildsStuck · mentor · production (14 firing)"
    );
    let text = chat.body["attachments"][0]["text"].as_str().unwrap_or_default();
    assert_eq!(text.matches("*Something is amiss*").count(), 10, "{text}");
    assert!(text.trim_end().ends_with("… and 4 more."), "{text}");
    alertmanager.resolve_all(&alerts).await;
    inbox.page(PATIENCE, "resolved", &[("tenant", "tenant-13")]).await;
    eventually(PATIENCE, "the chat says that it is over", async || {
        let chat = inbox.at("/chat").pop().ok_or("nothing")?;
        let said = &chat.body["attachments"][0];
        let text = said["text"].as_str().unwrap_or_default().trim();
        let title = "[RESOLVED] MentorAiBuildsStuck · mentor · production";
        let over =
            said["title"] == title && text.starts_with("Resolved after it was told: Something is amiss; Something");
        if over && text.ends_with("; and 4 more") && said["color"] == "good" { Ok(()) } else { Err(said.to_string()) }
    })
    .await;
}
