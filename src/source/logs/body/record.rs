//! What stands where in a record, and what makes a record the one that it is.
//!
//! It takes records apart and reads no text.

use std::collections::HashMap;

use serde_json::Value;
use xxhash_rust::xxh3::xxh3_128;

use crate::config::logs::RecordFields;
use crate::family::Micros;
use crate::source::logs::line::{LineId, Told, level, moment, text};

/// Names under which an object holds a list of records, where it is all that a body has.
const WRAPPERS: [&str; 5] = ["data", "logs", "events", "records", "messages"];

/// Where the parts of a record are.
pub(super) struct Fields<'f> {
    message: Vec<Path<'f>>,
    time: Vec<Path<'f>>,
    id: Vec<Path<'f>>,
    level: Vec<Path<'f>>,
}

/// A field: its name, or a pointer (RFC 6901).
#[derive(Clone, Copy)]
enum Path<'f> {
    Name(&'f str),
    Pointer(&'f str),
}

impl<'f> Fields<'f> {
    /// Makes what was set ready.
    pub(super) fn new(fields: &'f RecordFields) -> Self {
        let paths = |names: &'f [String]| names.iter().map(|name| Path::new(name)).collect();
        Fields {
            message: paths(&fields.message),
            time: paths(&fields.time),
            id: paths(&fields.id),
            level: paths(&fields.level),
        }
    }

    /// What the record says of its text.
    pub(super) fn told(&self, record: &Value) -> Told {
        let time = self.time.iter().find_map(|path| moment::of_value(path.get(record)?));
        let level = self.level.iter().find_map(|path| level::of_value(path.get(record)?));
        Told { time, level }
    }

    /// The record's own id.
    pub(super) fn name(&self, record: &Value) -> Option<LineId> {
        self.id.iter().find_map(|path| match path.get(record)? {
            Value::String(name) if !name.is_empty() => Some(LineId::of_name(name)),
            Value::Number(number) => Some(LineId::of_name(&number.to_string())),
            _ => None,
        })
    }

    /// Takes the text out of the record; empty when there is none. A text that the sender read as JSON already is written as it again.
    pub(super) fn take_message(&self, record: &mut Value) -> String {
        match self.message(record).and_then(|path| path.take(record)) {
            Some(Value::String(text)) => text,
            Some(other) => other.to_string(),
            None => String::new(),
        }
    }

    /// The line that a record is itself, rather than a text in an envelope: it has no text, or a text of one message that is no JSON. Then this
    /// is its text, or None where it is the record's own.
    pub(super) fn of_line(&self, record: &Value) -> Option<Option<String>> {
        let Some(message) = self.message(record).and_then(|path| path.get(record)) else { return Some(None) };
        let message = message.as_str()?.trim_end();
        let is_several = || message.contains('\n') && text::of_record(message).len() > 1;
        let is_envelope = message.trim_start().starts_with('{') || text::continues(message) || is_several();
        (!is_envelope).then(|| Some(message.to_owned()))
    }

    /// Takes the records out of an object that does nothing but hold their list.
    pub(super) fn wrapped(&self, object: &mut Value) -> Option<Vec<Value>> {
        if self.message(object).is_some() || self.told(object) != Told::default() || self.name(object).is_some() {
            return None;
        }
        let fields = object.as_object()?;
        let mut lists = fields.iter().filter(|(_, value)| value.is_array());
        let (name, list) = lists.next()?;
        let is_record = |item: &Value| {
            item.is_object()
                && (self.message(item).is_some() || self.told(item).time.is_some() || self.name(item).is_some())
        };
        let holds_records = list.as_array().is_some_and(|items| items.first().is_none_or(is_record));
        if lists.next().is_some() || !WRAPPERS.contains(&name.as_str()) || !holds_records {
            return None;
        }
        let name = name.clone();
        match object.get_mut(&name)?.take() {
            Value::Array(items) => Some(items),
            _ => None,
        }
    }

    /// Where the text is: the first that is a text, else the first of all where it is an object.
    fn message(&self, record: &Value) -> Option<Path<'f>> {
        let is_text = |path: &&Path<'f>| path.get(record).is_some_and(Value::is_string);
        let is_object = |path: &&Path<'f>| path.get(record).is_some_and(Value::is_object);
        self.message.iter().find(is_text).or_else(|| self.message.first().filter(is_object)).copied()
    }
}

impl<'f> Path<'f> {
    fn new(name: &'f str) -> Self {
        if name.starts_with('/') { Path::Pointer(name) } else { Path::Name(name) }
    }

    fn get<'r>(&self, record: &'r Value) -> Option<&'r Value> {
        match self {
            Path::Name(name) => record.get(name),
            Path::Pointer(pointer) => record.pointer(pointer),
        }
    }

    fn take(&self, record: &mut Value) -> Option<Value> {
        match self {
            Path::Name(name) => record.as_object_mut()?.remove(*name),
            Path::Pointer(pointer) => record.pointer_mut(pointer).map(Value::take),
        }
    }
}

/// Puts objects in place of lists that hold only them, however deep: Supabase's log explorer wraps each so.
pub(super) fn unwrap(value: &mut Value) {
    if let Value::Array(items) = value
        && let [Value::Object(_)] = items.as_slice()
    {
        *value = items.pop().unwrap_or_default();
    }
    match value {
        Value::Array(items) => items.iter_mut().for_each(unwrap),
        Value::Object(fields) => fields.values_mut().for_each(unwrap),
        _ => {}
    }
}

/// What ids are made of.
pub(super) struct Ids<'b> {
    /// The bytes that were delivered.
    pub(super) body: &'b [u8],
    /// The id of the first record, where the place of the delivery tells it.
    pub(super) given: Option<LineId>,
    delivery: Option<u128>,
    alike: HashMap<u128, u64>,
    place: u64,
}

impl<'b> Ids<'b> {
    /// Those of one delivery.
    pub(super) fn new(body: &'b [u8], given: Option<LineId>) -> Self {
        Ids { body, given, delivery: None, alike: HashMap::new(), place: 0 }
    }

    /// Goes on to the next record.
    pub(super) fn advance(&mut self) {
        self.place += 1;
    }

    /// The id of a record of these bytes, of its name and the time that it or its line has.
    pub(super) fn of(&mut self, raw: &str, name: Option<LineId>, time: Option<Micros>) -> LineId {
        if let Some(given) = self.given {
            return numbered(given.0, self.place);
        }
        if let Some(name) = name {
            return name;
        }
        if time.is_none() {
            let body = self.body;
            return LineId::of_place(*self.delivery.get_or_insert_with(|| xxh3_128(body)), self.place);
        }
        let hash = xxh3_128(raw.as_bytes());
        let alike = self.alike.entry(hash).or_default();
        let id = numbered(hash, *alike);
        *alike += 1;
        id
    }
}

/// The id itself for the first, and one made of it for those behind it.
fn numbered(id: u128, number: u64) -> LineId {
    if number == 0 { LineId(id) } else { LineId::of_place(id, number) }
}
