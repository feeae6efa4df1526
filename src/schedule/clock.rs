//! The one place that reads the clock.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::family::Micros;

/// Microseconds since 1970. A clock before 1970 reads as 0.
pub fn now() -> Micros {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| Micros::try_from(since.as_micros()).unwrap_or(Micros::MAX))
}
