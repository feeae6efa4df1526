//! The last value of each label set, for gauges that lines tell.
//!
//! It reads no clock: which line is the youngest, their own times tell.
