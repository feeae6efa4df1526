//! What survives a restart: cursor, seen keys and series of each collector, in one SQLite file.
//!
//! Everything that one page changed is written in one transaction, before anybody may see the new values. A state
//! directory belongs to one exporter at a time. Nothing here decides what a value is; nothing is thrown away unasked.

mod logs;
mod schema;
mod spans;

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteSynchronous};
use sqlx::{AssertSqlSafe, Connection, Row as _};
use tokio::sync::Mutex;

use crate::collector::logs::LineBatch;
use crate::collector::{Changes, KeyHash, Seen, StoredSeries};
use crate::family::Micros;

pub use spans::{QueueSize, QueuedSpans};

/// Rows of one `INSERT`: four values each, well below SQLite's limit of 32,766.
const ROWS_AN_INSERT: usize = 1000;

/// The file in the state directory.
const FILE: &str = "rowmetry.db";

/// Why the state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The directory cannot be made or written.
    #[error("the state directory {path} cannot be used; create it and let this user write to it (`--state-dir`)")]
    Directory {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Somebody else has it.
    #[error("another rowmetry uses the state directory {path}; give each exporter a directory of its own")]
    InUse {
        /// Where.
        path: PathBuf,
    },
    /// Not ours, or damaged.
    #[error(
        "{path} is not a usable state: {why}. Nothing was changed. Restore it from a backup, or move it away (counting then \
         begins anew, as on a first run): mv {path} {path}.old"
    )]
    Unusable {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Written by a newer Rowmetry.
    #[error("{path} was written by a newer rowmetry (format {found}, this one knows {known}); run that version")]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// A statement failed.
    #[error("the state could not be {doing}; is the disk full or read-only?")]
    Database {
        /// What was attempted.
        doing: &'static str,
        /// Why.
        source: sqlx::Error,
    },
}

/// The open state.
pub struct State {
    connection: Mutex<SqliteConnection>,
    directory: Option<PathBuf>,
    /// Held for as long as the state is open; the kernel lets go of it when the process ends, however it ends.
    _lock: Option<File>,
}

/// What is stored of one collector.
#[derive(Debug, Default, PartialEq)]
pub struct Stored {
    /// What the cursor's table, key and time were when it was written.
    pub definition: String,
    /// The cursor as JSON.
    pub cursor: String,
    /// The series.
    pub series: Vec<StoredSeries>,
    /// The seen keys.
    pub seen: Vec<Seen>,
    /// The runs of a collector of lines, as JSON.
    pub runs: Vec<(KeyHash, String)>,
    /// The lines of a drain that came lately.
    pub lines: Vec<LineBatch>,
}

/// One line of `rowmetry state list`.
#[derive(Debug, PartialEq)]
pub struct Listed {
    /// `source/pack/collector`.
    pub collector: String,
    /// When it was last written.
    pub updated: Micros,
    /// Its series.
    pub series: i64,
    /// Its seen keys, or the lines that a drain remembers.
    pub seen: i64,
    /// Its spans that wait to be sent.
    pub spans: i64,
    /// The cursor as JSON; empty where nothing but spans is left of it.
    pub cursor: String,
}

impl State {
    /// Opens the state in a directory, or one in memory that ends with the process.
    ///
    /// # Errors
    /// When the directory is in use, cannot be written, or holds what is not ours.
    pub async fn open(directory: Option<&Path>) -> Result<State, StateError> {
        let Some(directory) = directory else {
            let connection = SqliteConnection::connect("sqlite::memory:")
                .await
                .map_err(|source| StateError::Database { doing: "opened in memory", source })?;
            let mut state = State { connection: Mutex::new(connection), directory: None, _lock: None };
            schema::prepare(state.connection.get_mut(), Path::new(":memory:")).await?;
            return Ok(state);
        };
        let lock = lock(directory)?;
        let path = directory.join(FILE);
        let options = SqliteConnectOptions::from_str("sqlite::memory:")
            .map_err(|source| StateError::Database { doing: "opened", source })?
            .filename(&path)
            .in_memory(false)
            .shared_cache(false)
            .create_if_missing(true)
            .synchronous(SqliteSynchronous::Full);
        let unusable = |error: &sqlx::Error| StateError::Unusable { path: path.clone(), why: error.to_string() };
        let mut connection = SqliteConnection::connect_with(&options).await.map_err(|error| unusable(&error))?;
        schema::prepare(&mut connection, &path).await?;
        // Only now that the file is known to be ours: the journal mode is written into it.
        sqlx::raw_sql("pragma journal_mode = wal").execute(&mut connection).await.map_err(|error| unusable(&error))?;
        Ok(State { connection: Mutex::new(connection), directory: Some(directory.to_owned()), _lock: Some(lock) })
    }

