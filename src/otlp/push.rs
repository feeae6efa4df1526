//! Metrics pushed on an interval.
