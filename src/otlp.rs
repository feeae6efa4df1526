//! OTLP: spans made of rows, our own traces and the published metrics, sent to a receiver.
//!
//! What is sent was durable before and is kept until the receiver has it, within bounds. Nothing here delays a read or a
//! scrape, and nothing decides what a span or a value is.

pub mod delivery;
pub mod encode;
pub mod logs;
pub mod own;
pub mod push;
pub mod queue;
pub mod transport;

pub use queue::SpanQueue;
pub use transport::{Answer, Transport};
