//! What holds of any bytes that a stranger sends: each function panics where it does not, and returns how many lines there were.
//!
//! The fuzz targets and the test of their seeds share it, so that neither can go stale.

use std::sync::LazyLock;

use rowmetry::collector::logs::form::Forms;
use rowmetry::config::logs::{DrainKind, IntakeLimits, RecordFields};
use rowmetry::otlp;
use rowmetry::pack::logs::LineForm;
use rowmetry::source::logs::body::{self, Unreadable};
use rowmetry::source::logs::{LineId, Parsed};

/// Bytes of a line; few, so that lines are cut.
const LINE_BYTES: usize = 4096;

/// A target: its name, and what it runs.
pub type Target = (&'static str, fn(&[u8]) -> usize);

/// The targets.
#[allow(dead_code, reason = "each target names itself alone")]
pub const TARGETS: [Target; 6] = [
    ("forms", forms),
    ("generic", generic),
    ("line", line),
    ("otlp_logs", otlp_logs),
    ("supabase", supabase),
    ("vercel", vercel),
];

/// A body that Vercel posts.
pub fn vercel(bytes: &[u8]) -> usize {
    posted(DrainKind::Vercel, bytes)
}

/// A body that Supabase posts.
pub fn supabase(bytes: &[u8]) -> usize {
    posted(DrainKind::Supabase, bytes)
}

/// A body that anything else posts.
pub fn generic(bytes: &[u8]) -> usize {
    posted(DrainKind::Http, bytes)
}

/// A request of OTLP, as protobuf or JSON.
pub fn otlp_logs(bytes: &[u8]) -> usize {
    let is_json = bytes.first() == Some(&b'{');
    let read = |limits: &IntakeLimits| match is_json {
        true => otlp::logs::decode_json(limits, bytes),
        false => otlp::logs::decode(limits, bytes),
    };
    checked(bytes, read).map_or(0, |parsed| parsed.lines.len())
}

/// One message of a file.
pub fn line(bytes: &[u8]) -> usize {
    checked(bytes, |limits| message(limits, bytes)).map_or(0, |parsed| parsed.lines.len())
}

/// One message of a file, and whether its lines have a form that a pack looks for: counts those that have.
pub fn forms(bytes: &[u8]) -> usize {
    let Some(parsed) = checked(bytes, |limits| message(limits, bytes)) else { return 0 };
    let fitted = |line| {
        let fitted = FORMS.fit(line);
        assert_eq!(fitted, FORMS.fit(line), "a line has another form when it is looked at again");
        for row in fitted.iter().flat_map(|fitted| &fitted.rows) {
            assert_eq!(row.len(), COLUMNS.len(), "a row has a cell for each column");
        }
        fitted.is_some()
    };
    parsed.lines.iter().filter(|line| fitted(line)).count()
}

fn message(limits: &IntakeLimits, bytes: &[u8]) -> Result<Parsed, Unreadable> {
    body::line(&RecordFields::default(), limits, &String::from_utf8_lossy(bytes), LineId::of_name("a place"))
}

/// Forms that between them say everything that a form can say.
const FORMS_TEXT: &str = r#"[
    {"json": {"event": "ai_run_start", "/providerAccess/openai": "*"}, "run": "start",
        "columns": {"request": "requestId", "models": {"count": "modelKeys"}}},
    {"json": {"event": ["ai_run_success", "ai_run_error"]}, "each": "errors", "run": "end", "columns": {
        "request": {"json": ["requestId", "/request/id"], "missing": "none"},
        "provider": {"item": "provider", "map": {"openai": "a"}, "otherwise": "other"},
        "error": {"item": "error", "classify": [{"pattern": "(?i)rate limit", "as": "rate_limit"}], "otherwise": "other"}}},
    {"json": {"msg": "action_fail", "durationMs": 12, "ok": [true, false]}, "columns": {"request": "/err/name"}},
    {"json": {"msg": "action_fail"}, "level": ["error", "fatal"], "columns": {"request": "/err/name"}},
    {"record": {"level": "*"}, "contains": ["timeout", "timed out"], "columns": {
        "request": {"record": ["/a~1b/~0c", "level"]}, "error": {"constant": "timeout"}}},
    {"prefix": ["[health] ", "[noise]"], "skip": true},
    {"prefix": "[", "pattern": "^\\[(?<part>[a-z-]+)\\] (?s:.*?)(?<status>[45][0-9]{2})?\\b",
        "columns": {"request": {"capture": "part"}, "error": {"capture": "status", "missing": "none"}}},
    {"pattern": "^(?<method>[A-Z]+) (?<path>\\S+) (?<status>[0-9]{3}) (?<ms>[0-9.]+)ms$",
        "columns": {"request": {"capture": "method"}, "models": {"capture": "ms"}}},
    {"pattern": "(?m)Cache (?<outcome>HIT|MISS):.*$", "columns": {"error": {"capture": "outcome", "map": {"HIT": "hit"}}}}
]"#;

const COLUMNS: [&str; 6] = ["request", "models", "provider", "error", "level", "time"];

static FORMS: LazyLock<Forms> = LazyLock::new(|| {
    let forms: Vec<LineForm> = serde_json::from_str(FORMS_TEXT).expect("these are forms");
    Forms::new(&forms, &COLUMNS.map(str::to_owned)).expect("the expressions are some")
});

fn posted(kind: DrainKind, bytes: &[u8]) -> usize {
    let fields = RecordFields::default();
    checked(bytes, |limits| body::parse(kind, &fields, limits, bytes)).map_or(0, |parsed| parsed.lines.len())
}

/// Reads the same twice, and looks at what was read.
fn checked(bytes: &[u8], read: impl Fn(&IntakeLimits) -> Result<Parsed, Unreadable>) -> Option<Parsed> {
    let limits = IntakeLimits { line_bytes: LINE_BYTES, ..IntakeLimits::default() };
    let (first, second) = (read(&limits), read(&limits));
    assert_eq!(first.as_ref().err(), second.as_ref().err(), "one of two times it was unreadable");
    let (first, second) = (first.ok()?, second.ok()?);
    assert_eq!(ids(&first), ids(&second), "the same has other ids when it is sent again");
    assert!(first.lines.len() <= bytes.len(), "{} lines of {} bytes", first.lines.len(), bytes.len());
    assert!(first.cut <= first.lines.len() as u64, "{} of {} lines were cut", first.cut, first.lines.len());
    for line in &first.lines {
        assert!(line.text.len() <= LINE_BYTES, "a line of {} bytes", line.text.len());
        assert!(line.json.as_ref().is_none_or(serde_json::Value::is_object), "JSON that is no object");
    }
    Some(first)
}

fn ids(parsed: &Parsed) -> Vec<LineId> {
    parsed.lines.iter().map(|line| line.id).collect()
}
