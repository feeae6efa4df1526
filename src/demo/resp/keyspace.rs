//! Keys that live for a while, in memory, and what a server tells of them.
//!
//! Bounded: beyond it, the key that would die first goes. Nothing here reads a clock or a socket.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::family::Micros;

/// Keys at a time; the demo has a few thousand.
const KEYS: usize = 50_000;

/// Bytes that a key costs beside its name and its value, about; for the figure of used memory alone.
const KEY_OVERHEAD: usize = 64;

type Key = Arc<[u8]>;

/// A time that is later than any key's end, for keys that have none.
const NEVER: Micros = Micros::MAX;

struct Entry {
    value: Vec<u8>,
    ends: Micros,
    /// Its place in a scan.
    number: u64,
}

/// The keys.
#[derive(Default)]
pub(super) struct Keyspace {
    entries: BTreeMap<Key, Entry>,
    /// Keys in the order in which they came: a scan that began meets each that was there then.
    order: BTreeMap<u64, Key>,
    ends: BTreeSet<(Micros, Key)>,
    next: u64,
    bytes: usize,
    figures: Figures,
}

/// What happened so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Figures {
    pub(super) hits: u64,
    pub(super) misses: u64,
    pub(super) expired: u64,
    pub(super) evicted: u64,
}

impl Keyspace {
    /// Lets the keys go whose time is over.
    pub(super) fn expire(&mut self, now: Micros) {
        while let Some((ends, key)) = self.ends.first().cloned() {
            if ends > now {
                break;
            }
            self.remove(&key);
            self.figures.expired += 1;
        }
    }

    /// A key's value; counted as a hit or a miss.
    pub(super) fn get(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        let value = self.entries.get(key).map(|entry| entry.value.clone());
        match value {
            Some(_) => self.figures.hits += 1,
            None => self.figures.misses += 1,
        }
        value
    }

    /// A key's value, not counted.
    pub(super) fn value(&self, key: &[u8]) -> Option<&[u8]> {
        self.entries.get(key).map(|entry| entry.value.as_slice())
    }

    /// Sets a key, to end at a time or never.
    pub(super) fn set(&mut self, key: &[u8], value: Vec<u8>, ends: Option<Micros>) {
        let number = match self.entries.get(key) {
            Some(entry) => entry.number,
            None => {
                self.next += 1;
                self.next
            }
        };
        self.remove(key);
        while self.entries.len() >= KEYS {
            let Some((_, first)) = self.ends.first().cloned() else { break };
            self.remove(&first);
            self.figures.evicted += 1;
        }
        let (key, ends) = (Key::from(key), ends.unwrap_or(NEVER));
        self.bytes += cost(&key, &value);
        self.order.insert(number, Arc::clone(&key));
        self.ends.insert((ends, Arc::clone(&key)));
        self.entries.insert(key, Entry { value, ends, number });
    }

    /// Gives a key another end; whether there is such a key.
    pub(super) fn end_at(&mut self, key: &[u8], ends: Micros) -> bool {
        let Some((key, entry)) = self.entries.get_key_value(key) else { return false };
        let (key, before) = (Arc::clone(key), entry.ends);
        self.ends.remove(&(before, Arc::clone(&key)));
        self.ends.insert((ends, Arc::clone(&key)));
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.ends = ends;
        }
        true
    }

    /// When a key ends: none when there is no such key, and then none when it never does.
    pub(super) fn end_of(&self, key: &[u8]) -> Option<Option<Micros>> {
        self.entries.get(key).map(|entry| (entry.ends != NEVER).then_some(entry.ends))
    }

    /// Removes a key; whether there was one.
    pub(super) fn remove(&mut self, key: &[u8]) -> bool {
        let Some((key, entry)) = self.entries.remove_entry(key) else { return false };
        self.bytes -= cost(&key, &entry.value);
        self.order.remove(&entry.number);
        self.ends.remove(&(entry.ends, key));
        true
    }

    /// Looks at `count` keys from a place on; answers those that fit and the place to go on at, 0 at the end.
    pub(super) fn scan(&self, from: u64, count: usize, fits: impl Fn(&[u8]) -> bool) -> (u64, Vec<Vec<u8>>) {
        let mut places = self.order.range(from..);
        let keys = places.by_ref().take(count).map(|(_, key)| key.to_vec()).filter(|key| fits(key)).collect();
        (places.next().map_or(0, |(number, _)| *number), keys)
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many of them have an end.
    pub(super) fn ending(&self) -> usize {
        self.ends.range(..(NEVER, Key::from([]))).count()
    }

    /// Bytes in use, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What happened so far.
    pub(super) fn figures(&self) -> Figures {
        self.figures
    }
}

fn cost(key: &[u8], value: &[u8]) -> usize {
    key.len() + value.len() + KEY_OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_end_at_their_time() {
        let mut keys = Keyspace::default();
        keys.set(b"a", b"1".to_vec(), Some(10));
        keys.set(b"b", b"2".to_vec(), None);
        keys.expire(9);
        assert_eq!((keys.len(), keys.ending()), (2, 1));
        assert_eq!(keys.get(b"a"), Some(b"1".to_vec()));
        keys.expire(10);
        assert_eq!(keys.get(b"a"), None);
        assert_eq!(keys.end_of(b"a"), None);
        assert_eq!(keys.end_of(b"b"), Some(None));
        assert!(keys.end_at(b"b", 20) && !keys.end_at(b"a", 20));
        assert_eq!((keys.len(), keys.ending()), (1, 1));
        keys.expire(20);
        assert_eq!((keys.len(), keys.ending(), keys.bytes()), (0, 0, 0));
        assert_eq!(keys.figures(), Figures { hits: 1, misses: 1, expired: 2, evicted: 0 });
        assert!(keys.order.is_empty() && keys.ends.is_empty());
    }

    #[test]
    fn a_scan_meets_every_key_that_was_there_all_the_time() {
        let mut keys = Keyspace::default();
        for number in 0..100 {
            keys.set(format!("k{number}").as_bytes(), Vec::new(), Some(1000 + number));
        }
        let (mut from, mut met, mut rounds) = (0, BTreeSet::new(), 0);
        loop {
            let (next, page) = keys.scan(from, 7, |key| key != b"k5");
            met.extend(page);
            rounds += 1;
            // What is refreshed keeps its place, what goes or comes meanwhile may be met or not.
            for number in 0..10 {
                keys.set(format!("k{number}").as_bytes(), b"again".to_vec(), Some(2000));
            }
            keys.remove(format!("k{}", 99 - rounds).as_bytes());
            keys.set(format!("new{rounds}").as_bytes(), Vec::new(), None);
            if next == 0 || rounds > 50 {
                break;
            }
            from = next;
        }
        assert!((14..=20).contains(&rounds), "{rounds} rounds");
        for number in (0..70).filter(|number| *number != 5) {
            assert!(met.contains(format!("k{number}").as_bytes()), "k{number}");
        }
        assert!(!met.contains(b"k5".as_slice()));
    }

    #[test]
    fn beyond_the_bound_the_key_that_ends_first_goes() {
        let mut keys = Keyspace::default();
        for number in 0..KEYS as i64 + 2 {
            keys.set(format!("{number}").as_bytes(), Vec::new(), Some(1_000_000 - number));
        }
        assert_eq!(keys.len(), KEYS);
        assert_eq!(keys.figures().evicted, 2);
        // The last before the bound was the next to end, then the one that took its place.
        assert!(keys.entries.contains_key(b"0".as_slice()));
        assert!(!keys.entries.contains_key(format!("{}", KEYS - 1).as_bytes()));
    }
}
