//! The lines that came lately, so that one which is delivered again is known.
//!
//! Bounded: the oldest are forgotten, whole deliveries at a time, where as many as are to be remembered came after. It looks at ids
//! alone.

use std::collections::{HashSet, VecDeque};
use std::hash::BuildHasherDefault;

use crate::collector::seen::{KeyHash, PassThrough};
use crate::family::Micros;
use crate::source::logs::LineId;

/// The lines of one drain that are remembered.
#[derive(Debug)]
pub struct LineWindow {
    known: HashSet<KeyHash, BuildHasherDefault<PassThrough>>,
    /// Oldest first.
    batches: VecDeque<LineBatch>,
    limit: usize,
    next: i64,
}

/// Lines that were counted together.
#[derive(Debug, Clone, PartialEq)]
pub struct LineBatch {
    /// Its place in the order of batches.
    pub number: i64,
    /// When it was counted.
    pub received: Micros,
    /// The ids of its lines.
    pub ids: Vec<KeyHash>,
}

/// What is to be written of a window.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct WindowChanges {
    /// Lines that came.
    pub added: Option<LineBatch>,
    /// Batches up to this one were forgotten.
    pub forgotten_through: Option<i64>,
}

impl LineWindow {
    /// Remembers none yet; the last so many are remembered whatever comes, and the rest of the delivery that the first of them is of.
    pub fn new(limit: usize) -> Self {
        LineWindow { known: HashSet::default(), batches: VecDeque::new(), limit: limit.max(1), next: 0 }
    }

    /// Takes back what was written.
    pub fn restore(&mut self, mut stored: Vec<LineBatch>) {
        stored.sort_by_key(|batch| batch.number);
        self.known = stored.iter().flat_map(|batch| batch.ids.iter().copied()).collect();
        self.next = stored.last().map_or(0, |batch| batch.number + 1);
        self.batches = stored.into();
    }

    /// Remembers those of these lines that are new, and forgets the oldest that are too many. Tells for each whether it is new.
    pub fn admit(&mut self, lines: impl Iterator<Item = LineId>, now: Micros) -> (Vec<bool>, WindowChanges) {
        let mut ids = Vec::new();
        let new: Vec<bool> = lines
            .map(|line| {
                let is_new = self.known.insert(KeyHash(line.0));
                if is_new {
                    ids.push(KeyHash(line.0));
                }
                is_new
            })
            .collect();
        let mut changes = WindowChanges::default();
        if ids.is_empty() {
            return (new, changes);
        }
        let batch = LineBatch { number: self.next, received: now, ids };
        self.next += 1;
        while self.batches.front().is_some_and(|oldest| self.known.len() - oldest.ids.len() >= self.limit)
            && let Some(oldest) = self.batches.pop_front()
        {
            for id in &oldest.ids {
                self.known.remove(id);
            }
            changes.forgotten_through = Some(oldest.number);
        }
        self.batches.push_back(batch.clone());
        changes.added = Some(batch);
        (new, changes)
    }

    /// How many lines are remembered.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// When the oldest of them came.
    pub fn oldest(&self) -> Option<Micros> {
        self.batches.front().map(|batch| batch.received)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(range: std::ops::Range<u128>) -> impl Iterator<Item = LineId> {
        range.map(|id| LineId(id << 64 | id))
    }

    #[test]
    fn what_came_before_is_known_until_it_is_forgotten() {
        let mut window = LineWindow::new(10);
        let mut written = Vec::new();
        let mut admit = |window: &mut LineWindow, range, now| {
            let (new, changes) = window.admit(ids(range), now);
            written.retain(|batch: &LineBatch| changes.forgotten_through.is_none_or(|through| batch.number > through));
            written.extend(changes.added);
            (new.into_iter().filter(|new| *new).count(), written.clone())
        };
        assert_eq!(admit(&mut window, 0..4, 1).0, 4);
        assert_eq!(admit(&mut window, 2..8, 2).0, 4, "two of them came before");
        assert_eq!(admit(&mut window, 0..8, 3).0, 0);
        assert_eq!((window.len(), window.oldest()), (8, Some(1)));
        let (new, _) = admit(&mut window, 8..12, 4);
        assert_eq!((new, window.len(), window.oldest()), (4, 12, Some(1)), "the last ten are known");
        let (new, stored) = admit(&mut window, 12..14, 5);
        assert_eq!((new, window.len(), window.oldest()), (2, 10, Some(2)), "the oldest delivery is forgotten whole");
        let mut again = LineWindow::new(10);
        again.restore(stored);
        assert_eq!((again.len(), again.oldest()), (10, Some(2)));
        assert_eq!(again.admit(ids(4..14), 6).0, vec![false; 10]);
        assert_eq!(again.admit(ids(0..1), 7).0, [true]);
    }

    #[test]
    fn a_line_that_stands_twice_in_one_delivery_is_one() {
        let mut window = LineWindow::new(10);
        assert_eq!(window.admit([LineId(7), LineId(7)].into_iter(), 1).0, [true, false]);
    }

    #[test]
    fn one_delivery_beyond_the_bound_is_remembered_whole() {
        let mut window = LineWindow::new(2);
        window.admit(ids(0..1), 1);
        window.admit(ids(1..6), 2);
        assert_eq!(window.len(), 5);
        assert_eq!(window.admit(ids(1..6), 3).0, vec![false; 5]);
        window.admit(ids(6..7), 4);
        assert_eq!(
            (window.len(), window.admit(ids(4..6), 5).0),
            (6, vec![false; 2]),
            "one line more does not cost them all"
        );
    }
}
