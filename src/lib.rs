//! Rowmetry turns an application's own tables into exact Prometheus metrics.
//!
//! The flow is one way, and so are the imports: a module names only those before it in this list. A small test keeps
//! it so.

pub mod app;
pub mod check;
pub mod cli;
pub mod collector;
pub mod config;
pub mod dashboard;
pub mod demo;
pub mod duration;
pub mod exposition;
pub mod family;
pub mod otlp;
pub mod pack;
pub mod reference;
pub mod schedule;
pub mod source;
pub mod span;
pub mod state;
pub mod store;
pub mod telemetry;
pub mod web;
pub mod yaml;
