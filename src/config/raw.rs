//! The configuration as the operator writes it: the shape of the YAML file, and the words that explain each setting.
//!
//! The JSON Schema for editors and the reference of all settings are made of these types, so a default that is
//! written here must be the one that [`super::Settings`] has; a test compares them. Nothing is checked here but shape.

mod logs;
mod otlp;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;

use crate::duration::Text as Duration;

pub use logs::{RawDrain, RawFields, RawLogs, RawSignature};
pub use otlp::{RawOtlp, RawOtlpMetrics, RawOtlpReceiver, RawOtlpTraces};

/// Rowmetry's configuration. Text may hold `${VARIABLE}` or `${VARIABLE:-default}`; `$$` is a dollar sign.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "Rowmetry configuration")]
pub struct RawConfig {
    /// Address and port where `/metrics` is served. `ROWMETRY_LISTEN` and `--listen` come before it.
    #[schemars(extend("default" = "127.0.0.1:9469"))]
    pub listen: Option<String>,
    /// Directory where counts survive a restart. Without it they are kept in memory and begin again with each start.
    /// `ROWMETRY_STATE_DIR` and `--state-dir` come before it.
    pub state_dir: Option<String>,
    /// A new counter series is shown as 0 for this long before its first value, so that `increase()` sees its first
    /// rows. Make it at least twice the scrape interval; `0s` turns it off.
    #[schemars(with = "Option<Duration>", extend("default" = "60s"))]
    pub zero_first: Option<String>,
    /// Your own packs: files, or folders of files that end in `.yaml` or `.yml`. An own pack takes the place of a
    /// built-in one of the same name.
    pub packs: Vec<String>,
    /// Values for the parameters of packs: pack, then parameter.
    pub parameters: BTreeMap<String, BTreeMap<String, f64>>,
    /// Bounds on what can grow.
    pub limits: RawLimits,
    /// The web server.
    pub web: RawWeb,
    /// What alert rules are told: limits on Rowmetry itself, and where links lead. Limits on the applications are parameters of packs.
    pub alerts: RawAlerts,
    /// What is sent by OTLP: traces, and metrics where they are to be pushed.
    pub otlp: RawOtlp,
    /// Whose log lines are taken in and counted.
    pub logs: RawLogs,
    /// Settings for every source that does not say otherwise itself.
    pub defaults: RawReading,
    /// What is read: databases, Redis, poolers, health endpoints. Without any, the environment says: `DATABASE_URL`, `REDIS_URL`
    /// or `UPSTASH_REDIS_REST_URL` with `UPSTASH_REDIS_REST_TOKEN`, `PGBOUNCER_URL`, `HEALTH_URL`.
    pub sources: Vec<RawSource>,
}

/// One database, Redis, pooler or endpoint that is read.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(extend("additionalProperties" = false))]
pub struct RawSource {
    /// Your name for it (a-z, 0-9, `_`, `-`); a label value.
    pub name: String,
    /// Where it is: `postgres://user:password@host/database` (PgBouncer's console when the database is `pgbouncer`),
    /// `sqlite:path` or the path of an SQLite file, `redis://`, `rediss://` or `redis+unix://`, `https://` for a health
    /// endpoint, or for Upstash's REST when `token` is given. Best taken from a variable, as in `${DATABASE_URL}`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub url: Option<SecretString>,
    /// A file that holds the URL, such as a mounted secret; in place of `url`.
    #[serde(default)]
    pub url_file: Option<String>,
    /// The token of an Upstash Redis that is read over REST.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub token: Option<SecretString>,
    /// A file that holds the token; in place of `token`.
    #[serde(default)]
    pub token_file: Option<String>,
    /// A file of certificates (PEM) that are trusted in place of the public ones, for Redis and HTTP.
    #[serde(default)]
    pub ca_file: Option<String>,
    /// The source that is the application's database: it knows the names of what Redis keys hold as ids, and which packs apply.
    /// Without it, the only database of the configuration.
    #[serde(default)]
    pub database: Option<String>,
    /// How it is read.
    #[serde(flatten)]
    pub reading: RawReading,
}

/// How a database is read.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("additionalProperties" = false))]
pub struct RawReading {
    /// The packs that apply. Without it, those apply whose `detect` tables exist.
    pub packs: Option<Vec<String>>,
    /// Collectors (`pack/collector`), or all of a pack (`postgres`), that are not run.
    pub skip: Option<Vec<String>>,
    /// Time between two reads of a collector. It is independent of how often Prometheus scrapes.
    #[schemars(with = "Option<Duration>", extend("default" = "60s"))]
    pub interval: Option<String>,
    /// Intervals of single collectors: `pack/collector`, then the time.
    #[schemars(with = "Option<BTreeMap<String, Duration>>")]
    pub intervals: Option<BTreeMap<String, String>>,
    /// Time that one statement may take in the database.
    #[schemars(with = "Option<Duration>", extend("default" = "10s"))]
    pub statement_timeout: Option<String>,
    /// Time that one statement may wait for a lock.
    #[schemars(with = "Option<Duration>", extend("default" = "1s"))]
    pub lock_timeout: Option<String>,
    /// Time to make a connection.
    #[schemars(with = "Option<Duration>", extend("default" = "10s"))]
    pub connect_timeout: Option<String>,
    /// How far back late rows are looked for where the oldest open transaction cannot be seen. Make it longer than the
    /// application's longest transaction.
    #[schemars(with = "Option<Duration>", extend("default" = "1h"))]
    pub look_back: Option<String>,
    /// How long before its transaction a row's time may lie: the application's clock may be behind, or it set the time
    /// and worked on before it wrote. A row with an older time is not counted; the audit tells of it.
    #[schemars(with = "Option<Duration>", extend("default" = "10m"))]
    pub clock_margin: Option<String>,
    /// Share of the time (above 0, at most 1) that a collector may keep the database busy when no index serves its time
    /// column; its interval stretches to hold it.
    #[schemars(extend("default" = 0.01))]
    pub busy_share: Option<f64>,
    /// Rows a read; a collector that is behind reads several pages.
    #[schemars(extend("default" = 20_000))]
    pub page_rows: Option<u32>,
    /// Where counting begins on the first run: `now`, `all`, or a time such as `2026-01-01T00:00:00Z`.
    #[schemars(extend("default" = "now"))]
    pub start: Option<String>,
    /// Time between two recounts of a settled window, which show that no row was missed; `0s` turns them off.
    #[schemars(with = "Option<Duration>", extend("default" = "10m"))]
    pub audit_interval: Option<String>,
    /// What may be asked of it.
    pub budget: Option<RawBudget>,
    /// How it is read while its application is quiet, so that a database which suspends when idle can. Without it, it is read
    /// as ever.
    pub idle: Option<RawIdle>,
}

