//! A health endpoint that is asked over HTTP: one request, and rows of what came of it.
//!
//! Every answer is an outcome and none a failed read: that an application does not answer is what a probe is there to tell.
//! It never asks by itself, and neither a label nor a message holds a credential or a part of a body.

mod body;
pub mod credentials;
pub mod outcome;
mod pointers;
mod request;
pub mod trouble;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::time::Instant;
use tracing::{Instrument as _, Span};
use url::Url;

use self::outcome::Outcome;
use self::request::{Answer, Asker};
use self::trouble::Trouble;
use super::spend::Spend;
use super::trace;
use super::{Examination, Finding, Reader, Reading, Rows};
use crate::config::SourceSettings;
use crate::family::Micros;
use crate::pack;
use crate::telemetry::{Failure, Reason};

/// A health endpoint that is asked over HTTP.
pub struct Endpoint {
    name: String,
    url: SecretString,
    asker: Asker,
    spend: Spend,
}

impl Endpoint {
    /// Prepares it; nothing is connected yet.
    ///
    /// # Errors
    /// When the URL cannot be understood, or `ca_file` holds no certificates.
    pub fn new(settings: &SourceSettings) -> Result<Self, Failure> {
        let url = Url::parse(settings.url.expose_secret().trim()).ok();
        if url.as_ref().and_then(credentials::uri).is_none() {
            return Err(Failure::new(Reason::BadQuery, "the URL cannot be read; write https://host/path"));
        }
        Ok(Endpoint {
            name: settings.name.clone(),
            url: settings.url.clone(),
            asker: Asker::new(settings.ca_file.as_deref())?,
            spend: Spend::default(),
        })
    }

    /// What was asked of it so far.
    pub fn spend(&self) -> &Spend {
        &self.spend
    }

    /// The source's URL, with the path of a probe in place of its own.
    fn url(&self, path: Option<&str>) -> Url {
        let mut url = Url::parse(self.url.expose_secret().trim()).expect("it was read before");
        if let Some(path) = path {
            let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
            url.set_path(path);
            if query.is_some() {
                url.set_query(query);
            }
        }
        url
    }
}

/// Reads for one collector.
pub struct ProbeReader {
    of: Arc<Endpoint>,
    probe: pack::Probe,
    columns: Vec<String>,
}

/// What a request came to.
struct Probed {
    outcome: Outcome,
    status: Option<u16>,
    took: Option<Duration>,
    document: Option<Value>,
    detail: String,
}

impl ProbeReader {
    /// A reader of one collector.
    pub fn new(of: Arc<Endpoint>, wanted: &pack::Probe, columns: Vec<String>) -> Self {
        ProbeReader { of, probe: wanted.clone(), columns }
    }

    async fn probe(&self, url: &Url) -> Probed {
        let began = Instant::now();
        let span = trace::requested("GET", url);
        let asked = self.of.asker.get(url, &self.probe.accept, self.probe.timeout, &self.of.spend);
        let asked = asked.instrument(span.clone()).await;
        told(&span, &asked);
        match asked {
            Ok(answer) => {
                let took = Some(began.elapsed());
                let (outcome, document) = match Outcome::of_status(answer.status) {
                    Some(outcome) => (outcome, None),
                    None => outcome::judge(&self.probe, answer.status, &answer.content_type, &answer.body),
                };
                Probed {
                    outcome,
                    status: Some(answer.status),
                    took,
                    document,
                    detail: format!("HTTP {}", answer.status),
                }
            }
            Err(Trouble { outcome, status, detail }) => Probed { outcome, status, took: None, document: None, detail },
        }
    }

