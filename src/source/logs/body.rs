//! Bodies of requests as each kind of drain sends them, read into lines.
//!
//! One bad record costs no other. It never panics, whatever it is given, and what it makes of a body has a bound.
//!
//! Ids are what makes a line that comes twice count once, so the same bytes always have the same ids:
//!
//! - a record that has an id is known by it, in whatever delivery it comes. Where fields are named by the operator (`http`), its time
//!   belongs to the id: an application's own field `id` often is that of a thing that several lines are about.
//! - a record that has a time (its own, or that of the line in it) is known by all of its bytes, and by how many like it stood before it in
//!   the delivery: so it is the same in another batch, and two that are alike in one batch are two. Two that are alike to the byte and
//!   come in two batches are one: that is the price where nothing tells a record that is sent again from one more of its like.
//! - any other is known by the bytes of the whole delivery and its place there: nothing but the whole can be known again then.

mod pieces;
mod record;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use serde_json::Value;

use self::pieces::{Piece, Pieces, is_meant_as_json};
use self::record::{Fields, Ids};
use super::Parsed;
use super::line::{Budget, LineId, Told, text};
use crate::config::logs::{DrainKind, IntakeLimits, RecordFields};

/// Nothing of a body can be read: a sentence for who sent it, without a byte of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub &'static str);

const NO_JSON: Unreadable = Unreadable(
    "no record can be read: send JSON objects, one to a line, one behind the other or in an array, as UTF-8",
);
const NO_TEXT: Unreadable =
    Unreadable("neither JSON nor lines of text: send UTF-8, and name the packing of a packed body in Content-Encoding");
const TOO_MANY: Unreadable = Unreadable("the records hold too many values together: send smaller batches");
const OTLP: Unreadable = Unreadable("OTLP is not read here: give the drain the kind of its sender");

/// What Vercel's records have (<https://vercel.com/docs/drains/reference/logs>).
static VERCEL: LazyLock<RecordFields> = LazyLock::new(|| fields(&["message"], &["timestamp"], &["id"], &["level"]));

/// What Supabase's have: those of Logflare, of which old ones have `message` for `event_message`, and the level where Postgres and the other
/// services put it (<https://supabase.com/docs/guides/telemetry/log-drains>).
static SUPABASE: LazyLock<RecordFields> = LazyLock::new(|| {
    let levels = ["/metadata/parsed/error_severity", "/metadata/level", "level"];
    fields(&["event_message", "message"], &["timestamp"], &["id"], &levels)
});

fn fields(message: &[&str], time: &[&str], id: &[&str], level: &[&str]) -> RecordFields {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    RecordFields { message: names(message), time: names(time), id: names(id), level: names(level) }
}

/// Reads a body, already unpacked. OTLP is read elsewhere. A body without any record (`{}`, `[]`, nothing), as senders try
/// a connection with, has no lines.
///
/// # Errors
/// When there is something in it, and nothing of it can be read as a record.
pub fn parse(kind: DrainKind, fields: &RecordFields, limits: &IntakeLimits, body: &[u8]) -> Result<Parsed, Unreadable> {
    within(&Budget::default(), kind, fields, limits, body)
}

fn within(
    budget: &Budget,
    kind: DrainKind,
    fields: &RecordFields,
    limits: &IntakeLimits,
    body: &[u8],
) -> Result<Parsed, Unreadable> {
    let fields = match kind {
        DrainKind::Vercel => &VERCEL,
        DrainKind::Supabase => &SUPABASE,
        DrainKind::Http | DrainKind::File | DrainKind::Stdin => fields,
        DrainKind::Otlp => return Err(OTLP),
    };
    // Broken UTF-8 costs the characters that it is in. Records are told apart by ASCII alone, so it is the same in every batch.
    let text = String::from_utf8_lossy(body);
    let mut reading = Reading::new(kind, fields, limits, budget, Ids::new(body, None));
    for piece in Pieces::new(&text, reading.is_plain(), budget) {
        reading.piece(piece, &text);
    }
    reading.done()
}

