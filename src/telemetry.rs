//! What Rowmetry says about itself: the closed list of failures, its own metrics, its log.
//!
//! Nothing here may read a source, change a count or end the process; it only tells.

pub mod failure;
pub mod ignored;
pub mod log;
pub mod metrics;

pub use failure::{Failure, Reason, State};
pub use ignored::{Ignored, Replaced};
pub use metrics::{CollectorMetrics, Metrics};
