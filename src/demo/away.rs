//! Patience with a server that is away: says once that it is, asks for it seldom, and says once that it is back.
//!
//! It connects to nothing itself.

use std::time::Duration;

use tokio::time::Instant;

/// Pause between two looks whether a server is back.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A server, and whether it is away.
pub(super) struct Away {
    name: String,
    next_look: Option<Instant>,
}

impl Away {
    /// A server that is there; the name is for the log.
    pub(super) fn new(name: impl Into<String>) -> Self {
        Away { name: name.into(), next_look: None }
    }

    /// Whether it is to be asked now.
    pub(super) fn is_to_be_asked(&self) -> bool {
        self.next_look.is_none_or(|next| next <= Instant::now())
    }

    /// It did not answer.
    pub(super) fn is_away(&mut self, reason: &dyn std::fmt::Display) {
        if self.next_look.is_none() {
            tracing::warn!(server = self.name, %reason, "it does not answer, and the demo waits until it does");
        }
        self.next_look = Some(Instant::now() + LOOK_EVERY);
    }

    /// It answered.
    pub(super) fn is_back(&mut self) {
        if self.next_look.take().is_some() {
            tracing::info!(server = self.name, "it answers again, and the demo goes on");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_asked_seldom_while_it_is_away() {
        tokio::time::pause();
        let mut away = Away::new("one");
        assert!(away.is_to_be_asked());
        away.is_away(&"refused");
        assert!(!away.is_to_be_asked());
        tokio::time::advance(LOOK_EVERY).await;
        assert!(away.is_to_be_asked());
        away.is_back();
        assert!(away.is_to_be_asked());
    }
}
