//! Ids of traces and spans, as hashes of what a row is: read again, after a restart, by another replica, it is the same.
//!
//! Each hash is SHA-256 over parts, the first of them a word for what is hashed. A part is its length (8 bytes, little
//! endian) and its bytes; a NULL is 8 bytes of 255. Nothing here looks at anything but what identifies a row.

use sha2::{Digest, Sha256};

use crate::span::{SpanId, TraceId};

/// The length of a NULL, which no text has.
const NULL: u64 = u64::MAX;

/// Hashes the ids of one collector's rows. It keeps one piece of memory for all of them.
#[derive(Debug, Clone)]
pub(super) struct Ids {
    source: String,
    pack: String,
    table: String,
    parts: Vec<u8>,
}

impl Ids {
    pub(super) fn new(source: &str, pack: &str, table: &str) -> Self {
        Ids { source: source.into(), pack: pack.into(), table: table.into(), parts: Vec::new() }
    }

    /// The trace of a row that is a trace of its own. `row` are the cells of its key, and of its state if it has one.
    pub(super) fn trace_of_row<'c>(&mut self, row: impl Iterator<Item = Option<&'c str>>) -> TraceId {
        self.begin("trace of a row");
        self.row(row);
        TraceId(self.end())
    }

    /// The trace that rows of several tables make together.
    pub(super) fn trace(&mut self, of: &str, id: &str) -> TraceId {
        self.begin("trace");
        for part in [self.source.as_str(), self.pack.as_str(), of, id] {
            push(&mut self.parts, Some(part.as_bytes()));
        }
        TraceId(self.end())
    }

    /// The root of such a trace: every part of it knows its id, whichever of them is read first.
    pub(super) fn root(&mut self, trace: TraceId) -> SpanId {
        self.begin("root");
        push(&mut self.parts, Some(&trace.0));
        SpanId(self.end())
    }

    /// A span of a row; `name` as the pack has it.
    pub(super) fn span<'c>(&mut self, row: impl Iterator<Item = Option<&'c str>>, name: &str) -> SpanId {
        self.begin("span");
        self.row(row);
        push(&mut self.parts, Some(name.as_bytes()));
        SpanId(self.end())
    }

    fn begin(&mut self, word: &str) {
        self.parts.clear();
        push(&mut self.parts, Some(word.as_bytes()));
    }

    fn row<'c>(&mut self, row: impl Iterator<Item = Option<&'c str>>) {
        for part in [self.source.as_str(), self.table.as_str()] {
            push(&mut self.parts, Some(part.as_bytes()));
        }
        for cell in row {
            push(&mut self.parts, cell.map(str::as_bytes));
        }
    }

    /// The first bytes of the hash, never all 0: that would be no id.
    fn end<const N: usize>(&self) -> [u8; N] {
        let hash: [u8; 32] = Sha256::digest(&self.parts).into();
        let mut id = [0; N];
        id.copy_from_slice(&hash[..N]);
        if id == [0; N] {
            id[N - 1] = 1;
        }
        id
    }
}

fn push(parts: &mut Vec<u8>, part: Option<&[u8]>) {
    let length = part.map_or(NULL, |part| part.len() as u64);
    parts.extend_from_slice(&length.to_le_bytes());
    parts.extend_from_slice(part.unwrap_or_default());
}