/// Reads one message of a file or of standard input: a line, and the lines that go on with it (`continues`), joined by line breaks.
/// A JSON object is read as a record (one of a container's log, or the application's own), anything else is text. Its id is
/// that of its place, as where a file was read to is remembered: no line of it comes twice, and an application's own `id` could be
/// that of several lines.
///
/// What is read has no line for a message that is empty or only goes on with another, and several for a record whose text has several.
///
/// # Errors
/// When it is no text, or is meant as JSON and is none.
pub fn line(fields: &RecordFields, limits: &IntakeLimits, raw: &str, place: LineId) -> Result<Parsed, Unreadable> {
    let budget = Budget::default();
    let mut reading = Reading::new(DrainKind::File, fields, limits, &budget, Ids::new(b"", Some(place)));
    let raw = raw.trim_ascii_end();
    if is_meant_as_json(raw.trim_ascii_start()) {
        for piece in Pieces::new(raw, true, &budget) {
            reading.piece(piece, raw);
        }
    } else if !raw.is_empty() {
        reading.plain(raw);
    }
    reading.done()
}

/// A body that is being read.
struct Reading<'b> {
    kind: DrainKind,
    fields: Fields<'b>,
    line_bytes: usize,
    budget: &'b Budget,
    ids: Ids<'b>,
    parsed: Parsed,
    /// Plain lines that are no text. They are among what is unreadable.
    noise: usize,
}

impl<'b> Reading<'b> {
    fn new(kind: DrainKind, fields: &'b RecordFields, limits: &IntakeLimits, budget: &'b Budget, ids: Ids<'b>) -> Self {
        let fields = Fields::new(fields);
        Reading { kind, fields, line_bytes: limits.line_bytes, budget, ids, parsed: Parsed::default(), noise: 0 }
    }

    /// Whether lines that are no JSON are lines too, and records may be lines themselves.
    fn is_plain(&self) -> bool {
        !matches!(self.kind, DrainKind::Vercel | DrainKind::Supabase)
    }

    fn piece(&mut self, piece: Piece<'_>, body: &str) {
        match piece {
            Piece::Unreadable => self.unreadable(),
            Piece::Plain(lines) => self.plain(lines.trim_end()),
            // A connection is tried so.
            Piece::Record(_, fields) if fields.is_empty() => {}
            Piece::Record(raw, fields) => {
                let mut record = Value::Object(fields);
                let is_all = self.is_plain() && self.ids.given.is_none() && raw.len() == body.trim().len();
                match is_all.then(|| self.fields.wrapped(&mut record)).flatten() {
                    None => self.record(raw, record),
                    Some(records) => records.into_iter().for_each(|record| match &record {
                        Value::Object(fields) if fields.is_empty() => {}
                        Value::Object(_) => self.record(&record.to_string(), record),
                        _ => self.unreadable(),
                    }),
                }
            }
        }
    }

    fn unreadable(&mut self) {
        self.parsed.unreadable += 1;
        self.ids.advance();
    }

    /// Each message of plain lines is a record of its own.
    fn plain(&mut self, lines: &str) {
        for message in text::messages(lines) {
            let message = &lines[message];
            if text::is_noise(message) {
                self.noise += 1;
                self.unreadable();
                continue;
            }
            let id = |time| self.ids.of(message, None, time);
            self.parsed.add(message.to_owned(), Told::default(), None, self.line_bytes, self.budget, id);
            self.ids.advance();
        }
    }

    fn record(&mut self, raw: &str, mut record: Value) {
        if self.kind == DrainKind::Supabase
            && let Some(metadata) = record.get_mut("metadata")
        {
            record::unwrap(metadata);
        }
        let told = self.fields.told(&record);
        let mut name = self.fields.name(&record);
        if self.is_plain()
            && let (Some(name), Some(time)) = (&mut name, told.time)
        {
            *name = LineId::of_place(name.0, time.cast_unsigned());
        }
        let itself = if self.is_plain() { self.fields.of_line(&record) } else { None };
        let id = |time| self.ids.of(raw, name, time);
        match itself {
            Some(text) => {
                let text = text.unwrap_or_else(|| raw.to_owned());
                self.parsed.add_object(text, record, told, self.line_bytes, self.budget, id);
            }
            None => {
                let text = self.fields.take_message(&mut record);
                self.parsed.add(text, told, Some(record), self.line_bytes, self.budget, id);
            }
        }
        self.ids.advance();
    }

    fn done(self) -> Result<Parsed, Unreadable> {
        let Parsed { lines, unreadable, continuations, .. } = &self.parsed;
        if self.budget.is_spent() {
            Err(TOO_MANY)
        } else if self.noise > lines.len() {
            Err(NO_TEXT)
        } else if lines.is_empty() && *unreadable > 0 && *continuations == 0 {
            Err(NO_JSON)
        } else {
            Ok(self.parsed)
        }
    }
}
