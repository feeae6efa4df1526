//! Families of the same name from several collectors become one block.
//!
//! The first collector, in the order of the ids, wins; what is left out is counted and never printed twice.

use std::collections::HashSet;
use std::sync::Arc;

use super::Contribution;
use crate::family::{Family, Labels};

/// One block, and what did not fit in.
#[derive(Default)]
pub(super) struct Merged {
    pub(super) family: Option<Arc<Family>>,
    pub(super) series_left_out: u64,
    pub(super) families_left_out: u64,
}

/// Merges families of one name.
pub(super) fn families(parts: &[&Arc<Family>]) -> Merged {
    let Some((&first, others)) = parts.split_first() else { return Merged::default() };
    if others.is_empty() {
        return Merged { family: Some(first.clone()), ..Merged::default() };
    }
    let mut merged = Merged::default();
    let mut family = Family::clone(first);
    let mut seen: HashSet<Labels> = family.series.iter().map(|series| series.labels.clone()).collect();
    for other in others {
        if other.kind != first.kind {
            merged.families_left_out += 1;
            continue;
        }
        for series in &other.series {
            if seen.insert(series.labels.clone()) {
                family.series.push(series.clone());
            } else {
                merged.series_left_out += 1;
            }
        }
    }
    merged.family = Some(Arc::new(family));
    merged
}

/// The label that tells the source of a family with these series. Where the pack has a label `source` itself, that one keeps
/// its name and ours is called `rowmetry_source`.
pub fn source_label<'l>(mut labels: impl Iterator<Item = &'l Labels>) -> Arc<str> {
    let taken = labels.any(|labels| labels.pairs().any(|(name, _)| name == "source"));
    if taken { "rowmetry_source".into() } else { "source".into() }
}

/// What a collector published, with the source's name in front of each label set.
pub(super) fn with_source(contribution: &Contribution, source: &str) -> Vec<Arc<Family>> {
    let label = |family: &Arc<Family>| {
        let name = source_label(family.series.iter().map(|series| &series.labels));
        let mut family = Family::clone(family);
        for series in &mut family.series {
            series.labels = series.labels.with(name.clone(), source);
        }
        Arc::new(family)
    };
    contribution.families.iter().map(label).collect()
}
