//! What a single metric must keep to: its name, its kind, its labels, its buckets.
//!
//! The rules are Prometheus's own naming rules and those that keep a scrape valid. Nothing here looks at a database.

use std::collections::BTreeSet;

use super::{At, Lint};
use crate::family::Kind;
use crate::pack::{Collector, LABELS_PER_METRIC, Metric, Pack, Scale};
use crate::yaml::did_you_mean;

/// Prefixes whose names belong to Rowmetry or to Prometheus.
const RESERVED_PREFIXES: [&str; 3] = ["rowmetry_", "process_", "scrape_"];

/// Prefixes of the exporters that dashboards know such names from: for packs that are common to a kind of server.
const COMMON_PREFIXES: [&str; 4] = ["pg_", "redis_", "pgbouncer_", "rowmetry_pg_"];

/// Endings that Prometheus gives to parts of a histogram or summary.
const RESERVED_SUFFIXES: [&str; 4] = ["_bucket", "_sum", "_count", "_created"];

/// Kinds of collector whose counters and histograms are counted here.
const COUNTED: [&str; 3] = ["rows", "logs", "probe"];

/// Labels that Prometheus or a histogram sets itself.
const RESERVED_LABELS: [&str; 4] = ["le", "quantile", "job", "instance"];

pub(super) fn metric(lint: &mut Lint<'_>, pack: &Pack, collector: &Collector, metric: &Metric, at: &At) {
    let kinds = [
        ("counter", &metric.counter),
        ("histogram", &metric.histogram),
        ("gauge", &metric.gauge),
        ("info", &metric.info),
    ];
    let given: Vec<(&str, &str)> = kinds.iter().filter_map(|(kind, name)| Some((*kind, name.as_deref()?))).collect();
    let [(kind_word, metric_name)] = given.as_slice() else {
        let found = if given.is_empty() { "none" } else { "several" };
        lint.complain(
            at,
            format!("exactly one of counter, histogram, gauge and info names a metric; here are {found}"),
        );
        return;
    };
    let kind = metric.kind();
    name_of(lint, pack, metric_name, kind, metric.server_total, &at.key(kind_word));
    belongs(lint, collector, metric, kind, kind_word, at);
    help(lint, metric, at);
    value(lint, metric, kind, at);
    named_scale(lint, pack, collector, metric, at);
    labels(lint, metric, at);
    buckets(lint, metric, kind, at);
    if metric.series_limit == Some(0) {
        lint.complain(&at.key("series_limit"), "at least one series must be allowed");
    }
    if metric.merge.is_some() && kind != Kind::Gauge {
        lint.complain(&at.key("merge"), "only gauges are merged");
    }
    if let Some(state_label) = &metric.state_label {
        let label = metric.labels.iter().find(|label| label.name() == state_label);
        if kind != Kind::Gauge {
            lint.complain(&at.key("state_label"), "only a gauge can be a state set");
        } else if label.is_none_or(|label| label.values().is_empty()) {
            lint.complain(
                &at.key("state_label"),
                format!("label `{state_label}` must be among `labels`, with its `values`"),
            );
        }
    }
}

/// A factor that the operator says, by the name of a parameter.
fn named_scale(lint: &mut Lint<'_>, pack: &Pack, collector: &Collector, metric: &Metric, at: &At) {
    let Some(Scale::Parameter(name)) = &metric.scale else { return };
    if collector.logs.is_none() {
        lint.complain(&at.key("scale"), "expected a factor, such as 0.001; only `logs` may name a parameter");
    } else if !pack.parameters.contains_key(name) {
        let suggestion = did_you_mean(name, pack.parameters.keys().map(String::as_str));
        lint.complain(&at.key("scale"), format!("the pack has no parameter `{name}`{suggestion}"));
    }
}

/// Counters count what is new; gauges and infos show how things stand.
fn belongs(lint: &mut Lint<'_>, collector: &Collector, metric: &Metric, kind: Kind, kind_word: &str, at: &At) {
    let counts = matches!(kind, Kind::Counter | Kind::Histogram);
    let reads = collector.kind();
    if metric.server_total {
        let at = at.key("server_total");
        if kind != Kind::Counter || COUNTED.contains(&reads) {
            lint.complain(
                &at,
                "only a counter that the server itself keeps, outside of `rows`, `logs` and `probe`, is a server's total",
            );
        } else if metric.value.is_none() {
            lint.complain(&at, "say in `value` which column holds the total");
        }
    } else if counts && !COUNTED.contains(&reads) {
        lint.complain(
            at,
            format!(
                "a {kind_word} counts new rows, lines or probes, and this collector has `{reads}`; make it a gauge, or, where the server \
                 itself keeps the total, say `server_total: true`"
            ),
        );
    } else if !counts && reads == "rows" {
        lint.complain(
            at,
            format!("a {kind_word} shows how things stand, and `rows` tells what is new; make it a counter"),
        );
    }
    if reads == "logs" {
        of_lines(lint, metric, kind, at);
    }
    if matches!(&metric.scale, Some(Scale::Number(scale)) if !scale.is_finite() || *scale == 0.0) {
        lint.complain(&at.key("scale"), "expected a factor other than 0, such as 0.001");
    } else if metric.scale.is_some() && metric.value.is_none() {
        lint.complain(&at.key("scale"), "there is no `value` to multiply");
    } else if metric.scale.is_some() && reads == "rows" {
        lint.complain(&at.key("scale"), "multiply in the column's SQL");
    }
}

