use super::*;

const SECOND: Micros = 1_000_000;

/// The row's time: 2026-11-21 02:53:18.
const NOW: Micros = 1_795_229_598 * SECOND;

/// Columns of every test's rows, in the order of their cells after the key `id` (and the state, if there is one).
const COLUMNS: [&str; 8] = ["a", "b", "began", "call", "ended", "parent", "seconds", "wrong"];

const PLAIN: (&str, &str, Option<SpanId>) = ("84210e677ae6fe07b133c1e2c9016e51", "6007728cb3070b61", None);
const STATEFUL: (&str, &str) = ("5911d1cd569c065db2c88260437472df", "af6a0d00c36ea669");
const SHARED_ROOT: (&str, &str, Option<SpanId>) = ("e2020ecdff6446fb4c6f38f0a6173542", "4b02c39dced8f015", None);
const SHARED_PART: &str = "b25bb893b1b51004";

struct Bench {
    maker: SpanMaker,
    /// Cells before the columns.
    leading: usize,
    spans: Vec<SpanRecord>,
    skipped: BTreeMap<SpanSkipped, u64>,
}

fn bench(spans: &str) -> Bench {
    bench_of("", spans)
}

fn bench_of(transition: &str, spans: &str) -> Bench {
    let columns = COLUMNS.map(|column| format!("{column}: t.{column}")).join(", ");
    let yaml = format!(
        "{{name: c, rows: {{table: jobs, key: id, time: at, {transition} columns: {{{columns}}}}}, spans: [{spans}]}}"
    );
    let definition: pack::Collector = serde_saphyr::from_str(&yaml).unwrap_or_else(|error| panic!("{yaml}: {error}"));
    let query = RowsQuery::of(definition.rows.as_ref().expect("it has rows"), pack::System::Postgres, Vec::new());
    let maker = SpanMaker::new(&definition, &query, "main", "plants", &Arc::new(Guard::new(100))).expect("spans");
    let leading = 1 + usize::from(query.transition.is_some());
    Bench { maker, leading, spans: Vec::new(), skipped: BTreeMap::new() }
}

impl Bench {
    fn row(&mut self, identity: &[&str], cells: &[(&str, &str)]) -> Option<SpanContext> {
        assert_eq!(identity.len(), self.leading);
        let cell = |at: usize| match identity.get(at) {
            Some(cell) => Some(*cell),
            None => cells.iter().find(|(name, _)| *name == COLUMNS[at - identity.len()]).map(|(_, cell)| *cell),
        };
        self.maker.make(&cell, NOW, &mut self.spans, &mut self.skipped)
    }

    /// The spans of one row.
    fn made(&mut self, cells: &[(&str, &str)]) -> Vec<SpanRecord> {
        self.row(&["1"], cells);
        std::mem::take(&mut self.spans)
    }

    fn one(&mut self, cells: &[(&str, &str)]) -> SpanRecord {
        let mut made = self.made(cells);
        assert_eq!((made.len(), &self.skipped), (1, &BTreeMap::new()), "{cells:?}");
        made.remove(0)
    }

    /// Why the one row makes none.
    fn refused(&mut self, cells: &[(&str, &str)]) -> SpanSkipped {
        assert_eq!(self.made(cells), [], "{cells:?}");
        let skipped = std::mem::take(&mut self.skipped);
        assert_eq!(skipped.len(), 1, "{cells:?}: {skipped:?}");
        *skipped.keys().next().expect("one")
    }
}

#[test]
fn ids_are_those_that_were_given_once_and_for_all() {
    // Reckoned with another program from what `ids.rs` says. If they change, every row that is read again is another span.
    let mut plain = bench("{name: 'work {a}', duration: seconds}");
    let span = plain.one(&[("seconds", "1"), ("a", "x")]);
    assert_eq!((span.trace.to_string().as_str(), span.span.to_string().as_str(), span.parent), PLAIN);
    let mut stateful = bench_of("transition: t.state,", "{name: 'work {a}', duration: seconds}");
    let context = stateful.row(&["1", "done"], &[("seconds", "1")]).expect("a span");
    assert_eq!((context.trace.to_string().as_str(), context.span.to_string().as_str()), STATEFUL);
    let mut shared = bench(
        "{name: call, duration: seconds, trace: {of: call, id: call, root: true}}, \
         {name: part, duration: seconds, trace: {of: call, id: call}}",
    );
    let made = shared.made(&[("seconds", "1"), ("call", "7")]);
    let [root, part] = made.as_slice() else { panic!("{made:?}") };
    assert_eq!((root.trace.to_string().as_str(), root.span.to_string().as_str(), root.parent), SHARED_ROOT);
    assert_eq!((part.trace, part.parent), (root.trace, Some(root.span)));
    assert_eq!(part.span.to_string(), SHARED_PART);
}

