//! What `check` reports of a SQLite source: how each collector is read, and what would make it cheaper.
//!
//! It reads a sample, and changes nothing.

use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use super::super::{Examination, Finding, Rows, RowsQuery, SnapshotQuery};
use super::query::{Statement, micros, quote, quote_table};
use super::read::{fetch, now, push};
use super::table::Table;
use crate::source::SAMPLE_ROWS;
use crate::telemetry::{Failure, Reason};

/// Examines a rows query. A missing table or column is a finding, not a failure.
pub async fn rows(connection: &mut SqliteConnection, query: &RowsQuery) -> Result<Examination, Failure> {
    let mut examination = Examination::default();
    let table = match Table::find(connection, query).await {
        Ok(table) => table,
        Err(failure) => return found(examination, failure),
    };
    let by_rowid = table.rowid_for(query).is_some();
    let how = if by_rowid { "new rows by rowid" } else { "rows of the look-back in each read (overlap)" };
    examination.facts.push(format!("{} `{}`: {how}", table.kind, query.table));
    let mut used = query.key.clone();
    used.push(query.time.clone());
    let texts: Vec<&String> =
        query.columns.iter().map(|(_, text)| text).chain(&query.filter).chain(&query.transition).collect();
    for column in &table.columns {
        if !used.contains(column) && texts.iter().any(|text| text.contains(column.as_str())) {
            used.push(column.clone());
        }
    }
    examination.reads.push((query.table.clone(), used));
    let time = format!("t.{}", quote(&query.time));
    let from = format!("from {} t", quote_table(&query.table));
    let now = now(connection).await?;
    let mut statement = Statement::default();
    let read = async {
        let columns = statement.columns(query, now)?;
        let filter = statement.filter(query, now)?;
        let newest = if by_rowid { " order by t.rowid desc" } else { "" };
        let newest = if table.rowid == Some("rowid") { newest } else { "" };
        statement.text =
            format!("select {columns} {from} where {} is not null{filter}{newest} limit {SAMPLE_ROWS}", micros(&time));
        fetch(connection, &statement).await
    };
    let sample = match read.await {
        Ok(sample) => sample,
        Err(failure) => return found(examination, failure),
    };
    let width = query.key.len() + usize::from(query.transition.is_some()) + query.columns.len();
    examination.sample = Rows::new(width);
    for row in &sample {
        push(&mut examination.sample, row, 0..width)?;
    }
    let untimed = format!("select count(*), count(*) filter (where {} is null) {from}", micros(&time));
    let counts = fetch(connection, &Statement { text: untimed, values: Vec::new() }).await?;
    if let Some(row) = counts.first() {
        let (all, untimed): (i64, i64) = (row.get(0), row.get(1));
        examination.rows_estimate = Some(all);
        if untimed > 0 {
            let message = format!(
                "{untimed} of {all} rows have no time in `{}` that can be read; they are not counted",
                query.time
            );
            examination.findings.push(Finding { fatal: false, message, sql: None });
        }
    }
    if !by_rowid && table.time_index.is_none() {
        let text = format!("select 1 {from} where {time} >= 0");
        plan(connection, &Statement { text, values: Vec::new() }, &mut examination).await?;
        let message =
            format!("no index leads with `{}`, so each read goes through all of `{}`", query.time, query.table);
        let name = format!("{}_{}_idx", query.table.replace('.', "_"), query.time);
        let sql = (table.kind == "table").then(|| {
            format!("create index {} on {} ({})", quote(&name), quote_table(&query.table), quote(&query.time))
        });
        examination.findings.push(Finding { fatal: false, message, sql });
    }
    Ok(examination)
}

/// Examines a snapshot. SQL that SQLite refuses is a finding, not a failure.
pub async fn snapshot(connection: &mut SqliteConnection, query: &SnapshotQuery) -> Result<Examination, Failure> {
    let mut examination = Examination::default();
    let statement = Statement::snapshot(query, now(connection).await?, query.row_limit.min(SAMPLE_ROWS))?;
    let sample = match fetch(connection, &statement).await {
        Ok(sample) => sample,
        Err(failure) => return found(examination, failure),
    };
    let width = query.columns.len().max(1);
    examination.sample = Rows::new(width);
    for row in sample.iter().take(SAMPLE_ROWS as usize) {
        push(&mut examination.sample, row, 0..width)?;
    }
    examination.rows_estimate = i64::try_from(sample.len()).ok();
    examination.facts.push(format!("snapshot of {} columns, {} rows now", query.columns.len(), sample.len()));
    plan(connection, &statement, &mut examination).await?;
    Ok(examination)
}

/// Turns what an operator can mend into a finding; the rest stays a failure.
fn found(mut examination: Examination, failure: Failure) -> Result<Examination, Failure> {
    if !matches!(failure.reason, Reason::MissingTable | Reason::MissingColumn | Reason::BadQuery | Reason::Forbidden) {
        return Err(failure);
    }
    examination.findings.push(Finding { fatal: true, message: failure.message, sql: None });
    Ok(examination)
}

/// Adds the query plan to the facts.
async fn plan(
    connection: &mut SqliteConnection,
    statement: &Statement,
    examination: &mut Examination,
) -> Result<(), Failure> {
    let explained =
        Statement { text: format!("explain query plan {}", statement.text), values: statement.values.clone() };
    for row in fetch(connection, &explained).await? {
        examination.facts.push(format!("plan: {}", row.get::<String, _>(3)));
    }
    Ok(())
}
