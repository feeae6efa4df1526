//! What Alertmanager sends, as the pager keeps it: one message an alert
//! (<https://prometheus.io/docs/alerting/latest/configuration/#webhook_config>).
//!
//! Text is cut to a bound. Nothing here judges what it says.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::family::Micros;

/// Characters of one text.
const TEXT_CHARS: usize = 2000;

/// Labels or annotations of one alert.
const TEXTS: usize = 64;

/// Alerts of one message.
const ALERTS: usize = 500;

/// A message about one alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Sent {
    /// The receiver of Alertmanager's configuration; `slack` for what came as to Slack.
    pub(super) receiver: String,
    /// `firing` or `resolved`.
    pub(super) status: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
    /// When it came, in milliseconds since 1970.
    pub(super) at: i64,
    /// Since when it fires, as Alertmanager says.
    pub(super) starts_at: String,
    /// The expression, where it can be looked at.
    pub(super) url: String,
}

#[derive(Deserialize)]
struct Webhook {
    #[serde(default)]
    receiver: String,
    alerts: Vec<Alert>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Alert {
    status: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    starts_at: String,
    #[serde(default, rename = "generatorURL")]
    generator_url: String,
}

#[derive(Deserialize)]
struct Slack {
    #[serde(default)]
    channel: String,
    #[serde(default)]
    text: String,
    #[serde(default)]
    attachments: Vec<Attachment>,
}

#[derive(Deserialize)]
struct Attachment {
    #[serde(default)]
    title: String,
    #[serde(default)]
    title_link: String,
    #[serde(default)]
    text: String,
    #[serde(default)]
    fallback: String,
    #[serde(default)]
    color: String,
}

/// The messages of a webhook's body.
pub(super) fn from_webhook(body: &[u8], now: Micros) -> Result<Vec<Sent>, serde_json::Error> {
    let webhook: Webhook = serde_json::from_slice(body)?;
    let receiver = cut(webhook.receiver);
    let sent = webhook.alerts.into_iter().take(ALERTS).map(|alert| Sent {
        receiver: receiver.clone(),
        status: cut(alert.status),
        labels: bounded(alert.labels),
        annotations: bounded(alert.annotations),
        at: now / 1000,
        starts_at: cut(alert.starts_at),
        url: cut(alert.generator_url),
    });
    Ok(sent.collect())
}

/// The messages of a body for Slack's incoming webhooks; whether it fires is told by the colour or the title.
pub(super) fn from_slack(body: &[u8], now: Micros) -> Result<Vec<Sent>, serde_json::Error> {
    let slack: Slack = serde_json::from_slice(body)?;
    let message = |title: String, text: String, link: String, is_resolved: bool| Sent {
        receiver: "slack".into(),
        status: if is_resolved { "resolved" } else { "firing" }.into(),
        labels: BTreeMap::from([("channel".to_owned(), cut(slack.channel.clone()))]),
        annotations: BTreeMap::from([("summary".to_owned(), cut(title)), ("description".to_owned(), cut(text))]),
        at: now / 1000,
        starts_at: String::new(),
        url: cut(link),
    };
    if slack.attachments.is_empty() {
        let is_resolved = slack.text.to_lowercase().contains("resolved");
        return Ok(vec![message(slack.text.clone(), String::new(), String::new(), is_resolved)]);
    }
    let sent = slack.attachments.iter().take(ALERTS).map(|one| {
        let title = if one.title.is_empty() { &one.fallback } else { &one.title };
        let is_resolved = one.color == "good" || title.to_lowercase().contains("resolved");
        message(title.clone(), one.text.clone(), one.title_link.clone(), is_resolved)
    });
    Ok(sent.collect())
}

fn bounded(texts: BTreeMap<String, String>) -> BTreeMap<String, String> {
    texts.into_iter().take(TEXTS).map(|(name, text)| (cut(name), cut(text))).collect()
}

fn cut(text: String) -> String {
    match text.char_indices().nth(TEXT_CHARS) {
        Some((end, _)) => text[..end].to_owned(),
        None => text,
    }
}
