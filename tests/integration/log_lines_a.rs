//! Log lines of Mentor, Coding Platform and Voyager as their drains bring them, through the exporter's own receiver.
//!
//! The truth is told line by line in `tests/fixtures/<app>_lines.yaml`, by a person and without the packs' words; what /metrics says
//! then is kept as a golden text too.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::Write as _;

use serde::Deserialize;
use serde_json::Value;

use super::harness::exposition::{Scrape, name_of};
use super::harness::prometheus::promtool_complaints;
use super::harness::{Exporter, Setup, test_file};

const APPS: [&str; 3] = ["mentor", "coding_platform", "voyager"];
const NOTHING: [&str; 0] = [];
/// What the drain wants to see.
const TOKEN: (&str, &str) = ("Authorization", "Bearer a-token-of-the-drain-in-tests");

/// What `<app>_lines.yaml` holds. Names of metrics are without `prefix`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    prefix: String,
    families: Vec<String>,
    /// Texts that must occur nowhere.
    never: Vec<String>,
    ways: Vec<Way>,
}

/// Lines that come one way.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Way {
    kind: String,
    bodies: Vec<String>,
    /// What each line adds to which series.
    lines: BTreeMap<String, BTreeMap<String, f64>>,
    /// Gauges, when all lines have come.
    #[serde(default)]
    stands: BTreeMap<String, f64>,
    /// What became of the lines of a drain that is posted to, by the word for it.
    #[serde(default)]
    fates: BTreeMap<String, f64>,
}

impl Told {
    fn of(app: &str) -> Told {
        let text = String::from_utf8(body(&format!("{app}_lines.yaml"))).expect("it is text");
        let told: Told = serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{app}_lines.yaml: {e}"));
        assert!(told.families.len() > 3 && told.never.len() > 3, "{app}_lines.yaml says too little");
        told
    }

    fn way(&self, kind: &str) -> &Way {
        self.ways.iter().find(|way| way.kind == kind).unwrap_or_else(|| panic!("nothing is told of {kind}"))
    }

    /// Every series that is not 0, but for the buckets of histograms.
    fn truth(&self, way: &Way) -> BTreeMap<String, f64> {
        let mut truth = BTreeMap::new();
        for (series, value) in way.lines.values().flatten().chain(&way.stands) {
            *truth.entry(self.key(series)).or_default() += value;
        }
        truth
    }

    /// A series as a scrape names it.
    fn key(&self, series: &str) -> String {
        let series = format!("{}{series}", self.prefix);
        let scrape = Scrape::parse(&format!("# TYPE {} gauge\n{series} 0\n", name_of(&series)))
            .unwrap_or_else(|e| panic!("{series}: {e}"));
        scrape.series.into_keys().next().expect("there is one")
    }

    /// The family that a series belongs to, if it is one of these.
    fn family(&self, series: &str) -> Option<&str> {
        let name = name_of(series).strip_prefix(&self.prefix)?;
        let part = |family: &&String| {
            name.strip_prefix(family.as_str()).is_some_and(|part| ["", "_bucket", "_sum", "_count"].contains(&part))
        };
        self.families.iter().find(part).map(String::as_str)
    }

    /// Whether a scrape says just the truth.
    fn compare(&self, way: &Way, scrape: &Scrape) -> Result<(), String> {
        let truth = self.truth(way);
        let mut differences = Vec::new();
        for (series, value) in &truth {
            match scrape.series.get(series) {
                // Only sums are no whole numbers.
                Some(said) if (said - value).abs() <= value.abs() * 1e-12 => {}
                said => differences.push(format!("{series} is {said:?}, in truth {value}")),
            }
        }
        for (series, said) in scrape.series.iter().filter(|(series, _)| self.family(series).is_some()) {
            if *said != 0.0 && !truth.contains_key(series) && !name_of(series).ends_with("_bucket") {
                differences.push(format!("{series} is {said}, in truth there is none"));
            }
        }
        if differences.is_empty() { Ok(()) } else { Err(differences.join("\n")) }
    }

    /// The families as /metrics prints them.
    fn printed(&self, metrics: &str) -> String {
        let is_ours = |line: &&str| {
            let series = line.strip_prefix("# HELP ").or_else(|| line.strip_prefix("# TYPE ")).unwrap_or(line);
            self.family(series.split([' ', '{']).next().unwrap_or_default()).is_some()
        };
        metrics.lines().filter(is_ours).map(|line| format!("{line}\n")).collect()
    }

