//! Nothing drifts: every expression in dashboards and rules asks for metrics and labels that Rowmetry has, every alert has its
//! runbook, its test and its dashboard, and every metric is used by one of them or says why not.
//!
//! What can be told from the files is told here; `alarms` asks a real Prometheus the same of a running exporter.

mod catalogue;
mod expression;
mod files;

use std::collections::{BTreeMap, BTreeSet};

use catalogue::{Catalogue, OWN};
use expression::{Known, Labels};
use files::{Alert, Recording};

pub use expression::filled;
pub use files::{Query, boards, queries, root, rule_files, rules, text};

/// What alerts of each application's file bear, and every other's too but for `app`, which their expression gives.
const STATIC_LABELS: [&str; 3] = ["severity", "sev", "symptom"];
const ANNOTATIONS: [&str; 4] = ["dashboard_url", "description", "runbook_url", "summary"];
/// Files that are of every application that has such a server, so that the expression tells whose it is.
const OF_ALL: [&str; 5] = ["health", "pgbouncer", "postgres", "redis", OWN];
/// The shortest range that sees two reads of a collector (60 s by default) and what a late scrape costs.
const SHORTEST_RANGE_SECONDS: u64 = 300;
/// Beginnings of names that are metrics wherever they stand in a text.
const PREFIXES: [&str; 10] = [
    "mentor_",
    "coding_",
    "voyager_",
    "promptcademy_",
    "syncedup_",
    "rowmetry_",
    "app_health_",
    "pg_",
    "pgbouncer_",
    "redis_",
];

struct Stage {
    catalogue: Catalogue,
    /// Metrics, what rules record, and `ALERTS`.
    known: Known,
    recordings: Vec<Recording>,
    alerts: Vec<Alert>,
    /// What cannot be right about the rules.
    complaints: Vec<String>,
}

impl Stage {
    fn shipped() -> Stage {
        let (recordings, alerts) = files::rules();
        Stage::of(catalogue::read(), recordings, alerts)
    }

    fn of(catalogue: Catalogue, recordings: Vec<Recording>, alerts: Vec<Alert>) -> Stage {
        let mut stage =
            Stage { known: catalogue::known(&catalogue), catalogue, recordings, alerts, complaints: Vec::new() };
        stage.record();
        let mut all: Labels = ["alertname", "alertstate"].map(str::to_owned).into();
        for alert in &stage.alerts {
            all.extend(alert.labels.keys().cloned());
            all.extend(expression::look_at(&alert.expr, &stage.known).labels.unwrap_or_default());
        }
        stage.known.insert("ALERTS".into(), all.clone());
        stage.known.insert("ALERTS_FOR_STATE".into(), all);
        stage
    }

    /// Learns what rules record, in whatever order they stand in the files.
    fn record(&mut self) {
        let mut left = self.recordings.clone();
        loop {
            let before = left.len();
            left.retain(|recording| {
                let found = expression::look_at(&recording.expr, &self.known);
                let is_known = found.complaints.is_empty();
                if is_known {
                    self.known.insert(recording.record.clone(), found.labels.unwrap_or_default());
                }
                !is_known
            });
            if left.len() == before && !self.assume_one(&left) {
                break;
            }
        }
        for recording in left {
            let found = expression::look_at(&recording.expr, &self.known);
            self.complaints.push(format!("{}: {}: {}", recording.file, recording.record, found.complaints.join("; ")));
        }
    }

    /// Takes for known a rule that remembers: one that reads what it recorded before, with the labels that the rest of it gives.
    fn assume_one(&mut self, left: &[Recording]) -> bool {
        let remembers = |rule: &&Recording| rule.expr.contains(&rule.record) && !self.known.contains_key(&rule.record);
        let Some(rule) = left.iter().find(remembers) else { return false };
        let labels = expression::look_at(&rule.expr, &self.known).labels.unwrap_or_default();
        self.known.insert(rule.record.clone(), labels);
        true
    }

