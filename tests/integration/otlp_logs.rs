//! Log records of OTLP, as a sender serialises them that Rowmetry's authors did not write: `tests/otlp_logs_sender.py`.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rowmetry::config::logs::IntakeLimits;
use rowmetry::otlp::logs::{answer, decode, decode_json};
use rowmetry::source::logs::{Level, LineId, LogLine, Parsed};
use serde_json::{Value, json};

use crate::harness::python;

/// When the records were written, in microseconds.
const TIME: Option<i64> = Some(1_760_000_000_123_456);

/// What the sender makes, and what it reads in these answers.
fn sender(answers: &[Vec<u8>]) -> Value {
    let answers: Vec<String> = answers.iter().map(|answer| BASE64_STANDARD.encode(answer)).collect();
    let input = json!({ "answers": answers }).to_string();
    python::run("otlp_logs_sender.py", input.as_bytes()).expect("the sender reads the answers")
}

/// The lines that the sender's request has.
fn assert_lines(parsed: &Parsed) {
    assert_eq!((parsed.unreadable, parsed.continuations, parsed.cut), (1, 0, 0));
    let origin = json!({"resource": {"service.name": "shop", "host.cpus": 4}, "scope": {"name": "my.logger"}});
    let with = |more: Value| {
        let mut record = origin.clone();
        let parts = record.as_object_mut().expect("it is an object");
        parts.extend(more.as_object().expect("it is an object").clone());
        Some(record)
    };
    let attributes = json!({
        "http.response.status_code": 503, "a/b~c": 0.5, "raw": "AP8Q", "empty": null, "list": [true, i64::MIN],
        "nested": {"in.ner": "x"},
    });
    let failed = with(json!({
        "attributes": attributes, "severity_text": "ERROR", "severity_number": 17,
        "trace_id": "000102030405060708090a0b0c0d0e0f", "span_id": "08090a0b0c0d0e0f",
    }));
    let done = with(json!({"severity_number": 9, "event_name": "job.done"}));
    let object = json!({"event": "job_done", "ms": 12.5});
    let named = Some(json!({"attributes": {"log.record.uid": "01J9Z"}, "severity_text": "warn"}));
    let line = |time, level, text: &str, json, record| LogLine {
        id: LineId(0),
        time,
        level,
        text: text.to_owned(),
        json,
        record,
    };
    let expected = [
        line(TIME, Some(Level::Error), "payment failed: čaša 🦀", None, failed),
        line(TIME, Some(Level::Info), r#"{"event":"job_done","ms":12.5}"#, Some(object), done),
        line(None, None, "untimed", None, with(json!({}))),
        line(None, None, "untimed", None, with(json!({}))),
        line(TIME, Some(Level::Warn), "7", None, named),
    ];
    let without_ids: Vec<LogLine> = parsed.lines.iter().map(|line| LogLine { id: LineId(0), ..line.clone() }).collect();
    assert_eq!(without_ids, expected);
    let mut ids: Vec<LineId> = parsed.lines.iter().map(|line| line.id).collect();
    assert_eq!(ids[4], LineId::of_name("01J9Z"));
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 5, "each line has an id of its own");
}

#[test]
fn what_another_sender_serialises_is_read_as_it_was_meant() {
    let sent = sender(&[]);
    let bytes = BASE64_STANDARD.decode(sent["protobuf"].as_str().expect("it is a text")).expect("it is base64");
    let limits = IntakeLimits::default();
    let parsed = decode(&limits, &bytes).expect("it is a request");
    assert_lines(&parsed);
    assert_eq!(decode(&limits, &bytes).expect("it is a request").lines, parsed.lines, "sent again it is the same");
    let text = sent["json"].to_string();
    assert_lines(&decode_json(&limits, text.as_bytes()).expect("it is a request"));
}

#[test]
fn another_sender_reads_our_answers() {
    let sent = sender(&[answer(0), answer(3)]);
    assert_eq!(sent["answers"][0], json!({"rejected": 0, "message": "", "partial": false}));
    let partial = &sent["answers"][1];
    assert_eq!((&partial["rejected"], &partial["partial"]), (&json!(3), &json!(true)));
    assert!(partial["message"].as_str().is_some_and(|message| message.contains("could not be read")), "{partial}");
}
