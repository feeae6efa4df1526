//! Where a rows collector stands in its table: the horizon, the floor, and the sweep in progress.
//!
//! A sweep reads every row at or above the last horizon and not before the floor, in pages. The horizon and the floor
//! that the next sweep starts from are fixed when a sweep begins, from the moment of its first page: rows that become
//! visible during the sweep belong to transactions at or above that horizon. Nothing here reads a clock.

use serde::{Deserialize, Serialize};

use crate::family::Micros;
use crate::source::{CursorMode, Leave, Moment, PagePosition};

use super::tally::Tally;

/// What the rows of the current sweep are to the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Rows that were there before counting began: their keys are remembered, nothing is counted.
    Baseline,
    /// The operator asked for history: it counts, and is no jump but the beginning.
    History,
    /// New rows.
    Live,
}

/// Where a collector stands. Stored as JSON; a field added later needs a default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cursor {
    /// How new rows are told.
    pub mode: CursorMode,
    /// Which database this cursor belongs to.
    pub identity: String,
    /// What the current sweep's rows are.
    pub phase: Phase,
    /// When the counts of this epoch began.
    pub epoch_start: Micros,
    /// Transactions below this are settled and known.
    pub horizon: Option<i64>,
    /// Rows before this time are settled and known.
    pub floor: Option<Micros>,
    /// The sweep in progress.
    pub sweep: Option<Sweep>,
    /// Where the next sweep continues, in rowid mode.
    pub resume: Option<PagePosition>,
    /// When the last complete sweep began: a series that is new since had the value 0 then.
    pub last_sweep: Micros,
    /// Only settled rows are read, since too many keys would have to be remembered.
    pub settled_only: bool,
    /// Rows counted since the epoch began.
    pub counted: u64,
    /// Rows accounted for by minute.
    pub tally: Tally,
}

/// A sweep in progress.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sweep {
    /// The database's time when it began.
    pub began: Micros,
    /// The horizon to go on from when it is through.
    pub horizon: Option<i64>,
    /// The floor to go on from when it is through.
    pub floor: Micros,
    /// Where the next page starts.
    pub after: PagePosition,
}

impl Sweep {
    /// What a sweep leaves to the next, which surely reads it, when no more keys can be remembered: so it may take hours,
    /// or go on long after a restart, in bounded memory.
    pub fn leaves(&self) -> Option<Leave> {
        self.horizon.map(|horizon| Leave { horizon, floor: self.floor })
    }
}

/// How far back rows may lie that become visible later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LookBack {
    /// Where the oldest open transaction cannot be seen, it is assumed to be this old.
    pub unseen: Micros,
    /// How long before its transaction a row's time may lie: clocks differ, and applications set a time and work on.
    pub margin: Micros,
    /// How far the time column may lie before the transaction, as the pack says.
    pub column: Micros,
}

impl LookBack {
    /// No row that becomes visible after this moment has a time before this.
    pub fn floor(&self, moment: &Moment) -> Micros {
        let oldest = moment.oldest_open.unwrap_or(moment.now.saturating_sub(self.unseen)).min(moment.now);
        oldest.saturating_sub(self.margin).saturating_sub(self.column)
    }
}

impl Cursor {
    /// Begins at a moment.
    pub fn begin(moment: &Moment, phase: Phase, from: Option<Micros>, look_back: &LookBack) -> Self {
        let floor = match phase {
            Phase::History => from,
            Phase::Baseline | Phase::Live => Some(look_back.floor(moment)),
        };
        Cursor {
            mode: moment.mode,
            identity: moment.identity.clone(),
            phase,
            epoch_start: from.unwrap_or(moment.now),
            // Live from the start: the table did not exist at this moment, so every row of it is above the horizon.
            horizon: moment.horizon.filter(|_| phase == Phase::Live),
            floor,
            sweep: None,
            resume: None,
            last_sweep: moment.now,
            settled_only: false,
            counted: 0,
            tally: floor.map_or_else(Tally::of_everything, Tally::complete_from),
        }
    }

    /// Whether the database is another one than the cursor was made for, or one that was set back in time.
    pub fn belongs_elsewhere(&self, moment: &Moment) -> bool {
        let known = self.sweep.as_ref().and_then(|sweep| sweep.horizon).or(self.horizon);
        let set_back = matches!((known, moment.horizon), (Some(known), Some(now)) if now < known);
        self.identity != moment.identity || set_back
    }

    /// The sweep in progress, or the one that begins at this moment; it continues after a position.
    pub fn sweep_of(&self, moment: &Moment, after: PagePosition, look_back: &LookBack) -> Sweep {
        if let Some(sweep) = &self.sweep {
            return Sweep { after, ..sweep.clone() };
        }
        let floor = look_back.floor(moment);
        let floor = match self.floor {
            // Rows that can be seen are left unread, and nothing tells how old they are: the floor waits for them.
            Some(known) if self.settled_only => known,
            Some(known) => known.max(floor),
            None => floor,
        };
        Sweep { began: moment.now, horizon: moment.horizon, floor, after }
    }
}