#[test]
fn what_makes_a_row_another_makes_its_span_another() {
    let ids = |source: &str, table: &str, row: &[Option<&str>], name: &str| {
        let mut ids = Ids::new(source, "plants", table);
        (ids.trace_of_row(row.iter().copied()), ids.span(row.iter().copied(), name))
    };
    let mut seen = std::collections::BTreeSet::new();
    for (source, table, row) in [
        ("a", "t", &[Some("1"), Some("2")][..]),
        ("b", "t", &[Some("1"), Some("2")]),
        ("a", "u", &[Some("1"), Some("2")]),
        ("a", "t", &[Some("12"), Some("")]),
        ("a", "t", &[Some("12"), None]),
        ("a", "t", &[Some("12")]),
        ("at", "", &[Some("1"), Some("2")]),
    ] {
        let (trace, span) = ids(source, table, row, "n");
        assert!(seen.insert(trace.to_string()) && seen.insert(span.to_string()), "{source} {table} {row:?}");
        let (again, other) = ids(source, table, row, "m");
        assert_eq!(again, trace, "the name of a span is no part of its trace");
        assert!(seen.insert(other.to_string()), "{source} {table} {row:?}");
    }
    let mut one = Ids::new("a", "p", "t");
    let mut other = Ids::new("a", "p", "u");
    assert_eq!(one.trace("call", "1"), other.trace("call", "1"), "whatever table tells of it");
    assert_ne!(one.trace("call", "1"), one.trace("call", "2"));
    assert_ne!(one.trace("call", "1"), one.trace("cal", "l1"));
    assert_ne!(one.trace("call", "1"), Ids::new("a", "q", "t").trace("call", "1"));
}

#[test]
fn times_come_from_the_two_that_are_told() {
    let began = ("began", "2026-11-21 02:53:10.5+00");
    let ended = ("ended", "2026-11-21T02:53:14");
    let seconds = ("seconds", "1.25");
    for (span, expected) in [
        ("start: began", (NOW - 7_500_000, NOW)),
        ("duration: seconds", (NOW - 1_250_000, NOW)),
        ("start: began, end: ended", (NOW - 7_500_000, NOW - 4_000_000)),
        ("end: ended, duration: seconds", (NOW - 5_250_000, NOW - 4_000_000)),
        ("start: began, duration: seconds", (NOW - 7_500_000, NOW - 6_250_000)),
    ] {
        let span_made = bench(&format!("{{name: work, {span}}}")).one(&[began, ended, seconds]);
        assert_eq!((span_made.start, span_made.end), expected, "{span}");
    }
}

#[test]
fn times_that_are_none_make_no_span() {
    use SpanSkipped::{BadTime, EndsBeforeStart, TimeMissing};
    let mut both = bench("{name: work, start: began, end: ended}");
    for (began, ended, reason) in [
        ("soon", "2026-11-21", BadTime),
        ("1795229598", "2026-11-21", BadTime),
        ("infinity", "2026-11-21", BadTime),
        ("-infinity", "2026-11-21", BadTime),
        ("1969-12-31 23:59:59.999999", "2026-11-21", BadTime),
        ("2026-11-21", "2201-01-01", BadTime),
        ("2026-11-22", "2026-11-21", EndsBeforeStart),
    ] {
        assert_eq!(both.refused(&[("began", began), ("ended", ended)]), reason, "{began} {ended}");
    }
    assert_eq!(both.refused(&[("began", "2026-11-21")]), TimeMissing);
    assert_eq!(both.refused(&[("ended", "2026-11-21")]), TimeMissing);
    assert_eq!(both.one(&[("began", "1970-01-01"), ("ended", "2200-12-31 23:59:59.999999")]).start, 0);
    assert_eq!(both.one(&[("began", "2026-11-21"), ("ended", "2026-11-21")]).name, "work");
    let mut lasting = bench("{name: work, duration: seconds}");
    for (seconds, reason) in [
        ("-0.5", EndsBeforeStart),
        ("long", BadTime),
        ("NaN", BadTime),
        ("inf", BadTime),
        ("1e300", BadTime),
        ("1795229599", BadTime),
    ] {
        assert_eq!(lasting.refused(&[("seconds", seconds)]), reason, "{seconds}");
    }
    assert_eq!(lasting.refused(&[]), TimeMissing);
    let span = lasting.one(&[("seconds", "0")]);
    assert_eq!((span.start, span.end), (NOW, NOW));
}

