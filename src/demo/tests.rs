use sqlx::{AssertSqlSafe, Row};

use super::*;
use crate::collector::Guard;
use crate::collector::logs::{LogsCollector, LogsSettings};
use crate::config::Limits;
use crate::family::{Family, Value};
use crate::pack::{Collector, Metric, Pack, Probe, System, builtin, sql};
use crate::source::logs::LogLine;

const START: Micros = 1_800_000_000_000_000;
const SECOND: Micros = 1_000_000;

/// How far back a demo catches up.
const CATCH_UP_SECONDS: f64 = 600.0;

fn ground(folder: &Path, seed: u64, clock: Clock) -> Ground {
    Ground {
        folder: folder.to_owned(),
        seed,
        clock,
        kept: Kept::Within,
        servers: Servers::default(),
        troubles: Troubles::default(),
    }
}

async fn traffic(folder: &Path, seed: u64) -> Traffic {
    Traffic::prepare_on(ground(folder, seed, Arc::new(|| START))).await.expect("the demo's scripts run")
}

async fn let_pass(traffic: &mut Traffic, seconds: i64) {
    for second in 1..=seconds {
        traffic.advance(START + second * SECOND, 1.0).await.expect("the demo's actions run");
    }
}

/// Every row of every table of every application as text.
async fn everything(traffic: &mut Traffic) -> Vec<String> {
    let mut all = Vec::new();
    let tables = "select name from sqlite_master where type = 'table' order by name";
    for life in &mut traffic.lives {
        let app = life.app().to_owned();
        for table in sqlx::query(tables).fetch_all(life.connection()).await.expect("readable") {
            let table: String = table.get(0);
            let columns =
                format!("select group_concat('quote(\"' || name || '\")', '||') from pragma_table_info('{table}')");
            let columns: String =
                sqlx::query(AssertSqlSafe(columns)).fetch_one(life.connection()).await.expect("readable").get(0);
            let rows = format!("select {columns} from \"{table}\" order by 1");
            for row in sqlx::query(AssertSqlSafe(rows)).fetch_all(life.connection()).await.expect("readable") {
                all.push(format!("{app}.{table}: {}", row.get::<String, _>(0)));
            }
        }
    }
    all
}

#[tokio::test]
async fn the_same_seed_makes_the_same_rows() {
    let folders = [(); 3].map(|()| tempfile::tempdir().expect("a folder"));
    let mut rows = Vec::new();
    for (folder, seed) in folders.iter().zip([1, 1, 2]) {
        let mut traffic = traffic(folder.path(), seed).await;
        // The second run looks less often, which must make no difference.
        if rows.len() == 1 {
            while traffic.advance(START + 30 * SECOND, 1.0).await.expect("the demo's actions run") > 0 {}
        } else {
            let_pass(&mut traffic, 30).await;
        }
        rows.push(everything(&mut traffic).await);
    }
    assert!(rows[0].len() > 2000, "{} rows", rows[0].len());
    assert!(rows[0] == rows[1], "one seed made two different lives");
    assert!(rows[0] != rows[2], "two seeds made one life");
}

#[tokio::test]
async fn every_metric_has_data_within_twenty_seconds() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut traffic = traffic(folder.path(), 3).await;
    let_pass(&mut traffic, 20).await;
    let packs = builtin().expect("the built-in packs pass lint");
    let mut checked = 0;
    let mut missing = Vec::new();
    for life in &mut traffic.lives {
        let pack = packs.iter().find(|pack| pack.app == life.app()).expect("each script has a pack");
        let lines = life.lines(START + 20 * SECOND);
        let mut probes: Vec<(&Probe, Vec<String>)> = Vec::new();
        for collector in &pack.collectors {
            if let Some(keys) = &collector.keys {
                let names = life.keys().await;
                for family in &keys.families {
                    let form = form_of(&family.pattern);
                    checked += 1;
                    if !names.iter().any(|(name, _)| form.is_match(name)) {
                        missing.push(format!("{}: {}", collector.name, family.pattern));
                    }
                }
                continue;
            }
            if let Some(probe) = &collector.probe {
                checked += 1;
                let mut untold_here = Vec::new();
                if let Err(reason) = answers(life, probe, &mut untold_here) {
                    missing.push(format!("{}: {reason}", collector.name));
                }
                probes.push((probe, untold_here));
                continue;
            }
            if let Some(logs) = &collector.logs {
                let lines = lines.iter().filter(|(stream, _)| *stream == logs.stream).map(|(_, line)| line);
                let families = families(pack, collector, lines);
                checked += families.len();
                assert_eq!(families.len(), collector.metrics.len(), "{}", collector.name);
                missing
                    .extend(families.iter().filter(|family| !has_data(family)).map(|family| family.name.to_string()));
                continue;
            }
            for metric in &collector.metrics {
                let query = rows_with_data(pack, collector, metric);
                let count: i64 = sqlx::query(AssertSqlSafe(query.clone()))
                    .fetch_one(life.connection())
                    .await
                    .unwrap_or_else(|error| panic!("{}: {error}\n{query}", metric.name()))
                    .get(0);
                checked += 1;
                if count == 0 {
                    missing.push(metric.name().to_owned());
                }
            }
        }
        let told_by = |column: &String, (probe, untold): &(&Probe, Vec<String>)| {
            probe.values.iter().any(|value| value.column == *column) && !untold.contains(column)
        };
        for column in probes.iter().flat_map(|(_, untold)| untold) {
            if !probes.iter().any(|probe| told_by(column, probe)) {
                missing.push(format!("{}: no answer has {column}", life.app()));
            }
        }
    }
    assert!(checked > 50, "only {checked} metrics were checked");
    assert!(missing.is_empty(), "no data for {missing:?}");
}

