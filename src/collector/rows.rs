//! The rows collector: pages of rows in, exact counters and histograms out.
//!
//! Each row counts once: when its key was not seen, and never again. The collector is pure: it reads no clock, does no
//! I/O and cannot fail; a row that it refuses is counted by reason and costs no other row anything.

use std::sync::Arc;

use serde_json::json;

use crate::config::{Limits, Start};
use crate::family::{Family, Micros};
use crate::pack::{self, LABELS_PER_METRIC};
use crate::source::{Moment, PagePosition, RowsPage, RowsQuery, RowsRange};
use crate::span::SpanRecord;
use crate::telemetry::{Ignored, SpanSkipped};

use super::cursor::{Cursor, LookBack, Phase, Sweep};
use super::guard::Guard;
use super::record::{Admitted, Changes, Folded, StoredSeries};
use super::seen::{KeyHash, Seen, SeenKeys};
use super::series::SeriesSet;
use super::spans::SpanMaker;
use super::tally::{Audit, Tally};
use crate::source::{CursorMode, WindowCount};

/// What the operator sets for a rows collector.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RowsSettings {
    /// Where counting begins on the first run.
    pub start: Start,
    /// How far back late rows are looked for.
    pub look_back: LookBack,
    /// Rows a page.
    pub page_rows: u32,
    /// Bounds.
    pub limits: Limits,
}

/// Counts the rows of one table.
pub struct RowsCollector {
    query: RowsQuery,
    settings: RowsSettings,
    definition: String,
    metrics: Vec<Counted>,
    cursor: Option<Cursor>,
    seen: SeenKeys,
    /// Series that began before this were shown already, and are not shown as 0 again.
    shown_before: Micros,
    seeded: bool,
    spans: Option<SpanMaker>,
    exemplars: bool,
    /// Spans that may be made yet.
    room: u64,
    /// Spans that were made and are to be written.
    made: Vec<SpanRecord>,
}

/// One metric and the cells it reads.
pub(super) struct Counted {
    pub(super) series: SeriesSet,
    definition: String,
    pub(super) labels: Vec<usize>,
    pub(super) value: Option<usize>,
}

impl Counted {
    /// The metrics of a collector, without any series yet.
    pub(super) fn all(
        definition: &pack::Collector,
        query: &RowsQuery,
        limits: &Limits,
        guard: &Arc<Guard>,
    ) -> Vec<Counted> {
        let first = query.key.len() + usize::from(query.transition.is_some());
        let position = |name: &str| query.columns.iter().position(|(column, _)| column == name).map(|at| first + at);
        let counted = |metric: &pack::Metric| Counted {
            series: SeriesSet::new(metric, limits, guard.clone()),
            definition: meaning(metric, query),
            labels: metric.labels.iter().filter_map(|label| position(label.column())).collect(),
            value: metric.value.as_deref().and_then(position),
        };
        definition.metrics.iter().map(counted).collect()
    }
}

impl RowsCollector {
    /// Makes a collector that has not begun. The pack must have passed lint.
    pub fn new(definition: &pack::Collector, query: RowsQuery, settings: RowsSettings, guard: &Arc<Guard>) -> Self {
        let metrics = Counted::all(definition, &query, &settings.limits, guard);
        let definition = json!({
            "table": query.table, "key": query.key, "time": query.time, "transition": query.transition,
        })
        .to_string();
        RowsCollector {
            query,
            settings,
            definition,
            metrics,
            cursor: None,
            seen: SeenKeys::default(),
            shown_before: Micros::MIN,
            seeded: false,
            spans: None,
            exemplars: true,
            room: 0,
            made: Vec::new(),
        }
    }

    /// Makes spans of rows too, as far as there is room ([`RowsCollector::give_room`]).
    pub fn with_spans(mut self, spans: Option<SpanMaker>) -> Self {
        self.spans = spans;
        self
    }

