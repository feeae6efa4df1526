//! How much memory what is read of a request may take, and values within it.
//!
//! Bytes on the wire say little of it: a value of two bytes is a hundred in memory. It reads no bytes.

use std::borrow::Cow;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value};

/// Bytes that a value takes in memory with its place in a list or, with a hash and the name's own bytes aside, in a map.
pub const VALUE: usize = 160;

/// Bytes that the attributes and the body of one record may take in memory, and as many again those of its resource and of
/// its scope. SDKs keep 128 attributes of a record unless told otherwise (specification/common, "Attribute Limits"): some
/// twenty thousand bytes.
const MOST: usize = 4 << 20;

/// Values in values that are read; what lies deeper is null. Loggers nest a few deep, and whoever matches or prints recurses.
const DEPTH: usize = 16;

/// Room for the values of one record, one resource or one scope. What finds none is left out or null; what comes after it
/// and is smaller may find some.
#[derive(Debug)]
pub struct Room {
    left: usize,
    depth: usize,
}

impl Default for Room {
    fn default() -> Self {
        Room { left: MOST, depth: 0 }
    }
}

impl Room {
    /// Bytes that were taken.
    pub fn taken(&self) -> usize {
        MOST - self.left
    }

    /// Takes so many bytes, if there are.
    fn take(&mut self, bytes: usize) -> bool {
        let left = self.left.checked_sub(bytes);
        self.left = left.unwrap_or(self.left);
        left.is_some()
    }

    /// What is made one level deeper; null when that is too deep.
    pub fn within<E>(&mut self, make: impl FnOnce(&mut Self) -> Result<Value, E>) -> Result<Value, E> {
        if self.depth == DEPTH {
            return Ok(Value::Null);
        }
        self.depth += 1;
        let made = make(self);
        self.depth -= 1;
        made
    }

    /// Puts a value at the end of a list. `make` is asked only when there is room.
    pub fn push<E>(
        &mut self,
        list: &mut Vec<Value>,
        make: impl FnOnce(&mut Self) -> Result<Value, E>,
    ) -> Result<(), E> {
        if self.take(VALUE) {
            list.push(make(self)?);
        }
        Ok(())
    }

    /// Puts a value into a map; of two of one name the last stands. `make` is asked only when there is room.
    pub fn put<E>(
        &mut self,
        map: &mut Map<String, Value>,
        name: &str,
        make: impl FnOnce(&mut Self) -> Result<Value, E>,
    ) -> Result<(), E> {
        if self.take(name.len() + VALUE) {
            let value = make(self)?;
            map.insert(name.to_owned(), value);
        }
        Ok(())
    }

    /// A text.
    pub fn text(&mut self, text: Cow<'_, str>) -> Value {
        if self.take(text.len()) { text.into_owned().into() } else { Value::Null }
    }

    /// Bytes, as base64.
    pub fn base64(&mut self, bytes: &[u8]) -> Value {
        if self.take(bytes.len().div_ceil(3) * 4) { BASE64_STANDARD.encode(bytes).into() } else { Value::Null }
    }
}

/// A number as JSON has it; what JSON has no number for is a word, as in protobuf's own JSON.
pub fn number(number: f64) -> Value {
    let word = match number {
        n if n.is_nan() => "NaN",
        n if n > 0.0 => "Infinity",
        _ => "-Infinity",
    };
    serde_json::Number::from_f64(number).map_or_else(|| word.into(), Value::Number)
}
