//! Follows a file that grows, across renaming and cutting, and standard input.
//!
//! A line counts when it is whole. It never writes, and never goes on before what it read is counted.

use tokio::sync::watch;

use super::Inlet;
use super::position::FilePosition;
use crate::config::logs::IntakeLimits;

/// Stub.
pub async fn follow(inlet: Inlet, position: Option<FilePosition>, limits: IntakeLimits, stop: watch::Receiver<bool>) {
    let _ = (inlet, position, limits, stop);
}

/// Stub.
pub async fn read_stdin(inlet: Inlet, limits: IntakeLimits, stop: watch::Receiver<bool>) {
    let _ = (inlet, limits, stop);
}
