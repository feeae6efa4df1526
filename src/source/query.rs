//! From a pack's words to what a source is asked.
//!
//! It picks the words for one kind of database and changes nothing in them.

use super::{RowsQuery, SnapshotQuery};
use crate::pack::{self, System};

/// The zone of time columns that have none, unless the pack says otherwise.
const DEFAULT_TIME_ZONE: &str = "UTC";

impl RowsQuery {
    /// What a `rows` collector asks of one kind of database.
    pub fn of(rows: &pack::Rows, system: System, parameters: Vec<(String, f64)>) -> Self {
        let on = |sql: &pack::Sql| sql.on(system).to_owned();
        RowsQuery {
            table: rows.table.clone(),
            key: rows.key.as_slice().to_vec(),
            time: rows.time.clone(),
            columns: rows.columns.iter().map(|(name, sql)| (name.clone(), on(sql))).collect(),
            filter: rows.filter.as_ref().map(on),
            transition: rows.transition.as_ref().map(on),
            time_zone: rows.time_zone.clone().unwrap_or_else(|| DEFAULT_TIME_ZONE.to_owned()),
            parameters,
        }
    }
}

impl RowsQuery {
    /// Reads none but these columns.
    pub fn keep_columns(&mut self, used: &[&str]) {
        self.columns.retain(|(name, _)| used.contains(&name.as_str()));
    }
}

impl SnapshotQuery {
    /// What a snapshot collector asks of one kind of database. `columns` are those that its metrics use.
    pub fn of(
        snapshot: &pack::Snapshot,
        columns: Vec<String>,
        system: System,
        parameters: Vec<(String, f64)>,
        row_limit: u32,
    ) -> Self {
        SnapshotQuery { sql: snapshot.sql.on(system).to_owned(), columns, parameters, row_limit }
    }
}
