//! Requests as OpenTelemetry's own types encode them, and bytes that nobody encodes.

mod bounds;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::*;
use crate::source::logs::{Level, LogLine};

const NANOS: u64 = 1_760_000_000_123_456_789;

fn any(value: Any) -> AnyValue {
    AnyValue { value: Some(value) }
}

fn text(text: &str) -> AnyValue {
    any(Any::StringValue(text.to_owned()))
}

fn pair(name: &str, value: AnyValue) -> KeyValue {
    KeyValue { key: name.to_owned(), value: Some(value), ..KeyValue::default() }
}

fn list(values: Vec<AnyValue>) -> AnyValue {
    any(Any::ArrayValue(ArrayValue { values }))
}

fn pairs(values: Vec<KeyValue>) -> AnyValue {
    any(Any::KvlistValue(KeyValueList { values }))
}

/// A record that says this, at a time.
fn says(body: AnyValue) -> LogRecord {
    LogRecord { time_unix_nano: NANOS, body: Some(body), ..LogRecord::default() }
}

fn of_resource(attributes: Vec<KeyValue>, log_records: Vec<LogRecord>) -> ResourceLogs {
    ResourceLogs {
        resource: Some(Resource { attributes, ..Resource::default() }),
        scope_logs: vec![ScopeLogs { log_records, ..ScopeLogs::default() }],
        ..ResourceLogs::default()
    }
}

fn request(log_records: Vec<LogRecord>) -> Vec<u8> {
    ExportLogsServiceRequest { resource_logs: vec![of_resource(Vec::new(), log_records)] }.encode_to_vec()
}

fn read(body: &[u8]) -> Parsed {
    decode(&IntakeLimits::default(), body).expect("it is a request")
}

fn lines(log_records: Vec<LogRecord>) -> Vec<LogLine> {
    read(&request(log_records)).lines
}

fn line(record: LogRecord) -> LogLine {
    let mut lines = lines(vec![record]);
    assert_eq!(lines.len(), 1);
    lines.remove(0)
}

fn ids(parsed: &Parsed) -> Vec<LineId> {
    parsed.lines.iter().map(|line| line.id).collect()
}

/// One record with everything that a record can have.
fn everything() -> ExportLogsServiceRequest {
    let attributes = vec![
        pair("http.response.status_code", any(Any::IntValue(-503))),
        pair("a/b~c", any(Any::BoolValue(true))),
        pair("ratio", any(Any::DoubleValue(0.25))),
        pair("no.number", any(Any::DoubleValue(f64::NAN))),
        pair("endless", any(Any::DoubleValue(f64::NEG_INFINITY))),
        pair("bytes", any(Any::BytesValue(vec![0, 255, 1, 2]))),
        pair("list", list(vec![text("x"), any(Any::IntValue(1)), AnyValue::default()])),
        pair("nested", pairs(vec![pair("deep.er", pairs(vec![pair("one", any(Any::IntValue(i64::MAX)))]))])),
        KeyValue { key: "nothing".into(), ..KeyValue::default() },
    ];
    let record = LogRecord {
        time_unix_nano: NANOS,
        observed_time_unix_nano: NANOS + 5_000_000,
        severity_number: 17,
        severity_text: "Error".into(),
        body: Some(text("boom \u{1b}[31mred\u{1b}[0m\n  at x\n")),
        attributes,
        dropped_attributes_count: 3,
        flags: 1,
        trace_id: vec![0xab; 16],
        span_id: vec![1, 2, 3, 4, 5, 6, 7, 0xff],
        event_name: "order.failed".into(),
    };
    let mut of_resource = of_resource(vec![pair("service.name", text("shop"))], vec![record]);
    of_resource.scope_logs[0].scope = Some(InstrumentationScope {
        name: "lib/x".into(),
        version: "1.2".into(),
        attributes: vec![pair("team", text("a"))],
        dropped_attributes_count: 0,
    });
    ExportLogsServiceRequest { resource_logs: vec![of_resource] }
}

#[test]
fn a_record_has_everything_under_the_names_of_the_protocol() {
    let parsed = read(&everything().encode_to_vec());
    assert_eq!((parsed.unreadable, parsed.continuations, parsed.cut), (0, 0, 0));
    let line = &parsed.lines[0];
    assert_eq!(line.text, "boom red\n  at x");
    assert_eq!((line.time, line.level, &line.json), (Some(1_760_000_000_123_456), Some(Level::Error), &None));
    let record = line.record.as_ref().expect("it has one");
    assert_eq!(
        *record,
        json!({
            "resource": {"service.name": "shop"},
            "scope": {"name": "lib/x", "version": "1.2", "attributes": {"team": "a"}},
            "attributes": {
                "http.response.status_code": -503, "a/b~c": true, "ratio": 0.25, "no.number": "NaN",
                "endless": "-Infinity", "bytes": "AP8BAg==", "list": ["x", 1, null],
                "nested": {"deep.er": {"one": i64::MAX}}, "nothing": null,
            },
            "severity_text": "Error",
            "severity_number": 17,
            "event_name": "order.failed",
            "trace_id": "abababababababababababababababab",
            "span_id": "01020304050607ff",
        })
    );
    // The pointers that a pack writes.
    assert_eq!(record.pointer("/attributes/http.response.status_code"), Some(&json!(-503)));
    assert_eq!(record.pointer("/attributes/a~1b~0c"), Some(&json!(true)));
    assert_eq!(record.pointer("/attributes/nested/deep.er/one"), Some(&json!(i64::MAX)));
}

