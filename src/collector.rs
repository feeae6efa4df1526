//! Rows in, metric families out. Pure: no I/O, no async, no clock, no log, and no failure.

pub mod cursor;
pub mod rows;
pub mod seen;
pub mod tally;

pub use rows::{Changes, Folded, RowsCollector, RowsSettings, StoredSeries};
pub use seen::{KeyHash, Seen};
