//! Redis over Upstash's REST.
//!
//! STUB.

use async_trait::async_trait;

use super::keyspace::{Keyspace, ScanPage};
use super::spend::Spend;
use crate::config::SourceSettings;
use crate::telemetry::{Failure, Reason};

/// Redis over Upstash's REST.
pub struct UpstashRest {
    name: String,
    spend: Spend,
}

impl UpstashRest {
    /// Prepares it; nothing is connected yet.
    ///
    /// # Errors
    /// When the URL cannot be understood.
    pub fn new(settings: &SourceSettings) -> Result<Self, Failure> {
        Ok(UpstashRest { name: settings.name.clone(), spend: Spend::default() })
    }
}

#[async_trait]
impl Keyspace for UpstashRest {
    fn name(&self) -> &str {
        &self.name
    }

    fn spend(&self) -> &Spend {
        &self.spend
    }

    fn epoch(&self) -> u64 {
        0
    }

    async fn scan(&self, _cursor: &str, _matching: &str, _count: u32) -> Result<ScanPage, Failure> {
        Err(Failure::new(Reason::Unreachable, "not built"))
    }

    async fn numbers(&self, _keys: &[Vec<u8>]) -> Result<Vec<Option<u64>>, Failure> {
        Err(Failure::new(Reason::Unreachable, "not built"))
    }

    async fn size(&self) -> Result<u64, Failure> {
        Err(Failure::new(Reason::Unreachable, "not built"))
    }

    async fn info(&self, _sections: &[String]) -> Result<Vec<(String, String)>, Failure> {
        Err(Failure::new(Reason::Unreachable, "not built"))
    }

    async fn ping(&self) -> Result<f64, Failure> {
        Err(Failure::new(Reason::Unreachable, "not built"))
    }
}
