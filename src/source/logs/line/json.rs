//! JSON as log lines hold it, read within bounds, and what JavaScript makes of texts mended.
//!
//! It never panics and never goes deeper than the parser's own limit (128). What a field means is decided elsewhere.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// JSON values that the lines of one delivery may hold together. One takes some 72 bytes of memory where two bytes of a
/// body can bring it (`0,`), so a body's own bound says nothing of what it becomes. A body of 64 MiB of usual records has five
/// million.
pub const VALUES: usize = 8_000_000;

/// Values that an object with fields weighs more than these do: with [`FIELDS`] places and their index it takes some 700 bytes.
const OBJECT_WEIGHT: usize = 10;

/// Fields that an object has room for from the beginning: records and lines have about as many, and growing costs a third of the
/// time in which they are read.
const FIELDS: usize = 8;

/// What is left of the room for the values of one delivery.
#[derive(Debug)]
pub struct Budget {
    left: Cell<usize>,
}

impl Default for Budget {
    fn default() -> Self {
        Budget::of(VALUES)
    }
}

impl Budget {
    /// Room for so many values.
    pub fn of(values: usize) -> Self {
        Budget { left: Cell::new(values) }
    }

    /// Takes room for so many values; false when there is none left, and then there never is again.
    pub fn take(&self, values: usize) -> bool {
        let left = self.left.get().checked_sub(values);
        self.left.set(left.unwrap_or(0));
        left.is_some() && !self.is_spent()
    }

    /// Whether there is no room left: what was read is not all that came.
    pub fn is_spent(&self) -> bool {
        self.left.get() == 0
    }
}

/// Reads the object at the beginning of a text, and tells how many bytes it has. None when there is none.
pub fn object_at(text: &str, budget: &Budget) -> Option<(Map<String, Value>, usize)> {
    if !text.starts_with('{') {
        return None;
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    match Bounded(budget).deserialize(&mut reader) {
        Ok(Value::Object(fields)) => Some((fields, reader.into_iter::<IgnoredAny>().byte_offset())),
        _ => None,
    }
}

/// Reads a text that is one object, mended where a text was cut within a character.
pub fn object(text: &str, budget: &Budget) -> Option<Map<String, Value>> {
    let text = text.trim();
    let whole =
        |text: &str| object_at(text, budget).filter(|(_, bytes)| *bytes == text.len()).map(|(fields, _)| fields);
    whole(text).or_else(|| mended(text).and_then(|text| whole(&text)))
}

/// The text that was spread by character (`{"0":"H","1":"i","level":"info"}`, what JavaScript makes of `{...text}`), taken out of
/// the fields; None when it was not.
pub fn take_spread(fields: &mut Map<String, Value>) -> Option<String> {
    // JavaScript puts names that are numbers before all others.
    if fields.keys().next()? != "0" || !(is_character(fields.get("0")) && is_character(fields.get("1"))) {
        return None;
    }
    let mut text = String::new();
    let mut high = None;
    let mut buffer = itoa::Buffer::new();
    for place in 0u32.. {
        let name = buffer.format(place);
        if !is_character(fields.get(name)) {
            break;
        }
        let Some(Value::String(part)) = fields.remove(name) else { break };
        for character in part.chars() {
            let half = half_of(character);
            match (high.take(), half) {
                (Some(first @ 0xd800..=0xdbff), Some(second @ 0xdc00..=0xdfff)) => {
                    text.extend(char::decode_utf16([first, second]).map(|whole| whole.unwrap_or(MISSING)));
                }
                (before, half) => {
                    text.extend(before.map(|_| MISSING));
                    match half {
                        Some(_) => high = half,
                        None => text.push(character),
                    }
                }
            }
        }
    }
    text.extend(high.map(|_| MISSING));
    Some(text)
}

/// How many values there are in this one.
pub fn values_in(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(values_in).sum(),
        Value::Object(fields) => OBJECT_WEIGHT + fields.values().map(values_in).sum::<usize>(),
        // A copy of a long text is no cheaper than one of many values.
        Value::String(text) => text.len() / 64,
        _ => 0,
    }
}

/// Stands for half a character.
const MISSING: char = '\u{fffd}';

/// Private characters that stand for halves of others (`\ud83d`) until they are joined: 0x800 of them, as there are halves.
const HALVES: u32 = 0x10_f800;

fn is_character(value: Option<&Value>) -> bool {
    let mut characters = value.and_then(Value::as_str).unwrap_or_default().chars();
    characters.next().is_some() && characters.next().is_none()
}

fn half_of(character: char) -> Option<u16> {
    u32::from(character).checked_sub(HALVES).and_then(|half| u16::try_from(0xd800 + half).ok())
}

/// The text with escapes of half characters (`\ud83d` alone: JavaScript prints them of texts that were cut or spread) made whole
/// ones; None when it has none. Elsewhere in this crate's JSON they are errors, as Rust's text cannot hold them.
pub fn mended(text: &str) -> Option<String> {
    if !(text.contains("\\ud") || text.contains("\\uD")) {
        return None;
    }
    let spread = text.starts_with("{\"0\":");
    let bytes = text.as_bytes();
    let mut made = String::with_capacity(text.len());
    let (mut kept, mut at, mut changed) = (0, 0, false);
    while let Some(next) = bytes.get(at..).and_then(|rest| memchr::memchr(b'\\', rest)).map(|next| at + next) {
        at = next + 2;
        let Some(half @ 0xd800..=0xdfff) = escape_at(bytes, next) else { continue };
        at = next + 6;
        if half < 0xdc00 && matches!(escape_at(bytes, at), Some(0xdc00..=0xdfff)) {
            at += 6;
            continue;
        }
        made.push_str(&text[kept..next]);
        let stand_in = HALVES + u32::from(half - 0xd800);
        made.push(if spread { char::from_u32(stand_in).unwrap_or(MISSING) } else { MISSING });
        (kept, changed) = (at, true);
    }
    made.push_str(&text[kept..]);
    changed.then_some(made)
}

/// The number of the escape `\uXXXX` at a place.
fn escape_at(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0, |number, digit| Some(number << 4 | char::from(*digit).to_digit(16)? as u16))
}

/// Reads any value, and takes room for each.
#[derive(Clone, Copy)]
struct Bounded<'b>(&'b Budget);

impl<'de> DeserializeSeed<'de> for Bounded<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        if !self.0.take(1) {
            return Err(D::Error::custom("too many values"));
        }
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Bounded<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut made = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            made.push(item);
        }
        Ok(Value::Array(made))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let Some(first) = fields.next_key::<String>()? else { return Ok(Value::Object(Map::new())) };
        if !self.0.take(OBJECT_WEIGHT) {
            return Err(A::Error::custom("too many values"));
        }
        let mut made = Map::with_capacity(FIELDS);
        made.insert(first, fields.next_value_seed(self)?);
        while let Some(name) = fields.next_key::<String>()? {
            made.insert(name, fields.next_value_seed(self)?);
        }
        Ok(Value::Object(made))
    }
}
