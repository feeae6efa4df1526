//! What holds of any bytes that a stranger sends: each function panics where it does not, and returns how many lines there were.
//!
//! The fuzz targets and the test of their seeds share it, so that neither can go stale.

use rowmetry::config::logs::{DrainKind, IntakeLimits, RecordFields};
use rowmetry::otlp;
use rowmetry::source::logs::body::{Unreadable, parse};
use rowmetry::source::logs::{LineId, Parsed};

/// Bytes of a line; few, so that lines are cut.
const LINE_BYTES: usize = 4096;

/// A target: its name, and what it runs.
pub type Target = (&'static str, fn(&[u8]) -> usize);

/// The targets.
#[allow(dead_code, reason = "each target names itself alone")]
pub const TARGETS: [Target; 6] = [
    ("forms", forms),
    ("generic", generic),
    ("line", line),
    ("otlp_logs", otlp_logs),
    ("supabase", supabase),
    ("vercel", vercel),
];

/// A body that Vercel posts.
pub fn vercel(bytes: &[u8]) -> usize {
    body(DrainKind::Vercel, bytes)
}

/// A body that Supabase posts.
pub fn supabase(bytes: &[u8]) -> usize {
    body(DrainKind::Supabase, bytes)
}

/// A body that anything else posts.
pub fn generic(bytes: &[u8]) -> usize {
    body(DrainKind::Http, bytes)
}

/// A request of OTLP, as protobuf or JSON.
pub fn otlp_logs(bytes: &[u8]) -> usize {
    let is_json = bytes.first() == Some(&b'{');
    checked(bytes, |limits| match is_json {
        true => otlp::logs::decode_json(limits, bytes),
        false => otlp::logs::decode(limits, bytes),
    })
}

/// One line of a file.
pub fn line(bytes: &[u8]) -> usize {
    body(DrainKind::File, bytes)
}

/// One line, and whether it has a form that a pack looks for.
pub fn forms(bytes: &[u8]) -> usize {
    body(DrainKind::Stdin, bytes)
}

fn body(kind: DrainKind, bytes: &[u8]) -> usize {
    let fields = RecordFields::default();
    checked(bytes, |limits| parse(kind, &fields, limits, bytes))
}

/// Reads the same twice, and looks at what was read.
fn checked(bytes: &[u8], read: impl Fn(&IntakeLimits) -> Result<Parsed, Unreadable>) -> usize {
    let limits = IntakeLimits { line_bytes: LINE_BYTES, ..IntakeLimits::default() };
    let (first, second) = (read(&limits), read(&limits));
    let (Ok(first), Ok(second)) = (&first, &second) else {
        assert_eq!(first.err(), second.err(), "one of two times it was unreadable");
        return 0;
    };
    assert_eq!(ids(first), ids(second), "the same has other ids when it is sent again");
    assert!(first.lines.len() <= bytes.len(), "{} lines of {} bytes", first.lines.len(), bytes.len());
    assert!(first.cut <= first.lines.len() as u64, "{} of {} lines were cut", first.cut, first.lines.len());
    for line in &first.lines {
        assert!(line.text.len() <= LINE_BYTES, "a line of {} bytes", line.text.len());
        assert!(line.json.as_ref().is_none_or(serde_json::Value::is_object), "JSON that is no object");
    }
    first.lines.len()
}

fn ids(parsed: &Parsed) -> Vec<LineId> {
    parsed.lines.iter().map(|line| line.id).collect()
}
