//! Redis's own figures.
//!
//! STUB.

use std::sync::Arc;

use async_trait::async_trait;

use super::Keyspace;
use crate::family::Micros;
use crate::pack;
use crate::source::{Examination, Reader, Reading};
use crate::telemetry::{Failure, Reason};

/// Reads INFO.
pub struct InfoReader;

impl InfoReader {
    /// A reader of one `info` collector.
    pub fn new(_keyspace: Arc<dyn Keyspace>, _info: &pack::Info, _columns: Vec<String>) -> Self {
        InfoReader
    }
}

#[async_trait]
impl Reader for InfoReader {
    async fn read(&mut self, _now: Micros) -> Result<Reading, Failure> {
        Err(Failure::new(Reason::Unreachable, "not built"))
    }

    async fn examine(&mut self, _now: Micros) -> Result<Examination, Failure> {
        Err(Failure::new(Reason::Unreachable, "not built"))
    }
}
