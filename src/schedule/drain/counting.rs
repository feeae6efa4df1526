//! All that counts the lines of one drain: what was delivered lately, the collectors of its packs, when its last line came.
//!
//! It is what the state holds, or it is thrown away. It waits for nobody and reads no clock.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::collector::logs::{LineWindow, LogsCollector, LogsFolded, LogsSettings, StoredLogs};
use crate::collector::{Changes, SpanMaker};
use crate::config::logs::DrainSettings;
use crate::family::Micros;
use crate::pack::Pack;
use crate::source::logs::Parsed;
use crate::source::logs::position::FilePosition;
use crate::state::Stored;
use crate::store::CollectorId;
use crate::telemetry::Failure;
use crate::telemetry::metrics::CollectorMetrics;

use super::{Context, WELL, unusable};

/// What is kept of a drain itself.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Cursor {
    /// When the last line came.
    last_line: Option<Micros>,
    /// Rows that each collector of the database had counted when it came.
    rows: BTreeMap<String, u64>,
    /// Where the file was read to; one that is no place of ours costs the drain nothing else.
    #[serde(deserialize_with = "place")]
    position: Option<FilePosition>,
    /// The file that is.
    file: Option<PathBuf>,
    /// The packs that counted its lines: while the database does not tell, they do still.
    packs: Vec<String>,
}

fn place<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<FilePosition>, D::Error> {
    let stored = Option::<serde_json::Value>::deserialize(deserializer)?;
    Ok(stored.and_then(|stored| FilePosition::from_json(&stored.to_string())))
}

/// Everything that counts the lines of a drain.
#[derive(Debug)]
pub(super) struct Counting {
    id: String,
    cursor: Cursor,
    window: LineWindow,
    collectors: Vec<One>,
    zero_first: Micros,
    /// Series that began after this were shown as 0 the last time.
    hidden_since: Micros,
}

struct One {
    id: CollectorId,
    metrics: CollectorMetrics,
    collector: LogsCollector,
    /// What it came to since it was last told.
    changed: bool,
}

impl std::fmt::Debug for One {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.id)
    }
}

/// What became of lines, for all collectors together.
#[derive(Debug, Default)]
pub(super) struct Counted {
    /// What is to be written, by whose it is.
    pub changes: Vec<(String, Changes)>,
    /// Lines that some collector looks for.
    pub counted: u64,
    /// Lines that none looks for.
    pub unmatched: u64,
    /// Lines that came before.
    pub repeated: u64,
    /// Spans that were made.
    pub spans_made: u64,
    /// What became of them in each collector, in their order.
    folded: Vec<LogsFolded>,
}

impl Counting {
    /// Runs of a collector that are looked after at one tick, for the room of their spans; the others are at the next.
    pub(super) const DUE_AT_ONCE: usize = 1000;

    /// Makes it from the state. None while it is not known which packs apply.
    pub(super) async fn load(
        settings: &DrainSettings,
        context: &Context,
        packs: Option<Vec<Arc<Pack>>>,
        now: Micros,
    ) -> Result<Option<Self>, Failure> {
        let id = CollectorId::new(&settings.name, "drain", "lines").to_string();
        let stored = context.state.load(&id).await.map_err(|error| unusable(&error))?;
        let again = format!("begin anew with: rowmetry state reset {id}");
        let cursor: Cursor = match &stored {
            Some(stored) => serde_json::from_str(&stored.cursor)
                .map_err(|error| unusable(&format!("what is stored of the drain cannot be read: {error}; {again}")))?,
            None => Cursor::default(),
        };
        let known = |names: &[String]| -> Vec<Arc<Pack>> {
            context.settings.packs.iter().filter(|pack| names.contains(&pack.app)).cloned().collect()
        };
        let packs = match packs {
            Some(packs) => packs,
            None if cursor.packs.is_empty() => return Ok(None),
            None => known(&cursor.packs),
        };
        let mut window = LineWindow::new(context.settings.logs.limits.remembered_lines);
        window.restore(stored.map(|stored| stored.lines).unwrap_or_default());
        let mut collectors = Vec::new();
        for pack in &packs {
            for definition in &pack.collectors {
                if settings.runs(&pack.app, definition) {
                    let one = One::load(settings, context, pack, definition, cursor.last_line.is_some(), now).await?;
                    collectors.extend(one);
                }
            }
        }
        let zero_first = Micros::try_from(context.settings.zero_first.as_micros()).unwrap_or(Micros::MAX);
        // A place in one file is none in another: that would be read from its beginning, as if it came after.
        let position = cursor.position.filter(|_| cursor.file == settings.file);
        let packs = packs.iter().map(|pack| pack.app.clone()).collect();
        let cursor = Cursor { packs, position, file: settings.file.clone(), ..cursor };
        // What was shown before is not shown as 0 again.
        let newest = collectors.iter().filter_map(|one| one.collector.youngest_start()).max();
        let hidden_since = newest.unwrap_or(Micros::MIN).max(now.saturating_sub(zero_first));
        Ok(Some(Counting { id, cursor, window, collectors, zero_first, hidden_since }))
    }

