//! A health endpoint that is asked over HTTP.
//!
//! STUB.

use std::sync::Arc;

use async_trait::async_trait;

use super::spend::Spend;
use super::{Examination, Reader, Reading};
use crate::config::SourceSettings;
use crate::family::Micros;
use crate::pack;
use crate::telemetry::{Failure, Reason};

/// A health endpoint that is asked over HTTP.
pub struct Endpoint {
    spend: Spend,
}

impl Endpoint {
    /// Prepares it; nothing is connected yet.
    ///
    /// # Errors
    /// When the URL cannot be understood.
    pub fn new(_settings: &SourceSettings) -> Result<Self, Failure> {
        Ok(Endpoint { spend: Spend::default() })
    }

    /// What was asked of it so far.
    pub fn spend(&self) -> &Spend {
        &self.spend
    }
}

/// Reads for one collector.
pub struct ProbeReader;

impl ProbeReader {
    /// A reader of one collector.
    pub fn new(_of: Arc<Endpoint>, _wanted: &pack::Probe, _columns: Vec<String>) -> Self {
        ProbeReader
    }
}

#[async_trait]
impl Reader for ProbeReader {
    async fn read(&mut self, _now: Micros) -> Result<Reading, Failure> {
        Err(Failure::new(Reason::Unreachable, "not built"))
    }

    async fn examine(&mut self, _now: Micros) -> Result<Examination, Failure> {
        Err(Failure::new(Reason::Unreachable, "not built"))
    }
}
