//! Names of keys, counted: which kind a key is, whether it was seen before, and what its captures make of it.
//!
//! It asks nobody. Of a key only what a label refers to is kept, and a hash that tells it from others; names that a look-up
//! does not know leave as hashes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use super::pattern::Pattern;
use crate::family::Micros;
use crate::pack;
use crate::source::Rows;
use crate::source::lookup::{Names, hashed};

/// Bytes of a capture that are kept; labels are cut far below that.
const CAPTURE_BYTES: usize = 1024;

/// What a capture may be shown as.
type NamesOf<'a> = &'a dyn Fn(&str) -> Option<Arc<Names>>;

/// What is counted, made ready once.
#[derive(Debug, Clone)]
pub struct Plan {
    columns: Vec<Column>,
    kinds: Vec<Kind>,
}

#[derive(Debug, Clone)]
enum Column {
    Keys,
    AtLimit,
    /// A cell of a group.
    Cell(usize),
}

/// A kind of key.
#[derive(Debug, Clone)]
struct Kind {
    pattern: Pattern,
    cells: Vec<Cell>,
    /// The capture of the window's number, and the window's length in milliseconds.
    bucket: Option<(usize, i64)>,
    limit: Option<u64>,
}

/// Where a label's text comes from.
#[derive(Debug, Clone)]
enum Cell {
    Absent,
    Fixed(String),
    Captured(usize),
    /// A capture that is an id: its name, where somebody knows names.
    Looked(usize, Option<Arc<Names>>),
}

impl Plan {
    /// Of what a pack says. `columns` are those that metrics use.
    ///
    /// # Errors
    /// When a pattern cannot be used.
    pub fn new(keys: &pack::Keys, columns: &[String], names: NamesOf<'_>) -> Result<Self, String> {
        let mut labels: Vec<&str> = Vec::new();
        let columns = columns
            .iter()
            .map(|column| match column.as_str() {
                "keys" => Column::Keys,
                "at_limit" => Column::AtLimit,
                label => {
                    labels.push(label);
                    Column::Cell(labels.len() - 1)
                }
            })
            .collect();
        let kinds = keys.families.iter().map(|family| Kind::new(family, &labels, names)).collect::<Result<_, _>>()?;
        Ok(Plan { columns, kinds })
    }

    /// Whether a look-up may still bring names for the first time.
    pub fn waits_for_names(&self) -> bool {
        let looked = self.kinds.iter().flat_map(|kind| &kind.cells);
        let mut names = looked.filter_map(|cell| if let Cell::Looked(_, names) = cell { names.as_ref() } else { None });
        names.any(|names| !names.is_settled())
    }

    /// Whether values have to be read.
    pub fn has_limits(&self) -> bool {
        self.kinds.iter().any(|kind| kind.limit.is_some())
    }
}

impl Kind {
    fn new(family: &pack::KeyFamily, labels: &[&str], names: NamesOf<'_>) -> Result<Self, String> {
        let pattern = Pattern::new(&family.pattern)?;
        let cell = |label: &&str| {
            if let Some(text) = family.set.get(*label) {
                return Cell::Fixed(text.clone());
            }
            match (pattern.position(label), family.lookup.get(*label)) {
                (None, _) => Cell::Absent,
                (Some(capture), None) => Cell::Captured(capture),
                (Some(capture), Some(lookup)) => Cell::Looked(capture, names(lookup)),
            }
        };
        let cells = labels.iter().map(cell).collect();
        let bucket = match &family.bucket {
            None => None,
            Some(bucket) => {
                let capture = pattern.position(&bucket.capture);
                let capture = capture.ok_or_else(|| format!("`{}` is not captured by the pattern", bucket.capture))?;
                Some((capture, i64::try_from(bucket.window.as_millis()).unwrap_or(i64::MAX).max(1)))
            }
        };
        Ok(Kind { pattern, cells, bucket, limit: family.limit })
    }

    /// Whether all its keys are one group, known beforehand.
    fn is_one_group(&self) -> bool {
        self.cells.iter().all(|cell| matches!(cell, Cell::Absent | Cell::Fixed(_)))
            && (self.cells.is_empty() || self.cells.iter().any(|cell| matches!(cell, Cell::Fixed(_))))
    }

    fn captures(&self) -> impl Iterator<Item = usize> {
        self.cells.iter().filter_map(|cell| match cell {
            Cell::Captured(capture) | Cell::Looked(capture, _) => Some(*capture),
            Cell::Absent | Cell::Fixed(_) => None,
        })
    }
}

/// The number of the window of time that a moment lies in, as rate limiters write it.
fn bucket_number(now: Micros, window_millis: i64) -> String {
    now.div_euclid(1000).div_euclid(window_millis).to_string()
}

/// Bounds of a tally.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Different keys.
    pub keys: usize,
    /// Different sets of label values.
    pub groups: usize,
}

/// The keys of one scan.
#[derive(Debug)]
pub struct Tally {
    bounds: Bounds,
    /// The number of the window in force for each kind, fixed for the whole scan: else a window that ends meanwhile would
    /// have one identifier counted in both.
    buckets: Vec<Option<String>>,
    seen: HashSet<u64, BuildHasherDefault<AsItIs>>,
    places: HashMap<Box<str>, usize>,
    groups: Vec<Group>,
    unread: Vec<(usize, Vec<u8>)>,
    overflowed: Option<&'static str>,
    scratch: String,
}

#[derive(Debug)]
struct Group {
    kind: usize,
    captured: Vec<Box<str>>,
    keys: u64,
    at_limit: u64,
}

