//! What the past of a table needs of its series: by how much each grew.
//!
//! It counts nothing itself.

use std::sync::Arc;

use super::{Count, SeriesSet};
use crate::family::{Kind, Labels};

impl SeriesSet {
    /// What each series grew by since the last call: its number, and the growth. Every count is at nought after it.
    pub(in crate::collector) fn take_growth(&mut self) -> Vec<(u32, Count)> {
        let mut growth = Vec::with_capacity(self.dirty.len());
        for set in std::mem::take(&mut self.dirty) {
            let nought = self.nought();
            let grown = &mut self.grown[set as usize];
            grown.dirty = false;
            grown.published.take();
            growth.push((set, std::mem::replace(&mut grown.count, nought)));
        }
        growth
    }

    /// The series as they are printed: number and labels of each.
    pub(in crate::collector) fn printed(&self) -> impl Iterator<Item = (u32, &Labels)> {
        self.order.iter().map(|set| (*set, &self.admission.sets()[*set as usize].labels))
    }

    /// Name, help and kind.
    pub(in crate::collector) fn head(&self) -> (Arc<str>, Arc<str>, Kind) {
        (self.name.clone(), self.help.clone(), self.kind)
    }

    /// Upper bounds of the buckets.
    pub(in crate::collector) fn bounds(&self) -> &Arc<[f64]> {
        &self.bounds
    }
}
