//! Lines in, families out: the counters, histograms and gauges of one `logs` collector.
//!
//! Pure, like every collector. A line counts once for each collector whose form it has; whether it came before is not
//! asked here. No text leaves but through the columns that the pack declares, and the guard.

pub mod form;
pub mod last;
pub mod runs;