    /// Whether series show rows whose spans were made, as exemplars; they do unless told otherwise.
    pub fn with_exemplars(mut self, shown: bool) -> Self {
        self.exemplars = shown;
        self
    }

    /// How many spans a page may make at most.
    pub fn spans_of(&self, page: &RowsPage) -> u64 {
        self.spans.as_ref().map_or(0, |spans| (page.rows.len() * spans.spans_a_row()) as u64)
    }

    /// So many spans may be made; those beyond are left out and counted.
    pub fn give_room(&mut self, spans: u64) {
        self.room = spans;
    }

    /// What is asked of the source.
    pub fn query(&self) -> &RowsQuery {
        &self.query
    }

    /// What the cursor is made for; a stored cursor with another definition does not fit.
    pub fn definition(&self) -> &str {
        &self.definition
    }

    /// Takes back what an earlier run wrote. Returns the metrics whose stored series mean something else now: they begin
    /// anew at 0.
    ///
    /// # Errors
    /// A sentence, when the stored cursor or a series cannot be understood.
    pub fn restore(
        &mut self,
        cursor: &str,
        series: Vec<StoredSeries>,
        seen: Vec<Seen>,
        now: Micros,
    ) -> Result<Vec<String>, String> {
        let cursor: Cursor =
            serde_json::from_str(cursor).map_err(|error| format!("the stored cursor cannot be read: {error}"))?;
        let mut changed = Vec::new();
        for stored in series {
            let known = self.metrics.iter_mut().find(|counted| counted.series.name() == stored.metric);
            match known {
                Some(counted) if counted.definition == stored.definition => {
                    let record =
                        super::series::StoredSeries { labels: stored.labels, start: stored.start, value: stored.value };
                    counted.series.load(&record).map_err(|misfit| misfit.to_string())?;
                }
                _ => changed.push(stored.metric),
            }
        }
        changed.sort();
        changed.dedup();
        self.seen.restore(seen);
        // Whatever the clock did meanwhile: what was there is not shown as 0 again.
        let newest = self.metrics.iter().filter_map(|counted| counted.series.newest_start()).max();
        self.shown_before = newest.map_or(now, |newest| newest.max(now));
        self.cursor = Some(cursor);
        Ok(changed)
    }

    /// Whether counting has begun.
    pub fn has_begun(&self) -> bool {
        self.cursor.is_some()
    }

    /// Begins at a moment.
    pub fn begin(&mut self, moment: &Moment) {
        let (phase, from) = match self.settings.start {
            Start::Now => (Phase::Baseline, None),
            Start::All => (Phase::History, None),
            Start::At(time) => (Phase::History, Some(time)),
        };
        self.begin_as(moment, phase, from);
    }

    /// The table did not exist when the collector first looked: whatever it will have is new, counted from the moment
    /// at which counting began.
    pub fn table_was_missing(&mut self, moment: &Moment) {
        self.begin_as(moment, Phase::Live, None);
    }

    /// Whether the first look is still to come, so that a missing table means an empty one.
    pub fn is_before_first_look(&self) -> bool {
        self.cursor.as_ref().is_none_or(|cursor| cursor.phase != Phase::Live && cursor.sweep.is_none())
    }

    fn begin_as(&mut self, moment: &Moment, phase: Phase, from: Option<Micros>) {
        let mut cursor = Cursor::begin(moment, phase, from, &self.settings.look_back);
        if phase == Phase::Baseline && self.query.transition.is_some() {
            // A row that reached its state long ago may be written again at any time: the first look knows them all.
            cursor.floor = None;
        }
        self.cursor = Some(cursor);
    }

    /// What to read next.
    pub fn next_range(&self) -> RowsRange {
        let limit = self.settings.page_rows;
        let Some(cursor) = &self.cursor else {
            return RowsRange::of_everything(limit);
        };
        let after = cursor.sweep.as_ref().map(|sweep| sweep.after.clone()).or_else(|| cursor.resume.clone());
        RowsRange {
            floor: cursor.floor,
            horizon: cursor.horizon,
            leave: cursor.sweep.as_ref().filter(|_| cursor.settled_only).and_then(Sweep::leaves),
            settled_only: cursor.settled_only,
            after,
            limit,
        }
    }

