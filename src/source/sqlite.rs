//! SQLite files, read through one read-only connection.
//!
//! SQLite has one writer at a time, so rows of an ordinary table get their rowids in commit order: the rowid of the last
//! row read is a cursor, and a read costs the new rows alone. Three things break that order, and each is noticed because
//! the position holds the row's key beside its rowid. When the last row is deleted its rowid is given out again;
//! `VACUUM` may renumber a table without an `INTEGER PRIMARY KEY`; and a restored file goes back. Then the row at the cursor
//! is another one or gone, and that read sweeps the rows from the floor on instead (overlap), while the keys that the
//! collector remembers keep it exact. An application that gives out its integer keys itself, and not in rising order, is
//! not noticed.
//!
//! A row that is changed keeps its rowid. So rowid mode needs a time that is `NOT NULL` and neither `filter` nor `transition`:
//! else a row may become countable after the cursor passed it. Views, `WITHOUT ROWID` and virtual tables have no
//! rowid. All these are read by overlap: every row from the floor on, in each read.
//!
//! It never writes (the file is opened read-only), and it gives no meaning to a cell.

mod cells;
mod examine;
mod query;
mod read;
mod table;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use secrecy::ExposeSecret;
use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::spend::Spend;
use super::trace::{Peer, traced};
use super::{Examination, Moment, Rows, RowsPage, RowsQuery, RowsRange, SnapshotQuery, Source, WindowCount};
use crate::config::SourceSettings;
use crate::family::Micros;
use crate::pack::System;
use crate::telemetry::{Failure, Reason};

/// Steps of SQLite's virtual machine between two looks at whether the read was given up: some microseconds.
const STEPS_PER_LOOK: i32 = 1000;

/// One SQLite file.
pub struct SqliteSource {
    name: String,
    path: PathBuf,
    statement_timeout: Duration,
    lock_timeout: Duration,
    spend: Spend,
    peer: Peer,
    /// One read at a time.
    turn: Semaphore,
    kept: Mutex<Option<Session>>,
}

/// An open connection and the file it was opened on.
struct Session {
    connection: SqliteConnection,
    identity: String,
    given_up: Arc<AtomicBool>,
}

/// A session that is not kept runs nothing any more, also when whoever asked went away.
impl Drop for Session {
    fn drop(&mut self) {
        self.given_up.store(true, Ordering::Relaxed);
    }
}

impl SqliteSource {
    /// A source for a file; it need not exist yet. The URL is `sqlite:path`, `sqlite://path`, `file:path` or a bare path.
    ///
    /// # Errors
    /// When the URL names no file: a database in memory belongs to one process.
    pub fn new(settings: &SourceSettings) -> Result<Self, Failure> {
        let url = settings.url.expose_secret();
        let rest = ["sqlite://", "sqlite:", "file://", "file:"].iter().find_map(|scheme| url.strip_prefix(scheme));
        let path = rest.unwrap_or(url).split('?').next().unwrap_or_default();
        if path.is_empty() || path.contains(":memory:") || url.contains("mode=memory") {
            let message = "the source's URL names no SQLite file; write `sqlite:` and the file's path";
            return Err(Failure::new(Reason::Unreachable, message));
        }
        let path = PathBuf::from(path);
        let namespace = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(SqliteSource {
            name: settings.name.clone(),
            path,
            peer: Peer { system: "sqlite", namespace, ..Peer::default() },
            statement_timeout: settings.statement_timeout,
            lock_timeout: settings.lock_timeout,
            spend: Spend::default(),
            turn: Semaphore::new(1),
            kept: Mutex::new(None),
        })
    }

    /// The kept connection, or a new one, within a transaction of its own.
    async fn begin(&self) -> Result<(SemaphorePermit<'_>, Session), Failure> {
        let turn = self.turn.acquire().await.expect("the semaphore is never closed");
        let identity = identity(&self.path).await?;
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A file is no server that is sent statements: each read counts as one.
        self.spend.add(1);
        let mut session = match kept.filter(|session| session.identity == identity) {
            Some(session) => session,
            None => self.open(identity).await?,
        };
        sqlx::query("begin").execute(&mut session.connection).await.map_err(|error| read::failure(&error))?;
        Ok((turn, session))
    }

    async fn open(&self, identity: String) -> Result<Session, Failure> {
        let options = SqliteConnectOptions::new()
            .filename(&self.path)
            .read_only(true)
            .create_if_missing(false)
            .busy_timeout(self.lock_timeout)
            .pragma("query_only", "on")
            .disable_statement_logging();
        let mut connection = options.connect().await.map_err(|error| read::failure(&error))?;
        let given_up = Arc::new(AtomicBool::new(false));
        let asked = given_up.clone();
        let mut handle = connection.lock_handle().await.map_err(|error| read::failure(&error))?;
        handle.set_progress_handler(STEPS_PER_LOOK, move || !asked.load(Ordering::Relaxed));
        drop(handle);
        Ok(Session { connection, identity, given_up })
    }

