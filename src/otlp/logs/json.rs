//! Records out of the JSON of an `ExportLogsServiceRequest`, as the specification maps it (opentelemetry-proto,
//! docs/specification.md, "JSON Protobuf Encoding").
//!
//! Ids are hexadecimal, other bytes base64, integers of 64 bits numbers or texts. It makes no line.

use serde_json::{Map, Value};
use xxhash_rust::xxh3::xxh3_128;

use super::record::{Body, Origin, Record};
use super::room::{Room, VALUE, number};
use super::wire::Broken;

/// Bytes of memory that the values of a text take at most, whatever it is.
pub fn taken(text: &[u8]) -> usize {
    // Each value but the first has one of these before it. Those in texts are counted too, which does no harm.
    let values = text.iter().filter(|byte| matches!(byte, b',' | b'[' | b'{')).count();
    values.saturating_mul(VALUE)
}

/// Hands every record over, with what it comes from; one that is broken is handed over as such.
///
/// # Errors
/// When it is no such request.
pub fn read(request: &[u8], mut take: impl FnMut(&Origin, Result<Record<'_>, Broken>)) -> Result<(), Broken> {
    let request: Value = serde_json::from_slice(request).map_err(|_| Broken)?;
    for of_resource in list(request.as_object().ok_or(Broken)?, "resourceLogs")? {
        let (mut origin, mut room) = (Origin::default(), Room::default());
        if let Some(resource) = of_resource.get("resource") {
            origin.resource = attributes(resource, &mut room)?;
            origin.resource_hash = hash(resource);
        }
        origin.resource_taken = room.taken();
        for of_scope in list(of_resource.as_object().ok_or(Broken)?, "scopeLogs")? {
            scope(of_scope.get("scope").unwrap_or(&Value::Null), &mut origin)?;
            for record in list(of_scope.as_object().ok_or(Broken)?, "logRecords")? {
                take(&origin, self::record(record));
            }
        }
    }
    Ok(())
}

/// A list, which is empty where it is missing.
fn list<'v>(object: &'v Map<String, Value>, name: &str) -> Result<&'v [Value], Broken> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(&[]),
        Some(list) => list.as_array().map(Vec::as_slice).ok_or(Broken),
    }
}

fn hash(value: &Value) -> u128 {
    xxh3_128(value.to_string().as_bytes())
}

fn scope(scope: &Value, origin: &mut Origin) -> Result<(), Broken> {
    let mut room = Room::default();
    origin.scope = Map::new();
    for name in ["name", "version"] {
        if let Some(text) = scope.get(name).and_then(Value::as_str) {
            room.put(&mut origin.scope, name, |room| Ok::<_, Broken>(room.text(text.into())))?;
        }
    }
    let attributes = attributes(scope, &mut room)?;
    if !attributes.is_empty() {
        origin.scope.insert("attributes".into(), attributes.into());
    }
    origin.scope_taken = room.taken();
    origin.scope_hash = hash(scope);
    Ok(())
}

fn record(record: &Value) -> Result<Record<'_>, Broken> {
    let fields = record.as_object().ok_or(Broken)?;
    let text = |name| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    let unsigned = |name| match fields.get(name) {
        None | Some(Value::Null) => Ok(0),
        Some(Value::String(text)) => text.parse().map_err(|_| Broken),
        Some(number) => number.as_u64().ok_or(Broken),
    };
    let mut room = Room::default();
    Ok(Record {
        time: unsigned("timeUnixNano")?,
        observed: unsigned("observedTimeUnixNano")?,
        severity_number: unsigned("severityNumber")?,
        severity_text: text("severityText").into(),
        event_name: text("eventName").into(),
        trace_id: hexadecimal(text("traceId")),
        span_id: hexadecimal(text("spanId")),
        body: match fields.get("body") {
            None => Body::None,
            Some(any) => match (any.get("stringValue").or(any.get("bytesValue")), any) {
                (Some(Value::String(text)), _) => Body::Text(text.into()),
                _ => match value(any, &mut room)? {
                    Value::Null => Body::None,
                    value => Body::Value(value),
                },
            },
        },
        attributes: attributes(record, &mut room)?,
        taken: room.taken(),
        hash: hash(record),
    })
}

/// The bytes of an id, if they are as many as it has.
fn hexadecimal<const N: usize>(text: &str) -> Option<[u8; N]> {
    let (digits, mut id) = (text.as_bytes(), [0; N]);
    for (byte, pair) in id.iter_mut().zip(digits.chunks(2)) {
        let digit = |place: usize| char::from(*pair.get(place)?).to_digit(16);
        *byte = u8::try_from(digit(0)? * 16 + digit(1)?).ok()?;
    }
    (digits.len() == N * 2).then_some(id)
}

/// The attributes of a record, a resource or a scope.
fn attributes(of: &Value, room: &mut Room) -> Result<Map<String, Value>, Broken> {
    let mut values = Map::new();
    if let Some(of) = of.as_object() {
        pairs(list(of, "attributes")?, &mut values, room)?;
    }
    Ok(values)
}

fn pairs(list: &[Value], to: &mut Map<String, Value>, room: &mut Room) -> Result<(), Broken> {
    for pair in list {
        let name = pair.get("key").and_then(Value::as_str).unwrap_or_default();
        room.put(to, name, |room| pair.get("value").map_or(Ok(Value::Null), |any| value(any, room)))?;
    }
    Ok(())
}

/// An `AnyValue`: an object of one field.
fn value(any: &Value, room: &mut Room) -> Result<Value, Broken> {
    let Some((kind, held)) = any.as_object().ok_or(Broken)?.iter().next_back() else { return Ok(Value::Null) };
    Ok(match (kind.as_str(), held) {
        // Bytes are base64 already.
        ("stringValue" | "bytesValue", Value::String(text)) => room.text(text.into()),
        ("boolValue", Value::Bool(truth)) => (*truth).into(),
        ("intValue", Value::String(text)) => text.parse::<i64>().map_err(|_| Broken)?.into(),
        ("intValue", Value::Number(integer)) => integer.as_i64().ok_or(Broken)?.into(),
        ("doubleValue", Value::Number(double)) => double.as_f64().map_or(Value::Null, number),
        ("doubleValue", Value::String(word)) => number(word.parse().map_err(|_| Broken)?),
        ("arrayValue", Value::Object(held)) => room.within(|room| {
            let mut values = Vec::new();
            for any in list(held, "values")? {
                room.push(&mut values, |room| value(any, room))?;
            }
            Ok::<_, Broken>(values.into())
        })?,
        ("kvlistValue", Value::Object(held)) => room.within(|room| {
            let mut values = Map::new();
            pairs(list(held, "values")?, &mut values, room)?;
            Ok::<_, Broken>(values.into())
        })?,
        _ => return Err(Broken),
    })
}
