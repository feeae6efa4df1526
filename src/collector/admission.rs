//! Which label sets a metric may have: each new one passes the personal-data guard and the series limit once.
//!
//! Rows that come later find their label set by one look-up of their raw cells, without an allocation. What was
//! admitted stays admitted; nothing here holds a value or knows a kind of metric.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use super::guard::{Guard, Replaced};
use crate::family::Labels;
use crate::pack::Metric;

/// The value of every label of the series that takes what is beyond the limit.
pub const OVERFLOW: &str = "overflow";

/// Raw label sets remembered for each series that may exist. Beyond it the memory is emptied and fills anew: that costs
/// the guard's time, never a count.
const RAW_SETS_PER_SERIES: usize = 4;

/// Raw label sets longer than this, in bytes, are judged anew each time rather than remembered.
const RAW_SET_BYTES: usize = 4096;

/// The label sets of one metric.
#[derive(Debug, Clone)]
pub struct Admission {
    names: Vec<Arc<str>>,
    rules: Vec<Rule>,
    guard: Arc<Guard>,
    limit: usize,
    sets: Vec<LabelSet>,
    by_values: Index<u32>,
    by_raw: Index<Ticket>,
    overflow: Option<u32>,
    key: Vec<u8>,
}

/// One admitted label set.
#[derive(Debug, Clone)]
pub struct LabelSet {
    /// As it is published.
    pub labels: Labels,
    /// All values in the metric's order, empty ones too.
    pub values: Box<[Box<str>]>,
}

/// Where a row's labels led.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// Number of the label set, from 0 in the order of admission.
    pub set: u32,
    /// Whether the row went to the label set `overflow`.
    pub overflowed: bool,
    /// How many of its labels were replaced, by [`Replaced::ALL`].
    pub replaced: [u8; Replaced::ALL.len()],
}

#[derive(Debug, Clone)]
struct Rule {
    allows_ids: bool,
    values: Vec<String>,
}

impl Admission {
    /// No label sets yet, for a metric of a pack.
    pub fn new(metric: &Metric, series_per_metric: usize, guard: Arc<Guard>) -> Self {
        Admission {
            names: metric.labels.iter().map(|label| label.name().into()).collect(),
            rules: metric
                .labels
                .iter()
                .map(|label| Rule { allows_ids: label.allows_ids(), values: label.values().to_vec() })
                .collect(),
            guard,
            limit: metric.series_limit.unwrap_or(series_per_metric).max(1),
            sets: Vec::new(),
            by_values: Index::default(),
            by_raw: Index::default(),
            overflow: None,
            key: Vec::new(),
        }
    }

