//! Log records as OTLP brings them over HTTP, as protobuf or JSON, read into lines, and the answers to such requests.
//!
//! One bad record costs no other, and no request takes more memory than a small multiple of its bytes beside what every request may.
//! It listens to nobody.

mod json;
mod protobuf;
mod record;
mod room;
mod wire;

use std::collections::HashMap;

use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceResponse};
use prost::Message;
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_128;

use self::record::{Body, Origin, Record};
use self::room::VALUE;
use self::wire::Broken;
use crate::config::logs::IntakeLimits;
use crate::family::Micros;
use crate::source::logs::body::Unreadable;
use crate::source::logs::line::level::of_word;
use crate::source::logs::line::{Budget, Told};
use crate::source::logs::{LineId, Parsed};

/// Bytes of memory that lines may take for each byte that they were sent as. Names and numbers that are sent in ten bytes take
/// a hundred and sixty, and a resource that is sent once is had by each line.
const MULTIPLE: usize = 32;

/// Bytes of memory that lines may take beside that: few of a resource of many attributes.
const BESIDE: usize = 8 << 20;

/// Bytes of memory that lines may take in any case, for each byte that an unpacked body may have. Usual records take six.
const MOST: usize = 16;

/// Bytes of memory that a line takes by itself, in its place among the others and with its id.
const LINE: usize = 512;

const TOO_MANY: Unreadable = Unreadable("the records hold too many values together: send smaller requests");

/// What tells the sender how many records were not taken.
const REJECTED: &str = "some records could not be read, have no content, or found no room: send smaller requests";

/// Reads an `ExportLogsServiceRequest` in protobuf, already unpacked.
///
/// # Errors
/// When it is none.
pub fn decode(limits: &IntakeLimits, body: &[u8]) -> Result<Parsed, Unreadable> {
    let mut reading = Reading::new(limits, body);
    protobuf::read(body, |origin, record| reading.take(origin, record))
        .map_err(|Broken| Unreadable("the body is no ExportLogsServiceRequest in protobuf"))?;
    reading.done()
}

/// Reads an `ExportLogsServiceRequest` in JSON, already unpacked.
///
/// # Errors
/// When it is none.
pub fn decode_json(limits: &IntakeLimits, body: &[u8]) -> Result<Parsed, Unreadable> {
    let mut reading = Reading::new(limits, body);
    let room = reading.room.checked_sub(json::taken(body));
    reading.room = room.ok_or(TOO_MANY)?;
    json::read(body, |origin, record| reading.take(origin, record))
        .map_err(|Broken| Unreadable("the body is no ExportLogsServiceRequest in JSON"))?;
    reading.done()
}

/// The `ExportLogsServiceResponse` to a request of which so many records were not taken, in protobuf.
pub fn answer(rejected: u64) -> Vec<u8> {
    // A success must have no `partial_success` (opentelemetry-proto, docs/specification.md, "Full Success").
    let partial_success = (rejected > 0).then(|| ExportLogsPartialSuccess {
        rejected_log_records: i64::try_from(rejected).unwrap_or(i64::MAX),
        error_message: REJECTED.to_owned(),
    });
    ExportLogsServiceResponse { partial_success }.encode_to_vec()
}

/// The same in JSON.
pub fn answer_json(rejected: u64) -> Vec<u8> {
    let answer = match rejected {
        0 => json!({}),
        // Integers of 64 bits are texts.
        _ => json!({"partialSuccess": {"rejectedLogRecords": rejected.to_string(), "errorMessage": REJECTED}}),
    };
    answer.to_string().into_bytes()
}

/// The content of an answer that is an error, in protobuf: a `google.rpc.Status`, whose code HTTP's stands for
/// (opentelemetry-proto, docs/specification.md, "Failures").
pub fn refusal(message: &str) -> Vec<u8> {
    Status { code: 0, message: message.to_owned() }.encode_to_vec()
}

/// The same in JSON.
pub fn refusal_json(message: &str) -> Vec<u8> {
    json!({"message": message}).to_string().into_bytes()
}

/// `google.rpc.Status`, without its details.
#[derive(Clone, PartialEq, prost::Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

