//! How grave a line says it is: words and numbers as loggers, hosts and Postgres write them.
//!
//! A word that is none is no level; nothing is guessed from what a line tells.

use serde_json::{Map, Value};

use super::Level;

/// Bytes of a text's first line in which a level in brackets is looked for: a time and a name stand before it at most.
const NEAR: usize = 64;

/// Words for levels that are rather names of parts where they stand in brackets in a text.
const NAMES: [&str; 6] = ["log", "http", "alert", "default", "fine", "finer"];

/// Bytes of the longest word.
const LONGEST: usize = 13;

/// What a field says: a word in any case, or pino's numbers
/// (<https://github.com/pinojs/pino/blob/main/docs/api.md#loggerlevels-object>).
pub fn of_value(value: &Value) -> Option<Level> {
    match value {
        Value::String(word) => of_word(word).or_else(|| of_number(word.parse().ok()?)),
        Value::Number(number) => of_number(number.as_u64()?),
        _ => None,
    }
}

/// What a line's own JSON says.
pub fn of_json(fields: &Map<String, Value>) -> Option<Level> {
    ["level", "severity"].into_iter().find_map(|name| of_value(fields.get(name)?))
}

/// What a text says in brackets near its beginning, as winston prints it: `2026-11-21T10:00:00Z [info]: started`.
pub fn of_text(text: &str) -> Option<Level> {
    let near = &text.as_bytes()[..text.len().min(NEAR)];
    let line = memchr::memchr(b'\n', near).map_or(near, |end| &near[..end]);
    memchr::memchr_iter(b'[', line).find_map(|open| {
        let word = &line[open + 1..];
        let word = std::str::from_utf8(&word[..memchr::memchr(b']', word)?]).ok()?;
        // Words that applications have as the name of a part (`[http]`, `[log]`, `[alert]`) say nothing here.
        let level = of_word(word).filter(|_| word.len() == word.trim().len())?;
        (!NAMES.iter().any(|name| name.eq_ignore_ascii_case(word))).then_some(level)
    })
}

/// What a word says.
pub fn of_word(word: &str) -> Option<Level> {
    let word = word.trim().as_bytes();
    let lower = lower(word)?;
    Some(match &lower[..word.len()] {
        b"trace" | b"verbose" | b"silly" | b"finest" | b"finer" => Level::Trace,
        b"debug" | b"debug1" | b"debug2" | b"debug3" | b"debug4" | b"debug5" | b"fine" => Level::Debug,
        b"info" | b"information" | b"informational" | b"notice" | b"log" | b"http" | b"default" => Level::Info,
        b"warn" | b"warning" => Level::Warn,
        b"error" | b"err" | b"severe" => Level::Error,
        b"fatal" | b"critical" | b"crit" | b"panic" | b"alert" | b"emerg" | b"emergency" => Level::Fatal,
        _ => return None,
    })
}

fn of_number(number: u64) -> Option<Level> {
    Some(match number {
        10..20 => Level::Trace,
        20..30 => Level::Debug,
        30..40 => Level::Info,
        40..50 => Level::Warn,
        50..60 => Level::Error,
        60..70 => Level::Fatal,
        _ => return None,
    })
}

/// The word in lower case, in room that needs none of the heap; None when it is too long to be one.
fn lower(word: &[u8]) -> Option<[u8; LONGEST]> {
    let mut lower = [0; LONGEST];
    lower.get_mut(..word.len())?.copy_from_slice(word);
    lower.make_ascii_lowercase();
    Some(lower)
}
