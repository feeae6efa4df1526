use std::path::PathBuf;

use super::counting::Counting;
use super::*;
use crate::collector::logs::{LineBatch, WindowChanges};
use crate::collector::{Changes, Guard, KeyHash};
use crate::config::{Limits, LogSettings, OtlpSettings, Settings, WebSettings};
use crate::family::{Micros, Value};
use crate::otlp::SpanQueue;
use crate::schedule::NamesBoard;
use crate::source::logs::{LineId, LogLine};
use crate::state::State as Kept;
use crate::store::{Board, CollectorId, Store};
use crate::telemetry::metrics::Metrics;

const SECOND: Micros = 1_000_000;

const PACK: &str = "
app: garden
title: Garden
detect: [beds]
collectors:
  - name: words
    logs:
      lines:
        - json: {word: '*'}
          columns: {word: word}
    metrics:
      - {counter: garden_words_total, help: Words., labels: [word]}
  - name: watering
    logs:
      lines:
        - {json: {event: begin}, columns: {run: run}, run: start}
        - {json: {event: end}, columns: {run: run, outcome: outcome}, run: end}
      runs: {id: run, lost_after: 13s, lost: {outcome: lost}}
    metrics:
      - {counter: garden_waterings_total, help: Waterings., labels: [{name: outcome, values: [ok, lost]}]}
  - name: pots
    logs:
      lines:
        - json: {pots: '*'}
          each: pots
          columns: {pot: {item: ''}}
    spans:
      - {name: 'pot {pot}', start: time}
    metrics:
      - {counter: garden_pots_total, help: Pots.}
";

/// Everything shared, with the pack alone; so long a new series is shown as 0.
async fn context(state: Arc<Kept>, zero_first: Duration) -> Arc<Context> {
    let metrics = Arc::new(Metrics::new("0"));
    let pack = crate::pack::load::parse("garden.yaml", PACK).unwrap_or_else(|errors| panic!("{errors}"));
    let settings = Settings {
        listen: ([127, 0, 0, 1], 0).into(),
        state_dir: None,
        sources: Vec::new(),
        packs: vec![Arc::new(pack)],
        parameters: BTreeMap::new(),
        limits: Limits::default(),
        web: WebSettings::default(),
        alerts: crate::config::AlertSettings::default(),
        zero_first,
        otlp: OtlpSettings::default(),
        logs: LogSettings::default(),
    };
    Arc::new(Context {
        state,
        store: Arc::new(Store::new(metrics.clone())),
        board: Arc::new(Board::new()),
        metrics,
        guard: Arc::new(Guard::new(120)),
        settings,
        spans: Some(Arc::new(SpanQueue::new(1_000_000, 0))),
        names: NamesBoard::default(),
    })
}

async fn memory() -> Arc<Kept> {
    Arc::new(Kept::open(None).await.expect("memory is there"))
}

fn settings() -> DrainSettings {
    DrainSettings { packs: Some(vec!["garden".into()]), ..DrainSettings::new("app", DrainKind::Http) }
}

fn drain(settings: DrainSettings, context: &Arc<Context>) -> Drain {
    Drain::open(Arc::new(settings), context.clone(), &Inlets::new(1 << 20))
}

fn lines(lines: &[(u128, &str)]) -> Vec<Parsed> {
    let line = |(id, text): &(u128, &str)| LogLine {
        id: LineId(*id),
        time: Some(clock::now()),
        level: None,
        text: (*text).to_owned(),
        json: Some(serde_json::from_str(text).expect("JSON")),
        record: None,
    };
    vec![Parsed { lines: lines.iter().map(line).collect(), ..Parsed::default() }]
}

/// The sum of what is shown of a counter; none where nothing is.
fn shown(context: &Context, name: &str) -> Option<f64> {
    let published = context.store.published();
    let family = published.families.iter().find(|family| &*family.name == name)?;
    let values = family.series.iter().map(|series| match &series.value {
        Value::Number(number) => *number,
        other => panic!("{other:?}"),
    });
    Some(values.sum())
}

