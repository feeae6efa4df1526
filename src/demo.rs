//! A made-up life for the built-in packs: an SQLite file with the tables of the applications, some history, and traffic
//! that goes on.
//!
//! What happens is data (`packs/demo/*.yaml`); this code draws lots and keeps the time. The same seed and the same start
//! make the same rows. Nothing here reads the database for metrics, and nothing but the demo uses it.

mod draw;
mod script;
mod timetable;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

use crate::family::Micros;
use draw::{Lots, Value};
use script::{Action, Script, Statement};
use timetable::Timetable;

/// How often what is due is written, so rows lie in the table at most so long after their time.
const STEP: Duration = Duration::from_millis(200);

/// How long a writer waits for a reader or another writer to leave the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Events that are written in one transaction. A demo that could not write for a while catches up in such portions.
const EVENTS_A_TRANSACTION: usize = 2000;

/// What was due longer ago than this never happens: a demo that slept for a night does not live it through.
const CATCH_UP: Duration = Duration::from_secs(600);

/// The time now, in microseconds since 1970.
pub type Clock = Arc<dyn Fn() -> Micros + Send + Sync>;

/// Why the demo cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The words of the demo are wrong, which a test of the program rules out.
    #[error("the demo's script {file} cannot be used: {reason}")]
    Script {
        /// Which file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The database file could not be made or opened.
    #[error("the demo's database {} cannot be opened; see that its folder exists and can be written", .path.display())]
    Open {
        /// Where it was to be.
        path: PathBuf,
        /// What SQLite said.
        source: sqlx::Error,
    },
    /// A statement of the script failed.
    #[error("`{what}` of the demo failed; see that its disk has room and that no other program writes its database")]
    Statement {
        /// The action or the part of the script.
        what: String,
        /// What SQLite said.
        source: sqlx::Error,
    },
}

/// What the traffic has done so far. Counted while it runs.
#[derive(Debug, Default)]
pub struct Progress {
    statements: AtomicU64,
    rows: AtomicU64,
}

impl Progress {
    /// The counts now.
    pub fn summary(&self) -> TrafficSummary {
        TrafficSummary { statements: self.statements.load(Ordering::Relaxed), rows: self.rows.load(Ordering::Relaxed) }
    }

    fn add(&self, rows: u64) {
        self.statements.fetch_add(1, Ordering::Relaxed);
        self.rows.fetch_add(rows, Ordering::Relaxed);
    }
}

/// Counts of what the traffic did, its history left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrafficSummary {
    /// Statements that were run.
    pub statements: u64,
    /// Rows that they wrote or changed.
    pub rows: u64,
}

/// A database with a history, and the traffic that is to come.
pub struct Traffic {
    path: PathBuf,
    connection: SqliteConnection,
    actions: Vec<Action>,
    timetable: Timetable,
    lots: Lots,
    clock: Clock,
    progress: Arc<Progress>,
}

impl Traffic {
    /// Makes the database in a folder, with its tables and a history that ends now. A database of an earlier demo in the
    /// same folder is removed.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub async fn prepare(folder: &Path, seed: u64, clock: Clock) -> Result<Self, DemoError> {
        let scripts = script::builtin()?;
        let path = folder.join("demo.db");
        let mut connection = open(&path).await?;
        let now = clock();
        let mut lots = Lots::new(seed);
        let progress = Progress::default();
        begin(&mut connection).await?;
        for script in &scripts {
            sqlx::raw_sql(AssertSqlSafe(script.schema.clone()))
                .execute(&mut connection)
                .await
                .map_err(|source| DemoError::Statement { what: format!("schema of {}", script.app), source })?;
            for seeded in &script.seed {
                for _ in 0..seeded.seeds() {
                    perform(&mut connection, seeded, now, &mut lots, &progress).await?;
                }
            }
        }
        let history = Script::longest_history(&scripts);
        let actions: Vec<Action> = scripts.into_iter().flat_map(|script| script.actions).collect();
        let mut past = Timetable::new(&actions, now - history.span, history.rate, &mut lots);
        while let Some((index, at)) = past.next_until(now, &actions, history.rate, &mut lots) {
            perform(&mut connection, &actions[index], at, &mut lots, &progress).await?;
        }
        commit(&mut connection).await?;
        let timetable = Timetable::new(&actions, now, 1.0, &mut lots);
        Ok(Traffic { path, connection, actions, timetable, lots, clock, progress: Arc::default() })
    }

    /// Where the database is, as a source's `url`.
    pub fn database_url(&self) -> String {
        format!("sqlite:{}", self.path.display())
    }

    /// Counts that go on while the traffic runs.
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// How many things happen in a second when the rate is 1.
    pub fn events_per_second(&self) -> f64 {
        self.actions.iter().map(|action| 1e6 / action.every_micros()).sum()
    }

    /// Lets things happen, `rate` times as often as the script says, until `shutdown` is ready.
    ///
    /// # Errors
    /// When the database cannot be written any more.
    pub async fn run(mut self, rate: f64, shutdown: impl Future<Output = ()>) -> Result<TrafficSummary, DemoError> {
        let mut shutdown = std::pin::pin!(shutdown);
        let mut ticks = tokio::time::interval(STEP);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                _ = ticks.tick() => {
                    let now = (self.clock)();
                    while self.advance(now, rate).await? == EVENTS_A_TRANSACTION {}
                }
            }
        }
        self.close().await
    }

    /// Writes what is due until `now`, at most one portion; answers how many events that were.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn advance(&mut self, now: Micros, rate: f64) -> Result<usize, DemoError> {
        let mut events = 0;
        self.timetable.leave_out_before(now - CATCH_UP.as_micros() as Micros);
        while events < EVENTS_A_TRANSACTION {
            let Some((index, at)) = self.timetable.next_until(now, &self.actions, rate, &mut self.lots) else { break };
            if events == 0 {
                begin(&mut self.connection).await?;
            }
            perform(&mut self.connection, &self.actions[index], at, &mut self.lots, &self.progress).await?;
            events += 1;
        }
        if events > 0 {
            commit(&mut self.connection).await?;
        }
        Ok(events)
    }

    /// Closes the database.
    ///
    /// # Errors
    /// When the last rows could not be written.
    pub async fn close(self) -> Result<TrafficSummary, DemoError> {
        let summary = self.progress.summary();
        self.connection.close().await.map_err(|source| DemoError::Statement { what: "close".into(), source })?;
        Ok(summary)
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

#[cfg(test)]
mod tests;
