//! Lines of logs that came lately, and runs that lines began, in the state's file.
//!
//! They are written in the transaction of what they changed, never by themselves.

use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Row as _};

use super::{ROWS_AN_INSERT, key_hash, values};
use crate::collector::KeyHash;
use crate::collector::logs::{LineBatch, RunChanges, WindowChanges};

/// Bytes of an id.
const ID_BYTES: usize = 16;

/// Writes what changed.
pub(super) async fn write(
    connection: &mut SqliteConnection,
    collector: &str,
    runs: &RunChanges,
    lines: &WindowChanges,
) -> Result<(), sqlx::Error> {
    for (due, run) in &runs.removed {
        sqlx::query("delete from run where collector = ? and due = ? and run = ?")
            .bind(collector)
            .bind(due)
            .bind(run.0.to_le_bytes().to_vec())
            .execute(&mut *connection)
            .await?;
    }
    for chunk in runs.written.chunks(ROWS_AN_INSERT) {
        let sql = format!("insert or replace into run (collector, due, run, body) values {}", values(chunk.len(), 4));
        let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(chunk.len() == ROWS_AN_INSERT);
        for ((due, run), body) in chunk {
            query = query.bind(collector).bind(due).bind(run.0.to_le_bytes().to_vec()).bind(body);
        }
        query.execute(&mut *connection).await?;
    }
    if let Some(through) = lines.forgotten_through {
        sqlx::query("delete from line_batch where collector = ? and number <= ?")
            .bind(collector)
            .bind(through)
            .execute(&mut *connection)
            .await?;
    }
    if let Some(batch) = &lines.added {
        let ids: Vec<u8> = batch.ids.iter().flat_map(|id| id.0.to_le_bytes()).collect();
        sqlx::query("insert into line_batch (collector, number, received, ids) values (?, ?, ?, ?)")
            .bind(collector)
            .bind(batch.number)
            .bind(batch.received)
            .bind(ids)
            .execute(connection)
            .await?;
    }
    Ok(())
}

/// The runs of a collector.
pub(super) async fn runs(
    connection: &mut SqliteConnection,
    collector: &str,
) -> Result<Vec<(KeyHash, String)>, sqlx::Error> {
    let rows =
        sqlx::query("select run, body from run where collector = ?").bind(collector).fetch_all(connection).await?;
    rows.iter().map(|row| Ok((key_hash(row.try_get(0)?)?, row.try_get(1)?))).collect()
}

/// The lines that a drain remembers.
pub(super) async fn lines(connection: &mut SqliteConnection, collector: &str) -> Result<Vec<LineBatch>, sqlx::Error> {
    let sql = "select number, received, ids from line_batch where collector = ? order by number";
    let rows = sqlx::query(sql).bind(collector).fetch_all(connection).await?;
    let read = |row: &sqlx::sqlite::SqliteRow| {
        let ids: &[u8] = row.try_get(2)?;
        let ids = ids.chunks(ID_BYTES).map(key_hash).collect::<Result<Vec<_>, _>>()?;
        Ok(LineBatch { number: row.try_get(0)?, received: row.try_get(1)?, ids })
    };
    rows.iter().map(read).collect()
}

#[cfg(test)]
mod tests;
