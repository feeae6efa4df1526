//! The state file's tables, and the check that a file is ours, whole and of a format that is known.
//!
//! A file that fails the check is left as it is.

use std::path::Path;

use sqlx::sqlite::SqliteConnection;

use super::StateError;

/// Marks a SQLite file as Rowmetry's (`pragma application_id`): the letters `Rowm`.
const APPLICATION: i64 = 0x526f_776d;

/// Format of the tables below (`pragma user_version`).
const FORMAT: i64 = 3;

const TABLES: &str = "
create table collector (
  id text primary key,            -- source/pack/collector
  definition text not null,       -- what the cursor was made for
  cursor text not null,           -- JSON
  updated integer not null        -- microseconds since 1970
) strict;
create table series (
  collector text not null,
  metric text not null,
  definition text not null,       -- what the values mean
  labels text not null,           -- JSON array of values
  value text not null,            -- JSON
  start integer not null,         -- microseconds since 1970
  primary key (collector, metric, labels)
) strict, without rowid;
create table seen (
  collector text not null,
  time integer not null,          -- microseconds since 1970
  key blob not null,              -- 128-bit hash
  writer integer not null,        -- transaction
  primary key (collector, time, key)
) strict, without rowid;
";

/// What format 2 has beyond format 1: spans that wait to be sent.
const SPANS: &str = "
create table span_batch (
  id integer primary key autoincrement, -- the order in which they came; never used again
  collector text not null,        -- source/pack/collector
  queued integer not null,        -- microseconds since 1970
  spans integer not null,         -- how many there are in body
  body text not null              -- JSON, one span a line
) strict;
";

/// What format 3 has beyond format 2: lines of logs that came lately, and runs that lines began.
const LOGS: &str = "
create table line_batch (
  collector text not null,        -- source/drain/lines
  number integer not null,        -- the order in which they came
  received integer not null,      -- microseconds since 1970
  ids blob not null,              -- 128-bit hashes, one behind the other
  primary key (collector, number)
) strict, without rowid;
create table run (
  collector text not null,        -- source/pack/collector
  due integer not null,           -- microseconds since 1970; what changes together stands together
  run blob not null,              -- 128-bit hash
  body text not null,             -- JSON
  primary key (collector, due, run)
) strict, without rowid;
";

/// Makes the tables in an empty file; checks any other.
///
/// # Errors
/// When the file is foreign, damaged or newer.
pub async fn prepare(connection: &mut SqliteConnection, path: &Path) -> Result<(), StateError> {
    let unusable = |why: String| StateError::Unusable { path: path.to_owned(), why };
    let damaged = |error: sqlx::Error| unusable(format!("it is damaged or not an SQLite file ({error})"));
    let tables: i64 = one(connection, "select count(*) from sqlite_schema").await.map_err(damaged)?;
    let application: i64 = one(connection, "pragma application_id").await.map_err(damaged)?;
    let format: i64 = one(connection, "pragma user_version").await.map_err(damaged)?;
    if tables == 0 && application == 0 {
        let sql = format!(
            "begin immediate; {TABLES} {SPANS} {LOGS} pragma application_id = {APPLICATION}; pragma user_version = {FORMAT}; commit"
        );
        return sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
            .execute(connection)
            .await
            .map(drop)
            .map_err(|source| StateError::Database { doing: "made", source });
    }
    if application != APPLICATION {
        return Err(unusable("it is an SQLite file of another program".to_owned()));
    }
    if format > FORMAT {
        return Err(StateError::Newer { path: path.to_owned(), found: format, known: FORMAT });
    }
    let verdict: String =
        sqlx::query_scalar("pragma quick_check(1)").fetch_one(&mut *connection).await.map_err(damaged)?;
    if verdict != "ok" {
        return Err(unusable(format!("SQLite finds it damaged: {verdict}")));
    }
    if format < FORMAT {
        let spans = if format < 2 { SPANS } else { "" };
        let sql = format!("begin immediate; {spans} {LOGS} pragma user_version = {FORMAT}; commit");
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
            .execute(connection)
            .await
            .map_err(|source| StateError::Database { doing: "brought to the format of this version", source })?;
    }
    Ok(())
}

async fn one(connection: &mut SqliteConnection, sql: &'static str) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(sql).fetch_one(connection).await
}
