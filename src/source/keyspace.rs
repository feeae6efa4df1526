//! Redis as Rowmetry sees it: names of keys, a few whole numbers, and the server's own figures.
//!
//! Whoever speaks to it, over RESP or over Upstash's REST, answers these few questions. Nothing here writes, none asks for KEYS,
//! and no value is read but those that a pack declares to be counters.

pub mod info;
pub mod keys;
mod pattern;
pub mod refusal;
mod scanning;
#[cfg(test)]
mod scripted;
mod tally;

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Semaphore;

use super::spend::Spend;
use super::trace::Peer;
use crate::telemetry::Failure;

/// A Redis that is read.
#[async_trait]
pub trait Keyspace: Send + Sync {
    /// The operator's name for it.
    fn name(&self) -> &str;

    /// The number of the logical database that is read.
    fn database(&self) -> i64;

    /// Commands sent so far, billed or not.
    fn spend(&self) -> &Spend;

    /// Who is asked, for spans.
    fn peer(&self) -> &Peer;

    /// One permit: who holds it may scan, so that a source has one scan under way, whatever the number of its collectors.
    fn turn(&self) -> &Arc<Semaphore>;

    /// A number that changes when the server may be another one than before (a connection was made anew), so that a cursor
    /// of an earlier scan means nothing any more.
    fn epoch(&self) -> u64;

    /// One SCAN: keys that fit `matching` (a Redis glob), about `count` looked at, and where to go on. The cursor begins with `0`, and
    /// the scan is over when `0` comes back.
    ///
    /// # Errors
    /// When the command failed.
    async fn scan(&self, cursor: &str, matching: &str, count: u32) -> Result<ScanPage, Failure>;

    /// The whole numbers that these keys hold, by one MGET; none where there is no key or its value is no whole number.
    ///
    /// # Errors
    /// When the command failed.
    async fn numbers(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<u64>>, Failure>;

    /// How many keys there are.
    ///
    /// # Errors
    /// When the command failed.
    async fn size(&self) -> Result<u64, Failure>;

    /// The fields of INFO by name; empty where the service does not answer it.
    ///
    /// # Errors
    /// When the command failed for another reason than that the service does not have it.
    async fn info(&self, sections: &[String]) -> Result<Vec<(String, String)>, Failure>;

    /// How long a PING takes, in seconds.
    ///
    /// # Errors
    /// When the command failed.
    async fn ping(&self) -> Result<f64, Failure>;
}

/// What one SCAN brought.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScanPage {
    /// Where to go on; `0` when the scan is over.
    pub cursor: String,
    /// Names of keys; one may come twice in a scan.
    pub keys: Vec<Vec<u8>>,
}

/// The fields of a reply such as INFO's: lines of name, colon and value. Titles (`# Memory`) and what else is no field are
/// left out.
pub fn fields_of(text: &str) -> Vec<(String, String)> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let fields = lines.filter_map(|line| line.split_once(':'));
    fields.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())).collect()
}
