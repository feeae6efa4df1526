//! How much was asked of an upstream: every statement, command or request that was sent, counted where it is sent.
//!
//! Counting only. What it may come to is the schedule's business.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A count that a source and its governor share.
#[derive(Debug, Clone, Default)]
pub struct Spend(Arc<AtomicU64>);

impl Spend {
    /// So many more were sent.
    pub fn add(&self, sent: u64) {
        self.0.fetch_add(sent, Ordering::Relaxed);
    }

    /// How many were sent since the source was made.
    pub fn total(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one read costs, for estimates: what the sources send when nothing goes wrong and all new rows fit a page.
pub mod cost {
    /// New rows of a Postgres table: the transaction with its settings, a look at the moment, the page, the end.
    pub const POSTGRES_ROWS: u64 = 4;
    /// A snapshot, a look-up or a look for packs in Postgres: the transaction with its settings, the query, the end.
    pub const POSTGRES_QUERY: u64 = 3;
    /// A recount of a window in Postgres.
    pub const POSTGRES_AUDIT: u64 = 4;
    /// Any read of an SQLite file.
    pub const SQLITE_READ: u64 = 1;
    /// Keys that one SCAN looks at, about.
    pub const KEYS_A_SCAN: u64 = 1000;
    /// Commands of a scan of keys beside its SCANs.
    pub const KEYS_BESIDE: u64 = 2;
    /// Keys whose values one MGET reads.
    pub const KEYS_AN_MGET: u64 = 500;
    /// Redis's own figures: INFO and PING.
    pub const REDIS_INFO: u64 = 2;
    /// The same of Upstash, whose INFO does not list the databases: DBSIZE beside.
    pub const UPSTASH_INFO: u64 = 3;
    /// One figure of PgBouncer's console.
    pub const PGBOUNCER_SHOW: u64 = 1;
    /// One request of a probe, without redirects.
    pub const HTTP_PROBE: u64 = 1;
}