    /// Says that its collectors are there, and that they are well if they are, and shows what they counted before.
    pub(super) fn begin(&self, context: &Context, is_well: bool) {
        for one in &self.collectors {
            context.store.expect(&one.id);
            context.board.collector(&one.id, |status| {
                status.kind = "logs".into();
                if is_well {
                    status.state = Some(WELL);
                }
            });
            one.publish(context, self.hidden_since);
        }
    }

    /// Whether these packs count.
    pub(super) fn is_of(&self, packs: &[Arc<Pack>]) -> bool {
        self.cursor.packs.iter().eq(packs.iter().map(|pack| &pack.app))
    }

    /// The names of the packs.
    pub(super) fn packs(&self) -> Vec<String> {
        self.cursor.packs.clone()
    }

    /// Takes back what packs showed that count no more.
    pub(super) fn take_back(&self, context: &Context, packs: &[Arc<Pack>]) {
        for gone in self.cursor.packs.iter().filter(|name| packs.iter().all(|pack| pack.app != **name)) {
            for one in self.collectors.iter().filter(|one| *one.id.pack == **gone) {
                context.take_back(&one.id.source, gone);
            }
        }
    }

    /// How many spans deliveries may make at most.
    pub(super) fn spans_of(&self, deliveries: &[Parsed]) -> u64 {
        let lines = || deliveries.iter().flat_map(|parsed| &parsed.lines);
        self.collectors.iter().map(|one| one.collector.spans_of(lines())).sum()
    }

    /// How many spans [`Counting::tick`] may make at most.
    pub(super) fn spans_of_due(&self) -> u64 {
        let of = |one: &One| (Self::DUE_AT_ONCE * one.collector.spans_a_row()) as u64;
        self.collectors.iter().map(of).sum()
    }

    /// Counts deliveries. `rows` are those that each collector of the database counted so far.
    pub(super) fn fold(
        &mut self,
        deliveries: &[Parsed],
        position: Option<FilePosition>,
        mut room: u64,
        rows: BTreeMap<String, u64>,
        now: Micros,
    ) -> Counted {
        let lines = || deliveries.iter().flat_map(|parsed| &parsed.lines);
        let (new, window) = self.window.admit(lines().map(|line| line.id), now);
        let fresh = || lines().zip(&new).filter(|(_, new)| **new).map(|(line, _)| line);
        let mut counted = Counted::default();
        let mut fits = vec![false; new.iter().filter(|new| **new).count()];
        counted.repeated = (new.len() - fits.len()) as u64;
        if !new.is_empty() {
            self.cursor.last_line = Some(now);
            // Of those that do not run yet after a start, what is known stays.
            self.cursor.rows.extend(rows);
        }
        if position.is_some() {
            self.cursor.position = position;
        }
        for one in &mut self.collectors {
            if new.is_empty() {
                break;
            }
            one.collector.give_room(room);
            let folded = one.collector.fold(fresh(), now);
            room -= folded.spans_made;
            fits.iter_mut().zip(&folded.fits).for_each(|(fits, here)| *fits |= here);
            one.take(folded, &mut counted);
        }
        counted.counted = fits.iter().filter(|fits| **fits).count() as u64;
        counted.unmatched = fits.len() as u64 - counted.counted;
        counted.changes.push((self.id.clone(), Changes { lines: window, ..self.changes() }));
        counted
    }

