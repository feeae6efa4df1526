//! Rowmetry turns an application's own tables into exact Prometheus metrics.
//!
//! The flow is one way, and so are the imports: a module names only those before it in this list. A small test keeps
//! it so.

pub mod config;
pub mod duration;
pub mod exposition;
pub mod family;
pub mod pack;
pub mod source;
pub mod store;
pub mod telemetry;
pub mod web;
