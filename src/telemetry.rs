//! What Rowmetry says about itself: the closed list of failures, its own metrics, its log and its traces.
//!
//! Nothing here may read a source, change a count or end the process; it only tells.

pub mod failure;
pub mod log;
pub mod metrics;
pub mod replaced;
pub mod traces;

pub use failure::{Failure, Ignored, Reason, SpanSkipped, State};
pub use metrics::{CollectorMetrics, Metrics};
pub use replaced::Replaced;
