//! What a pack author writes: which tables an application has, and which metrics their rows make.
//!
//! A pack is data. It names columns and leaves all mathematics to SQL; it knows neither where a database is nor
//! how often it is read, and it never carries code.

pub mod expression;
pub mod lint;
pub mod load;
pub mod logs;
pub mod span;
pub mod sql;
pub mod upstream;

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

pub use load::{PackErrors, builtin};
pub use logs::{Logs, Stream};
pub use span::Span;
pub use upstream::{Info, KeyFamily, Keys, Lookup, Probe, Reads, Reported, ServerKind, Show, Up};

/// Labels that one metric may have; more could be read by nobody. A row's label cells have room for so many.
pub const LABELS_PER_METRIC: usize = 16;

/// One application's pack, as in `packs/<app>.yaml`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pack {
    /// Short name; every metric of the pack begins with a prefix of the author's choice, usually this.
    pub app: String,
    /// Name for people.
    pub title: String,
    /// The pack is chosen by itself when all these tables exist.
    #[serde(default)]
    pub detect: Vec<String>,
    /// The pack belongs to a kind of server and to no application: it is chosen by itself for every source of the kind.
    #[serde(default)]
    pub common: Option<ServerKind>,
    /// Numbers that the operator may override; SQL refers to them as `:name`.
    #[serde(default)]
    pub parameters: BTreeMap<String, Parameter>,
    /// Names for ids that Redis keys hold, from the application's database.
    #[serde(default)]
    pub lookups: BTreeMap<String, Lookup>,
    /// What is read, and what it makes.
    pub collectors: Vec<Collector>,
}

/// A number that the operator may override.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Parameter {
    /// The default.
    pub value: f64,
    /// What it means, with its unit.
    pub help: String,
    /// Export it as a gauge of this name, so that alert rules compare with it.
    #[serde(default)]
    pub gauge: Option<String>,
}

/// One thing that is read, by exactly one of `rows`, `snapshot`, `keys`, `info`, `show`, `probe` and `logs`, and the metrics it makes.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Collector {
    /// Unique in its pack.
    pub name: String,
    /// Read at least this far apart (`5m`); the source's interval applies when it is longer.
    #[serde(default, deserialize_with = "crate::duration::option::deserialize")]
    #[schemars(with = "Option<crate::duration::Text>")]
    pub interval: Option<Duration>,
    /// Each new row counts once.
    #[serde(default)]
    pub rows: Option<Rows>,
    /// The result of a query replaces the last one.
    #[serde(default)]
    pub snapshot: Option<Snapshot>,
    /// Redis keys are counted by their names.
    #[serde(default)]
    pub keys: Option<Keys>,
    /// Redis tells its own figures.
    #[serde(default)]
    pub info: Option<Info>,
    /// PgBouncer's console tells its own figures.
    #[serde(default)]
    pub show: Option<Show>,
    /// A health endpoint is asked.
    #[serde(default)]
    pub probe: Option<Probe>,
    /// Lines that a drain brings are counted.
    #[serde(default)]
    pub logs: Option<Logs>,
    /// A gauge that says whether the source can be reached.
    #[serde(default)]
    pub up: Option<Up>,
    /// The metrics made of the rows.
    #[serde(default)]
    pub metrics: Vec<Metric>,
    /// The spans made of the rows (`rows` and `logs` alone): one of each for a row that is counted, sent where traces are configured.
    #[serde(default)]
    pub spans: Vec<Span>,
}

impl Collector {
    /// What it reads from.
    pub fn reads(&self) -> Reads {
        match self {
            Collector { keys: Some(_), .. } | Collector { info: Some(_), .. } => Reads::Redis,
            Collector { show: Some(_), .. } => Reads::Pgbouncer,
            Collector { probe: Some(_), .. } => Reads::Http,
            Collector { logs: Some(_), .. } => Reads::Logs,
            _ => Reads::Database,
        }
    }
}

impl Collector {
    /// The word for its kind: the key by which it says what it reads.
    pub fn kind(&self) -> &'static str {
        match self {
            Collector { rows: Some(_), .. } => "rows",
            Collector { keys: Some(_), .. } => "keys",
            Collector { info: Some(_), .. } => "info",
            Collector { show: Some(_), .. } => "show",
            Collector { probe: Some(_), .. } => "probe",
            Collector { logs: Some(_), .. } => "logs",
            _ => "snapshot",
        }
    }

    /// Whether a metric grows by what is observed at each read, in place of being replaced.
    pub fn observes(&self, metric: &Metric) -> bool {
        self.probe.is_some() && metric.is_counted()
    }
}

