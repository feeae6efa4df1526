//! One line of a log: its text made readable, and what it says of itself.
//!
//! It keeps what was written; what a line means is for packs to say.

pub mod json;
pub mod level;
pub mod moment;
pub mod text;

use std::fmt;

use serde_json::{Map, Value};
use xxhash_rust::xxh3::xxh3_128;

pub use self::json::Budget;
pub use self::text::continues;
use super::Parsed;
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
    /// The record in which the drain brought the text, where there is one beside `json`.
    pub record: Option<Value>,
}

impl LogLine {
    /// The record in which the drain brought the text. A record whose text is no JSON of its own is both the line's JSON and its record,
    /// and held once.
    pub fn record(&self) -> Option<&Value> {
        self.record.as_ref().or(self.json.as_ref())
    }

    /// The line that a text is, as long as it is one message. `json` is its JSON where the text is one object.
    fn new(mut text: String, mut json: Option<Map<String, Value>>, told: Told) -> Self {
        if let Some(spread) = json.as_mut().and_then(json::take_spread) {
            text = text::clean(spread);
        }
        let level = json.as_ref().and_then(level::of_json).or_else(|| level::of_text(&text)).or(told.level);
        let time = told.time.or_else(|| json.as_ref().and_then(moment::of_json)).or_else(|| moment::of_text(&text));
        LogLine { id: LineId(0), time, level, text, json: json.map(Value::Object), record: None }
    }
}

/// What a record says of its text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Told {
    /// When it was written.
    pub time: Option<Micros>,
    /// How grave it is, unless the text says otherwise.
    pub level: Option<Level>,
}

/// JSON values that a line without any weighs as much as.
const LINE_WEIGHT: usize = 4;

impl Parsed {
    /// Adds the lines of one record's text: one for each message in it (`text::of_record`), none for a text that only goes on with another's. The text
    /// is cleaned, and each message cut to `line_bytes`. `id` makes the id of the record of the time that its first line has; the second
    /// message and those behind it have ids made of it and of their number.
    ///
    /// When the budget is spent, what was added is not all, and the delivery must be refused.
    pub fn add(
        &mut self,
        text: String,
        told: Told,
        record: Option<Value>,
        line_bytes: usize,
        budget: &Budget,
        id: impl FnOnce(Option<Micros>) -> LineId,
    ) {
        let text = text::clean(text);
        let first = self.lines.len();
        if let Some(json) = json_of(&text, line_bytes, budget) {
            self.push(LogLine::new(text, Some(json), told), record, budget);
        } else if memchr::memchr(b'\n', text.as_bytes()).is_none() {
            if !text.is_empty() && continues(&text) {
                self.continuations += 1;
                return;
            }
            self.push_message(text, None, told, record, line_bytes, budget);
        } else {
            self.add_messages(&text, told, record, line_bytes, budget);
        }
        let Some(line) = self.lines.get(first) else { return };
        let id = id(line.time);
        for (number, line) in (0..).zip(&mut self.lines[first..]) {
            line.id = if number == 0 { id } else { LineId::of_place(id.0, number) };
        }
    }

    /// Adds a record that is itself the line: the object is the line's JSON.
    pub fn add_object(
        &mut self,
        text: String,
        object: Value,
        told: Told,
        line_bytes: usize,
        budget: &Budget,
        id: impl FnOnce(Option<Micros>) -> LineId,
    ) {
        let json = match object {
            Value::Object(fields) => Some(fields),
            _ => None,
        };
        let mut line = LogLine::new(text::clean(text), json, told);
        self.cut += u64::from(text::cut(&mut line.text, line_bytes));
        line.id = id(line.time);
        self.push(line, None, budget);
    }

    fn add_messages(&mut self, text: &str, told: Told, mut record: Option<Value>, line_bytes: usize, budget: &Budget) {
        let mut messages = text::of_record(text).into_iter().peekable();
        if messages.next_if(|first| continues(&text[first.clone()])).is_some() {
            self.continuations += 1;
        }
        let mut weight = None;
        while let Some(message) = messages.next() {
            let message = &text[message];
            let of_this = if messages.peek().is_none() {
                record.take()
            } else {
                let weight = *weight.get_or_insert_with(|| record.as_ref().map_or(0, json::values_in));
                record.as_ref().filter(|_| budget.take(weight)).cloned()
            };
            let json = json_of(message, line_bytes, budget);
            self.push_message(message.to_owned(), json, told, of_this, line_bytes, budget);
            if budget.is_spent() {
                return;
            }
        }
    }

    fn push_message(
        &mut self,
        mut text: String,
        json: Option<Map<String, Value>>,
        told: Told,
        record: Option<Value>,
        line_bytes: usize,
        budget: &Budget,
    ) {
        self.cut += u64::from(text::cut(&mut text, line_bytes));
        self.push(LogLine::new(text, json, told), record, budget);
    }

    fn push(&mut self, mut line: LogLine, record: Option<Value>, budget: &Budget) {
        line.record = record;
        if budget.take(LINE_WEIGHT) {
            self.lines.push(line);
        }
    }
}

/// The text as JSON, where it is one object and not longer than a line may be.
fn json_of(text: &str, line_bytes: usize, budget: &Budget) -> Option<Map<String, Value>> {
    let begins = text.len() <= line_bytes && text.trim_start().starts_with('{');
    begins.then(|| json::object(text, budget)).flatten()
}