/// What a collector makes of lines.
fn families<'l>(pack: &Pack, collector: &Collector, lines: impl Iterator<Item = &'l LogLine>) -> Vec<Family> {
    let parameters = pack.parameters.iter().map(|(name, parameter)| (name.clone(), parameter.value)).collect();
    let settings = LogsSettings { limits: Limits::default(), runs: 1000, parameters, exemplars: false };
    let made = LogsCollector::new(collector, &settings, |_| None, &Arc::new(Guard::new(120)));
    let mut counting = made.expect("the pack passes lint").expect("it has forms of lines");
    counting.fold(lines, START + 20 * SECOND);
    counting.families(None).expect("lines have come")
}

fn has_data(family: &Family) -> bool {
    family.series.iter().any(|series| match &series.value {
        Value::Number(number) => *number != 0.0,
        Value::Histogram(histogram) => histogram.count > 0,
    })
}

/// The names that fit a pattern of a pack.
fn form_of(pattern: &str) -> regex::Regex {
    let mut form = String::from("^");
    for part in pattern.split('{') {
        let (capture, plain) = part.split_once('}').map_or((None, part), |(capture, plain)| (Some(capture), plain));
        form.push_str(capture.map_or("", |capture| if capture.ends_with('*') { ".+" } else { "[^:]+" }));
        form.push_str(&regex::escape(plain));
    }
    regex::Regex::new(&(form + "$")).expect("it is made of escaped parts")
}

/// Whether there is an answer at the path of a probe, and its words are those that the pack knows.
fn answers(life: &Life, probe: &Probe, untold: &mut Vec<String>) -> Result<(), String> {
    let path = probe.path.as_deref().unwrap_or("/");
    let page = life.page(path).ok_or_else(|| format!("no answer at {path}"))?;
    let Ok(body) = serde_json::from_str::<serde_json::Value>(&page.body) else { return Ok(()) };
    let Some(status) = &probe.status else { return Ok(()) };
    let word = status.as_slice().iter().find_map(|pointer| body.pointer(pointer)).and_then(|word| word.as_str());
    let word = word.ok_or_else(|| format!("no status at {path}"))?;
    let known = [&probe.healthy, &probe.degraded, &probe.unhealthy].iter().any(|words| words.iter().any(|w| w == word));
    if !known {
        return Err(format!("{path} says `{word}`"));
    }
    // Versions of an application tell a number in several places, or not at all: each kind of number once is enough.
    for value in &probe.values {
        let mut alike = probe.values.iter().filter(|other| other.column == value.column);
        if !alike.any(|other| other.at.as_slice().iter().any(|pointer| reported(&body, pointer))) {
            untold.push(value.column.clone());
        }
    }
    Ok(())
}

/// Whether a body has a value at a pointer, whose parts in braces stand for every key.
fn reported(body: &serde_json::Value, pointer: &str) -> bool {
    match pointer.split_once("/{") {
        None => body.pointer(pointer).is_some(),
        Some((before, after)) => {
            let rest = after.split_once('}').map_or("", |(_, rest)| rest);
            let items = match body.pointer(before) {
                Some(serde_json::Value::Object(items)) => items.values().collect(),
                Some(serde_json::Value::Array(items)) => items.iter().collect(),
                _ => Vec::new(),
            };
            items.into_iter().any(|item| reported(item, rest))
        }
    }
}

