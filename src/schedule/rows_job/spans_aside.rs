//! Reading on without the columns that spans alone need, while the source refuses those.
//!
//! It costs no metric anything, and never gives up the columns that a metric needs.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::RowsJob;
use crate::collector::{RowsCollector, SpanMaker};
use crate::pack;
use crate::schedule::Context;
use crate::source::{Moment, RowsPage, RowsQuery};
use crate::store::CollectorId;
use crate::telemetry::{Failure, Reason, SpanSkipped};

/// After this the columns of spans are asked for again: somebody may have added or granted what was missing. Each time costs
/// one statement that fails.
const AGAIN_AFTER: Duration = Duration::from_secs(300);

/// Reads that run out of time or answer nonsense this often in a row may do so for what spans need; before, they are a bad
/// moment of the source.
const BAD_MOMENTS: u32 = 3;

impl RowsJob {
    /// Reads without the columns that spans alone need, if the read may have failed for those: no metric is absent for what
    /// a span would have told. The failure stands if that fails too.
    pub(super) async fn read_without_spans(
        &mut self,
        failure: Failure,
        collector: &mut RowsCollector,
        begun: Option<&Moment>,
        id: &CollectorId,
        context: &Context,
    ) -> Result<RowsPage, Failure> {
        let mut query = self.query.clone();
        query.keep_columns(&pack::lint::metric_columns(&self.definition));
        let is_less = !self.definition.metrics.is_empty() && query.columns.len() < self.query.columns.len();
        if !is_less || !self.failed.may_be_of_spans(failure.reason) {
            return Err(failure);
        }
        let Some(spans) = self.spans.take() else { return Err(failure) };
        let whole = std::mem::replace(&mut self.query, query);
        let bare = async {
            let mut bare = self.made_from_state(id, context).await?;
            if let Some(moment) = begun {
                bare.begin(moment);
            }
            let page = self.source.read_rows(&self.query, &bare.next_range()).await?;
            Ok::<_, Failure>((bare, page))
        };
        match bare.await {
            Ok((bare, page)) => {
                tracing::warn!(collector = %id, "its rows are counted without spans: {failure}");
                *collector = bare;
                self.aside = Some(Aside::new(whole, spans, &failure));
                Ok(page)
            }
            Err(_) => {
                self.query = whole;
                self.spans = Some(spans);
                Err(failure)
            }
        }
    }
}

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
