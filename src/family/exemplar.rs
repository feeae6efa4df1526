//! What leads from a series to one of the rows that it counted: ids of traces and spans, and exemplars.
//!
//! It knows neither how a span is made nor where it is sent.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Micros;

/// Bytes of the longest id.
const LONGEST: usize = 16;

/// Identifies a trace; never all zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct TraceId(pub [u8; 16]);

/// Identifies a span within its trace; never all zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct SpanId(pub [u8; 8]);

/// What tells one span from all others: what an exemplar points to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpanContext {
    /// The trace.
    pub trace: TraceId,
    /// The span in it.
    pub span: SpanId,
}

/// One row that a series counted, and the span made of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exemplar {
    /// The span; it was queued or sent.
    pub span: SpanContext,
    /// What the row added or observed.
    pub value: f64,
    /// When the row happened.
    pub time: Micros,
}

impl Exemplar {
    /// Whether it takes the place of the one shown now: when its row is younger by a millisecond at least.
    ///
    /// Prometheus keeps whole milliseconds, and refuses what is not later than the last that it has of a series
    /// (`tsdb/exemplar.go`), at each scrape anew.
    pub fn displaces(&self, shown: Option<&Exemplar>) -> bool {
        shown.is_none_or(|shown| self.time.div_euclid(1000) > shown.time.div_euclid(1000))
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        digits(&self.0, f)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        digits(&self.0, f)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Two digits a byte, written at once: a page may have an id on every line.
fn digits<const N: usize>(bytes: &[u8; N], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 2 * LONGEST];
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    f.write_str(std::str::from_utf8(&text[..2 * N]).map_err(|_| fmt::Error)?)
}

/// A text that is no id: not hexadecimal, of another length, or all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an id: expected {0} hexadecimal digits that are not all 0")]
pub struct BadId(usize);

fn bytes<const N: usize>(text: &str) -> Result<[u8; N], BadId> {
    let mut bytes = [0; N];
    let bad = BadId(2 * N);
    if text.len() != 2 * N || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(bad);
    }
    for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| bad)?;
    }
    if bytes == [0; N] { Err(bad) } else { Ok(bytes) }
}

impl FromStr for TraceId {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        bytes(text).map(TraceId)
    }
}

impl FromStr for SpanId {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        bytes(text).map(SpanId)
    }
}

impl TryFrom<String> for TraceId {
    type Error = BadId;
    fn try_from(text: String) -> Result<Self, BadId> {
        text.parse()
    }
}

impl TryFrom<String> for SpanId {
    type Error = BadId;
    fn try_from(text: String) -> Result<Self, BadId> {
        text.parse()
    }
}

impl From<TraceId> for String {
    fn from(id: TraceId) -> String {
        id.to_string()
    }
}

impl From<SpanId> for String {
    fn from(id: SpanId) -> String {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_later_for_prometheus_displaces() {
        let at =
            |time| Exemplar { span: SpanContext { trace: TraceId([1; 16]), span: SpanId([1; 8]) }, value: 1.0, time };
        assert!(at(-1).displaces(None));
        for (shown, next, displaces) in
            [(1999, 2000, true), (2000, 2000, false), (2000, 2999, false), (2000, 1999, false), (-1, 0, true)]
        {
            assert_eq!(at(next).displaces(Some(&at(shown))), displaces, "{next} after {shown}");
        }
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for bad in
            ["", "0000000000000000", "00f067aa0ba902b", "00f067aa0ba902b7a", "00f067aa0ba902bg", "+0f067aa0ba902b7"]
        {
            assert!(bad.parse::<SpanId>().is_err(), "{bad}");
        }
        assert!("é0f067aa0ba902b".parse::<SpanId>().is_err());
    }
}