    fn changes(&self) -> Changes {
        let cursor = serde_json::to_string(&self.cursor).expect("numbers and names are always JSON");
        Changes { cursor, ..Changes::default() }
    }

    /// When [`Counting::tick`] has something to do.
    pub(super) fn next_tick(&self) -> Option<Micros> {
        self.collectors.iter().filter_map(|one| one.collector.next_tick()).min()
    }

    /// Counts the runs whose time is over. There is always something to write.
    pub(super) fn tick(&mut self, mut room: u64, now: Micros) -> Counted {
        let mut counted = Counted::default();
        for one in &mut self.collectors {
            one.collector.give_room(room);
            let folded = one.collector.tick(Self::DUE_AT_ONCE, now);
            room -= folded.spans_made;
            one.take(folded, &mut counted);
        }
        counted.changes.push((self.id.clone(), self.changes()));
        counted
    }

    /// Shows what was written.
    pub(super) fn publish(&mut self, context: &Context, is_heard: bool, now: Micros) {
        let before = self.hidden_since;
        self.hidden_since = before.max(now.saturating_sub(self.zero_first));
        for one in &mut self.collectors {
            let ripens = one.ripens(before, self.hidden_since);
            if std::mem::take(&mut one.changed) || is_heard || ripens {
                one.publish(context, self.hidden_since);
            }
        }
    }

    /// Shows as they are the series that were shown as 0 long enough.
    pub(super) fn ripen(&mut self, context: &Context, now: Micros) {
        self.publish(context, false, now);
    }

    /// Says how its collectors fare.
    pub(super) fn tell(&mut self, context: &Context, counted: &Counted, seconds: f64, now: Micros) {
        for (number, one) in self.collectors.iter_mut().enumerate() {
            let nothing = LogsFolded::default();
            one.tell(context, counted.folded.get(number).unwrap_or(&nothing), seconds, now);
        }
    }

    /// Its collectors.
    pub(super) fn ids(&self) -> impl Iterator<Item = (&CollectorId, &CollectorMetrics)> {
        self.collectors.iter().map(|one| (&one.id, &one.metrics))
    }

    /// When the last line came.
    pub(super) fn last_line(&self) -> Option<Micros> {
        self.cursor.last_line
    }

    /// Rows of the database that were counted since it came, of those that were counted so far. A collector that was not known then, or
    /// began anew since, begins now.
    pub(super) fn rows_since(&mut self, rows: BTreeMap<String, u64>) -> u64 {
        let since = rows.into_iter().map(|(collector, rows)| {
            let then = self.cursor.rows.entry(collector).or_insert(rows);
            *then = rows.min(*then);
            rows - *then
        });
        since.sum()
    }

    /// Where the file was read to.
    pub(super) fn position(&self) -> Option<&FilePosition> {
        self.cursor.position.as_ref()
    }

    /// How many lines are remembered, and since when.
    pub(super) fn remembered(&self) -> (usize, Option<Micros>) {
        (self.window.len(), self.window.oldest())
    }
}

