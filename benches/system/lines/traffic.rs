//! What is sent: requests whose lines have ids of their own, and what they must come to.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use flate2::Compression;
use flate2::write::GzEncoder;
use hmac::{Hmac, KeyInit as _, Mac as _};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message as _;
use serde_json::json;
use sha1::Sha1;

/// What Vercel's bodies are signed with.
pub const SECRET: &str = "what-the-host-signs-with-in-benches";
/// What other drains want to see.
pub const TOKEN: &str = "what-the-drain-wants-to-see-in-benches";

/// Whose lines they are.
#[derive(Clone, Copy, PartialEq)]
pub enum Application {
    /// One with a small pack.
    Events,
    /// One whose runs have a line for their beginning and one for their end.
    Promptcademy,
    /// One that five collectors look at.
    Mentor,
}

/// The form in which they are sent.
#[derive(Clone, Copy, PartialEq)]
pub enum Way {
    /// Records of Vercel's, one to a line, signed.
    Vercel,
    /// The application's own JSON, one to a line.
    Http,
    /// `ExportLogsServiceRequest` in protobuf.
    Otlp,
}

/// How bodies are packed.
#[derive(Clone, Copy, PartialEq)]
pub enum Packing {
    /// Not at all.
    Plain,
    /// With gzip.
    Gzip,
}

/// What is sent.
pub struct Traffic {
    /// Whole requests, headers and all.
    pub requests: Vec<Vec<u8>>,
    /// Different lines in them.
    pub lines: usize,
    /// Series, and what they are when all has been counted.
    pub truth: BTreeMap<String, f64>,
}

/// A line: when it was written, how grave it is, its text.
struct Line {
    number: usize,
    milliseconds: u64,
    level: &'static str,
    text: String,
}

impl Application {
    /// The name of the pack that counts its lines.
    pub fn pack(self) -> &'static str {
        match self {
            Application::Events => "events",
            Application::Promptcademy => "promptcademy",
            Application::Mentor => "mentor",
        }
    }

    /// Of ten lines seven to nine are JSON. What each adds to the truth goes there.
    fn line(self, number: usize, began: u64, truth: &mut BTreeMap<String, f64>) -> Line {
        let mut add = |series: &str, value: f64| *truth.entry(series.into()).or_default() += value;
        let milliseconds = began + number as u64;
        let length = 20 + number % 3000;
        let (level, text) = match self {
            Application::Promptcademy => {
                let run = format!("5b0e0001-9c1d-4e7a-8f00-{:012x}", number / 2);
                let user = format!("7d1f0001-aaaa-4bbb-8ccc-{:012x}", number % 900);
                let line = match number % 10 {
                    8 | 9 => {
                        return Line {
                            number,
                            milliseconds,
                            level: "info",
                            text: format!("Fetched {length} templates for the page"),
                        };
                    }
                    even if even % 2 == 0 => json!({
                        "source": "api/ai/run", "event": "ai_run_start", "requestId": run, "userId": user,
                        "modelKeys": ["gpt-4o", "claude-3-5-sonnet"], "providerAccess": {"openai": true, "anthropic": true, "google": false},
                    }),
                    _ => {
                        add("promptcademy_ai_runs_total{outcome=\"success\"}", 1.0);
                        add("promptcademy_ai_run_tokens_total", length as f64);
                        add("promptcademy_ai_run_duration_seconds_count{models=\"2\",outcome=\"success\"}", 1.0);
                        json!({
                            "source": "api/ai/run", "event": "ai_run_success", "requestId": run, "userId": user, "durationMs": length,
                            "totalCost": 6.25, "totalDuration": length, "totalTokens": length, "errors": [],
                        })
                    }
                };
                ("info", line.to_string())
            }
            Application::Events | Application::Mentor => {
                let route = ["createLesson", "updateProfile", "submitQuiz"][number % 3];
                let user = format!("clx{:022x}", number % 900);
                let (level, msg, text) = match number % 10 {
                    0..6 => {
                        let line = json!({"level": "info", "msg": "action_ok", "route": route, "durationMs": length, "requestId": format!("r-{number:016x}"), "userId": user, "env": "production"});
                        ("info", "action_ok", line.to_string())
                    }
                    6 => {
                        let err = json!({"name": "PrismaClientKnownRequestError", "message": "Unique constraint failed on the fields: (`email`)"});
                        let line = json!({"level": "error", "msg": "action_fail", "route": route, "durationMs": length, "err": err, "userId": user});
                        ("error", "action_fail", line.to_string())
                    }
                    7 => (
                        "info",
                        "ai",
                        format!(
                            "[ai] generated {length} tokens for lesson {number} with claude-sonnet after one attempt"
                        ),
                    ),
                    8 => (
                        "info",
                        "email",
                        format!("[email] sent message {number} to one recipient, queue has {length} more to go"),
                    ),
                    _ => (
                        "warning",
                        "text",
                        format!("Slow query took {length} ms while it read chapters of course {number}"),
                    ),
                };
                if self == Application::Events {
                    let event = if text.starts_with('{') { msg } else { "text" };
                    add(&format!("events_total{{event=\"{event}\"}}"), 1.0);
                    if event != "text" {
                        add(&format!("events_seconds_count{{event=\"{event}\"}}"), 1.0);
                    }
                } else {
                    let prefix = match msg {
                        "ai" | "email" => msg,
                        "text" => "none",
                        _ => "json",
                    };
                    let word = if level == "warning" { "warn" } else { level };
                    add(&format!("mentor_log_lines_total{{level=\"{word}\",prefix=\"{prefix}\"}}"), 1.0);
                    match msg {
                        "action_ok" => add("mentor_actions_total{outcome=\"ok\"}", 1.0),
                        "action_fail" => add("mentor_action_errors_total{error=\"database\"}", 1.0),
                        _ => {}
                    }
                }
                (level, text)
            }
        };
        Line { number, milliseconds, level, text }
    }
}