    /// No text of a line is anywhere that somebody can look.
    async fn nothing_leaks(&self, exporter: &Exporter) {
        for path in ["/metrics", "/", "/api/status"] {
            let text = exporter.get(path, "*/*").await.expect("it answers").text();
            self.nothing_of_it_in(path, &text);
        }
        self.nothing_of_it_in("the log", &exporter.log_text());
    }

    /// Nor is any in what was written down.
    fn nothing_is_kept(&self, setup: &Setup) {
        let files =
            std::fs::read_dir(setup.state_dir()).expect("it has a state").map(|file| file.expect("it is there"));
        let mut bytes = 0;
        for file in files {
            let kept = std::fs::read(file.path()).expect("it can be read");
            bytes += kept.len();
            for never in &self.never {
                let found = kept.windows(never.len()).any(|part| part.eq_ignore_ascii_case(never.as_bytes()));
                assert!(!found, "the state holds {never:?}");
            }
        }
        assert!(bytes > 1000, "the state is somewhere else");
    }

    fn nothing_of_it_in(&self, place: &str, text: &str) {
        for never in &self.never {
            let line = text.lines().find(|line| line.to_lowercase().contains(&never.to_lowercase()));
            assert_eq!(line, None, "{place} says {never:?}");
        }
    }
}

fn body(name: &str) -> Vec<u8> {
    let file = test_file("fixtures").join(name);
    std::fs::read(&file).unwrap_or_else(|e| panic!("there is {}: {e}", file.display()))
}

/// An exporter with one drain and nothing else to read.
fn setup(app: &str, drain: &str) -> Setup {
    let mut setup = Setup::of_logs(&format!("{{drains: [{{name: functions, packs: [{app}], {drain}}}]}}"));
    setup.settings.remove("packs");
    setup
}

/// Delivers a body that is counted for good when this returns.
async fn deliver(exporter: &Exporter, name: &str, body: &[u8]) {
    let kind = if name.ends_with(".ndjson") { "application/x-ndjson" } else { "application/json" };
    let reply = exporter.post("/drains/functions", &[TOKEN, ("Content-Type", kind)], body).await.expect("it answers");
    assert_eq!(reply.status, 200, "{name}: {}", reply.text());
}

/// The lines that only one of two texts has.
fn changed<'t>(one: &'t str, other: &'t str) -> Vec<&'t str> {
    let (before, after): (BTreeSet<&str>, BTreeSet<&str>) = (one.lines().collect(), other.lines().collect());
    before.symmetric_difference(&after).copied().collect()
}

/// All records of the bodies as one batch of another order: as they are sent again after a failure, together with others.
fn in_another_batch(bodies: &[String]) -> Vec<u8> {
    let mut records = Vec::new();
    for name in bodies {
        let text = String::from_utf8(body(name)).expect("it is text");
        match serde_json::from_str(&text) {
            Ok(Value::Array(all)) => records.extend(all),
            _ => records.extend(text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok())),
        }
    }
    records.reverse();
    serde_json::to_vec(&records).expect("plain data")
}

/// The last three digits of every id in the bodies.
fn ids(bodies: &[String]) -> BTreeSet<String> {
    let texts = bodies.iter().map(|name| String::from_utf8(body(name)).expect("it is text"));
    let mut ids = BTreeSet::new();
    for text in texts {
        for after in text.split("\"id\":").skip(1) {
            let id: String =
                after.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
            assert_eq!(id.len(), 28, "{id}");
            ids.insert(id[25..].to_owned());
        }
    }
    ids
}

