//! Records as the hosts of applications send them, with what they say beside a line's text.
//!
//! It makes bodies of lines. What a line says is not its business.

use serde_json::{Map, Value, json};

use super::Line;
use crate::demo::draw::{Draw, Lists, Lots, Value as Drawn};
use crate::family::Micros;

/// A record of Vercel (<https://vercel.com/docs/drains/reference/logs>), on one line.
pub(super) fn vercel(at: Micros, line: &Line, host: &str, lots: &mut Lots) -> String {
    let number = (lots.unit() * 1e12) as u64;
    let mut record = json!({
        "id": format!("{at:016}{number:012}"),
        "deploymentId": "dpl_demo",
        "source": "lambda",
        "host": host,
        "timestamp": at / 1000,
        "projectId": "prj_demo",
        "level": line.level,
        "message": format!("{}\n", line.text),
        "type": if line.level == "info" { "stdout" } else { "stderr" },
        "requestId": uuid(lots),
        "environment": "production",
        "branch": "main",
        "executionRegion": "fra1",
    });
    if let Value::Object(fields) = &mut record {
        fields.extend(details(line));
    }
    record.to_string()
}

/// A record of Supabase's drains, of a line of Postgres (<https://supabase.com/docs/guides/telemetry/log-drains>).
pub(super) fn supabase(at: Micros, line: &Line, lots: &mut Lots) -> String {
    let mut parsed = details(line);
    parsed.insert("error_severity".into(), line.level.clone().into());
    parsed.insert("user_name".into(), "authenticator".into());
    parsed.insert("database_name".into(), "postgres".into());
    json!({
        "id": uuid(lots),
        "timestamp": at,
        "event_message": line.text,
        "project": "demo",
        "metadata": {"host": "db-demo", "parsed": parsed},
    })
    .to_string()
}

/// What the host itself writes of one call of a function, and how many lines that is.
pub(super) fn block(lots: &mut Lots) -> (Line, u64) {
    let request = uuid(lots);
    let milliseconds = 20.0 + 900.0 * lots.unit();
    let text = format!(
        "START RequestId: {request} Version: $LATEST\nEND RequestId: {request}\nREPORT RequestId: {request}\t\
         Duration: {milliseconds:.2} ms\tBilled Duration: {:.0} ms\tMemory Size: 1024 MB\tMax Memory Used: 178 MB",
        milliseconds.ceil()
    );
    (Line { level: "info".into(), text, details: String::new() }, 3)
}

/// Records, one to a line; with one that was cut on its way.
pub(super) fn json_lines(mut records: Vec<String>, is_broken: bool) -> Vec<u8> {
    if is_broken {
        records.insert(records.len() / 2, r#"{"id":"0","source":"lambda","message":"cut on its w"#.into());
    }
    let mut body = records.join("\n").into_bytes();
    body.push(b'\n');
    body
}

/// Records in an array; with an element that is none.
pub(super) fn array(mut records: Vec<String>, is_broken: bool) -> Vec<u8> {
    if is_broken {
        records.insert(records.len() / 2, r#""no record""#.into());
    }
    format!("[{}]", records.join(",")).into_bytes()
}

fn details(line: &Line) -> Map<String, Value> {
    serde_json::from_str(&line.details).unwrap_or_default()
}

fn uuid(lots: &mut Lots) -> String {
    match lots.draw(&Draw::Uuid, &Lists::new(), 0) {
        Drawn::Text(text) => text,
        _ => String::new(),
    }
}
