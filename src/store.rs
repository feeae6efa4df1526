//! The last published families of every collector, and how each collector fares.
//!
//! Publishing replaces a collector's families as a whole. Nothing here reads a source or counts a row.

pub mod board;

pub use board::{Board, CollectorId, CollectorStatus};