    /// Whether it survives the process.
    pub fn is_persistent(&self) -> bool {
        self.directory.is_some()
    }

    /// What is stored of a collector; none when it never ran.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn load(&self, collector: &str) -> Result<Option<Stored>, StateError> {
        let failed = |source| StateError::Database { doing: "read", source };
        let mut connection = self.connection.lock().await;
        let connection = &mut *connection;
        let row = sqlx::query("select definition, cursor from collector where id = ?")
            .bind(collector)
            .fetch_optional(&mut *connection)
            .await
            .map_err(failed)?;
        let Some(row) = row else { return Ok(None) };
        let mut stored = Stored {
            definition: row.try_get(0).map_err(failed)?,
            cursor: row.try_get(1).map_err(failed)?,
            ..Stored::default()
        };
        let series = sqlx::query("select metric, definition, labels, value, start from series where collector = ?")
            .bind(collector)
            .fetch_all(&mut *connection)
            .await
            .map_err(failed)?;
        for row in series {
            stored.series.push(StoredSeries {
                metric: row.try_get(0).map_err(failed)?,
                definition: row.try_get(1).map_err(failed)?,
                labels: row.try_get(2).map_err(failed)?,
                value: row.try_get(3).map_err(failed)?,
                start: row.try_get(4).map_err(failed)?,
            });
        }
        let seen = sqlx::query("select key, time, writer from seen where collector = ?")
            .bind(collector)
            .fetch_all(&mut *connection)
            .await
            .map_err(failed)?;
        stored.runs = logs::runs(connection, collector).await.map_err(failed)?;
        stored.lines = logs::lines(connection, collector).await.map_err(failed)?;
        for row in seen {
            stored.seen.push(Seen {
                key: key_hash(row.try_get(0).map_err(failed)?).map_err(failed)?,
                time: row.try_get(1).map_err(failed)?,
                writer: row.try_get(2).map_err(failed)?,
            });
        }
        Ok(Some(stored))
    }

    /// Writes what one page changed, all or nothing, and only returns when it is on the disk.
    ///
    /// # Errors
    /// When the file cannot be written; then it is as it was.
    pub async fn save(&self, collector: &str, changes: &Changes, now: Micros) -> Result<(), StateError> {
        self.save_all(std::slice::from_ref(&(collector, changes)), now).await
    }

    /// Writes what several collectors changed together, all or nothing.
    ///
    /// # Errors
    /// As [`State::save`].
    pub async fn save_all(&self, all: &[(&str, &Changes)], now: Micros) -> Result<(), StateError> {
        let mut connection = self.connection.lock().await;
        let written = async {
            let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
            for (collector, changes) in all {
                write(&mut transaction, collector, changes, now).await?;
            }
            transaction.commit().await
        };
        written.await.map_err(|source| StateError::Database { doing: "written", source })
    }

    /// Removes series whose metric is gone or means something else now.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn drop_metric(&self, collector: &str, metric: &str) -> Result<(), StateError> {
        let mut connection = self.connection.lock().await;
        sqlx::query("delete from series where collector = ? and metric = ?")
            .bind(collector)
            .bind(metric)
            .execute(&mut *connection)
            .await
            .map(drop)
            .map_err(|source| StateError::Database { doing: "written", source })
    }

    /// Every collector in the file.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn list(&self) -> Result<Vec<Listed>, StateError> {
        let failed = |source| StateError::Database { doing: "read", source };
        let mut connection = self.connection.lock().await;
        let rows = sqlx::query(
            "with queued as (select collector, sum(spans) as spans, max(queued) as queued from span_batch group by 1), \
             known as (select id from collector union select collector from queued) \
             select id, coalesce(c.updated, q.queued), (select count(*) from series s where s.collector = id), \
             (select count(*) from seen k where k.collector = id) + \
             (select coalesce(sum(length(ids)) / 16, 0) from line_batch l where l.collector = id), coalesce(c.cursor, ''), coalesce(q.spans, 0) \
             from known left join collector c using (id) left join queued q on q.collector = id order by id",
        )
        .fetch_all(&mut *connection)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| {
                Ok(Listed {
                    collector: row.try_get(0).map_err(failed)?,
                    updated: row.try_get(1).map_err(failed)?,
                    series: row.try_get(2).map_err(failed)?,
                    seen: row.try_get(3).map_err(failed)?,
                    cursor: row.try_get(4).map_err(failed)?,
                    spans: row.try_get(5).map_err(failed)?,
                })
            })
            .collect()
    }

    /// Forgets what a collector counted: it begins anew at its next run. Spans that wait are of rows that counted, and are
    /// sent still. Returns whether there was one.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn reset(&self, collector: &str) -> Result<bool, StateError> {
        self.delete(
            collector,
            &[
                "delete from seen where collector = ?",
                "delete from series where collector = ?",
                "delete from line_batch where collector = ?",
                "delete from run where collector = ?",
                "delete from collector where id = ?",
            ],
        )
        .await
    }

    /// Forgets all that is kept of a collector, spans that wait to be sent included. Returns whether there was anything.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn forget(&self, collector: &str) -> Result<bool, StateError> {
        let spans = self.delete(collector, &["delete from span_batch where collector = ?"]).await?;
        Ok(self.reset(collector).await? || spans)
    }

    /// Runs statements about one collector, all or none. Returns whether they deleted anything.
    async fn delete(&self, collector: &str, statements: &[&'static str]) -> Result<bool, StateError> {
        let failed = |source| StateError::Database { doing: "written", source };
        let mut connection = self.connection.lock().await;
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        let mut found = 0;
        for sql in statements {
            found +=
                sqlx::query(*sql).bind(collector).execute(&mut *transaction).await.map_err(failed)?.rows_affected();
        }
        transaction.commit().await.map_err(failed)?;
        Ok(found > 0)
    }
}

