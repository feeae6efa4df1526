//! When a line was written: as text of ISO 8601, or as a number whose size tells its unit.
//!
//! A clock is never read, and what is no moment is none.

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::family::Micros;
use crate::source::instant::parse_time;

/// Numbers of seconds below this (1973) are rather a count or a length of time than a moment.
const FIRST: u64 = 100_000_000;

/// What a field says: ISO 8601 (UTC where it has no zone), or a number of seconds, milliseconds, microseconds or nanoseconds since
/// 1970, told apart by size: between 1973 and 5138, no two units share one.
pub fn of_value(value: &Value) -> Option<Micros> {
    match value {
        Value::Number(number) => match number.as_u64() {
            Some(whole) => of_whole(whole),
            None => of_fraction(number.as_f64()?),
        },
        Value::String(text) if text.as_bytes().first().is_some_and(u8::is_ascii_digit) => {
            match (text.parse(), text.parse()) {
                (Ok(whole), _) => of_whole(whole),
                (_, Ok(fraction)) => of_fraction(fraction),
                _ => parse_time(text).or_else(|| parse_time(text.strip_suffix("UTC").or(text.strip_suffix("GMT"))?)),
            }
        }
        _ => None,
    }
}

/// What a line's own JSON says.
pub fn of_json(fields: &Map<String, Value>) -> Option<Micros> {
    ["timestamp", "time", "ts"].into_iter().find_map(|name| of_value(fields.get(name)?))
}

/// The moment that a text begins with, where it has a date, a time and a zone: `2026-11-21T10:00:00.123Z [info]: …` and
/// `2026-11-21 10:00:00.123 UTC [17] LOG: …`. Without a zone it could be that of any place.
pub fn of_text(text: &str) -> Option<Micros> {
    let text = text.strip_prefix('[').unwrap_or(text);
    let bytes = text.as_bytes();
    if !(bytes.first()?.is_ascii_digit() && bytes.get(4) == Some(&b'-') && bytes.get(7) == Some(&b'-')) {
        return None;
    }
    let clock = text.get(11..)?;
    let clock = clock.split([' ', ']', '\t', '\n', ',']).next().unwrap_or(clock);
    let stamp = &text[..11 + clock.len()];
    if let Ok(stamp) = stamp.parse::<Timestamp>() {
        return Some(stamp.as_microsecond());
    }
    let zone = &text[stamp.len()..];
    if zone.starts_with(" UTC") || zone.starts_with(" GMT") { parse_time(stamp) } else { None }
}

fn of_whole(number: u64) -> Option<Micros> {
    let micros = match number {
        ..FIRST => return None,
        FIRST..100_000_000_000 => number * 1_000_000,
        100_000_000_000..100_000_000_000_000 => number * 1_000,
        100_000_000_000_000..100_000_000_000_000_000 => number,
        _ => number / 1_000,
    };
    Micros::try_from(micros).ok()
}

fn of_fraction(number: f64) -> Option<Micros> {
    let scale = match number {
        number if !(FIRST as f64..1e19).contains(&number) => return None,
        ..1e11 => 1e6,
        ..1e14 => 1e3,
        ..1e17 => 1.0,
        _ => 1e-3,
    };
    // Below 1e17 as the arms have it: far within.
    Some((number * scale).round() as Micros)
}