#[test]
fn parts_belong_to_what_they_are_parts_of_whatever_the_order_of_the_list() {
    let mut bench = bench(
        "{name: deep, duration: seconds, parent: part}, {name: part, start: began, parent: whole}, \
         {name: whole, duration: seconds}, {name: beside, duration: seconds}",
    );
    let context = bench.row(&["1"], &[("seconds", "1"), ("began", "2026-11-21")]).expect("spans");
    let find = |name: &str| bench.spans.iter().find(|span| span.name == name).expect("made").clone();
    let (deep, part, whole, beside) = (find("deep"), find("part"), find("whole"), find("beside"));
    assert_eq!(whole.parent, None);
    assert_eq!((deep.parent, part.parent, beside.parent), (Some(part.span), Some(whole.span), Some(whole.span)));
    assert!([&deep, &part, &beside].iter().all(|span| span.trace == whole.trace));
    assert_eq!(context, deep.context(), "the first of the list");

    // What a missing part would have held belongs to the whole.
    bench.spans.clear();
    bench.row(&["1"], &[("seconds", "1")]);
    assert_eq!(bench.skipped, BTreeMap::from([(SpanSkipped::TimeMissing, 1)]));
    let again = bench.spans.iter().find(|span| span.name == "deep").expect("made");
    assert_eq!((again.span, again.parent), (deep.span, Some(whole.span)));
}

#[test]
fn a_row_that_tells_of_something_else_makes_no_span_and_is_not_told_of() {
    let mut bench = bench("{name: whole, when: a, start: began}, {name: part, duration: seconds}");
    let made = bench.made(&[("seconds", "1")]);
    assert_eq!(made.iter().map(|span| (span.name.as_str(), span.parent)).collect::<Vec<_>>(), [("part", None)]);
    assert_eq!(bench.skipped, BTreeMap::new());
    let made = bench.made(&[("seconds", "1"), ("a", ""), ("began", "2026-11-21")]);
    assert_eq!((made.len(), made[1].parent), (2, Some(made[0].span)));
}

#[test]
fn a_trace_of_several_rows_is_the_same_in_whatever_order_they_come() {
    let call = "trace: {of: call, id: call, root: true}";
    let mut calls = bench(&format!("{{name: call, duration: seconds, {call}}}"));
    let mut parts = bench(
        "{name: fetch, duration: seconds, trace: {of: call, id: call}}, {name: wait, duration: seconds, parent: fetch}",
    );
    let cells = [("seconds", "1"), ("call", "c-1")];
    let first = parts.made(&cells);
    let root = calls.one(&cells);
    assert_eq!(root.parent, None);
    assert_eq!((first[0].trace, first[0].parent), (root.trace, Some(root.span)));
    assert_eq!((first[1].trace, first[1].parent), (root.trace, Some(first[0].span)));
    assert_eq!(parts.made(&cells), first);
    // A row that tells of no call has nothing to belong to, nor have its parts.
    assert_eq!(parts.made(&[("seconds", "1")]), []);
    assert_eq!(parts.skipped, BTreeMap::from([(SpanSkipped::TraceMissing, 2)]));
}

