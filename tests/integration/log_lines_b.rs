//! Log lines of Promptcademy and SyncedUp as their hosts deliver them, through the exporter's own receiver: signed, packed, twice.
//!
//! `tests/fixtures/<app>_lines_*` is what is posted, `<app>_lines_truth.yaml` what a person says it comes to; what /metrics says then is
//! kept as a golden text too. Times in deliveries are moved so that their noon is now.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use rowmetry::collector::logs::{LogsCollector, LogsSettings};
use rowmetry::collector::{Guard, SpanMaker};
use rowmetry::config::Limits;
use rowmetry::config::logs::{DrainKind, IntakeLimits, RecordFields};
use rowmetry::family::{Micros, Series, Value};
use rowmetry::pack::Stream;
use rowmetry::source::logs::body;
use rowmetry::span::SpanRecord;
use serde::Deserialize;

use super::harness::exposition::{Scrape, name_of, plain_bounds};
use super::harness::otlp::{OtlpReceiver, ReceivedSpan};
use super::harness::prometheus::promtool_complaints;
use super::harness::{Cluster, Exporter, Setup, test_file};

const APPS: [&str; 2] = ["promptcademy", "syncedup"];
/// What Vercel signs with.
const SECRET: &str = "what-the-host-signs-with-in-tests";
/// What Supabase's requests bear.
const TOKEN: &str = "what-the-database-s-host-bears-in-tests";
/// Time for one delivery to be counted for good.
const PATIENCE: Duration = Duration::from_secs(30);
/// What the deliveries take for now (2026-03-02T12:00:00Z), in milliseconds since 1970.
const NOON: i64 = 1_772_452_800_000;
const MINUTE: Micros = 60_000_000;

/// What `<app>_lines_truth.yaml` holds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    truth: Vec<Fact>,
    /// What each drain says of what it brought.
    drains: BTreeMap<String, BTreeMap<String, f64>>,
    /// Texts that must occur nowhere.
    never: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fact {
    series: String,
    value: Option<f64>,
    /// In place of a value: a moment, so many seconds before noon.
    ago: Option<f64>,
}

/// How far the deliveries of one test are moved, in milliseconds.
#[derive(Clone, Copy)]
struct Shift(i64);

impl Shift {
    fn to_now() -> Shift {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_millis();
        Shift(i64::try_from(now).expect("it is not long after") - NOON)
    }

    /// A body with its times moved: numbers of milliseconds and microseconds, and ISO 8601.
    fn apply(self, body: &str) -> String {
        let numbers = regex::Regex::new(r"\b1772(?:[0-9]{9}|[0-9]{12})\b").expect("a pattern");
        let moved = numbers.replace_all(body, |found: &regex::Captures<'_>| {
            let unit = if found[0].len() == 13 { 1 } else { 1000 };
            (found[0].parse::<i64>().expect("digits") + self.0 * unit).to_string()
        });
        let stamps = regex::Regex::new(r"2026-03-02T[0-9:.]{12}Z").expect("a pattern");
        let moved = stamps.replace_all(&moved, |found: &regex::Captures<'_>| {
            let stamp: jiff::Timestamp = found[0].parse().expect("a stamp");
            let moved = jiff::Timestamp::from_millisecond(stamp.as_millisecond() + self.0).expect("a stamp");
            format!("{moved:.3}")
        });
        moved.into_owned()
    }

    /// A moment so many seconds before noon, in seconds since 1970.
    fn ago(self, seconds: f64) -> f64 {
        (NOON + self.0) as f64 / 1000.0 - seconds
    }
}

/// One body as it is posted.
struct Posted {
    drain: &'static str,
    body: Vec<u8>,
}

