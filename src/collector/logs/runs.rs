//! Runs that have begun and not ended, and those that have ended lately.
//!
//! It reads no clock; whether a run is lost is asked with the time as an argument.