/// Writes what one collector changed, in the transaction at hand.
async fn write(
    connection: &mut SqliteConnection,
    collector: &str,
    changes: &Changes,
    now: Micros,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into collector (id, definition, cursor, updated) values (?, ?, ?, ?) on conflict (id) do update set \
         definition = excluded.definition, cursor = excluded.cursor, updated = excluded.updated",
    )
    .bind(collector)
    .bind(&changes.definition)
    .bind(&changes.cursor)
    .bind(now)
    .execute(&mut *connection)
    .await?;
    for chunk in changes.series.chunks(ROWS_AN_INSERT) {
        let sql = format!(
            "insert into series (collector, metric, definition, labels, value, start) values {} on conflict \
             (collector, metric, labels) do update set definition = excluded.definition, value = excluded.value, \
             start = excluded.start",
            values(chunk.len(), 6)
        );
        let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(chunk.len() == ROWS_AN_INSERT);
        for series in chunk {
            query = query
                .bind(collector)
                .bind(&series.metric)
                .bind(&series.definition)
                .bind(&series.labels)
                .bind(&series.value)
                .bind(series.start);
        }
        query.execute(&mut *connection).await?;
    }
    for chunk in changes.seen.added.chunks(ROWS_AN_INSERT) {
        let sql =
            format!("insert or replace into seen (collector, time, key, writer) values {}", values(chunk.len(), 4));
        let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(chunk.len() == ROWS_AN_INSERT);
        for seen in chunk {
            query = query.bind(collector).bind(seen.time).bind(seen.key.0.to_le_bytes().to_vec()).bind(seen.writer);
        }
        query.execute(&mut *connection).await?;
    }
    for seen in &changes.seen.removed {
        sqlx::query("delete from seen where collector = ? and time = ? and key = ?")
            .bind(collector)
            .bind(seen.time)
            .bind(seen.key.0.to_le_bytes().to_vec())
            .execute(&mut *connection)
            .await?;
    }
    if let Some(floor) = changes.seen.forgotten_before {
        sqlx::query("delete from seen where collector = ? and time < ?")
            .bind(collector)
            .bind(floor)
            .execute(&mut *connection)
            .await?;
    }
    spans::append(connection, collector, &changes.spans, now).await?;
    logs::write(connection, collector, &changes.runs, &changes.lines).await
}

/// A stored key.
fn key_hash(bytes: &[u8]) -> Result<KeyHash, sqlx::Error> {
    let bytes = bytes.try_into().map_err(|_| sqlx::Error::Decode("a key is not 16 bytes long".into()))?;
    Ok(KeyHash(u128::from_le_bytes(bytes)))
}

fn lock(directory: &Path) -> Result<File, StateError> {
    let failed = |source| StateError::Directory { path: directory.to_owned(), source };
    std::fs::create_dir_all(directory).map_err(failed)?;
    let path = directory.join("lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(StateError::InUse { path: directory.to_owned() }),
        Err(std::fs::TryLockError::Error(source)) => Err(failed(source)),
    }
}

fn values(rows: usize, columns: usize) -> String {
    let row = format!("({})", vec!["?"; columns].join(","));
    vec![row; rows].join(",")
}