/// All deliveries of an application, in their order.
fn deliveries(app: &str, shift: Shift) -> Vec<Posted> {
    let mut names: Vec<String> = std::fs::read_dir(test_file("fixtures"))
        .expect("there are fixtures")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with(&format!("{app}_lines_")) && !name.ends_with(".yaml"))
        .collect();
    names.sort();
    assert!(names.len() >= 2, "{names:?}");
    let posted = names.into_iter().map(|name| Posted {
        drain: if name.contains("_vercel_") { "vercel" } else { "supabase" },
        body: shift.apply(&fixture(&name)).into_bytes(),
    });
    posted.collect()
}

fn fixture(name: &str) -> String {
    let file = test_file("fixtures").join(name);
    std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("there is {}: {e}", file.display()))
}

fn told(app: &str) -> Told {
    let name = format!("{app}_lines_truth.yaml");
    let told: Told = serde_saphyr::from_str(&fixture(&name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert!(told.truth.len() > 5 && told.never.len() > 5, "{name} says too little");
    told
}

/// The families that a pack makes of lines.
fn families(app: &str, of: impl Fn(Stream) -> bool) -> BTreeSet<String> {
    let packs = rowmetry::pack::builtin().expect("the built-in packs pass lint");
    let pack = packs.into_iter().find(|pack| pack.app == app).expect("the pack ships");
    let of_lines =
        pack.collectors.iter().filter(|collector| collector.logs.as_ref().is_some_and(|logs| of(logs.stream)));
    of_lines.flat_map(|collector| &collector.metrics).map(|metric| metric.name().to_owned()).collect()
}

/// The family among these that a series belongs to.
fn family<'f>(series: &str, families: &'f BTreeSet<String>) -> Option<&'f String> {
    let name = name_of(series);
    let is_of = |family: &&String| {
        name.strip_prefix(family.as_str()).is_some_and(|part| ["", "_bucket", "_sum", "_count"].contains(&part))
    };
    families.iter().find(is_of)
}

/// The families as /metrics prints them, moments as if it were noon.
fn printed(metrics: &str, families: &BTreeSet<String>, shift: Shift) -> String {
    let mut text = String::new();
    for line in metrics.lines() {
        let series = line.strip_prefix("# HELP ").or_else(|| line.strip_prefix("# TYPE ")).unwrap_or(line);
        if family(series.split(' ').next().unwrap_or_default(), families).is_none() {
            continue;
        }
        match line.rsplit_once(' ') {
            Some((series, value)) if !line.starts_with('#') && name_of(series).ends_with("_timestamp_seconds") => {
                let seconds: f64 = value.parse().expect("a number");
                writeln!(text, "{series} noon-{:.1}", shift.ago(0.0) - seconds).expect("a text takes all");
            }
            _ => writeln!(text, "{line}").expect("a text takes all"),
        }
    }
    text
}

impl Told {
    /// Whether a scrape says just the truth.
    fn compare(&self, families: &BTreeSet<String>, shift: Shift, scrape: &Scrape) -> Result<(), String> {
        let said: BTreeMap<String, f64> =
            scrape.series.iter().map(|(series, value)| (plain_bounds(series), *value)).collect();
        let mut differences = Vec::new();
        let mut spoken = BTreeSet::new();
        for fact in &self.truth {
            let value = match (fact.value, fact.ago) {
                (Some(value), None) => value,
                (None, Some(ago)) => shift.ago(ago),
                _ => panic!("{} has a value, or was some time ago", fact.series),
            };
            let key = key(&fact.series);
            match said.get(&key) {
                Some(said) if (said - value).abs() <= value.abs() * 1e-12 => {}
                said => differences.push(format!("{key} is {said:?}, in truth {value}")),
            }
            spoken.insert(key);
        }
        for (series, value) in &said {
            let is_told =
                spoken.contains(series) || name_of(series).ends_with("_bucket") || family(series, families).is_none();
            if *value != 0.0 && !is_told {
                differences.push(format!("{series} is {value}, in truth there is none"));
            }
        }
        for (drain, fates) in &self.drains {
            for (fate, lines) in fates {
                let told = scrape.get("rowmetry_drain_lines_total", &[("source", drain), ("outcome", fate)]);
                if told != Some(*lines) {
                    differences.push(format!("{drain}: {told:?} lines are {fate}, in truth {lines}"));
                }
            }
        }
        if differences.is_empty() { Ok(()) } else { Err(differences.join("\n")) }
    }

