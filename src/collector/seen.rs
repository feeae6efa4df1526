//! The keys of rows that were counted, kept for as long as a read may bring them again.
//!
//! Keys are 128-bit hashes: two different keys of one collector meet with a chance of about one in 10^27 at a million
//! keys. Nothing here decides what a row means.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use xxhash_rust::xxh3::xxh3_128;

use crate::family::Micros;

/// The hash of a row's key, and of its state where rows change state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyHash(pub u128);

impl KeyHash {
    /// Hashes the cells of a key. None when one of them is NULL, since NULL identifies nothing.
    /// `room` is scratch space that the caller lends, so that a page of rows allocates once.
    pub fn of<'a>(cells: impl Iterator<Item = Option<&'a str>>, room: &mut Vec<u8>) -> Option<Self> {
        room.clear();
        for cell in cells {
            let cell = cell?;
            // The length keeps ("ab", "c") and ("a", "bc") apart.
            room.extend_from_slice(&(cell.len() as u64).to_le_bytes());
            room.extend_from_slice(cell.as_bytes());
        }
        Some(KeyHash(xxh3_128(room)))
    }
}

/// What is remembered of a counted row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Its key.
    pub key: KeyHash,
    /// Its time.
    pub time: Micros,
    /// The transaction that wrote it, where the source tells; else 0.
    pub writer: i64,
}

/// The keys are hashes already; hashing them again would be waste.
#[derive(Debug, Clone, Default)]
pub(super) struct PassThrough(u64);

impl Hasher for PassThrough {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 ^= u64::from_le_bytes(word);
        }
    }
    fn write_u128(&mut self, word: u128) {
        self.0 = word as u64;
    }
}

/// A set of keys with time and writer.
#[derive(Default)]
pub struct SeenKeys {
    keys: HashMap<KeyHash, (Micros, i64), BuildHasherDefault<PassThrough>>,
    changes: SeenChanges,
}

/// What changed in a set since it was last written down. Applied in the order of the fields.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct SeenChanges {
    /// New keys.
    pub added: Vec<Seen>,
    /// Keys that went to make room.
    pub removed: Vec<Seen>,
    /// Keys of rows before this went.
    pub forgotten_before: Option<Micros>,
}

impl SeenKeys {
    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// How many keys are of a kind.
    pub fn count(&self, of: impl Fn(&Seen) -> bool) -> usize {
        let seen = |(key, (time, writer)): (&KeyHash, &(Micros, i64))| Seen { key: *key, time: *time, writer: *writer };
        self.keys.iter().filter(|entry| of(&seen(*entry))).count()
    }

    /// Whether a row was counted.
    pub fn contains(&self, key: KeyHash) -> bool {
        self.keys.contains_key(&key)
    }

    /// Remembers a row.
    pub fn insert(&mut self, seen: Seen) {
        if self.keys.insert(seen.key, (seen.time, seen.writer)).is_none() {
            self.changes.added.push(seen);
        }
    }

    /// Takes back what an earlier run wrote down.
    pub fn restore(&mut self, seen: impl IntoIterator<Item = Seen>) {
        self.keys.extend(seen.into_iter().map(|seen| (seen.key, (seen.time, seen.writer))));
    }

    /// Forgets rows before `floor`: no read will bring them again.
    pub fn forget_before(&mut self, floor: Micros) {
        self.keys.retain(|_, (time, _)| *time >= floor);
        self.changes.forgotten_before = Some(floor);
        self.give_back_room();
    }

    /// Makes room down to `target` keys by forgetting the oldest among those that `may_go`.
    /// Returns how many went, and the time of the youngest of them.
    pub fn make_room(&mut self, target: usize, may_go: impl Fn(&Seen) -> bool) -> (u64, Option<Micros>) {
        let excess = self.keys.len().saturating_sub(target);
        let mut candidates: Vec<Seen> = self
            .keys
            .iter()
            .map(|(key, (time, writer))| Seen { key: *key, time: *time, writer: *writer })
            .filter(may_go)
            .collect();
        candidates.sort_unstable_by_key(|seen| seen.time);
        candidates.truncate(excess);
        for seen in &candidates {
            self.keys.remove(&seen.key);
        }
        let youngest = candidates.last().map(|seen| seen.time);
        let count = candidates.len() as u64;
        self.changes.removed.extend(candidates);
        self.give_back_room();
        (count, youngest)
    }

    /// What changed since the last call.
    pub fn take_changes(&mut self) -> SeenChanges {
        std::mem::take(&mut self.changes)
    }

    fn give_back_room(&mut self) {
        if self.keys.capacity() > 4096 && self.keys.len() * 4 < self.keys.capacity() {
            self.keys.shrink_to(self.keys.len() * 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(name: &str, time: Micros, writer: i64) -> Seen {
        Seen { key: KeyHash::of([Some(name)].into_iter(), &mut Vec::new()).expect("not NULL"), time, writer }
    }

    #[test]
    fn cells_do_not_run_together_and_null_identifies_nothing() {
        let hash = |cells: &[Option<&str>]| KeyHash::of(cells.iter().copied(), &mut Vec::new());
        assert_ne!(hash(&[Some("ab"), Some("c")]), hash(&[Some("a"), Some("bc")]));
        assert_eq!(hash(&[Some("a"), Some("b")]), hash(&[Some("a"), Some("b")]));
        assert_eq!(hash(&[Some("a"), None]), None);
    }

    #[test]
    fn room_is_made_of_the_oldest_that_may_go() {
        let mut keys = SeenKeys::default();
        for (name, time, writer) in [("a", 1, 5), ("b", 2, 50), ("c", 3, 5), ("d", 4, 5)] {
            keys.insert(seen(name, time, writer));
        }
        let (gone, youngest) = keys.make_room(2, |seen| seen.writer < 10);
        assert_eq!((gone, youngest), (2, Some(3)));
        assert!(keys.contains(seen("b", 2, 50).key) && keys.contains(seen("d", 4, 5).key));
        let changes = keys.take_changes();
        assert_eq!((changes.added.len(), changes.removed.len()), (4, 2));
    }

    #[test]
    fn forgets_what_no_read_brings_again() {
        let mut keys = SeenKeys::default();
        keys.insert(seen("old", 10, 0));
        keys.insert(seen("young", 20, 0));
        keys.forget_before(20);
        assert_eq!(keys.len(), 1);
        assert!(keys.contains(seen("young", 20, 0).key));
    }
}