impl Traffic {
    /// So many lines, in requests of `batch` lines.
    pub fn of(way: Way, packing: Packing, application: Application, count: usize, batch: usize) -> Traffic {
        let (began, mut truth) = (now(), BTreeMap::new());
        let numbers: Vec<usize> = (0..count).collect();
        let requests = numbers.chunks(batch).map(|numbers| {
            let lines = numbers.iter().map(|number| application.line(*number, began, &mut truth));
            request(way, packing, &body(way, lines))
        });
        let requests = requests.collect();
        Traffic { requests, lines: count, truth }
    }

    /// So many lines, written to a file as the application's own JSON.
    pub fn file(application: Application, count: usize, file: &Path) -> Traffic {
        let (began, mut truth) = (now(), BTreeMap::new());
        let written = std::fs::File::create(file).expect("the folder is ours");
        let mut written = std::io::BufWriter::new(written);
        for number in 0..count {
            let line = application.line(number, began, &mut truth);
            written.write_all(&body(Way::Http, std::iter::once(line))).expect("there is room for it");
        }
        written.flush().expect("there is room for it");
        Traffic { requests: Vec::new(), lines: count, truth }
    }

    /// Bytes of a line as it is sent, headers included.
    pub fn bytes_a_line(&self) -> f64 {
        self.requests.iter().map(Vec::len).sum::<usize>() as f64 / self.lines as f64
    }
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_millis();
    u64::try_from(now).expect("it is not long after")
}

fn body(way: Way, lines: impl Iterator<Item = Line>) -> Vec<u8> {
    if way == Way::Otlp {
        let log_records = lines.map(|line| LogRecord {
            time_unix_nano: line.milliseconds * 1_000_000,
            severity_text: line.level.into(),
            body: Some(AnyValue { value: Some(Value::StringValue(line.text)) }),
            trace_id: (line.number as u128 + 1).to_be_bytes().to_vec(),
            span_id: (line.number as u64 + 1).to_be_bytes().to_vec(),
            ..LogRecord::default()
        });
        let scope_logs = vec![ScopeLogs { log_records: log_records.collect(), ..ScopeLogs::default() }];
        let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
        return ExportLogsServiceRequest { resource_logs }.encode_to_vec();
    }
    let mut body = Vec::new();
    for line in lines {
        let record = match way {
            Way::Vercel => json!({
                "id": format!("{}{:012}", line.milliseconds, line.number), "deploymentId": "dpl_Hh3application", "source": "lambda",
                "host": "application-q2x1.vercel.app", "timestamp": line.milliseconds, "projectId": "prj_9application", "level": line.level,
                "message": line.text, "type": "stdout", "statusCode": 200, "path": "/api/ai/run",
                "requestId": format!("fra1::iad1::{:05}-{}", line.number, line.milliseconds), "environment": "production",
            }),
            _ => json!({
                "id": format!("line-{}", line.number), "timestamp": line.milliseconds, "level": line.level, "message": line.text, "service": "web",
            }),
        };
        serde_json::to_writer(&mut body, &record).expect("it is JSON");
        body.push(b'\n');
    }
    body
}

/// The whole request, signed as it is sent.
fn request(way: Way, packing: Packing, body: &[u8]) -> Vec<u8> {
    let packed;
    let (body, encoding) = match packing {
        Packing::Plain => (body, ""),
        Packing::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(body).expect("memory takes it");
            packed = encoder.finish().expect("memory takes it");
            (packed.as_slice(), "content-encoding: gzip\r\n")
        }
    };
    let (kind, shown) = match way {
        Way::Vercel => {
            let mut mac = Hmac::<Sha1>::new_from_slice(SECRET.as_bytes()).expect("keys have any length");
            mac.update(body);
            let signed: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
            ("application/x-ndjson", format!("x-vercel-signature: {signed}"))
        }
        Way::Http => ("application/x-ndjson", format!("authorization: Bearer {TOKEN}")),
        Way::Otlp => ("application/x-protobuf", format!("authorization: Bearer {TOKEN}")),
    };
    let path = if way == Way::Otlp { "/v1/logs" } else { "/drains/app" };
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {kind}\r\n{encoding}{shown}\r\ncontent-length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}
