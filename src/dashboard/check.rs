//! Lint of a dashboard: what fits the form and still would not work, or not be understood.
//!
//! Everything is told at once, with its line and its mend. Whether a metric exists is not asked here.

use std::collections::BTreeSet;

use super::{Column, Dashboard, Kind, Panel, Threshold};
use crate::yaml::{Complaint, Node, did_you_mean};

/// Letters that name a table's queries.
const QUERIES: usize = 26;
/// Letters of a uid that Grafana keeps.
const UID_LENGTH: usize = 40;
/// What a selector must have.
const JOB: &str = "job=~\"$job\"";
/// Variables that every dashboard has.
const OWN_VARIABLES: [&str; 3] = ["datasource", "job", super::grafana::RUNBOOKS];

/// Everything that is wrong with the dashboard, in the order of the file.
pub(super) fn check(file: &str, tree: &Node, dashboard: &Dashboard) -> Vec<Complaint> {
    let mut check = Check { file, tree, complaints: Vec::new() };
    check.head(dashboard);
    check.variables(dashboard);
    let mut rows = BTreeSet::new();
    for (index, row) in dashboard.rows.iter().enumerate() {
        let at = index.to_string();
        let path = ["rows", at.as_str()];
        if row.panels.is_empty() {
            check.complain(&path, "panels", "this row has no panels; add one or take the row out");
        }
        if !rows.insert(&row.title) {
            check.complain(&path, "title", "another row has this title; give them different ones");
        }
        let mut titles = BTreeSet::new();
        for (index, panel) in row.panels.iter().enumerate() {
            let panel_at = index.to_string();
            let path = ["rows", at.as_str(), "panels", panel_at.as_str()];
            if !titles.insert(&panel.title) {
                check.complain(&path, "title", "another panel of this row has this title; give them different ones");
            }
            check.panel(&path, panel, dashboard);
        }
    }
    check.complaints.sort_by_key(|complaint| complaint.line);
    check.complaints
}

struct Check<'a> {
    file: &'a str,
    tree: &'a Node,
    complaints: Vec<Complaint>,
}

