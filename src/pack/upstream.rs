//! What a pack author writes of places that are no database: Redis keys and INFO, a pooler's console, health endpoints.
//!
//! Plain data, like the rest of a pack. Nothing here connects, scans or parses an answer.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{OneOrMany, Sql};

/// What a collector reads from. Each source is one of these, and runs those collectors of a pack that read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reads {
    /// A database: `rows` and `snapshot`.
    Database,
    /// A Redis: `keys` and `info`.
    Redis,
    /// PgBouncer's admin console: `show`.
    Pgbouncer,
    /// An HTTP endpoint: `probe`.
    Http,
    /// A drain: `logs`.
    Logs,
}

/// Kinds of server, for packs that belong to one and not to an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ServerKind {
    /// PostgreSQL.
    Postgres,
    /// Redis, over whatever.
    Redis,
    /// PgBouncer's console.
    Pgbouncer,
    /// An HTTP endpoint.
    Http,
}

impl ServerKind {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            ServerKind::Postgres => "Postgres",
            ServerKind::Redis => "Redis",
            ServerKind::Pgbouncer => "PgBouncer",
            ServerKind::Http => "HTTP",
        }
    }

    /// Whether a collector that reads this can read it.
    pub fn is_read_by(self, reads: Reads) -> bool {
        let wanted = match self {
            ServerKind::Postgres => Reads::Database,
            ServerKind::Redis => Reads::Redis,
            ServerKind::Pgbouncer => Reads::Pgbouncer,
            ServerKind::Http => Reads::Http,
        };
        wanted == reads
    }
}

/// Names of Redis keys, counted. Keys are found by SCAN; a value is read only where a family has a `limit`.
///
/// Columns for metrics: what the patterns capture, what `set` says, `keys` (how many keys) and `at_limit` (how many of them
/// hold a number at or above the `limit`). Kinds whose labels are all in `set` are shown also when there is no key, as 0.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// What Redis itself sorts out, as SCAN's MATCH has it (`presence:*`), so that no other key crosses the network.
    #[serde(rename = "match")]
    pub matching: String,
    /// Kinds of key. A key belongs to the first whose pattern fits.
    pub families: Vec<KeyFamily>,
}

/// One kind of key.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyFamily {
    /// The whole name, with captures: `presence:{tenant}:{user}`. `{name}` is one or more characters other than `:`,
    /// `{name*}` one or more of any. A capture that no label refers to is counted and never leaves.
    pub pattern: String,
    /// Columns that are the same for all keys of the family.
    #[serde(default)]
    pub set: BTreeMap<String, String>,
    /// Captures that are replaced by what a `lookups` entry of the pack says of them: capture, then look-up. What it does not know
    /// is shown as a hash.
    #[serde(default)]
    pub lookup: BTreeMap<String, String>,
    /// The capture that holds the number of a window of time, as rate limiters write it.
    #[serde(default)]
    pub bucket: Option<Bucket>,
    /// Read the keys' values, which are whole numbers; `at_limit` counts those that have come to this.
    #[serde(default)]
    pub limit: Option<u64>,
}

/// Windows of time that are numbered by the time divided by their length. Only keys of the one that is in force when a scan
/// begins count.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bucket {
    /// The capture that holds the number.
    pub capture: String,
    /// The length of a window (`1h`).
    #[serde(deserialize_with = "crate::duration::deserialize")]
    #[schemars(with = "crate::duration::Text")]
    pub window: Duration,
}

/// Names for things that a key or an endpoint knows by an id only, from the application's database.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Lookup {
    /// One SELECT with the columns `id` and `name`.
    pub sql: Sql,
}

/// Redis's own figures: the fields of INFO, by their names there, and what Rowmetry adds to them.
///
/// Columns for metrics: every field of INFO (`used_memory`), `ping_seconds`, and for each logical database `db`, `db_keys` and
/// `db_expires`. A field that the service does not tell is NULL, so that its metric is absent. Where a field's value is a word
/// (`rdb_last_bgsave_status`), its name with `_ok` is 1 for `ok` and `up`, and 0 for any other.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Info {
    /// Sections of INFO; the default ones unless given.
    #[serde(default)]
    pub sections: Vec<String>,
}

