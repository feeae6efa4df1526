//! What one run of a collector came to, as a job tells its driver.
//!
//! Plain data, without behaviour.

use std::time::Duration;

/// What one run came to.
#[derive(Default)]
pub(super) struct Run {
    /// Rows that were new (rows) or that the result has (snapshot).
    pub rows: u64,
    /// How long the database was kept busy; the wait for a turn is not in it.
    pub busy: Duration,
    /// More is waiting.
    pub more: bool,
    /// The pause before the next part, where one is to be made.
    pub more_after: Duration,
    /// Whether an index serves the read; without one the busy share holds.
    pub indexed: bool,
    /// Something an operator should know.
    pub note: Option<String>,
    /// Age of the oldest open transaction, in seconds.
    pub horizon_lag: Option<f64>,
    /// Rows counted since the counts began.
    pub rows_counted: Option<u64>,
}
