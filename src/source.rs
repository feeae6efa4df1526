//! The one seam that reads upstream. A source answers a few questions about a database and yields rows as text.
//!
//! A source never writes, never keeps a count and never decides what a row means. Each driver is named in its own file.

pub mod authorities;
pub mod http;
pub mod instant;
pub mod keyspace;
pub mod logs;
pub mod lookup;
pub mod open;
pub mod pgbouncer;
pub mod postgres;
mod query;
pub mod redis;
pub mod rows;
pub mod snapshot;
pub mod spend;
pub mod sqlite;
pub mod trace;
pub mod upstash;

use async_trait::async_trait;

use crate::family::Micros;
use crate::pack::System;
use crate::telemetry::Failure;

pub use open::{Opened, Wanted};
pub use rows::Rows;
pub use sqlite::SqliteSource;

/// Rows of the sample that an examination takes: enough to see what labels hold, and one quick page. A sample with fewer
/// rows is all there is.
pub const SAMPLE_ROWS: u32 = 1000;

/// A database that is read.
#[async_trait]
pub trait Source: Send + Sync {
    /// The operator's name for it.
    fn name(&self) -> &str;

    /// What kind of database it is.
    fn system(&self) -> System;

    /// Statements sent so far.
    fn spend(&self) -> &spend::Spend;

    /// The database's own view of this moment, without reading any table.
    ///
    /// # Errors
    /// When the database cannot be asked.
    async fn moment(&self) -> Result<Moment, Failure>;

    /// Which of these tables or views exist for the role (plain names or `schema.name`).
    ///
    /// # Errors
    /// When the database cannot be asked.
    async fn existing_tables(&self, tables: &[String]) -> Result<Vec<String>, Failure>;

    /// One page of rows that may be new.
    ///
    /// # Errors
    /// When the read failed; nothing of it is to be used then.
    async fn read_rows(&self, query: &RowsQuery, range: &RowsRange) -> Result<RowsPage, Failure>;

    /// The rows of a snapshot query, their columns in the order of `columns`.
    ///
    /// # Errors
    /// When the read failed, or has more than `row_limit` rows.
    async fn read_snapshot(&self, query: &SnapshotQuery) -> Result<Rows, Failure>;

    /// How many rows of the query lie in a closed window of time.
    ///
    /// # Errors
    /// When the read failed.
    async fn count_rows(&self, query: &RowsQuery, from: Micros, until: Micros) -> Result<WindowCount, Failure>;

    /// What `check` reports of a `rows` collector.
    ///
    /// # Errors
    /// When the database cannot be asked.
    async fn examine_rows(&self, query: &RowsQuery) -> Result<Examination, Failure>;

    /// What `check` reports of a snapshot.
    ///
    /// # Errors
    /// When the database cannot be asked.
    async fn examine_snapshot(&self, query: &SnapshotQuery) -> Result<Examination, Failure>;
}

/// One collector's way to a whole result that replaces the last: a query, a scan of keys, a probe.
#[async_trait]
pub trait Reader: Send {
    /// Reads the next part, which for most is the whole.
    ///
    /// # Errors
    /// When the read failed; what was read of this result so far is forgotten.
    async fn read(&mut self, now: Micros) -> Result<Reading, Failure>;

    /// What `check` reports.
    ///
    /// # Errors
    /// When the source cannot be asked.
    async fn examine(&mut self, now: Micros) -> Result<Examination, Failure>;
}

/// What a [`Reader`] came to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reading {
    /// The whole result, once there is one; the columns are those that the metrics use, in their order.
    pub rows: Option<Rows>,
    /// The result is not whole yet: go on after this pause.
    pub more_after: Option<std::time::Duration>,
    /// Something an operator should know.
    pub note: Option<String>,
    /// What a scan of keys came to, when one has ended.
    pub scan: Option<Scan>,
}

/// A finished scan of keys.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Scan {
    /// Commands that it took.
    pub commands: u64,
    /// Different keys that a pattern fits.
    pub keys: u64,
    /// From its first command to its last, in seconds.
    pub seconds: f64,
    /// Whether there were more keys than are remembered, so that nothing is published.
    pub truncated: bool,
}

/// What a `rows` collector reads: the pack's words, made ready for one kind of database.
#[derive(Debug, Clone, PartialEq)]
pub struct RowsQuery {
    /// Table or view, unquoted, perhaps `schema.name`.
    pub table: String,
    /// Key columns, unquoted.
    pub key: Vec<String>,
    /// Time column, unquoted.
    pub time: String,
    /// Name and SQL expression of each column, in the order of a page's cells (after key and state).
    pub columns: Vec<(String, String)>,
    /// SQL condition.
    pub filter: Option<String>,
    /// SQL expression of the state of a row that changes state.
    pub transition: Option<String>,
    /// Time zone of a time column without zone.
    pub time_zone: String,
    /// Values of the pack's parameters, by name.
    pub parameters: Vec<(String, f64)>,
}

