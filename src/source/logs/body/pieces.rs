//! What a body is made of: JSON records (in an array, one to a line, or one behind the other) and, where they may be,
//! plain lines.
//!
//! The bytes alone decide, never what the sender calls them, and the same bytes always fall into the same pieces. What cannot be read
//! costs as little else as can be told for sure.

use serde_json::{Map, Value};

use crate::source::logs::line::continues;
use crate::source::logs::line::json::{self, Budget};

/// One piece of a body.
#[derive(Debug, PartialEq)]
pub(super) enum Piece<'b> {
    /// A JSON object, and the bytes that it was.
    Record(&'b str, Map<String, Value>),
    /// Plain lines that stand together.
    Plain(&'b str),
    /// Something that should have been a record.
    Unreadable,
}

/// Takes a body to pieces.
pub(super) struct Pieces<'b> {
    text: &'b str,
    at: usize,
    in_array: bool,
    plain: bool,
    budget: &'b Budget,
}

impl<'b> Pieces<'b> {
    /// The pieces of a body; what is no JSON is plain lines, or `Unreadable` where there may be none.
    pub(super) fn new(text: &'b str, plain: bool, budget: &'b Budget) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Pieces { text, at: 0, in_array: false, plain, budget }
    }

    /// Outside of an array: a record, the beginning of an array, or a line of something else.
    fn outside(&mut self) -> Option<Piece<'b>> {
        loop {
            let from = self.at;
            self.skip_blank();
            let rest = &self.text[self.at..];
            if rest.is_empty() {
                return None;
            }
            if self.plain && !is_meant_as_json(rest) {
                // The white space at the beginning of the line tells a continuation.
                let begin = self.text[from..self.at].rfind('\n').map_or(from, |end| from + end + 1);
                return Some(self.plain_lines(begin));
            }
            if rest.starts_with('{') {
                return Some(self.record());
            }
            if rest.starts_with('[') {
                self.at += 1;
                self.in_array = true;
                match self.inside() {
                    None => continue,
                    piece => return piece,
                }
            }
            self.skip_line();
            return Some(Piece::Unreadable);
        }
    }

    /// In an array: its next element; None at its end.
    fn inside(&mut self) -> Option<Piece<'b>> {
        loop {
            self.skip_blank();
            let rest = &self.text[self.at..];
            match rest.as_bytes().first() {
                None => {
                    // The end is missing: something was lost with it.
                    self.in_array = false;
                    return Some(Piece::Unreadable);
                }
                Some(b']') => {
                    self.at += 1;
                    self.in_array = false;
                    return None;
                }
                Some(b',') => self.at += 1,
                Some(b'{') => return Some(self.record()),
                Some(b'[') => {
                    let extent = extent(rest);
                    return Some(self.unreadable_element(extent));
                }
                Some(_) => {
                    let extent = scalar(rest);
                    return Some(self.unreadable_element(extent));
                }
            }
        }
    }

    /// The record that begins here.
    fn record(&mut self) -> Piece<'b> {
        let rest = &self.text[self.at..];
        if let Some((fields, bytes)) = json::object_at(rest, self.budget) {
            self.at += bytes;
            return Piece::Record(&rest[..bytes], fields);
        }
        // Cut within a character, or broken: where does it end?
        let within =
            if self.in_array { rest } else { &rest[..memchr::memchr(b'\n', rest.as_bytes()).unwrap_or(rest.len())] };
        let extent = extent(within);
        if let Some(bytes) = extent
            && let Some(fields) = json::mended(&rest[..bytes]).and_then(|mended| json::object(&mended, self.budget))
        {
            self.at += bytes;
            return Piece::Record(&rest[..bytes], fields);
        }
        if self.in_array {
            return self.unreadable_element(extent);
        }
        match extent {
            Some(bytes) => self.at += bytes,
            None => self.skip_line(),
        }
        Piece::Unreadable
    }

    /// Passes over an element of an array; without an end, the rest of the body cannot be told apart.
    fn unreadable_element(&mut self, extent: Option<usize>) -> Piece<'b> {
        match extent {
            Some(bytes) => self.at += bytes,
            None => {
                self.at = self.text.len();
                self.in_array = false;
            }
        }
        Piece::Unreadable
    }

    /// The plain lines from here to the next that is meant as JSON.
    fn plain_lines(&mut self, begin: usize) -> Piece<'b> {
        while let Some(end) = memchr::memchr(b'\n', &self.text.as_bytes()[self.at..]) {
            self.at += end + 1;
            if is_meant_as_json(&self.text[self.at..]) {
                return Piece::Plain(&self.text[begin..self.at]);
            }
        }
        self.at = self.text.len();
        Piece::Plain(&self.text[begin..])
    }

    /// Passes over this line, and those that go on with it.
    fn skip_line(&mut self) {
        while let Some(end) = memchr::memchr(b'\n', &self.text.as_bytes()[self.at..]) {
            self.at += end + 1;
            let next = self.text[self.at..].split('\n').next().unwrap_or_default();
            if !continues(next) {
                return;
            }
        }
        self.at = self.text.len();
    }

    fn skip_blank(&mut self) {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += rest.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(rest.len());
    }
}

impl<'b> Iterator for Pieces<'b> {
    type Item = Piece<'b>;

    fn next(&mut self) -> Option<Piece<'b>> {
        if self.budget.is_spent() {
            return None;
        }
        if self.in_array
            && let Some(piece) = self.inside()
        {
            return Some(piece);
        }
        self.outside()
    }
}

/// Whether a text begins as an object, or as an array of objects, does. `{ a: 1 }` and `[cron] done` do not.
pub(super) fn is_meant_as_json(text: &str) -> bool {
    let after = |text: &str| text.trim_ascii_start().bytes().next();
    if let Some(inner) = text.strip_prefix('{') {
        matches!(after(inner), Some(b'"' | b'}'))
    } else if let Some(inner) = text.strip_prefix('[') {
        let inner = inner.trim_ascii_start();
        is_object(inner) || inner.strip_prefix(']').is_some_and(|rest| after(rest).is_none())
    } else {
        false
    }
}

fn is_object(text: &str) -> bool {
    text.starts_with('{') && is_meant_as_json(text)
}

/// How many bytes the object or array at the beginning of a text has, by its brackets alone; None when they do not close, or
/// something stands there that no JSON has.
fn extent(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut depth, mut at) = (0usize, 0);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at += string(&bytes[at..])? - 1,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            b'\\' => return None,
            _ => {}
        }
        at += 1;
    }
    None
}

/// How many bytes the string at the beginning has, with its quotes.
fn string(bytes: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        let next = memchr::memchr3(b'"', b'\\', b'\n', bytes.get(at..)?)?;
        match bytes[at + next] {
            b'"' => return Some(at + next + 1),
            b'\\' => at += next + 2,
            // A line break stands in no string: a quote is missing.
            _ => return None,
        }
    }
}

/// How many bytes the element at the beginning has, which is neither object nor array.
fn scalar(text: &str) -> Option<usize> {
    match text.as_bytes().first()? {
        b'"' => string(text.as_bytes()),
        _ => text.find([',', ']', '{', '[', '"', '\n']).map(|bytes| bytes.max(1)),
    }
}