#[test]
fn what_is_missing_is_left_out() {
    let bare = line(says(text("x")));
    assert_eq!((bare.level, bare.record), (None, Some(json!({}))));
    let ids = LogRecord { trace_id: vec![0; 16], span_id: vec![7; 3], ..says(text("x")) };
    assert_eq!(line(ids).record, Some(json!({})));
}

#[test]
fn any_body_is_a_text_and_an_object_is_json() {
    let said = |body: AnyValue| {
        let line = line(says(body));
        (line.text, line.json)
    };
    let event = json!({"event": "run", "ms": 12, "list": [1]});
    let body = pairs(vec![
        pair("event", text("run")),
        pair("ms", any(Any::IntValue(12))),
        pair("list", list(vec![any(Any::IntValue(1))])),
    ]);
    assert_eq!(said(body), (event.to_string(), Some(event.clone())));
    assert_eq!(said(text(&event.to_string())), (event.to_string(), Some(event)));
    assert_eq!(said(text("{no json")), ("{no json".into(), None));
    assert_eq!(said(any(Any::IntValue(-5))), ("-5".into(), None));
    assert_eq!(said(any(Any::BoolValue(false))), ("false".into(), None));
    assert_eq!(said(any(Any::DoubleValue(1.5))), ("1.5".into(), None));
    assert_eq!(said(any(Any::BytesValue(b"abc".to_vec()))), ("YWJj".into(), None));
    assert_eq!(said(list(vec![text("a"), text("b")])), (r#"["a","b"]"#.into(), None));
}

#[test]
fn an_event_needs_no_body_but_nothing_at_all_is_no_line() {
    let event = LogRecord { event_name: "app.crash".into(), ..LogRecord::default() };
    assert_eq!(line(event).text, "");
    let parsed = read(&request(vec![LogRecord { time_unix_nano: 1, ..LogRecord::default() }, says(text("x"))]));
    assert_eq!((parsed.lines.len(), parsed.unreadable), (1, 1));
}

#[test]
fn the_time_is_when_it_was_written_or_else_seen() {
    let at = |time, observed| {
        line(LogRecord { time_unix_nano: time, observed_time_unix_nano: observed, ..says(text("x")) }).time
    };
    assert_eq!(at(5_000, 9_000), Some(5));
    assert_eq!(at(0, 9_000), Some(9));
    assert_eq!(at(0, 0), None);
    assert_eq!(at(u64::MAX, 0), Some(18_446_744_073_709_551));
}

#[test]
fn the_level_is_that_of_the_number_or_else_of_the_word() {
    let of = |number, word: &str| {
        line(LogRecord { severity_number: number, severity_text: word.into(), ..says(text("x")) }).level
    };
    let of_numbers: Vec<_> = (0..=25).map(|number| of(number, "")).collect();
    let four = |level| [Some(level); 4];
    let all = [Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error, Level::Fatal].map(four).concat();
    assert_eq!(of_numbers, [&[None], all.as_slice(), &[None]].concat());
    assert_eq!(of(13, "error"), Some(Level::Warn));
    assert_eq!(of(0, "WARNING"), Some(Level::Warn));
    assert_eq!(of(-1, ""), None);
}

#[test]
fn what_is_sent_again_has_the_same_ids_and_nothing_else_has() {
    let three = || vec![says(text("a")), says(text("a")), says(text("b"))];
    let sent = read(&request(three()));
    assert_eq!(ids(&sent), ids(&read(&request(three()))));
    let with = |change: &dyn Fn(&mut ResourceLogs)| {
        let mut of_resource = of_resource(Vec::new(), three());
        change(&mut of_resource);
        ids(&read(&ExportLogsServiceRequest { resource_logs: vec![of_resource] }.encode_to_vec()))
    };
    let mut all = [
        ids(&sent),
        with(&|other| {
            other.resource = Some(Resource { attributes: vec![pair("a", text("b"))], ..Resource::default() })
        }),
        with(&|other| {
            other.scope_logs[0].scope = Some(InstrumentationScope { name: "s".into(), ..Default::default() })
        }),
        with(&|other| other.scope_logs[0].log_records.iter_mut().for_each(|record| record.time_unix_nano += 1)),
    ]
    .concat();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 12);
    // Elsewhere among others, it is the same record.
    assert_eq!(ids(&read(&request(vec![says(text("b"))]))), ids(&sent)[2..]);
}

#[test]
fn a_name_of_its_own_is_the_id_of_a_record() {
    let named = |time| LogRecord {
        time_unix_nano: time,
        attributes: vec![pair("log.record.uid", text("01ARZ3"))],
        ..says(text("x"))
    };
    assert_eq!(line(named(1)).id, LineId::of_name("01ARZ3"));
    assert_eq!(line(named(0)).id, LineId::of_name("01ARZ3"));
}

#[test]
fn without_a_time_the_id_is_the_place_in_the_delivery() {
    let untimed = || LogRecord { time_unix_nano: 0, ..says(text("x")) };
    let sent = read(&request(vec![untimed(), untimed()]));
    assert_eq!(ids(&sent), ids(&read(&request(vec![untimed(), untimed()]))));
    let mut all = [ids(&sent), ids(&read(&request(vec![untimed(), untimed(), says(text("x"))])))].concat();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 5);
}

