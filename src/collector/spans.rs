//! Spans out of rows, by what the pack says of them.
//!
//! Pure: ids are hashes of what the row is. A row that makes no span is counted by reason, and costs no count anything.
//! No text of a row leaves but through the personal-data guard.

mod ids;
mod judge;
mod traceparent;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::guard::{Guard, Replaced};
use crate::family::{Micros, SpanContext};
use crate::pack::{
    self,
    span::{AttributeKind, NamePiece},
};
use crate::source::{RowsQuery, instant};
use crate::span::{AttributeValue, SpanId, SpanKind, SpanRecord, TraceId};
use crate::telemetry::SpanSkipped;
use ids::Ids;
use judge::Judge;

/// The first moment at which no span may end: the year 2201. OTLP counts nanoseconds without sign from 1970, and what a
/// row says of the 23rd century is a slip.
const TOO_LATE: Micros = 7_289_654_400_000_000;

/// Makes the spans of one rows collector.
#[derive(Debug, Clone)]
pub struct SpanMaker {
    /// Cells that tell which row it is: key, and state if there is one.
    row: usize,
    /// In the order in which they are made: each after what it is a part of.
    spans: Vec<Prepared>,
    ids: Ids,
    judge: Judge,
    /// Where each span of the row at hand has its parts.
    places: Vec<Option<Place>>,
}

/// One span of the pack, its columns found.
#[derive(Debug, Clone)]
struct Prepared {
    /// Its place in the pack's list.
    listed: usize,
    written: String,
    pieces: Vec<Piece>,
    kind: SpanKind,
    when: Option<usize>,
    start: Option<usize>,
    end: Option<usize>,
    duration: Option<usize>,
    belongs: Belongs,
    traceparent: Option<usize>,
    error: Option<usize>,
    attributes: Vec<(String, Origin)>,
}

#[derive(Debug, Clone)]
enum Piece {
    Text(String),
    Column(usize),
}

/// What a span is a part of.
#[derive(Debug, Clone)]
enum Belongs {
    /// The row is a trace, and this its root.
    Row,
    /// Another span of the row, by its place among the prepared.
    Part(usize),
    /// A trace that several rows make.
    Trace { of: String, id: usize, root: bool },
}

/// Where the value of an attribute comes from.
#[derive(Debug, Clone)]
enum Origin {
    Constant(AttributeValue),
    Text { cell: usize, ids: bool },
    Read { cell: usize, kind: AttributeKind },
}

/// Where the parts of a span belong.
#[derive(Debug, Clone, Copy)]
struct Place {
    trace: TraceId,
    parent: Option<SpanId>,
}

impl SpanMaker {
    /// None when the pack says nothing of spans. The pack must have passed lint. `source` is a part of every id, `pack` of those of
    /// traces that several rows make.
    pub fn new(
        definition: &pack::Collector,
        query: &RowsQuery,
        source: &str,
        pack: &str,
        guard: &Arc<Guard>,
    ) -> Option<Self> {
        let row = query.key.len() + usize::from(query.transition.is_some());
        let cell = |name: &str| query.columns.iter().position(|(column, _)| column == name).map(|at| row + at);
        let table = definition.rows.as_ref()?.table.as_str();
        Self::of(&definition.spans, row, &cell, Ids::new(source, pack, table), guard)
    }

    /// The same for lines of a log: cell 0 tells the line or the run from every other, the columns stand behind it.
    pub fn of_lines(
        definition: &pack::Collector,
        columns: &[String],
        source: &str,
        pack: &str,
        guard: &Arc<Guard>,
    ) -> Option<Self> {
        let cell = |name: &str| columns.iter().position(|column| column == name).map(|at| 1 + at);
        let table = format!("logs {}", definition.name);
        Self::of(&definition.spans, 1, &cell, Ids::new(source, pack, &table), guard)
    }

    /// `row` cells tell which row it is; `cell` is where a column stands.
    fn of(
        spans: &[pack::Span],
        row: usize,
        cell: &dyn Fn(&str) -> Option<usize>,
        ids: Ids,
        guard: &Arc<Guard>,
    ) -> Option<Self> {
        let spans = in_order(spans)
            .into_iter()
            .map(|(listed, part_of)| prepared(&spans[listed], listed, part_of, cell))
            .collect::<Option<Vec<_>>>()?;
        (!spans.is_empty()).then(|| SpanMaker {
            row,
            places: vec![None; spans.len()],
            spans,
            ids,
            judge: Judge::new(guard.clone()),
        })
    }

    /// How many spans a row makes at most.
    pub fn spans_a_row(&self) -> usize {
        self.spans.len()
    }

