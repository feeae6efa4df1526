//! Follows a file that grows, across renaming and cutting, and standard input.
//!
//! Without a position, a file that is there is followed from its present end: what was written before Rowmetry came would show as a jump.
//! One that appears later is read from its beginning. With a position, nothing is left out and nothing read twice: each batch is handed
//! over with the place behind it, and both are written down together.
//!
//! - **Renamed** (`app.log` is now `app.log.1`, `app.log-20261121`, …): the old file is read to its end, which it has reached when nothing came for
//!   two seconds, then those that came between, then the new one. While Rowmetry was down, the old file is found by its inode, wherever it is
//!   in the folder.
//! - **Copied and cut** (`copytruncate`): the rest is read from the copy, where there is one, then the file from its beginning.
//! - **Removed or packed** before it was read to its end: the log warns, and the next file that is there is read from its beginning.
//! - A line counts when it is whole, or its file has ended. One that goes on with the message before is part of that; the last message is held back
//!   for a second, since it may go on.
//!
//! It never writes, and never reads on before what it read is counted.

mod follower;
mod lines;
mod messages;
mod reading;
mod siblings;
mod stdin;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use self::follower::Step;
use self::messages::Message;
use super::Refusal;
use super::inlet::Inlet;
use super::position::FilePosition;
use crate::config::logs::IntakeLimits;

pub use self::follower::{Batch, Follower};
pub use self::stdin::{read_lines, read_stdin};

/// How often the end of a file is looked at: soon enough for a line to be in the next scrape, and a few system calls a second.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How often a file that is not there, or cannot be read, is tried again.
const TRY_EVERY: Duration = Duration::from_secs(1);

/// The first pause before what was refused is brought again; each after it is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause: what holds the lines up (a full disk, a start) ends in seconds, and nothing is lost meanwhile.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Follows the file of a drain until it is told to stop; nothing else ends it.
///
/// What is under way is not given up then: a batch that is being counted is waited for, so that no other follower begins before it.
/// The position of the first batch, which may be without lines, tells where following began; it is to be kept like any other.
pub async fn follow(
    inlet: Inlet,
    position: Option<FilePosition>,
    limits: IntakeLimits,
    mut stop: watch::Receiver<bool>,
) {
    let Some(path) = inlet.settings.file.clone() else { return };
    let mut last = position.clone();
    let mut follower = Follower::new(path.clone(), limits.line_bytes, position);
    while !*stop.borrow() {
        let now = Instant::now().into_std();
        let stepped = tokio::task::spawn_blocking(move || {
            let step = follower.step(now);
            (follower, step)
        });
        let pause = match stepped.await {
            Ok((same, Step::Batch(batch))) => {
                follower = same;
                let position = batch.position;
                if !hand_over(&inlet, &limits, Arc::new(batch.messages), batch.reading, Some(&position), &mut stop)
                    .await
                {
                    return;
                }
                inlet.metrics.bytes(batch.bytes);
                last = Some(position);
                continue;
            }
            Ok((same, Step::Idle)) => {
                follower = same;
                LOOK_EVERY
            }
            Ok((same, Step::Trouble)) => {
                follower = same;
                TRY_EVERY
            }
            // It was lost with its task, and what it had read with it.
            Err(_) => {
                follower = Follower::new(path.clone(), limits.line_bytes, last.clone());
                TRY_EVERY
            }
        };
        if is_stopped_within(&mut stop, pause).await {
            return;
        }
    }
}

/// Brings messages until they are counted for good; false when it is to stop before they are.
async fn hand_over(
    inlet: &Inlet,
    limits: &IntakeLimits,
    messages: Arc<Vec<Message>>,
    reading: u64,
    position: Option<&FilePosition>,
    stop: &mut watch::Receiver<bool>,
) -> bool {
    let mut pause = FIRST_PAUSE;
    loop {
        let (settings, again, limits) = (inlet.settings.clone(), messages.clone(), *limits);
        let parsed =
            tokio::task::spawn_blocking(move || messages::parse(&again, reading, &settings.fields, &limits)).await;
        // It would stop every line after it.
        let parsed = parsed.unwrap_or_else(|_| {
            tracing::error!("lines of a file are left out, since reading them failed; please report this");
            super::Parsed::default()
        });
        let refusal = match inlet.deliver(parsed, position.cloned(), None).await {
            Ok(()) => return true,
            Err(refusal) => refusal,
        };
        if refusal == Refusal::NotWritten {
            tracing::debug!("lines of a file wait, since their counts could not be written down");
        }
        if is_stopped_within(stop, pause).await {
            return false;
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Waits; true when it is told to stop.
async fn is_stopped_within(stop: &mut watch::Receiver<bool>, pause: Duration) -> bool {
    let stopped = async {
        // An error is that nobody can tell us any more.
        let _ = stop.wait_for(|stop| *stop).await;
    };
    tokio::time::timeout(pause, stopped).await.is_ok()
}