#[test]
fn one_bad_record_costs_no_other() {
    // A time that is a text: what a span has there is bytes too.
    let mut scope = ScopeLogs { log_records: vec![says(text("a"))], ..ScopeLogs::default() }.encode_to_vec();
    scope.extend([0x12, 3, 0x0a, 1, b'x']);
    // A record that ends in the middle of a field.
    scope.extend([0x12, 2, 0x0a, 9]);
    ScopeLogs { log_records: vec![says(text("b"))], ..ScopeLogs::default() }.encode_raw(&mut scope);
    let of_resource = |scope: &[u8]| [&[0x12, u8::try_from(scope.len()).expect("it is short")], scope].concat();
    let inner = of_resource(&scope);
    let body = [&[0x0a, u8::try_from(inner.len()).expect("it is short")], inner.as_slice()].concat();
    let parsed = read(&body);
    let texts: Vec<_> = parsed.lines.iter().map(|line| line.text.as_str()).collect();
    assert_eq!((texts, parsed.unreadable), (vec!["a", "b"], 2));
}

#[test]
fn what_is_no_request_is_refused_and_nothing_is_a_request() {
    let whole = everything().encode_to_vec();
    for bad in [&b"{\"resourceLogs\":[]}"[..], b"hello", &[0x0a], &[0x08, 1], &whole[..whole.len() - 1], &[0xff; 20]] {
        assert!(decode(&IntakeLimits::default(), bad).is_err(), "{bad:?}");
    }
    assert!(read(b"").lines.is_empty());
    // Fields that a later protocol adds are passed over: a varint, eight bytes, a text, four bytes.
    let later = [0x78, 1, 0x79, 0, 0, 0, 0, 0, 0, 0, 0, 0x7a, 1, b'x', 0x7d, 0, 0, 0, 0];
    assert_eq!(read(&[whole.as_slice(), &later].concat()).lines, read(&whole).lines);
}

#[test]
fn texts_that_are_no_utf_8_are_mended() {
    let mut bytes = request(vec![says(text("a??b"))]);
    let at = bytes.windows(2).position(|pair| pair == b"??").expect("it is there");
    bytes[at] = 0xff;
    assert_eq!(read(&bytes).lines[0].text, "a\u{fffd}?b");
}

#[test]
fn the_resource_may_stand_behind_its_records() {
    let with = |part: ResourceLogs| part.encode_to_vec();
    let records = with(ResourceLogs { resource: None, ..of_resource(Vec::new(), vec![says(text("a"))]) });
    let resource = with(ResourceLogs { scope_logs: Vec::new(), ..of_resource(vec![pair("k", text("v"))], Vec::new()) });
    let inner = [records, resource].concat();
    let body = [&[0x0a, u8::try_from(inner.len()).expect("it is short")], inner.as_slice()].concat();
    assert_eq!(read(&body).lines[0].record, Some(json!({"resource": {"k": "v"}})));
}

#[test]
fn a_text_of_several_messages_is_several_lines_with_the_record_each() {
    let several =
        || LogRecord { severity_number: 9, event_name: "e".into(), ..says(text("[one]\n  more\n[two]\n{\"a\":1}")) };
    let found = lines(vec![several(), several()]);
    let texts: Vec<_> = found.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(texts, ["[one]\n  more", "[two]", "{\"a\":1}"].repeat(2));
    for line in &found {
        assert_eq!(line.record, Some(json!({"severity_number": 9, "event_name": "e"})));
        assert_eq!((line.level, line.time), (Some(Level::Info), Some(1_760_000_000_123_456)));
    }
    let ids: std::collections::BTreeSet<_> = found.iter().map(|line| line.id).collect();
    assert_eq!(ids.len(), 6);
}