    fn nothing_of_it_in(&self, place: &str, text: &str) {
        for never in &self.never {
            let line = text.lines().find(|line| line.to_lowercase().contains(&never.to_lowercase()));
            assert_eq!(line, None, "{place} says {never:?}");
        }
    }
}

/// A series as a scrape names it.
fn key(series: &str) -> String {
    let scrape = Scrape::parse(&format!("# TYPE {} gauge\n{series} 0\n", name_of(series)))
        .unwrap_or_else(|e| panic!("{series}: {e}"));
    plain_bounds(&scrape.series.into_keys().next().expect("there is one"))
}

/// An exporter with a drain of the application's host and one of its database's, and nothing else to read.
fn setup(app: &str) -> Setup {
    let mut setup = Setup::of("postgres://nobody@127.0.0.1:1/none");
    setup.sources.clear();
    setup.settings.remove("packs");
    let drains = [
        format!("{{name: vercel, kind: vercel, secret: {SECRET}, packs: [{app}]}}"),
        format!("{{name: supabase, kind: supabase, token: {TOKEN}, packs: [{app}]}}"),
    ];
    // What an operator sets while the application's own figure is 1000 times too high.
    if app == "promptcademy" {
        setup = setup.with("parameters", "{promptcademy: {cost_scale: 0.001}}");
    }
    setup.with("logs", format!("{{drains: [{}]}}", drains.join(", ")))
}

/// Posts a body as its host does: Vercel signs it, Supabase packs it.
async fn post(exporter: &Exporter, posted: &Posted) -> u16 {
    let json = ("Content-Type", "application/json");
    let path = format!("/drains/{}", posted.drain);
    let reply = if posted.drain == "vercel" {
        let mut mac = Hmac::<sha1::Sha1>::new_from_slice(SECRET.as_bytes()).expect("any length is a key");
        mac.update(&posted.body);
        let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        exporter.post(&path, &[json, ("x-vercel-signature", &hex)], &posted.body).await
    } else {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        packed.write_all(&posted.body).expect("memory takes all");
        let packed = packed.finish().expect("memory takes all");
        let bearer = format!("Bearer {TOKEN}");
        exporter.post(&path, &[json, ("Authorization", &bearer), ("Content-Encoding", "gzip")], &packed).await
    };
    reply.expect("it answers").status
}

async fn deliver(exporter: &Exporter, all: &[Posted]) {
    for posted in all {
        assert_eq!(post(exporter, posted).await, 200, "{}", posted.drain);
    }
}

async fn metrics(exporter: &Exporter) -> String {
    exporter.get("/metrics", "text/plain").await.expect("it answers").text()
}

