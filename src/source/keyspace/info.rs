//! Redis's own figures: the fields of INFO, the time of a PING, and how many keys each logical database holds.
//!
//! What the service does not tell stays NULL; nothing is made up for it.

use std::sync::Arc;

use async_trait::async_trait;

use super::Keyspace;
use crate::family::Micros;
use crate::pack;
use crate::source::trace::traced;
use crate::source::{Examination, Finding, Reader, Reading, Rows};
use crate::telemetry::{Failure, Reason};

/// The column of a PING's time.
const PING: &str = "ping_seconds";

/// The columns of the rows of logical databases.
const DATABASE: [&str; 3] = ["db", "db_keys", "db_expires"];

/// A column of this ending is 1 where the field before it says that all is well, and 0 where it says anything else.
const WELL: &str = "_ok";

/// Words by which Redis says so: `rdb_last_bgsave_status:ok`, `master_link_status:up`.
const WELL_WORDS: [&str; 2] = ["ok", "up"];

/// Reads INFO.
pub struct InfoReader {
    keyspace: Arc<dyn Keyspace>,
    sections: Vec<String>,
    columns: Vec<String>,
}

/// What the service answered.
#[derive(Debug, Default)]
struct Told {
    fields: Vec<(String, String)>,
    ping: Option<f64>,
    size: Option<u64>,
    /// Commands that the user may not run.
    refused: Vec<Failure>,
}

impl InfoReader {
    /// A reader of one `info` collector. `columns` are those that metrics use.
    pub fn new(keyspace: Arc<dyn Keyspace>, info: &pack::Info, columns: Vec<String>) -> Self {
        InfoReader { keyspace, sections: info.sections.clone(), columns }
    }

    fn wants(&self, columns: &[&str]) -> bool {
        self.columns.iter().any(|column| columns.contains(&column.as_str()))
    }

    fn wants_fields(&self) -> bool {
        self.columns.iter().any(|column| column != PING)
    }

    /// Asks for no more than is used.
    async fn ask(&self) -> Result<Told, Failure> {
        let mut told = Told::default();
        let mut asked = 0;
        if self.wants_fields() {
            asked += 1;
            let span = self.keyspace.peer().asked("INFO", None);
            let fields = traced(span, self.keyspace.info(&self.sections)).await;
            told.fields = told.permitted(fields)?.unwrap_or_default();
        }
        if self.wants(&DATABASE) && databases(&told.fields).next().is_none() {
            asked += 1;
            let size = traced(self.keyspace.peer().asked("DBSIZE", None), self.keyspace.size()).await;
            told.size = told.permitted(size)?;
        }
        if self.wants(&[PING]) {
            // Last, on the connection of those before: over HTTPS a new one takes several times as long as Redis does.
            asked += 1;
            let ping = traced(self.keyspace.peer().asked("PING", None), self.keyspace.ping()).await;
            told.ping = told.permitted(ping)?;
        }
        match told.refused.first() {
            Some(refused) if told.refused.len() == asked => Err(refused.clone()),
            _ => Ok(told),
        }
    }

    fn rows(&self, told: &Told) -> Rows {
        let mut rows = Rows::new(self.columns.len());
        for column in &self.columns {
            rows.push(told.cell(column).as_deref());
        }
        let own = format!("db{}", self.keyspace.database());
        let mut listed: Vec<(&str, Option<u64>, Option<u64>)> = databases(&told.fields).collect();
        if !listed.is_empty() && listed.iter().all(|(name, ..)| *name != own) {
            // INFO leaves out what is empty.
            listed.push((&own, Some(0), Some(0)));
        } else if let Some(size) = told.size {
            listed.push((&own, Some(size), None));
        }
        for (name, keys, expires) in listed.into_iter().filter(|_| self.wants(&DATABASE)) {
            for column in &self.columns {
                match column.as_str() {
                    "db" => rows.push(Some(name)),
                    "db_keys" => rows.push(keys.map(|keys| keys.to_string()).as_deref()),
                    "db_expires" => rows.push(expires.map(|keys| keys.to_string()).as_deref()),
                    _ => rows.push(None),
                }
            }
        }
        rows
    }
}

#[async_trait]
impl Reader for InfoReader {
    async fn read(&mut self, _now: Micros) -> Result<Reading, Failure> {
        let told = self.ask().await?;
        let note = told.refused.iter().map(|failure| failure.message.as_str()).collect::<Vec<_>>().join(". ");
        Ok(Reading {
            rows: Some(self.rows(&told)),
            note: (!note.is_empty()).then(|| format!("what this user may not ask is left out. {note}")),
            ..Reading::default()
        })
    }

    async fn examine(&mut self, _now: Micros) -> Result<Examination, Failure> {
        let told = self.ask().await?;
        let mut examination = Examination { sample: self.rows(&told), ..Examination::default() };
        let missing: Vec<&str> = self
            .columns
            .iter()
            .map(String::as_str)
            .filter(|column| !DATABASE.contains(column) && told.cell(column).is_none())
            .collect();
        examination.facts.push(format!("INFO has {} fields here", told.fields.len()));
        if !missing.is_empty() {
            examination.facts.push(format!("not told by this service, so absent: {}", missing.join(", ")));
        }
        let finding = |failure: &Failure| Finding { fatal: false, message: failure.message.clone(), sql: None };
        examination.findings.extend(told.refused.iter().map(finding));
        Ok(examination)
    }
}

impl Told {
    /// An answer; none where the user may not ask, or the service does not have the command.
    fn permitted<T>(&mut self, answer: Result<T, Failure>) -> Result<Option<T>, Failure> {
        match answer {
            Ok(answer) => Ok(Some(answer)),
            Err(failure) if matches!(failure.reason, Reason::Forbidden | Reason::BadQuery) => {
                self.refused.push(failure);
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// A cell of the row that is the server's.
    fn cell(&self, column: &str) -> Option<String> {
        if column == PING {
            return self.ping.map(|seconds| seconds.to_string());
        }
        if DATABASE.contains(&column) {
            return None;
        }
        if let Some(value) = self.field(column) {
            return Some(value.to_owned());
        }
        let word = self.field(column.strip_suffix(WELL)?)?;
        Some(u8::from(WELL_WORDS.contains(&word)).to_string())
    }
}

/// The logical databases that INFO lists (`db0:keys=3,expires=1,avg_ttl=0`): name, keys, and keys that expire.
fn databases(fields: &[(String, String)]) -> impl Iterator<Item = (&str, Option<u64>, Option<u64>)> {
    fields.iter().filter_map(|(name, value)| {
        let number = name.strip_prefix("db")?;
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let part = |wanted: &str| {
            let mut parts = value.split(',').filter_map(|part| part.split_once('='));
            parts.find(|(name, _)| *name == wanted).and_then(|(_, count)| count.parse().ok())
        };
        Some((name.as_str(), part("keys"), part("expires")))
    })
}

#[cfg(test)]
mod tests;
