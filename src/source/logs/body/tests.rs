mod forms;
mod identity;
mod random;

use serde_json::json;

use super::super::Level;
use super::*;

const LIMITS: fn() -> IntakeLimits = IntakeLimits::default;

fn read(kind: DrainKind, body: &str) -> Parsed {
    parse(kind, &RecordFields::default(), &LIMITS(), body.as_bytes()).expect(body)
}

fn texts(parsed: &Parsed) -> Vec<&str> {
    parsed.lines.iter().map(|line| line.text.as_str()).collect()
}

fn ids(parsed: &Parsed) -> Vec<LineId> {
    parsed.lines.iter().map(|line| line.id).collect()
}

/// A record of Vercel's with this text.
fn vercel(id: &str, message: &str) -> String {
    json!({"id": id, "deploymentId": "dpl_abc", "source": "lambda", "host": "shop-x1.example", "timestamp": 1_760_000_000_123_i64,
        "projectId": "prj_abc", "level": "info", "message": message, "type": "stdout", "environment": "production",
        "requestId": "fra1::iad1::q1", "path": "/api/order", "statusCode": 200})
    .to_string()
}

const TIME: i64 = 1_760_000_000_123_000;

#[test]
fn makes_a_line_of_a_record_and_keeps_the_record_without_its_text() {
    let parsed = read(DrainKind::Vercel, &vercel("7", "{\"level\":\"warn\",\"msg\":\"api_ok\",\"durationMs\":12}\n"));
    let [line] = parsed.lines.as_slice() else { panic!("{parsed:?}") };
    assert_eq!(line.id, LineId::of_name("7"));
    assert_eq!((line.time, line.level), (Some(TIME), Some(Level::Warn)));
    assert_eq!(line.text, "{\"level\":\"warn\",\"msg\":\"api_ok\",\"durationMs\":12}");
    assert_eq!(line.json, Some(json!({"level": "warn", "msg": "api_ok", "durationMs": 12})));
    let record = line.record().expect("there is one");
    assert_eq!(record["source"], "lambda");
    assert_eq!(record.get("message"), None);
}

#[test]
fn reads_levels_times_and_texts_as_they_are_written() {
    // Message, text, level, JSON (beside the level of the record: info).
    let table = [
        ("started", "started", Level::Info, None),
        ("\u{1b}[31m[email] failed\u{1b}[39m \n", "[email] failed", Level::Info, None),
        ("a\0b\u{7}c\r\nd", "abc\nd", Level::Info, None),
        ("Grüße\u{a0}« ok »\u{85}", "Grüße\u{a0}« ok »", Level::Info, None),
        (
            "2026-11-21T10:00:00Z [\u{1b}[33mwarn\u{1b}[39m]: [API] slow",
            "2026-11-21T10:00:00Z [warn]: [API] slow",
            Level::Warn,
            None,
        ),
        ("[ERROR] no", "[ERROR] no", Level::Error, None),
        ("[http] [log] [alert] get", "[http] [log] [alert] get", Level::Info, None),
        (
            "{\"level\":50,\"msg\":\"x\"}",
            "{\"level\":50,\"msg\":\"x\"}",
            Level::Error,
            Some(json!({"level": 50, "msg": "x"})),
        ),
        (
            "{\"severity\":\"CRITICAL\"}",
            "{\"severity\":\"CRITICAL\"}",
            Level::Fatal,
            Some(json!({"severity": "CRITICAL"})),
        ),
        (
            "{\"level\":\"loud\",\"severity\":\"debug\"}",
            "{\"level\":\"loud\",\"severity\":\"debug\"}",
            Level::Debug,
            Some(json!({"level": "loud", "severity": "debug"})),
        ),
        (
            "{\"level\":\"warning\",\"a\":[1,{}]} ",
            "{\"level\":\"warning\",\"a\":[1,{}]}",
            Level::Warn,
            Some(json!({"level": "warning", "a": [1, {}]})),
        ),
        ("{\n  \"level\": \"error\"\n}", "{\n  \"level\": \"error\"\n}", Level::Error, Some(json!({"level": "error"}))),
        ("{\"a\":1", "{\"a\":1", Level::Info, None),
        ("{ a: 1 }", "{ a: 1 }", Level::Info, None),
        // Spread by character, with a character that JavaScript has in two halves, and half a one.
        (
            "{\"0\":\"H\",\"1\":\"i\",\"2\":\"\\ud83d\",\"3\":\"\\ude80\",\"4\":\"\\ud83d\",\"5\":\"!\",\"level\":\"error\"}",
            "Hi🚀\u{fffd}!",
            Level::Error,
            Some(json!({"level": "error"})),
        ),
        ("{\"0\":\"Hi\",\"1\":\"x\"}", "{\"0\":\"Hi\",\"1\":\"x\"}", Level::Info, Some(json!({"0": "Hi", "1": "x"}))),
        (
            "{\"0\":\"é\",\"1\":\"[\",\"2\":\"e\",\"3\":\"r\",\"4\":\"r\",\"5\":\"]\"}",
            "é[err]",
            Level::Error,
            Some(json!({})),
        ),
        // Cut within a character.
        (
            "{\"msg\":\"ab\\ud83d\",\"n\":\"\\\\ud83d\"}",
            "{\"msg\":\"ab\\ud83d\",\"n\":\"\\\\ud83d\"}",
            Level::Info,
            Some(json!({"msg": "ab\u{fffd}", "n": "\\ud83d"})),
        ),
        ("", "", Level::Info, None),
        (" \n\t", "", Level::Info, None),
    ];
    for (message, text, level, json) in table {
        let parsed = read(DrainKind::Vercel, &vercel("1", message));
        let line = &parsed.lines[0];
        assert_eq!((line.text.as_str(), line.level, &line.json), (text, Some(level), &json), "{message:?}");
        assert_eq!(parsed.unreadable + parsed.continuations + parsed.cut, 0, "{message:?}");
    }
}

