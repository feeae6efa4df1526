//! What the spans of a collector must keep to: columns, times, parents, traces and the names of attributes.
//!
//! What it lets through, a span can be made of. Nothing here looks at a database.

use std::collections::{BTreeMap, BTreeSet};

use super::{At, Lint, is_column, place};
use crate::pack::logs::IN_FLIGHT;
use crate::pack::span::{AttributeKind, FullAttribute};
use crate::pack::{Collector, Pack, Span, span::Attribute};
use crate::yaml::did_you_mean;

/// The attribute that a span's `error` becomes.
const ERROR_ATTRIBUTE: &str = "error.type";

/// `columns` are those that the collector offers.
pub(super) fn spans(lint: &mut Lint<'_>, collector: &Collector, columns: &[&str], at: &At) {
    if maker(collector).is_none() {
        if !collector.spans.is_empty() {
            let message = format!("spans are made of `rows` and `logs`, and this collector has `{}`", collector.kind());
            lint.complain(&at.key("spans"), message);
        }
        return;
    }
    let place = if collector.rows.is_some() { "in `columns`" } else { "among those that a line of this collector has" };
    let columns: Vec<&str> = columns.iter().copied().filter(|column| *column != IN_FLIGHT).collect();
    for (index, span) in collector.spans.iter().enumerate() {
        let at = of(at, index, span);
        name(lint, span, &at);
        times(lint, span, &at);
        belongs(lint, collector, span, &at);
        attributes(lint, span, &at);
        columns_exist(lint, span, &columns, place, &at);
    }
}

/// What must fit together in the whole pack: names by which ids are told apart, and the roots of traces.
pub(super) fn together(lint: &mut Lint<'_>, pack: &Pack) {
    let mut names: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    let mut traces: BTreeMap<&str, (Vec<At>, At)> = BTreeMap::new();
    for (number, collector) in pack.collectors.iter().enumerate() {
        let Some(maker) = maker(collector) else { continue };
        let of_collector = At { path: vec!["collectors".into(), number.to_string()], place: place(&collector.name) };
        for (index, span) in collector.spans.iter().enumerate() {
            let at = of(&of_collector, index, span);
            if let Some(other) = names.insert((maker, &span.name), &collector.name) {
                let message = format!(
                    "collector {other} makes a span of this name of {maker} too, and their ids would be the same; give it another"
                );
                lint.complain(&at.key("name"), message);
            }
            let Some(trace) = &span.trace else { continue };
            let at = at.key("trace");
            let (roots, _) = traces.entry(&trace.of).or_insert_with(|| (Vec::new(), at.clone()));
            if trace.root {
                roots.push(at);
            }
        }
    }
    for (of, (roots, first)) in traces {
        match roots.as_slice() {
            [_] => {}
            [] => {
                let message =
                    format!("no span of the pack is the root of the traces of `{of}`: write `root: true` on one");
                lint.complain(&first, message);
            }
            [_, others @ ..] => {
                for other in others {
                    let message = format!("the traces of `{of}` have a root already; leave `root` out here");
                    lint.complain(&other.key("root"), message);
                }
            }
        }
    }
}

/// What spans are made of, so that their ids are told apart by their names.
fn maker(collector: &Collector) -> Option<&str> {
    let lines = collector.logs.as_ref().map(|_| "log lines");
    collector.rows.as_ref().map(|rows| rows.table.as_str()).or(lines)
}

fn of(collector: &At, index: usize, span: &Span) -> At {
    let name = if span.name.is_empty() { "?" } else { &span.name };
    At { path: collector.key("spans").key(&index.to_string()).path, place: format!("{}: span {name}", collector.place) }
}

