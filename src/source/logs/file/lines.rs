//! Bytes cut into lines, however they come: bounded memory, whatever a line's length.
//!
//! It reads no file and looks at no line's meaning.

use super::super::position::TAIL_BYTES;

/// The last bytes before a place.
#[derive(Debug, Clone, Copy)]
pub struct Tail {
    bytes: [u8; TAIL_BYTES],
    length: usize,
}

impl Tail {
    /// Of bytes that end at the place.
    pub fn of(bytes: &[u8]) -> Self {
        let mut tail = Tail { bytes: [0; TAIL_BYTES], length: 0 };
        tail.push(bytes);
        tail
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn push(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(TAIL_BYTES)..];
        let kept = self.length.min(TAIL_BYTES - bytes.len());
        self.bytes.copy_within(self.length - kept..self.length, 0);
        self.bytes[kept..kept + bytes.len()].copy_from_slice(bytes);
        self.length = kept + bytes.len();
    }
}

/// One line, without its end.
#[derive(Debug)]
pub struct RawLine<'a> {
    /// Where it begins.
    pub start: u64,
    /// The bytes before it.
    pub before: Tail,
    /// Where the next one begins.
    pub end: u64,
    /// Its bytes.
    pub text: &'a [u8],
    /// Whether it was longer than a line may be.
    pub cut: bool,
}

/// Cuts bytes into lines.
#[derive(Debug)]
pub struct Lines {
    limit: usize,
    start: u64,
    before: Tail,
    at: u64,
    tail: Tail,
    partial: Vec<u8>,
    cut: bool,
}

impl Lines {
    /// Begins at a place, with the bytes before it; a line holds at most so many bytes.
    pub fn new(limit: usize, at: u64, before: Tail) -> Self {
        Lines { limit, start: at, before, at, tail: before, partial: Vec::new(), cut: false }
    }

    /// Where the line begins that is not whole yet.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// The bytes before `start`.
    pub fn before(&self) -> Tail {
        self.before
    }

    /// How far bytes were taken.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// The bytes before `at`.
    pub fn tail(&self) -> &[u8] {
        self.tail.as_slice()
    }

    /// Takes bytes, until `take` wants no more lines; tells how many it took.
    pub fn push(&mut self, bytes: &[u8], mut take: impl FnMut(RawLine<'_>) -> bool) -> usize {
        let mut taken = 0;
        while taken < bytes.len() {
            let rest = &bytes[taken..];
            let newline = memchr::memchr(b'\n', rest);
            let segment = &rest[..newline.map_or(rest.len(), |place| place + 1)];
            taken += segment.len();
            self.at += segment.len() as u64;
            self.tail.push(segment);
            let mut text = newline.map_or(segment, |place| &segment[..place]);
            if self.partial.is_empty() && !self.cut {
                // Who truncates a file under a writer that does not append leaves a hole before its next line.
                text = &text[text.iter().take_while(|byte| **byte == 0).count()..];
            }
            let room = self.limit.saturating_sub(self.partial.len());
            if text.len() > room {
                text = &text[..room];
                self.cut = true;
            }
            if newline.is_none() {
                self.partial.extend_from_slice(text);
            } else if self.partial.is_empty() {
                let line = self.line(text);
                self.next();
                if !take(line) {
                    break;
                }
            } else {
                self.partial.extend_from_slice(text);
                if !self.end(&mut take) {
                    break;
                }
            }
        }
        taken
    }

    /// Nothing comes after: what is there of a line is a line.
    pub fn finish(&mut self, mut take: impl FnMut(RawLine<'_>) -> bool) {
        if self.at > self.start {
            self.end(&mut take);
        }
    }

    fn end(&mut self, take: &mut impl FnMut(RawLine<'_>) -> bool) -> bool {
        let mut partial = std::mem::take(&mut self.partial);
        let line = self.line(&partial);
        self.next();
        let more = take(line);
        partial.clear();
        self.partial = partial;
        more
    }

    fn line<'a>(&self, text: &'a [u8]) -> RawLine<'a> {
        let text = if self.cut { text } else { text.strip_suffix(b"\r").unwrap_or(text) };
        RawLine { start: self.start, before: self.before, end: self.at, text, cut: self.cut }
    }

    fn next(&mut self) {
        self.start = self.at;
        self.before = self.tail;
        self.cut = false;
    }
}