impl Pack {
    /// Whether one of its collectors reads such a source.
    pub fn has_collectors_for(&self, reads: Reads) -> bool {
        self.collectors.iter().any(|collector| collector.reads() == reads)
    }
}

/// New rows of a table or view, each counted exactly once.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rows {
    /// Table or view: a plain name (quoted by Rowmetry, so write it as it is), or `schema.name`.
    /// The row is `t` in every expression.
    pub table: String,
    /// The column or columns that identify a row for ever.
    pub key: OneOrMany,
    /// The column that tells when the row happened. Rows without it (NULL) are not counted.
    pub time: String,
    /// Name → SQL expression over the row `t`. Metrics refer to the names.
    #[serde(default)]
    pub columns: BTreeMap<String, Sql>,
    /// Only rows for which this SQL condition holds are counted.
    #[serde(default)]
    pub filter: Option<Sql>,
    /// For rows that change state: the SQL expression of the state. A row counts once for each state in which
    /// `filter` lets it through, however often it is written again; keys are then kept for as long as there is room
    /// and not only for the look-back. The first run looks at the whole table once, so that a row which reached its state
    /// long ago does not count when it is written again; where `start` is a time, such a row does count.
    #[serde(default)]
    pub transition: Option<Sql>,
    /// `time` may lie this far before the moment the row became visible (`30d`), beyond the transaction's own length.
    #[serde(default, deserialize_with = "crate::duration::option::deserialize")]
    #[schemars(with = "Option<crate::duration::Text>")]
    pub look_back: Option<Duration>,
    /// Time zone of a `time` column without zone; UTC unless given.
    #[serde(default)]
    pub time_zone: Option<String>,
}

/// A query whose result replaces the last.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// One SELECT. `:now` is the time of the read and `:ago_5m` (`s`, `m`, `h`, `d`) a time before it, both bound as
    /// timestamps; `:name` is a parameter of the pack.
    pub sql: Sql,
}

/// SQL for every database, or one text for each kind.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Sql {
    /// The same words serve every database.
    Shared(String),
    /// Each database has its own words.
    Each {
        /// For Postgres.
        postgres: String,
        /// For SQLite.
        sqlite: String,
    },
}

impl Sql {
    /// The text for one kind of database.
    pub fn on(&self, system: System) -> &str {
        match (self, system) {
            (Sql::Shared(sql), _) => sql,
            (Sql::Each { postgres, .. }, System::Postgres) => postgres,
            (Sql::Each { sqlite, .. }, System::Sqlite) => sqlite,
        }
    }
}

/// The kinds of database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum System {
    /// PostgreSQL 13 or newer, Neon and Supabase included.
    Postgres,
    /// SQLite 3.
    Sqlite,
}

impl System {
    /// The word used in logs and on the front page.
    pub const fn as_str(self) -> &'static str {
        match self {
            System::Postgres => "postgres",
            System::Sqlite => "sqlite",
        }
    }
}

/// One name or several.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMany {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl OneOrMany {
    /// All of them.
    pub fn as_slice(&self) -> &[String] {
        match self {
            OneOrMany::One(one) => std::slice::from_ref(one),
            OneOrMany::Many(many) => many,
        }
    }
}

/// One metric family, by exactly one of `counter`, `histogram`, `gauge` and `info`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Metric {
    /// Name of a counter; ends in `_total`. It counts new rows, log lines or probes; elsewhere see `server_total`.
    #[serde(default)]
    pub counter: Option<String>,
    /// Name of a histogram (rows, log lines and probes).
    #[serde(default)]
    pub histogram: Option<String>,
    /// Name of a gauge (not of rows). One of log lines shows what the youngest line told, or how many runs are `in_flight`.
    #[serde(default)]
    pub gauge: Option<String>,
    /// Name of an info metric (neither of rows nor of log lines), constant 1; ends in `_info`.
    #[serde(default)]
    pub info: Option<String>,
    /// One line for people: what it counts, from which table.
    pub help: String,
    /// The column that is added up, observed or shown. A counter without it counts rows. NULL means that the row
    /// says nothing about this metric. A gauge's time stamp becomes seconds since 1970.
    #[serde(default)]
    pub value: Option<String>,
    /// The value is multiplied by this, as from milliseconds to seconds (`0.001`). For what is no SQL; SQL can do it itself. In
    /// `logs` it may be the name of a parameter of the pack.
    #[serde(default)]
    pub scale: Option<Scale>,
    /// The counter is a total that the server itself keeps and that is shown as it is told. A COUNT over a table is none:
    /// rows go away.
    #[serde(default)]
    pub server_total: bool,
    /// The labels.
    #[serde(default)]
    pub labels: Vec<Label>,
    /// Upper bounds of a histogram's classic buckets, ascending, without `+Inf`.
    #[serde(default)]
    pub buckets: Option<Vec<f64>>,
    /// Turn a gauge into a state set: one series for each of these values of the label of this name, 1 for the one
    /// in force and 0 for the others.
    #[serde(default)]
    pub state_label: Option<String>,
    /// At most so many series; what comes later is added to the label set `overflow`.
    #[serde(default)]
    pub series_limit: Option<usize>,
    /// How rows of a snapshot that end in one series are put together; `sum` unless given, `min` for names that end
    /// in `_timestamp_seconds`.
    #[serde(default)]
    pub merge: Option<Merge>,
}