impl One {
    async fn load(
        settings: &DrainSettings,
        context: &Context,
        pack: &Pack,
        definition: &crate::pack::Collector,
        is_heard: bool,
        now: Micros,
    ) -> Result<Option<Self>, Failure> {
        let id = CollectorId::new(&settings.name, &pack.app, &definition.name);
        let logs = LogsSettings {
            limits: context.settings.limits,
            runs: context.settings.logs.limits.runs,
            parameters: context.settings.parameters_of(pack),
            exemplars: context.settings.otlp.shows_exemplars(),
        };
        let spans = |columns: &[String]| {
            let maker = || SpanMaker::of_lines(definition, columns, &settings.name, &pack.app, &context.guard);
            context.spans.as_ref().and_then(|_| maker())
        };
        let made = LogsCollector::new(definition, &logs, spans, &context.guard);
        let Some(mut collector) = made.map_err(|message| unusable(&message))? else { return Ok(None) };
        let stored = context.state.load(&id.to_string()).await.map_err(|error| unusable(&error))?;
        if let Some(stored) = stored {
            let Stored { definition: columns, cursor, series, runs, .. } = stored;
            let changed = collector
                .restore(StoredLogs { columns, cursor, series, runs }, now)
                .map_err(|message| unusable(&format!("{message}; begin anew with: rowmetry state reset {id}")))?;
            for metric in changed {
                tracing::warn!(collector = %id, metric, "the pack changed what this metric means; it begins anew at 0");
                context.state.drop_metric(&id.to_string(), &metric).await.map_err(|error| unusable(&error))?;
            }
        } else if is_heard {
            collector.hear(now);
        }
        let metrics = context.metrics.collector(&id.source, &id.pack, &id.collector);
        metrics.interval(super::TICK.as_secs_f64() * f64::from(super::WELL_EVERY));
        Ok(Some(One { id, metrics, collector, changed: false }))
    }

    /// Takes up what became of lines.
    fn take(&mut self, folded: LogsFolded, counted: &mut Counted) {
        counted.spans_made += folded.spans_made;
        counted.folded.push(folded);
        let changes = self.collector.take_changes();
        if !LogsCollector::is_empty(&changes) {
            self.changed = true;
            counted.changes.push((self.id.to_string(), changes));
        }
    }

    /// Whether a series is shown as it is that was shown as 0 before, or is about to be.
    fn ripens(&self, before: Micros, hidden_since: Micros) -> bool {
        before < hidden_since && self.collector.youngest_start().is_some_and(|start| start > before)
    }

    fn publish(&self, context: &Context, hidden_since: Micros) {
        if let Some(families) = self.collector.families(Some(hidden_since)) {
            context.store.publish(&self.id, families);
        }
    }

    fn tell(&mut self, context: &Context, folded: &LogsFolded, seconds: f64, now: Micros) {
        for (reason, rows) in &folded.ignored {
            self.metrics.ignored(*reason, *rows);
        }
        for admitted in self.collector.take_admissions() {
            self.metrics.series(&admitted.metric, admitted.series);
            self.metrics.overflowed(&admitted.metric, admitted.overflowed);
            for (reason, values) in admitted.replaced {
                self.metrics.replaced(reason, values);
            }
        }
        if self.collector.spans_a_row() > 0 {
            self.metrics.spans(folded.spans_made, &folded.spans_skipped);
            for (reason, values) in &folded.spans_replaced {
                self.metrics.replaced(*reason, *values);
            }
        }
        self.metrics.succeeded(seconds, folded.rows, now as f64 / 1e6);
        let (series, lines) = (context.store.series(&self.id), self.collector.lines());
        let last_success = (lines > 0).then_some(now);
        context.board.collector(&self.id, |status| {
            status.state = Some(WELL);
            status.last_run = Some(now);
            status.last_success = last_success;
            status.duration = Some(seconds);
            status.rows = Some(folded.rows);
            status.rows_counted = Some(lines);
            status.series = Some(series.unwrap_or_default() as u64);
            status.failure = None;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::Cursor;

    #[test]
    fn a_place_that_is_none_of_ours_costs_the_drain_nothing_else() {
        let read = |json: &str| serde_json::from_str::<Cursor>(json).expect("the rest can be read");
        let foreign = read(r#"{"last_line": 5, "position": {"page": 3}, "packs": ["garden"]}"#);
        assert_eq!((foreign.last_line, foreign.position, foreign.packs), (Some(5), None, vec!["garden".to_owned()]));
        let own = Cursor { position: Some(Default::default()), ..Cursor::default() };
        assert_eq!(read(&serde_json::to_string(&own).expect("it is JSON")), own);
    }
}