/// What may be asked of a source. What it comes to is on `/metrics` and in `rowmetry check`.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawBudget {
    /// Statements, commands or requests in 24 hours; a connection counts as one. Reads are spread so that it lasts; without
    /// it there is no bound. A restart, or a change of the source's settings, begins new 24 hours.
    #[schemars(range(min = 1))]
    pub per_day: Option<u64>,
    /// Commands a second that a scan of Redis keys sends.
    #[schemars(range(min = 1), extend("default" = 100))]
    pub per_second: Option<u32>,
    /// Time in 24 hours that a database which suspends when idle may be kept awake by reads, as estimated from the gaps
    /// between them; without it there is no bound. Reads come together in rounds then.
    #[schemars(with = "Option<Duration>")]
    pub awake_per_day: Option<String>,
}

/// How a source is read while its application is quiet.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawIdle {
    /// No new row in any table for so long means quiet.
    #[schemars(with = "Option<Duration>", extend("default" = "15m"))]
    pub after: Option<String>,
    /// While it is quiet, all collectors are read together, at first twice `suspends_after` apart and at most this. A row waits
    /// so long at most to be counted, and then everything is read as usual again.
    #[schemars(with = "Option<Duration>", extend("default" = "1h"))]
    pub interval: Option<String>,
    /// The database suspends after so long without a query (Neon: 5 minutes).
    #[schemars(with = "Option<Duration>", extend("default" = "5m"))]
    pub suspends_after: Option<String>,
}

/// Bounds on what can grow. What goes over one is counted and shown, never dropped in silence.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawLimits {
    /// Series a metric, unless the pack says otherwise; what comes later is added to the label set `overflow`.
    #[schemars(range(min = 1), extend("default" = 1000))]
    pub series_per_metric: Option<usize>,
    /// Characters a label value; longer ones are cut.
    #[schemars(range(min = 8), extend("default" = 120))]
    pub label_length: Option<usize>,
    /// Keys of counted rows that one collector remembers, to tell rows it has seen from new ones.
    #[schemars(range(min = 1000), extend("default" = 500_000))]
    pub seen_keys: Option<usize>,
    /// Rows that a snapshot may have; one with more fails.
    #[schemars(range(min = 1), extend("default" = 20_000))]
    pub snapshot_rows: Option<u32>,
}

/// The web server.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawWeb {
    /// Connections at a time.
    #[schemars(range(min = 1), extend("default" = 128))]
    pub connections: Option<usize>,
    /// Time to send a request's headers; also the longest that a kept connection may idle, so longer than the scrape
    /// interval is best.
    #[schemars(with = "Option<Duration>", extend("default" = "75s"))]
    pub header_timeout: Option<String>,
    /// Time to take a reply.
    #[schemars(with = "Option<Duration>", extend("default" = "30s"))]
    pub write_timeout: Option<String>,
    /// Whether `POST /-/reload` is answered.
    #[schemars(extend("default" = false))]
    pub reload_endpoint: Option<bool>,
}

/// What the alert rules in `alerts/` are told by metrics, so that nobody edits a rule.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawAlerts {
    /// Grafana's URL, which links of alerts to dashboards begin with.
    #[schemars(extend("default" = "http://localhost:3000"))]
    pub dashboards: Option<String>,
    /// The URL of the folder with the runbooks (`docs/apps`), which links of alerts to runbooks begin with.
    #[schemars(extend("default" = "https://github.com/rowmetry/rowmetry/blob/main/docs/apps"))]
    pub runbooks: Option<String>,
    /// A collector is stale when its last success lies back more than so many of its intervals.
    #[schemars(extend("default" = 5.0))]
    pub stale_intervals: Option<f64>,
    /// How long a transaction may stay open in the database, and hold back what is settled.
    #[schemars(with = "Option<Duration>", extend("default" = "15m"))]
    pub horizon_lag: Option<String>,
    /// How old the newest row that was counted may be while more rows wait.
    #[schemars(with = "Option<Duration>", extend("default" = "15m"))]
    pub behind: Option<String>,
    /// Rows of its database that may be counted while a log drain brings no line.
    #[schemars(extend("default" = 100))]
    pub drain_silent_rows: Option<u64>,
    /// The share of a source's budget that may be spent.
    #[schemars(extend("default" = 0.9))]
    pub budget_ratio: Option<f64>,
    /// The share of the queue of spans that may be full.
    #[schemars(extend("default" = 0.8))]
    pub queue_ratio: Option<f64>,
    /// How long an OTLP receiver may have taken nothing of what waits for it.
    #[schemars(with = "Option<Duration>", extend("default" = "10m"))]
    pub otlp_age: Option<String>,
}