    /// What to read after a page that has not been counted yet, if it is known to have a successor. It is of use only if
    /// `next_range` says the same once the page was counted.
    pub fn range_after(&self, page: &RowsPage) -> Option<RowsRange> {
        let cursor = self.cursor.as_ref()?;
        let sweep = cursor.sweep_of(&page.moment, page.next.clone()?, &self.settings.look_back);
        let leave = sweep.leaves().filter(|_| cursor.settled_only);
        Some(RowsRange { leave, after: Some(sweep.after), ..self.next_range() })
    }

    /// Counts a page that `next_range` asked for. `now` is our own clock, for series that are shown as 0 first.
    pub fn fold(&mut self, page: &RowsPage, now: Micros) -> Folded {
        let mut folded = Folded::default();
        let moment = &page.moment;
        let Some(cursor) = &mut self.cursor else { return folded };
        if cursor.belongs_elsewhere(moment) {
            self.begin_epoch(moment, now);
            return Folded { new_epoch: true, more: true, ..folded };
        }
        if cursor.mode != moment.mode {
            // A table became a view, or the other way round: the window and the keys seen in it carry over.
            cursor.mode = moment.mode;
            cursor.horizon = None;
        }
        let sweep = cursor.sweep_of(moment, PagePosition(Vec::new()), &self.settings.look_back);
        let next_floor = sweep.floor;
        if cursor.phase == Phase::History && cursor.counted == 0 && self.settings.start == Start::All {
            // The count of all history began when its first row happened.
            // No start lies before 1970, where a time stamp of an exposition begins.
            cursor.epoch_start = page.times.first().map_or(moment.now, |first| *first).min(moment.now).max(0);
        }
        // A series that a live row makes begins now: it is shown as 0 first, and grows from there. History begins at its
        // own beginning and is no growth.
        let start = if cursor.phase == Phase::History { cursor.epoch_start } else { now };
        if !self.seeded {
            self.seeded = true;
            for counted in &mut self.metrics {
                counted.series.seed(start);
            }
        }
        let keep_all = self.query.transition.is_some();
        let key_cells = self.query.key.len() + usize::from(keep_all);
        // An exemplar of the future would stand for ever, here and in Prometheus, since none that comes is younger.
        let present = now.max(moment.now).saturating_add(self.settings.look_back.margin);
        let mut room = Vec::new();
        let made_before = self.made.len();
        for (index, row) in page.rows.iter().enumerate() {
            let time = page.times[index];
            let Some(key) = KeyHash::of((0..key_cells).map(|cell| row.cell(cell)), &mut room) else {
                *folded.ignored.entry(Ignored::KeyMissing).or_default() += 1;
                continue;
            };
            if self.seen.contains(key) {
                *folded.ignored.entry(Ignored::AlreadyCounted).or_default() += 1;
                continue;
            }
            if keep_all || time >= next_floor {
                let writer = page.writers.get(index).copied().unwrap_or_default();
                self.seen.insert(Seen { key, time, writer });
            }
            cursor.tally.add(time, moment.deletions);
            if cursor.phase == Phase::Baseline {
                *folded.ignored.entry(Ignored::History).or_default() += 1;
                continue;
            }
            let span = self.spans.as_mut().and_then(|spans| {
                let before = self.made.len();
                let first = spans.make(&|cell| row.cell(cell), time, &mut self.made, &mut folded.spans_skipped);
                let made = (self.made.len() - before) as u64;
                if made > self.room {
                    self.made.truncate(before);
                    *folded.spans_skipped.entry(SpanSkipped::QueueFull).or_default() += made;
                    return None;
                }
                self.room -= made;
                first
            });
            let is_shown = self.exemplars && (0..=present).contains(&time);
            let span = span.filter(|_| is_shown).map(|span| (span, time));
            let mut labels = [None; LABELS_PER_METRIC];
            for counted in &mut self.metrics {
                let width = counted.labels.len().min(LABELS_PER_METRIC);
                for (label, cell) in labels.iter_mut().zip(&counted.labels) {
                    *label = row.cell(*cell);
                }
                let value = counted.value.map(|cell| row.cell(cell));
                // A value column that is NULL says nothing of this metric.
                if value == Some(None) {
                    continue;
                }
                if let Err(reason) = counted.series.add_traced(&labels[..width], value.flatten(), start, span) {
                    *folded.ignored.entry(reason).or_default() += 1;
                }
            }
            folded.counted += 1;
        }
        folded.spans_made = (self.made.len() - made_before) as u64;
        folded.spans_replaced = self.spans.as_mut().map(SpanMaker::take_replaced).unwrap_or_default();
        folded.youngest = page.times.last().copied();
        cursor.counted += folded.counted;
        cursor.resume = page.resume.clone().or(cursor.resume.take());
        // What is passed by the sweep comes no more in it; in rowid mode nothing ever comes again.
        let passed = folded.youngest.filter(|_| page.next.is_some() && cursor.mode != CursorMode::Rowid);
        let next_horizon = sweep.horizon;
        match &page.next {
            Some(after) => {
                folded.more = true;
                cursor.sweep = Some(Sweep { after: after.clone(), ..sweep });
            }
            None => {
                cursor.sweep = None;
                cursor.horizon = sweep.horizon;
                cursor.floor = Some(sweep.floor);
                cursor.last_sweep = sweep.began;
                cursor.phase = Phase::Live;
                if !keep_all {
                    self.seen.forget_before(next_floor);
                }
            }
        }
        folded.keys_dropped = self.bound_keys(next_horizon, passed);
        folded
    }

