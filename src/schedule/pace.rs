//! When a collector runs next: its interval, longer after failures, longer where no index serves it.
//!
//! Arithmetic only; it neither waits nor reads a clock.

use std::time::Duration;

/// The first pause after a failure, unless the interval is shorter.
const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// Pauses grow to so many intervals, but not beyond [`LONGEST_PAUSE`].
const PAUSE_INTERVALS: u32 = 8;

/// The longest pause after failures, unless the interval is longer: an operator who mended something should not wait.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Intervals are lengthened or shortened by up to this share, so that collectors do not march in step.
const JITTER: f64 = 0.05;

/// The pause after the `failures`th failure in a row, counted from 1.
pub fn pause(interval: Duration, failures: u32) -> Duration {
    let first = FIRST_PAUSE.min(interval);
    let longest = (interval * PAUSE_INTERVALS).min(LONGEST_PAUSE).max(interval);
    first.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(longest)
}

/// The pause after a success that kept the database busy for `busy`.
pub fn rest(interval: Duration, busy: Duration, busy_share: Option<f64>) -> Duration {
    match busy_share {
        Some(share) if share > 0.0 => interval.max(busy.div_f64(share)),
        _ => interval,
    }
}

/// A pause with jitter; `draw` is a random number from 0 to 1.
pub fn jittered(pause: Duration, draw: f64) -> Duration {
    pause.mul_f64(1.0 - JITTER + 2.0 * JITTER * draw.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn pauses_double_and_stop_growing() {
        let pauses: Vec<u64> = (1..9).map(|failures| pause(MINUTE, failures).as_secs()).collect();
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(pause(Duration::from_millis(200), 1), Duration::from_millis(200));
        assert_eq!(pause(Duration::from_millis(200), 99), Duration::from_millis(1600));
        assert_eq!(pause(Duration::from_secs(3600), 99), Duration::from_secs(3600));
    }

    #[test]
    fn a_scan_is_followed_by_its_hundredfold() {
        assert_eq!(rest(MINUTE, Duration::from_secs(2), Some(0.01)), Duration::from_secs(200));
        assert_eq!(rest(MINUTE, Duration::from_millis(7), Some(0.01)), MINUTE);
        assert_eq!(rest(MINUTE, Duration::from_secs(2), None), MINUTE);
    }

    #[test]
    fn jitter_stays_within_its_share() {
        for draw in [0.0, 0.5, 1.0] {
            let pause = jittered(MINUTE, draw).as_secs_f64();
            assert!((57.0..=63.0).contains(&pause), "{pause}");
        }
    }
}
