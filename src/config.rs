//! What the operator decides: which sources, how often, how much, where to listen.
//!
//! [`Settings`] is the validated form, the only one the rest of the program sees. Secrets are a type that does not
//! print. Nothing here connects anywhere.

pub mod address;
pub mod alerts;
mod fill;
pub mod load;
pub mod logs;
pub mod otlp;
pub mod raw;
mod shard;
mod validate;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use crate::family::Micros;
use crate::pack::{Collector, Pack, Reads, ServerKind, System};

pub use alerts::AlertSettings;
pub use load::{ConfigErrors, Overrides, load};
pub use logs::{DrainKind, DrainSettings, LogSettings};
pub use otlp::OtlpSettings;
pub use shard::Shard;

/// Everything that is configured, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where `/metrics` is served.
    pub listen: SocketAddr,
    /// Where counts survive a restart; none keeps them in memory.
    pub state_dir: Option<PathBuf>,
    /// What is read.
    pub sources: Vec<SourceSettings>,
    /// Every pack known, built in or the operator's own; sources choose among them.
    pub packs: Vec<Arc<Pack>>,
    /// Overrides of pack parameters: pack, then parameter.
    pub parameters: BTreeMap<String, BTreeMap<String, f64>>,
    /// Bounds.
    pub limits: Limits,
    /// The web server.
    pub web: WebSettings,
    /// What alert rules are told.
    pub alerts: AlertSettings,
    /// What is sent by OTLP.
    pub otlp: OtlpSettings,
    /// Whose log lines are taken in.
    pub logs: LogSettings,
    /// A new counter series is shown as 0 for this long before its first value, so that `increase()` sees its first
    /// rows.
    pub zero_first: Duration,
}

/// What a source is, from its URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upstream {
    /// A database.
    Database(System),
    /// Redis over TCP, TLS or a Unix socket.
    Redis,
    /// Upstash Redis over REST.
    Upstash,
    /// PgBouncer's admin console.
    Pgbouncer,
    /// An HTTP endpoint.
    Http,
}

impl Upstream {
    /// What collectors it serves.
    pub const fn reads(self) -> Reads {
        match self {
            Upstream::Database(_) => Reads::Database,
            Upstream::Redis | Upstream::Upstash => Reads::Redis,
            Upstream::Pgbouncer => Reads::Pgbouncer,
            Upstream::Http => Reads::Http,
        }
    }

    /// The word used in logs and on the front page.
    pub const fn as_str(self) -> &'static str {
        match self {
            Upstream::Database(system) => system.as_str(),
            Upstream::Redis => "redis",
            Upstream::Upstash => "upstash",
            Upstream::Pgbouncer => "pgbouncer",
            Upstream::Http => "http",
        }
    }

    /// Whether it is a server of this kind.
    pub const fn is(self, kind: ServerKind) -> bool {
        matches!(
            (self, kind),
            (Upstream::Database(System::Postgres), ServerKind::Postgres)
                | (Upstream::Redis | Upstream::Upstash, ServerKind::Redis)
                | (Upstream::Pgbouncer, ServerKind::Pgbouncer)
                | (Upstream::Http, ServerKind::Http)
        )
    }

    /// The kind of database, if it is one.
    pub const fn database(self) -> Option<System> {
        match self {
            Upstream::Database(system) => Some(system),
            _ => None,
        }
    }
}

impl From<System> for Upstream {
    fn from(system: System) -> Self {
        Upstream::Database(system)
    }
}

/// What may be asked of a source.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budget {
    /// Statements, commands or requests in 24 hours; none sets no bound. Reads are spread so that it lasts.
    pub per_day: Option<u64>,
    /// Commands a second that a scan of keys sends.
    pub per_second: u32,
    /// Time in 24 hours that a database which suspends when idle may be kept awake; none sets no bound.
    pub awake_per_day: Option<Duration>,
}

impl Default for Budget {
    fn default() -> Self {
        Budget { per_day: None, per_second: 100, awake_per_day: None }
    }
}

/// How a source is read while its application is quiet, so that a database which suspends when idle can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Idle {
    /// No new row for so long means quiet.
    pub after: Duration,
    /// Then all collectors are read together, at most so far apart.
    pub interval: Duration,
    /// The database suspends after so long without a query.
    pub suspends_after: Duration,
}

impl Default for Idle {
    /// Neon suspends after five minutes.
    fn default() -> Self {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        Idle { after: minutes(15), interval: minutes(60), suspends_after: minutes(5) }
    }
}