    /// Adds the spans of one row: `cells` are the page's (key, state, columns), `time` is the row's. Returns what an exemplar of
    /// the row points to: the first of its spans, as the pack lists them.
    pub fn make<'c>(
        &mut self,
        cells: &dyn Fn(usize) -> Option<&'c str>,
        time: Micros,
        spans: &mut Vec<SpanRecord>,
        skipped: &mut BTreeMap<SpanSkipped, u64>,
    ) -> Option<SpanContext> {
        let SpanMaker { row, spans: prepared, ids, judge, places } = self;
        let identity = || (0..*row).map(cells);
        let mut first: Option<(usize, SpanContext)> = None;
        for (number, span) in prepared.iter().enumerate() {
            places[number] = None;
            let mut skip = |reason| *skipped.entry(reason).or_default() += 1;
            let stored = span.traceparent.and_then(cells).and_then(traceparent::parse);
            let (place, is_root) = match (&span.belongs, stored) {
                (_, Some(stored)) => (Some(Place { trace: stored.trace, parent: Some(stored.span) }), false),
                (Belongs::Row, None) => (Some(Place { trace: ids.trace_of_row(identity()), parent: None }), false),
                (Belongs::Part(whole), None) => (places[*whole], false),
                (Belongs::Trace { of, id, root }, None) => {
                    let trace = cells(*id).map(|id| ids.trace(of, id));
                    (trace.map(|trace| Place { trace, parent: (!root).then(|| ids.root(trace)) }), *root)
                }
            };
            // The parts of a span that is not made are parts of what it would have been a part of.
            places[number] = place;
            if span.when.is_some_and(|when| cells(when).is_none()) {
                continue;
            }
            let Some(place) = place else {
                skip(SpanSkipped::TraceMissing);
                continue;
            };
            let (start, end) = match times(span, cells, time) {
                Ok(times) => times,
                Err(reason) => {
                    skip(reason);
                    continue;
                }
            };
            let id = if is_root { ids.root(place.trace) } else { ids.span(identity(), &span.written) };
            places[number] = Some(Place { parent: Some(id), ..place });
            let context = SpanContext { trace: place.trace, span: id };
            if first.is_none_or(|(listed, _)| span.listed < listed) {
                first = Some((span.listed, context));
            }
            spans.push(SpanRecord {
                trace: place.trace,
                span: id,
                parent: place.parent,
                name: name(span, cells, judge),
                kind: span.kind,
                start,
                end,
                error: span.error.and_then(cells).filter(|e| !e.is_empty()).map(|error| judge.clean(error, false)),
                attributes: attributes(span, cells, judge),
            });
        }
        first.map(|(_, context)| context)
    }

    /// Values that the guard replaced since the last call, by reason.
    pub fn take_replaced(&mut self) -> BTreeMap<Replaced, u64> {
        self.judge.take_replaced()
    }
}

/// The spans by their places in the list, each after what it is a part of, and its place among those.
fn in_order(spans: &[pack::Span]) -> Vec<(usize, Option<usize>)> {
    let is_own = |span: &&pack::Span| span.trace.is_none() && span.parent.is_none();
    let root = spans.iter().position(|span| is_own(&span));
    let whole = |listed: usize| match &spans[listed].parent {
        Some(parent) => spans.iter().position(|span| span.name == *parent),
        None if spans[listed].trace.is_none() => root.filter(|root| *root != listed),
        None => None,
    };
    let mut ordered: Vec<(usize, Option<usize>)> = Vec::with_capacity(spans.len());
    // A round brings every span whose whole is there; lint saw to it that there is no ring.
    for _ in 0..spans.len() {
        for listed in 0..spans.len() {
            let place = |wanted: usize| ordered.iter().position(|(known, _)| *known == wanted);
            if place(listed).is_some() {
                continue;
            }
            match whole(listed) {
                None => ordered.push((listed, None)),
                Some(whole) => {
                    if let Some(whole) = place(whole) {
                        ordered.push((listed, Some(whole)));
                    }
                }
            }
        }
    }
    ordered
}

