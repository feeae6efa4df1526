//! One line of a log: its text made readable, and what it says of itself.
//!
//! It keeps what was written; what a line means is for packs to say.

use std::fmt;

use serde_json::Value;
use xxhash_rust::xxh3::xxh3_128;

use crate::family::Micros;

/// What tells a line from every other line of its drain: a hash of its id, or of what was delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LineId(pub u128);

impl LineId {
    /// The id of a line that is so named by who sent it.
    pub fn of_name(name: &str) -> Self {
        LineId(xxh3_128(name.as_bytes()))
    }

    /// The id of the line that stands at a place in a delivery: for lines that have neither name nor time.
    pub fn of_place(delivery: u128, place: u64) -> Self {
        let mut bytes = [0; 24];
        bytes[..16].copy_from_slice(&delivery.to_le_bytes());
        bytes[16..].copy_from_slice(&place.to_le_bytes());
        LineId(xxh3_128(&bytes))
    }
}

impl fmt::Display for LineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// How grave a line says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// `trace`.
    Trace,
    /// `debug`.
    Debug,
    /// `info`.
    Info,
    /// `warn`.
    Warn,
    /// `error`.
    Error,
    /// `fatal`.
    Fatal,
}

impl Level {
    /// The word that labels have.
    pub const fn as_str(self) -> &'static str {
        match self {
            Level::Trace => "trace",
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
            Level::Fatal => "fatal",
        }
    }
}

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub struct LogLine {
    /// What tells it from every other line of the drain.
    pub id: LineId,
    /// When it was written, if anything tells.
    pub time: Option<Micros>,
    /// How grave it is, if anything tells: its JSON, its text, or the record that it came in.
    pub level: Option<Level>,
    /// The text, without colours and without white space at its end; several lines where it was written as several.
    pub text: String,
    /// The text as JSON, where it is one object.
    pub json: Option<Value>,
    /// The record in which the drain brought the text, where there is one.
    pub record: Option<Value>,
}
