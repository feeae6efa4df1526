//! What a pack author writes to make spans of rows: which columns tell when the work began and ended, what it belongs
//! to, and what may be said of it.
//!
//! Everything named here is a column of the same `rows` or `logs`; mathematics stay in SQL.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::Allow;
use crate::span::{AttributeValue, SpanKind};

/// One span for each row that is counted.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Span {
    /// Name of the span: few different ones. `{column}` stands for a column's value (`chat {model}`). What it is before it is
    /// filled is part of the span's id, so no two spans of one table have the same.
    pub name: String,
    /// The part that the work played; `internal` unless given.
    #[serde(default)]
    pub kind: SpanKind,
    /// Column that is NULL in rows that make no such span and need none, as in those that tell of something else. (A condition
    /// is written so: `case when … then true end`.)
    #[serde(default)]
    pub when: Option<String>,
    /// Column that tells when the work began: a time stamp. Two of `start`, `end` and `duration` tell the third; a row where one of
    /// them is NULL makes no span.
    #[serde(default)]
    pub start: Option<String>,
    /// Column that tells when it ended: a time stamp. Without it, the `time` of the row or line, unless `start` and `duration` are given.
    #[serde(default)]
    pub end: Option<String>,
    /// Column that tells how long it took, in seconds.
    #[serde(default)]
    pub duration: Option<String>,
    /// The trace that it belongs to, where several rows or tables make one; without it, each row is a trace of its own, and the
    /// spans of the row belong to it.
    #[serde(default)]
    pub trace: Option<Trace>,
    /// Name of another span of the same collector that this is a part of, in whatever trace that is. Without it, a span of a
    /// `trace` is a part of the trace's root, and the first span of a row that is a trace of its own is the root of the others.
    #[serde(default)]
    pub parent: Option<String>,
    /// Column that holds a W3C `traceparent` which the application stored: the span becomes a part of that trace, and a child of
    /// the span named in it, and so do its parts. NULL, and what is none, mean as without it.
    #[serde(default)]
    pub traceparent: Option<String>,
    /// Column that holds the kind of error which the work ended with (few different ones, as `timeout`), NULL where it
    /// ended well. It becomes the span's status and the attribute `error.type`.
    #[serde(default)]
    pub error: Option<String>,
    /// Name of an attribute → where its value comes from. NULL leaves the attribute out.
    #[serde(default)]
    pub attributes: BTreeMap<String, Attribute>,
}

/// The trace that rows of several tables make together.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Trace {
    /// What the trace is of (`call`): the same word in every span of it.
    pub of: String,
    /// Column that identifies it: the same text in every row of it.
    pub id: String,
    /// Whether this span is the root, the whole that the others are parts of. One span of the pack is.
    #[serde(default)]
    pub root: bool,
}

/// Where the value of an attribute comes from.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Attribute {
    /// A column; its value is text.
    Column(String),
    /// A column with more to say, or a constant.
    Full(FullAttribute),
}

/// An attribute with more to say than its column.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FullAttribute {
    /// The column.
    #[serde(default)]
    pub column: Option<String>,
    /// In place of a column: the same text for every row.
    #[serde(default)]
    pub value: Option<String>,
    /// What the column's value is; text unless given. What cannot be read as that is left out.
    #[serde(default, rename = "type")]
    pub kind: AttributeKind,
    /// Kinds of value that the personal-data guard would replace and that are harmless here.
    #[serde(default)]
    pub allow: Vec<Allow>,
}

/// What the value of an attribute is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AttributeKind {
    /// Text.
    #[default]
    Text,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// True or false.
    Flag,
}

impl Span {
    /// The name, taken apart at its braces. A brace that has no fellow is text.
    pub fn name_pieces(&self) -> impl Iterator<Item = NamePiece<'_>> {
        let mut rest = self.name.as_str();
        std::iter::from_fn(move || {
            let opened = rest.strip_prefix('{').and_then(|inner| inner.split_once('}'));
            if let Some((column, after)) = opened {
                rest = after;
                return Some(NamePiece::Column(column));
            }
            let first = rest.chars().next()?.len_utf8();
            let end = rest[first..].find('{').map_or(rest.len(), |at| first + at);
            let (text, after) = rest.split_at(end);
            rest = after;
            Some(NamePiece::Text(text))
        })
    }

    /// The columns between braces in the name, in their order.
    pub fn name_columns(&self) -> impl Iterator<Item = &str> {
        self.name_pieces().filter_map(|piece| match piece {
            NamePiece::Column(column) => Some(column),
            NamePiece::Text(_) => None,
        })
    }

    /// Every column that it uses; some may stand twice.
    pub fn columns(&self) -> Vec<&str> {
        let own = [&self.when, &self.start, &self.end, &self.duration, &self.traceparent, &self.error];
        let mut columns: Vec<&str> = self.name_columns().collect();
        columns.extend(own.into_iter().filter_map(|column| column.as_deref()));
        columns.extend(self.trace.as_ref().map(|trace| trace.id.as_str()));
        columns.extend(self.attributes.values().filter_map(Attribute::column));
        columns
    }
}

