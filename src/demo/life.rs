//! One application's life: a database file of its own, lots of its own, and its own time to come.
//!
//! What one application does never depends on another, so a new script changes nothing for those that are there.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

use super::draw::{Lots, Value};
use super::script::{Action, Script, Statement};
use super::timetable::{First, Timetable};
use super::{DemoError, Progress};
use crate::family::Micros;

/// How long a writer waits for a reader or another writer to leave the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Events that are written in one transaction. A demo that could not write for a while catches up in such portions.
const EVENTS_A_TRANSACTION: usize = 2000;

/// What was due longer ago than this never happens: a demo that slept for a night does not live it through.
const CATCH_UP: Duration = Duration::from_secs(600);

/// One application with a history, and what it is going to do.
pub(super) struct Life {
    app: String,
    path: PathBuf,
    connection: SqliteConnection,
    actions: Vec<Action>,
    timetable: Timetable,
    lots: Lots,
}

impl Life {
    /// Makes the database, with its tables and a history that ends now. One of an earlier demo in the same folder is
    /// removed.
    pub(super) async fn begin(script: Script, folder: &Path, seed: u64, now: Micros) -> Result<Self, DemoError> {
        let path = folder.join(format!("{}.db", script.app));
        let mut lots = Lots::new(xxhash_rust::xxh3::xxh3_64_with_seed(script.app.as_bytes(), seed));
        let mut connection = open(&path).await?;
        let progress = Progress::default();
        begin(&mut connection).await?;
        sqlx::raw_sql(AssertSqlSafe(script.schema))
            .execute(&mut connection)
            .await
            .map_err(|source| DemoError::Statement { what: format!("schema of {}", script.app), source })?;
        for seeded in &script.seed {
            for _ in 0..seeded.seeds() {
                perform(&mut connection, seeded, now, &mut lots, &progress).await?;
            }
        }
        let (history, actions) = (script.history, script.actions);
        let mut past = Timetable::new(&actions, now - history.span, history.rate, First::InItsTime, &mut lots);
        while let Some((index, at)) = past.next_until(now, &actions, history.rate, &mut lots) {
            perform(&mut connection, &actions[index], at, &mut lots, &progress).await?;
        }
        commit(&mut connection).await?;
        let timetable = Timetable::new(&actions, now, 1.0, First::Soon, &mut lots);
        Ok(Life { app: script.app, path, connection, actions, timetable, lots })
    }

    /// The application's name.
    pub(super) fn app(&self) -> &str {
        &self.app
    }

    /// Where the database is, as a source's `url`.
    pub(super) fn database_url(&self) -> String {
        format!("sqlite:{}", self.path.display())
    }

    /// How many things happen in a second when the rate is 1.
    pub(super) fn events_per_second(&self) -> f64 {
        self.actions.iter().map(|action| 1e6 / action.every_micros()).sum()
    }

    /// Does what is due until `now`, at most one portion, in one transaction; answers how many events that were.
    pub(super) async fn advance(&mut self, now: Micros, rate: f64, progress: &Progress) -> Result<usize, DemoError> {
        let mut events = 0;
        self.timetable.leave_out_before(now - CATCH_UP.as_micros() as Micros);
        while events < EVENTS_A_TRANSACTION {
            let Some((index, at)) = self.timetable.next_until(now, &self.actions, rate, &mut self.lots) else { break };
            if events == 0 {
                begin(&mut self.connection).await?;
            }
            perform(&mut self.connection, &self.actions[index], at, &mut self.lots, progress).await?;
            events += 1;
        }
        if events > 0 {
            commit(&mut self.connection).await?;
        }
        Ok(events)
    }

    /// Closes the database.
    pub(super) async fn close(self) -> Result<(), DemoError> {
        self.connection.close().await.map_err(|source| DemoError::Statement { what: "close".into(), source })
    }

    /// The connection that it writes with.
    #[cfg(test)]
    pub(super) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }
}

async fn open(path: &Path) -> Result<SqliteConnection, DemoError> {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        // A file that is not there needs no removing; one that cannot be removed fails when it is opened or filled.
        let _ = std::fs::remove_file(PathBuf::from(name));
    }
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Off)
        .busy_timeout(BUSY_TIMEOUT)
        .disable_statement_logging()
        .connect()
        .await
        .map_err(|source| DemoError::Open { path: path.to_owned(), source })
}

async fn begin(connection: &mut SqliteConnection) -> Result<(), DemoError> {
    run_plain(connection, "begin immediate").await
}

async fn commit(connection: &mut SqliteConnection) -> Result<(), DemoError> {
    run_plain(connection, "commit").await
}

async fn run_plain(connection: &mut SqliteConnection, sql: &'static str) -> Result<(), DemoError> {
    let done = sqlx::query(sql).execute(connection).await;
    done.map(|_| ()).map_err(|source| DemoError::Statement { what: sql.into(), source })
}

/// Lets one thing happen at a time: draws its lots once, then runs its statements.
async fn perform(
    connection: &mut SqliteConnection,
    action: &Action,
    at: Micros,
    lots: &mut Lots,
    progress: &Progress,
) -> Result<(), DemoError> {
    let values = action.draw(at, lots);
    for statement in &action.statements {
        let rows = run_statement(connection, statement, &values)
            .await
            .map_err(|source| DemoError::Statement { what: action.name.clone(), source })?;
        progress.add(rows);
    }
    Ok(())
}

async fn run_statement(
    connection: &mut SqliteConnection,
    statement: &Statement,
    values: &[Value],
) -> Result<u64, sqlx::Error> {
    let mut query = sqlx::query(AssertSqlSafe(statement.sql.clone()));
    for index in &statement.values {
        query = match &values[*index] {
            Value::Text(text) => query.bind(text.clone()),
            Value::Whole(whole) => query.bind(*whole),
            Value::Real(real) => query.bind(*real),
        };
    }
    Ok(query.execute(connection).await?.rows_affected())
}
