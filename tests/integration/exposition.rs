//! What families look like in each format, kept as golden files.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use rowmetry::exposition::{Format, openmetrics};
use rowmetry::family::{
    Exemplar, Family, Histogram, Kind, Labels, NativeHistogram, Series, SpanContext, SpanId, TraceId, Value,
};

const START: Option<i64> = Some(1_700_000_000_250_000);

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::new(pairs.iter().map(|(name, value)| (Arc::from(*name), *value)))
}

fn number(pairs: &[(&str, &str)], value: f64, start: Option<i64>) -> Series {
    Series { labels: labels(pairs), value: Value::Number(value), start, exemplar: None }
}

fn histogram(pairs: &[(&str, &str)], histogram: Histogram) -> Series {
    Series { labels: labels(pairs), value: Value::Histogram(Arc::new(histogram)), start: START, exemplar: None }
}

fn exemplar(row: u8, value: f64, time: i64) -> Option<Exemplar> {
    let span = SpanContext { trace: TraceId([row; 16]), span: SpanId([0, 0, 0, 0, 0, 0, 0, row]) };
    Some(Exemplar { span, value, time })
}

fn family(name: &str, help: &str, kind: Kind, series: Vec<Series>) -> Arc<Family> {
    Arc::new(Family { name: name.into(), help: help.into(), kind, series })
}

fn families() -> Vec<Arc<Family>> {
    let native = NativeHistogram {
        schema: 2,
        zero_threshold: 1e-9,
        zero: 1,
        positive: BTreeMap::from([(-3, 2), (-2, 1), (0, 4), (9, 1)]),
        negative: BTreeMap::from([(5, 1)]),
    };
    let taken = Histogram {
        count: 10,
        sum: 17.25,
        buckets: vec![(0.005, 1), (1.0, 8), (2.5, 9), (1e6, 9)],
        exemplars: Vec::new(),
        native: Some(native),
    };
    let empty = Histogram { buckets: vec![(1.0, 0)], native: Some(NativeHistogram::default()), ..Histogram::default() };
    vec![
        family(
            "app_orders_total",
            "Orders of table \"orders\",\nby C:\\state.",
            Kind::Counter,
            vec![
                number(&[("state", "paid"), ("note", "quote \" slash \\ line\nend")], 3.0, START),
                number(&[("state", "ünïcode 🦀"), ("note", "")], 0.1 + 0.2, START),
                number(&[], 1e21, None),
            ],
        ),
        family("app_build_info", "The build.", Kind::Info, vec![number(&[("version", "1.2.3")], 1.0, None)]),
        family(
            "app_load",
            "Load.",
            Kind::Gauge,
            vec![
                number(&[("at", "nan")], f64::NAN, None),
                number(&[("at", "inf")], f64::INFINITY, None),
                number(&[("at", "-inf")], f64::NEG_INFINITY, None),
                number(&[("at", "small")], -2.5e-9, None),
            ],
        ),
        family(
            "app_wait_seconds",
            "Waiting.",
            Kind::Histogram,
            vec![histogram(&[("queue", "a")], taken), histogram(&[], empty)],
        ),
        family("app_nothing_total", "No series yet.", Kind::Counter, vec![]),
    ]
    .into_iter()
    .chain(with_exemplars())
    .collect()
}

/// Series that lead to spans, and those that must not although they could.
fn with_exemplars() -> [Arc<Family>; 4] {
    let shown = |series, exemplar| Series { exemplar, ..series };
    let waited = Histogram {
        count: 4,
        sum: 8.75,
        buckets: vec![(0.1, 1), (1.0, 3)],
        exemplars: vec![exemplar(3, 0.05, 1_700_000_013_000_001), None, exemplar(4, 7.5, 1_700_000_004_000_000)],
        native: Some(NativeHistogram {
            positive: BTreeMap::from([(-4, 1), (0, 2), (3, 1)]),
            ..NativeHistogram::default()
        }),
    };
    let one = |name, kind, row| {
        let series = shown(number(&[], 2.0, None), exemplar(row, 2.0, 1_700_000_012_000_000));
        family(name, "Two.", kind, vec![series])
    };
    [
        family(
            "app_calls_usd_total",
            "Calls.",
            Kind::Counter,
            vec![
                shown(number(&[("model", "a")], 3.0, START), exemplar(1, 1.0, 1_700_000_010_123_456)),
                shown(number(&[("model", "b")], 0.2, START), exemplar(0xfe, 1e-7, 1_000_001)),
                number(&[("model", "c")], 7.0, START),
            ],
        ),
        family("app_calls_seconds", "Waiting.", Kind::Histogram, vec![histogram(&[("model", "a")], waited)]),
        one("app_turns", Kind::Counter, 5),
        one("app_queue", Kind::Gauge, 6),
    ]
}

fn encode(format: Format) -> Vec<u8> {
    let mut out = Vec::new();
    format.encode(&families(), &mut out);
    out.extend_from_slice(format.end());
    out
}

#[test]
fn text_looks_like_this() {
    insta::assert_snapshot!(String::from_utf8(encode(Format::Text)).expect("UTF-8"));
}