/// Lines tell one thing after the other: there is no read whose rows are put together.
fn of_lines(lint: &mut Lint<'_>, metric: &Metric, kind: Kind, at: &At) {
    if kind == Kind::Info {
        lint.complain(
            &at.key("info"),
            "an info metric shows how things stand, and lines tell what is new; make it a counter",
        );
    }
    if metric.state_label.is_some() {
        lint.complain(&at.key("state_label"), "lines make no state set; make a gauge of a `value`");
    }
    if metric.merge.is_some() && kind == Kind::Gauge {
        lint.complain(&at.key("merge"), "a gauge of lines shows what the youngest line told; remove `merge`");
    }
}

pub(super) fn name(lint: &mut Lint<'_>, pack: &Pack, name: &str, kind: Kind, at: &At) {
    name_of(lint, pack, name, kind, false, at);
}

fn name_of(lint: &mut Lint<'_>, pack: &Pack, name: &str, kind: Kind, server_total: bool, at: &At) {
    let starts_well = name.starts_with(|c: char| c.is_ascii_lowercase());
    if !starts_well || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
        lint.complain(at, "a metric's name has a-z, 0-9 and _ and begins with a letter");
        return;
    }
    let is_known_elsewhere = COMMON_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    let is_reserved = match pack.common {
        Some(_) => !is_known_elsewhere && RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix)),
        None => is_known_elsewhere || RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix)),
    };
    if name == "up" || is_reserved {
        lint.complain(at, format!("`{name}` is reserved; begin with the application's name"));
    }
    if pack.common.is_some() && is_known_elsewhere {
        // Those names are not ours to choose: `pg_stat_activity_count` is a gauge, `pg_stat_database_xact_commit` a counter.
        if kind == Kind::Counter && !server_total && !name.ends_with("_total") {
            lint.complain(at, format!("a counter's name ends in `_total`: `{name}_total`"));
        }
        return;
    }
    if let Some(suffix) = RESERVED_SUFFIXES.iter().find(|suffix| name.ends_with(**suffix)) {
        lint.complain(at, format!("the ending `{suffix}` is that of a histogram's parts; choose another"));
    }
    match kind {
        Kind::Counter if !name.ends_with("_total") => {
            lint.complain(at, format!("a counter's name ends in `_total`: `{name}_total`"));
        }
        Kind::Info if !name.ends_with("_info") => {
            lint.complain(at, format!("an info metric's name ends in `_info`: `{name}_info`"));
        }
        Kind::Gauge | Kind::Histogram | Kind::Info if name.ends_with("_total") => {
            lint.complain(at, "the ending `_total` is for counters only");
        }
        Kind::Gauge | Kind::Histogram if name.ends_with("_info") => {
            lint.complain(at, "the ending `_info` is for info metrics only");
        }
        _ => {}
    }
}

fn help(lint: &mut Lint<'_>, metric: &Metric, at: &At) {
    if metric.help.trim().is_empty() {
        lint.complain(&at.key("help"), "the help is empty; say what it counts, from which table");
    } else if metric.help.trim().contains('\n') {
        lint.complain(&at.key("help"), "the help has several lines; write one");
    }
}

fn value(lint: &mut Lint<'_>, metric: &Metric, kind: Kind, at: &At) {
    match (kind, &metric.value) {
        (Kind::Histogram, None) => lint.complain(at, "a histogram needs `value`, the column that it observes"),
        (Kind::Gauge, None) if metric.state_label.is_none() => {
            lint.complain(at, "a gauge needs `value`, the column that it shows");
        }
        (Kind::Info, Some(_)) => lint.complain(&at.key("value"), "an info metric is always 1; remove `value`"),
        _ => {}
    }
}

fn labels(lint: &mut Lint<'_>, metric: &Metric, at: &At) {
    if metric.labels.len() > LABELS_PER_METRIC {
        lint.complain(
            &at.key("labels"),
            format!("{} labels are more than the {LABELS_PER_METRIC} that one metric may have", metric.labels.len()),
        );
    }
    let mut seen = BTreeSet::new();
    for (index, label) in metric.labels.iter().enumerate() {
        let at = at.key("labels").key(&index.to_string());
        let name = label.name();
        let starts_well = name.starts_with(|c: char| c.is_ascii_lowercase());
        if !starts_well || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
            lint.complain(&at, format!("label `{name}`: use a-z, 0-9 and _, and begin with a letter"));
        } else if RESERVED_LABELS.contains(&name) {
            lint.complain(&at, format!("label `{name}` is set by Prometheus; choose another"));
        }
        if !seen.insert(name) {
            lint.complain(&at, format!("label `{name}` stands twice"));
        }
        let values: BTreeSet<&String> = label.values().iter().collect();
        if values.len() < label.values().len() {
            lint.complain(&at, format!("label `{name}` lists a value twice"));
        }
    }
}

fn buckets(lint: &mut Lint<'_>, metric: &Metric, kind: Kind, at: &At) {
    let Some(buckets) = &metric.buckets else { return };
    let at = at.key("buckets");
    if kind != Kind::Histogram {
        lint.complain(&at, "only a histogram has buckets");
    } else if buckets.is_empty() {
        lint.complain(&at, "the list is empty; leave it out for the default buckets");
    } else if buckets.iter().any(|bound| !bound.is_finite()) || buckets.windows(2).any(|pair| pair[0] >= pair[1]) {
        lint.complain(&at, "bounds are finite and ascend, each above the one before, without +Inf");
    }
}
