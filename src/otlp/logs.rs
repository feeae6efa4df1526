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
use crate::source::logs::body::Unreadable;
use crate::source::logs::{Level, LineId, LogLine, Parsed};

/// Bytes of memory that lines may take for each byte that they were sent as. Names and numbers that are sent in ten bytes take
/// a hundred and sixty, and a resource that is sent once is had by each line.
const MULTIPLE: usize = 32;

/// Bytes of memory that lines may take beside that: few of a resource of many attributes.
const BESIDE: usize = 8 << 20;

/// Bytes of memory that lines may take in any case, for each byte that an unpacked body may have. Usual records take six.
const MOST: usize = 16;

/// Bytes of memory that a line takes by itself, in its place among the others and with its id.
const LINE: usize = 512;

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
    Ok(reading.parsed)
}

/// Reads an `ExportLogsServiceRequest` in JSON, already unpacked.
///
/// # Errors
/// When it is none.
pub fn decode_json(limits: &IntakeLimits, body: &[u8]) -> Result<Parsed, Unreadable> {
    let mut reading = Reading::new(limits, body);
    let room = reading.room.checked_sub(json::taken(body));
    reading.room = room.ok_or(Unreadable("the body has too many values for its size; send smaller requests"))?;
    json::read(body, |origin, record| reading.take(origin, record))
        .map_err(|Broken| Unreadable("the body is no ExportLogsServiceRequest in JSON"))?;
    Ok(reading.parsed)
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
    limits: &'r IntakeLimits,
    body: &'r [u8],
    parsed: Parsed,
    /// Bytes of memory that are left.
    room: usize,
    /// Records that came before.
    place: u64,
    /// How often each came before.
    before: HashMap<u128, u64>,
    /// What tells this delivery from others, once it was asked for.
    delivery: Option<u128>,
}

impl<'r> Reading<'r> {
    fn new(limits: &'r IntakeLimits, body: &'r [u8]) -> Self {
        Reading {
            limits,
            body,
            parsed: Parsed::default(),
            room: body
                .len()
                .saturating_mul(MULTIPLE)
                .saturating_add(BESIDE)
                .min(limits.unpacked_bytes.saturating_mul(MOST)),
            place: 0,
            before: HashMap::new(),
            delivery: None,
        }
    }

    fn take(&mut self, origin: &Origin, record: Result<Record<'_>, Broken>) {
        let line = record.ok().and_then(|record| self.line(origin, record));
        self.place += 1;
        match line {
            Some(line) => self.parsed.lines.push(line),
            None => self.parsed.unreadable += 1,
        }
    }

    /// The line that a record is; none when it says nothing, or there is no room for it.
    fn line(&mut self, origin: &Origin, mut record: Record<'_>) -> Option<LogLine> {
        let body = std::mem::take(&mut record.body);
        if matches!(body, Body::None) && record.event_name.is_empty() && record.attributes.is_empty() {
            return None;
        }
        let said = match body {
            Body::None => Said::default(),
            Body::Text(text) => Said::of_text(&text, self.limits.line_bytes),
            Body::Value(value) => Said::of_value(value, self.limits.line_bytes),
        };
        let taken = LINE + record.taken + origin.resource_taken + origin.scope_taken + said.taken();
        self.room = self.room.checked_sub(taken)?;
        self.parsed.cut += u64::from(said.was_cut);
        Some(LogLine {
            id: self.id(origin, &record),
            time: record.micros(),
            level: record.level().or_else(|| level(&record.severity_text)),
            text: said.text,
            json: said.json,
            record: Some(record.value(origin)),
        })
    }

    /// A request that is sent again has the same records in the same order, so the n-th of several that are alike is the same.
    fn id(&mut self, origin: &Origin, record: &Record<'_>) -> LineId {
        if let Some(uid) = record.uid() {
            return LineId::of_name(uid);
        }
        if record.micros().is_none() {
            let delivery = *self.delivery.get_or_insert_with(|| xxh3_128(self.body));
            return LineId::of_place(delivery, self.place);
        }
        let hash = origin.hash(record);
        let before = self.before.entry(hash).or_default();
        let id = LineId::of_place(hash, *before);
        *before += 1;
        id
    }
}

/// What a record says, as a line has it.
#[derive(Default)]
struct Said {
    text: String,
    json: Option<Value>,
    was_cut: bool,
}

impl Said {
    fn of_text(text: &str, most: usize) -> Self {
        let mut said = Said { text: anstream::adapter::strip_str(text).to_string(), json: None, was_cut: false };
        said.finish(most);
        if !said.was_cut && said.text.starts_with('{') {
            said.json = serde_json::from_str(&said.text).ok();
        }
        said
    }

    /// Lists and single values are texts alone: a line's JSON is an object.
    fn of_value(value: Value, most: usize) -> Self {
        let mut said = Said { text: value.to_string(), json: None, was_cut: false };
        said.finish(most);
        said.json = value.is_object().then_some(value);
        said
    }

    fn finish(&mut self, most: usize) {
        self.text.truncate(self.text.trim_end().len());
        self.was_cut = self.text.len() > most;
        self.text.truncate(self.text.floor_char_boundary(most));
        self.text.shrink_to_fit();
    }

    /// Bytes that it takes in memory.
    fn taken(&self) -> usize {
        let values =
            self.json.as_ref().map_or(0, |_| 1 + self.text.bytes().filter(|byte| b",[{".contains(byte)).count());
        self.text.len() + values * VALUE
    }
}

fn level(text: &str) -> Option<Level> {
    Some(match text.trim().to_ascii_lowercase().as_str() {
        "trace" => Level::Trace,
        "debug" => Level::Debug,
        "info" | "information" | "notice" => Level::Info,
        "warn" | "warning" => Level::Warn,
        "error" => Level::Error,
        "fatal" | "critical" => Level::Fatal,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
