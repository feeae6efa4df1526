//! What may be told of a row's texts: the personal-data guard, and its judgement of those that come again and again.
//!
//! It keeps texts for as long as the collector lives, within bounds, and shows them to nobody.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::collector::guard::{Guard, Replaced};

/// Texts of which the guard's judgement is remembered, each kind of rule its own. Beyond it the memory is emptied: that costs
/// the guard's time, nothing else.
const JUDGED_TEXTS: usize = 4096;

/// Texts longer than this, in bytes, are judged anew each time rather than remembered.
const JUDGED_BYTES: usize = 256;

/// The guard, and what it said of texts that come again and again.
#[derive(Debug, Clone)]
pub(super) struct Judge {
    guard: Arc<Guard>,
    /// What a text becomes where identifiers are not allowed, and where they are.
    judged: [HashMap<Box<str>, Judged>; 2],
    replaced: BTreeMap<Replaced, u64>,
}

/// What a text becomes, and why.
type Judged = (Box<str>, Option<Replaced>);

impl Judge {
    pub(super) fn new(guard: Arc<Guard>) -> Self {
        Judge { guard, judged: Default::default(), replaced: BTreeMap::new() }
    }

    /// Values that were replaced since the last call, by reason.
    pub(super) fn take_replaced(&mut self) -> BTreeMap<Replaced, u64> {
        std::mem::take(&mut self.replaced)
    }

    /// The text as it may be told.
    pub(super) fn clean(&mut self, text: &str, ids: bool) -> String {
        let mut cleaned = String::with_capacity(text.len().min(JUDGED_BYTES));
        self.push(text, ids, &mut cleaned);
        cleaned
    }

    /// Appends the text as it may be told.
    pub(super) fn push(&mut self, text: &str, ids: bool, to: &mut String) {
        let judged = &mut self.judged[usize::from(ids)];
        let reason = match judged.get(text) {
            Some((cleaned, reason)) => {
                to.push_str(cleaned);
                *reason
            }
            None => {
                let (cleaned, reason) = self.guard.clean(text, ids);
                to.push_str(&cleaned);
                if text.len() <= JUDGED_BYTES {
                    if judged.len() >= JUDGED_TEXTS {
                        judged.clear();
                    }
                    judged.insert(text.into(), (cleaned.into(), reason));
                }
                reason
            }
        };
        if let Some(reason) = reason {
            *self.replaced.entry(reason).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_judged_is_forgotten_before_it_takes_much_memory() {
        let mut judge = Judge::new(Arc::new(Guard::new(100)));
        for n in 0..JUDGED_TEXTS + 10 {
            assert_eq!(judge.clean(&format!("n{n}"), false), format!("n{n}"));
        }
        assert_eq!(judge.judged.each_ref().map(HashMap::len), [10, 0]);
        judge.clean(&"long ".repeat(60), false);
        assert_eq!(judge.judged.each_ref().map(HashMap::len), [10, 0]);
        assert_eq!(judge.take_replaced(), BTreeMap::from([(Replaced::Long, 1)]));
    }

    #[test]
    fn where_identifiers_are_allowed_says_nothing_of_where_they_are_not() {
        let mut judge = Judge::new(Arc::new(Guard::new(100)));
        for _ in 0..2 {
            assert_eq!(judge.clean("order 1732158798123", true), "order 1732158798123");
            assert_eq!(judge.clean("order 1732158798123", false), "redacted");
        }
        assert_eq!(judge.take_replaced(), BTreeMap::from([(Replaced::Id, 2)]));
        assert_eq!(judge.take_replaced(), BTreeMap::new());
    }
}
