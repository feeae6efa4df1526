//! An application's SQLite file, written.
//!
//! It makes, writes and asks. What a statement is for is not its business.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::TryStreamExt as _;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteRow, SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row, Sqlite};

use super::{ROWS, failed};
use crate::demo::DemoError;
use crate::demo::draw::{Value, time_text};
use crate::demo::script::Statement;

/// How long a writer waits for a reader or another writer to leave the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A file that is open for writing.
pub(in crate::demo) struct SqliteFile {
    path: PathBuf,
    connection: SqliteConnection,
}

impl SqliteFile {
    /// Makes a file in place of what was there.
    pub(super) async fn create(path: PathBuf) -> Result<Self, DemoError> {
        for suffix in ["", "-wal", "-shm"] {
            let mut name = path.as_os_str().to_owned();
            name.push(suffix);
            // A file that is not there needs no removing; one that cannot be removed fails when it is opened or filled.
            let _ = std::fs::remove_file(PathBuf::from(name));
        }
        let opened = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Off)
            .busy_timeout(BUSY_TIMEOUT)
            .disable_statement_logging()
            .connect()
            .await;
        match opened {
            Ok(connection) => Ok(SqliteFile { path, connection }),
            Err(source) => Err(DemoError::Open { path, source }),
        }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Begins a transaction that writes.
    pub(super) async fn begin(&mut self) -> Result<(), DemoError> {
        self.plain("begin immediate", "begin immediate".into()).await
    }

    /// Ends it.
    pub(super) async fn commit(&mut self) -> Result<(), DemoError> {
        self.plain("commit", "commit".into()).await
    }

    /// Runs statements that take no values.
    pub(super) async fn plain(&mut self, what: &str, sql: String) -> Result<(), DemoError> {
        let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut self.connection).await;
        done.map(drop).map_err(|source| failed(what, source))
    }

    /// Runs a statement; answers how many rows it wrote or changed.
    pub(super) async fn write(
        &mut self,
        what: &str,
        statement: &Statement,
        values: &[Value],
    ) -> Result<u64, DemoError> {
        let done = query(statement, values).execute(&mut self.connection).await;
        done.map(|done| done.rows_affected()).map_err(|source| failed(what, source))
    }

    /// The first rows that a question brings, each cell as text.
    pub(super) async fn ask(
        &mut self,
        what: &str,
        statement: &Statement,
        values: &[Value],
    ) -> Result<Vec<Vec<String>>, DemoError> {
        let mut answer = query(statement, values).fetch(&mut self.connection);
        let mut rows = Vec::new();
        while rows.len() < ROWS {
            let Some(row) = answer.try_next().await.map_err(|source| failed(what, source))? else { break };
            rows.push(cells(&row).map_err(|source| failed(what, source))?);
        }
        Ok(rows)
    }

    /// Closes it.
    pub(super) async fn close(self) -> Result<(), DemoError> {
        self.connection.close().await.map_err(|source| failed("close", source))
    }

    /// Its connection.
    #[cfg(test)]
    pub(super) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }
}

fn query(statement: &Statement, values: &[Value]) -> sqlx::query::Query<'static, Sqlite, SqliteArguments> {
    let mut query = sqlx::query(AssertSqlSafe(statement.sql.clone()));
    for index in &statement.values {
        query = match &values[*index] {
            Value::Text(text) => query.bind(text.clone()),
            Value::Whole(whole) => query.bind(*whole),
            Value::Real(real) => query.bind(*real),
            Value::Flag(flag) => query.bind(i64::from(*flag)),
            Value::Time(at) => query.bind(time_text(*at)),
        };
    }
    query
}

/// SQLite gives any value as text; NULL is the empty one.
fn cells(row: &SqliteRow) -> Result<Vec<String>, sqlx::Error> {
    (0..row.len()).map(|index| Ok(row.try_get_unchecked::<Option<String>, _>(index)?.unwrap_or_default())).collect()
}