    /// The label set of a row's cells, admitted now if it is new.
    pub fn admit<'v>(&mut self, cells: impl Iterator<Item = Option<&'v str>> + Clone) -> Ticket {
        let mut key = std::mem::take(&mut self.key);
        write_key(&mut key, cells.clone().map(Option::unwrap_or_default));
        let known = self.by_raw.get(key.as_slice()).copied();
        let ticket = known.unwrap_or_else(|| {
            let ticket = self.judge(cells);
            if key.len() <= RAW_SET_BYTES {
                if self.by_raw.len() >= self.limit.saturating_mul(RAW_SETS_PER_SERIES) {
                    self.by_raw.clear();
                }
                self.by_raw.insert(key.as_slice().into(), ticket);
            }
            ticket
        });
        self.key = key;
        ticket
    }

    /// Admits a label set that was admitted before, whatever the limit says now. The same set has one number only.
    ///
    /// # Errors
    /// When it has not as many values as the metric has labels.
    pub fn restore(&mut self, values: &[String]) -> Result<u32, String> {
        if values.len() != self.names.len() {
            return Err(format!("it has {} labels, but the pack says {}", values.len(), self.names.len()));
        }
        let mut key = Vec::new();
        write_key(&mut key, values.iter().map(String::as_str));
        Ok(match self.by_values.get(key.as_slice()) {
            Some(set) => *set,
            None => self.insert(key, values.iter().map(|value| value.as_str().into()).collect()),
        })
    }

    /// All combinations of declared values, no more than the limit; none unless every label declares its values.
    pub fn declared(&self) -> Vec<Vec<String>> {
        let mut combinations: Vec<Vec<String>> = vec![Vec::new()];
        for rule in &self.rules {
            let longer = combinations.iter().flat_map(|combination| {
                rule.values.iter().map(|value| combination.iter().chain([value]).cloned().collect())
            });
            combinations = longer.take(self.limit).collect();
        }
        combinations
    }

    /// The label sets, in the order of their numbers.
    pub fn sets(&self) -> &[LabelSet] {
        &self.sets
    }

    /// Label names, in the metric's order.
    pub fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    /// The declared values of a label.
    pub fn declared_values(&self, label: usize) -> &[String] {
        &self.rules[label].values
    }

    /// How many raw label sets are remembered now.
    #[cfg(test)]
    pub fn raw_len(&self) -> usize {
        self.by_raw.len()
    }

    /// The guard and the limit, for cells not seen before.
    fn judge<'v>(&mut self, cells: impl Iterator<Item = Option<&'v str>>) -> Ticket {
        let mut replaced = [0; Replaced::ALL.len()];
        let mut values: Vec<Box<str>> = Vec::with_capacity(self.names.len());
        for (cell, rule) in cells.zip(&self.rules) {
            let raw = cell.unwrap_or_default();
            if rule.values.iter().any(|value| value == raw) {
                values.push(raw.into());
                continue;
            }
            let (value, reason) = self.guard.clean(raw, rule.allows_ids);
            if let Some(at) = Replaced::ALL.iter().position(|known| Some(*known) == reason) {
                replaced[at] += 1;
            }
            values.push(value.into());
        }
        let mut key = Vec::new();
        write_key(&mut key, values.iter().map(|value| &**value));
        if let Some(set) = self.by_values.get(key.as_slice()) {
            return Ticket { set: *set, overflowed: self.overflow == Some(*set), replaced };
        }
        if self.sets.len() - usize::from(self.overflow.is_some()) < self.limit {
            return Ticket { set: self.insert(key, values), overflowed: false, replaced };
        }
        let set = self.overflow.unwrap_or_else(|| {
            let values: Vec<Box<str>> = self.names.iter().map(|_| OVERFLOW.into()).collect();
            write_key(&mut key, values.iter().map(|value| &**value));
            self.insert(key, values)
        });
        Ticket { set, overflowed: true, replaced }
    }

    fn insert(&mut self, key: Vec<u8>, values: Vec<Box<str>>) -> u32 {
        let set = u32::try_from(self.sets.len()).expect("the limit is far below four thousand million series");
        if !values.is_empty() && values.iter().all(|value| &**value == OVERFLOW) {
            self.overflow = Some(set);
        }
        let pairs = self.names.iter().cloned().zip(values.iter().map(|value| &**value));
        self.sets.push(LabelSet { labels: Labels::new(pairs), values: values.into() });
        self.by_values.insert(key.into(), set);
        set
    }
}

/// Label values as one key: each with its length before it, so that no two sets share one.
fn write_key<'v>(key: &mut Vec<u8>, values: impl Iterator<Item = &'v str>) {
    key.clear();
    for value in values {
        key.extend_from_slice(&(value.len() as u64).to_le_bytes());
        key.extend_from_slice(value.as_bytes());
    }
}

type Index<T> = HashMap<Box<[u8]>, T, BuildHasherDefault<KeyHasher>>;

/// XXH3 over the whole key at once; the standard hasher is several times slower.
#[derive(Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxhash_rust::xxh3::xxh3_64_with_seed(bytes, self.0);
    }

    fn write_usize(&mut self, length: usize) {
        self.0 ^= length as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
