//! Lines gathered to messages, and messages to batches.
//!
//! A message may go on in the next line, so the last one is held back until that is known. It keeps no more than a batch and the
//! message held back.

use super::super::Parsed;
use super::super::body;
use super::super::line::{LineId, continues};
use super::lines::{RawLine, Tail};
use crate::config::logs::{IntakeLimits, RecordFields};

/// Messages in one batch: enough that making it durable costs little beside counting it.
pub const BATCH_MESSAGES: usize = 5_000;

/// Bytes of text in one batch; the same reason, and what waits stays small. Nor does a message go on over more bytes of its file, so
/// that the place up to which lines are counted always moves on.
pub const BATCH_BYTES: usize = 1 << 20;

/// What was written as one: one line, or several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Where it begins.
    pub start: u64,
    /// Its text.
    pub text: String,
    /// Whether there was more than a line may have.
    pub cut: bool,
}

#[derive(Debug)]
struct Held {
    message: Message,
    before: Tail,
}

/// Gathers lines.
#[derive(Debug)]
pub struct Messages {
    limit: usize,
    held: Option<Held>,
    ready: Vec<Message>,
    ready_bytes: usize,
}

impl Messages {
    /// None yet; a message holds at most so many bytes.
    pub fn new(limit: usize) -> Self {
        Messages { limit, held: None, ready: Vec::new(), ready_bytes: 0 }
    }

    /// Takes a line; tells whether there is room for another.
    pub fn push(&mut self, line: &RawLine<'_>) -> bool {
        let text = String::from_utf8_lossy(line.text);
        if let Some(held) = &mut self.held
            && continues(&text)
            && line.end.saturating_sub(held.message.start) <= BATCH_BYTES as u64
        {
            held.go_on(&text, line.cut, self.limit);
            return !self.is_full();
        }
        self.release();
        if !text.trim().is_empty() {
            let message = Message { start: line.start, text: text.into_owned(), cut: line.cut };
            self.held = Some(Held { message, before: line.before });
        }
        !self.is_full()
    }

    /// Whether a message is held back.
    pub fn holds(&self) -> bool {
        self.held.is_some()
    }

    /// The message that is held back goes on no more.
    pub fn release(&mut self) {
        if let Some(held) = self.held.take() {
            self.ready_bytes += held.message.text.len();
            self.ready.push(held.message);
        }
    }

    /// Where the message begins that is held back, and the bytes before.
    pub fn held_at(&self) -> Option<(u64, Tail)> {
        self.held.as_ref().map(|held| (held.message.start, held.before))
    }

    /// Whether a batch is full.
    pub fn is_full(&self) -> bool {
        self.ready.len() >= BATCH_MESSAGES || self.ready_bytes >= BATCH_BYTES
    }

    /// Whether nothing is ready.
    pub fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }

    /// What is ready.
    pub fn take(&mut self) -> Vec<Message> {
        self.ready_bytes = 0;
        std::mem::take(&mut self.ready)
    }
}

impl Held {
    fn go_on(&mut self, text: &str, cut: bool, limit: usize) {
        let message = &mut self.message;
        message.cut |= cut;
        let room = limit.saturating_sub(message.text.len());
        if room > text.len() {
            message.text.push('\n');
            message.text.push_str(text);
        } else if !text.trim().is_empty() {
            message.cut = true;
            if room > 1 {
                message.text.push('\n');
                message.text.push_str(&text[..text.floor_char_boundary(room - 1)]);
            }
        }
    }
}

/// Reads messages into lines; their ids are made of the reading and the place.
pub fn parse(messages: &[Message], reading: u64, fields: &RecordFields, limits: &IntakeLimits) -> Parsed {
    let mut all = Parsed::default();
    for message in messages {
        let place = LineId::of_place(u128::from(reading), message.start);
        match body::line(fields, limits, &message.text, place) {
            Ok(parsed) => {
                all.lines.extend(parsed.lines);
                all.unreadable += parsed.unreadable;
                all.continuations += parsed.continuations;
                all.cut += parsed.cut.max(u64::from(message.cut));
            }
            Err(_) => {
                all.unreadable += 1;
                all.cut += u64::from(message.cut);
            }
        }
    }
    all
}