fn tells(context: &Context, packs: &[&str], settled: bool) {
    context.board.update(|view| {
        let status = view.sources.entry("db".into()).or_default();
        status.packs = packs.iter().map(|pack| (*pack).to_owned()).collect();
        status.settled = settled;
        status.note = Some("the database is down".into());
    });
}

#[tokio::test]
async fn lines_wait_until_the_database_has_told_all_its_packs() {
    let state = memory().await;
    let settings = || DrainSettings { packs: None, database: Some("db".into()), ..settings() };
    let first = context(state.clone(), Duration::ZERO).await;
    let mut one = drain(settings(), &first);
    let word = || lines(&[(1, r#"{"word": "rose"}"#)]);
    assert_eq!(one.counted(word(), None).await, Err(Refusal::NotReady));
    // The pack of its kind of server runs though the server is down; it is not all.
    tells(&first, &["postgres"], false);
    one.tick().await;
    assert_eq!(one.counted(word(), None).await, Err(Refusal::NotReady));
    tells(&first, &["postgres", "garden"], true);
    assert_eq!(one.counted(word(), None).await, Ok(()));
    assert_eq!(one.counted(word(), None).await, Ok(()), "it is known");
    assert_eq!(shown(&first, "garden_words_total"), Some(1.0));
    // After a start, those that counted before do, until the database tells others.
    let second = context(state, Duration::ZERO).await;
    tells(&second, &["postgres"], false);
    let mut again = drain(settings(), &second);
    again.tick().await;
    assert_eq!(again.counted(lines(&[(1, r#"{"word": "rose"}"#), (2, r#"{"word": "rose"}"#)]), None).await, Ok(()));
    assert_eq!(shown(&second, "garden_words_total"), Some(2.0));
}

#[tokio::test]
async fn what_cannot_be_written_counts_when_it_comes_again() {
    let context = context(memory().await, Duration::ZERO).await;
    let mut drain = drain(settings(), &context);
    drain.tick().await;
    // A batch is in the way of the one that is to be written.
    let in_the_way = LineBatch { number: 0, received: 1, ids: vec![KeyHash(9)] };
    let window = WindowChanges { added: Some(in_the_way), forgotten_through: None };
    let changes = Changes { cursor: "{}".into(), lines: window, ..Changes::default() };
    context.state.save("app/drain/lines", &changes, 1).await.expect("it writes");
    let two = || lines(&[(1, r#"{"word": "rose"}"#), (2, r#"{"event": "begin", "run": "1"}"#)]);
    assert_eq!(drain.counted(two(), None).await, Err(Refusal::NotWritten));
    assert_eq!(shown(&context, "garden_words_total"), None, "nothing is shown that is not written");
    let words = CollectorId::new("app", "garden", "words");
    let state_of = || context.board.view().collectors.get(&words).and_then(|status| status.state);
    assert_eq!(state_of(), Some(Reason::StateWrite.state()));
    // Made anew from the state it is not well yet; well it is once something was written.
    drain.make().await.expect("it can be read");
    assert_eq!(state_of(), Some(Reason::StateWrite.state()));
    drain.tick().await;
    assert_eq!((state_of(), drain.failing.clone()), (Some(WELL), None));
    for _ in 0..2 {
        assert_eq!(drain.counted(two(), None).await, Ok(()));
    }
    assert_eq!(shown(&context, "garden_words_total"), Some(1.0));
    let end = lines(&[(3, r#"{"event": "end", "run": "1", "outcome": "ok"}"#)]);
    assert_eq!(drain.counted(end, None).await, Ok(()));
    assert_eq!(shown(&context, "garden_waterings_total"), Some(1.0), "its beginning was not taken twice");
}

async fn counting(settings: &DrainSettings, context: &Context) -> Counting {
    let packs = context.settings.packs.clone();
    Counting::load(settings, context, Some(packs), clock::now())
        .await
        .expect("it can be read")
        .expect("the packs are known")
}

#[tokio::test]
async fn a_series_is_shown_in_time_though_another_collector_changes_just_then() {
    let context = context(memory().await, Duration::from_secs(10)).await;
    let mut counting = counting(&settings(), &context).await;
    let began = clock::now();
    let fold = |counting: &mut Counting, of: &[(u128, &str)], now| {
        counting.fold(&lines(of), None, 0, BTreeMap::new(), now);
        counting.publish(&context, true, now);
    };
    fold(&mut counting, &[(1, r#"{"event": "begin", "run": "1"}"#), (2, r#"{"word": "rose"}"#)], began);
    fold(&mut counting, &[(3, r#"{"word": "lily"}"#)], began + 3 * SECOND);
    counting.ripen(&context, began + 9 * SECOND);
    assert_eq!(shown(&context, "garden_words_total"), Some(0.0));
    counting.ripen(&context, began + 10 * SECOND);
    assert_eq!(shown(&context, "garden_words_total"), Some(1.0), "the elder does not wait for the younger");
    // The run is lost at the moment at which the younger is to be shown.
    let now = began + 13 * SECOND;
    assert!(counting.next_tick().is_some_and(|next| next <= now));
    counting.tick(0, now);
    counting.publish(&context, false, now);
    assert_eq!(shown(&context, "garden_waterings_total"), Some(1.0));
    assert_eq!(shown(&context, "garden_words_total"), Some(2.0));
}

#[tokio::test]
async fn every_element_of_a_list_has_room_for_its_span() {
    let context = context(memory().await, Duration::ZERO).await;
    let mut counting = counting(&settings(), &context).await;
    let parsed = lines(&[(1, r#"{"pots": [1, 2, 3]}"#), (2, r#"{"pots": []}"#), (3, r#"{"word": "rose"}"#)]);
    let room = counting.spans_of(&parsed);
    assert_eq!(room, 5, "an empty list is taken for one");
    let counted = counting.fold(&parsed, None, room, BTreeMap::new(), clock::now());
    assert_eq!((counted.spans_made, counted.counted), (3, 3));
    counting.publish(&context, true, clock::now());
    assert_eq!(shown(&context, "garden_pots_total"), Some(3.0));
}

#[tokio::test]
async fn rows_since_the_last_line_bear_starts_and_resets_of_the_database() {
    let context = context(memory().await, Duration::ZERO).await;
    let mut counting = counting(&settings(), &context).await;
    let rows = |of: &[(&str, u64)]| of.iter().map(|(name, rows)| ((*name).to_owned(), *rows)).collect();
    counting.fold(&lines(&[(1, "{}")]), None, 0, rows(&[("db/garden/a", 1000), ("db/garden/b", 5)]), clock::now());
    assert_eq!(counting.rows_since(rows(&[("db/garden/a", 1002), ("db/garden/b", 6)])), 3);
    assert_eq!(counting.rows_since(rows(&[("db/garden/b", 6)])), 1, "the other does not run yet");
    assert_eq!(counting.rows_since(rows(&[("db/garden/c", 70)])), 0, "nobody knows how many came since");
    assert_eq!(counting.rows_since(rows(&[("db/garden/a", 3), ("db/garden/c", 72)])), 2, "one began anew");
    assert_eq!(counting.rows_since(rows(&[("db/garden/a", 7), ("db/garden/c", 72)])), 6);
    // A line that comes while only one of them runs.
    counting.fold(&lines(&[(2, "{}")]), None, 0, rows(&[("db/garden/c", 72)]), clock::now());
    assert_eq!(counting.rows_since(rows(&[("db/garden/b", 6), ("db/garden/c", 72)])), 1);
}

#[tokio::test]
async fn a_place_in_one_file_is_none_in_another() {
    let context = context(memory().await, Duration::ZERO).await;
    let of = |file: &str| DrainSettings { kind: DrainKind::File, file: Some(PathBuf::from(file)), ..settings() };
    let mut counting = counting(&of("/a.log"), &context).await;
    let place = FilePosition { inode: 5, offset: 7, ..FilePosition::default() };
    let counted = counting.fold(&[], Some(place.clone()), 0, BTreeMap::new(), clock::now());
    let all: Vec<_> = counted.changes.iter().map(|(id, changes)| (id.as_str(), changes)).collect();
    context.save_all(&all).await.expect("it writes");
    assert_eq!(super::tests::counting(&of("/b.log"), &context).await.position(), None);
    assert_eq!(super::tests::counting(&of("/a.log"), &context).await.position(), Some(&place));
}
