//! Log lines as drains bring them: wire formats in, lines out.
//!
//! Pure: bytes in, lines out; what cannot be read is counted and left behind, and costs no other line. Nothing here
//! listens, checks a signature or knows a pack. Files and the way into a drain's task are in modules of their own.

pub mod body;
pub mod file;
pub mod inlet;
pub mod line;
pub mod position;

pub use inlet::{Delivery, Inlet, Inlets, Refusal};
pub use line::{Level, LineId, LogLine};

/// What was read of one delivery.
#[derive(Debug, Default)]
pub struct Parsed {
    /// The lines, in the order in which they came.
    pub lines: Vec<LogLine>,
    /// Records that are none, or have no text.
    pub unreadable: u64,
    /// Records that only go on with the text of the one before.
    pub continuations: u64,
    /// Lines that were longer than a line may be, and were cut. They are among `lines`.
    pub cut: u64,
}
