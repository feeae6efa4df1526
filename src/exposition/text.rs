//! The Prometheus text format 0.0.4.
//!
//! Label sets are printed as they were escaped when they were made; no series costs an allocation.

use super::number;
use crate::family::{Family, Histogram, Kind, Value};

/// Appends a family.
pub fn encode(family: &Family, out: &mut Vec<u8>) {
    let kind = match family.kind {
        Kind::Counter => "counter",
        Kind::Gauge | Kind::Info => "gauge",
        Kind::Histogram => "histogram",
    };
    let name = family.name.as_bytes();
    for part in [b"# HELP ", name, b" "] {
        out.extend_from_slice(part);
    }
    help(&family.help, out);
    for part in [b"\n# TYPE ", name, b" ", kind.as_bytes(), b"\n"] {
        out.extend_from_slice(part);
    }
    for series in &family.series {
        let labels = series.labels.text();
        match &series.value {
            Value::Number(value) => {
                out.extend_from_slice(name);
                braced(labels, out);
                number::value(*value, out);
                out.push(b'\n');
            }
            Value::Histogram(histogram) => buckets(name, labels, histogram, number::value, |_, _| (), out),
        }
    }
}

/// The classic buckets, count and sum of one series; `bound` prints the upper bounds, and `after` what stands behind the
/// count of a bucket, told by its number.
pub(super) fn buckets(
    name: &[u8],
    labels: &str,
    histogram: &Histogram,
    bound: impl Fn(f64, &mut Vec<u8>),
    after: impl Fn(usize, &mut Vec<u8>),
    out: &mut Vec<u8>,
) {
    let all = [(f64::INFINITY, histogram.count)];
    for (bucket, (upper, count)) in histogram.buckets.iter().chain(&all).enumerate() {
        out.extend_from_slice(name);
        out.extend_from_slice(b"_bucket{");
        out.extend_from_slice(labels.as_bytes());
        out.extend_from_slice(if labels.is_empty() { b"le=\"" } else { b",le=\"" });
        bound(*upper, out);
        out.extend_from_slice(b"\"} ");
        number::count(*count, out);
        after(bucket, out);
        out.push(b'\n');
    }
    out.extend_from_slice(name);
    out.extend_from_slice(b"_count");
    braced(labels, out);
    number::count(histogram.count, out);
    out.push(b'\n');
    out.extend_from_slice(name);
    out.extend_from_slice(b"_sum");
    braced(labels, out);
    number::value(histogram.sum, out);
    out.push(b'\n');
}

/// The label set in its braces, if it has any label, and the space before the value.
pub(super) fn braced(labels: &str, out: &mut Vec<u8>) {
    if !labels.is_empty() {
        out.push(b'{');
        out.extend_from_slice(labels.as_bytes());
        out.push(b'}');
    }
    out.push(b' ');
}

fn help(help: &str, out: &mut Vec<u8>) {
    for byte in help.bytes() {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            byte => out.push(byte),
        }
    }
}