    /// The metrics that an expression reads, those behind what rules record included.
    fn read_by(&self, expr: &str, used: &mut BTreeSet<String>) {
        for name in expression::look_at(expr, &self.known).metrics {
            if let Some(whole) = catalogue::whole(&name, &self.catalogue) {
                used.insert(whole.to_owned());
                continue;
            }
            // A rule that remembers reads itself.
            if !used.insert(name.clone()) {
                continue;
            }
            for recording in self.recordings.iter().filter(|recording| recording.record == name) {
                self.read_by(&recording.expr, used);
            }
        }
    }
}

impl Stage {
    /// What never answers although there are such metrics and labels: values that a label never has, as far as the packs say which
    /// those are, and the increase of what is no counter.
    fn never(&self, found: &expression::Findings) -> Vec<String> {
        let mut told = Vec::new();
        for name in &found.counted {
            let metric = catalogue::whole(name, &self.catalogue).and_then(|whole| self.catalogue.get(whole));
            if metric.is_some_and(|metric| !["counter", "histogram"].contains(&metric.kind.as_str())) {
                told.push(format!("it asks for the increase of {name}, which is no counter"));
            }
        }
        for (name, label, value) in &found.values {
            let metric = catalogue::whole(name, &self.catalogue).and_then(|whole| self.catalogue.get(whole));
            let Some(values) = metric.and_then(|metric| metric.values.get(label)) else { continue };
            if !values.contains(value) {
                told.push(format!("{name} never has {label}=\"{value}\", but one of {values:?}"));
            }
        }
        told
    }
}

fn rule_complaints(stage: &Stage) -> Vec<String> {
    let mut told = stage.complaints.clone();
    let rules = stage.recordings.iter().map(|rule| (&rule.file, &rule.record, &rule.expr));
    for (file, name, expr) in rules.chain(stage.alerts.iter().map(|rule| (&rule.file, &rule.name, &rule.expr))) {
        let found = expression::look_at(expr, &stage.known);
        let mut tell = |what: String| told.push(format!("alerts/{file}.yml: {name}: {what}"));
        found.complaints.iter().cloned().chain(stage.never(&found)).for_each(&mut tell);
        let labels = found.labels.unwrap_or_default();
        if !labels.contains("job") {
            tell("its result does not bear `job`".into());
        }
        if labels.contains("instance") {
            tell("its result bears `instance`, so a restart elsewhere would be another alert".into());
        }
        for number in found.compared_with.iter().filter(|number| ![0.0, 1.0].contains(*number)) {
            tell(format!("it compares with {number}; a limit is a parameter's gauge"));
        }
        if found.shortest_range.is_some_and(|range| range < SHORTEST_RANGE_SECONDS) {
            tell(format!("a range is below {SHORTEST_RANGE_SECONDS} s"));
        }
    }
    for recording in &stage.recordings {
        let parts: Vec<&str> = recording.record.split(':').collect();
        let labels = stage.known.get(&recording.record).cloned().unwrap_or_default();
        // What informs bears what it tells, beside its level.
        let is_level = |label: &String| parts[0].contains(label.as_str()) || parts.last() == Some(&"info");
        if parts.len() != 3 || !labels.iter().all(is_level) || !recording.record.starts_with("job") {
            told.push(format!("alerts/{}.yml: {} is not level:metric:operations", recording.file, recording.record));
        }
    }
    told
}