fn name(lint: &mut Lint<'_>, span: &Span, at: &At) {
    let at = at.key("name");
    if span.name.trim().is_empty() {
        lint.complain(&at, "the name is empty; say what was done, such as `chat {model}`");
    }
    let mut inside = false;
    for brace in span.name.chars().filter(|c| "{}".contains(*c)) {
        if (brace == '{') == inside {
            lint.complain(&at, "braces stand in pairs, with the name of a column between them: `chat {model}`");
            return;
        }
        inside = !inside;
    }
    if inside {
        lint.complain(&at, "a brace is not closed; the name of a column stands in a pair: `chat {model}`");
    } else if let Some(odd) = span.name_columns().find(|column| !is_column(column)) {
        lint.complain(&at, format!("`{{{odd}}}`: the name of a column stands between braces"));
    }
}

fn times(lint: &mut Lint<'_>, span: &Span, at: &At) {
    match (&span.start, &span.end, &span.duration) {
        (Some(_), Some(_), Some(_)) => {
            let message =
                "two of `start`, `end` and `duration` tell the third, so one of them might not agree; leave it out";
            lint.complain(&at.key("duration"), message);
        }
        (None, _, None) => {
            let message = "say when it began: name a column as `start`, or as `duration` in seconds";
            lint.complain(at, message);
        }
        _ => {}
    }
}

fn belongs(lint: &mut Lint<'_>, collector: &Collector, span: &Span, at: &At) {
    let find = |name: &str| collector.spans.iter().find(|other| other.name == name);
    if let Some(parent) = &span.parent {
        let at = at.key("parent");
        let mut seen = BTreeSet::new();
        let mut next = Some(parent.as_str());
        while let Some(name) = next {
            if !seen.insert(name) {
                break;
            }
            next = find(name).and_then(|span| span.parent.as_deref());
        }
        if find(parent).is_none() {
            let suggestion = did_you_mean(parent, collector.spans.iter().map(|span| span.name.as_str()));
            lint.complain(&at, format!("the collector has no span `{parent}`{suggestion}"));
        } else if seen.contains(span.name.as_str()) {
            lint.complain(&at, "it would be a part of itself; leave `parent` out of one of them");
        } else if span.trace.is_some() {
            lint.complain(&at, "a part is in the trace of the span that it is a part of; remove `trace` or `parent`");
        } else if span.traceparent.is_some() {
            lint.complain(&at, "`traceparent` names its parent; remove one of the two");
        }
    }
    if let Some(trace) = &span.trace {
        if trace.of.trim().is_empty() {
            lint.complain(&at.key("trace").key("of"), "say what the trace is of in one word, such as `order`");
        }
        if trace.root && span.traceparent.is_some() {
            let message =
                "the other parts of the trace would not find a root that is elsewhere; remove `traceparent` or `root`";
            lint.complain(&at.key("traceparent"), message);
        }
    }
}

fn attributes(lint: &mut Lint<'_>, span: &Span, at: &At) {
    for (name, attribute) in &span.attributes {
        let at = at.key("attributes").key(name);
        let is_word = |word: &str| is_column(word) && !word.starts_with('_');
        let words: Vec<&str> = name.split('.').collect();
        if name == ERROR_ATTRIBUTE {
            lint.complain(&at, "`error` makes this attribute and the span's status; name the column there");
        } else if words[0] == "otel" {
            lint.complain(&at, "names that begin with `otel.` belong to OpenTelemetry; choose another");
        } else if words.len() < 2 || !words.iter().all(|word| is_word(word)) {
            let message = format!(
                "attribute `{name}`: use words of a-z, 0-9 and _ with dots between them, the first an application's name or one of \
                 OpenTelemetry's, such as `gen_ai.request.model`"
            );
            lint.complain(&at, message);
        }
        let Attribute::Full(full) = attribute else { continue };
        let FullAttribute { column, value, kind, allow } = full;
        match (column, value) {
            (Some(_), None) => {
                if !allow.is_empty() && *kind != AttributeKind::Text {
                    lint.complain(&at.key("allow"), "only texts are looked at for personal data; remove `allow`");
                }
            }
            (None, Some(value)) => {
                if kind.read(value).is_none() {
                    lint.complain(&at.key("value"), format!("`{value}` cannot be read as its `type`"));
                }
                if !allow.is_empty() {
                    lint.complain(&at.key("allow"), "a constant is told as it stands; remove `allow`");
                }
            }
            _ => lint.complain(&at, "name a `column`, or a `value` that is the same for every row, and not both"),
        }
    }
}