/// A piece of a span's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamePiece<'a> {
    /// As it stands.
    Text(&'a str),
    /// The value of a column stands here.
    Column(&'a str),
}

impl Attribute {
    /// The column that it comes from, if it does.
    pub fn column(&self) -> Option<&str> {
        match self {
            Attribute::Column(column) => Some(column),
            Attribute::Full(full) => full.column.as_deref(),
        }
    }

    /// What stands in place of a column.
    pub fn constant(&self) -> Option<&str> {
        match self {
            Attribute::Column(_) => None,
            Attribute::Full(full) => full.value.as_deref(),
        }
    }

    /// What its value is.
    pub fn kind(&self) -> AttributeKind {
        match self {
            Attribute::Column(_) => AttributeKind::Text,
            Attribute::Full(full) => full.kind,
        }
    }

    /// Whether identifiers are harmless here.
    pub fn allows_ids(&self) -> bool {
        matches!(self, Attribute::Full(full) if full.allow.contains(&Allow::Ids))
    }
}

impl AttributeKind {
    /// A cell as databases print it, or a constant; none when it is something else. A number with a fraction of 0 is whole.
    pub fn read(self, text: &str) -> Option<AttributeValue> {
        /// Beyond it a floating-point number has no fraction, and is not surely the number that was meant.
        const WHOLE: f64 = 9_007_199_254_740_992.0;
        let trimmed = text.trim();
        let number = || trimmed.parse::<f64>().ok().filter(|number| number.is_finite());
        match self {
            AttributeKind::Text => Some(AttributeValue::Text(text.to_owned())),
            AttributeKind::Number => number().map(AttributeValue::Number),
            AttributeKind::Integer => {
                let rounded = || number().filter(|n| n.fract() == 0.0 && n.abs() < WHOLE).map(|number| number as i64);
                trimmed.parse().ok().or_else(rounded).map(AttributeValue::Integer)
            }
            AttributeKind::Flag => match trimmed {
                "true" | "t" | "1" => Some(AttributeValue::Flag(true)),
                "false" | "f" | "0" => Some(AttributeValue::Flag(false)),
                _ => None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart_at_their_braces() {
        let pieces = |name: &str| {
            let span: Span = serde_saphyr::from_str(&format!("{{name: '{name}'}}")).expect("the test's own YAML");
            let told = span.name_pieces().map(|piece| match piece {
                NamePiece::Text(text) => format!("\"{text}\""),
                NamePiece::Column(column) => column.to_owned(),
            });
            told.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(pieces("chat {model}"), "\"chat \" model");
        assert_eq!(pieces("{a}{b} ü {c}x"), "a b \" ü \" c \"x\"");
        assert_eq!(pieces("ü{a"), "\"ü\" \"{a\"");
        assert_eq!(pieces("a}b"), "\"a}b\"");
        assert_eq!(pieces(""), "");
    }

    #[test]
    fn values_are_read_as_databases_print_them() {
        use AttributeKind::{Flag, Integer, Number, Text};
        for (kind, text, value) in [
            (Text, " 7 ", Some(AttributeValue::Text(" 7 ".into()))),
            (Integer, " 7 ", Some(AttributeValue::Integer(7))),
            (Integer, "9007199254740993", Some(AttributeValue::Integer(9_007_199_254_740_993))),
            (Integer, "42.0", Some(AttributeValue::Integer(42))),
            (Integer, "42.5", None),
            (Integer, "1e300", None),
            (Integer, "seven", None),
            (Number, "-0.5", Some(AttributeValue::Number(-0.5))),
            (Number, "NaN", None),
            (Number, "Infinity", None),
            (Flag, "true", Some(AttributeValue::Flag(true))),
            (Flag, "0", Some(AttributeValue::Flag(false))),
            (Flag, "yes", None),
        ] {
            assert_eq!(kind.read(text), value, "{kind:?} {text:?}");
        }
    }
}