fn alert_complaints(stage: &Stage, runbooks: &BTreeMap<String, Vec<String>>, uids: &BTreeSet<String>) -> Vec<String> {
    let mut told = Vec::new();
    let mut names = BTreeSet::new();
    for alert in &stage.alerts {
        let mut tell = |what: String| told.push(format!("alerts/{}.yml: {}: {what}", alert.file, alert.name));
        if !names.insert(&alert.name) {
            tell("another alert has this name".into());
        }
        let mut labels = expression::look_at(&alert.expr, &stage.known).labels.unwrap_or_default();
        let mut wanted: Labels = STATIC_LABELS.map(str::to_owned).into();
        // What is no single source's is of Rowmetry as a whole.
        if OF_ALL.contains(&alert.file.as_str()) && (alert.file != OWN || labels.contains("app")) {
            if !labels.contains("app") {
                tell("it is of every application, and its expression does not say of which (`app`)".into());
            }
        } else {
            wanted.insert("app".into());
            if alert.labels.get("app") != Some(&alert.file) {
                tell("its label `app` is not its file's name".into());
            }
        }
        if alert.labels.keys().cloned().collect::<Labels>() != wanted {
            tell(format!("its labels are not {wanted:?}"));
        }
        let grade = (alert.labels.get("severity").map(String::as_str), alert.labels.get("sev").map(String::as_str));
        if !matches!(
            grade,
            (Some("critical"), Some("SEV1" | "SEV2"))
                | (Some("warning"), Some("SEV2" | "SEV3" | "SEV4"))
                | (Some("info"), Some("SEV4"))
        ) {
            tell(format!("{grade:?} is no severity"));
        }
        if !matches!(alert.labels.get("symptom").map(String::as_str), Some("true" | "false")) {
            tell("`symptom` is neither \"true\" nor \"false\"".into());
        }
        if !["1m", "2m", "3m", "5m", "10m", "15m", "30m", "1h"].contains(&alert.waits.as_str()) {
            tell(format!("`for: {}` is not one of the usual times from 1m to 1h", alert.waits));
        }
        if !alert.annotations.keys().eq(ANNOTATIONS) {
            tell(format!("its annotations are not {ANNOTATIONS:?}"));
        }
        labels.extend(wanted);
        for text in alert.annotations.values() {
            for label in after(text, "$labels.") {
                if !labels.contains(&label) {
                    tell(format!("a text shows the label {label}, which it does not bear"));
                }
            }
        }
        let annotation = |name: &str| alert.annotations.get(name).map(String::as_str).unwrap_or_default();
        if annotation("summary").contains("$value") {
            tell("its summary has the value, so it changes all the time; that is for the description".into());
        }
        if annotation("runbook_url") != link("runbooks", &format!("{}.md#{}", alert.file, alert.name.to_lowercase())) {
            tell("its runbook_url does not lead to its section".into());
        }
        if !runbooks.get(&alert.file).is_some_and(|sections| sections.contains(&alert.name)) {
            tell(format!("docs/apps/{}.md has no section on it", alert.file));
        }
        let uid = format!("rowmetry-{}", alert.file.replace('_', "-"));
        if annotation("dashboard_url") != link("dashboards", &format!("d/{uid}")) || !uids.contains(&uid) {
            tell("its dashboard_url does not lead to its dashboard".into());
        }
    }
    for (file, sections) in runbooks {
        for section in sections {
            if !stage.alerts.iter().any(|alert| alert.file == *file && alert.name == *section) {
                told.push(format!("docs/apps/{file}.md: there is no alert {section}"));
            }
        }
    }
    told
}

/// A link of an alert, as every one is written.
fn link(to: &str, path: &str) -> String {
    format!(
        "{{{{ with query \"last_over_time(rowmetry_links_info[1d])\" }}}}{{{{ . | first | label \"{to}\" }}}}{{{{ end }}}}/{path}"
    )
}

/// The names that stand after a word.
fn after(text: &str, word: &str) -> Vec<String> {
    let is_name = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
    text.split(word).skip(1).map(|rest| rest.chars().take_while(is_name).collect()).collect()
}

/// What differs between the pages of metrics and what a Prometheus has stored: names, and the labels under each.
pub fn unlike(stored: &BTreeMap<String, Labels>) -> Vec<String> {
    let catalogue = catalogue::read();
    let known = catalogue::known(&catalogue);
    let mut told = Vec::new();
    for (name, labels) in &known {
        let Some(whole) = catalogue::whole(name, &catalogue) else { continue };
        match (stored.get(name), catalogue::is_elsewhere(whole)) {
            // The oldest of what waits is absent while nothing waits.
            (None, None) if name.contains("_oldest_") => {}
            (None, None) => told.push(format!("{name} is in the manual and was never stored")),
            (None, Some(_)) => {}
            (Some(_), Some(why)) => told.push(format!("{name} was stored, and yet it is said to need that {why}")),
            (Some(found), None) if found != labels => {
                told.push(format!("{name} bears {found:?}; in the manual {labels:?}"));
            }
            (Some(_), None) => {}
        }
    }
    // What OpenMetrics says beside a counter is when it began; what scrapes and rules add is not ours.
    let (recordings, _) = files::rules();
    let is_known = |name: &str| {
        let of_begin = name.strip_suffix("_created").is_some_and(|start| {
            known.contains_key(&format!("{start}_total")) || known.contains_key(&format!("{start}_count"))
        });
        of_begin
            || known.contains_key(name)
            || name.starts_with("scrape_")
            || name.starts_with("ALERTS")
            || recordings.iter().any(|rule| rule.record == name)
    };
    told.extend(
        stored.keys().filter(|name| !is_known(name)).map(|name| format!("{name} was stored and is not in the manual")),
    );
    told
}