fn columns_exist(lint: &mut Lint<'_>, span: &Span, columns: &[&str], place: &str, at: &At) {
    let told: BTreeSet<&str> = span.columns().into_iter().filter(|column| is_column(column)).collect();
    for column in told.into_iter().filter(|column| !columns.contains(column)) {
        let suggestion = did_you_mean(column, columns.iter().copied());
        lint.complain(at, format!("column `{column}` is not {place}{suggestion}"));
    }
}

#[cfg(test)]
mod tests {
    use crate::pack::load::parse;

    const HEAD: &str = "app: plants\ntitle: Plants\ncollectors:\n";

    fn complaints(collectors: &str) -> Vec<String> {
        let found = parse("p.yaml", &format!("{HEAD}{collectors}")).err();
        found.map(|errors| errors.0.iter().map(ToString::to_string).collect()).unwrap_or_default()
    }

    /// What lint says of these spans in a `rows` collector whose columns are all used.
    fn of(spans: &str) -> Vec<String> {
        complaints(&format!(
            "  - name: sprouts
    rows: {{table: sprout, key: id, time: at, columns: {{kind: kind, began: began, ended: ended, size: size}}}}
    metrics:
      - {{counter: plants_size_total, help: x, value: size, labels: [kind, began, ended]}}
    spans:
      - {}\n",
            spans.replace('\n', "\n      - ")
        ))
    }

    fn expect(found: &[String], wanted: &str) {
        assert_eq!(found.len(), 1, "one complaint about «{wanted}», but: {found:#?}");
        assert!(found[0].contains(wanted), "{wanted} not in {found:#?}");
    }

    #[test]
    fn good_spans_pass_and_are_reason_enough_to_read() {
        let good = "  - name: sprouts
    rows: {table: sprout, key: id, time: at, columns: {kind: kind, began: began, ended: ended, size: size, up: up}}
    spans:
      - name: grow {kind}
        kind: client
        start: began
        trace: {of: bed, id: kind, root: true}
        error: kind
        attributes: {plants.size: {column: size, type: number}, plants.kind: {column: kind, allow: [ids]}, gen_ai.x_2: {value: '1', type: flag}}
      - {name: wait, start: began, end: ended, parent: 'grow {kind}'}
      - {name: rest, duration: size, trace: {of: bed, id: kind}, traceparent: up}
      - {name: alone, start: began, duration: size}
";
        assert_eq!(complaints(good), Vec::<String>::new());
        assert_eq!(of("{name: a, start: began}"), Vec::<String>::new());
    }

    #[test]
    fn complaints_name_file_line_collector_and_span() {
        let found = of("{name: a, start: began}\n{name: b, start: begun}");
        let wanted = "p.yaml:10: collector sprouts: span b: column `begun` is not in `columns`; did you mean `began`?";
        assert_eq!(found, [wanted]);
    }

