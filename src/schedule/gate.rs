//! One source's gate: one read at a time, and none while the source is known to be out of reach.
//!
//! When a read finds the whole source out of reach, the others fail at once with the same word instead of each waiting
//! for its own timeout. The gate never retries by itself: the first collector whose turn comes after the pause does.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::telemetry::{Failure, Reason};

use super::pace;

/// The gate of one source.
pub struct Gate {
    interval: Duration,
    turn: Semaphore,
    down: Mutex<Down>,
}

#[derive(Default)]
struct Down {
    until: Option<Instant>,
    failure: Option<Failure>,
    failures: u32,
}

impl Gate {
    /// A gate that is open. `interval` is the source's, and sets the pauses.
    pub fn new(interval: Duration) -> Self {
        Gate { interval, turn: Semaphore::new(1), down: Mutex::default() }
    }

    /// Waits for its turn.
    ///
    /// # Errors
    /// The failure that closed the gate, at once, while it is closed.
    pub async fn enter(&self) -> Result<SemaphorePermit<'_>, Failure> {
        self.closed()?;
        let permit =
            self.turn.acquire().await.map_err(|_| Failure::new(Reason::Unreachable, "the source is being closed"))?;
        // The one before us may just have found the source out of reach.
        self.closed()?;
        Ok(permit)
    }

    /// Tells the gate what became of a read.
    pub fn report<T>(&self, result: &Result<T, Failure>) {
        let mut down = self.down.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Err(failure) if failure.reason.is_source_wide() => {
                down.failures = down.failures.saturating_add(1);
                down.until = Some(Instant::now() + pace::pause(self.interval, down.failures));
                down.failure = Some(failure.clone());
            }
            // Any other answer is an answer: the source is there.
            _ => *down = Down::default(),
        }
    }

    /// When the gate opens again, if it is closed.
    pub fn opens(&self) -> Option<Instant> {
        let down = self.down.lock().unwrap_or_else(PoisonError::into_inner);
        down.until.filter(|until| *until > Instant::now())
    }

    fn closed(&self) -> Result<(), Failure> {
        let down = self.down.lock().unwrap_or_else(PoisonError::into_inner);
        match (&down.until, &down.failure) {
            (Some(until), Some(failure)) if *until > Instant::now() => Err(failure.clone()),
            _ => Ok(()),
        }
    }
}