#[test]
fn rules_ask_for_what_there_is() {
    let told = rule_complaints(&Stage::shipped());
    assert!(told.is_empty(), "{}", told.join("\n"));
}

#[test]
fn every_alert_has_its_runbook_and_its_dashboard() {
    let stage = Stage::shipped();
    assert!(stage.alerts.len() > 60, "{} alerts", stage.alerts.len());
    let runbooks = files::runbooks().into_iter().map(|runbook| (runbook.file, runbook.alerts)).collect();
    let uids = files::boards().into_iter().map(|board| board.uid).collect();
    let told = alert_complaints(&stage, &runbooks, &uids);
    assert!(told.is_empty(), "{}", told.join("\n"));
}

#[test]
fn every_alert_is_tested_to_fire_and_not_to() {
    let stage = Stage::shipped();
    let mut told = Vec::new();
    for file in files::rule_files() {
        let (mut fires, mut rests) = (BTreeSet::new(), BTreeSet::new());
        let cases = files::rule_tests(&file);
        for case in cases
            .iter()
            .flat_map(|tests| files::items(&tests["tests"]))
            .flat_map(|test| files::items(&test["alert_rule_test"]))
        {
            let name = case["alertname"].as_str().unwrap_or_default().to_owned();
            let is_quiet = files::items(&case["exp_alerts"]).next().is_none();
            if is_quiet {
                rests.insert(name)
            } else {
                fires.insert(name)
            };
        }
        for alert in stage.alerts.iter().filter(|alert| alert.file == file) {
            for (set, what) in [(&fires, "to fire"), (&rests, "not to fire")] {
                if !set.contains(&alert.name) {
                    told.push(format!("alerts/tests/{file}.yml: {} is never seen {what}", alert.name));
                }
            }
        }
    }
    assert!(told.is_empty(), "{}", told.join("\n"));
}

#[test]
fn promtool_takes_the_rules_and_their_tests_pass() {
    let rules = files::rule_files();
    let paths = |folder: &str, stems: &[String]| -> Vec<_> {
        stems.iter().map(|stem| files::root().join(folder).join(format!("{stem}.yml"))).collect()
    };
    let tests: Vec<String> = rules.iter().flat_map(|stem| files::rule_test_files(stem)).collect();
    for (words, files) in
        [(["check", "rules"], paths("alerts", &rules)), (["test", "rules"], paths("alerts/tests", &tests))]
    {
        let output = std::process::Command::new(super::harness::program("promtool"))
            .args(words)
            .args(files)
            .output()
            .expect("promtool can be started");
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{words:?}: {}{}", said(&output.stdout), said(&output.stderr));
    }
}

