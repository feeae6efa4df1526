//! OpenMetrics 1.0: the text format with stricter rules and start times.
//!
//! One rule is bent: a histogram of values below zero keeps its `_sum` and `_count`. The standard wants them left out,
//! Prometheus reads them, and averages need them.
//!
//! The caller ends the last family with [`super::Format::end`].

use super::{number, text};
use crate::family::{Family, Kind, Micros, Value};

/// Whether `_created` lines are printed. Prometheus stores them as series of their own unless it is told to read them as
/// start times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// One line a counter or histogram that knows its start.
    Printed,
    /// None.
    LeftOut,
}

/// Appends a family.
pub fn encode(family: &Family, created: Created, out: &mut Vec<u8>) {
    let (kind, suffix) = match family.kind {
        Kind::Counter => ("counter", "_total"),
        Kind::Info => ("info", "_info"),
        Kind::Gauge => ("gauge", ""),
        Kind::Histogram => ("histogram", ""),
    };
    let name = family.stem().as_bytes();
    for part in [b"# TYPE ", name, b" ", kind.as_bytes(), b"\n# HELP ", name, b" "] {
        out.extend_from_slice(part);
    }
    help(&family.help, out);
    out.push(b'\n');
    for series in &family.series {
        let labels = series.labels.text();
        match &series.value {
            Value::Number(value) => {
                out.extend_from_slice(name);
                out.extend_from_slice(suffix.as_bytes());
                text::braced(labels, out);
                number::value(*value, out);
                out.push(b'\n');
            }
            Value::Histogram(histogram) => text::buckets(name, labels, histogram, number::bound, out),
        }
        if let (Created::Printed, Kind::Counter | Kind::Histogram, Some(start)) = (created, family.kind, series.start) {
            began(name, labels, start, out);
        }
    }
}

fn began(name: &[u8], labels: &str, start: Micros, out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(b"_created");
    text::braced(labels, out);
    number::seconds(start, out);
    out.push(b'\n');
}

fn help(help: &str, out: &mut Vec<u8>) {
    for byte in help.bytes() {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'"' => out.extend_from_slice(b"\\\""),
            b'\n' => out.extend_from_slice(b"\\n"),
            byte => out.push(byte),
        }
    }
}
