//! Lines from standard input: read once, as fast as they are counted.
//!
//! There is no place to go on from: what was read and not counted when the process ends is gone.

use std::io::{ErrorKind, Read};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::super::inlet::Inlet;
use super::hand_over;
use super::lines::{Lines, Tail};
use super::messages::Messages;
use crate::config::logs::IntakeLimits;

/// Bytes that are read at once: what a pipe holds.
const CHUNK_BYTES: usize = 64 << 10;

/// A message that is not gone on with for so long is whole.
const MESSAGE_ENDS: Duration = Duration::from_secs(1);

/// Reads standard input to its end, or until it is told to stop.
pub async fn read_stdin(inlet: Inlet, limits: IntakeLimits, stop: watch::Receiver<bool>) {
    read_lines(std::io::stdin(), inlet, limits, stop).await;
}

/// Reads anything to its end, or until it is told to stop. Reading goes on in a thread of its own, which ends with the input or the
/// process: nothing ends a read that waits.
pub async fn read_lines(
    input: impl Read + Send + 'static,
    inlet: Inlet,
    limits: IntakeLimits,
    mut stop: watch::Receiver<bool>,
) {
    // One chunk waits at most, so that the writer is held up while lines are.
    let (sender, mut chunks) = mpsc::channel(1);
    std::thread::spawn(move || pass_on(input, &sender));
    let reading = fastrand::u64(1..);
    let mut lines = Lines::new(limits.line_bytes, 0, Tail::of(&[]));
    let mut messages = Messages::new(limits.line_bytes);
    loop {
        let received = tokio::select! {
            received = tokio::time::timeout(MESSAGE_ENDS, chunks.recv()) => received,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let chunk: Option<Vec<u8>> = match received {
            Ok(chunk) => chunk,
            Err(_) => {
                messages.release();
                if !pass(&inlet, &limits, &mut messages, reading, &mut stop).await {
                    return;
                }
                continue;
            }
        };
        let Some(chunk) = chunk else { break };
        let mut rest = &chunk[..];
        while !rest.is_empty() {
            let taken = lines.push(rest, |line| messages.push(&line));
            rest = &rest[taken..];
            // While more waits already, what there is goes with it.
            let is_due = messages.is_full() || (rest.is_empty() && chunks.is_empty());
            if is_due && !pass(&inlet, &limits, &mut messages, reading, &mut stop).await {
                return;
            }
        }
        inlet.metrics.bytes(chunk.len() as u64);
    }
    lines.finish(|line| messages.push(&line));
    messages.release();
    if pass(&inlet, &limits, &mut messages, reading, &mut stop).await {
        tracing::info!(drain = %inlet.settings.name, "the input has ended; all its lines are counted");
    }
}

async fn pass(
    inlet: &Inlet,
    limits: &IntakeLimits,
    messages: &mut Messages,
    reading: u64,
    stop: &mut watch::Receiver<bool>,
) -> bool {
    messages.is_empty() || hand_over(inlet, limits, messages.take(), reading, None, stop).await
}

fn pass_on(mut input: impl Read, sender: &mpsc::Sender<Vec<u8>>) {
    loop {
        let mut chunk = vec![0; CHUNK_BYTES];
        match input.read(&mut chunk) {
            Ok(0) => return,
            Ok(read) => chunk.truncate(read),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => {
                tracing::warn!("the input cannot be read any more: {}", error.kind());
                return;
            }
        }
        if sender.blocking_send(chunk).is_err() {
            return;
        }
    }
}