/// Counts what a metric would be made of: rows that are new since the beginning, or rows of the snapshot.
fn rows_with_data(pack: &Pack, collector: &Collector, metric: &Metric) -> String {
    let used = metric.labels.iter().map(|label| label.column()).chain(metric.value.as_deref());
    let value = metric.value.as_ref().map_or("*".to_owned(), |value| format!("q.\"{value}\""));
    let (read, new) = match (&collector.rows, &collector.snapshot) {
        (Some(rows), _) => {
            let columns: String =
                used.map(|name| format!("({}) as \"{name}\", ", rows.columns[name].on(System::Sqlite))).collect();
            let filter = rows.filter.as_ref().map_or("true", |filter| filter.on(System::Sqlite));
            let key: Vec<String> = rows.key.as_slice().iter().map(|key| format!("t.\"{key}\"")).collect();
            (
                format!(
                    "select {columns}{}, t.\"{}\" as happened from \"{}\" t where ({filter})",
                    key.join(", "),
                    rows.time,
                    rows.table
                ),
                format!("q.happened > '{}'", draw::time_text(START)),
            )
        }
        (None, Some(snapshot)) => (snapshot.sql.on(System::Sqlite).to_owned(), "true".to_owned()),
        (None, None) => panic!("{} reads nothing", collector.name),
    };
    let read = sql::bind(&read, |name| match sql::time_before(name) {
        Some(before) => format!("'{}'", draw::time_text(START + 20 * SECOND - before.as_micros() as Micros)),
        None => pack.parameters[name].value.to_string(),
    });
    format!("select count({value}) from ({read}) q where {new}")
}

#[tokio::test]
async fn traffic_runs_until_it_is_told_to_stop() {
    let folder = tempfile::tempdir().expect("a folder");
    // Ten seconds pass in one.
    let began = std::time::Instant::now();
    let clock: Clock = Arc::new(move || START + began.elapsed().as_micros() as i64 * 10);
    let traffic = Traffic::prepare_on(ground(folder.path(), 4, clock)).await.expect("the demo's scripts run");
    let scripts = script::builtin(System::Sqlite).expect("the demo's scripts are right");
    let url = |script: &script::Script| format!("sqlite:{}/{}.db", folder.path().display(), script.app);
    let urls: Vec<String> = traffic.places().databases.into_iter().map(|place| place.url).collect();
    assert_eq!(urls, scripts.iter().map(url).collect::<Vec<_>>());
    let progress = traffic.progress();
    assert_eq!(progress.summary(), TrafficSummary { statements: 0, rows: 0, lines: 0 });
    let enough = async {
        while progress.summary().statements < 300 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let run = tokio::time::timeout(Duration::from_secs(60), traffic.run(5.0, enough));
    let summary = run.await.expect("300 statements need no minute").expect("it runs");
    assert_eq!(progress.summary(), summary);
    // It stops at the next look or soon after, and nearly every statement writes about one row.
    assert!((300..50_000).contains(&summary.statements), "{summary:?}");
    assert!(summary.rows > 100 && summary.rows < summary.statements * 3, "{summary:?}");
}

#[tokio::test]
async fn a_night_asleep_is_not_lived_through() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut traffic = traffic(folder.path(), 5).await;
    let morning = START + 10 * 3600 * SECOND;
    let mut events = 0;
    loop {
        match traffic.advance(morning, 1.0).await.expect("the demo's actions run") {
            0 => break,
            more => events += more,
        }
    }
    // The 10 minutes that are caught up, bursts and what is not written to tables included.
    let expected = traffic.events_per_second() * CATCH_UP_SECONDS;
    assert!((expected * 0.7..expected * 2.5).contains(&(events as f64)), "{events} events, {expected} expected");
}

#[tokio::test]
async fn an_application_lives_as_it_would_alone() {
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let mut together = traffic(folders[0].path(), 6).await;
    let_pass(&mut together, 10).await;
    let script = script::builtin(System::Sqlite).expect("the demo's scripts are right").pop().expect("there is one");
    let app = format!("{}.", script.app);
    let clock: Clock = Arc::new(|| START);
    let life =
        Life::begin(script, &ground(folders[1].path(), 6, clock.clone()), Offsets::default()).await.expect("it runs");
    let mut alone = Traffic {
        lives: vec![life],
        clock,
        progress: Arc::default(),
        drains_at: None,
        system: System::Sqlite,
        troubles: Troubles::default(),
    };
    let_pass(&mut alone, 10).await;
    let all = everything(&mut together).await;
    let of_the_app: Vec<&String> = all.iter().filter(|row| row.starts_with(&app)).collect();
    assert!(of_the_app.len() > 500 && of_the_app.len() < all.len(), "{} of {} rows", of_the_app.len(), all.len());
    assert_eq!(of_the_app, everything(&mut alone).await.iter().collect::<Vec<_>>());
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_named() {
    let error = Traffic::prepare(Path::new("/nowhere/at/all"), 1, Arc::new(|| START)).await.err().expect("it fails");
    assert!(error.to_string().contains("/nowhere/at/all"), "{error}");
}
