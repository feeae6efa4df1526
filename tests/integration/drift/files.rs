//! The files that people look at, read: rules, rule tests, dashboards, runbooks.
//!
//! They are read as they are shipped. Nothing here says what is right.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

/// A recording rule.
#[derive(Debug, Clone)]
pub struct Recording {
    pub file: String,
    pub record: String,
    pub expr: String,
}

/// An alert.
#[derive(Debug, Clone)]
pub struct Alert {
    /// The stem of its file.
    pub file: String,
    pub name: String,
    pub expr: String,
    /// As written, such as `5m`.
    pub waits: String,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
}

/// Something in a dashboard that asks Prometheus.
#[derive(Debug, Clone)]
pub struct Query {
    /// The stem of its file.
    pub file: String,
    /// The panel's title, or the variable's name.
    pub panel: String,
    pub expr: String,
    pub legend: String,
    /// Whether a healthy system has no data.
    pub may_be_empty: bool,
}

/// A dashboard as Grafana gets it.
#[derive(Debug, Clone)]
pub struct Board {
    /// The stem of its file.
    pub file: String,
    pub uid: String,
    pub json: Value,
}

/// A runbook.
#[derive(Debug, Clone)]
pub struct Runbook {
    /// The stem of its file.
    pub file: String,
    /// The headings of its sections on alerts.
    pub alerts: Vec<String>,
}

/// The root of the repository.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A file's text.
pub fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The stems of the files of a folder that end so, in order.
pub fn stems(folder: &str, ending: &str) -> Vec<String> {
    let entries = std::fs::read_dir(root().join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut stems: Vec<String> = names.filter_map(|name| Some(name.strip_suffix(ending)?.to_owned())).collect();
    stems.sort();
    stems
}

/// A YAML file as a tree.
pub fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&text(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The stems of files with rules.
pub fn rule_files() -> Vec<String> {
    stems("alerts", ".yml").into_iter().filter(|stem| stem != "alertmanager").collect()
}

/// The stems of the files that test the rules of a file: one of its name, and others that begin with it.
pub fn rule_test_files(stem: &str) -> Vec<String> {
    let longer = format!("{stem}_");
    stems("alerts/tests", ".yml").into_iter().filter(|of| of == stem || of.starts_with(&longer)).collect()
}

/// The files that test the rules of a file.
pub fn rule_tests(stem: &str) -> Vec<Value> {
    let read = |file: String| {
        let tests = yaml(&format!("alerts/tests/{file}.yml"));
        assert!(items(&tests["rule_files"]).any(|name| name == &format!("../{stem}.yml")), "alerts/tests/{file}.yml");
        tests
    };
    rule_test_files(stem).into_iter().map(read).collect()
}

/// Every rule that is shipped.
pub fn rules() -> (Vec<Recording>, Vec<Alert>) {
    let (mut recordings, mut alerts) = (Vec::new(), Vec::new());
    for file in rule_files() {
        for rule in groups(&yaml(&format!("alerts/{file}.yml"))).flat_map(|group| items(&group["rules"])) {
            let word = |key: &str| rule[key].as_str().unwrap_or_default().to_owned();
            let expr = word("expr");
            match rule["record"].as_str() {
                Some(record) => recordings.push(Recording { file: file.clone(), record: record.to_owned(), expr }),
                None => alerts.push(Alert {
                    file: file.clone(),
                    name: word("alert"),
                    expr,
                    waits: word("for"),
                    labels: words(&rule["labels"]),
                    annotations: words(&rule["annotations"]),
                }),
            }
        }
    }
    (recordings, alerts)
}

/// The groups of a rule file.
pub fn groups(file: &Value) -> impl Iterator<Item = &Value> {
    items(&file["groups"])
}

/// Every dashboard that is shipped.
pub fn boards() -> Vec<Board> {
    let read = |file: String| {
        let json: Value = serde_json::from_str(&text(&format!("dashboards/{file}.json"))).expect("it is JSON");
        Board { uid: json["uid"].as_str().unwrap_or_default().to_owned(), json, file }
    };
    stems("dashboards", ".json").into_iter().map(read).collect()
}

/// What a dashboard asks: its panels, those in folded rows too, and its variables.
pub fn queries(board: &Board) -> Vec<Query> {
    let mut queries = Vec::new();
    for panel in panels(&board.json) {
        let title = panel["title"].as_str().unwrap_or_default();
        let may_be_empty = panel["description"].as_str().is_some_and(|text| text.contains("Empty until"));
        for target in items(&panel["targets"]) {
            let word = |key: &str| target[key].as_str().unwrap_or_default().to_owned();
            let (file, panel) = (board.file.clone(), title.to_owned());
            queries.push(Query { file, panel, expr: word("expr"), legend: word("legendFormat"), may_be_empty });
        }
    }
    queries
}

/// What its variables list: a metric's selector and a label of it.
pub fn variables(board: &Board) -> Vec<(String, String)> {
    let listed = items(&board.json["templating"]["list"]).filter_map(|variable| {
        let query = &variable["query"];
        let text = query.as_str().or_else(|| query["query"].as_str())?;
        let (selector, label) = text.strip_prefix("label_values(")?.strip_suffix(')')?.rsplit_once(',')?;
        Some((selector.trim().to_owned(), label.trim().to_owned()))
    });
    listed.collect()
}

/// The panels that show something.
pub fn panels(board: &Value) -> Vec<&Value> {
    let all = items(&board["panels"]).flat_map(|panel| std::iter::once(panel).chain(items(&panel["panels"])));
    all.filter(|panel| panel["type"] != "row").collect()
}

/// The labels that a table has columns for.
pub fn label_columns(panel: &Value) -> impl Iterator<Item = &str> {
    let steps = items(&panel["transformations"]).filter(|step| step["id"] == "filterFieldsByName");
    let names = steps.flat_map(|step| items(&step["options"]["include"]["names"])).filter_map(Value::as_str);
    names.filter(|name| *name != "Value" && !name.starts_with("Value #"))
}

/// Every runbook.
pub fn runbooks() -> Vec<Runbook> {
    let read = |file: String| {
        let text = text(&format!("docs/apps/{file}.md"));
        let section = text.split("\n## ").find(|section| section.starts_with("Alerts\n")).unwrap_or_default();
        let alerts = section.lines().filter_map(|line| Some(line.strip_prefix("### ")?.trim().to_owned())).collect();
        Runbook { file, alerts }
    };
    stems("docs/apps", ".md").into_iter().map(read).collect()
}

/// The metrics that a dashboard's file says are not shown, and why.
pub fn not_shown(stem: &str) -> BTreeMap<String, String> {
    words(&yaml(&format!("dashboards/{stem}.yaml"))["not_shown"])
}

/// The items of a list; none where there is no list.
pub fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn words(map: &Value) -> BTreeMap<String, String> {
    let pairs = map.as_object().into_iter().flatten();
    pairs.map(|(key, value)| (key.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned))).collect()
}
