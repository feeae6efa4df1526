//! PgBouncer's admin console, over the simple protocol.
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

/// PgBouncer's admin console, over the simple protocol.
pub struct Console {
    spend: Spend,
}

impl Console {
    /// Prepares it; nothing is connected yet.
    ///
    /// # Errors
    /// When the URL cannot be understood.
    pub fn new(_settings: &SourceSettings) -> Result<Self, Failure> {
        Ok(Console { spend: Spend::default() })
    }

    /// What was asked of it so far.
    pub fn spend(&self) -> &Spend {
        &self.spend
    }
}

/// Reads for one collector.
pub struct ShowReader;

impl ShowReader {
    /// A reader of one collector.
    pub fn new(_of: Arc<Console>, _wanted: &pack::Show, _columns: Vec<String>) -> Self {
        ShowReader
    }
}

#[async_trait]
impl Reader for ShowReader {
    async fn read(&mut self, _now: Micros) -> Result<Reading, Failure> {
        Err(Failure::new(Reason::Unreachable, "not built"))
    }

    async fn examine(&mut self, _now: Micros) -> Result<Examination, Failure> {
        Err(Failure::new(Reason::Unreachable, "not built"))
    }
}
