//! Counts keys by the families of their names.
//!
//! STUB.

use std::sync::Arc;

use async_trait::async_trait;

use super::Keyspace;
use crate::family::Micros;
use crate::pack;
use crate::source::lookup::Names;
use crate::source::{Examination, Reader, Reading};
use crate::telemetry::{Failure, Reason};

/// Bounds of a scan.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KeysSettings {
    /// Commands a second.
    pub per_second: u32,
    /// Different keys that are remembered in one scan; with more the result is truncated, and not published.
    pub key_limit: usize,
}

/// Counts keys.
pub struct KeysReader;

impl KeysReader {
    /// A reader of one `keys` collector.
    pub fn new(
        _keyspace: Arc<dyn Keyspace>,
        _keys: &pack::Keys,
        _columns: Vec<String>,
        _settings: KeysSettings,
        _names: &dyn Fn(&str) -> Option<Arc<Names>>,
    ) -> Self {
        KeysReader
    }
}

#[async_trait]
impl Reader for KeysReader {
    async fn read(&mut self, _now: Micros) -> Result<Reading, Failure> {
        Err(Failure::new(Reason::Unreachable, "not built"))
    }

    async fn examine(&mut self, _now: Micros) -> Result<Examination, Failure> {
        Err(Failure::new(Reason::Unreachable, "not built"))
    }
}