    /// Ends a read: its transaction, and the connection too when it failed.
    async fn end<T>(&self, mut session: Session, result: Result<T, Failure>) -> Result<T, Failure> {
        if result.is_ok() && sqlx::query("rollback").execute(&mut session.connection).await.is_ok() {
            *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(session);
        }
        result
    }

    /// Gives a read its time. What runs beyond it is interrupted at its next look.
    async fn limited<T>(
        &self,
        given_up: Arc<AtomicBool>,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        match tokio::time::timeout(self.statement_timeout, work).await {
            Ok(result) => result,
            Err(_) => {
                given_up.store(true, Ordering::Relaxed);
                let limit = crate::duration::format(self.statement_timeout);
                let message = format!(
                    "the read was not done within {limit}; an index, a longer interval or a longer statement_timeout helps"
                );
                Err(Failure::new(Reason::Timeout, message))
            }
        }
    }
}

#[async_trait]
impl Source for SqliteSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn system(&self) -> System {
        System::Sqlite
    }

    fn spend(&self) -> &Spend {
        &self.spend
    }

    async fn moment(&self) -> Result<Moment, Failure> {
        traced(self.peer.asked("SELECT", None), async {
            let (_turn, mut session) = self.begin().await?;
            let work = read::moment(&mut session.connection, &session.identity);
            let result = self.limited(session.given_up.clone(), work).await;
            self.end(session, result).await
        })
        .await
    }

    async fn existing_tables(&self, tables: &[String]) -> Result<Vec<String>, Failure> {
        traced(self.peer.asked("SELECT", Some("sqlite_schema")), async {
            let (_turn, mut session) = self.begin().await?;
            let work = table::existing(&mut session.connection, tables);
            let result = self.limited(session.given_up.clone(), work).await;
            self.end(session, result).await
        })
        .await
    }

    async fn read_rows(&self, query: &RowsQuery, range: &RowsRange) -> Result<RowsPage, Failure> {
        traced(self.peer.asked("SELECT", Some(&query.table)), async {
            let (_turn, mut session) = self.begin().await?;
            let work = read::rows(&mut session.connection, &session.identity, query, range);
            let result = self.limited(session.given_up.clone(), work).await;
            self.end(session, result).await
        })
        .await
    }

    async fn read_snapshot(&self, query: &SnapshotQuery) -> Result<Rows, Failure> {
        traced(self.peer.asked("SELECT", None), async {
            let (_turn, mut session) = self.begin().await?;
            let work = read::snapshot(&mut session.connection, query);
            let result = self.limited(session.given_up.clone(), work).await;
            self.end(session, result).await
        })
        .await
    }

    async fn count_rows(&self, query: &RowsQuery, from: Micros, until: Micros) -> Result<WindowCount, Failure> {
        traced(self.peer.asked("SELECT", Some(&query.table)), async {
            let (_turn, mut session) = self.begin().await?;
            let work = read::count(&mut session.connection, query, from, until);
            let result = self.limited(session.given_up.clone(), work).await;
            self.end(session, result).await
        })
        .await
    }

    async fn examine_rows(&self, query: &RowsQuery) -> Result<Examination, Failure> {
        let (_turn, mut session) = self.begin().await?;
        let work = examine::rows(&mut session.connection, query);
        let result = self.limited(session.given_up.clone(), work).await;
        self.end(session, result).await
    }

    async fn examine_snapshot(&self, query: &SnapshotQuery) -> Result<Examination, Failure> {
        let (_turn, mut session) = self.begin().await?;
        let work = examine::snapshot(&mut session.connection, query);
        let result = self.limited(session.given_up.clone(), work).await;
        self.end(session, result).await
    }
}

/// What tells this file from one that takes its place: inode and creation. Device numbers change with reboots, paths
/// with mounts.
async fn identity(path: &Path) -> Result<String, Failure> {
    let found = tokio::fs::metadata(path).await.map_err(|error| {
        let message =
            format!("the SQLite file cannot be opened ({}); check the path and that we may read it", error.kind());
        Failure::new(Reason::Unreachable, message)
    })?;
    let created = found.created().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(&found);
    #[cfg(not(unix))]
    let inode = 0;
    Ok(format!("sqlite:{inode}:{}", created.unwrap_or_default().as_micros()))
}

#[cfg(test)]
mod tests;