/// Which rows a read is to bring.
#[derive(Debug, Clone, PartialEq)]
pub struct RowsRange {
    /// Lower bound of the time column; none reads from the beginning.
    pub floor: Option<Micros>,
    /// Rows written by transactions below this are settled and known.
    pub horizon: Option<i64>,
    /// Leave out what the next sweep reads. Set when a sweep goes on and no more keys can be remembered.
    pub leave: Option<Leave>,
    /// Leave out what is not settled yet.
    pub settled_only: bool,
    /// Continue after this row.
    pub after: Option<PagePosition>,
    /// At most so many rows.
    pub limit: u32,
}

impl RowsRange {
    /// Everything there is, from the beginning.
    pub fn of_everything(limit: u32) -> Self {
        RowsRange { floor: None, horizon: None, leave: None, settled_only: false, after: None, limit }
    }
}

/// Rows that the next sweep reads: written by a transaction at or above a horizon, and not before a floor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leave {
    /// The horizon.
    pub horizon: i64,
    /// The floor.
    pub floor: Micros,
}

/// How new rows are told from known ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CursorMode {
    /// By the transaction that wrote them (Postgres tables).
    Horizon,
    /// By a window of time and the keys seen in it.
    Overlap,
    /// By SQLite's rowid.
    Rowid,
}

impl CursorMode {
    /// The word used on the front page and in `check`.
    pub const fn as_str(self) -> &'static str {
        match self {
            CursorMode::Horizon => "horizon",
            CursorMode::Overlap => "overlap",
            CursorMode::Rowid => "rowid",
        }
    }
}

/// Where a page ended, in the source's own words; only the source that made it reads it.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct PagePosition(pub Vec<String>);

/// One page of rows, and the moment it was read.
#[derive(Debug, Clone)]
pub struct RowsPage {
    /// Cells of each row: the key columns, then the state (if the query has one), then the columns.
    pub rows: Rows,
    /// Time of each row.
    pub times: Vec<Micros>,
    /// Transaction that wrote each row, in horizon mode; else empty.
    pub writers: Vec<i64>,
    /// The moment of the read, taken before the rows.
    pub moment: Moment,
    /// Where to continue, when there is more.
    pub next: Option<PagePosition>,
    /// Where the next sweep is to continue, in rowid mode.
    /// Where the next read continues when there is no more now, in modes that keep a place (rowid); else none, and
    /// the next read begins at its floor.
    pub resume: Option<PagePosition>,
}

/// The database's own view of the moment of a read.
#[derive(Debug, Clone, PartialEq)]
pub struct Moment {
    /// How new rows are told.
    pub mode: CursorMode,
    /// The database's clock.
    pub now: Micros,
    /// Every transaction below this is settled (horizon mode).
    pub horizon: Option<i64>,
    /// Start of the oldest transaction that was open, or the time of the read when there was none; none where the role
    /// may not see it.
    pub oldest_open: Option<Micros>,
    /// Tells one database from another, and a restored one from itself.
    pub identity: String,
    /// Whether an index serves the time column; without it a read costs the whole table.
    pub indexed: bool,
    /// How many rows were ever deleted, where the database keeps count.
    pub deletions: Deletions,
}

/// What a snapshot collector reads.
#[derive(Debug, Clone, PartialEq)]
pub struct SnapshotQuery {
    /// The SELECT.
    pub sql: String,
    /// The columns that metrics use, in the order of the cells.
    pub columns: Vec<String>,
    /// Values of the pack's parameters, by name.
    pub parameters: Vec<(String, f64)>,
    /// More rows than this is a failure.
    pub row_limit: u32,
}

/// A recount of a closed window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowCount {
    /// Rows in it.
    pub rows: u64,
    /// How many rows were ever deleted, where the database keeps count.
    pub deletions: Deletions,
}

/// What the database knows of rows that went away; lets the audit tell a deleted row from one counted twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Deletions {
    /// Rows ever deleted from the table, as the statistics count them.
    pub rows: Option<i64>,
    /// Changes whenever the table's storage is replaced (TRUNCATE, rewrite, drop and create).
    pub storage: Option<i64>,
}

/// What `check` learnt of one collector.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Examination {
    /// Plain facts: what is read and how.
    pub facts: Vec<String>,
    /// What an operator should mend; each with the mend.
    pub findings: Vec<Finding>,
    /// Tables and columns that are read, for the least-privilege role.
    pub reads: Vec<(String, Vec<String>)>,
    /// A sample of rows, for estimates of series and the personal-data guard. Cells as a page or snapshot has them.
    pub sample: Rows,
    /// How many rows the table or the result has, about.
    pub rows_estimate: Option<i64>,
}

/// One thing that `check` found.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// Whether the collector cannot work like this.
    pub fatal: bool,
    /// What is wrong and what mends it.
    pub message: String,
    /// SQL that mends it, when there is one.
    pub sql: Option<String>,
}