/// One database, Redis, pooler or endpoint that is read.
#[derive(Debug, Clone)]
pub struct SourceSettings {
    /// The operator's name for it; a label value.
    pub name: String,
    /// Its kind, from the URL.
    pub upstream: Upstream,
    /// Where it is, with its secret.
    pub url: SecretString,
    /// The token of a Redis that is read over REST.
    pub token: Option<SecretString>,
    /// Certificates (PEM) that are trusted in place of the public ones, for Redis and HTTP.
    pub ca_file: Option<PathBuf>,
    /// The source that is the application's database: it names what Redis keys hold as ids, and says which packs apply.
    pub database: Option<String>,
    /// Whether its series bear a `source` label even where this exporter reads no other source like it: others, that share the
    /// configuration, do.
    pub labelled: bool,
    /// What may be asked of it.
    pub budget: Budget,
    /// How it is read while its application is quiet; none reads as ever.
    pub idle: Option<Idle>,
    /// Which packs apply: none means those whose `detect` tables exist.
    pub packs: Option<Vec<String>>,
    /// Collectors (`pack/collector`), or all of a pack, that are not run.
    pub skip: Vec<String>,
    /// Time between two reads of a collector.
    pub interval: Duration,
    /// Intervals of single collectors (`pack/collector`).
    pub intervals: BTreeMap<String, Duration>,
    /// Time that one statement may take in the database.
    pub statement_timeout: Duration,
    /// Time that one statement may wait for a lock.
    pub lock_timeout: Duration,
    /// Time to make a connection.
    pub connect_timeout: Duration,
    /// How far back late rows are looked for where the oldest open transaction cannot be seen.
    pub look_back: Duration,
    /// How long before its transaction a row's time may lie.
    pub clock_margin: Duration,
    /// Share of time (0 to 1) that a collector may keep the database busy when no index serves it.
    pub busy_share: f64,
    /// Rows a read.
    pub page_rows: u32,
    /// Where counting begins on the first run.
    pub start: Start,
    /// Time between two recounts of a settled window; zero turns them off.
    pub audit_interval: Duration,
}

/// Where counting begins on the first run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Rows that become visible after the first run.
    Now,
    /// Rows at or after a time.
    At(Micros),
    /// Every row there is.
    All,
}

/// Bounds on what can grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Series a metric, unless the pack says otherwise.
    pub series_per_metric: usize,
    /// Characters a label value.
    pub label_length: usize,
    /// Keys of counted rows that one collector remembers.
    pub seen_keys: usize,
    /// Rows that a snapshot may have.
    pub snapshot_rows: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { series_per_metric: 1000, label_length: 120, seen_keys: 500_000, snapshot_rows: 20_000 }
    }
}

/// Bounds and switches of the web server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebSettings {
    /// Connections at a time.
    pub connections: usize,
    /// Time to send a request's headers; also the longest a kept connection may idle.
    pub header_timeout: Duration,
    /// Time to take a reply.
    pub write_timeout: Duration,
    /// Whether `POST /-/reload` is answered.
    pub reload_endpoint: bool,
}

impl Default for WebSettings {
    fn default() -> Self {
        WebSettings {
            connections: 128,
            header_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(30),
            reload_endpoint: false,
        }
    }
}

impl Settings {
    /// The values of a pack's parameters: the operator's, else the pack's own.
    pub fn parameters_of(&self, pack: &Pack) -> Vec<(String, f64)> {
        let own = self.parameters.get(&pack.app);
        let value = |name: &String, default: f64| own.and_then(|own| own.get(name)).copied().unwrap_or(default);
        pack.parameters.iter().map(|(name, of)| (name.clone(), value(name, of.value))).collect()
    }

    /// Whether some Redis has ids that this database names by the pack's look-ups.
    pub fn asks_for_names(&self, pack: &Pack, database: &SourceSettings) -> bool {
        self.sources.iter().any(|source| {
            source.upstream.reads() == Reads::Redis
                && source.database.as_deref() == Some(database.name.as_str())
                && source.packs.as_ref().is_none_or(|packs| packs.contains(&pack.app))
        })
    }
}

impl SourceSettings {
    /// Names change seldom, and each look-up costs the database a query.
    pub const LOOK_UP_EVERY: Duration = Duration::from_secs(300);

    /// Time between two looks for packs whose tables have appeared since.
    pub const LOOK_FOR_PACKS: Duration = Duration::from_secs(300);

    /// Time between two reads of a collector.
    pub fn interval_of(&self, pack: &str, collector: &Collector) -> Duration {
        let own = self.intervals.get(&format!("{pack}/{}", collector.name)).copied();
        own.unwrap_or(self.interval.max(collector.interval.unwrap_or_default()))
    }

    /// Whether the configuration leaves a collector out.
    pub fn skips(&self, pack: &str, collector: &str) -> bool {
        is_skipped(&self.skip, pack, collector)
    }

    /// A source with every default.
    pub fn new(name: impl Into<String>, upstream: impl Into<Upstream>, url: SecretString) -> Self {
        SourceSettings {
            name: name.into(),
            upstream: upstream.into(),
            url,
            token: None,
            ca_file: None,
            database: None,
            labelled: false,
            budget: Budget::default(),
            idle: None,
            packs: None,
            skip: Vec::new(),
            interval: Duration::from_secs(60),
            intervals: BTreeMap::new(),
            statement_timeout: Duration::from_secs(10),
            lock_timeout: Duration::from_secs(1),
            connect_timeout: Duration::from_secs(10),
            look_back: Duration::from_secs(3600),
            clock_margin: Duration::from_secs(600),
            busy_share: 0.01,
            page_rows: 20_000,
            start: Start::Now,
            audit_interval: Duration::from_secs(600),
        }
    }
}

/// Whether a list of packs and of collectors (`pack/collector`) has this one.
fn is_skipped(skip: &[String], pack: &str, collector: &str) -> bool {
    skip.iter().any(|skip| match skip.split_once('/') {
        Some((of, name)) => of == pack && name == collector,
        None => skip == pack,
    })
}