    #[test]
    fn spans_keep_to_their_rules() {
        for (spans, wanted) in [
            ("{name: '', start: began}", "the name is empty"),
            ("{name: 'a {kind', start: began}", "a brace is not closed"),
            ("{name: 'a {{kind}}', start: began}", "braces stand in pairs"),
            ("{name: 'a kind}', start: began}", "braces stand in pairs"),
            ("{name: 'a {}', start: began}", "`{}`: the name of a column stands between braces"),
            ("{name: 'a {Kind}', start: began}", "the name of a column stands between braces"),
            ("{name: 'a {knid}', start: began}", "column `knid` is not in `columns`; did you mean `kind`?"),
            ("{name: a}", "say when it began"),
            ("{name: a, end: ended}", "say when it began"),
            ("{name: a, start: began, end: ended, duration: size}", "two of `start`, `end` and `duration`"),
            ("{name: a, start: began}\n{name: b, start: began, parent: c}", "no span `c`"),
            ("{name: grow, start: began}\n{name: b, start: began, parent: grwo}", "did you mean `grow`?"),
            ("{name: a, start: began, parent: a}", "a part of itself"),
            (
                "{name: a, start: began}\n{name: b, start: began, parent: a, traceparent: kind}",
                "`traceparent` names its parent",
            ),
            (
                "{name: a, start: began, trace: {of: x, id: kind, root: true}}\n\
                 {name: b, start: began, parent: a, trace: {of: x, id: kind}}",
                "in the trace of the span that it is a part of",
            ),
            ("{name: a, start: began, trace: {of: ' ', id: kind, root: true}}", "in one word"),
            (
                "{name: a, start: began, traceparent: kind, trace: {of: x, id: kind, root: true}}",
                "would not find a root",
            ),
            ("{name: a, start: began, trace: {of: x, id: kind}}", "no span of the pack is the root"),
            (
                "{name: a, start: began, trace: {of: x, id: kind, root: true}}\n\
                 {name: b, start: began, trace: {of: x, id: kind, root: true}}",
                "have a root already",
            ),
            ("{name: a, start: began, trace: {of: x, id: ikd, root: true}}", "column `ikd`"),
            ("{name: a, start: began}\n{name: a, start: ended}", "their ids would be the same"),
            ("{name: a, start: began, when: wrong}", "column `wrong`"),
            ("{name: a, start: began, error: wrong}", "column `wrong`"),
            ("{name: a, start: began, traceparent: wrong}", "column `wrong`"),
            ("{name: a, start: began, attributes: {a.b: wrong}}", "column `wrong`"),
            ("{name: a, start: began, attributes: {a.b: {}}}", "name a `column`, or a `value`"),
            ("{name: a, start: began, attributes: {a.b: {column: kind, value: x}}}", "and not both"),
            ("{name: a, start: began, attributes: {a.b: {value: x, type: integer}}}", "cannot be read as its `type`"),
            ("{name: a, start: began, attributes: {a.b: {value: x, allow: [ids]}}}", "a constant is told as it stands"),
            ("{name: a, start: began, attributes: {a.b: {column: size, type: number, allow: [ids]}}}", "only texts"),
            ("{name: a, start: began, attributes: {size: size}}", "with dots between them"),
            ("{name: a, start: began, attributes: {A.b: size}}", "with dots between them"),
            ("{name: a, start: began, attributes: {a..b: size}}", "with dots between them"),
            ("{name: a, start: began, attributes: {otel.b: size}}", "belong to OpenTelemetry"),
            ("{name: a, start: began, attributes: {error.type: kind}}", "`error` makes this attribute"),
        ] {
            expect(&of(spans), wanted);
        }
        let ring = of(
            "{name: a, start: began, parent: b}\n{name: b, start: began, parent: c}\n{name: c, start: began, parent: b}",
        );
        assert_eq!(ring.len(), 2, "{ring:#?}");
        assert!(ring.iter().all(|complaint| complaint.contains("a part of itself")), "{ring:#?}");
    }

    #[test]
    fn only_rows_make_spans_and_names_are_told_apart_in_the_whole_pack() {
        let snapshot = "  - {name: a, snapshot: {sql: select 1 as n}, metrics: [{gauge: plants, help: x, value: n}], \
                        spans: [{name: a, start: n}]}\n";
        expect(&complaints(snapshot), "spans are made of `rows` and `logs`, and this collector has `snapshot`");
        let of = |name: &str, table: &str, root: bool| {
            format!(
                "  - {{name: {name}, rows: {{table: {table}, key: id, time: at, columns: {{b: b}}}}, \
                 spans: [{{name: grow, start: b, trace: {{of: bed, id: b, root: {root}}}}}]}}\n"
            )
        };
        assert_eq!(complaints(&(of("a", "t", true) + &of("b", "u", false))), Vec::<String>::new());
        expect(
            &complaints(&(of("a", "t", true) + &of("b", "t", false))),
            "collector a makes a span of this name of t too",
        );
        expect(&complaints(&(of("a", "t", true) + &of("b", "u", true))), "have a root already");
        expect(&complaints(&(of("a", "t", false) + &of("b", "u", false))), "no span of the pack is the root");
    }
}
