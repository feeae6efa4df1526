//! OpenMetrics 1.0: the text format with stricter rules, start times and exemplars.
//!
//! One rule is bent: a histogram of values below zero keeps its `_sum` and `_count`. The standard wants them left out,
//! Prometheus reads them, and averages need them.
//!
//! The caller ends the last family with [`super::Format::end`].

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::Arc;

use super::{number, text};
use crate::family::{Exemplar, Family, Kind, Micros, Value};

/// Whether `_created` lines are printed. Prometheus stores them as series of their own unless it is told to read them as
/// start times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// One line a counter or histogram that knows its start.
    Printed,
    /// None.
    LeftOut,
}

/// Appends families. OpenMetrics knows a counter `x_total` and an info `x_info` as `x`, so neither can stand beside a
/// gauge `x`, which the other formats allow; and it knows no counter or info without that ending, as servers' own totals
/// have them (`pg_stat_database_deadlocks`). Then the counter or info keeps its full name and is of the kind `unknown`: no series
/// is lost or renamed, only its kind, start and exemplars.
pub fn encode_all(families: &[Arc<Family>], created: Created, out: &mut Vec<u8>) {
    let mut stems: HashMap<&str, u32> = HashMap::with_capacity(families.len());
    for family in families {
        *stems.entry(family.stem()).or_default() += 1;
    }
    for family in families {
        let ends_otherwise = matches!(family.kind, Kind::Counter | Kind::Info) && family.stem() == &*family.name;
        let clashes = family.stem() != &*family.name && stems[family.stem()] > 1;
        encode(family, clashes || ends_otherwise, created, out);
    }
}

fn encode(family: &Family, as_unknown: bool, created: Created, out: &mut Vec<u8>) {
    let (kind, suffix) = match family.kind {
        _ if as_unknown => ("unknown", ""),
        Kind::Counter => ("counter", "_total"),
        Kind::Info => ("info", "_info"),
        Kind::Gauge => ("gauge", ""),
        Kind::Histogram => ("histogram", ""),
    };
    let created = if as_unknown { Created::LeftOut } else { created };
    let name = if as_unknown { family.name.as_bytes() } else { family.stem().as_bytes() };
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
                // The standard allows exemplars on `_total` and `_bucket` alone.
                if let (Some(exemplar), Kind::Counter, false) = (&series.exemplar, family.kind, as_unknown) {
                    recent(exemplar, out);
                }
                out.push(b'\n');
            }
            Value::Histogram(histogram) => {
                let after = |bucket, out: &mut Vec<u8>| {
                    if let Some(Some(exemplar)) = histogram.exemplars.get(bucket) {
                        recent(exemplar, out);
                    }
                };
                text::buckets(name, labels, histogram, number::bound, after, out);
            }
        }
        if let (Created::Printed, Kind::Counter | Kind::Histogram, Some(start)) = (created, family.kind, series.start) {
            began(name, labels, start, out);
        }
    }
}

/// Names and values of the labels are 63 characters; the standard allows 128.
#[cold]
fn recent(exemplar: &Exemplar, out: &mut Vec<u8>) {
    let write = "a vector grows";
    write!(out, " # {{trace_id=\"{}\",span_id=\"{}\"}} ", exemplar.span.trace, exemplar.span.span).expect(write);
    number::value(exemplar.value, out);
    out.push(b' ');
    number::seconds(exemplar.time, out);
}

fn began(name: &[u8], labels: &str, start: Micros, out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(b"_created");
    text::braced(labels, out);
    number::seconds(start, out);
    out.push(b'\n');
}

pub(super) fn help(help: &str, out: &mut Vec<u8>) {
    for byte in help.bytes() {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'"' => out.extend_from_slice(b"\\\""),
            b'\n' => out.extend_from_slice(b"\\n"),
            byte => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::{Labels, Series};

    #[test]
    fn a_counter_of_another_ending_keeps_name_and_value() {
        let family = |name: &str, kind| {
            let series =
                vec![Series { labels: Labels::none(), value: Value::Number(3.0), start: None, exemplar: None }];
            Arc::new(Family { name: name.into(), help: "h".into(), kind, series })
        };
        let mut out = Vec::new();
        let families = [family("pg_deadlocks", Kind::Counter), family("pg_deadlocks_total", Kind::Counter)];
        encode_all(&families, Created::Printed, &mut out);
        assert_eq!(
            String::from_utf8(out).expect("it is text"),
            "# TYPE pg_deadlocks unknown\n# HELP pg_deadlocks h\npg_deadlocks 3\n\
             # TYPE pg_deadlocks_total unknown\n# HELP pg_deadlocks_total h\npg_deadlocks_total 3\n"
        );
        assert_eq!(family("pg_version", Kind::Info).stem(), "pg_version");
    }

    #[test]
    fn a_counter_beside_a_gauge_of_its_stem_keeps_name_and_value() {
        let family = |name: &str, kind| {
            let series = vec![Series {
                labels: Labels::none(),
                value: Value::Number(3.0),
                start: Some(1_000_000),
                exemplar: None,
            }];
            Arc::new(Family { name: name.into(), help: "h".into(), kind, series })
        };
        let mut out = Vec::new();
        let families = [family("a", Kind::Gauge), family("a_total", Kind::Counter), family("b_total", Kind::Counter)];
        encode_all(&families, Created::Printed, &mut out);
        assert_eq!(
            String::from_utf8(out).expect("it is text"),
            "# TYPE a gauge\n# HELP a h\na 3\n# TYPE a_total unknown\n# HELP a_total h\na_total 3\n\
             # TYPE b counter\n# HELP b h\nb_total 3\nb_created 1\n"
        );
    }
}