/// A request that is being read.
struct Reading<'r> {
    line_bytes: usize,
    parsed: Parsed,
    ids: Ids<'r>,
    /// Bytes of memory that are left.
    room: usize,
    /// JSON values that are left; see there.
    budget: Budget,
}

impl<'r> Reading<'r> {
    fn new(limits: &IntakeLimits, body: &'r [u8]) -> Self {
        let room = body.len().saturating_mul(MULTIPLE).saturating_add(BESIDE);
        Reading {
            line_bytes: limits.line_bytes,
            parsed: Parsed::default(),
            ids: Ids { body, delivery: None, place: 0, before: HashMap::new() },
            room: room.min(limits.unpacked_bytes.saturating_mul(MOST)),
            budget: Budget::default(),
        }
    }

    fn done(self) -> Result<Parsed, Unreadable> {
        if self.budget.is_spent() { Err(TOO_MANY) } else { Ok(self.parsed) }
    }

    fn take(&mut self, origin: &Origin, record: Result<Record<'_>, Broken>) {
        if record.ok().and_then(|record| self.add(origin, record)).is_none() {
            self.parsed.unreadable += 1;
        }
        self.ids.place += 1;
    }

    /// Adds the lines that a record is: one, unless its text has several or only goes on with another's. None when it says nothing, or
    /// there is no room for it.
    fn add(&mut self, origin: &Origin, mut record: Record<'_>) -> Option<()> {
        let (text, object) = match std::mem::take(&mut record.body) {
            Body::Text(text) if !text.trim_ascii().is_empty() => (text.into_owned(), None),
            Body::Value(object @ Value::Object(_)) => (object.to_string(), Some(object)),
            Body::Value(value) => (value.to_string(), None),
            _ if record.event_name.is_empty() && record.attributes.is_empty() => return None,
            _ => (String::new(), None),
        };
        let each = LINE + record.taken + origin.resource_taken + origin.scope_taken;
        let said = text.len() + values_in(&text) * VALUE;
        // Several lines have the record each.
        let most = 1 + memchr::memchr_iter(b'\n', text.as_bytes()).count();
        self.room.checked_sub(most.saturating_mul(each).saturating_add(said))?;

        let level = record.level();
        let told = Told { time: record.micros(), level: of_word(&record.severity_text) };
        let (first, hash) = (self.parsed.lines.len(), origin.hash(&record));
        let name = record.uid().map(LineId::of_name);
        let id = |time: Option<Micros>| name.unwrap_or_else(|| self.ids.of(hash, time));
        let value = record.value(origin);
        match object {
            None => self.parsed.add(text, told, Some(value), self.line_bytes, &self.budget, id),
            Some(object) => {
                self.parsed.add_object(text, object, told, self.line_bytes, &self.budget, id);
                self.parsed.lines[first..].iter_mut().for_each(|line| line.record = Some(value.clone()));
            }
        }
        let added = &mut self.parsed.lines[first..];
        // The number is what the logger said; a word in the text may be about anything.
        added.iter_mut().for_each(|line| line.level = level.or(line.level));
        self.room = self.room.saturating_sub(added.len() * each + said);
        Some(())
    }
}

/// Ids of records that have no name.
struct Ids<'r> {
    body: &'r [u8],
    /// What tells this delivery from others, once it was asked for.
    delivery: Option<u128>,
    /// Records that came before.
    place: u64,
    /// How often each came before.
    before: HashMap<u128, u64>,
}

impl Ids<'_> {
    /// A request that is sent again has the same records in the same order, so the n-th of several that are alike is the
    /// same. Without a time, alike are also those that have nothing to do with each other.
    fn of(&mut self, hash: u128, time: Option<Micros>) -> LineId {
        if time.is_none() {
            let delivery = *self.delivery.get_or_insert_with(|| xxh3_128(self.body));
            return LineId::of_place(delivery, self.place);
        }
        let before = self.before.entry(hash).or_default();
        let id = LineId::of_place(hash, *before);
        *before += 1;
        id
    }
}

/// JSON values that a text holds at most.
fn values_in(text: &str) -> usize {
    if text.contains('{') { text.bytes().filter(|byte| b",[{".contains(byte)).count() } else { 0 }
}

#[cfg(test)]
mod tests;