    /// The observation, then a row for each number that the answer reports.
    fn rows(&self, url: &Url, probed: &Probed) -> Rows {
        let mut rows = Rows::new(self.columns.len());
        let everywhere = |column: &str| match column {
            "target" => Some(self.of.name.as_str()),
            "endpoint" => Some(url.path()),
            _ => None,
        };
        for column in &self.columns {
            let own = match column.as_str() {
                "up" => probed.outcome.up().map(|up| u8::from(up).to_string()),
                "outcome" => Some(probed.outcome.to_string()),
                "http_status" => probed.status.map(|status| status.to_string()),
                "seconds" => probed.took.map(|took| took.as_secs_f64().to_string()),
                column => everywhere(column).map(str::to_owned),
            };
            rows.push(own.as_deref());
        }
        for found in probed.document.iter().flat_map(|document| pointers::numbers(&self.probe, document)) {
            for column in &self.columns {
                rows.push(everywhere(column).or_else(|| found.cell(column)));
            }
        }
        rows
    }
}

impl Probed {
    /// What an operator should know of it.
    fn note(&self, path: Option<&str>) -> Option<String> {
        let advice = self.outcome.advice()?;
        // The path is told where it is the pack's. One of the operator's own may be as secret as a password.
        let path = path.map(|path| format!("{}: ", path.split('?').next().unwrap_or_default())).unwrap_or_default();
        Some(format!("{path}{} ({}): {advice}", self.outcome, self.detail))
    }
}

#[async_trait]
impl Reader for ProbeReader {
    async fn read(&mut self, _now: Micros) -> Result<Reading, Failure> {
        let url = self.of.url(self.probe.path.as_deref());
        let probed = self.probe(&url).await;
        Ok(Reading {
            rows: Some(self.rows(&url, &probed)),
            note: probed.note(self.probe.path.as_deref()),
            ..Reading::default()
        })
    }

    async fn examine(&mut self, _now: Micros) -> Result<Examination, Failure> {
        let url = self.of.url(self.probe.path.as_deref());
        let probed = self.probe(&url).await;
        let mut facts = vec![format!("asks {} for {} ({})", shown(&url), url.path(), self.probe.accept)];
        let took = probed.took.map(|took| format!(", {:.3} s", took.as_secs_f64())).unwrap_or_default();
        facts.push(format!("one request now came to `{}` ({}{took})", probed.outcome, probed.detail));
        if let Some(document) = &probed.document {
            facts.extend(self.reported(document));
        }
        let fatal = false;
        let message = probed.note(self.probe.path.as_deref()).filter(|_| probed.outcome.up() != Some(true));
        let findings = message.map(|message| Finding { fatal, message, sql: None }).into_iter().collect();
        let sample = self.rows(&url, &probed);
        let rows_estimate = i64::try_from(sample.len()).ok();
        Ok(Examination { facts, findings, reads: Vec::new(), sample, rows_estimate })
    }
}

impl ProbeReader {
    /// Which of the values this answer has, and which it has not.
    fn reported(&self, document: &Value) -> Option<String> {
        let numbers = pointers::numbers(&self.probe, document);
        let is_there = |value: &&pack::Reported| numbers.iter().any(|found| std::ptr::eq(found.reported, *value));
        let lacking: Vec<&str> = self
            .probe
            .values
            .iter()
            .filter(|value| !is_there(value))
            .flat_map(|value| value.at.as_slice())
            .map(String::as_str)
            .collect();
        let found = format!("numbers reported: {}", numbers.len());
        match (self.probe.values.is_empty(), lacking.is_empty()) {
            (true, _) => None,
            (false, true) => Some(found),
            (false, false) => Some(format!("{found}; this answer has none at {}", lacking.join(", "))),
        }
    }
}

/// Tells a span what its request came to. What was received is no part of it.
fn told(span: &Span, asked: &Result<Answer, Trouble>) {
    let (status, trouble) = match asked {
        Ok(answer) => (Some(answer.status), Outcome::of_status(answer.status)),
        Err(trouble) => (trouble.status, Some(trouble.outcome)),
    };
    if let Some(status) = status {
        span.record("http.response.status_code", i64::from(status));
    }
    if let Some(outcome) = trouble {
        span.record("error.type", tracing::field::display(outcome));
        span.record("otel.status_code", "ERROR");
    }
}

/// Scheme, host and port.
fn shown(url: &Url) -> String {
    url.origin().ascii_serialization()
}

#[cfg(test)]
mod tests;
