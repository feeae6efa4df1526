//! What kind of table a query reads, and how it can be read.
//!
//! It asks SQLite's catalogue only, never a row but the first and the last by time.

use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Row};

use super::super::RowsQuery;
use super::cells::Cell;
use super::query::{quote, quote_table};
use super::read::failure;
use crate::telemetry::{Failure, Reason};

/// A table or view as the catalogue knows it.
#[derive(Debug, Clone)]
pub struct Table {
    /// `table`, `view`, `virtual`.
    pub kind: String,
    /// Name by which the rowid can be asked for; none when there is none, or every name is taken by a column.
    pub rowid: Option<&'static str>,
    /// Whether the time column cannot be NULL.
    pub time_is_set: bool,
    /// The index that leads with the time column.
    pub time_index: Option<String>,
    /// Its columns.
    pub columns: Vec<String>,
}

/// Which of these exist.
pub async fn existing(connection: &mut SqliteConnection, tables: &[String]) -> Result<Vec<String>, Failure> {
    let mut found = Vec::new();
    for table in tables {
        if kind(connection, table).await?.is_some() {
            found.push(table.clone());
        }
    }
    Ok(found)
}

impl Table {
    /// Looks a query's table up.
    pub async fn find(connection: &mut SqliteConnection, query: &RowsQuery) -> Result<Table, Failure> {
        let Some((kind, without_rowid)) = kind(connection, &query.table).await? else {
            let message = format!(
                "there is no table or view `{}` in this database; if the application does not have it, skip this collector",
                query.table
            );
            return Err(Failure::new(Reason::MissingTable, message));
        };
        let (schema, name) = split(&query.table);
        let columns = sqlx::query("select name, \"notnull\" <> 0 from pragma_table_info(?1, ?2)")
            .bind(name)
            .bind(schema)
            .fetch_all(&mut *connection)
            .await
            .map_err(|error| failure(&error))?;
        let columns: Vec<(String, bool)> = columns.iter().map(|row| (row.get(0), row.get(1))).collect();
        for wanted in query.key.iter().chain([&query.time]) {
            if !columns.iter().any(|(column, _)| column.eq_ignore_ascii_case(wanted)) {
                let message = format!(
                    "`{}` has no column `{wanted}`; the application's version may be another than the pack's",
                    query.table
                );
                return Err(Failure::new(Reason::MissingColumn, message));
            }
        }
        let is = |name: &str| columns.iter().any(|(column, _)| column.eq_ignore_ascii_case(name));
        let rowid = (kind == "table" && !without_rowid)
            .then(|| ["rowid", "_rowid_", "oid"].into_iter().find(|name| !is(name)))
            .flatten();
        let time_is_set = columns.iter().any(|(column, set)| *set && column.eq_ignore_ascii_case(&query.time));
        let index = "select l.name from pragma_index_list(?1, ?2) l join pragma_index_info(l.name, ?2) i \
                     where l.partial = 0 and i.seqno = 0 and i.name = ?3 collate nocase limit 1";
        let time_index = sqlx::query_scalar(index)
            .bind(name)
            .bind(schema)
            .bind(&query.time)
            .fetch_optional(&mut *connection)
            .await
            .map_err(|error| failure(&error))?;
        let columns = columns.into_iter().map(|(column, _)| column).collect();
        Ok(Table { kind, rowid, time_is_set, time_index, columns })
    }

    /// The rowid's name, when new rows can be told by it.
    pub fn rowid_for(&self, query: &RowsQuery) -> Option<&'static str> {
        self.rowid.filter(|_| self.time_is_set && query.filter.is_none() && query.transition.is_none())
    }

    /// The least and the greatest time, read at the ends of the index; none without one.
    pub async fn ends(
        &self,
        connection: &mut SqliteConnection,
        query: &RowsQuery,
    ) -> Result<Option<(Cell, Cell)>, Failure> {
        if self.time_index.is_none() {
            return Ok(None);
        }
        let (table, time) = (quote_table(&query.table), quote(&query.time));
        let sql = format!("select (select min(t.{time}) from {table} t), (select max(t.{time}) from {table} t)");
        let row = sqlx::query(AssertSqlSafe(sql))
            .persistent(false)
            .fetch_one(connection)
            .await
            .map_err(|error| failure(&error))?;
        let cell = |column| Cell::of(&row, column).map_err(|error| failure(&error));
        Ok(Some((cell(0)?, cell(1)?)))
    }
}

/// Kind of a table, and whether it is `WITHOUT ROWID`; none when there is no such table.
async fn kind(connection: &mut SqliteConnection, table: &str) -> Result<Option<(String, bool)>, Failure> {
    let (schema, name) = split(table);
    let row = sqlx::query(
        "select type, wr <> 0 from pragma_table_list where name = ?1 collate nocase and schema = ?2 collate nocase",
    )
    .bind(name)
    .bind(schema)
    .fetch_optional(connection)
    .await
    .map_err(|error| failure(&error))?;
    Ok(row.map(|row| (row.get(0), row.get(1))))
}

fn split(table: &str) -> (&str, &str) {
    table.split_once('.').unwrap_or(("main", table))
}
