use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::pack::load::parse;
use crate::source::logs::{Level, LineId};

/// 2026-11-21 02:53:18.123456 in UTC.
const MOMENT: i64 = 1_795_229_598_123_456;

/// The forms of a pack that is read and checked as an operator's is, ready for these columns.
fn forms(lines: &str, columns: &[&str]) -> Forms {
    let own = columns.iter().filter(|column| !["level", "time"].contains(column));
    let labels: Vec<String> = own.map(|column| format!("{{name: l_{column}, column: {column}}}")).collect();
    let runs = if lines.contains("run:") { "\n      runs: {id: id, lost_after: 1h}" } else { "" };
    let pack = format!(
        "app: plants\ntitle: Plants\ncollectors:\n  - name: words\n    logs:\n      lines:\n        - {}{runs}\n    metrics: \
         [{{counter: plants_words_total, help: x, labels: [{}]}}]\n",
        lines.replace('\n', "\n        - "),
        labels.join(", ")
    );
    let pack = parse("plants.yaml", &pack).unwrap_or_else(|errors| panic!("{errors}\n{pack}"));
    let logs = pack.collectors[0].logs.as_ref().expect("a collector of lines");
    let columns: Vec<String> = columns.iter().map(|column| (*column).to_owned()).collect();
    Forms::new(&logs.lines, &columns).expect("lint has seen it")
}

fn plain(text: &str) -> LogLine {
    let json = serde_json::from_str(text).ok().filter(Value::is_object);
    LogLine { id: LineId(1), time: Some(MOMENT), level: None, text: text.to_owned(), json, record: None }
}

fn graver(level: Level, text: &str) -> LogLine {
    LogLine { level: Some(level), ..plain(text) }
}

fn recorded(text: &str, record: Value) -> LogLine {
    LogLine { record: Some(record), ..plain(text) }
}

/// The rows, cells between commas: `-` is NULL.
fn shown(fitted: Option<&Fitted<'_>>) -> String {
    let Some(fitted) = fitted else { return "no form".into() };
    let rows = fitted.rows.iter();
    let rows = rows.map(|row| row.iter().map(|cell| cell.as_deref().unwrap_or("-")).collect::<Vec<_>>().join(","));
    rows.collect::<Vec<_>>().join(" | ")
}

fn told(lines: &str, columns: &[&str], line: &LogLine) -> String {
    shown(forms(lines, columns).fit(line).as_ref())
}

/// Whether a line fits a form, whatever it holds.
fn fits(form: &str, line: &LogLine) -> bool {
    forms(form, &[]).fit(line).is_some()
}