#[test]
fn dashboards_ask_for_what_there_is() {
    let stage = Stage::shipped();
    let alerts: BTreeSet<String> =
        stage.alerts.iter().map(|alert| format!("{}.md#{}", alert.file, alert.name.to_lowercase())).collect();
    let mut told = Vec::new();
    let boards = files::boards();
    assert!(boards.len() >= 11, "{} dashboards", boards.len());
    let mut uids = BTreeSet::new();
    for board in &boards {
        if !uids.insert(&board.uid) || !board.uid.starts_with("rowmetry-") {
            told.push(format!("dashboards/{}.json: the uid {} is another's, or none of ours", board.file, board.uid));
        }
        for query in files::queries(board) {
            let found = expression::look_at(&query.expr, &stage.known);
            let mut tell = |what: String| told.push(format!("dashboards/{}.yaml: {}: {what}", board.file, query.panel));
            found.complaints.iter().cloned().chain(stage.never(&found)).for_each(&mut tell);
            found.without_job.iter().for_each(|name| tell(format!("{name} has no job=~\"$job\"")));
            let labels = found.labels.unwrap_or_default();
            for label in after(&query.legend, "{{").into_iter().filter(|label| !labels.contains(label)) {
                tell(format!("its legend shows {label}, which the result does not bear"));
            }
        }
        for (selector, label) in files::variables(board) {
            let found = expression::look_at(&selector, &stage.known);
            let labels = found.labels.unwrap_or_default();
            if !found.complaints.is_empty() || !labels.contains(&label) {
                told.push(format!("dashboards/{}.yaml: a variable asks for {label} of {selector}", board.file));
            }
        }
        for panel in files::panels(&board.json) {
            let title = panel["title"].as_str().unwrap_or_default();
            if panel["type"] != "text" && panel["description"].as_str().is_none_or(str::is_empty) {
                told.push(format!("dashboards/{}.yaml: {title} has no description", board.file));
            }
            let borne: Labels = files::items(&panel["targets"])
                .filter_map(|target| expression::look_at(target["expr"].as_str()?, &stage.known).labels)
                .flatten()
                .collect();
            for column in files::label_columns(panel).filter(|column| !borne.contains(*column)) {
                told.push(format!(
                    "dashboards/{}.yaml: {title} has a column for {column}, which no result bears",
                    board.file
                ));
            }
            let urls = files::items(&panel["links"]).filter_map(|link| link["url"].as_str());
            for section in urls.filter_map(|url| url.strip_prefix("${runbooks}/")) {
                if section.contains('#') && !alerts.contains(section) {
                    told.push(format!(
                        "dashboards/{}.yaml: {title} links to {section}, which is no runbook's",
                        board.file
                    ));
                }
            }
        }
    }
    assert!(told.is_empty(), "{}", told.join("\n"));
}

#[test]
fn every_metric_is_used_or_says_why_not() {
    let stage = Stage::shipped();
    let mut used = BTreeSet::new();
    for board in files::boards() {
        for query in files::queries(&board) {
            stage.read_by(&query.expr, &mut used);
        }
    }
    stage.alerts.iter().for_each(|alert| stage.read_by(&alert.expr, &mut used));
    // Links of alerts are made of it.
    used.insert("rowmetry_links_info".into());
    let excused: BTreeMap<String, String> =
        files::stems("dashboards", ".yaml").iter().flat_map(|stem| files::not_shown(stem)).collect();
    let told = use_complaints(&stage.catalogue, &used, &excused);
    assert!(told.is_empty(), "{}", told.join("\n"));
}

fn use_complaints(catalogue: &Catalogue, used: &BTreeSet<String>, excused: &BTreeMap<String, String>) -> Vec<String> {
    let mut told = Vec::new();
    for (name, metric) in catalogue {
        match (used.contains(name), excused.get(name)) {
            (false, None) => told.push(format!("{name} ({}): no panel and no alert uses it", metric.packs.join(", "))),
            (true, Some(_)) => told.push(format!("{name}: `not_shown`, and yet it is used")),
            (false, Some(why)) if why.split_whitespace().count() < 3 => {
                told.push(format!("{name}: `not_shown`, but why?"))
            }
            _ => {}
        }
    }
    let unknown = excused.keys().filter(|name| !catalogue.contains_key(*name));
    told.extend(unknown.map(|name| format!("{name}: `not_shown`, but there is no such metric")));
    told
}

#[test]
fn texts_name_metrics_that_there_are() {
    let stage = Stage::shipped();
    let pages = files::stems("docs/apps", ".md").into_iter().map(|stem| format!("docs/apps/{stem}.md"));
    let others = files::stems("docs", ".md").into_iter().map(|stem| format!("docs/{stem}.md"));
    let mut told = Vec::new();
    for page in pages.chain(others).chain(["README.md".to_owned()]) {
        let text = files::text(&page);
        told.extend(text_complaints(&text, &stage).into_iter().map(|what| format!("{page}: {what}")));
        told.extend(dead_links(&page, &text));
    }
    assert!(told.is_empty(), "{}", told.join("\n"));
}

