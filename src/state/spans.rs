//! Spans that wait to be sent, in the order in which they came.
//!
//! They are written in the transaction that makes their rows counted, so neither is there without the other. They leave
//! only when their sender says so.

use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Row as _};

use super::{State, StateError};
use crate::family::Micros;
use crate::span::SpanRecord;

/// Spans stored in one row: as many as one request takes, so that what was sent goes as a whole.
const SPANS_A_BATCH: usize = 512;

/// Spans of one collector that wait.
#[derive(Debug, Clone, PartialEq)]
pub struct QueuedSpans {
    /// Its place in the queue.
    pub id: i64,
    /// `source/pack/collector`.
    pub collector: String,
    /// When they came.
    pub queued: Micros,
    /// The spans.
    pub spans: Vec<SpanRecord>,
    /// Spans that could not be read back. It never happens but to a file that somebody changed.
    pub unreadable: u64,
}

/// How much waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueSize {
    /// Spans.
    pub spans: u64,
    /// When the oldest of them came.
    pub oldest: Option<Micros>,
}

/// Adds spans to the end of the queue, within the caller's transaction.
pub(super) async fn append(
    connection: &mut SqliteConnection,
    collector: &str,
    spans: &[SpanRecord],
    now: Micros,
) -> Result<(), sqlx::Error> {
    for batch in spans.chunks(SPANS_A_BATCH) {
        let mut body = String::new();
        for span in batch {
            body.push_str(&serde_json::to_string(span).expect("a span is plain data with text keys"));
            body.push('\n');
        }
        sqlx::query("insert into span_batch (collector, queued, spans, body) values (?, ?, ?, ?)")
            .bind(collector)
            .bind(now)
            .bind(batch.len() as i64)
            .bind(body)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

impl State {
    /// The oldest spans that wait behind a place in the queue (0 is its beginning): whole batches, until there are at least
    /// `enough` spans or no more.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn queued_spans(&self, after: i64, enough: usize) -> Result<Vec<QueuedSpans>, StateError> {
        let failed = |source| StateError::Database { doing: "read", source };
        let mut connection = self.connection.lock().await;
        // Each batch has one span at least.
        // Which they are is told by what is small: the bodies of all that waits would be a hundred megabytes, each time.
        let rows = sqlx::query(
            "select id, collector, spans, body, queued from span_batch where id > ?1 and id <= (select max(id) from \
             (select id, spans, sum(spans) over (order by id) as through from \
             (select id, spans from span_batch where id > ?1 order by id limit ?2)) where through - spans < ?2) order by id",
        )
        .bind(after)
        .bind(enough as i64)
        .fetch_all(&mut *connection)
        .await
        .map_err(failed)?;
        drop(connection);
        rows.iter()
            .map(|row| {
                let body: &str = row.try_get(3).map_err(failed)?;
                let spans: Vec<SpanRecord> = body.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
                let stored: i64 = row.try_get(2).map_err(failed)?;
                Ok(QueuedSpans {
                    id: row.try_get(0).map_err(failed)?,
                    collector: row.try_get(1).map_err(failed)?,
                    queued: row.try_get(4).map_err(failed)?,
                    unreadable: stored.unsigned_abs().saturating_sub(spans.len() as u64),
                    spans,
                })
            })
            .collect()
    }

    /// Takes batches out of the queue: the receiver has them, or will never take them.
    ///
    /// # Errors
    /// When the file cannot be written; then they are there still.
    pub async fn forget_spans(&self, ids: &[i64]) -> Result<(), StateError> {
        let mut connection = self.connection.lock().await;
        for chunk in ids.chunks(super::ROWS_AN_INSERT) {
            let places = vec!["?"; chunk.len()].join(",");
            let mut query = sqlx::query(AssertSqlSafe(format!("delete from span_batch where id in ({places})")))
                .persistent(chunk.len() == 1);
            for id in chunk {
                query = query.bind(id);
            }
            query
                .execute(&mut *connection)
                .await
                .map_err(|source| StateError::Database { doing: "written", source })?;
        }
        Ok(())
    }

    /// How much waits to be sent. It goes through the whole queue.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn span_queue(&self) -> Result<QueueSize, StateError> {
        let failed = |source| StateError::Database { doing: "read", source };
        let mut connection = self.connection.lock().await;
        let row = sqlx::query("select coalesce(sum(spans), 0), min(queued) from span_batch")
            .fetch_one(&mut *connection)
            .await
            .map_err(failed)?;
        let spans: i64 = row.try_get(0).map_err(failed)?;
        Ok(QueueSize { spans: spans.unsigned_abs(), oldest: row.try_get(1).map_err(failed)? })
    }
}

#[cfg(test)]
mod tests;
