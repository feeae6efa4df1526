//! One run of a look-up: read names for ids, for those who have only the ids.
//!
//! It publishes nothing. Where it fails, ids stay hashes.

use std::sync::Arc;
use std::time::Instant;

use crate::source::lookup::Names;
use crate::source::trace::traced;
use crate::source::{SnapshotQuery, Source};
use crate::telemetry::Failure;

use super::gate::Gate;
use super::run::Run;
use super::trace;

/// A look-up and where its names go.
pub struct LookupJob {
    source: Arc<dyn Source>,
    query: SnapshotQuery,
    names: Arc<Names>,
}

impl LookupJob {
    /// Prepares a job. The query has the columns `id` and `name`.
    pub fn new(source: Arc<dyn Source>, query: SnapshotQuery, names: Arc<Names>) -> Self {
        LookupJob { source, query, names }
    }

    /// Reads the names.
    pub async fn run(&mut self, gate: &Gate) -> Result<Run, Failure> {
        let read = async {
            let _permit = gate.enter().await?;
            let began = Instant::now();
            let rows = traced(trace::read(false), self.source.read_snapshot(&self.query)).await;
            gate.report(&rows);
            rows.map(|rows| (rows, began.elapsed()))
        };
        match read.await {
            Ok((rows, busy)) => {
                self.names.replace(&rows);
                Ok(Run { rows: rows.len() as u64, busy, indexed: true, ..Run::default() })
            }
            Err(failure) => {
                self.names.settle();
                Err(failure)
            }
        }
    }
}
