//! What a line must be, beside the expression that it fits: the conditions that cost little.
//!
//! They look at a line in the order of their price, and make no copy of it.

use memchr::memmem::Finder;
use serde_json::Value;

use super::field::Field;
use crate::pack::OneOrMany;
use crate::pack::logs::{Expected, LineForm, Scalar};
use crate::source::logs::{Level, LogLine};

/// The word for lines that do not tell their level.
pub(super) const UNKNOWN: &str = "unknown";

/// Every level.
const LEVELS: [Level; 6] = [Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error, Level::Fatal];

/// All of these hold, or the line has another form.
#[derive(Debug, Clone)]
pub(super) struct Conditions {
    /// The levels that will do; none when any does. The empty one is that of lines that do not tell.
    levels: Option<Vec<Option<Level>>>,
    prefixes: Option<Vec<String>>,
    parts: Option<Vec<Finder<'static>>>,
    json: Vec<(Field, Vec<Wanted>)>,
    record: Vec<(Field, Vec<Wanted>)>,
}

/// A value that will do.
#[derive(Debug, Clone)]
enum Wanted {
    /// Any but null.
    Any,
    Truth(bool),
    Number(f64),
    /// The text, and whether it could be that of a number.
    Text(String, bool),
}

impl Conditions {
    pub(super) fn new(form: &LineForm) -> Self {
        let words = |words: &Option<OneOrMany>| words.as_ref().map(|words| words.as_slice().to_vec());
        let level = |word: &String| LEVELS.into_iter().find(|level| level.as_str() == word);
        let levels = form.level.as_ref().map(|words| {
            let known = words.as_slice().iter().filter(|word| *word == UNKNOWN || level(word).is_some());
            known.map(level).collect()
        });
        let finder = |part: &String| Finder::new(part.as_str()).into_owned();
        Conditions {
            levels,
            prefixes: words(&form.prefix),
            parts: form.contains.as_ref().map(|parts| parts.as_slice().iter().map(finder).collect()),
            json: form.json.iter().map(wanted).collect(),
            record: form.record.iter().map(wanted).collect(),
        }
    }

    pub(super) fn hold(&self, line: &LogLine) -> bool {
        let text = line.text.as_str();
        self.levels.as_ref().is_none_or(|levels| levels.contains(&line.level))
            && (self.json.is_empty() || line.json.is_some())
            && (self.record.is_empty() || line.record().is_some())
            && self.prefixes.as_ref().is_none_or(|prefixes| prefixes.iter().any(|prefix| text.starts_with(prefix)))
            && all(&self.json, line.json.as_ref())
            && all(&self.record, line.record())
            && self.parts.as_ref().is_none_or(|parts| parts.iter().any(|part| part.find(text.as_bytes()).is_some()))
    }
}

fn wanted((name, expected): (&String, &Expected)) -> (Field, Vec<Wanted>) {
    let one = |scalar: &Scalar| match scalar {
        Scalar::Truth(truth) => Wanted::Truth(*truth),
        Scalar::Number(number) => Wanted::Number(*number),
        Scalar::Text(text) if text == "*" => Wanted::Any,
        Scalar::Text(text) => Wanted::Text(text.clone(), text.parse::<f64>().is_ok()),
    };
    (Field::new(name), expected.as_slice().iter().map(one).collect())
}

fn all(fields: &[(Field, Vec<Wanted>)], value: Option<&Value>) -> bool {
    fields.iter().all(|(field, wanted)| {
        let found = value.and_then(|value| field.of(value));
        found.is_some_and(|found| wanted.iter().any(|wanted| wanted.is(found)))
    })
}

impl Wanted {
    fn is(&self, value: &Value) -> bool {
        match (self, value) {
            (Wanted::Any, value) => !value.is_null(),
            (Wanted::Text(text, _), Value::String(found)) => text == found,
            (Wanted::Text(text, is_number), Value::Number(found)) => *is_number && *text == found.to_string(),
            (Wanted::Text(text, _), Value::Bool(found)) => text == if *found { "true" } else { "false" },
            (Wanted::Number(number), Value::Number(found)) => found.as_f64() == Some(*number),
            (Wanted::Number(number), Value::String(found)) => found.trim().parse() == Ok(*number),
            (Wanted::Truth(truth), Value::Bool(found)) => truth == found,
            (Wanted::Truth(truth), Value::String(found)) => found == if *truth { "true" } else { "false" },
            _ => false,
        }
    }
}