/// One of PgBouncer's `SHOW` commands. Columns for metrics: those of its answer; one that this version does not have is NULL.
/// An answer that lists names and values (`CONFIG`, `LISTS`) is one row whose columns are those names.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Show {
    /// The word after SHOW: `POOLS`, `STATS_TOTALS`, `DATABASES`, `LISTS`, `CONFIG`.
    pub command: String,
}

/// A request to a health endpoint, and what its answer means. Every answer is an outcome; none is a failed read.
///
/// Columns for metrics: `target` (the source's name), `endpoint` (the path), `outcome`, `up` (1 when the outcome is `ok`, `degraded`
/// or `text`, NULL when it is `rate_limited`, which tells nothing of the application, else 0), `http_status` (NULL when no answer
/// began), `seconds` (NULL when no whole answer came), and those that `values` makes. A row that `values` makes has `target`,
/// `endpoint` and its own columns. Counters and histograms take one observation a request.
///
/// Outcomes: `ok`, `degraded`, `unhealthy`, `text` (plain text, or nothing, with a good status), `html` (a page where JSON was asked
/// for), `not_found`, `forbidden` (401, 403, 407), `rate_limited` (429), `http_error` (other statuses from 400), `redirected` (to
/// another server, or in a circle; on the same server redirects are followed), `unparsable`, `too_large`, `truncated`, `timeout`,
/// `unresolved` (the name has no address), `refused` (no connection), `tls_failed`, `reset` (no answer began).
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// The path on the source's host (`/api/health`), in place of the path in the source's URL. Without it the source's URL is
    /// asked as it is.
    #[serde(default)]
    pub path: Option<String>,
    /// The `Accept` header.
    #[serde(default = "json")]
    pub accept: String,
    /// Time for the whole answer (`8s`).
    #[serde(default = "probe_timeout", deserialize_with = "crate::duration::deserialize")]
    #[schemars(with = "crate::duration::Text")]
    pub timeout: Duration,
    /// Where a JSON answer says how it fares: JSON pointers, of which the first that is there counts. Without it, or
    /// without such a field, the HTTP status alone decides. A truth is the word `true` or `false`; the case of letters does not matter.
    #[serde(default)]
    pub status: Option<OneOrMany>,
    /// Words at `status` that mean well.
    #[serde(default)]
    pub healthy: Vec<String>,
    /// Words at `status` that mean well enough.
    #[serde(default)]
    pub degraded: Vec<String>,
    /// Words at `status` that mean ill. `degraded` and `unhealthy` hold whatever the HTTP status is. A word that is in no list is
    /// `unparsable`.
    #[serde(default)]
    pub unhealthy: Vec<String>,
    /// Numbers that the answer reports.
    #[serde(default)]
    pub values: Vec<Reported>,
}

/// A number, or several of one kind, in a JSON answer. Each that is found makes a row of its own.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reported {
    /// The column that holds the number.
    #[serde(rename = "as")]
    pub column: String,
    /// JSON pointers, of which the first that is there counts. A part in braces stands for each key of an object or item of an
    /// array, and names the column that holds the key: `/services/{service}/latency`.
    pub at: OneOrMany,
    /// Columns that are the same for all of them.
    #[serde(default)]
    pub set: BTreeMap<String, String>,
    /// Numbers for words (`healthy: 1`). A word that is not listed is left out; without a list, texts that are numbers and truths
    /// (as 1 and 0) are taken.
    #[serde(default)]
    pub words: BTreeMap<String, f64>,
}

/// Whether the source can be reached at all: 1 or 0, never absent once it was tried.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Up {
    /// Name of the gauge.
    pub gauge: String,
    /// One line for people.
    pub help: String,
}

fn json() -> String {
    "application/json".to_owned()
}

/// Above the 6 seconds that an endpoint needs which asks others in turn for 5.
fn probe_timeout() -> Duration {
    Duration::from_secs(8)
}
