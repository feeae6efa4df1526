//! Rows in, metric families out: the counting itself.
//!
//! Everything here is pure: no I/O, no async, no clock, no log. A collector cannot fail; what it refuses it counts
//! by reason, and one bad row never costs the others.

pub mod admission;
pub mod cursor;
pub mod exact;
pub mod guard;
pub mod histogram;
pub mod history;
pub mod logs;
pub mod observed;
pub mod record;
pub mod rows;
pub mod seen;
pub mod series;
pub mod snapshot;
pub mod spans;
pub mod tally;

pub use exact::Exact;
pub use guard::{Guard, Replaced};
pub use history::{PastFamily, PastSeries, RowsHistory, Steps};
pub use observed::{Observations, ObservedCollector};
pub use record::{Changes, Folded, StoredSeries};
pub use rows::{RowsCollector, RowsSettings};
pub use seen::{KeyHash, Seen};
pub use series::SeriesSet;
pub use snapshot::{SnapshotCollector, SnapshotOutcome};
pub use spans::SpanMaker;
