//! Waiting for something to become true, with a deadline.
//!
//! A test never sleeps to let something happen; it asks until it did, or fails and says what it saw last.

use std::time::{Duration, Instant};

/// Time between two questions.
const PACE: Duration = Duration::from_millis(25);

/// Asks until the answer is `Ok`; panics with the last `Err` when the deadline passed.
pub async fn eventually<T>(deadline: Duration, what: &str, mut attempt: impl AsyncFnMut() -> Result<T, String>) -> T {
    let began = Instant::now();
    let mut pace = tokio::time::interval(PACE);
    loop {
        pace.tick().await;
        match attempt().await {
            Ok(answer) => return answer,
            Err(last) if began.elapsed() > deadline => panic!("{what}: not after {deadline:?}; last: {last}"),
            Err(_) => {}
        }
    }
}

/// Asks for the whole time, and panics at the first `Err`.
pub async fn holds_for(time: Duration, what: &str, mut question: impl AsyncFnMut() -> Result<(), String>) {
    let began = Instant::now();
    let mut pace = tokio::time::interval(PACE);
    while began.elapsed() < time {
        pace.tick().await;
        if let Err(reason) = question().await {
            panic!("{what}: not any more after {:?}: {reason}", began.elapsed());
        }
    }
}