/// Blocks of PromQL are read; elsewhere every word in code that begins as a metric does must be one.
fn text_complaints(text: &str, stage: &Stage) -> Vec<String> {
    let mut told = Vec::new();
    for (index, block) in text.split("```").enumerate() {
        if index % 2 == 1 {
            let Some(block) = block.strip_prefix("promql\n") else { continue };
            for expr in block.split("\n\n").flat_map(expressions) {
                let found = expression::look_at(&expr, &stage.known);
                let never = stage.never(&found);
                told.extend(found.complaints.into_iter().chain(never).map(|what| format!("`{}`: {what}", expr.trim())));
            }
            continue;
        }
        for code in block.split('`').skip(1).step_by(2) {
            let name: String = code.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            let is_metric = PREFIXES.iter().any(|prefix| name.starts_with(prefix)) && !name.ends_with('_');
            let rest = &code[name.len()..];
            if is_metric
                && (rest.is_empty() || rest.starts_with('{'))
                && !stage.known.contains_key(&name)
                && !stage.catalogue.contains_key(&name)
                && !is_no_metric(&name)
            {
                told.push(format!("there is no metric {name}"));
            }
        }
    }
    told
}

/// Expressions of a block: one a line, or one over several lines where the next are indented or close a bracket.
fn expressions(block: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for line in block.lines().filter(|line| !line.trim_start().starts_with('#') && !line.trim().is_empty()) {
        let goes_on = line.starts_with([' ', ')', '}']);
        match found.last_mut().filter(|_| goes_on) {
            Some(last) => *last = format!("{last}\n{line}"),
            None => found.push(line.to_owned()),
        }
    }
    found
}

/// Words that begin like a metric of ours and are none.
fn is_no_metric(name: &str) -> bool {
    NO_METRICS.contains(&name) || NO_METRICS_BEGIN.iter().any(|start| name.starts_with(start))
}

/// Functions and views of Postgres, the demo's databases.
const NO_METRICS_BEGIN: [&str; 6] =
    ["pg_read_", "pg_monitor", "pg_cancel_", "pg_terminate_", "pg_dump", "rowmetry_demo_"];

/// Views and functions of Postgres, names of packs, fields of Redis' INFO, and the label that takes the place of `source`.
const NO_METRICS: [&str; 20] = [
    "coding_platform",
    "pg_backend_pid",
    "pg_blocking_pids",
    "pg_class",
    "pg_database",
    "pg_database_size",
    "pg_locks",
    "pg_policies",
    "pg_replication_slots",
    "pg_roles",
    "pg_settings",
    "pg_snapshot_xmin",
    "pg_stat_activity",
    "pg_stat_database",
    "pg_stat_progress_vacuum",
    "pg_stat_replication",
    "pg_stat_statements",
    "redis_mode",
    "redis_version",
    "rowmetry_source",
];

/// Links to files of the repository that are not there, or to headings that they do not have.
fn dead_links(page: &str, text: &str) -> Vec<String> {
    let folder = files::root().join(page);
    let folder = folder.parent().expect("a file has a folder");
    // What stands in code is no link.
    let prose: String = text.split('`').step_by(2).collect();
    let targets = prose.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0));
    let inner = targets.filter(|target| !target.contains("://") && !target.starts_with("mailto:"));
    let mut told = Vec::new();
    for target in inner {
        let (file, heading) = target.split_once('#').unwrap_or((target, ""));
        let path = if file.is_empty() { files::root().join(page) } else { folder.join(file) };
        if !path.exists() {
            told.push(format!("{page}: the link to {target} leads nowhere"));
        } else if !heading.is_empty() && path.extension().is_some_and(|extension| extension == "md") {
            let text = std::fs::read_to_string(&path).expect("it is there");
            let has_it = text.lines().any(|line| line.starts_with('#') && anchor(line) == heading);
            if !has_it {
                told.push(format!("{page}: {target} has no such heading"));
            }
        }
    }
    told
}

/// A heading's anchor, as GitHub and Grafana's text panels make it.
fn anchor(line: &str) -> String {
    let title = line.trim_start_matches('#').trim().to_lowercase();
    title
        .chars()
        .filter_map(|c| if c == ' ' { Some('-') } else { (c.is_alphanumeric() || "_-".contains(c)).then_some(c) })
        .collect()
}
