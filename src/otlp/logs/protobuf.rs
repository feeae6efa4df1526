//! Records out of the protobuf of an `ExportLogsServiceRequest`, one at a time.
//!
//! Numbers of fields are those of opentelemetry-proto 1.x (logs/v1/logs.proto, common/v1/common.proto,
//! resource/v1/resource.proto). It makes no line.

use std::borrow::Cow;

use serde_json::{Map, Value};
use xxhash_rust::xxh3::{Xxh3Default, xxh3_128};

use super::record::{Body, Origin, Record};
use super::room::{Room, number};
use super::wire::{Broken, Fields, Held};

/// Hands every record over, with what it comes from; one that is broken is handed over as such.
///
/// # Errors
/// When what holds the records is broken itself. What was handed over before is then void.
pub fn read<'b>(request: &'b [u8], mut take: impl FnMut(&Origin, Result<Record<'b>, Broken>)) -> Result<(), Broken> {
    for of_resource in messages(request, 1) {
        let of_resource = of_resource?;
        // Both may stand behind the records that they are of.
        let mut origin = resource(of_resource)?;
        for of_scope in messages(of_resource, 2) {
            let of_scope = of_scope?;
            scope(of_scope, &mut origin)?;
            for record in messages(of_scope, 2) {
                take(&origin, self::record(record?));
            }
        }
    }
    Ok(())
}

/// The messages that one field holds.
fn messages(message: &[u8], number: u32) -> impl Iterator<Item = Result<&[u8], Broken>> {
    Fields::of(message).filter_map(move |field| match field {
        Ok((of, held)) => (of == number).then(|| held.bytes()),
        Err(broken) => Some(Err(broken)),
    })
}

fn resource(of_resource: &[u8]) -> Result<Origin, Broken> {
    let (mut origin, mut room, mut hash) = (Origin::default(), Room::default(), Xxh3Default::new());
    for message in messages(of_resource, 1) {
        let message = message?;
        hash.update(message);
        for pair in messages(message, 1) {
            attribute(&mut origin.resource, pair?, &mut room)?;
        }
    }
    origin.resource_taken = room.taken();
    origin.resource_hash = hash.digest128();
    Ok(origin)
}

fn scope(of_scope: &[u8], origin: &mut Origin) -> Result<(), Broken> {
    let (mut scope, mut attributes) = (Map::new(), Map::new());
    let (mut room, mut hash) = (Room::default(), Xxh3Default::new());
    for message in messages(of_scope, 1) {
        let message = message?;
        hash.update(message);
        for field in Fields::of(message) {
            match field? {
                (1, name) => room.put(&mut scope, "name", |room| Ok(room.text(name.text()?)))?,
                (2, version) => room.put(&mut scope, "version", |room| Ok(room.text(version.text()?)))?,
                (3, pair) => attribute(&mut attributes, pair.bytes()?, &mut room)?,
                _ => {}
            }
        }
    }
    if !attributes.is_empty() {
        scope.insert("attributes".into(), attributes.into());
    }
    origin.scope = scope;
    origin.scope_taken = room.taken();
    origin.scope_hash = hash.digest128();
    Ok(())
}

pub(super) fn record(message: &[u8]) -> Result<Record<'_>, Broken> {
    let (mut record, mut room) = (Record::default(), Room::default());
    for field in Fields::of(message) {
        match field? {
            (1, time) => record.time = time.fixed64()?,
            (2, number) => record.severity_number = number.varint()?,
            (3, text) => record.severity_text = text.text()?,
            (5, body) => record.body = self::body(body.bytes()?, &mut room)?,
            (6, pair) => attribute(&mut record.attributes, pair.bytes()?, &mut room)?,
            (9, id) => record.trace_id = id.bytes()?.try_into().ok(),
            (10, id) => record.span_id = id.bytes()?.try_into().ok(),
            (11, time) => record.observed = time.fixed64()?,
            (12, name) => record.event_name = name.text()?,
            _ => {}
        }
    }
    record.taken = room.taken();
    record.hash = xxh3_128(message);
    Ok(record)
}

/// A text takes no room here: where lines are made it is cut.
fn body<'b>(any: &'b [u8], room: &mut Room) -> Result<Body<'b>, Broken> {
    Ok(match last(any)? {
        None => Body::None,
        Some((1, text)) => Body::Text(text.text()?),
        Some((7, bytes)) => match room.base64(bytes.bytes()?) {
            Value::String(text) => Body::Text(text.into()),
            _ => Body::None,
        },
        Some(_) => match value(any, room)? {
            Value::Null => Body::None,
            value => Body::Value(value),
        },
    })
}

/// A `KeyValue`, put among others.
pub(super) fn attribute(to: &mut Map<String, Value>, pair: &[u8], room: &mut Room) -> Result<(), Broken> {
    let (mut name, mut any) = (Cow::default(), None);
    for field in Fields::of(pair) {
        match field? {
            (1, text) => name = text.text()?,
            (2, held) => any = Some(held.bytes()?),
            _ => {}
        }
    }
    room.put(to, &name, |room| any.map_or(Ok(Value::Null), |any| value(any, room)))
}

/// Of several kinds of value at once the last stands, as protobuf has it.
fn last(any: &[u8]) -> Result<Option<(u32, Held<'_>)>, Broken> {
    Fields::of(any).try_fold(None, |_, field| field.map(Some))
}

/// An `AnyValue`.
fn value(any: &[u8], room: &mut Room) -> Result<Value, Broken> {
    Ok(match last(any)? {
        Some((1, text)) => room.text(text.text()?),
        Some((2, truth)) => (truth.varint()? != 0).into(),
        // Negative numbers are the two's complement of 64 bits.
        Some((3, integer)) => integer.varint()?.cast_signed().into(),
        Some((4, double)) => number(f64::from_bits(double.fixed64()?)),
        Some((5, list)) => room.within(|room| array(list.bytes()?, room))?,
        Some((6, list)) => room.within(|room| object(list.bytes()?, room))?,
        Some((7, bytes)) => room.base64(bytes.bytes()?),
        _ => Value::Null,
    })
}

fn array(list: &[u8], room: &mut Room) -> Result<Value, Broken> {
    let mut values = Vec::new();
    for any in messages(list, 1) {
        let any = any?;
        room.push(&mut values, |room| value(any, room))?;
    }
    Ok(values.into())
}

fn object(list: &[u8], room: &mut Room) -> Result<Value, Broken> {
    let mut values = Map::new();
    for pair in messages(list, 1) {
        attribute(&mut values, pair?, room)?;
    }
    Ok(values.into())
}