    /// Keeps the seen keys within their bound. While a sweep goes on, only keys that it has `passed` may go: the others
    /// still come in it.
    fn bound_keys(&mut self, next_horizon: Option<i64>, passed: Option<Micros>) -> u64 {
        let Some(cursor) = &mut self.cursor else { return 0 };
        let bound = self.settings.limits.seen_keys.max(1);
        if self.seen.len() <= bound {
            if let (true, Some(horizon), None) = (cursor.settled_only, next_horizon, &cursor.sweep) {
                cursor.settled_only = self.seen.count(|seen| seen.writer >= horizon) > bound / 2;
            }
            return 0;
        }
        let target = bound - bound / 10;
        let is_passed = |seen: &Seen| passed.is_none_or(|at| seen.time < at);
        match (cursor.mode, next_horizon) {
            (CursorMode::Horizon, Some(horizon)) => {
                // A settled row comes again only when it is updated; an unsettled one surely does.
                let (dropped, _) = self.seen.make_room(target, |seen| seen.writer < horizon && is_passed(seen));
                cursor.settled_only |= self.seen.count(|seen| seen.writer >= horizon) > target;
                dropped
            }
            _ => {
                let (dropped, youngest) = self.seen.make_room(target, is_passed);
                // What is forgotten must not be read again: the floor goes up with it.
                if let (Some(youngest), None) = (youngest, &self.query.transition) {
                    let above = youngest.saturating_add(1);
                    cursor.floor = Some(cursor.floor.map_or(above, |floor| floor.max(above)));
                    if let Some(sweep) = &mut cursor.sweep {
                        sweep.floor = sweep.floor.max(above);
                    }
                }
                dropped
            }
        }
    }