#[test]
fn reads_times_of_every_form() {
    for (time, micros) in [
        (json!(1_760_000_000), Some(1_760_000_000_000_000)),
        (json!(1_760_000_000.123_456), Some(1_760_000_000_123_456)),
        (json!(1_760_000_000_123_i64), Some(TIME)),
        (json!(1_760_000_000_123_456_i64), Some(1_760_000_000_123_456)),
        (json!(1_760_000_000_123_456_789_i64), Some(1_760_000_000_123_456)),
        (json!("1760000000123"), Some(TIME)),
        (json!("2025-10-09T08:53:20.123Z"), Some(TIME)),
        (json!("2025-10-09T10:53:20.123+02:00"), Some(TIME)),
        (json!("2025-10-09 08:53:20.123"), Some(TIME)),
        (json!("2025-10-09 08:53:20.123 UTC"), Some(TIME)),
        (json!(12), None),
        (json!(-1_760_000_000), None),
        (json!(u64::MAX), Some(18_446_744_073_709_551)),
        (json!(1e300), None),
        (json!("soon"), None),
        (json!(null), None),
        (json!([1]), None),
    ] {
        let record = json!({"id": "1", "timestamp": time, "message": "x"}).to_string();
        assert_eq!(read(DrainKind::Vercel, &record).lines[0].time, micros, "{time}");
        let inner = json!({"id": "1", "message": json!({"ts": time}).to_string()}).to_string();
        assert_eq!(read(DrainKind::Vercel, &inner).lines[0].time, micros, "{time}");
    }
    for (text, micros) in [
        ("2025-10-09T08:53:20.123Z [info]: x", Some(TIME)),
        ("[2025-10-09T10:53:20.123+02:00] x", Some(TIME)),
        ("2025-10-09 08:53:20.123 UTC [17] LOG:  x", Some(TIME)),
        ("2025-10-09 08:53:20.123 x", None),
        ("2025-10-09", None),
        ("2025-10-09 öäü", None),
        ("at noon", None),
    ] {
        assert_eq!(super::super::line::moment::of_text(text), micros, "{text}");
    }
}

#[test]
fn takes_a_text_of_several_messages_apart() {
    // Text of the record; its messages; whether it begins as the continuation of another.
    let table: [(&str, &[&str], u64); 13] = [
        // One message, as the lines that nothing indents are no beginnings.
        ("[a] Error:\n\nInvalid query:\nno such table\n[b]", &["[a] Error:\n\nInvalid query:\nno such table\n[b]"], 0),
        (
            "START RequestId: 1\nhello\nEND RequestId: 1\nREPORT RequestId: 1\tDuration: 3 ms\t\n",
            &["START RequestId: 1", "hello", "END RequestId: 1", "REPORT RequestId: 1\tDuration: 3 ms"],
            0,
        ),
        (
            "2026-01 [info]: [API] POST /api/chat {\n  \"user\": 1,\n  \"list\": [\n    2\n  ]\n}\n2026-01 [info]: [API] GET",
            &[
                "2026-01 [info]: [API] POST /api/chat {\n  \"user\": 1,\n  \"list\": [\n    2\n  ]\n}",
                "2026-01 [info]: [API] GET",
            ],
            0,
        ),
        (
            "[a] Error: x\n    at f (a.js:1:2)\nat g\n\nCaused by: y\n\tat h\n[b] next",
            &["[a] Error: x\n    at f (a.js:1:2)\nat g\n\nCaused by: y\n\tat h", "[b] next"],
            0,
        ),
        ("    at f (a.js:1:2)", &[], 1),
        ("}", &[], 1),
        ("}\n[API] x", &["[API] x"], 1),
        ("  at f\n  at g\nnext\n at h", &["next\n at h"], 1),
        ("\n\n[API] x", &["[API] x"], 0),
        ("\n  x", &[], 1),
        ("{\"a\":1}\n{\"b\":2}", &["{\"a\":1}", "{\"b\":2}"], 0),
        ("  {\n  \"a\": {\n}\n}", &["  {\n  \"a\": {\n}\n}"], 0),
        ("{\n  a: 1\n}", &["{\n  a: 1\n}"], 0),
    ];
    for (text, messages, continuations) in table {
        let parsed = read(DrainKind::Vercel, &vercel("1", text));
        assert_eq!((texts(&parsed).as_slice(), parsed.continuations), (messages, continuations), "{text:?}");
        for (number, line) in parsed.lines.iter().enumerate() {
            let id = LineId::of_name("1");
            assert_eq!(line.id, if number == 0 { id } else { LineId::of_place(id.0, number as u64) });
            assert_eq!(line.record().expect("each has the record")["source"], "lambda");
        }
    }
    let both = read(DrainKind::Vercel, &vercel("1", "{\"a\":1}\n{\"b\":2}"));
    assert_eq!(both.lines[1].json, Some(json!({"b": 2})));
}