#[test]
fn a_text_that_only_goes_on_is_no_line() {
    let parsed = read(&request(vec![says(text("Error: x")), says(text("    at f (a.js:1:2)")), says(text(" \n"))]));
    assert_eq!((parsed.lines.len(), parsed.continuations, parsed.unreadable), (1, 1, 1));
}

#[test]
fn a_time_in_the_text_is_one_where_the_record_has_none() {
    let timed = || LogRecord { time_unix_nano: 0, ..says(text("{\"timestamp\":\"2026-01-02T03:04:05Z\",\"a\":1}")) };
    assert_eq!(line(timed()).time, Some(1_767_323_045_000_000));
    // So it is the same wherever it stands.
    assert_eq!(line(timed()).id, read(&request(vec![says(text("x")), timed()])).lines[1].id);
}

#[test]
fn json_says_the_same() {
    let record = json!({
                "timeUnixNano": NANOS.to_string(), "observedTimeUnixNano": 5, "severityNumber": 17,
                "severityText": "Error", "eventName": "order.failed", "flags": 1,
                "traceId": "AB".repeat(16), "spanId": "01020304050607fF",
                "body": {"stringValue": "boom \u{1b}[31mred\u{1b}[0m\n  at x\n"},
                "attributes": [
                    {"key": "http.response.status_code", "value": {"intValue": "-503"}},
                    {"key": "a/b~c", "value": {"boolValue": true}},
                    {"key": "ratio", "value": {"doubleValue": 0.25}},
                    {"key": "no.number", "value": {"doubleValue": "NaN"}},
                    {"key": "endless", "value": {"doubleValue": "-Infinity"}},
                    {"key": "bytes", "value": {"bytesValue": "AP8BAg=="}},
                    {"key": "list", "value": {"arrayValue": {"values": [{"stringValue": "x"}, {"intValue": 1}, {}]}}},
                    {"key": "nested", "value": {"kvlistValue": {"values": [{"key": "deep.er", "value": {
                        "kvlistValue": {"values": [{"key": "one", "value": {"intValue": i64::MAX.to_string()}}]},
                    }}]}}},
                    {"key": "nothing"},
                ],
    });
    let body = json!({"later": {}, "resourceLogs": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
        "scopeLogs": [{
            "scope": {
                "name": "lib/x", "version": "1.2", "attributes": [{"key": "team", "value": {"stringValue": "a"}}],
            },
            "logRecords": [record],
        }],
    }]});
    let read_json = |body: &Value| decode_json(&IntakeLimits::default(), body.to_string().as_bytes());
    let parsed = read_json(&body).expect("it is a request");
    let expected = read(&everything().encode_to_vec());
    let without_id = |parsed: &Parsed| LogLine { id: LineId(0), ..parsed.lines[0].clone() };
    assert_eq!(without_id(&parsed), without_id(&expected));
    assert_eq!(ids(&parsed), ids(&read_json(&body).expect("it is a request")));
    let bad = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [
        1, {"timeUnixNano": "x"}, {"body": {"intValue": "x"}}, {"body": {"kvlistValue": {"values": [{"key": "k"}]}}},
    ]}]}]});
    let parsed = read_json(&bad).expect("it is a request");
    assert_eq!((parsed.lines.len(), parsed.unreadable), (1, 3));
    assert_eq!(parsed.lines[0].json, Some(json!({"k": null})));
    assert!(read_json(&json!({})).expect("it is a request").lines.is_empty());
    for bad in [json!([]), json!({"resourceLogs": 1}), json!("x"), json!({"resourceLogs": [{"scopeLogs": {}}]})] {
        assert!(read_json(&bad).is_err(), "{bad}");
    }
    let many = [b"{\"resourceLogs\":[", "0,".repeat(2_000_000).as_bytes(), b"0]}"].concat();
    assert!(decode_json(&IntakeLimits::default(), &many).is_err());
}

#[test]
fn answers_are_what_the_protocol_says() {
    assert_eq!(answer(0), b"");
    let partial = ExportLogsServiceResponse::decode(answer(7).as_slice()).expect("it is one").partial_success;
    assert_eq!(
        partial.map(|partial| (partial.rejected_log_records, partial.error_message)),
        Some((7, REJECTED.into()))
    );
    assert_eq!(answer_json(0), b"{}");
    let partial: Value = serde_json::from_slice(&answer_json(7)).expect("it is JSON");
    assert_eq!(partial["partialSuccess"]["rejectedLogRecords"], "7");
    let status = tonic_types::Status::decode(refusal("send it again later").as_slice()).expect("it is one");
    assert_eq!((status.code, status.message.as_str()), (0, "send it again later"));
    assert_eq!(refusal_json("no \"x\""), br#"{"message":"no \"x\""}"#);
}
