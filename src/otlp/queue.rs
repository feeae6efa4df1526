//! How many spans wait in the state: room is asked for before they are made, so that the bound holds and an exemplar never
//! points to a span that was dropped.
//!
//! The spans themselves are in the state; this only counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// Room for spans that wait to be sent.
#[derive(Debug)]
pub struct SpanQueue {
    limit: u64,
    queued: AtomicU64,
    came: Notify,
}

impl SpanQueue {
    /// `queued` is what an earlier run left in the state.
    pub fn new(limit: u64, queued: u64) -> Self {
        SpanQueue { limit, queued: AtomicU64::new(queued), came: Notify::new() }
    }

    /// Takes room for at most `wanted` spans, and for none when it is full.
    pub fn reserve(self: &Arc<Self>, wanted: u64) -> Room {
        Room { queue: self.clone(), spans: self.take(wanted) }
    }

    fn take(&self, wanted: u64) -> u64 {
        let mut queued = self.queued.load(Ordering::Relaxed);
        loop {
            let granted = wanted.min(self.limit.saturating_sub(queued));
            match self.queued.compare_exchange_weak(queued, queued + granted, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return granted,
                Err(now) => queued = now,
            }
        }
    }

    /// Gives back room: what had it was sent or dropped.
    pub fn release(&self, spans: u64) {
        let released = |queued: u64| Some(queued.saturating_sub(spans));
        // The closure always says what to write.
        let _ = self.queued.fetch_update(Ordering::Relaxed, Ordering::Relaxed, released);
    }

    /// Waits until somebody said so.
    pub async fn told(&self) {
        self.came.notified().await;
    }

    /// How many wait, or are about to.
    pub fn queued(&self) -> u64 {
        self.queued.load(Ordering::Relaxed)
    }

    /// How many may wait.
    pub fn limit(&self) -> u64 {
        self.limit
    }
}

/// Room that was taken and is given back, unless spans fill it.
#[derive(Debug)]
pub struct Room {
    queue: Arc<SpanQueue>,
    spans: u64,
}

impl Room {
    /// For how many spans.
    pub fn spans(&self) -> u64 {
        self.spans
    }

    /// So many spans were saved: they keep their room, and their sender is told.
    pub fn fill(mut self, saved: u64) {
        self.spans = self.spans.saturating_sub(saved);
        if saved > 0 {
            self.queue.came.notify_one();
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.queue.release(self.spans);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_holds_and_what_is_not_filled_comes_back() {
        let queue = Arc::new(SpanQueue::new(10, 4));
        let room = queue.reserve(5);
        assert_eq!((room.spans(), queue.reserve(5).spans(), queue.queued()), (5, 1, 10));
        room.fill(2);
        assert_eq!(queue.queued(), 6);
        queue.release(3);
        assert_eq!((queue.queued(), queue.reserve(9).spans()), (3, 7));
        queue.release(100);
        assert_eq!(queue.queued(), 0);
    }
}