#[test]
fn cuts_lines_that_are_too_long() {
    let limits = IntakeLimits { line_bytes: 10, ..LIMITS() };
    let texts_of_three = ["123456789é", "short", "{\"a\":\"long enough\"}"];
    let body = texts_of_three.map(|text| vercel("1", text)).join("\n");
    let parsed = parse(DrainKind::Vercel, &RecordFields::default(), &limits, body.as_bytes()).expect("it is one");
    assert_eq!((texts(&parsed), parsed.cut), (vec!["123456789", "short", "{\"a\":\"long"], 2));
    let itself = parse(DrainKind::Http, &RecordFields::default(), &limits, b"{\"event\":\"started\",\"n\":1}")
        .expect("it is one");
    assert_eq!((texts(&itself), itself.cut), (vec!["{\"event\":\""], 1));
    assert_eq!(itself.lines[0].json, Some(json!({"event": "started", "n": 1})), "read before it was cut");
}

#[test]
fn reads_supabase_with_metadata_in_lists_or_not() {
    for metadata in [
        json!({"host": "db", "parsed": {"error_severity": "ERROR", "sql_state_code": "42P17"}}),
        json!([{"host": "db", "parsed": [{"error_severity": "ERROR", "sql_state_code": "42P17"}]}]),
    ] {
        let record = json!({"id": "1", "timestamp": 1_760_000_000_123_456_i64, "event_message": "infinite recursion", "metadata": metadata});
        let parsed = read(DrainKind::Supabase, &json!([record]).to_string());
        let line = &parsed.lines[0];
        assert_eq!(
            (line.time, line.level, line.text.as_str()),
            (Some(1_760_000_000_123_456), Some(Level::Error), "infinite recursion")
        );
        let code = line.record().and_then(|record| record.pointer("/metadata/parsed/sql_state_code"));
        assert_eq!(code, Some(&json!("42P17")));
    }
    let old = read(
        DrainKind::Supabase,
        "[{\"id\":\"1\",\"message\":\"old\",\"metadata\":{\"level\":\"warning\",\"tags\":[\"a\"]}}]",
    );
    assert_eq!((texts(&old), old.lines[0].level), (vec!["old"], Some(Level::Warn)));
    assert_eq!(old.lines[0].record().and_then(|record| record.pointer("/metadata/tags/0")), Some(&json!("a")));
}

