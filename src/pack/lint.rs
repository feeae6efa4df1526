//! What a pack must keep to beyond its shape: names, kinds, columns and parameters that fit together.
//!
//! Lint tells everything at once, each with file, line, collector, metric and a mend. It connects nowhere; what only a
//! database can tell is told by `rowmetry check`.

mod logs;
mod metric;
mod span;
mod upstream;

use std::collections::{BTreeMap, BTreeSet};

use super::{Collector, Metric, Pack, Rows, Sql, System, sql};
use crate::family::Kind;
use crate::yaml::{Complaint, Node, did_you_mean};

/// Everything that is wrong with a pack. `tree` is the file that it was read from, for the lines.
pub fn lint(file: &str, tree: &Node, pack: &Pack) -> Vec<Complaint> {
    let mut lint = Lint { file, tree, complaints: Vec::new() };
    lint.head(pack);
    lint.parameters(pack);
    lint.lookups(pack);
    let mut names = BTreeSet::new();
    for (index, collector) in pack.collectors.iter().enumerate() {
        let at = At { path: vec!["collectors".into(), index.to_string()], place: place(&collector.name) };
        if !is_name(&collector.name) {
            lint.complain(&at.key("name"), "a collector's name has a-z, 0-9, _ and - only");
        }
        if !names.insert(&collector.name) {
            lint.complain(&at.key("name"), "this name stands twice in the pack; every collector needs its own");
        }
        lint.collector(pack, collector, &at);
    }
    lint.same_families(pack);
    span::together(&mut lint, pack);
    lint.complaints
}

/// Columns that the metrics of a collector use, each once, in the order of their first use.
pub fn metric_columns(collector: &Collector) -> Vec<&str> {
    let mut columns: Vec<&str> = Vec::new();
    for metric in &collector.metrics {
        for column in metric.labels.iter().map(super::Label::column).chain(metric.value.as_deref()) {
            if !columns.contains(&column) {
                columns.push(column);
            }
        }
    }
    columns
}

/// Columns that the metrics and spans of a collector use, each once, in the order of their first use.
pub fn used_columns(collector: &Collector) -> Vec<&str> {
    let of_spans = collector.spans.iter().flat_map(super::Span::columns);
    let mut columns = metric_columns(collector);
    for column in of_spans {
        if !columns.contains(&column) {
            columns.push(column);
        }
    }
    columns
}

/// Where in the file, and in words.
#[derive(Clone)]
struct At {
    path: Vec<String>,
    place: String,
}

impl At {
    fn key(&self, key: &str) -> At {
        let mut at = self.clone();
        at.path.push(key.into());
        at
    }
}

struct Lint<'a> {
    file: &'a str,
    tree: &'a Node,
    complaints: Vec<Complaint>,
}