impl Tally {
    /// Nothing counted yet; `now` says which windows of time are in force.
    pub fn new(plan: &Plan, bounds: Bounds, now: Micros) -> Self {
        let number = |kind: &Kind| kind.bucket.map(|(_, window)| bucket_number(now, window));
        Tally {
            bounds,
            buckets: plan.kinds.iter().map(number).collect(),
            seen: HashSet::default(),
            places: HashMap::new(),
            groups: Vec::new(),
            unread: Vec::new(),
            overflowed: None,
            scratch: String::new(),
        }
    }

    /// Counts a key, unless it fits nothing, is of another window, or was counted before.
    pub fn add(&mut self, plan: &Plan, key: &[u8]) {
        let name = String::from_utf8_lossy(key);
        let fitting = plan.kinds.iter().enumerate().find_map(|(at, kind)| Some((at, kind, kind.pattern.fit(&name)?)));
        let Some((at, kind, captured)) = fitting else { return };
        if let (Some((capture, _)), Some(number)) = (kind.bucket, &self.buckets[at])
            && captured[capture] != number
        {
            return;
        }
        let hash = xxhash_rust::xxh3::xxh3_64(key);
        if self.seen.contains(&hash) {
            return;
        }
        if self.seen.len() >= self.bounds.keys {
            self.overflowed = Some("different keys");
            return;
        }
        self.seen.insert(hash);
        let Some(group) = self.group(at, kind, &captured) else { return };
        self.groups[group].keys += 1;
        if kind.limit.is_some() {
            self.unread.push((group, key.to_vec()));
        }
    }

    fn group(&mut self, at: usize, kind: &Kind, captured: &[&str]) -> Option<usize> {
        self.scratch.clear();
        self.scratch.push_str(&at.to_string());
        let texts: Vec<&str> = kind.captures().map(|capture| cut(captured[capture])).collect();
        for text in &texts {
            // Lengths, since a text may hold whatever could stand between two.
            self.scratch.push_str(&format!(":{}:", text.len()));
            self.scratch.push_str(text);
        }
        if let Some(place) = self.places.get(self.scratch.as_str()) {
            return Some(*place);
        }
        if self.groups.len() >= self.bounds.groups {
            self.overflowed = Some("different sets of label values");
            return None;
        }
        let captured = texts.into_iter().map(Box::from).collect();
        self.groups.push(Group { kind: at, captured, keys: 0, at_limit: 0 });
        self.places.insert(self.scratch.as_str().into(), self.groups.len() - 1);
        Some(self.groups.len() - 1)
    }

    /// How many different keys were counted.
    pub fn keys(&self) -> usize {
        self.seen.len()
    }

    /// What there was more of than is remembered, so that the result would not be true.
    pub fn overflowed(&self) -> Option<&'static str> {
        self.overflowed
    }

    /// How many keys wait for their value to be read.
    pub fn unread(&self) -> usize {
        self.unread.len()
    }

    /// The keys whose values are to be read next, at most so many, with what [`Tally::value`] wants to know.
    pub fn take_unread(&mut self, most: usize) -> (Vec<usize>, Vec<Vec<u8>>) {
        let from = self.unread.len() - most.min(self.unread.len());
        self.unread.drain(from..).unzip()
    }

    /// Takes a value that was read for a group.
    pub fn value(&mut self, plan: &Plan, group: usize, value: Option<u64>) {
        let group = &mut self.groups[group];
        if let (Some(limit), Some(value)) = (plan.kinds[group.kind].limit, value)
            && value >= limit
        {
            group.at_limit += 1;
        }
    }

    /// The result: one row for each set of label values. Kinds whose labels are known beforehand have a row also when
    /// there is no key: nothing found is 0.
    pub fn rows(&self, plan: &Plan) -> Rows {
        let mut merged: BTreeMap<Vec<Option<String>>, (u64, Option<u64>)> = BTreeMap::new();
        let mut add = |kind: &Kind, captured: &[Box<str>], keys: u64, at_limit: u64| {
            let mut captured = captured.iter();
            let cells = kind.cells.iter().map(|cell| cell.text(&mut captured)).collect();
            let (all, all_at_limit) = merged.entry(cells).or_default();
            *all += keys;
            if kind.limit.is_some() {
                *all_at_limit.get_or_insert_default() += at_limit;
            }
        };
        for kind in plan.kinds.iter().filter(|kind| kind.is_one_group()) {
            add(kind, &[], 0, 0);
        }
        for group in &self.groups {
            add(&plan.kinds[group.kind], &group.captured, group.keys, group.at_limit);
        }
        let mut rows = Rows::new(plan.columns.len());
        for (cells, (keys, at_limit)) in &merged {
            for column in &plan.columns {
                match column {
                    Column::Keys => rows.push(Some(&keys.to_string())),
                    Column::AtLimit => rows.push(at_limit.map(|keys| keys.to_string()).as_deref()),
                    Column::Cell(cell) => rows.push(cells[*cell].as_deref()),
                }
            }
        }
        rows
    }
}

impl Cell {
    fn text(&self, captured: &mut std::slice::Iter<'_, Box<str>>) -> Option<String> {
        match self {
            Cell::Absent => None,
            Cell::Fixed(text) => Some(text.clone()),
            Cell::Captured(_) => captured.next().map(|text| text.to_string()),
            Cell::Looked(_, names) => {
                let id = captured.next()?;
                Some(names.as_ref().map_or_else(|| hashed(id), |names| names.name_of(id)))
            }
        }
    }
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(CAPTURE_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// A hasher for what is a hash already.
#[derive(Debug, Default, Clone, Copy)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxhash_rust::xxh3::xxh3_64(bytes);
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests;
