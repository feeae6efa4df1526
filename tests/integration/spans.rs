//! The spans of every application's pack: rows of a real database in, records out, and the trace of a call put together.
//!
//! A pack that tells of spans is tested by being there; what they are is seen in `snapshots/`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use rowmetry::collector::cursor::LookBack;
use rowmetry::collector::{Guard, RowsCollector, RowsSettings, SpanMaker};
use rowmetry::config::{Limits, SourceSettings, Start};
use rowmetry::demo::Traffic;
use rowmetry::family::Micros;
use rowmetry::pack::{self, Pack, System, lint};
use rowmetry::source::postgres::PostgresSource;
use rowmetry::source::sqlite::SqliteSource;
use rowmetry::source::{RowsQuery, RowsRange, Source};
use rowmetry::span::{SpanId, SpanKind, SpanRecord, TraceId};
use rowmetry::telemetry::SpanSkipped;
use serde::Deserialize;
use serde_json::{Value, json};

use super::harness::exporter::PATIENCE;
use super::harness::guard::Folder;
use super::harness::otlp::{OtlpReceiver, ReceivedSpan, Transport};
use super::harness::{Cluster, Database, Setup, test_file};

const DAY: Micros = 86_400_000_000;

/// What `now()` is in the fixtures' rows, so that their spans are the same in every run.
const NOW: &str = "2026-03-04 05:06:07.5+00";

/// The same for the demo.
const DEMO_NOW: Micros = 1_772_600_767_500_000;

fn packs() -> Vec<Arc<Pack>> {
    let packs = pack::builtin().expect("the built-in packs pass lint");
    let packs: Vec<Arc<Pack>> = packs.into_iter().filter(|pack| pack.common.is_none()).collect();
    assert!(packs.len() >= 5, "packs ship");
    packs
}

fn fixture(name: &str) -> String {
    let file = test_file("fixtures").join(name);
    std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("every pack has {}: {e}", file.display()))
}

/// A database as an application makes it, with the rows of its fixture at a fixed time.
async fn filled<'c>(cluster: &'c Cluster, app: &str) -> Database<'c> {
    let database = cluster.database().await;
    database.run(fixture(&format!("{app}.sql"))).await;
    let clock = format!(
        "create schema frozen; create function frozen.now() returns timestamptz language sql stable as $$ select '{NOW}'::timestamptz $$"
    );
    database.run(clock).await;
    let rows = fixture(&format!("{app}_rows.sql"));
    database.run(format!("set search_path = frozen, pg_catalog, public; {rows}; reset search_path")).await;
    database
}

fn postgres(database: &Database<'_>) -> PostgresSource {
    let settings = SourceSettings::new("app", System::Postgres, database.url.clone().into());
    PostgresSource::new(&settings).expect("the URL is good")
}

/// A collector of a pack that makes spans.
struct Reader {
    name: String,
    collector: RowsCollector,
    spans: Vec<SpanRecord>,
    skipped: BTreeMap<SpanSkipped, u64>,
}

/// Every collector of a pack that makes spans of rows, in the pack's order. Those of log lines have tests of their own.
fn of_rows(pack: &Pack) -> impl Iterator<Item = &pack::Collector> {
    pack.collectors.iter().filter(|collector| !collector.spans.is_empty() && collector.rows.is_some())
}

fn readers(pack: &Pack, system: System, start: Start) -> Vec<Reader> {
    let guard = Arc::new(Guard::new(120));
    let parameters: Vec<(String, f64)> =
        pack.parameters.iter().map(|(name, parameter)| (name.clone(), parameter.value)).collect();
    let readers = of_rows(pack).map(|definition| {
        let rows = definition.rows.as_ref().expect("they are of rows");
        let query = RowsQuery::of(rows, system, parameters.clone());
        let look_back = LookBack { unseen: DAY, margin: DAY, column: 0 };
        let settings = RowsSettings { start, look_back, page_rows: 100, limits: Limits::default() };
        let maker = SpanMaker::new(definition, &query, "app", &pack.app, &guard);
        assert_eq!(maker.as_ref().map(SpanMaker::spans_a_row), Some(definition.spans.len()), "{}", definition.name);
        Reader {
            name: definition.name.clone(),
            collector: RowsCollector::new(definition, query, settings, &guard).with_spans(maker),
            spans: Vec::new(),
            skipped: BTreeMap::new(),
        }
    });
    readers.collect()
}

