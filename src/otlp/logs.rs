//! Log records as OTLP brings them (protobuf over HTTP), read into lines, and the answer to such a request.
//!
//! One bad record costs no other; it listens to nobody.

use crate::config::logs::IntakeLimits;
use crate::source::logs::Parsed;
use crate::source::logs::body::Unreadable;

/// Reads an `ExportLogsServiceRequest`, already unpacked.
///
/// # Errors
/// When it is none.
pub fn decode(limits: &IntakeLimits, body: &[u8]) -> Result<Parsed, Unreadable> {
    let _ = (limits, body);
    Err(Unreadable("not built yet"))
}
