//! Spans of rows on their way: from the state to the receiver, in order, until it has them.
//!
//! A span leaves the state only when the receiver has it or will never take it; then that is counted.
