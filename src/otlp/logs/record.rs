//! A log record as OTLP has it, whatever it was encoded in, and the line that it is.
//!
//! The names in the record of a line are those of the protocol, with a plain JSON value each: packs match them by pointers such
//! as `/attributes/http.response.status_code`, where `/` in a name is `~1` and `~` is `~0` (RFC 6901).

use std::borrow::Cow;
use std::fmt::Write;

use serde_json::{Map, Value};
use xxhash_rust::xxh3::xxh3_128;

use crate::family::Micros;
use crate::source::logs::Level;

/// What records come from.
#[derive(Debug, Default)]
pub struct Origin {
    /// The attributes of the resource.
    pub resource: Map<String, Value>,
    /// Bytes that they take in memory.
    pub resource_taken: usize,
    /// What tells it from other resources.
    pub resource_hash: u128,
    /// The name, the version and the attributes of the scope, those which it has.
    pub scope: Map<String, Value>,
    /// See `resource_taken`.
    pub scope_taken: usize,
    /// See `resource_hash`.
    pub scope_hash: u128,
}

/// One record. What is missing is zero or empty, as in protobuf.
#[derive(Debug, Default)]
pub struct Record<'b> {
    /// When it was written, in nanoseconds since 1970.
    pub time: u64,
    /// When something saw it, in nanoseconds since 1970.
    pub observed: u64,
    /// 1 (trace) to 24 (fatal); what is negative is its two's complement.
    pub severity_number: u64,
    /// The level in the words of who wrote it.
    pub severity_text: Cow<'b, str>,
    /// What it says.
    pub body: Body<'b>,
    /// Its attributes.
    pub attributes: Map<String, Value>,
    /// Which kind of event it is, if it is one.
    pub event_name: Cow<'b, str>,
    /// The trace that it belongs to.
    pub trace_id: Option<[u8; 16]>,
    /// The span that it belongs to.
    pub span_id: Option<[u8; 8]>,
    /// Bytes that body and attributes take in memory.
    pub taken: usize,
    /// What tells it from other records of its resource and scope.
    pub hash: u128,
}

/// What a record says.
#[derive(Debug, Default)]
pub enum Body<'b> {
    /// Nothing.
    #[default]
    None,
    /// A text.
    Text(Cow<'b, str>),
    /// Anything else but null.
    Value(Value),
}

impl Origin {
    /// What tells a record of this origin from all others.
    pub fn hash(&self, record: &Record<'_>) -> u128 {
        let mut bytes = [0; 48];
        for (place, hash) in [self.resource_hash, self.scope_hash, record.hash].into_iter().enumerate() {
            bytes[place * 16..][..16].copy_from_slice(&hash.to_le_bytes());
        }
        xxh3_128(&bytes)
    }
}

impl Record<'_> {
    /// When it was written or, if that is not known, seen.
    pub fn micros(&self) -> Option<Micros> {
        let nanos = if self.time == 0 { self.observed } else { self.time };
        (nanos != 0).then(|| (nanos / 1000).cast_signed())
    }

    /// The level that its number says (logs/v1/logs.proto, `SeverityNumber`).
    pub fn level(&self) -> Option<Level> {
        match self.severity_number {
            1..=4 => Some(Level::Trace),
            5..=8 => Some(Level::Debug),
            9..=12 => Some(Level::Info),
            13..=16 => Some(Level::Warn),
            17..=20 => Some(Level::Error),
            21..=24 => Some(Level::Fatal),
            _ => None,
        }
    }

    /// The name that who wrote it gave it to tell it from all others (semantic conventions, registry/attributes/log).
    pub fn uid(&self) -> Option<&str> {
        self.attributes.get("log.record.uid")?.as_str().filter(|uid| !uid.is_empty())
    }

    /// Everything but its text and its times, in the names of the protocol. What is empty is left out.
    pub fn value(self, origin: &Origin) -> Value {
        let (resource, scope) = (origin.resource.clone(), origin.scope.clone());
        let parts = [
            ("resource", Value::from(resource)),
            ("scope", scope.into()),
            ("attributes", self.attributes.into()),
            ("severity_text", self.severity_text.into_owned().into()),
            ("severity_number", self.severity_number.cast_signed().into()),
            ("event_name", self.event_name.into_owned().into()),
            ("trace_id", self.trace_id.map_or(Value::Null, hexadecimal)),
            ("span_id", self.span_id.map_or(Value::Null, hexadecimal)),
        ];
        let is_there = |value: &Value| match value {
            Value::Object(values) => !values.is_empty(),
            Value::String(text) => !text.is_empty(),
            value => !value.is_null() && *value != 0,
        };
        let parts = parts.into_iter().filter(|(_, value)| is_there(value));
        parts.map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>().into()
    }
}

/// Null when it is nothing but zeros: that is no id (logs/v1/logs.proto).
fn hexadecimal<const N: usize>(id: [u8; N]) -> Value {
    if id == [0; N] {
        return Value::Null;
    }
    let mut text = String::with_capacity(N * 2);
    for byte in id {
        write!(text, "{byte:02x}").expect("a string takes everything");
    }
    text.into()
}