#[test]
fn reads_generic_records_as_envelopes_or_as_the_lines_themselves() {
    // Body; text; JSON; a field of the record.
    let table = [
        // Of a shipper around JSON.
        (
            "{\"log\":\"{\\\"msg\\\":\\\"api_ok\\\"}\\n\",\"stream\":\"stdout\",\"time\":\"2025-10-09T08:53:20.123456789Z\"}",
            "{\"msg\":\"api_ok\"}",
            Some(json!({"msg": "api_ok"})),
            ("stream", json!("stdout")),
        ),
        // Of a shipper around text: what it says beside the text is found as JSON and as record.
        (
            "{\"message\":\"[email] failed\",\"host\":\"a\"}",
            "[email] failed",
            Some(json!({"message": "[email] failed", "host": "a"})),
            ("host", json!("a")),
        ),
        // The application's own.
        (
            "{\"level\":\"info\",\"msg\":\"api_ok\"}",
            "api_ok",
            Some(json!({"level": "info", "msg": "api_ok"})),
            ("msg", json!("api_ok")),
        ),
        (
            "{\"event\":\"ai_run_start\",\"log\":{\"level\":\"warn\"}}",
            "{\"event\":\"ai_run_start\",\"log\":{\"level\":\"warn\"}}",
            Some(json!({"event": "ai_run_start", "log": {"level": "warn"}})),
            ("event", json!("ai_run_start")),
        ),
        (
            "{\"0\":\"H\",\"1\":\"i\",\"level\":\"info\"}",
            "Hi",
            Some(json!({"level": "info"})),
            ("level", json!("info")),
        ),
        // Read as JSON on the way.
        (
            "{\"message\":{\"msg\":\"api_ok\"},\"host\":\"a\"}",
            "{\"msg\":\"api_ok\"}",
            Some(json!({"msg": "api_ok"})),
            ("host", json!("a")),
        ),
    ];
    for (body, text, json, (name, value)) in table {
        let parsed = read(DrainKind::Http, body);
        let line = &parsed.lines[0];
        assert_eq!((line.text.as_str(), &line.json), (text, &json), "{body}");
        assert_eq!(line.record().and_then(|record| record.get(name)), Some(&value), "{body}");
    }
    let fields = RecordFields {
        message: vec!["/a/text".into()],
        time: vec!["/a/at".into()],
        id: vec!["nr".into()],
        level: vec!["/a/how".into()],
    };
    let body = b"{\"a\":{\"text\":\"x\",\"at\":1760000000123,\"how\":\"warn\"},\"nr\":5}\n{\"a\":{\"text\":\"x\",\"at\":1760000000124},\"nr\":5}";
    let parsed = parse(DrainKind::Http, &fields, &LIMITS(), body).expect("two records");
    assert_eq!((texts(&parsed), parsed.lines[0].level), (vec!["x", "x"], Some(Level::Warn)));
    assert_eq!(parsed.lines[0].id, LineId::of_place(LineId::of_name("5").0, TIME as u64));
    assert_ne!(parsed.lines[0].id, parsed.lines[1].id, "one thing, at two times");
    let several = read(
        DrainKind::Http,
        "{\"message\":\"[a]\\n  b\\n[c]\",\"host\":\"h\"}\n{\"message\":\"  at x\",\"host\":\"h\"}",
    );
    assert_eq!((texts(&several), several.continuations), (vec!["[a]\n  b", "[c]"], 1));
    assert_eq!(several.lines[0].record().and_then(|record| record.get("host")), Some(&json!("h")));
}

#[test]
fn reads_lines_of_files_and_knows_them_by_their_place() {
    let place = LineId(17);
    let read = |raw: &str| line(&RecordFields::default(), &LIMITS(), raw, place);
    let table: [(&str, &[&str]); 7] = [
        ("[cron] done\r\n", &["[cron] done"]),
        ("\u{1b}[90m2026 [info]: x {\n  a\n}\n", &["2026 [info]: x {\n  a\n}"]),
        ("{\"log\":\"hello\\n\",\"stream\":\"stdout\"}\n", &["hello"]),
        ("{\"id\":\"a\",\"msg\":\"api_ok\"}", &["api_ok"]),
        ("  {\"id\":\"a\",\"msg\":\"api_ok\"}", &["api_ok"]),
        ("{\"events\":[{\"id\":\"a\",\"msg\":\"x\"}]}", &["{\"events\":[{\"id\":\"a\",\"msg\":\"x\"}]}"]),
        ("\n", &[]),
    ];
    for (raw, expected) in table {
        let parsed = read(raw).expect(raw);
        assert_eq!(texts(&parsed), expected, "{raw:?}");
        assert!(parsed.lines.iter().all(|line| line.id == place), "{raw:?}");
    }
    assert_eq!(read("   at f").expect("a continuation").continuations, 1);
    assert_eq!(read("{\"log\":\"   at f\\n\"}").expect("a continuation").continuations, 1);
    let two = read("{\"msg\":\"a\"}{\"msg\":\"b\"}").expect("two");
    assert_eq!(ids(&two), [place, LineId::of_place(place.0, 1)]);
    for raw in ["{\"a\":", "\0\u{1}\u{2}"] {
        assert!(read(raw).is_err(), "{raw:?}");
    }
    for (line, does) in [
        ("", true),
        ("  x", true),
        ("}", true),
        ("at f", true),
        ("Caused by: x", true),
        ("\u{1b}[31m    at f", true),
        (" ⨯ Error: x", false),
        (" \u{1b}[33m⚠\u{1b}[39m slow", false),
        ("  ⨯ x", true),
        (" x", true),
        ("x", false),
        ("{", false),
        ("attempt", false),
    ] {
        assert_eq!(crate::source::logs::line::continues(line), does, "{line:?}");
    }
}