impl Check<'_> {
    fn complain(&mut self, path: &[&str], field: &str, message: impl Into<String>) {
        let full: Vec<&str> = path.iter().copied().chain(field.split('.')).collect();
        let mut place = String::new();
        for step in path.iter().chain(&[field]) {
            if step.parse::<usize>().is_ok() {
                place.push_str(&format!("[{step}]"));
            } else {
                place.push_str(if place.is_empty() { "" } else { "." });
                place.push_str(step);
            }
        }
        let line = self.tree.line_of(&full);
        self.complaints.push(Complaint { file: self.file.into(), line, place, message: message.into() });
    }

    fn head(&mut self, dashboard: &Dashboard) {
        let uid = &dashboard.uid;
        if uid.is_empty()
            || uid.len() > UID_LENGTH
            || !uid.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
        {
            let message =
                format!("Grafana takes 1 to {UID_LENGTH} letters, digits, `-` and `_`, such as `rowmetry-shop`");
            self.complain(&[], "uid", message);
        }
        if dashboard.app.is_some() && dashboard.pack.is_some() {
            self.complain(
                &[],
                "pack",
                "a dashboard is of an application (`app`) or of a kind of server (`pack`); keep one",
            );
        }
        for (field, name) in [("app", &dashboard.app), ("pack", &dashboard.pack)] {
            if name.as_deref().is_some_and(|name| !is_name(name)) {
                self.complain(&[], field, "expected a name of small letters, digits and `_`, as the pack has it");
            }
        }
        if dashboard.metrics.as_deref().is_some_and(|names| regex::Regex::new(names).is_err() || names.contains('"')) {
            self.complain(&[], "metrics", "expected a regular expression of metrics' names, such as `shop_health_.+`");
        }
        if dashboard.rows.is_empty() {
            self.complain(&[], "rows", "a dashboard needs a row with a panel");
        }
        for (metric, why) in &dashboard.not_shown {
            if why.trim().is_empty() {
                self.complain(&["not_shown"], metric, "say why it is not shown, or show it");
            }
        }
    }

    fn variables(&mut self, dashboard: &Dashboard) {
        let mut names: BTreeSet<&str> = OWN_VARIABLES.into_iter().collect();
        for (index, variable) in dashboard.variables.iter().enumerate() {
            let at = index.to_string();
            let path = ["variables", at.as_str()];
            let name = variable.name.as_str();
            if !is_name(name) {
                self.complain(&path, "name", "expected small letters, digits and `_`");
            } else if !names.insert(name) {
                self.complain(&path, "name", format!("there is a variable `{name}` already; choose another name"));
            }
            let mut expressions = dashboard.rows.iter().flat_map(|row| &row.panels).flat_map(|panel| &panel.queries);
            if !expressions.any(|query| used(&query.expr).any(|used| used == name)) {
                let message =
                    format!("no query uses it; write {}=~\"${name}\" where it applies, or take it out", variable.label);
                self.complain(&path, "name", message);
            }
        }
    }

    fn panel(&mut self, path: &[&str], panel: &Panel, dashboard: &Dashboard) {
        for (field, text) in [("title", &panel.title), ("description", &panel.description)] {
            if text.trim().is_empty() {
                self.complain(path, field, "must not be empty: a person reads it");
            }
        }
        let name = panel.kind.name();
        match (panel.kind.has_queries(), panel.queries.len()) {
            (true, 0) => self.complain(path, "queries", format!("a {name} needs a query")),
            (false, 1..) => self.complain(path, "queries", format!("a {name} asks nothing; take the queries out")),
            (_, 2..) if panel.kind == Kind::Heatmap => {
                self.complain(path, "queries", "a heatmap shows one histogram; make a panel of each query");
            }
            (_, count) if count > QUERIES => {
                self.complain(path, "queries", format!("a panel has at most {QUERIES} queries"));
            }
            _ => {}
        }
        for (field, is_set, kinds) in [
            ("stack", panel.stack, &[Kind::Timeseries][..]),
            ("draw", panel.draw.is_some(), &[Kind::Timeseries]),
            ("log", panel.log, &[Kind::Timeseries, Kind::Barchart]),
            ("fill", panel.fill.is_some(), &[Kind::Timeseries, Kind::Barchart, Kind::StateTimeline]),
            (
                "legend",
                panel.legend.is_some(),
                &[Kind::Timeseries, Kind::StateTimeline, Kind::Piechart, Kind::Heatmap, Kind::Barchart, Kind::Bargauge],
            ),
            ("columns", !panel.columns.is_empty(), &[Kind::Table]),
            ("sort", panel.sort.is_some(), &[Kind::Table]),
            ("content", panel.content.is_some(), &[Kind::Text]),
        ] {
            if is_set && !kinds.contains(&panel.kind) {
                let for_kinds: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
                self.complain(path, field, format!("a {name} has none; it is for {}", for_kinds.join(", ")));
            }
        }
        self.queries(path, panel, dashboard);
        self.thresholds(path, &panel.thresholds);
        for pattern in panel.colors.keys() {
            if regex::Regex::new(pattern).is_err() {
                self.complain(path, "colors", format!("`{pattern}` is no regular expression"));
            }
        }
        if let Some(alert) = &panel.alert {
            let (page, alert) = alert.split_once('/').unwrap_or(("page", alert));
            let is_alert =
                alert.starts_with(|c: char| c.is_ascii_uppercase()) && alert.chars().all(|c| c.is_ascii_alphanumeric());
            if !is_alert || !is_name(page) {
                self.complain(
                    path,
                    "alert",
                    "expected an alert's name such as `ShopOrdersStuck`, or `<runbook>/<alert>`",
                );
            }
        }
        if panel.kind == Kind::Table {
            self.table(path, panel);
        }
    }

    fn queries(&mut self, path: &[&str], panel: &Panel, dashboard: &Dashboard) {
        let known: Vec<&str> = OWN_VARIABLES
            .into_iter()
            .chain(dashboard.variables.iter().map(|variable| variable.name.as_str()))
            .collect();
        for (index, query) in panel.queries.iter().enumerate() {
            let at = index.to_string();
            let path: Vec<&str> = path.iter().copied().chain(["queries", at.as_str()]).collect();
            if !selectors(&query.expr).all(|selector| selector.contains(JOB)) {
                self.complain(
                    &path,
                    "expr",
                    format!("a selector lacks {JOB}; without it the panel mixes environments"),
                );
            }
            for name in used(&query.expr) {
                if !name.starts_with("__") && !known.contains(&name) {
                    let mend = did_you_mean(name, known.iter().copied());
                    self.complain(&path, "expr", format!("there is no variable `{name}`{mend}"));
                }
            }
            if query.exemplars && panel.kind != Kind::Timeseries {
                self.complain(&path, "exemplars", "exemplars are shown on a timeseries only");
            }
            if query.instant == Some(true)
                && matches!(panel.kind, Kind::Timeseries | Kind::Heatmap | Kind::StateTimeline)
            {
                self.complain(&path, "instant", format!("a {} shows a range of time; take it out", panel.kind.name()));
            }
        }
    }

    fn thresholds(&mut self, path: &[&str], thresholds: &[Threshold]) {
        let Some((base, rest)) = thresholds.split_first() else { return };
        if base.from.is_some() {
            self.complain(path, "thresholds", "the first is the base and has no `from`: `{color: green}`");
        }
        let values: Vec<f64> = rest.iter().map(|threshold| threshold.from.unwrap_or(f64::NAN)).collect();
        if values.iter().any(|value| value.is_nan()) {
            self.complain(path, "thresholds", "each but the first needs `from`");
        } else if values.windows(2).any(|pair| pair[0] >= pair[1]) {
            self.complain(path, "thresholds", "must rise: sort them by `from`");
        }
    }

    fn table(&mut self, path: &[&str], panel: &Panel) {
        if panel.columns.is_empty() {
            self.complain(path, "columns", "a table needs columns: `{label: …, title: …}` or `{query: A, title: …}`");
        }
        let mut titles = BTreeSet::new();
        for (index, column) in panel.columns.iter().enumerate() {
            let at = index.to_string();
            let path: Vec<&str> = path.iter().copied().chain(["columns", at.as_str()]).collect();
            self.column(&path, column, panel);
            if !titles.insert(column.title.as_str()) {
                self.complain(&path, "title", "another column has this title; give them different ones");
            }
        }
        if let Some(sort) = &panel.sort
            && !titles.contains(sort.column.as_str())
        {
            let mend = did_you_mean(&sort.column, titles.iter().copied());
            self.complain(path, "sort.column", format!("no column has this title{mend}"));
        }
    }

    fn column(&mut self, path: &[&str], column: &Column, panel: &Panel) {
        match (&column.label, &column.query) {
            (Some(_), Some(_)) | (None, None) => {
                self.complain(
                    path,
                    "label",
                    "a column shows a label or the value of a query; write one of `label` and `query`",
                );
            }
            (None, Some(letter)) => {
                let shown = panel.queries.iter().zip('A'..='Z').find(|(_, name)| letter == &name.to_string());
                match shown {
                    None => {
                        let last = ('A'..='Z').nth(panel.queries.len().saturating_sub(1)).unwrap_or('Z');
                        self.complain(path, "query", format!("the queries are A to {last}"));
                    }
                    Some((query, _)) if query.hide => {
                        self.complain(path, "query", "this query is hidden; take `hide` out of it");
                    }
                    Some(_) => {}
                }
            }
            (Some(_), None) => {}
        }
        self.thresholds(path, &column.thresholds);
    }
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// The insides of an expression's `{…}`, without those in quotes.
fn selectors(expr: &str) -> impl Iterator<Item = &str> {
    let mut found = Vec::new();
    let (mut quote, mut start, mut escaped) = (None, None, false);
    for (at, c) in expr.char_indices() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), _) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'' | '`') => quote = Some(c),
            (None, '{') if !expr[..at].ends_with('$') => start = Some(at + 1),
            (None, '}') => found.extend(start.take().map(|start: usize| &expr[start..at])),
            _ => {}
        }
    }
    found.into_iter()
}

/// The variables that a text uses: `$name`, `${name}`, `${name:format}`.
fn used(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices('$').filter_map(|(at, _)| {
        let name = text[at + 1..].trim_start_matches('{');
        let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(name.len());
        // `$1` is a group of label_replace, and a `$` at a pattern's end is its end.
        Some(&name[..end]).filter(|name| name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_'))
    })
}
