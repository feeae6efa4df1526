//! Families as bytes: text 0.0.4, OpenMetrics 1.0 and Prometheus protobuf, and which of them a client wants.
//!
//! Encoding cannot fail and changes no value. Nothing here knows where families come from, and nothing does I/O.

pub mod bodies;
pub mod negotiation;
mod number;
pub mod openmetrics;
pub mod own;
pub mod packed;
pub mod past;
pub mod protobuf;
pub mod text;

use std::sync::Arc;

pub use bodies::{Bodies, Encoded};
pub use negotiation::{Version, accepts_gzip, negotiate};

use crate::family::Family;

/// A wire format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Format {
    /// Text 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus protobuf, delimited: the only one with native histograms.
    Protobuf,
}

impl Format {
    /// Every format.
    pub const ALL: [Format; 3] = [Format::Text, Format::OpenMetrics, Format::Protobuf];

    /// The label value of the self metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Format::Text => "text",
            Format::OpenMetrics => "openmetrics",
            Format::Protobuf => "protobuf",
        }
    }

    /// Its place in [`Format::ALL`].
    const fn index(self) -> usize {
        self as usize
    }

    /// Appends families.
    pub fn encode(self, families: &[Arc<Family>], out: &mut Vec<u8>) {
        match self {
            Format::Text => families.iter().for_each(|family| text::encode(family, out)),
            Format::OpenMetrics => openmetrics::encode_all(families, openmetrics::Created::Printed, out),
            Format::Protobuf => families.iter().for_each(|family| protobuf::encode(family, out)),
        }
    }

    /// What stands after the last family.
    pub const fn end(self) -> &'static [u8] {
        match self {
            Format::Text | Format::Protobuf => b"",
            Format::OpenMetrics => b"# EOF\n",
        }
    }
}