fn prepared(
    span: &pack::Span,
    listed: usize,
    part_of: Option<usize>,
    cell: &dyn Fn(&str) -> Option<usize>,
) -> Option<Prepared> {
    // A column that is not read is NULL in every row.
    let optional = |name: &Option<String>| name.as_deref().and_then(cell);
    let pieces = span.name_pieces().map(|piece| match piece {
        NamePiece::Text(text) => Some(Piece::Text(text.to_owned())),
        NamePiece::Column(column) => cell(column).map(Piece::Column),
    });
    let attributes = span.attributes.iter().map(|(name, attribute)| {
        let origin = match (attribute.constant(), attribute.kind()) {
            (Some(constant), kind) => Origin::Constant(kind.read(constant)?),
            (None, AttributeKind::Text) => {
                Origin::Text { cell: cell(attribute.column()?)?, ids: attribute.allows_ids() }
            }
            (None, kind) => Origin::Read { cell: cell(attribute.column()?)?, kind },
        };
        Some((name.clone(), origin))
    });
    Some(Prepared {
        listed,
        written: span.name.clone(),
        pieces: pieces.collect::<Option<Vec<_>>>()?,
        kind: span.kind,
        when: optional(&span.when),
        start: optional(&span.start),
        end: optional(&span.end),
        duration: optional(&span.duration),
        belongs: match (&span.trace, part_of) {
            (_, Some(whole)) => Belongs::Part(whole),
            (Some(trace), None) => Belongs::Trace { of: trace.of.clone(), id: cell(&trace.id)?, root: trace.root },
            (None, None) => Belongs::Row,
        },
        traceparent: optional(&span.traceparent),
        error: optional(&span.error),
        attributes: attributes.collect::<Option<Vec<_>>>()?,
    })
}

/// When the work began and ended.
fn times<'c>(
    span: &Prepared,
    cells: &dyn Fn(usize) -> Option<&'c str>,
    time: Micros,
) -> Result<(Micros, Micros), SpanSkipped> {
    let stamp = |cell: usize| {
        let text = cells(cell).ok_or(SpanSkipped::TimeMissing)?;
        instant::parse_time(text).ok_or(SpanSkipped::BadTime)
    };
    let length = |cell: usize| seconds(cells(cell).ok_or(SpanSkipped::TimeMissing)?);
    let (start, end) = match (span.start, span.end, span.duration) {
        (Some(start), None, Some(duration)) => {
            let start = stamp(start)?;
            (start, start.saturating_add(length(duration)?))
        }
        (start, end, duration) => {
            let end = end.map_or(Ok(time), stamp)?;
            let start = match (start, duration) {
                (Some(start), _) => stamp(start)?,
                (None, Some(duration)) => end.saturating_sub(length(duration)?),
                (None, None) => return Err(SpanSkipped::TimeMissing),
            };
            (start, end)
        }
    };
    if [start, end].iter().any(|moment| !(0..TOO_LATE).contains(moment)) {
        Err(SpanSkipped::BadTime)
    } else if end < start {
        Err(SpanSkipped::EndsBeforeStart)
    } else {
        Ok((start, end))
    }
}

/// Seconds as decimal text, in microseconds.
fn seconds(text: &str) -> Result<Micros, SpanSkipped> {
    let seconds: f64 = text.trim().parse().map_err(|_| SpanSkipped::BadTime)?;
    if !seconds.is_finite() {
        Err(SpanSkipped::BadTime)
    } else if seconds < 0.0 {
        Err(SpanSkipped::EndsBeforeStart)
    } else {
        // What is too long for the type is too long for a span, which the bounds tell.
        Ok((seconds * 1e6).round() as Micros)
    }
}

/// The name, filled. A column that is NULL or empty vanishes, and one blank beside it.
fn name<'c>(span: &Prepared, cells: &dyn Fn(usize) -> Option<&'c str>, judge: &mut Judge) -> String {
    let mut name = String::with_capacity(span.written.len() + 16);
    let mut swallow = false;
    for piece in &span.pieces {
        match piece {
            Piece::Text(text) => {
                let text = if swallow { text.strip_prefix(' ').unwrap_or(text) } else { text };
                name.push_str(text);
                swallow = false;
            }
            Piece::Column(cell) => match cells(*cell).filter(|value| !value.is_empty()) {
                Some(value) => {
                    judge.push(value, false, &mut name);
                    swallow = false;
                }
                None if name.ends_with(' ') => {
                    name.pop();
                }
                None => swallow = name.is_empty(),
            },
        }
    }
    if name.trim().is_empty() {
        // A span needs some name, and this is what it would have told.
        return span.written.replace(['{', '}'], "");
    }
    name
}

fn attributes<'c>(
    span: &Prepared,
    cells: &dyn Fn(usize) -> Option<&'c str>,
    judge: &mut Judge,
) -> Vec<(String, AttributeValue)> {
    let mut attributes = Vec::with_capacity(span.attributes.len());
    for (name, origin) in &span.attributes {
        let value = match origin {
            Origin::Constant(value) => Some(value.clone()),
            Origin::Text { cell, ids } => cells(*cell).map(|text| AttributeValue::Text(judge.clean(text, *ids))),
            Origin::Read { cell, kind } => cells(*cell).and_then(|text| kind.read(text)),
        };
        attributes.extend(value.map(|value| (name.clone(), value)));
    }
    attributes
}

#[cfg(test)]
mod tests;
