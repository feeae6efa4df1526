//! The past as OpenMetrics with time stamps, as `promtool tsdb create-blocks-from openmetrics` reads it.
//!
//! Each family once, each series in one piece in the order of time. No start lines: Prometheus would store them as series of
//! their own. What is printed is written as it is made, since it may be larger than memory.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Arc;

use super::{Format, number, openmetrics, text};
use crate::collector::{PastFamily, PastSeries, Steps};
use crate::family::{Kind, Labels, Value};

/// Text is handed on in pieces of about this size, in bytes.
const PIECE: usize = 64 * 1024;

/// Labels that every sample gets, as Prometheus adds those of a target when it scrapes it.
pub type TargetLabels = Vec<(Arc<str>, String)>;

/// Writes everything, to the last line. Families must have different names.
///
/// # Errors
/// When `to` takes no more.
pub fn write(families: &[PastFamily], steps: &Steps, target: &TargetLabels, to: &mut dyn Write) -> io::Result<()> {
    let mut stems: HashMap<&str, u32> = HashMap::with_capacity(families.len());
    for family in families.iter().filter(|family| !family.series.is_empty()) {
        *stems.entry(family.head.stem()).or_default() += 1;
    }
    let mut out = Vec::with_capacity(PIECE * 2);
    for family in families.iter().filter(|family| !family.series.is_empty()) {
        let head = &family.head;
        // OpenMetrics knows a counter by its name without `_total`: one that has no such ending, or whose stem is taken, has no
        // kind, as on `/metrics`.
        let ends_otherwise = head.kind == Kind::Counter && head.stem() == &*head.name;
        let clashes = head.stem() != &*head.name && stems[head.stem()] > 1;
        let (kind, name) = match head.kind {
            _ if ends_otherwise || clashes => ("unknown", &*head.name),
            Kind::Histogram => ("histogram", &*head.name),
            _ => ("counter", head.stem()),
        };
        for part in ["# TYPE ", name, " ", kind, "\n# HELP ", name, " "] {
            out.extend_from_slice(part.as_bytes());
        }
        openmetrics::help(&head.help, &mut out);
        out.push(b'\n');
        for series in &family.series {
            write_series(&head.name, series, steps, target, &mut out, to)?;
        }
    }
    out.extend_from_slice(Format::OpenMetrics.end());
    to.write_all(&out)?;
    to.flush()
}

/// The labels of a series beside those of its target. As on scraping, the target's win, and the series' own of the same name
/// are called `exported_…`.
pub fn with_target(labels: &Labels, target: &TargetLabels) -> Labels {
    let own = labels.pairs().map(|(name, value)| {
        let taken = target.iter().any(|(other, _)| **other == *name);
        (if taken { format!("exported_{name}").into() } else { Arc::from(name) }, value)
    });
    Labels::new(own.chain(target.iter().map(|(name, value)| (name.clone(), value.as_str()))))
}

fn write_series(
    name: &str,
    series: &PastSeries,
    steps: &Steps,
    target: &TargetLabels,
    out: &mut Vec<u8>,
    to: &mut dyn Write,
) -> io::Result<()> {
    let labels = with_target(&series.labels, target);
    let mut changes = series.values().peekable();
    // The lines without their times: they stay the same until the value changes.
    let mut lines = Vec::new();
    print(name, labels.text(), &series.nought(), &mut lines);
    for step in series.begins..=steps.last() {
        if let Some((_, value)) = changes.next_if(|(at, _)| *at == step) {
            print(name, labels.text(), &value, &mut lines);
        }
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            out.extend_from_slice(&line[..line.len() - 1]);
            number::whole(steps.seconds(step), out);
            out.push(b'\n');
        }
        if out.len() >= PIECE {
            to.write_all(out)?;
            out.clear();
        }
    }
    Ok(())
}

/// The lines of a value, each with a space where its time follows, and its end.
fn print(name: &str, labels: &str, value: &Value, lines: &mut Vec<u8>) {
    lines.clear();
    match value {
        Value::Number(value) => {
            lines.extend_from_slice(name.as_bytes());
            text::braced(labels, lines);
            number::value(*value, lines);
            lines.extend_from_slice(b" \n");
        }
        Value::Histogram(histogram) => {
            let all = [(f64::INFINITY, histogram.count)];
            for (bound, count) in histogram.buckets.iter().chain(&all) {
                lines.extend_from_slice(name.as_bytes());
                lines.extend_from_slice(b"_bucket{");
                lines.extend_from_slice(labels.as_bytes());
                lines.extend_from_slice(if labels.is_empty() { b"le=\"" } else { b",le=\"" });
                number::bound(*bound, lines);
                lines.extend_from_slice(b"\"} ");
                number::count(*count, lines);
                lines.extend_from_slice(b" \n");
            }
            for (suffix, value) in [("_count", histogram.count as f64), ("_sum", histogram.sum)] {
                lines.extend_from_slice(name.as_bytes());
                lines.extend_from_slice(suffix.as_bytes());
                text::braced(labels, lines);
                number::value(value, lines);
                lines.extend_from_slice(b" \n");
            }
        }
    }
}

#[cfg(test)]
mod tests;