    /// The database is another one, or was set back: every count begins anew at 0. Keys stay, so that rows which both
    /// have do not count twice.
    fn begin_epoch(&mut self, moment: &Moment, now: Micros) {
        let floor = self.cursor.as_ref().and_then(|cursor| cursor.floor);
        let look_back = &self.settings.look_back;
        let mut cursor = Cursor::begin(moment, Phase::Live, None, look_back);
        cursor.horizon = None;
        cursor.floor = floor.or(cursor.floor);
        cursor.epoch_start = now;
        cursor.last_sweep = now;
        cursor.tally = Tally::complete_from(moment.now);
        for counted in &mut self.metrics {
            counted.series.reset(now);
        }
        self.cursor = Some(cursor);
    }

    /// What has changed since the last call, to be written before it is shown.
    pub fn take_changes(&mut self) -> Changes {
        let mut series = Vec::new();
        for counted in &mut self.metrics {
            let metric = counted.series.name().to_owned();
            for record in counted.series.export_dirty() {
                series.push(StoredSeries {
                    metric: metric.clone(),
                    definition: counted.definition.clone(),
                    labels: record.labels,
                    value: record.value,
                    start: record.start,
                });
            }
            counted.series.mark_clean();
        }
        let cursor = serde_json::to_string(&self.cursor).expect("a cursor is plain data with text keys");
        Changes {
            definition: self.definition.clone(),
            cursor,
            series,
            seen: self.seen.take_changes(),
            spans: std::mem::take(&mut self.made),
            ..Changes::default()
        }
    }

    /// The families to publish. Series that began after `hide_since` are shown as 0.
    pub fn families(&self, hide_since: Micros) -> Vec<Family> {
        let hide_since = Some(hide_since.max(self.shown_before));
        self.metrics.iter().map(|counted| counted.series.families(hide_since)).collect()
    }

    /// When the youngest series began: until `hide_since` has passed it, something is shown as 0.
    pub fn youngest_start(&self) -> Option<Micros> {
        self.metrics
            .iter()
            .filter_map(|counted| counted.series.newest_start())
            .max()
            .filter(|at| *at > self.shown_before)
    }

    /// Per metric: its name, its series, and what admission did since the last call.
    pub fn take_admissions(&mut self) -> Vec<Admitted> {
        let take = |counted: &mut Counted| Admitted {
            metric: counted.series.name().to_owned(),
            series: counted.series.len(),
            overflowed: counted.series.take_overflowed(),
            replaced: counted.series.take_replaced().collect(),
        };
        self.metrics.iter_mut().map(take).collect()
    }

    /// The cursor, once there is one.
    pub fn cursor(&self) -> Option<&Cursor> {
        self.cursor.as_ref()
    }

    /// How many keys are remembered.
    pub fn seen_keys(&self) -> usize {
        self.seen.len()
    }

    /// The window that may be audited now, if there is one. Rows whose time moves have none.
    pub fn audit_window(&self) -> Option<(Micros, Micros)> {
        let cursor = self.cursor.as_ref()?;
        if self.query.transition.is_some() || cursor.sweep.is_some() || cursor.phase != Phase::Live {
            return None;
        }
        cursor.tally.window(cursor.floor?)
    }

    /// Compares a recount with what was counted.
    pub fn audit(&self, window: (Micros, Micros), recount: WindowCount) -> Audit {
        self.cursor.as_ref().map(|cursor| cursor.tally.compare(window, recount)).unwrap_or_default()
    }
}

/// What a metric's values mean, as text: another text is another count.
fn meaning(metric: &pack::Metric, query: &RowsQuery) -> String {
    let expression =
        |name: &str| query.columns.iter().find(|(column, _)| column == name).map(|(_, expression)| expression.clone());
    let labels: Vec<_> = metric.labels.iter().map(|label| json!([label.name(), expression(label.column())])).collect();
    json!({
        "kind": format!("{:?}", metric.kind()),
        "labels": labels,
        "value": metric.value.as_deref().and_then(expression),
        "filter": query.filter,
        "buckets": metric.buckets,
    })
    .to_string()
}

#[cfg(test)]
mod tests;
