//! What a pack author writes to make spans of rows: which columns tell when the work began and ended, what it belongs
//! to, and what may be said of it.
//!
//! Everything named here is a column of the same `rows`; mathematics stay in SQL.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::Allow;
use crate::span::SpanKind;

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
    /// Column that tells when the work began: a time stamp. Two of `start`, `end` and `duration` tell the third; a row where one of
    /// them is NULL makes no span.
    #[serde(default)]
    pub start: Option<String>,
    /// Column that tells when it ended: a time stamp. Without it, the `time` of the rows, unless `start` and `duration` are given.
    #[serde(default)]
    pub end: Option<String>,
    /// Column that tells how long it took, in seconds.
    #[serde(default)]
    pub duration: Option<String>,
    /// The trace that it belongs to, where several rows or tables make one; without it, each row is a trace of its own.
    #[serde(default)]
    pub trace: Option<Trace>,
    /// Name of another span of the same collector that this is a part of. Without it, a span of a `trace` is a part of
    /// the trace's root, and the first span of a row that is a trace of its own is the root of the others.
    #[serde(default)]
    pub parent: Option<String>,
    /// Column that holds a W3C `traceparent` which the application stored: the span becomes a part of that trace, and a child of
    /// the span named in it. NULL, and what is none, mean as without it.
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
    /// The columns between braces in the name, in their order.
    pub fn name_columns(&self) -> impl Iterator<Item = &str> {
        self.name.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(column, _)| column)
    }

    /// Every column that it uses; some may stand twice.
    pub fn columns(&self) -> Vec<&str> {
        let own = [&self.start, &self.end, &self.duration, &self.traceparent, &self.error];
        let mut columns: Vec<&str> = self.name_columns().collect();
        columns.extend(own.into_iter().filter_map(|column| column.as_deref()));
        columns.extend(self.trace.as_ref().map(|trace| trace.id.as_str()));
        columns.extend(self.attributes.values().filter_map(|attribute| match attribute {
            Attribute::Column(column) => Some(column.as_str()),
            Attribute::Full(full) => full.column.as_deref(),
        }));
        columns
    }
}
