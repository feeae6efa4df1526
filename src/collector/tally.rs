//! How many rows were accounted for in each minute, so that a settled window can be counted again and compared.
//!
//! The audit compares; it never corrects a count.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::family::Micros;
use crate::source::{Deletions, WindowCount};

const MINUTE: Micros = 60_000_000;

/// Minutes that are remembered. Longer than the audited window plus the longest usual look-back, and about 10 kB.
const KEPT_MINUTES: usize = 360;

/// Minutes that one audit recounts at most.
const WINDOW_MINUTES: i64 = 60;

/// Rows accounted for, by the minute of their time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// Every row at or after this minute is in the tally.
    complete_from: Option<i64>,
    minutes: BTreeMap<i64, Minute>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Minute {
    rows: u64,
    deletions: Deletions,
}

/// What an audit found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Audit {
    /// Rows of the table that were not counted.
    pub missing: u64,
    /// Rows counted that the table does not have and that nobody deleted.
    pub extra: u64,
    /// Rows counted that were deleted since.
    pub deleted: u64,
}

impl Tally {
    /// Begins a tally that is complete from `floor` on.
    pub fn complete_from(floor: Micros) -> Self {
        Tally { complete_from: Some(floor.div_euclid(MINUTE) + 1), minutes: BTreeMap::new() }
    }

    /// Begins a tally of everything.
    pub fn of_everything() -> Self {
        Tally { complete_from: Some(i64::MIN), minutes: BTreeMap::new() }
    }

    /// Accounts for a row.
    pub fn add(&mut self, time: Micros, deletions: Deletions) {
        let minute = time.div_euclid(MINUTE);
        let Some(from) = self.complete_from else { return };
        if minute < from {
            return;
        }
        self.minutes.entry(minute).or_insert(Minute { rows: 0, deletions }).rows += 1;
        if self.minutes.len() > KEPT_MINUTES
            && let Some((dropped, _)) = self.minutes.pop_first()
        {
            self.complete_from = Some(dropped + 1);
        }
    }

    /// The window that may be recounted now: whole minutes in which nothing can change any more.
    pub fn window(&self, settled: Micros) -> Option<(Micros, Micros)> {
        let until = settled.div_euclid(MINUTE);
        let from = self.complete_from?.max(until.saturating_sub(WINDOW_MINUTES));
        (from < until).then_some((from.checked_mul(MINUTE)?, until.checked_mul(MINUTE)?))
    }

    /// Compares a recount with the tally.
    pub fn compare(&self, (from, until): (Micros, Micros), recount: WindowCount) -> Audit {
        let window = self.minutes.range(from.div_euclid(MINUTE)..until.div_euclid(MINUTE));
        let (mut counted, mut since) = (0, None::<Deletions>);
        for (_, minute) in window {
            counted += minute.rows;
            since.get_or_insert(minute.deletions);
        }
        let gone = counted.saturating_sub(recount.rows);
        let deletable = match since {
            // Nothing was counted, so nothing can have gone.
            None => 0,
            Some(then) if then.storage != recount.deletions.storage => gone,
            Some(then) => match (then.rows, recount.deletions.rows) {
                (Some(then), Some(now)) if now >= then => u64::try_from(now - then).unwrap_or(0),
                // The statistics were reset, or the database keeps none: nothing is claimed.
                _ => gone,
            },
        };
        let deleted = gone.min(deletable);
        Audit { missing: recount.rows.saturating_sub(counted), extra: gone - deleted, deleted }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deletions(rows: i64) -> Deletions {
        Deletions { rows: Some(rows), storage: Some(1) }
    }

    #[test]
    fn missing_extra_and_deleted_rows_are_told_apart() {
        let mut tally = Tally::complete_from(0);
        for minute in 1..5 {
            for _ in 0..10 {
                tally.add(minute * MINUTE + 5, deletions(100));
            }
        }
        let window = tally.window(5 * MINUTE + 3).expect("settled minutes");
        assert_eq!(window, (MINUTE, 5 * MINUTE));
        let recount = |rows, deleted| WindowCount { rows, deletions: deletions(deleted) };
        assert_eq!(tally.compare(window, recount(40, 100)), Audit::default());
        assert_eq!(tally.compare(window, recount(43, 100)).missing, 3);
        assert_eq!(tally.compare(window, recount(38, 100)).extra, 2);
        assert_eq!(tally.compare(window, recount(38, 101)), Audit { missing: 0, extra: 1, deleted: 1 });
        let truncated = WindowCount { rows: 0, deletions: Deletions { rows: Some(100), storage: Some(2) } };
        assert_eq!(tally.compare(window, truncated), Audit { missing: 0, extra: 0, deleted: 40 });
    }

    #[test]
    fn an_incomplete_minute_is_never_audited() {
        let mut tally = Tally::complete_from(MINUTE / 2);
        tally.add(MINUTE * 3, Deletions::default());
        assert_eq!(tally.window(MINUTE), None);
        assert_eq!(tally.window(MINUTE * 4 + 1), Some((MINUTE, MINUTE * 4)));
    }

    #[test]
    fn memory_is_bounded_and_the_rest_stays_complete() {
        let mut tally = Tally::of_everything();
        for minute in 0..2000 {
            tally.add(minute * MINUTE, Deletions::default());
        }
        assert_eq!(tally.minutes.len(), KEPT_MINUTES);
        assert_eq!(tally.complete_from, Some(2000 - KEPT_MINUTES as i64));
    }
}