impl Reader {
    /// Reads all that there is now.
    async fn read(&mut self, source: &dyn Source) {
        if !self.collector.has_begun() {
            self.collector.begin(&source.moment().await.expect("it tells the time"));
        }
        loop {
            let range = self.collector.next_range();
            let page = source
                .read_rows(self.collector.query(), &range)
                .await
                .unwrap_or_else(|failure| panic!("{}: {failure}", self.name));
            self.collector.give_room(self.collector.spans_of(&page));
            let folded = self.collector.fold(&page, 0);
            let spans = self.collector.take_changes().spans;
            assert_eq!(spans.len() as u64, folded.spans_made, "{}", self.name);
            self.spans.extend(spans);
            for (reason, spans) in folded.spans_skipped {
                *self.skipped.entry(reason).or_default() += spans;
            }
            if !folded.more {
                return;
            }
        }
    }
}

async fn read_all(source: &dyn Source, pack: &Pack) -> Vec<Reader> {
    let mut readers = readers(pack, source.system(), Start::All);
    for reader in &mut readers {
        reader.read(source).await;
    }
    readers
}

fn told(readers: &[Reader]) -> String {
    let mut text = String::new();
    for reader in readers {
        let skipped: Vec<String> =
            reader.skipped.iter().map(|(reason, spans)| format!("{} {spans}", reason.as_str())).collect();
        let skipped = if skipped.is_empty() { "none".to_owned() } else { skipped.join(", ") };
        writeln!(text, "# {}; skipped: {skipped}", reader.name).expect("a text takes all");
        for span in &reader.spans {
            writeln!(text, "{}", serde_json::to_string(span).expect("plain data")).expect("a text takes all");
        }
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn every_pack_makes_these_spans() {
    #[derive(Deserialize)]
    struct Truth {
        never: Vec<String>,
    }
    for pack in packs() {
        let app = &pack.app;
        let database = filled(Cluster::shared(), app).await;
        let readers = read_all(&postgres(&database), &pack).await;
        assert!(!readers.is_empty(), "{app} tells of no span");
        let text = told(&readers);
        let truth: Truth =
            serde_saphyr::from_str(&fixture(&format!("{app}_truth.yaml"))).unwrap_or_else(|e| panic!("{app}: {e}"));
        for never in truth.never.iter().chain([&"leak".to_string()]) {
            let line = text.lines().find(|line| line.to_lowercase().contains(&never.to_lowercase()));
            assert_eq!(line, None, "{app} says {never:?}");
        }
        insta::assert_snapshot!(format!("spans_of_{app}"), text);
        // Read again by somebody who knows nothing: the same spans.
        assert_eq!(told(&read_all(&postgres(&database), &pack).await), text, "{app}");
    }
}

/// A record as a receiver is to tell it, but for what no row says.
fn received_as(record: &SpanRecord) -> Value {
    let kind = match record.kind {
        SpanKind::Internal => 1,
        SpanKind::Server => 2,
        SpanKind::Client => 3,
        SpanKind::Producer => 4,
        SpanKind::Consumer => 5,
    };
    let attributes: serde_json::Map<String, Value> = record
        .attributes
        .iter()
        .map(|(name, value)| (name.clone(), serde_json::to_value(value).expect("plain data")))
        .chain(record.error.iter().map(|error| ("error.type".to_owned(), error.as_str().into())))
        .collect();
    json!({
        "trace_id": record.trace.to_string(),
        "span_id": record.span.to_string(),
        "parent_span_id": record.parent.map(|parent| parent.to_string()).unwrap_or_default(),
        "name": record.name,
        "kind": kind,
        "start": record.start * 1000,
        "end": record.end * 1000,
        "attributes": attributes,
        "status": {"code": if record.error.is_some() { 2 } else { 0 }, "message": ""},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_pack_s_spans_arrive_as_spans_of_its_application() {
    let receiver = OtlpReceiver::start();
    for (number, pack) in packs().into_iter().enumerate() {
        let app = &pack.app;
        let database = filled(Cluster::shared(), app).await;
        let readers = read_all(&postgres(&database), &pack).await;
        let mut wanted: Vec<Value> = readers.iter().flat_map(|reader| &reader.spans).map(received_as).collect();
        let transport = [Transport::Http, Transport::Grpc][number % 2];
        let protocol = ["http/protobuf", "grpc"][number % 2];
        let otlp =
            format!("{{endpoint: \"{}\", protocol: {protocol}, traces: {{own: false}}}}", receiver.url_of(transport));
        receiver.clear();
        let setup = Setup::of(&database.url).with("otlp", otlp).sourced("packs", format!("[{app}]"));
        let _exporter = setup.start().await;
        let spans = receiver.wait_for_spans(wanted.len() as u64, PATIENCE).await;
        for span in &spans {
            assert_eq!(span.resource.get("service.name"), Some(app), "the application's name, not ours");
            assert_eq!(span.scope.0, "rowmetry");
        }
        let keys = ["trace_id", "span_id", "parent_span_id", "name", "kind", "start", "end", "attributes", "status"];
        let of = |span: &ReceivedSpan| -> Value {
            let whole = span.canonical();
            keys.iter().map(|key| ((*key).to_owned(), whole[*key].clone())).collect::<serde_json::Map<_, _>>().into()
        };
        let mut came: Vec<Value> = spans.iter().map(of).collect();
        let order = |span: &Value| span["span_id"].as_str().unwrap_or_default().to_owned();
        wanted.sort_by_key(order);
        came.sort_by_key(order);
        assert_eq!(came, wanted, "{app} over {protocol}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_cost_no_metric_where_a_schema_drifted() {
    #[derive(Deserialize)]
    struct Truth {
        drifts: Vec<Drift>,
    }
    #[derive(Deserialize)]
    struct Drift {
        script: String,
    }
    for pack in packs() {
        let app = &pack.app;
        let truth: Truth =
            serde_saphyr::from_str(&fixture(&format!("{app}_truth.yaml"))).unwrap_or_else(|e| panic!("{app}: {e}"));
        for Drift { script } in truth.drifts {
            let database = filled(Cluster::shared(), app).await;
            database.run(fixture(&script)).await;
            let source = postgres(&database);
            for reader in readers(&pack, System::Postgres, Start::All) {
                let definition = pack.collectors.iter().find(|c| c.name == reader.name).expect("it has a definition");
                let mut query = reader.collector.query().clone();
                let with_spans = source.read_rows(&query, &RowsRange::of_everything(100)).await;
                query.keep_columns(&lint::metric_columns(definition));
                let without = source.read_rows(&query, &RowsRange::of_everything(100)).await;
                let failure = with_spans.as_ref().err();
                assert_eq!(failure.is_some(), without.is_err(), "{script}: {}: {failure:?}", reader.name);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_pack_makes_spans_in_the_demo_too() {
    let folder = Folder::new("spans");
    let traffic = Traffic::prepare(folder.path(), 7, Arc::new(|| DEMO_NOW)).await.expect("the demo begins");
    for place in traffic.places().databases {
        let pack = packs().into_iter().find(|pack| pack.app == place.app).expect("the demo's applications have packs");
        let settings = SourceSettings::new("app", System::Sqlite, place.url.clone().into());
        let source = SqliteSource::new(&settings).expect("the URL is good");
        let readers = read_all(&source, &pack).await;
        for (reader, collector) in readers.iter().zip(of_rows(&pack)) {
            for span in &collector.spans {
                let word = span.name.split('{').map(|part| part.rsplit('}').next().unwrap_or_default().trim());
                let word = word.max_by_key(|part| part.len()).unwrap_or_default();
                assert!(reader.spans.iter().any(|made| made.name.contains(word)), "{}: no `{}`", place.app, span.name);
            }
            assert_eq!(reader.skipped.get(&SpanSkipped::BadTime), None, "{} {}", place.app, reader.name);
            assert_eq!(reader.skipped.get(&SpanSkipped::EndsBeforeStart), None, "{} {}", place.app, reader.name);
        }
        if place.app == "syncedup" {
            let all: Vec<SpanRecord> = readers.into_iter().flat_map(|reader| reader.spans).collect();
            let whole = traces(&all).into_values().filter(|trace| *trace == whole_call()).count();
            assert!(whole > 10, "{whole} calls with every step");
        }
    }
    traffic.close().await.expect("the demo ends");
}

/// The names of the spans of each trace with the names of what they are parts of.
fn traces(spans: &[SpanRecord]) -> BTreeMap<TraceId, BTreeSet<(String, Option<String>)>> {
    let names: BTreeMap<SpanId, &str> = spans.iter().map(|span| (span.span, span.name.as_str())).collect();
    assert_eq!(names.len(), spans.len(), "every span has an id of its own");
    let mut traces: BTreeMap<TraceId, BTreeSet<_>> = BTreeMap::new();
    for span in spans {
        let parent = span.parent.map(|parent| names.get(&parent).map_or("?", |name| *name).to_owned());
        traces.entry(span.trace).or_default().insert((span.name.clone(), parent));
    }
    traces
}

/// A call of which all is known and nothing failed.
fn whole_call() -> BTreeSet<(String, Option<String>)> {
    let parts = [
        ("call", None),
        ("recording fetch", Some("call")),
        ("transcription", Some("call")),
        ("transcription wait", Some("transcription")),
        ("transcription work", Some("transcription")),
        ("analysis", Some("call")),
    ];
    parts.map(|(name, parent)| (name.to_owned(), parent.map(str::to_owned))).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_one_trace_in_whatever_order_its_rows_come() {
    let pack = packs().into_iter().find(|pack| pack.app == "syncedup").expect("the pack ships");
    let database = Cluster::shared().database().await;
    database.run(fixture("syncedup.sql")).await;
    // The rows of a call refer to each other only by what they say.
    database.run("alter table call_events drop constraint call_events_call_id_fkey").await;
    database.run("alter table pending_recordings drop constraint pending_recordings_call_id_fkey").await;
    let source = postgres(&database);
    let mut readers = readers(&pack, System::Postgres, Start::Now);
    for reader in &mut readers {
        reader.read(&source).await;
    }
    let rows = |call: &str| {
        [
            format!("insert into calls (id, source, direction, duration_sec) values ('{call}', 'x', 'inbound', 60)"),
            format!(
                "insert into pending_recordings (call_id, created_at, processed_at) values ('{call}', now(), now() + interval '2 s')"
            ),
            format!(
                "insert into transcription_queue (call_id, recording_url, status, created_at, started_at, completed_at) \
                 values ('{call}', 'x', 'completed', now(), now() + interval '3 s', now() + interval '9 s')"
            ),
            format!(
                "insert into call_events (call_id, type) values ('{call}', 'transcribe_ok'), ('{call}', 'analyzed')"
            ),
        ]
    };
    let orders = permutations(4);
    assert_eq!(orders.len(), 24);
    for (number, order) in orders.iter().enumerate() {
        let rows = rows(&format!("c0000000-0000-4000-8000-{number:012}"));
        for row in order {
            database.run(rows[*row].clone()).await;
            for reader in &mut readers {
                reader.read(&source).await;
            }
        }
        let spans: Vec<SpanRecord> = readers.iter_mut().flat_map(|reader| std::mem::take(&mut reader.spans)).collect();
        let traces = traces(&spans);
        assert_eq!(traces.values().collect::<Vec<_>>(), [&whole_call()], "{order:?}");
        assert!(spans.iter().all(|span| span.start <= span.end));
    }
    let skipped: BTreeMap<_, _> = readers.iter().flat_map(|reader| &reader.skipped).collect();
    assert_eq!(skipped, BTreeMap::new());
}

/// Every order of the numbers below this.
fn permutations(count: usize) -> Vec<Vec<usize>> {
    let mut orders = vec![Vec::new()];
    for number in 0..count {
        let longer = orders.into_iter().flat_map(|order: Vec<usize>| {
            (0..=order.len()).map(move |at| {
                let mut longer = order.clone();
                longer.insert(at, number);
                longer
            })
        });
        orders = longer.collect();
    }
    orders
}
