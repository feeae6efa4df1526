//! Lines in, families out: the counters, histograms and gauges of one `logs` collector.
//!
//! Pure, like every collector. A line counts once for each collector whose form it has; whether it came before is not
//! asked here. No text leaves but through the columns that the pack declares, and the guard.

pub mod form;
mod kept;
pub mod last;
mod metrics;
pub mod runs;
pub mod window;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::guard::{Guard, Replaced};
use super::record::{Admitted, Changes, StoredSeries};
use super::seen::KeyHash;
use super::spans::SpanMaker;
use crate::config::Limits;
use crate::family::{Family, Kind, Labels, Micros, Series, Value};
use crate::pack;
use crate::pack::logs::{IN_FLIGHT, RunPart, STARTED, ZeroAfter};
use crate::source::instant::format_exact;
use crate::source::logs::LogLine;
use crate::span::SpanRecord;
use crate::telemetry::{Ignored, SpanSkipped};
use form::{Fitted, Forms};
use kept::Kept;
use metrics::LineMetrics;
use runs::{Begun, Due, Ended, Runs};

pub use runs::RunChanges;
pub use window::{LineBatch, LineWindow, WindowChanges};

/// What a `logs` collector needs to know beside its pack.
#[derive(Debug, Clone)]
pub struct LogsSettings {
    /// Bounds.
    pub limits: Limits,
    /// Runs that are remembered.
    pub runs: usize,
    /// Values of the pack's parameters.
    pub parameters: Vec<(String, f64)>,
    /// Whether series show lines whose spans were made.
    pub exemplars: bool,
}

/// Counts the lines of one collector.
#[derive(Debug)]
pub struct LogsCollector {
    forms: Forms,
    columns: Vec<String>,
    metrics: LineMetrics,
    flying: Vec<Flying>,
    joined: Option<Joined>,
    spans: Option<SpanMaker>,
    exemplars: bool,
    room: u64,
    made: Vec<SpanRecord>,
    /// Whether a line has ever come: before that nothing is shown, since nothing is known.
    heard: bool,
    /// Whether it must be one that has a form which is looked for.
    zero_after: ZeroAfter,
    lines: u64,
}

/// A gauge of runs under way. It has no label: what a run that goes on is like is known when it ends.
#[derive(Debug)]
struct Flying {
    name: Arc<str>,
    help: Arc<str>,
}

#[derive(Debug)]
struct Joined {
    id: usize,
    started: Option<usize>,
    lost: Vec<(usize, String)>,
    lost_after: Micros,
    runs: Runs,
    kept: Kept,
}

/// What an earlier run wrote.
#[derive(Debug, Default)]
pub struct StoredLogs {
    /// The columns that its runs have cells of, in their order, as JSON.
    pub columns: String,
    /// The number of lines.
    pub cursor: String,
    /// The series.
    pub series: Vec<StoredSeries>,
    /// The runs, as JSON.
    pub runs: Vec<(KeyHash, String)>,
}

/// What became of lines.
#[derive(Debug, Default, PartialEq)]
pub struct LogsFolded {
    /// Which of the lines have a form that is looked for, in their order.
    pub fits: Vec<bool>,
    /// Rows that lines and lost runs made.
    pub rows: u64,
    /// Values and lines that were left aside, by reason.
    pub ignored: BTreeMap<Ignored, u64>,
    /// Spans that were made.
    pub spans_made: u64,
    /// Spans that were not made, by reason.
    pub spans_skipped: BTreeMap<SpanSkipped, u64>,
    /// Values in spans that were replaced, by reason.
    pub spans_replaced: BTreeMap<Replaced, u64>,
}

/// A row on its way: what tells it from every other, its time, its cells.
struct Row<'r> {
    identity: &'r str,
    time: Micros,
    cells: &'r [Option<&'r str>],
}

