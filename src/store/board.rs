//! How every collector fares: the facts behind the front page, `/readyz` and the self metrics.
//!
//! The schedule writes, the web server reads. It is a record of what happened and decides nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use crate::family::Micros;
use crate::telemetry::{Failure, State};

/// Names one collector: source, pack, collector.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CollectorId {
    /// The operator's name of the source.
    pub source: Arc<str>,
    /// The pack.
    pub pack: Arc<str>,
    /// The collector in the pack.
    pub collector: Arc<str>,
}

impl CollectorId {
    /// Makes an id.
    pub fn new(source: &str, pack: &str, collector: &str) -> Self {
        CollectorId { source: source.into(), pack: pack.into(), collector: collector.into() }
    }
}

impl fmt::Display for CollectorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.source, self.pack, self.collector)
    }
}

/// How one collector fares. Everything is none until it is known.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CollectorStatus {
    /// `rows` or `snapshot`, and the cursor mode: for people.
    pub kind: String,
    /// State after the last run; none before the first.
    pub state: Option<State>,
    /// When the last run ended.
    pub last_run: Option<Micros>,
    /// When the last successful run ended.
    pub last_success: Option<Micros>,
    /// How long the last run took, in seconds.
    pub duration: Option<f64>,
    /// New rows of the last successful run, or rows of the last snapshot.
    pub rows: Option<u64>,
    /// Rows counted since the state began.
    pub rows_counted: Option<u64>,
    /// Seconds between the newest settled moment and now.
    pub horizon_lag: Option<f64>,
    /// Series published.
    pub series: Option<u64>,
    /// The failure of the last run, if it failed.
    pub failure: Option<Failure>,
    /// Something an operator should know although the run succeeded (no index, behind by a backlog).
    pub note: Option<String>,
    /// When the next run begins.
    pub next_run: Option<Micros>,
}

/// One source or drain, for the front page.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SourceStatus {
    /// What it is, in a word: `postgres`, `redis`; of a drain its kind, such as `vercel`.
    pub system: String,
    /// Packs that apply, once known.
    pub packs: Vec<String>,
    /// Why the packs are not known yet or none applies, if so.
    pub note: Option<String>,
    /// Whether the packs of the source are known, so that its list of collectors is complete.
    pub settled: bool,
    /// Lines that came since the start; of drains alone, and none of what is read.
    pub lines: Option<u64>,
    /// When the last line came; none before the first.
    pub last_line: Option<Micros>,
}

/// How everything fares.
#[derive(Debug, Default)]
pub struct Board {
    inner: Mutex<BoardView>,
}

/// A copy of the board.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct BoardView {
    /// By name.
    pub sources: BTreeMap<Arc<str>, SourceStatus>,
    /// By id.
    pub collectors: BTreeMap<CollectorId, CollectorStatus>,
}

impl Board {
    /// An empty board.
    pub fn new() -> Self {
        Board::default()
    }

    /// Changes the board.
    pub fn update<T>(&self, change: impl FnOnce(&mut BoardView) -> T) -> T {
        let mut view = self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        change(&mut view)
    }

    /// Changes one collector's status.
    pub fn collector(&self, id: &CollectorId, change: impl FnOnce(&mut CollectorStatus)) {
        self.update(|view| change(view.collectors.entry(id.clone()).or_default()));
    }

    /// A copy of the whole board.
    pub fn view(&self) -> BoardView {
        self.update(|view| view.clone())
    }

    /// Ready when every source has settled its packs and every collector has run once, whatever came of it.
    pub fn is_ready(&self) -> bool {
        self.update(|view| {
            view.sources.values().all(|source| source.settled || source.note.is_some())
                && view.collectors.values().all(|status| status.state.is_some())
        })
    }
}
