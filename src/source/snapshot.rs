//! A snapshot query as a reader.
//!
//! It asks and passes on; what the rows mean is not its business.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Examination, Reader, Reading, SnapshotQuery, Source};
use crate::family::Micros;
use crate::telemetry::Failure;

/// Reads one snapshot of a database.
pub struct SnapshotReader {
    source: Arc<dyn Source>,
    query: SnapshotQuery,
}

impl SnapshotReader {
    /// A reader of one query.
    pub fn new(source: Arc<dyn Source>, query: SnapshotQuery) -> Self {
        SnapshotReader { source, query }
    }
}

#[async_trait]
impl Reader for SnapshotReader {
    async fn read(&mut self, _now: Micros) -> Result<Reading, Failure> {
        let rows = self.source.read_snapshot(&self.query).await?;
        Ok(Reading { rows: Some(rows), ..Reading::default() })
    }

    async fn examine(&mut self, _now: Micros) -> Result<Examination, Failure> {
        self.source.examine_snapshot(&self.query).await
    }
}