impl LogsCollector {
    /// Makes a collector that has counted nothing. None for a collector of another kind.
    ///
    /// # Errors
    /// When an expression of the pack is none; lint has told so before.
    pub fn new(
        definition: &pack::Collector,
        settings: &LogsSettings,
        spans: impl FnOnce(&[String]) -> Option<SpanMaker>,
        guard: &Arc<Guard>,
    ) -> Result<Option<Self>, String> {
        let Some(logs) = &definition.logs else { return Ok(None) };
        let mut columns: Vec<String> = pack::lint::used_columns(definition).into_iter().map(String::from).collect();
        columns.retain(|column| column != IN_FLIGHT || logs.runs.is_none());
        for id in logs.runs.iter().map(|runs| &runs.id) {
            if !columns.contains(id) {
                columns.push(id.clone());
            }
        }
        let at = |name: &str| columns.iter().position(|column| column == name);
        let (mut metrics, mut flying) = (LineMetrics::default(), Vec::new());
        for metric in &definition.metrics {
            if logs.runs.is_some() && metric.kind() == Kind::Gauge && metric.value.as_deref() == Some(IN_FLIGHT) {
                flying.push(Flying { name: metric.name().into(), help: metric.help.as_str().into() });
            } else {
                metrics.add(metric, &at, &settings.parameters, &settings.limits, guard);
            }
        }
        let joined = logs.runs.as_ref().map(|runs| {
            let lost_after = Micros::try_from(runs.lost_after.as_micros()).unwrap_or(Micros::MAX);
            // What ends have themselves need not wait for a beginning.
            let of_end = |column: &String| {
                let mut ends = logs.lines.iter().filter(|form| form.run == Some(RunPart::End));
                ends.all(|form| form.has_column(column))
            };
            let joins = columns.iter().any(|column| !of_end(column));
            Joined {
                id: at(&runs.id).unwrap_or_default(),
                started: at(STARTED),
                lost: runs.lost.iter().filter_map(|(column, value)| Some((at(column)?, value.clone()))).collect(),
                lost_after,
                runs: Runs::new(lost_after, settings.runs, joins),
                kept: Kept::new(definition, &columns, guard),
            }
        });
        Ok(Some(LogsCollector {
            forms: Forms::new(&logs.lines, &columns)?,
            spans: spans(&columns),
            columns,
            metrics,
            flying,
            joined,
            exemplars: settings.exemplars,
            room: 0,
            made: Vec::new(),
            heard: false,
            zero_after: logs.zero_after,
            lines: 0,
        }))
    }

