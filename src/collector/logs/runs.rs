//! Runs that have begun and not ended, and those that have ended lately.
//!
//! It reads no clock: the time at which something was received is an argument. It knows no metric and keeps only the cells
//! that its collector asks for.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::BuildHasherDefault;

use serde::{Deserialize, Serialize};

use crate::collector::seen::{KeyHash, PassThrough};
use crate::family::Micros;

/// How long the end of a run waits for its beginning, where something of that is asked for: deliveries overtake each other.
pub const WAIT_FOR_BEGINNING: Micros = 10_000_000;

/// A row's cells, kept.
pub type Cells = Vec<Option<String>>;

/// The runs of one collector.
#[derive(Debug, Clone)]
pub struct Runs {
    lost_after: Micros,
    limit: usize,
    /// Whether an end waits for its beginning.
    joins: bool,
    known: HashMap<KeyHash, Run, BuildHasherDefault<PassThrough>>,
    /// Those that go on or wait, by when that is over.
    pending: BTreeSet<(Micros, KeyHash)>,
    /// Those that are over, by when they are forgotten.
    past: BTreeSet<(Micros, KeyHash)>,
    open: usize,
    /// Those that changed since they were last written, and the time under which they are written, if they are.
    touched: BTreeMap<KeyHash, Option<Micros>>,
}

/// One run, as it is kept and stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Run {
    #[serde(rename = "s")]
    stage: Stage,
    /// When its stage is over.
    #[serde(rename = "d")]
    due: Micros,
    /// When it began or ended, as its line says.
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    time: Option<Micros>,
    /// The cells of its beginning, or of the end that waits.
    #[serde(rename = "c", default, skip_serializing_if = "Vec::is_empty")]
    cells: Cells,
    /// The time under which it is written, if it is.
    #[serde(skip)]
    written: Option<Micros>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Stage {
    /// It has begun and not ended.
    Open,
    /// Its end has come, and not its beginning.
    Waits,
    /// It has ended, or was given up.
    Over,
}

/// Where a run is written: by when its stage is over, so that those which change together stand together.
pub type RunKey = (Micros, KeyHash);

/// What is to be written of the runs.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct RunChanges {
    /// Runs that are new or changed, as JSON.
    pub written: Vec<(RunKey, String)>,
    /// Where runs stood that are forgotten, or stand elsewhere now.
    pub removed: Vec<RunKey>,
}

/// What the beginning of a run came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Begun {
    /// It goes on.
    Open,
    /// Its end was waiting: these cells, and its time.
    Ended(Cells, Option<Micros>),
    /// It was begun, or is over.
    Known,
    /// Too many go on.
    Full,
}

/// What the end of a run came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Ended {
    /// It had begun with these cells, at this time.
    Joined(Cells, Option<Micros>),
    /// Nothing is known of its beginning, and nothing is asked of it.
    Alone,
    /// It waits for its beginning.
    Waits,
    /// It had ended, or was given up.
    Over,
}

/// A run whose time is over.
#[derive(Debug, Clone, PartialEq)]
pub enum Due {
    /// It never ended: the cells of its beginning, and when that was.
    Lost(Cells, Option<Micros>),
    /// Its beginning never came: the cells of its end, and when that was.
    Alone(Cells, Option<Micros>),
}

impl Runs {
    /// None yet. `joins`: an end waits a little for its beginning.
    pub fn new(lost_after: Micros, limit: usize, joins: bool) -> Self {
        Runs {
            lost_after,
            limit: limit.max(1),
            joins,
            known: HashMap::default(),
            pending: BTreeSet::new(),
            past: BTreeSet::new(),
            open: 0,
            touched: BTreeMap::new(),
        }
    }

    /// A run began.
    pub fn begin(&mut self, id: KeyHash, cells: Cells, time: Option<Micros>, now: Micros) -> Begun {
        match self.known.get(&id).map(|run| run.stage) {
            Some(Stage::Open | Stage::Over) => Begun::Known,
            Some(Stage::Waits) => {
                let Run { cells: ended, time, .. } = self.close(id, now);
                Begun::Ended(ended, time)
            }
            None if !self.has_room() => Begun::Full,
            None => {
                self.put(id, Run::new(Stage::Open, now.saturating_add(self.lost_after), time, cells));
                Begun::Open
            }
        }
    }

    /// A run ended.
    pub fn end(&mut self, id: KeyHash, cells: impl FnOnce() -> Cells, time: Option<Micros>, now: Micros) -> Ended {
        match self.known.get(&id).map(|run| run.stage) {
            Some(Stage::Over | Stage::Waits) => Ended::Over,
            Some(Stage::Open) => {
                let Run { cells, time, .. } = self.close(id, now);
                Ended::Joined(cells, time)
            }
            // What finds no room counts all the same; it is only not known when it comes again.
            None if !self.has_room() => Ended::Alone,
            None if self.joins => {
                let due = now.saturating_add(WAIT_FOR_BEGINNING);
                self.put(id, Run::new(Stage::Waits, due, time, cells()));
                Ended::Waits
            }
            None => {
                self.put(id, Run::new(Stage::Over, now.saturating_add(self.lost_after), None, Vec::new()));
                Ended::Alone
            }
        }
    }

