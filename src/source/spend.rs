//! How much was asked of an upstream: every statement, command or request that was sent, counted where it is sent.
//!
//! Counting only. What it may come to is the schedule's business.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A count that a source and its governor share.
#[derive(Debug, Clone, Default)]
pub struct Spend(Arc<AtomicU64>);

impl Spend {
    /// So many more were sent.
    pub fn add(&self, sent: u64) {
        self.0.fetch_add(sent, Ordering::Relaxed);
    }

    /// How many were sent since the source was made.
    pub fn total(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