impl Metric {
    /// The name, whichever kind it is. Empty when the author gave none, which lint refuses.
    pub fn name(&self) -> &str {
        [&self.counter, &self.histogram, &self.gauge, &self.info]
            .into_iter()
            .find_map(|name| name.as_deref())
            .unwrap_or_default()
    }

    /// The kind.
    pub fn kind(&self) -> crate::family::Kind {
        use crate::family::Kind;
        match self {
            Metric { counter: Some(_), .. } => Kind::Counter,
            Metric { histogram: Some(_), .. } => Kind::Histogram,
            Metric { info: Some(_), .. } => Kind::Info,
            _ => Kind::Gauge,
        }
    }

    /// Whether it is counted here, so that its values are kept; a server keeps its own totals.
    pub fn is_counted(&self) -> bool {
        use crate::family::Kind;
        matches!(self.kind(), Kind::Counter | Kind::Histogram) && !self.server_total
    }

    /// How rows that end in one series are put together.
    pub fn merge(&self) -> Merge {
        let stamp = self.name().ends_with("_timestamp_seconds");
        self.merge.unwrap_or(if stamp { Merge::Min } else { Merge::Sum })
    }
}

/// What values are multiplied by.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Scale {
    /// This.
    Number(f64),
    /// What the operator says, or the pack.
    Parameter(String),
}

impl Scale {
    /// The factor, by the parameters' values.
    pub fn among(&self, parameters: &[(String, f64)]) -> Option<f64> {
        match self {
            Scale::Number(number) => Some(*number),
            Scale::Parameter(name) => parameters.iter().find(|(known, _)| known == name).map(|(_, value)| *value),
        }
    }
}

/// How values that fall into one series are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Merge {
    /// Added up.
    Sum,
    /// The largest.
    Max,
    /// The smallest.
    Min,
}

/// A label: the name of a column, or a name with more to say.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Label {
    /// Label and column have the same name.
    Name(String),
    /// More to say.
    Full(FullLabel),
}

/// A label with more to say than its name.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FullLabel {
    /// Label name.
    pub name: String,
    /// Its column, when that has another name.
    #[serde(default)]
    pub column: Option<String>,
    /// All values it can have. When every label of a metric has such a list, all series exist from the start, at 0.
    #[serde(default)]
    pub values: Vec<String>,
    /// Kinds of value that the personal-data guard would replace and that are harmless here.
    #[serde(default)]
    pub allow: Vec<Allow>,
}

/// What a label may hold although it looks like personal data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Allow {
    /// UUIDs, cuids and other identifiers of things that are not persons.
    Ids,
}

impl Label {
    /// Label name.
    pub fn name(&self) -> &str {
        match self {
            Label::Name(name) => name,
            Label::Full(full) => &full.name,
        }
    }

    /// The column it is read from.
    pub fn column(&self) -> &str {
        match self {
            Label::Name(name) => name,
            Label::Full(full) => full.column.as_deref().unwrap_or(&full.name),
        }
    }

    /// All values it can have; empty when that is not known.
    pub fn values(&self) -> &[String] {
        match self {
            Label::Name(_) => &[],
            Label::Full(full) => &full.values,
        }
    }

    /// Whether identifiers are harmless here.
    pub fn allows_ids(&self) -> bool {
        matches!(self, Label::Full(full) if full.allow.contains(&Allow::Ids))
    }
}
