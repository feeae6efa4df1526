//! What a rows job does without while the source refuses the columns that spans alone need, and for how long.
//!
//! It reads nothing, and decides nothing about metrics.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::collector::SpanMaker;
use crate::source::RowsQuery;
use crate::telemetry::{Failure, Reason, SpanSkipped};

/// After this the columns of spans are asked for again: somebody may have added or granted what was missing. Each time costs
/// one statement that fails.
const AGAIN_AFTER: Duration = Duration::from_secs(300);

/// Reads that run out of time or answer nonsense this often in a row may do so for what spans need; before, they are a bad
/// moment of the source.
const BAD_MOMENTS: u32 = 3;

/// Reads in a row that failed.
#[derive(Debug, Default)]
pub(super) struct FailedReads(u32);

impl FailedReads {
    /// One more failed: whether it may be for the columns of spans.
    pub(super) fn may_be_of_spans(&mut self, reason: Reason) -> bool {
        self.0 = self.0.saturating_add(1);
        match reason {
            Reason::MissingTable
            | Reason::MissingColumn
            | Reason::Forbidden
            | Reason::RowsHidden
            | Reason::BadQuery => true,
            Reason::Timeout | Reason::BadReply => self.0 >= BAD_MOMENTS,
            _ => false,
        }
    }
}

/// The whole query and the maker of spans, until they are taken up again.
pub(super) struct Aside {
    pub(super) query: RowsQuery,
    pub(super) spans: SpanMaker,
    why: String,
    until: Instant,
}

impl Aside {
    pub(super) fn new(query: RowsQuery, spans: SpanMaker, failure: &Failure) -> Self {
        Aside { query, spans, why: failure.to_string(), until: Instant::now() + AGAIN_AFTER }
    }

    /// Whether it is time to ask for the columns of spans again.
    pub(super) fn is_over(&self) -> bool {
        self.until <= Instant::now()
    }

    /// What an operator should know.
    pub(super) fn note(&self) -> String {
        format!("rows are counted without spans: {}", self.why)
    }

    /// The spans that so many rows did not make.
    pub(super) fn skipped(&self, rows: u64) -> BTreeMap<SpanSkipped, u64> {
        BTreeMap::from([(SpanSkipped::ColumnsUnread, rows.saturating_mul(self.spans.spans_a_row() as u64))])
    }
}
