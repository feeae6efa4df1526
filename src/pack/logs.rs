//! What a pack author writes of log lines: which lines count, and which columns they have.
//!
//! Plain data, like the rest of a pack. Nothing here compiles an expression or looks at a line.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::OneOrMany;

/// The column that says how many runs have begun and not ended: a gauge's `value` and nothing else.
pub const IN_FLIGHT: &str = "in_flight";

/// The column that says when the run began which a line ends.
pub const STARTED: &str = "started";

/// Lines that a drain brings, each counted exactly once.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Logs {
    /// Whose lines these are. A drain says which of them it brings.
    pub stream: Stream,
    /// The forms of line that are looked for. A line has the first form that it fits; one that fits none is not counted.
    pub lines: Vec<LineForm>,
    /// Lines that begin and end one run of something are joined.
    pub runs: Option<Runs>,
    /// After which line what has not happened is 0, and no longer absent.
    pub zero_after: ZeroAfter,
}

/// After which line what has not happened is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ZeroAfter {
    /// The first that the drain brings.
    #[default]
    AnyLine,
    /// The first that has a form of this collector: not every version of the application logs what is looked for.
    OwnLine,
}

/// Who writes the lines that a drain brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// The application's own code.
    #[default]
    Application,
    /// Its Postgres.
    Postgres,
}

impl Stream {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Stream::Application => "application",
            Stream::Postgres => "postgres",
        }
    }
}

/// One form of line. All that is said must hold; a form that says nothing fits every line.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LineForm {
    /// The text is a JSON object, and these fields (names, or pointers such as `/err/name`) have this value or one of
    /// these; `"*"` is any value but null.
    pub json: BTreeMap<String, Expected>,
    /// The same of the record in which the drain brought the text.
    pub record: BTreeMap<String, Expected>,
    /// The level is this, or one of these: `trace`, `debug`, `info`, `warn`, `error`, `fatal`, `unknown`.
    pub level: Option<OneOrMany>,
    /// The text begins so, or in one of these ways.
    pub prefix: Option<OneOrMany>,
    /// The text holds this, or one of these.
    pub contains: Option<OneOrMany>,
    /// A regular expression that the text fits somewhere (`^` and `$` are its two ends, `(?m)` makes them those of its
    /// lines). Its named captures are columns.
    pub pattern: Option<String>,
    /// Lines of this form do not count, so that no later form finds them.
    pub skip: bool,
    /// The line makes one row for each element of this list in its JSON, and none when there is no such list.
    pub each: Option<String>,
    /// Columns beside the captures: metrics and spans refer to their names. Every line has the columns `level` and `time`.
    pub columns: BTreeMap<String, Column>,
    /// The line begins or ends a run.
    pub run: Option<RunPart>,
}

impl LineForm {
    /// Whether every line fits.
    pub fn fits_all(&self) -> bool {
        self.json.is_empty()
            && self.record.is_empty()
            && self.level.is_none()
            && self.prefix.is_none()
            && self.contains.is_none()
            && self.pattern.is_none()
    }

    /// Whether its rows have such a column of their own: one of `columns`, a capture, or what every line has.
    pub fn has_column(&self, name: &str) -> bool {
        self.columns.contains_key(name)
            || ["level", "time"].contains(&name)
            || self.pattern.as_ref().is_some_and(|pattern| {
                [format!("(?P<{name}>"), format!("(?<{name}>")].iter().any(|group| pattern.contains(group))
            })
    }
}

/// What a field is to be: a value, or one of several. A text is also a number of the same digits; `"*"` is any value but null.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Expected {
    /// This value.
    One(Scalar),
    /// One of these.
    Many(Vec<Scalar>),
}

/// A value as JSON and YAML have it.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Scalar {
    /// True or false.
    Truth(bool),
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
}

impl Expected {
    /// The values.
    pub fn as_slice(&self) -> &[Scalar] {
        match self {
            Expected::One(one) => std::slice::from_ref(one),
            Expected::Many(many) => many,
        }
    }
}

/// Where the value of a column comes from.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Column {
    /// A field of the line's JSON: its name, or a pointer such as `/err/name`.
    Json(String),
    /// More to say.
    Full(Box<FullColumn>),
}

/// A column with more to say: exactly one of `json`, `record`, `item`, `count`, `capture` and `constant`, and what is made of
/// its value. The texts themselves go nowhere but into labels that pass the guard.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FullColumn {
    /// A field of the line's JSON, or the first of these that is there and not null.
    pub json: Option<OneOrMany>,
    /// The same of the record in which the drain brought the text.
    pub record: Option<OneOrMany>,
    /// The same of the element that `each` is at; `""` is the element itself.
    pub item: Option<OneOrMany>,
    /// How many elements this list in the line's JSON has.
    pub count: Option<String>,
    /// A named capture of `pattern`.
    pub capture: Option<String>,
    /// Always this.
    pub constant: Option<String>,
    /// What a number is multiplied by, as from milliseconds to seconds (`0.001`), for the `duration` of a span, which takes seconds.
    /// Metrics have a `scale` of their own. What is no number stays.
    pub scale: Option<f64>,
    /// What values become: value, then what it becomes.
    pub map: BTreeMap<String, String>,
    /// The first of these that the value fits says what it becomes. For texts that may hold anything.
    pub classify: Vec<Class>,
    /// What a value becomes that neither `map` nor `classify` knows; without it, it stays with `map` and is missing with
    /// `classify`.
    pub otherwise: Option<String>,
    /// What it is when there is no value.
    pub missing: Option<String>,
}

/// One class of texts.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Class {
    /// A regular expression that the text fits somewhere.
    pub pattern: String,
    /// What it becomes then.
    #[serde(rename = "as")]
    pub name: String,
}

/// Which part of a run a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunPart {
    /// Its beginning. It makes no row.
    Start,
    /// Its end. It makes a row that has the columns of the beginning too, where that has come before.
    End,
}

/// Joins the lines that begin and end a run. A gauge whose `value` is `in_flight` tells how many have begun and not ended; the column
/// `started` is when the run began.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Runs {
    /// The column that says which run it is.
    pub id: String,
    /// A run that has not ended for so long never will: its host killed it. It makes a row then, of the columns of its beginning and
    /// of `lost`. An end that comes later is counted as ignored, so be generous.
    #[serde(deserialize_with = "crate::duration::deserialize")]
    #[schemars(with = "crate::duration::Text")]
    pub lost_after: Duration,
    /// Columns of the row of a run that never ended.
    #[serde(default)]
    pub lost: BTreeMap<String, String>,
}
