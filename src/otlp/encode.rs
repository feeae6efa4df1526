//! Spans and families as OTLP has them.
//!
//! Pure: no I/O and no clock.

pub mod metrics;
pub mod names;
pub mod spans;
