//! PgBouncer's admin console as a source: one connection, one `SHOW` command at a time, over the simple protocol.
//!
//! The console is no database. It knows no prepared statements and no transactions, so nothing but plain commands is sent, and
//! no command but `SHOW`. Nothing here interprets a figure or keeps one.

mod answer;
mod failure;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::TryStreamExt;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Column as _, Connection, Row as _, ValueRef as _};
use tokio::sync::Mutex;

use super::postgres::address;
use super::spend::Spend;
use super::trace::{Peer, traced};
use super::{Examination, Reader, Reading, SAMPLE_ROWS};
use crate::config::SourceSettings;
use crate::family::Micros;
use crate::pack;
use crate::telemetry::{Failure, Reason};

use answer::Answer;
use failure::failure;

/// Rows that an answer may have: one for each pool of a user and a database. Beyond that it is no console that answers, or none
/// whose pools anybody could look at.
const ROW_LIMIT: usize = 20_000;

/// PgBouncer's admin console.
pub struct Console {
    options: PgConnectOptions,
    connect_timeout: Duration,
    /// The console has no time limit of its own, so this one is kept here.
    command_timeout: Duration,
    spend: Spend,
    peer: Peer,
    /// The one connection, while nobody asks. A command that is dropped half-way takes its connection with it.
    slot: Mutex<Option<PgConnection>>,
}

impl Console {
    /// Prepares it; nothing is connected yet.
    ///
    /// # Errors
    /// When the URL cannot be understood; the message does not contain it.
    pub fn new(settings: &SourceSettings) -> Result<Self, Failure> {
        // `sslmode=verify-ca` asks for the process-wide provider. A second call changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let options = address::options(&settings.url).map_err(|message| Failure::new(Reason::BadQuery, message))?;
        let peer = Peer {
            system: "pgbouncer",
            namespace: options.get_database().unwrap_or_default().to_owned(),
            address: Some(options.get_host().to_owned()),
            port: Some(options.get_port()),
        };
        Ok(Console {
            options,
            peer,
            connect_timeout: settings.connect_timeout,
            command_timeout: settings.statement_timeout,
            spend: Spend::default(),
            slot: Mutex::new(None),
        })
    }

    /// What was asked of it so far.
    pub fn spend(&self) -> &Spend {
        &self.spend
    }

    /// What the console answers to `SHOW` and this word.
    async fn show(&self, word: &str) -> Result<Answer, Failure> {
        if word.is_empty() || !word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_') {
            return Err(Failure::new(
                Reason::BadQuery,
                "the word after SHOW has A-Z and _ only; nothing was sent".to_owned(),
            ));
        }
        traced(self.peer.asked("SHOW", Some(word)), self.asked(word)).await
    }

    async fn asked(&self, word: &str) -> Result<Answer, Failure> {
        let mut slot = self.slot.lock().await;
        if let Some(kept) = slot.take() {
            match self.ask(kept, word).await {
                Ok((connection, answer)) => {
                    *slot = Some(connection);
                    return Ok(answer);
                }
                // A restart may have closed it while it idled: then, and only then, connect anew.
                Err(failure) if failure.reason == Reason::Unreachable => {}
                Err(failure) => return Err(failure),
            }
        }
        let (connection, answer) = self.ask(self.connect().await?, word).await?;
        *slot = Some(connection);
        Ok(answer)
    }

    async fn connect(&self) -> Result<PgConnection, Failure> {
        match tokio::time::timeout(self.connect_timeout, PgConnection::connect_with(&self.options)).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(failure(&error, "connecting to the console")),
            Err(_) => Err(Failure::new(
                Reason::Unreachable,
                format!(
                    "no connection to the console within {} (`connect_timeout`); the pooler may be down, paused or unreachable",
                    crate::duration::format(self.connect_timeout)
                ),
            )),
        }
    }

    /// Sends one command. The connection comes back with a whole answer only: a refusal costs it, which is cheap and rare.
    async fn ask(&self, mut connection: PgConnection, word: &str) -> Result<(PgConnection, Answer), Failure> {
        self.spend.add(1);
        let read = async {
            let mut answer = Answer::default();
            let mut rows = sqlx::raw_sql(AssertSqlSafe(format!("SHOW {word}"))).fetch(&mut connection);
            while let Some(row) = rows.try_next().await? {
                if answer.is_empty() {
                    answer.names = row.columns().iter().map(|column| column.name().to_owned()).collect();
                }
                if answer.len() == ROW_LIMIT {
                    return Ok(None);
                }
                answer.push(cells(&row)?);
            }
            Ok(Some(answer))
        };
        let doing = format!("SHOW {word}");
        match tokio::time::timeout(self.command_timeout, read).await {
            Ok(Ok(Some(answer))) => Ok((connection, answer)),
            Ok(Ok(None)) => Err(Failure::new(
                Reason::BadReply,
                format!("{doing}: the answer has more than {ROW_LIMIT} rows; leave this collector out with `skip`"),
            )),
            Ok(Err(error)) => Err(failure(&error, &doing)),
            Err(_) => Err(Failure::new(
                Reason::Silent,
                format!(
                    "{doing}: the pooler said nothing for {} (`statement_timeout`); the connection was given up",
                    crate::duration::format(self.command_timeout)
                ),
            )),
        }
    }
}

/// Every value as the console prints it, whatever its type.
fn cells(row: &PgRow) -> Result<Vec<Option<String>>, sqlx::Error> {
    (0..row.len())
        .map(|column| {
            let value = row.try_get_raw(column)?;
            if value.is_null() {
                return Ok(None);
            }
            value.as_str().map(|text| Some(text.to_owned())).map_err(sqlx::Error::Decode)
        })
        .collect()
}

/// Reads one `SHOW` command for one collector.
pub struct ShowReader {
    console: Arc<Console>,
    command: String,
    columns: Vec<String>,
}

impl ShowReader {
    /// A reader of one command, whose cells stand in the order of `columns`.
    pub fn new(console: Arc<Console>, show: &pack::Show, columns: Vec<String>) -> Self {
        ShowReader { console, command: show.command.clone(), columns }
    }
}

#[async_trait]
impl Reader for ShowReader {
    async fn read(&mut self, _now: Micros) -> Result<Reading, Failure> {
        let answer = self.console.show(&self.command).await?;
        Ok(Reading { rows: Some(answer.rows(&self.columns)), ..Reading::default() })
    }

    async fn examine(&mut self, _now: Micros) -> Result<Examination, Failure> {
        let version = self.console.show("VERSION").await?;
        let answer = self.console.show(&self.command).await?;
        let mut found = Examination { rows_estimate: i64::try_from(answer.len()).ok(), ..Examination::default() };
        found.facts.push(match version.first() {
            Some(version) => format!("SHOW {} of {version}: {} rows", self.command, answer.len()),
            None => format!("SHOW {}: {} rows", self.command, answer.len()),
        });
        let missing = answer.missing(&self.columns);
        if !answer.is_empty() && !missing.is_empty() {
            found.facts.push(format!("this version does not tell {}; their metrics stay absent", missing.join(", ")));
        }
        found.sample = answer.first_rows(SAMPLE_ROWS as usize).rows(&self.columns);
        Ok(found)
    }
}
