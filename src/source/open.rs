//! From settings to something that can be asked: which driver a source needs, and which reader a collector.
//!
//! It connects nowhere; that is the business of the first read.

use std::sync::Arc;

use super::http::{Endpoint, ProbeReader};
use super::keyspace::Keyspace;
use super::keyspace::info::InfoReader;
use super::keyspace::keys::{KeysReader, KeysSettings};
use super::lookup::Names;
use super::pgbouncer::{Console, ShowReader};
use super::postgres::PostgresSource;
use super::redis::RedisServer;
use super::snapshot::SnapshotReader;
use super::spend::Spend;
use super::sqlite::SqliteSource;
use super::upstash::UpstashRest;
use super::{Reader, SnapshotQuery, Source};
use crate::config::{SourceSettings, Upstream};
use crate::pack::{self, System};
use crate::telemetry::Failure;

/// A source, ready to be asked.
#[derive(Clone)]
pub enum Opened {
    /// A database.
    Database(Arc<dyn Source>),
    /// A Redis.
    Redis(Arc<dyn Keyspace>),
    /// PgBouncer's console.
    Pgbouncer(Arc<Console>),
    /// An HTTP endpoint.
    Http(Arc<Endpoint>),
}

/// What a reader is made of, beside its source.
pub struct Wanted<'a> {
    /// The collector of the pack.
    pub collector: &'a pack::Collector,
    /// The columns that its metrics use, in the order of the cells.
    pub columns: Vec<String>,
    /// Values of the pack's parameters, by name.
    pub parameters: Vec<(String, f64)>,
    /// Rows that a result may have.
    pub row_limit: u32,
    /// Bounds of a scan of keys.
    pub keys: KeysSettings,
    /// Where the names of a look-up of the pack are; none where the application's database is not read.
    pub names: &'a dyn Fn(&str) -> Option<Arc<Names>>,
}

impl Opened {
    /// The source that settings describe.
    ///
    /// # Errors
    /// When the URL or a file that it needs cannot be understood.
    pub fn of(settings: &SourceSettings) -> Result<Self, Failure> {
        Ok(match settings.upstream {
            Upstream::Database(System::Postgres) => Opened::Database(Arc::new(PostgresSource::new(settings)?)),
            Upstream::Database(System::Sqlite) => Opened::Database(Arc::new(SqliteSource::new(settings)?)),
            Upstream::Redis => Opened::Redis(Arc::new(RedisServer::new(settings)?)),
            Upstream::Upstash => Opened::Redis(Arc::new(UpstashRest::new(settings)?)),
            Upstream::Pgbouncer => Opened::Pgbouncer(Arc::new(Console::new(settings)?)),
            Upstream::Http => Opened::Http(Arc::new(Endpoint::new(settings)?)),
        })
    }

    /// The database, if it is one.
    pub fn database(&self) -> Option<&Arc<dyn Source>> {
        match self {
            Opened::Database(source) => Some(source),
            _ => None,
        }
    }

    /// Whether it is an HTTP endpoint.
    pub fn is_endpoint(&self) -> bool {
        matches!(self, Opened::Http(_))
    }

    /// What was asked of it so far.
    pub fn spend(&self) -> &Spend {
        match self {
            Opened::Database(source) => source.spend(),
            Opened::Redis(keyspace) => keyspace.spend(),
            Opened::Pgbouncer(console) => console.spend(),
            Opened::Http(endpoint) => endpoint.spend(),
        }
    }

    /// The reader of a collector whose results replace each other; none when the collector reads another kind of source, or
    /// counts rows.
    pub fn reader(&self, wanted: Wanted<'_>) -> Option<Box<dyn Reader>> {
        let Wanted { collector, columns, parameters, row_limit, keys, names } = wanted;
        match self {
            Opened::Database(source) => {
                let snapshot = collector.snapshot.as_ref()?;
                let query = SnapshotQuery::of(snapshot, columns, source.system(), parameters, row_limit);
                Some(Box::new(SnapshotReader::new(source.clone(), query)))
            }
            Opened::Redis(keyspace) => match (&collector.keys, &collector.info) {
                (Some(of), _) => Some(Box::new(KeysReader::new(keyspace.clone(), of, columns, keys, names))),
                (None, Some(info)) => Some(Box::new(InfoReader::new(keyspace.clone(), info, columns))),
                (None, None) => None,
            },
            Opened::Pgbouncer(console) => {
                let show = collector.show.as_ref()?;
                Some(Box::new(ShowReader::new(console.clone(), show, columns)))
            }
            Opened::Http(endpoint) => {
                let probe = collector.probe.as_ref()?;
                Some(Box::new(ProbeReader::new(endpoint.clone(), probe, columns)))
            }
        }
    }
}