    /// Those whose time is over now, so many at most, and forgets those that were over long ago.
    pub fn due(&mut self, at_most: usize, now: Micros) -> Vec<Due> {
        while let Some((due, id)) = self.past.first().copied().filter(|(due, _)| *due <= now) {
            self.past.remove(&(due, id));
            self.forget(id);
        }
        let mut over = Vec::new();
        while over.len() < at_most
            && let Some((_, id)) = self.pending.first().copied().filter(|(due, _)| *due <= now)
        {
            let run = self.close(id, now);
            over.push(match run.stage {
                Stage::Waits => Due::Alone(run.cells, run.time),
                _ => Due::Lost(run.cells, run.time),
            });
        }
        over
    }

    /// When the next one is due.
    pub fn next_due(&self) -> Option<Micros> {
        let first = |set: &BTreeSet<(Micros, KeyHash)>| set.first().map(|(due, _)| *due);
        [first(&self.pending), first(&self.past)].into_iter().flatten().min()
    }

    /// How many have begun and not ended.
    pub fn open(&self) -> usize {
        self.open
    }

    /// What changed since the last call.
    pub fn take_changes(&mut self) -> RunChanges {
        let mut changes = RunChanges::default();
        for (id, before) in std::mem::take(&mut self.touched) {
            let run = self.known.get_mut(&id);
            let key = run.as_ref().map(|run| run.due);
            changes.removed.extend(before.filter(|before| Some(*before) != key).map(|before| (before, id)));
            if let Some(run) = run {
                let json = serde_json::to_string(run).expect("numbers, words and texts are always JSON");
                changes.written.push(((run.due, id), json));
                run.written = Some(run.due);
            }
        }
        // As they will stand: so they are written one behind the other.
        changes.written.sort_unstable_by_key(|((due, id), _)| (*due, id.0.to_le_bytes()));
        changes
    }

    /// Takes back what was written. While nobody listened nothing could come: who goes on, and who waits, has all the time again, and
    /// nobody more: the clock may have been set back. Cells were those of the columns `before`; those that are asked for no more
    /// are dropped, and of new ones nothing is known.
    ///
    /// # Errors
    /// When something of it is no run.
    pub fn restore(
        &mut self,
        stored: Vec<(KeyHash, String)>,
        before: &[String],
        columns: &[String],
        now: Micros,
    ) -> Result<(), String> {
        let places: Vec<Option<usize>> =
            columns.iter().map(|column| before.iter().position(|old| old == column)).collect();
        for (id, json) in stored {
            let mut run: Run =
                serde_json::from_str(&json).map_err(|error| format!("a stored run cannot be read: {error}"))?;
            run.written = Some(run.due);
            if run.stage != Stage::Over && before != columns {
                let mut old = std::mem::take(&mut run.cells);
                run.cells = places.iter().map(|place| old.get_mut((*place)?)?.take()).collect();
            }
            run.due = match run.stage {
                Stage::Open => now.saturating_add(self.lost_after),
                Stage::Waits => now.saturating_add(WAIT_FOR_BEGINNING),
                Stage::Over => run.due.min(now.saturating_add(self.lost_after)),
            };
            self.put(id, run);
        }
        if before == columns {
            self.touched.clear();
        }
        // Else all are written anew, together with what their columns are now.
        Ok(())
    }

    /// Whether another one can be remembered; the oldest of those that are over makes room.
    fn has_room(&mut self) -> bool {
        if self.known.len() < self.limit {
            return true;
        }
        let Some((_, id)) = self.past.pop_first() else { return false };
        self.forget(id);
        true
    }

    /// A run is over; returns what it was.
    fn close(&mut self, id: KeyHash, now: Micros) -> Run {
        let over = Run::new(Stage::Over, now.saturating_add(self.lost_after), None, Vec::new());
        self.put(id, over).expect("only a run that is known is closed")
    }

    fn forget(&mut self, id: KeyHash) {
        let written = self.known.remove(&id).and_then(|run| run.written);
        self.touched.entry(id).or_insert(written);
    }

    fn put(&mut self, id: KeyHash, run: Run) -> Option<Run> {
        let (stage, due) = (run.stage, run.due);
        let before = self.known.insert(id, run);
        self.touched.entry(id).or_insert(before.as_ref().and_then(|before| before.written));
        if let Some(before) = &before {
            self.set_of(before.stage).remove(&(before.due, id));
            self.open -= usize::from(before.stage == Stage::Open);
        }
        self.set_of(stage).insert((due, id));
        self.open += usize::from(stage == Stage::Open);
        before
    }

    fn set_of(&mut self, stage: Stage) -> &mut BTreeSet<(Micros, KeyHash)> {
        if stage == Stage::Over { &mut self.past } else { &mut self.pending }
    }
}

impl Run {
    /// One that was never written.
    fn new(stage: Stage, due: Micros, time: Option<Micros>, cells: Cells) -> Self {
        Run { stage, due, time, cells, written: None }
    }
}

#[cfg(test)]
mod tests;