impl Lint<'_> {
    fn complain(&mut self, at: &At, message: impl Into<String>) {
        let path: Vec<&str> = at.path.iter().map(String::as_str).collect();
        self.complaints.push(Complaint {
            file: self.file.into(),
            line: self.tree.line_of(&path),
            place: at.place.clone(),
            message: message.into(),
        });
    }

    fn head(&mut self, pack: &Pack) {
        let at = |key: &str| At { path: vec![key.into()], place: String::new() };
        if !is_name(&pack.app) {
            self.complain(&at("app"), "a pack's name has a-z, 0-9, _ and - only");
        }
        if pack.title.trim().is_empty() {
            self.complain(&at("title"), "the title is empty; write the application's name for people");
        }
        if pack.common.is_some() && !pack.detect.is_empty() {
            self.complain(
                &at("detect"),
                "a common pack applies to every source of its kind; remove `detect` or `common`",
            );
        }
        if pack.collectors.is_empty() {
            self.complain(&at("collectors"), "the pack has no collector, so it reads nothing");
        }
    }

    fn parameters(&mut self, pack: &Pack) {
        let used: BTreeSet<&str> = texts(pack).flat_map(|text| sql::parameters(text)).collect();
        for (name, parameter) in &pack.parameters {
            let at = At { path: vec!["parameters".into(), name.clone()], place: format!("parameter {name}") };
            if !is_column(name) || sql::time_before(name).is_some() {
                self.complain(&at, "a parameter's name has a-z, 0-9 and _, and is neither `now` nor `ago_…`");
            }
            if !parameter.value.is_finite() {
                self.complain(&at.key("value"), "the default must be a finite number");
            }
            if let Some(gauge) = &parameter.gauge {
                metric::name(self, pack, gauge, Kind::Gauge, &at.key("gauge"));
            } else if !used.contains(name.as_str()) {
                self.complain(&at, "no SQL uses it and no `gauge` shows it; use it, show it or remove it");
            }
        }
    }

    fn lookups(&mut self, pack: &Pack) {
        for (name, lookup) in &pack.lookups {
            let at = At { path: vec!["lookups".into(), name.clone()], place: format!("look-up {name}") };
            if !is_column(name) {
                self.complain(&at, "a look-up's name has a-z, 0-9 and _");
            }
            if pack.collectors.iter().any(|collector| collector.name == *name) {
                self.complain(&at, "a collector has this name too; give it another");
            }
            self.snapshot(pack, &lookup.sql, &at.key("sql"));
            let families =
                pack.collectors.iter().filter_map(|collector| collector.keys.as_ref()).flat_map(|keys| &keys.families);
            if !families.flat_map(|family| family.lookup.values()).any(|used| used == name) {
                self.complain(&at, "no `keys` collector uses it; use it or remove it");
            }
        }
    }

    fn collector(&mut self, pack: &Pack, collector: &Collector, at: &At) {
        if collector.interval.is_some_and(|interval| interval.is_zero()) {
            self.complain(&at.key("interval"), "the interval is zero; write a length of time such as `5m`");
        }
        if collector.metrics.is_empty() && collector.spans.is_empty() {
            self.complain(&at.key("metrics"), "the collector makes no metric and no span, so it need not read");
        }
        let kinds = [
            ("rows", collector.rows.is_some()),
            ("snapshot", collector.snapshot.is_some()),
            ("keys", collector.keys.is_some()),
            ("info", collector.info.is_some()),
            ("show", collector.show.is_some()),
            ("probe", collector.probe.is_some()),
            ("logs", collector.logs.is_some()),
        ];
        let given: Vec<&str> = kinds.into_iter().filter(|(_, given)| *given).map(|(kind, _)| kind).collect();
        if given.len() != 1 {
            let mend = match given.as_slice() {
                [] => {
                    "it has none of `rows`, `snapshot`, `keys`, `info`, `show`, `probe` and `logs`; say what it reads"
                        .to_owned()
                }
                several => format!("it has `{}`; make a collector of each", several.join("` and `")),
            };
            self.complain(at, mend);
            return;
        }
        let available = if let Some(rows) = &collector.rows {
            self.rows(pack, rows, &at.key("rows"));
            Some(rows.columns.keys().map(String::as_str).collect::<Vec<_>>())
        } else if let Some(snapshot) = &collector.snapshot {
            self.snapshot(pack, &snapshot.sql, &at.key("snapshot").key("sql"));
            None
        } else if let Some(of_lines) = &collector.logs {
            Some(logs::columns(self, collector, of_lines, at))
        } else {
            upstream::columns(self, pack, collector, at)
        };
        if let Some(kind) = pack.common.filter(|kind| !kind.is_read_by(collector.reads())) {
            self.complain(
                at,
                format!("the pack is common to {} sources, which cannot be read by `{}`", kind.as_str(), given[0]),
            );
        }
        if let Some(up) = &collector.up {
            let at = at.key("up").key("gauge");
            metric::name(self, pack, &up.gauge, Kind::Gauge, &at);
        }
        for (index, metric) in collector.metrics.iter().enumerate() {
            let at = At {
                path: at.key("metrics").key(&index.to_string()).path,
                place: format!("{}: metric {}", at.place, if metric.name().is_empty() { "?" } else { metric.name() }),
            };
            metric::metric(self, pack, collector, metric, &at);
            if let Some(available) = &available {
                self.columns_exist(metric, available, collector.rows.is_some(), &at);
            }
        }
        span::spans(self, collector, available.as_deref().unwrap_or_default(), at);
        let used = used_columns(collector);
        let own = available.into_iter().flatten().filter(|_| collector.rows.is_some());
        for unused in own.filter(|column| !used.contains(column)) {
            let at = at.key("rows").key("columns").key(unused);
            self.complain(&at, format!("column `{unused}` is read and neither a metric nor a span uses it; remove it"));
        }
    }

    fn rows(&mut self, pack: &Pack, rows: &Rows, at: &At) {
        if rows.table.trim().is_empty() {
            self.complain(&at.key("table"), "the table's name is empty");
        }
        if rows.key.as_slice().is_empty() || rows.key.as_slice().iter().any(|key| key.trim().is_empty()) {
            self.complain(&at.key("key"), "name the column or columns that identify a row for ever");
        }
        if rows.time.trim().is_empty() {
            self.complain(&at.key("time"), "name the column that tells when the row happened");
        }
        let zone_is_plain =
            |zone: &str| !zone.is_empty() && zone.chars().all(|c| c.is_ascii_alphanumeric() || "_+-/".contains(c));
        if rows.time_zone.as_deref().is_some_and(|zone| !zone_is_plain(zone)) {
            self.complain(&at.key("time_zone"), "expected the name of a time zone such as `Europe/Ljubljana`");
        }
        for (name, expression) in &rows.columns {
            let at = at.key("columns").key(name);
            if !is_column(name) {
                self.complain(&at, format!("column name `{name}`: use a-z, 0-9 and _, and begin with a letter"));
            }
            self.sql(pack, expression, true, &at);
        }
        for (key, expression) in [("filter", &rows.filter), ("transition", &rows.transition)] {
            if let Some(expression) = expression {
                self.sql(pack, expression, true, &at.key(key));
            }
        }
    }

    fn snapshot(&mut self, pack: &Pack, sql: &Sql, at: &At) {
        self.sql(pack, sql, false, at);
        for system in [System::Postgres, System::Sqlite] {
            let first = sql.on(system).trim_start().split(|c: char| !c.is_ascii_alphabetic()).next();
            let is_query = first.is_some_and(|word| ["select", "with"].contains(&word.to_ascii_lowercase().as_str()));
            if !is_query {
                self.complain(at, "it is one SELECT (or WITH … SELECT), without a comment before it");
                return;
            }
        }
    }

    /// `each_row`: the text is an expression over one row, which must mean the same whenever the row is read.
    fn sql(&mut self, pack: &Pack, text: &Sql, each_row: bool, at: &At) {
        let mut told = BTreeSet::new();
        for text in [System::Postgres, System::Sqlite].map(|system| text.on(system)) {
            if text.trim().is_empty() && told.insert("") {
                self.complain(at, "the SQL is empty");
            }
            if sql::ends_statement(text) && told.insert(";") {
                self.complain(at, "the SQL holds a semicolon; write one expression or one SELECT without it");
            }
            for name in sql::parameters(text) {
                let is_moment = sql::time_before(name).is_some();
                if is_moment && each_row && told.insert(name) {
                    self.complain(
                        at,
                        format!("`:{name}` in `rows`: a row counts once, so it must mean the same whenever it is read; use a snapshot"),
                    );
                } else if !is_moment && !pack.parameters.contains_key(name) && told.insert(name) {
                    let known = pack.parameters.keys().map(String::as_str).chain(["now", "ago_5m"]);
                    let suggestion = did_you_mean(name, known);
                    self.complain(
                        at,
                        format!("`:{name}` is neither a parameter of the pack nor `:now` or `:ago_5m` (s, m, h, d){suggestion}"),
                    );
                }
            }
        }
    }

    fn columns_exist(&mut self, metric: &Metric, available: &[&str], metric_of_rows: bool, at: &At) {
        let labels = metric.labels.iter().map(|label| ("labels", label.column()));
        for (key, column) in labels.chain(metric.value.as_deref().map(|column| ("value", column))) {
            if !available.contains(&column) {
                let suggestion = did_you_mean(column, available.iter().copied());
                let place = if metric_of_rows { "in `columns`" } else { "among those that this collector has" };
                self.complain(&at.key(key), format!("column `{column}` is not {place}{suggestion}"));
            }
        }
    }

    /// A name that occurs twice is one family, so all that describes the family must agree.
    fn same_families(&mut self, pack: &Pack) {
        let mut first: BTreeMap<&str, (&Metric, &str)> = BTreeMap::new();
        for (index, collector) in pack.collectors.iter().enumerate() {
            for (number, metric) in collector.metrics.iter().enumerate().filter(|(_, metric)| !metric.name().is_empty())
            {
                let Some((other, owner)) = first.get(metric.name()) else {
                    first.insert(metric.name(), (metric, &collector.name));
                    continue;
                };
                let labels =
                    |metric: &Metric| metric.labels.iter().map(|l| l.name().to_owned()).collect::<BTreeSet<_>>();
                let differs = [
                    ("kind", metric.kind() != other.kind()),
                    ("help", metric.help != other.help),
                    ("labels", labels(metric) != labels(other)),
                    ("buckets", metric.buckets != other.buckets),
                ];
                let at = At {
                    path: ["collectors", &index.to_string(), "metrics", &number.to_string()].map(String::from).to_vec(),
                    place: format!("{}: metric {}", place(&collector.name), metric.name()),
                };
                let differs: Vec<&str> =
                    differs.iter().filter(|(_, differs)| *differs).map(|(what, _)| *what).collect();
                if !differs.is_empty() {
                    let message = format!(
                        "collector {owner} makes it too, with other {}; make them the same or give it another name",
                        differs.join(" and ")
                    );
                    self.complain(&at, message);
                } else if (metric.is_counted() || collector.logs.is_some()) && **owner == collector.name {
                    // What was counted is found again by collector and name.
                    self.complain(&at, "the collector makes it already; make another collector for this one");
                }
            }
        }
    }
}

/// All SQL of a pack.
fn texts(pack: &Pack) -> impl Iterator<Item = &str> {
    let sqls = pack.collectors.iter().flat_map(|collector| {
        let rows =
            collector.rows.iter().flat_map(|rows| rows.columns.values().chain(&rows.filter).chain(&rows.transition));
        rows.chain(collector.snapshot.iter().map(|snapshot| &snapshot.sql))
    });
    let sqls = sqls.chain(pack.lookups.values().map(|lookup| &lookup.sql));
    sqls.flat_map(|sql| [sql.on(System::Postgres), sql.on(System::Sqlite)])
}

fn place(collector: &str) -> String {
    format!("collector {collector}")
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte))
}

fn is_column(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

#[cfg(test)]
mod tests;