    /// How many spans lines may make at most.
    pub fn spans_of<'l>(&self, lines: impl Iterator<Item = &'l LogLine>) -> u64 {
        let spans = self.spans_a_row();
        if spans == 0 { 0 } else { lines.map(|line| (spans * self.forms.rows_at_most(line)) as u64).sum() }
    }

    /// How many spans a row may make at most.
    pub fn spans_a_row(&self) -> usize {
        self.spans.as_ref().map_or(0, SpanMaker::spans_a_row)
    }

    /// So many spans may be made; those beyond are left out and counted.
    pub fn give_room(&mut self, spans: u64) {
        self.room = spans;
    }

    /// Counts lines that have not come before, in their order. `now` is when they came.
    pub fn fold<'l>(&mut self, lines: impl Iterator<Item = &'l LogLine>, now: Micros) -> LogsFolded {
        let mut folded = LogsFolded::default();
        self.hear(now);
        for line in lines {
            let fitted = self.forms.fit(line);
            folded.fits.push(fitted.is_some());
            let Some(fitted) = fitted else { continue };
            self.show(now);
            self.lines += 1;
            let time = line.time.unwrap_or(now);
            match fitted.run {
                None => {
                    if fitted.left_out > 0 {
                        *folded.ignored.entry(Ignored::ListTooLong).or_default() += fitted.left_out as u64;
                    }
                    let id = if self.spans.is_some() { line.id.to_string() } else { String::new() };
                    for (number, row) in fitted.rows.iter().enumerate() {
                        let identity =
                            if number == 0 { Cow::Borrowed(id.as_str()) } else { format!("{id} {number}").into() };
                        let cells: Vec<Option<&str>> = row.iter().map(Option::as_deref).collect();
                        self.count(&Row { identity: &identity, time, cells: &cells }, now, &mut folded);
                    }
                }
                Some(part) => self.join(part, &fitted, line.time, now, &mut folded),
            }
        }
        self.finish(&mut folded);
        folded
    }

    /// Counts the runs whose time is over, so many at most: the others are due still.
    pub fn tick(&mut self, at_most: usize, now: Micros) -> LogsFolded {
        let mut folded = LogsFolded::default();
        let Some(joined) = &mut self.joined else { return folded };
        let (id, started, lost_after, lost) = (joined.id, joined.started, joined.lost_after, joined.lost.clone());
        for due in joined.runs.due(at_most, now) {
            let (mut cells, time) = match due {
                Due::Alone(cells, time) => (cells, time.unwrap_or(now)),
                Due::Lost(mut cells, began) => {
                    for (at, value) in &lost {
                        cells[*at] = Some(value.clone());
                    }
                    if let Some(at) = started {
                        cells[at] = began.map(iso);
                    }
                    (cells, began.map_or(now, |began| began.saturating_add(lost_after)))
                }
            };
            let identity = cells[id].take().unwrap_or_default();
            cells[id] = Some(identity.clone());
            let cells: Vec<Option<&str>> = cells.iter().map(Option::as_deref).collect();
            self.count(&Row { identity: &identity, time, cells: &cells }, now, &mut folded);
        }
        self.finish(&mut folded);
        folded
    }

    /// When [`LogsCollector::tick`] has something to do.
    pub fn next_tick(&self) -> Option<Micros> {
        self.joined.as_ref()?.runs.next_due()
    }

    /// The families to publish; none before the first line ever. Series that began after `hide_since` are shown as 0.
    pub fn families(&self, hide_since: Option<Micros>) -> Option<Vec<Family>> {
        let flying = self.flying.iter().filter_map(|flying| Some(flying.family(&self.joined.as_ref()?.runs)));
        self.heard.then(|| self.metrics.families(hide_since).chain(flying).collect())
    }

    /// Start of the youngest series.
    pub fn youngest_start(&self) -> Option<Micros> {
        self.metrics.youngest_start()
    }

    /// Lines that had a form that is looked for, since the counts began.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// What admission did since the last call, for each metric.
    pub fn take_admissions(&mut self) -> Vec<Admitted> {
        self.metrics.take_admissions()
    }

    /// What is to be written before anything is shown.
    pub fn take_changes(&mut self) -> Changes {
        Changes {
            definition: serde_json::to_string(&self.columns).expect("names are always JSON"),
            cursor: self.lines.to_string(),
            series: self.metrics.take_changed(),
            spans: std::mem::take(&mut self.made),
            runs: self.joined.as_mut().map(|joined| joined.runs.take_changes()).unwrap_or_default(),
            ..Changes::default()
        }
    }

    /// Whether there is anything to write.
    pub fn is_empty(changes: &Changes) -> bool {
        changes.series.is_empty()
            && changes.spans.is_empty()
            && changes.runs.written.is_empty()
            && changes.runs.removed.is_empty()
    }

    /// Takes back what an earlier run wrote. Returns the metrics whose stored series mean something else now: they begin anew at 0.
    ///
    /// # Errors
    /// A sentence, when something stored cannot be understood.
    pub fn restore(&mut self, stored: StoredLogs, now: Micros) -> Result<Vec<String>, String> {
        let StoredLogs { columns, cursor, series, runs } = stored;
        self.lines = cursor.parse().map_err(|_| "the stored number of lines is none".to_owned())?;
        let changed = self.metrics.load(series)?;
        if let Some(joined) = &mut self.joined {
            // Without a word of what the cells were, nothing is known of them.
            let before: Vec<String> = serde_json::from_str(&columns).unwrap_or_default();
            joined.runs.restore(runs, &before, &self.columns, now)?;
        }
        // What was written was heard. Metrics that the pack has got since begin now.
        self.heard = false;
        self.show(now);
        Ok(changed)
    }

    /// A line has come, of whatever form.
    pub fn hear(&mut self, now: Micros) {
        if self.zero_after == ZeroAfter::AnyLine {
            self.show(now);
        }
    }

    /// From now on, what has not happened is 0.
    fn show(&mut self, now: Micros) {
        if !std::mem::replace(&mut self.heard, true) {
            self.metrics.seed(now);
        }
    }

    /// A line that begins or ends a run.
    fn join(&mut self, part: RunPart, fitted: &Fitted<'_>, time: Option<Micros>, now: Micros, folded: &mut LogsFolded) {
        let (Some(joined), Some(row)) = (&mut self.joined, fitted.rows.first()) else { return };
        let mut ignore = |reason| *folded.ignored.entry(reason).or_default() += 1;
        let Some(identity) = row[joined.id].as_deref().filter(|id| !id.is_empty()) else {
            ignore(Ignored::KeyMissing);
            return;
        };
        let key = KeyHash(xxhash_rust::xxh3::xxh3_128(identity.as_bytes()));
        let own = || row.iter().map(|cell| cell.as_deref().map(String::from)).collect::<runs::Cells>();
        let place = |(at, cell): (usize, &Option<Cow<'_, str>>)| cell.as_deref().map(|text| joined.kept.of(at, text));
        let kept = || row.iter().enumerate().map(place).collect::<runs::Cells>();
        let (beginning, began, end, ended) = match part {
            RunPart::Start => match joined.runs.begin(key, kept(), time, now) {
                Begun::Open | Begun::Known => return,
                Begun::Full => return ignore(Ignored::RunsFull),
                Begun::Ended(end, ended) => (own(), time, end, ended),
            },
            RunPart::End => match joined.runs.end(key, kept, time, now) {
                Ended::Waits => return,
                Ended::Over => return ignore(Ignored::RunOver),
                Ended::Alone => (vec![None; row.len()], None, own(), time),
                Ended::Joined(beginning, began) => (beginning, began, own(), time),
            },
        };
        let started = joined.started.zip(began.map(iso));
        let mut cells: Vec<Option<&str>> =
            end.iter().zip(&beginning).map(|(end, beginning)| end.as_deref().or(beginning.as_deref())).collect();
        if let Some((at, started)) = &started {
            cells[*at] = Some(started);
        }
        self.count(&Row { identity, time: ended.unwrap_or(now), cells: &cells }, now, folded);
    }

    /// Counts one row.
    fn count(&mut self, row: &Row<'_>, now: Micros, folded: &mut LogsFolded) {
        let span = self.spans.as_mut().and_then(|maker| {
            let before = self.made.len();
            let cells = |at: usize| if at == 0 { Some(row.identity) } else { row.cells[at - 1] };
            let first = maker.make(&cells, row.time, &mut self.made, &mut folded.spans_skipped);
            let made = (self.made.len() - before) as u64;
            if made > self.room {
                self.made.truncate(before);
                *folded.spans_skipped.entry(SpanSkipped::QueueFull).or_default() += made;
                return None;
            }
            self.room -= made;
            folded.spans_made += made;
            first
        });
        let is_shown = self.exemplars && (0..=now).contains(&row.time);
        let span = span.filter(|_| is_shown).map(|span| (span, row.time));
        self.metrics.count(row.cells, row.time, span, now, &mut folded.ignored);
        folded.rows += 1;
    }

    fn finish(&mut self, folded: &mut LogsFolded) {
        folded.spans_replaced = self.spans.as_mut().map(SpanMaker::take_replaced).unwrap_or_default();
    }
}

impl Flying {
    fn family(&self, runs: &Runs) -> Family {
        let value = Value::Number(runs.open() as f64);
        let series = vec![Series { labels: Labels::none(), value, start: None, exemplar: None }];
        Family { name: self.name.clone(), help: self.help.clone(), kind: Kind::Gauge, series }
    }
}

fn iso(micros: Micros) -> String {
    format_exact(micros).unwrap_or_default()
}

#[cfg(test)]
mod tests;