#[test]
fn a_stored_traceparent_wins_for_the_span_and_its_parts() {
    let stored = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let mut bench = bench("{name: whole, duration: seconds, traceparent: parent}, {name: part, duration: seconds}");
    let made = bench.made(&[("seconds", "1"), ("parent", stored)]);
    assert_eq!(made[0].trace.to_string(), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(made[0].parent.map(|id| id.to_string()).as_deref(), Some("b7ad6b7169203331"));
    assert_eq!((made[1].trace, made[1].parent), (made[0].trace, Some(made[0].span)));
    let without = bench.made(&[("seconds", "1")]);
    assert_eq!((without[0].parent, without[0].span), (None, made[0].span));
    assert_ne!(without[0].trace, made[0].trace);
    for none in ["", "yes", "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"] {
        assert_eq!(bench.made(&[("seconds", "1"), ("parent", none)]), without, "{none}");
    }
}

#[test]
fn names_are_filled_and_lose_what_is_not_told() {
    for (name, a, b, filled) in [
        ("chat {a}", Some("gpt-4o"), None, "chat gpt-4o"),
        ("chat {a}", None, None, "chat"),
        ("chat {a}", Some(""), None, "chat"),
        ("{a} chat", None, None, "chat"),
        ("{a} chat {b} now", None, None, "chat now"),
        ("{a} {b}", None, Some("y"), "y"),
        ("{a} {b}", Some("x"), None, "x"),
        ("{a}-{b}", Some("x"), Some("y"), "x-y"),
        ("{a} {b}", None, None, "a b"),
        ("{a}", Some("jo@example.net"), None, "redacted"),
    ] {
        let cells: Vec<(&str, &str)> = [("a", a), ("b", b), ("seconds", Some("1"))]
            .iter()
            .filter_map(|(name, cell)| Some((*name, (*cell)?)))
            .collect();
        let span = bench(&format!("{{name: '{name}', duration: seconds}}")).one(&cells);
        assert_eq!(span.name, filled, "{name} {a:?} {b:?}");
    }
}

#[test]
fn attributes_are_read_as_they_are_meant_and_guarded() {
    let mut bench = bench(
        "{name: work, kind: client, duration: seconds, error: wrong, attributes: {app.text: a, app.id: {column: a, allow: [ids]}, \
         app.whole: {column: b, type: integer}, app.number: {column: b, type: number}, app.flag: {column: b, type: flag}, \
         app.fixed: {value: jo@example.net}, app.three: {value: '3', type: integer}}}",
    );
    let uuid = "123e4567-e89b-12d3-a456-426614174000";
    let span = bench.one(&[("seconds", "1"), ("a", uuid), ("b", "1"), ("wrong", "timeout")]);
    let text = |text: &str| AttributeValue::Text(text.to_owned());
    let attributes: BTreeMap<String, AttributeValue> = span.attributes.into_iter().collect();
    let expected = [
        ("app.fixed", text("jo@example.net")),
        ("app.flag", AttributeValue::Flag(true)),
        ("app.id", text(uuid)),
        ("app.number", AttributeValue::Number(1.0)),
        ("app.text", text("redacted")),
        ("app.three", AttributeValue::Integer(3)),
        ("app.whole", AttributeValue::Integer(1)),
    ];
    assert_eq!(attributes, expected.map(|(name, value)| (name.to_owned(), value)).into());
    assert_eq!((span.kind, span.error.as_deref()), (SpanKind::Client, Some("timeout")));
    assert_eq!(bench.maker.take_replaced(), BTreeMap::from([(Replaced::Id, 1)]));

    // A second time from memory, and what is not to be read is left out.
    let span = bench.one(&[("seconds", "1"), ("a", uuid), ("b", "many"), ("wrong", "jo@example.net said no")]);
    let names: Vec<&str> = span.attributes.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["app.fixed", "app.id", "app.text", "app.three"]);
    assert_eq!(span.error.as_deref(), Some("redacted"));
    assert_eq!(bench.maker.take_replaced(), BTreeMap::from([(Replaced::Id, 1), (Replaced::Email, 1)]));
    assert_eq!(bench.one(&[("seconds", "1"), ("wrong", "")]).error, None);
}

#[test]
fn what_was_judged_is_forgotten_before_it_takes_much_memory() {
    let mut bench = bench("{name: work, duration: seconds, attributes: {app.text: a}}");
    for n in 0..JUDGED_TEXTS + 10 {
        bench.one(&[("seconds", "1"), ("a", &format!("n{n}"))]);
    }
    bench.one(&[("seconds", "1"), ("a", &"long ".repeat(60))]);
    assert_eq!(bench.maker.judge.judged[0].len(), 10);
}