#[test]
fn every_family_of_lines_is_told_of() {
    for app in APPS {
        let families = families(app, |_| true);
        let told = told(app);
        let unspoken: Vec<&String> = families
            .iter()
            .filter(|name| !told.truth.iter().any(|fact| family(&fact.series, &families) == Some(name)))
            .collect();
        assert!(unspoken.is_empty(), "{app}: nobody tells the truth of {unspoken:?}");
        for fact in &told.truth {
            assert!(family(&fact.series, &families).is_some(), "{app}: {} is of no family of lines", fact.series);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_count_as_a_person_counts_them_and_once() {
    for app in APPS {
        let (told, families, shift) = (told(app), families(app, |_| true), Shift::to_now());
        let exporter = setup(app).start().await;
        assert_eq!(printed(&metrics(&exporter).await, &families, shift), "", "{app}: nobody knows anything yet");

        let all = deliveries(app, shift);
        // Ids and addresses that are looked for afterwards are in what is sent.
        let sent: String = all.iter().map(|posted| String::from_utf8_lossy(&posted.body).to_lowercase()).collect();
        for never in &told.never {
            assert!(sent.contains(&never.to_lowercase()), "{app}: no delivery has {never:?}");
        }
        deliver(&exporter, &all).await;
        // Ends that wait for their beginning wait some seconds.
        exporter.scrapes("the lines are counted", |scrape| told.compare(&families, shift, scrape)).await;
        let reply = exporter.get("/metrics", "text/plain").await.expect("it answers");
        assert_eq!(promtool_complaints(&reply.body), "", "{app}");
        let first = printed(&reply.text(), &families, shift);
        insta::assert_snapshot!(format!("lines_of_{app}"), first);
        for path in ["/metrics", "/", "/api/status"] {
            told.nothing_of_it_in(path, &exporter.get(path, "*/*").await.expect("it answers").text());
        }

        // Sent again as they were, and backwards.
        deliver(&exporter, &all).await;
        for posted in all.iter().rev() {
            assert_eq!(post(&exporter, posted).await, 200);
        }
        assert_eq!(
            printed(&metrics(&exporter).await, &families, shift),
            first,
            "{app}: what came again changed something"
        );
        // And to an exporter that was started anew.
        let setup = exporter.setup.clone();
        told.nothing_of_it_in("the log", &exporter.log_text());
        assert!(exporter.terminate().success());
        let exporter = setup.start().await;
        deliver(&exporter, &all).await;
        assert_eq!(printed(&metrics(&exporter).await, &families, shift), first, "{app}: a new start forgot something");
        told.nothing_of_it_in("the log", &exporter.log_text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_tells_of_its_own_lines_alone() {
    let shift = Shift::to_now();
    let of_postgres = families("promptcademy", |stream| stream == Stream::Postgres);
    let of_application = families("promptcademy", |stream| stream == Stream::Application);
    assert_eq!(of_postgres, ["promptcademy_postgres_errors_total".to_owned()].into());
    let all = deliveries("promptcademy", shift);
    for (drain, shown, hidden) in
        [("vercel", &of_application, &of_postgres), ("supabase", &of_postgres, &of_application)]
    {
        let exporter = setup("promptcademy").start().await;
        for posted in all.iter().filter(|posted| posted.drain == drain) {
            assert_eq!(post(&exporter, posted).await, 200);
        }
        let scrape = exporter.scrape().await;
        let missing: Vec<&String> = shown.iter().filter(|family| !scrape.types.contains_key(*family)).collect();
        assert!(missing.is_empty(), "{drain}: {missing:?}");
        let told: Vec<&String> = hidden.iter().filter(|family| scrape.types.contains_key(*family)).collect();
        assert!(told.is_empty(), "{drain} does not bring what {told:?} tell of");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_of_postgres_says_at_its_first_line_that_no_policy_failed() {
    let exporter = setup("promptcademy").start().await;
    let body = fixture("promptcademy_lines_supabase_1.json");
    let line = body.lines().find(|line| line.contains("connection authorized")).expect("there is a line of no error");
    let body = format!("[{}]", line.trim_end_matches(','));
    deliver(&exporter, &[Posted { drain: "supabase", body: body.into_bytes() }]).await;
    let scrape = exporter.scrape().await;
    for sqlstate in ["42501", "42P17"] {
        let name = "promptcademy_postgres_errors_total";
        assert_eq!(scrape.get(name, &[("sqlstate", sqlstate)]), Some(0.0), "{sqlstate}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_says_which_pack_counts_the_lines_of_its_application() {
    let database = Cluster::shared().database().await;
    database.run(fixture("promptcademy.sql")).await;
    let mut setup = Setup::of(&database.url)
        .with("logs", format!("{{drains: [{{name: vercel, kind: vercel, secret: {SECRET}, database: app}}]}}"));
    setup.settings.remove("packs");
    let exporter = setup.start().await;
    let shift = Shift::to_now();
    let first = deliveries("promptcademy", shift).swap_remove(2);
    assert_eq!(first.drain, "vercel");
    // Until the database was seen, nobody knows, and the host brings it again.
    super::harness::eventually(PATIENCE, "the drain knows its pack", async || match post(&exporter, &first).await {
        200 => Ok(()),
        status => Err(format!("{status}")),
    })
    .await;
    let scrape = exporter.scrape().await;
    assert_eq!(scrape.get("promptcademy_ai_runs_total", &[("outcome", "failed")]), Some(1.0));
    assert_eq!(scrape.get("promptcademy_ai_runs_in_flight", &[]), Some(2.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_spans_without_a_text_of_theirs() {
    let receiver = OtlpReceiver::start();
    let setup = setup("promptcademy").with("otlp", format!("{{endpoint: \"{}\"}}", receiver.http_url()));
    let exporter = setup.start().await;
    let shift = Shift::to_now();
    let all = deliveries("promptcademy", shift);
    deliver(&exporter, &all).await;
    deliver(&exporter, &all).await;
    // All that say how long they were: the last digits of the run, when it began before noon (its line less its duration), how long it
    // was, its outcome, its models, its error.
    let wanted = [
        ("01", 599.95, 2.85, "success", "1", ""),
        ("02", 590.0, 5.1, "partial", "2", ""),
        ("03", 579.95, 1.55, "failed", "3", "every_model_failed"),
        ("04", 569.9, 16.4, "success", "4", ""),
        ("05", 539.92, 0.12, "error", "1", "_OTHER"),
        ("06", 530.004, 0.004, "error", "", "_OTHER"),
        ("07", 520.9, 0.9, "success", "", ""),
        ("08", 512.2, 2.2, "success", "2", ""),
        ("0b", 499.912, 0.012, "success", "0", ""),
        ("0d", 479.9, 1.9, "success", "", ""),
        ("0e", 470.0, 31.0, "partial", "3", ""),
        ("0f", 429.2, 1.2, "partial", "2", ""),
        ("10", 419.64, 0.64, "success", "1", ""),
    ];
    let is_run = |span: &ReceivedSpan| span.span.name == "ai run";
    let spans = super::harness::eventually(PATIENCE, "the runs have come", async || {
        let spans: Vec<ReceivedSpan> = receiver.spans().into_iter().filter(is_run).collect();
        if spans.len() >= wanted.len() { Ok(spans) } else { Err(format!("{} spans", spans.len())) }
    })
    .await;
    let mut came: Vec<(String, f64, f64, String, String, String)> = Vec::new();
    for span in &spans {
        let whole = span.canonical();
        let attributes = &whole["attributes"];
        let text = |name: &str| match &attributes[name] {
            serde_json::Value::Null => String::new(),
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let id = text("promptcademy.request.id");
        // To the millisecond.
        let seconds = |nanos: f64| (nanos / 1e6).round() / 1e3;
        let (start, end) = (span.span.start_time_unix_nano as f64, span.span.end_time_unix_nano as f64);
        let began = seconds((NOON + shift.0) as f64 * 1e6 - start);
        let row = (
            id[id.len() - 2..].to_owned(),
            began,
            seconds(end - start),
            text("promptcademy.outcome"),
            text("promptcademy.models"),
        );
        came.push((row.0, row.1, row.2, row.3, row.4, text("error.type")));
        assert_eq!(span.span.kind, 2, "it is the work of a server");
        assert!(span.span.parent_span_id.is_empty(), "a row of the table names no request, so nothing is its parent");
    }
    came.sort_by(|one, other| one.0.cmp(&other.0));
    let of = |row: &(&str, f64, f64, &str, &str, &str)| {
        (row.0.to_owned(), row.1, row.2, row.3.to_owned(), row.4.to_owned(), row.5.to_owned())
    };
    assert_eq!(came, wanted.iter().map(of).collect::<Vec<_>>());
    let mut told = told("promptcademy");
    // The number of a request is no person's.
    told.never.retain(|never| never != "5b0e0");
    told.nothing_of_it_in("a span", &format!("{spans:?}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_logs_no_run_is_absent_and_not_0() {
    let exporter = setup("promptcademy").start().await;
    let shift = Shift::to_now();
    let others: Vec<String> = fixture("promptcademy_lines_vercel_1.ndjson")
        .lines()
        .filter(|line| !line.contains("ai_run_") && line.contains("\"message\""))
        .map(|line| shift.apply(line))
        .collect();
    assert!(others.len() >= 3, "{others:?}");
    deliver(&exporter, &[Posted { drain: "vercel", body: others.join("\n").into_bytes() }]).await;
    let families = families("promptcademy", |_| true);
    assert_eq!(printed(&metrics(&exporter).await, &families, shift), "", "nobody knows of runs");
}

#[test]
fn a_run_whose_end_never_comes_is_told_after_a_quarter_of_an_hour() {
    let packs = rowmetry::pack::builtin().expect("the built-in packs pass lint");
    let pack = packs.into_iter().find(|pack| pack.app == "promptcademy").expect("the pack ships");
    let definition = pack.collectors.iter().find(|one| one.name == "ai_runs").expect("the pack has it");
    let parameters = pack.parameters.iter().map(|(name, parameter)| (name.clone(), parameter.value)).collect();
    let settings = LogsSettings { limits: Limits::default(), runs: 100, parameters, exemplars: false };
    let guard = Arc::new(Guard::new(120));
    let spans = |columns: &[String]| SpanMaker::of_lines(definition, columns, "vercel", "promptcademy", &guard);
    let collector = LogsCollector::new(definition, &settings, spans, &guard).expect("it compiles");
    let mut collector = collector.expect("it counts lines");
    collector.give_room(100);
    let noon = NOON * 1000;
    for posted in deliveries("promptcademy", Shift(0)).iter().filter(|posted| posted.drain == "vercel") {
        let parsed = body::parse(DrainKind::Vercel, &RecordFields::default(), &IntakeLimits::default(), &posted.body);
        collector.fold(parsed.expect("it can be read").lines.iter(), noon);
    }
    let told = |collector: &LogsCollector| {
        let families = collector.families(None).expect("lines came");
        let value = |name: &str, label: &str| {
            let family = families.iter().find(|family| *family.name == *name).expect("there is the family");
            let is_it = |series: &&Series| format!("{:?}", series.labels).contains(label);
            match family.series.iter().find(is_it).map(|series| &series.value) {
                Some(Value::Number(value)) => *value,
                other => panic!("{name} is {other:?}"),
            }
        };
        (value("promptcademy_ai_runs_total", "never_ended"), value("promptcademy_ai_runs_in_flight", ""))
    };
    collector.tick(1000, noon + 14 * MINUTE);
    assert_eq!(told(&collector), (0.0, 2.0), "a slow run may end yet");
    collector.take_changes();
    collector.give_room(100);
    collector.tick(1000, noon + 16 * MINUTE);
    assert_eq!(told(&collector), (2.0, 0.0));
    let spans: Vec<SpanRecord> = collector.take_changes().spans;
    let of = |span: &SpanRecord| {
        (span.name.clone(), (noon - span.start) / 1_000_000, span.end - span.start, span.error.clone())
    };
    let lost = |ago| ("ai run without an end".to_owned(), ago, 0, Some("never_ended".to_owned()));
    let mut came: Vec<_> = spans.iter().map(of).collect();
    came.sort();
    assert_eq!(came, [lost(10), lost(1800)]);
}