#[test]
fn openmetrics_looks_like_this() {
    insta::assert_snapshot!(String::from_utf8(encode(Format::OpenMetrics)).expect("UTF-8"));
}

#[test]
fn openmetrics_without_start_times_has_no_created_line() {
    let mut out = Vec::new();
    openmetrics::encode_all(&families(), openmetrics::Created::LeftOut, &mut out);
    let text = String::from_utf8(out).expect("UTF-8");
    assert!(!text.contains("_created"), "{text}");
    assert!(text.contains("app_orders_total{"), "{text}");
}

/// The bytes, as a golden file of their own. `tests/decode_protobuf.py` shows what they mean by a definition that knows
/// nothing of ours; `python_tools_agree` compares the two.
#[test]
fn protobuf_looks_like_this() {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let bytes = encode(Format::Protobuf);
    insta::assert_snapshot!(bytes.chunks(40).map(hex).collect::<Vec<_>>().join("\n"));
}

/// Prometheus takes those of a native histogram in the order of their time, and as many as its own clients show.
#[test]
fn a_native_histogram_shows_the_youngest_ten() {
    let many: Vec<Option<Exemplar>> = (0..13).map(|row| exemplar(13 - row, 1.0, i64::from(13 - row))).collect();
    let wide = Histogram {
        buckets: (0..12).map(|bound| (f64::from(bound), 0)).collect(),
        exemplars: many,
        native: Some(NativeHistogram::default()),
        ..Histogram::default()
    };
    let classic = Histogram { native: None, ..wide.clone() };
    let mut out = Vec::new();
    let series = vec![histogram(&[("a", "wide")], wide), histogram(&[("a", "classic")], classic)];
    Format::Protobuf.encode(&[family("x", "X.", Kind::Histogram, series)], &mut out);
    let decoded = super::harness::python::run("decode_protobuf.py", &out).unwrap_or_else(|e| panic!("{e}"));
    let shown = |metric: usize| -> Vec<&str> {
        let exemplars = decoded[0]["metric"][metric]["histogram"]["exemplars"].as_array();
        exemplars.into_iter().flatten().filter_map(|one| one["timestamp"].as_str()?.get(17..)).collect()
    };
    let expected: Vec<String> = (4..14).map(|micros| format!("00.{micros:06}Z")).collect();
    assert_eq!(shown(0), expected);
    assert_eq!(shown(1), Vec::<&str>::new(), "it has no native buckets");
    let buckets = decoded[0]["metric"][1]["histogram"]["bucket"].as_array().expect("buckets");
    assert!(buckets.len() == 13 && buckets.iter().all(|bucket| bucket["exemplar"].is_object()), "{buckets:?}");
}

#[test]
fn python_tools_agree() {
    let protobuf = python("tests/decode_protobuf.py", &encode(Format::Protobuf));
    insta::assert_snapshot!("protobuf_decoded", protobuf);
    let openmetrics = python("tests/check_openmetrics.py", &encode(Format::OpenMetrics));
    insta::assert_snapshot!("openmetrics_parsed", openmetrics);
}

/// Runs a script of the venv that `tests/requirements.txt` describes.
fn python(script: &str, input: &[u8]) -> String {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/target/venv/bin/python");
    let mut child = Command::new(python)
        .arg(script)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("{python}: {error}; make it: python3 -m venv target/venv && target/venv/bin/pip install -r tests/requirements.txt")
        });
    child.stdin.take().expect("is piped").write_all(input).expect("the script reads");
    let output = child.wait_with_output().expect("the script ends");
    assert!(output.status.success(), "{script} refuses the output: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The labels of the one sample line of a text, read by the format's rules alone.
fn read_labels(text: &str) -> Vec<(String, String)> {
    let line = text.split('\n').find(|line| !line.starts_with('#')).expect("a sample");
    let mut rest = line.strip_prefix("x{").unwrap_or("} 1");
    let mut pairs = Vec::new();
    while let Some((name, value)) = rest.split_once("=\"") {
        let mut raw = String::new();
        let mut chars = value.char_indices();
        loop {
            match chars.next().expect("a closing quote") {
                (end, '"') => {
                    rest = value[end + 1..].trim_start_matches(',');
                    break;
                }
                (_, '\\') => match chars.next().expect("an escaped character").1 {
                    'n' => raw.push('\n'),
                    c => raw.push(c),
                },
                (_, c) => raw.push(c),
            }
        }
        pairs.push((name.to_owned(), raw));
    }
    assert_eq!(rest, "} 1");
    pairs
}

proptest! {
    #[test]
    fn any_label_values_read_back_the_same(a in any::<String>(), b in "[\\\\\"\n,={} a]*") {
        for format in [Format::Text, Format::OpenMetrics] {
            let mut out = Vec::new();
            format.encode(&[family("x", "", Kind::Gauge, vec![number(&[("a", &a), ("b", &b)], 1.0, None)])], &mut out);
            let expected = [("a", &a), ("b", &b)].into_iter().filter(|(_, value)| !value.is_empty());
            let expected: Vec<_> = expected.map(|(name, value)| (name.to_owned(), value.clone())).collect();
            prop_assert_eq!(read_labels(std::str::from_utf8(&out).expect("UTF-8")), expected);
        }
    }
}
