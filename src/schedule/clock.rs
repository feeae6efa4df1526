//! The one place that reads the clock.

use crate::family::Micros;

/// Microseconds since 1970. A clock before 1970 reads as 0.
#[cfg(not(test))]
pub fn now() -> Micros {
    since_1970()
}

/// Microseconds since 1970, as far as tokio's clock tells: where a test pauses that, nothing moves on by itself.
#[cfg(test)]
pub fn now() -> Micros {
    use tokio::time::Instant;
    static BEGAN: std::sync::OnceLock<(Instant, Micros)> = std::sync::OnceLock::new();
    let (began, micros) = BEGAN.get_or_init(|| (Instant::now(), since_1970()));
    micros + Micros::try_from(began.elapsed().as_micros()).unwrap_or(Micros::MAX)
}

fn since_1970() -> Micros {
    use std::time::{SystemTime, UNIX_EPOCH};
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| Micros::try_from(since.as_micros()).unwrap_or(Micros::MAX))
}
