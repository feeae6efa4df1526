//! Spans that wait to be sent, in the order in which they came.
//!
//! They are written in the transaction that makes their rows counted, so neither is there without the other. They leave
//! only when their sender says so.

use sqlx::sqlite::{SqliteConnection, SqliteRow};
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
    let mut batches = spans.chunks(SPANS_A_BATCH).map(|batch| (batch.len() as i64, written(batch)));
    let mut next = batches.next();
    while let Some((count, body)) = next {
        let insert = sqlx::query("insert into span_batch (collector, queued, spans, body) values (?, ?, ?, ?)")
            .bind(collector)
            .bind(now)
            .bind(count)
            .bind(body)
            .execute(&mut *connection);
        // SQLite has a thread of its own: while it stores this batch, the next is written down here.
        let (inserted, following) = tokio::join!(insert, async { batches.next() });
        inserted?;
        next = following;
    }
    Ok(())
}

/// Spans as they are stored.
fn written(spans: &[SpanRecord]) -> String {
    let mut body = String::new();
    for span in spans {
        body.push_str(&serde_json::to_string(span).expect("a span is plain data with text keys"));
        body.push('\n');
    }
    body
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
        // Which ones are taken is found out first, one after the other: so no body is read in vain, and those of a long queue
        // are many megabytes.
        let rows = sqlx::query(
            "with recursive taken (id, through) as (select * from (select id, spans from span_batch where id > ?1 order by id \
             limit 1) union all select next.id, through + next.spans from taken join span_batch next on next.id = \
             (select min(id) from span_batch where id > taken.id) where through < ?2) \
             select id, collector, spans, body, queued from span_batch where id in (select id from taken) order by id",
        )
        .bind(after)
        .bind(enough as i64)
        .fetch_all(&mut *connection)
        .await
        .map_err(failed)?;
        drop(connection);
        // A request may hold thousands of spans, whose reading is not for the threads that serve scrapes.
        let reading = tokio::task::spawn_blocking(move || rows.iter().map(read).collect::<Result<Vec<_>, _>>());
        reading.await.map_err(|_| failed(sqlx::Error::WorkerCrashed))?.map_err(failed)
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

/// A stored batch, as its columns are selected.
fn read(row: &SqliteRow) -> Result<QueuedSpans, sqlx::Error> {
    let body: &str = row.try_get(3)?;
    let spans: Vec<SpanRecord> = body.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let stored: i64 = row.try_get(2)?;
    Ok(QueuedSpans {
        id: row.try_get(0)?,
        collector: row.try_get(1)?,
        queued: row.try_get(4)?,
        unreadable: stored.unsigned_abs().saturating_sub(spans.len() as u64),
        spans,
    })
}

#[cfg(test)]
mod tests;