#[test]
fn every_line_of_the_fixtures_is_told_of() {
    for app in APPS {
        let told = Told::of(app);
        for way in &told.ways {
            let known: BTreeSet<String> = way.lines.keys().cloned().collect();
            let brought = match way.kind.as_str() {
                "vercel" => ids(&way.bodies),
                _ => {
                    let lines = way.bodies.iter().map(|name| body(name).split(|byte| *byte == b'\n').count() - 1);
                    (1..=lines.sum()).map(|number: usize| number.to_string()).collect()
                }
            };
            assert_eq!(known, brought, "{app}, {}", way.kind);
            for series in told.truth(way).into_keys() {
                assert!(told.family(&series).is_some(), "{app}: {series} is of no family that is told of");
            }
        }
        // Every family is told of, and every metric that the pack makes of lines is one of them.
        let spoken: Vec<String> = told.ways.iter().flat_map(|way| told.truth(way).into_keys()).collect();
        let unspoken: Vec<&String> = told
            .families
            .iter()
            .filter(|family| !spoken.iter().any(|series| told.family(series) == Some(family.as_str())))
            .collect();
        assert!(unspoken.is_empty(), "{app}: nobody tells the truth of {unspoken:?}");
        let packs = rowmetry::pack::builtin().expect("the built-in packs pass lint");
        let pack = packs.iter().find(|pack| pack.app == app).expect("the pack ships");
        let of_lines = pack.collectors.iter().filter(|collector| collector.logs.is_some());
        let made: BTreeSet<&str> =
            of_lines.flat_map(|collector| &collector.metrics).map(|metric| metric.name()).collect();
        let families: BTreeSet<String> = told.families.iter().map(|name| format!("{}{name}", told.prefix)).collect();
        assert_eq!(made, families.iter().map(String::as_str).collect(), "{app}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_counts_as_a_person_would_count_it_and_once() {
    for app in APPS {
        let told = Told::of(app);
        let way = told.way("vercel");
        let exporter = setup(app, "kind: vercel, token: a-token-of-the-drain-in-tests").start().await;
        let before = exporter.get("/metrics", "text/plain").await.expect("it answers").text();
        assert_eq!(told.printed(&before), "", "{app}: nobody knows anything before the first line");

        for name in &way.bodies {
            deliver(&exporter, name, &body(name)).await;
        }
        let scrape = exporter.scrapes("the lines are counted", |scrape| told.compare(way, scrape)).await;
        for family in &told.families {
            assert!(scrape.types.contains_key(&format!("{}{family}", told.prefix)), "{app}: {family} is not there");
        }
        for (fate, lines) in &way.fates {
            let labels = [("outcome", fate.as_str())];
            assert_eq!(scrape.sum("rowmetry_drain_lines_total", &labels), *lines, "{app}: {fate}");
        }
        let reply = exporter.get("/metrics", "text/plain").await.expect("it answers");
        assert_eq!(promtool_complaints(&reply.body), "", "{app}");
        let printed = told.printed(&reply.text());
        insta::assert_snapshot!(format!("lines_of_{app}"), printed);
        told.nothing_leaks(&exporter).await;

        // Sent again as they were, and in another batch; and by an exporter that was started anew.
        for name in &way.bodies {
            deliver(&exporter, name, &body(name)).await;
        }
        deliver(&exporter, "another batch", &in_another_batch(&way.bodies)).await;
        let again = exporter.get("/metrics", "text/plain").await.expect("it answers").text();
        assert_eq!(
            changed(&printed, &told.printed(&again)),
            NOTHING,
            "{app}: what was delivered again changed something"
        );
        let setup = exporter.setup.clone();
        assert!(exporter.terminate().success());
        told.nothing_is_kept(&setup);
        let exporter = setup.start().await;
        deliver(&exporter, "another batch", &in_another_batch(&way.bodies)).await;
        let again = exporter.get("/metrics", "text/plain").await.expect("it answers").text();
        assert_eq!(changed(&printed, &told.printed(&again)), NOTHING, "{app}: a new start forgot what was counted");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_a_file_say_what_they_can() {
    let told = Told::of("mentor");
    let way = told.way("file");
    let [name] = way.bodies.as_slice() else { panic!("one file is told of") };
    let setup = setup("mentor", "kind: file, file: APP_LOG");
    let file = setup.folder.path().join("app.log");
    let append = |bytes: &[u8]| {
        let log = OpenOptions::new().create(true).append(true).open(&file);
        log.and_then(|mut log| log.write_all(bytes)).expect("the folder can be written to");
    };
    let logs = setup.settings["logs"].replace("APP_LOG", &format!("\"{}\"", file.display()));
    let exporter = setup.with("logs", logs).start().await;
    // It begins at the end of what is there when it first looks; a line that nobody counts tells that it has looked.
    exporter
        .scrapes("the file is followed", |scrape| {
            append(b"END RequestId: none\n");
            let seen = scrape.sum("rowmetry_drain_lines_total", &[("outcome", "unmatched")]);
            if seen > 0.0 { Ok(()) } else { Err("no line was seen".into()) }
        })
        .await;
    append(&body(name));
    exporter.scrapes("the lines are counted", |scrape| told.compare(way, scrape)).await;
    told.nothing_leaks(&exporter).await;
}