#[test]
fn conditions_all_hold() {
    let long = "x".repeat(100);
    for (form, line, expected) in [
        ("{}", plain(""), true),
        ("{level: error}", graver(Level::Error, "x"), true),
        ("{level: error}", graver(Level::Warn, "x"), false),
        ("{level: error}", plain("x"), false),
        ("{level: [trace, unknown]}", plain("x"), true),
        ("{level: [trace, unknown]}", graver(Level::Trace, "x"), true),
        ("{level: unknown}", graver(Level::Fatal, "x"), false),
        ("{prefix: '[ai]'}", plain("[ai] x"), true),
        ("{prefix: '[ai]'}", plain(" [ai] x"), false),
        ("{prefix: ['[mail]', '[ai]']}", plain("[ai]"), true),
        ("{contains: 'not set'}", plain("key is not set"), true),
        ("{contains: 'not set'}", plain("key is not se"), false),
        ("{contains: [žele, x]}", plain("za železo"), true),
        ("{prefix: a, contains: c}", plain("abc"), true),
        ("{prefix: a, contains: d}", plain("abc"), false),
        ("{pattern: '^b+$'}", plain("a\nbb\nc"), false),
        ("{pattern: '(?m)^b+$'}", plain("a\nbb\nc"), true),
        ("{pattern: '(?i)ČAS'}", plain("je čas"), true),
        ("{prefix: a, pattern: 'c$'}", plain("abc"), true),
        ("{prefix: b, pattern: 'c$'}", plain("abc"), false),
        ("{json: {}}", plain("no object"), true),
        ("{json: {a: '*'}}", plain("no object"), false),
        ("{json: {a: '*'}}", plain(r#"{"a": null}"#), false),
        ("{json: {a: '*'}}", plain(r#"{"a": false}"#), true),
        ("{json: {a: '*'}}", plain(r#"{"a": []}"#), true),
        ("{json: {a: '*'}}", plain(r#"{"b": 1}"#), false),
        ("{json: {a: x}}", plain(r#"{"a": "x"}"#), true),
        ("{json: {a: x}}", plain(r#"{"a": "X"}"#), false),
        ("{json: {a: [x, y]}}", plain(r#"{"a": "y"}"#), true),
        ("{json: {a: 5}}", plain(r#"{"a": 5.0}"#), true),
        ("{json: {a: 5}}", plain(r#"{"a": "5.0"}"#), true),
        ("{json: {a: 5}}", plain(r#"{"a": "five"}"#), false),
        ("{json: {a: 5}}", plain(r#"{"a": true}"#), false),
        ("{json: {a: 4.5}}", plain(r#"{"a": 4.5}"#), true),
        ("{json: {a: '5'}}", plain(r#"{"a": 5}"#), true),
        ("{json: {a: '5'}}", plain(r#"{"a": 5.0}"#), false),
        ("{json: {a: true}}", plain(r#"{"a": true}"#), true),
        ("{json: {a: true}}", plain(r#"{"a": "true"}"#), true),
        ("{json: {a: true}}", plain(r#"{"a": 1}"#), false),
        ("{json: {a: 'false'}}", plain(r#"{"a": false}"#), true),
        ("{json: {a: x}}", plain(r#"{"a": {"b": "x"}}"#), false),
        ("{json: {/a/b: x}}", plain(r#"{"a": {"b": "x"}}"#), true),
        ("{json: {/a/1: x}}", plain(r#"{"a": ["y", "x"]}"#), true),
        ("{json: {/a/01: x}}", plain(r#"{"a": ["y", "x"]}"#), false),
        ("{json: {/a/+1: x}}", plain(r#"{"a": ["y", "x"]}"#), false),
        ("{json: {a.b: x}}", plain(r#"{"a": {"b": "x"}}"#), false),
        ("{json: {a.b: x}}", plain(r#"{"a.b": "x"}"#), true),
        ("{json: {/a~1b/c~0d: x}}", plain(r#"{"a/b": {"c~d": "x"}}"#), true),
        ("{json: {a: x, b: y}}", plain(r#"{"a": "x", "b": "y"}"#), true),
        ("{json: {a: x, b: y}}", plain(r#"{"a": "x", "b": "z"}"#), false),
        // A line without an envelope is its own record.
        ("{record: {a: x}}", plain(r#"{"a": "x"}"#), true),
        ("{record: {a: x}}", plain("a=x"), false),
        ("{record: {a: x}}", recorded("t", json!({"a": "x"})), true),
        ("{record: {/a/b: 500}}", recorded("t", json!({"a": {"b": "500"}})), true),
        ("{json: {a: x}, record: {a: y}}", recorded(r#"{"a": "x"}"#, json!({"a": "y"})), true),
        ("{json: {a: x}, record: {a: y}}", recorded(r#"{"a": "x"}"#, json!({"a": "x"})), false),
    ] {
        assert_eq!(fits(form, &line), expected, "{form} {line:?}");
        if form != "{}" {
            let rest = LogLine { text: long.clone(), json: None, record: None, ..plain("") };
            assert_eq!(
                fits(form, &rest),
                ["{json: {}}", "{level: [trace, unknown]}", "{contains: [žele, x]}", "{level: unknown}"]
                    .contains(&form)
            );
        }
    }
}

#[test]
fn many_keys_are_found_as_few_are() {
    let object: serde_json::Map<String, Value> = (0..40).map(|key| (format!("k{key}"), json!(key))).collect();
    let line = plain(&Value::Object(object).to_string());
    assert_eq!(told("{json: {k39: 39}, columns: {a: k17, b: k40}}", &["a", "b"], &line), "17,-");
}

#[test]
fn the_first_form_counts_and_a_skipped_one_hides_the_later() {
    let lines = "{prefix: '[health]', skip: true}\n{prefix: '[', columns: {kind: {constant: tagged}}}\n{columns: {kind: {constant: other}}}";
    for (text, expected) in [("[health] ok", "no form"), ("[ai] x", "tagged"), ("x", "other")] {
        assert_eq!(told(lines, &["kind"], &plain(text)), expected, "{text}");
    }
    assert_eq!(told("{level: error}\n{level: warn}", &[], &plain("x")), "no form");
    assert_eq!(shown(Forms::new(&[], &[]).expect("nothing").fit(&plain("x")).as_ref()), "no form");
}

#[test]
fn cells_come_from_where_the_columns_say() {
    let line = recorded(
        r#"{"text":"t","number":-0.50,"whole":12345678901234567890,"big":1e300,"yes":true,"no":false,"none":null,"list":[1,2],
            "object":{"a":{"b":"deep"}},"secret":"[REDACTED]","empty":"","a.b":"dotted"}"#,
        json!({"source": "lambda", "proxy": {"statusCode": 500}}),
    );
    for (column, expected) in [
        ("text", "t"),
        ("number", "-0.5"),
        ("whole", "12345678901234567890"),
        ("big", "1e+300"),
        ("'yes'", "true"),
        ("'no'", "false"),
        ("none", "-"),
        ("list", "-"),
        ("object", "-"),
        ("secret", "-"),
        ("empty", ""),
        ("nowhere", "-"),
        ("a.b", "dotted"),
        ("/object/a/b", "deep"),
        ("/list/1", "2"),
        ("/list/2", "-"),
        ("/list/-", "-"),
        ("/text/0", "-"),
        ("{json: [none, secret, list, number]}", "-0.5"),
        ("{json: [text, number]}", "t"),
        ("{json: none, missing: m}", "m"),
        ("{json: text, missing: m}", "t"),
        ("{record: source}", "lambda"),
        ("{record: [nowhere, /proxy/statusCode]}", "500"),
        ("{record: text}", "-"),
        ("{count: list}", "2"),
        ("{count: object}", "-"),
        ("{count: /object/a}", "-"),
        ("{count: nowhere, missing: '0'}", "0"),
        ("{constant: c}", "c"),
        ("{json: text, map: {t: T}}", "T"),
        ("{json: text, map: {u: U}}", "t"),
        ("{json: text, map: {u: U}, otherwise: o}", "o"),
        ("{json: none, map: {u: U}, otherwise: o}", "-"),
        ("{json: 'yes', map: {'true': ok, 'false': bad}}", "ok"),
        ("{record: /proxy/statusCode, classify: [{pattern: ^4, as: client}, {pattern: ^5, as: server}]}", "server"),
        ("{json: text, classify: [{pattern: t, as: first}, {pattern: '', as: second}]}", "first"),
        ("{json: text, classify: [{pattern: u, as: u}]}", "-"),
        ("{json: text, classify: [{pattern: u, as: u}], missing: m}", "m"),
        ("{json: text, classify: [{pattern: u, as: u}], otherwise: o, missing: m}", "o"),
        ("{json: text, map: {t: T}, classify: [{pattern: t, as: u}]}", "T"),
        ("{json: text, map: {u: U}, classify: [{pattern: u, as: u}]}", "-"),
        ("{json: none, classify: [{pattern: '', as: u}]}", "-"),
        ("{json: number, scale: 0.001}", "-0.0005"),
        ("{record: /proxy/statusCode, scale: 0.001}", "0.5"),
        ("{json: text, scale: 0.001}", "t"),
        ("{json: number, scale: 10, map: {'-5': five}}", "five"),
    ] {
        assert_eq!(told(&format!("{{columns: {{a: {column}}}}}"), &["a"], &line), expected, "{column}");
    }
    let bare = LogLine { json: None, record: None, ..line };
    for column in ["text", "{record: source}", "{count: list}", "{json: text, classify: [{pattern: '', as: u}]}"] {
        assert_eq!(told(&format!("{{columns: {{a: {column}}}}}"), &["a"], &bare), "-", "{column}");
    }
}

#[test]
fn captures_are_columns() {
    let lines = r"{pattern: '^\[(?<area>[a-z-]+)\](?: took (?P<took>[0-9.]+) ms)?'}
{pattern: '^(?<area>\w+):(?<rest>.*)', columns: {area: {capture: area, map: {Čas: time}}, took: {capture: rest, classify: [{pattern: slow, as: long}]}}}
{}";
    for (text, expected) in [
        ("[ai] took 12.5 ms", "ai,12.5"),
        ("[ai-quiz] failed", "ai-quiz,-"),
        ("Čas: slow", "time,long"),
        ("area: fast", "area,-"),
        ("else", "-,-"),
    ] {
        assert_eq!(told(lines, &["area", "took"], &plain(text)), expected, "{text}");
    }
    assert_eq!(told("{pattern: '(?<a>b*)x'}", &["a"], &plain("x")), "", "what is empty is there");
}

#[test]
fn every_line_has_its_level_and_time() {
    let of = |line: &LogLine| told("{}", &["time", "level"], line);
    assert_eq!(of(&graver(Level::Warn, "x")), "2026-11-21T02:53:18.123456Z,warn");
    assert_eq!(of(&LogLine { time: None, ..plain("x") }), "-,unknown");
    let fitted = forms("{}", &["time"]);
    let line = plain("x");
    let time =
        fitted.fit(&line).and_then(|fitted| fitted.rows[0][0].as_deref().and_then(crate::source::instant::parse_time));
    assert_eq!(time, Some(MOMENT));
}

#[test]
fn a_list_makes_a_row_for_each_element() {
    let form =
        "{json: {event: done}, each: /job/errors, columns: {provider: {item: provider}, all: {item: ''}, id: id}}";
    let of = |errors: Value| {
        let line = plain(&json!({"event": "done", "id": 7, "job": {"errors": errors}}).to_string());
        told(form, &["provider", "all", "id"], &line)
    };
    assert_eq!(
        of(json!([{"provider": "a"}, {"model": "m"}, "text", 3, null])),
        "a,-,7 | -,-,7 | -,text,7 | -,3,7 | -,-,7"
    );
    assert_eq!(of(json!([])), "");
    assert_eq!(of(json!({"provider": "a"})), "");
    assert_eq!(of(json!(null)), "");

    let many = |elements: usize| plain(&json!({"list": vec!["x"; elements]}).to_string());
    let forms = forms("{each: list, columns: {a: {item: ''}}}", &["a"]);
    for (elements, rows, left_out) in [(1000, 1000, 0), (1001, 1000, 1), (2500, 1000, 1500)] {
        let line = many(elements);
        let fitted = forms.fit(&line).expect("it fits");
        assert_eq!((fitted.rows.len(), fitted.left_out), (rows, left_out));
    }
}

#[test]
fn lines_that_begin_and_end_a_run_say_so() {
    let lines = "{json: {event: start}, run: start, columns: {id: request}}\n{json: {event: end}, run: end, columns: {id: request, outcome: outcome}}\n{}";
    let forms = forms(lines, &["id", "outcome", "level"]);
    for (event, run, cells) in [
        ("start", Some(RunPart::Start), "r,-,unknown"),
        ("end", Some(RunPart::End), "r,ok,unknown"),
        ("else", None, "-,-,unknown"),
    ] {
        let line = plain(&json!({"event": event, "request": "r", "outcome": "ok"}).to_string());
        let fitted = forms.fit(&line).expect("it fits");
        assert_eq!((fitted.run, shown(Some(&fitted)).as_str()), (run, cells), "{event}");
    }
}

#[test]
fn texts_are_not_copied() {
    let line = recorded(r#"{"a":"x","yes":true}"#, json!({"b": "y"}));
    let lines =
        "{pattern: '(?<c>x)', columns: {a: a, b: {record: b, missing: m}, d: 'yes', e: {json: a, map: {u: U}}}}";
    let forms = forms(lines, &["a", "b", "c", "d", "e", "level"]);
    let fitted = forms.fit(&line).expect("it fits");
    assert!(fitted.rows[0].iter().all(|cell| matches!(cell, Some(Cow::Borrowed(_)))), "{fitted:?}");
}

fn any_json() -> impl Strategy<Value = Value> {
    let name = prop_oneof![Just("a".to_owned()), Just("event".to_owned()), Just("list".to_owned()), ".{0,3}"];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop_oneof![Just("done".to_owned()), Just("[REDACTED]".to_owned()), ".{0,8}"].prop_map(Value::String),
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        let list = prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array);
        let object = prop::collection::vec((name.clone(), inner), 0..20);
        prop_oneof![list, object.prop_map(|entries| Value::Object(entries.into_iter().collect()))]
    })
}

/// Everything that forms can say, on few names.
const ODD_FORMS: &str = r"{level: [warn, unknown], json: {a: ['*', 5, true, x]}, each: list, columns: {a: {item: [a, '']}, b: {count: /a/0}}}
{record: {/a/0/event: '*'}, columns: {a: {record: [a, event, /list/1/a], scale: 0.001}, b: {record: event, classify: [{pattern: '^\p{L}', as: b}]}}}
{contains: [a, '['], pattern: '(?s)(?<a>.)(?<b>\W+)?$'}
{columns: {a: /a/b/0, b: {json: [list, event], map: {done: b}, otherwise: o, missing: m}}}";

const ODD_COLUMNS: [&str; 4] = ["a", "b", "level", "time"];

proptest! {
    #[test]
    fn no_line_is_too_odd(text in "(?s).{0,60}", json in prop::option::of(any_json()), record in prop::option::of(any_json()), time in prop::option::of(any::<i64>())) {
        static ODD: LazyLock<Forms> = LazyLock::new(|| forms(ODD_FORMS, &ODD_COLUMNS));
        let line = LogLine { id: LineId(1), time, level: None, text, json, record };
        let forms = &*ODD;
        let fitted = forms.fit(&line).expect("the last form fits every line");
        prop_assert!(fitted.rows.len() <= ROWS_PER_LINE);
        prop_assert!(fitted.rows.iter().all(|row| row.len() == ODD_COLUMNS.len()));
    }
}
