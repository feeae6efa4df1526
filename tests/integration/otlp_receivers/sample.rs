//! Requests that use every field which the receivers print, and what they must print.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint, Metric,
    NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, exemplar, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use serde_json::{Value, json};

/// The ids of [`spans`].
pub const IDS: [&str; 2] =
    ["01010101010101010101010101010101:0303030303030303", "fefefefefefefefefefefefefefefefe:0404040404040404"];

/// The largest time that fits, and one that a double cannot hold.
const LAST: u64 = u64::MAX;
const EXACT: u64 = 1_700_000_000_123_456_789;

fn pair(key: &str, value: Any) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..Default::default() }
}

fn text(text: &str) -> Any {
    Any::StringValue(text.into())
}

fn resource() -> Option<Resource> {
    let attributes = vec![pair("service.name", text("näme")), pair("process.pid", Any::IntValue(7))];
    Some(Resource { attributes, ..Default::default() })
}

fn resource_as_json() -> Value {
    json!({"service.name": "näme", "process.pid": "7"})
}

fn scope() -> Option<InstrumentationScope> {
    Some(InstrumentationScope { name: "scope".into(), version: "1.2".into(), ..Default::default() })
}

/// Two spans: one with everything, one with what it must have.
pub fn spans() -> ExportTraceServiceRequest {
    let list = |values: Vec<Any>| ArrayValue {
        values: values.into_iter().map(|value| AnyValue { value: Some(value) }).collect(),
    };
    let full = Span {
        trace_id: vec![1; 16],
        span_id: vec![3; 8],
        parent_span_id: vec![5; 8],
        trace_state: "a=b".into(),
        flags: 0x101,
        name: "full \"quoted\" 🦀\n".into(),
        kind: 5,
        start_time_unix_nano: EXACT,
        end_time_unix_nano: LAST,
        attributes: vec![
            pair("text", text("ü")),
            pair("truth", Any::BoolValue(true)),
            pair("whole", Any::IntValue(i64::MIN)),
            pair("double", Any::DoubleValue(2.0)),
            pair("nan", Any::DoubleValue(f64::NAN)),
            pair("low", Any::DoubleValue(f64::NEG_INFINITY)),
            pair("list", Any::ArrayValue(list(vec![text("x"), Any::IntValue(1)]))),
            pair("map", Any::KvlistValue(KeyValueList { values: vec![pair("k", Any::BytesValue(vec![0, 255]))] })),
            KeyValue { key: "nothing".into(), ..Default::default() },
        ],
        events: vec![Event {
            time_unix_nano: EXACT + 1,
            name: "exception".into(),
            attributes: vec![pair("exception.type", text("E"))],
            ..Default::default()
        }],
        links: vec![Link {
            trace_id: vec![7; 16],
            span_id: vec![8; 8],
            trace_state: "c=d".into(),
            attributes: vec![pair("why", text("because"))],
            ..Default::default()
        }],
        status: Some(Status { code: 2, message: "failed".into() }),
        ..Default::default()
    };
    let bare = Span { trace_id: vec![0xfe; 16], span_id: vec![4; 8], ..Default::default() };
    ExportTraceServiceRequest {
        resource_spans: vec![
            ResourceSpans {
                resource: resource(),
                scope_spans: vec![ScopeSpans { scope: scope(), spans: vec![full], ..Default::default() }],
                ..Default::default()
            },
            ResourceSpans {
                scope_spans: vec![ScopeSpans { spans: vec![bare], ..Default::default() }],
                ..Default::default()
            },
        ],
    }
}

/// What [`spans`] are.
pub fn spans_as_json() -> Vec<Value> {
    vec![
        json!({
            "signal": "span",
            "trace_id": "01".repeat(16),
            "span_id": "03".repeat(8),
            "parent_span_id": "05".repeat(8),
            "trace_state": "a=b",
            "flags": 257,
            "name": "full \"quoted\" 🦀\n",
            "kind": 5,
            "start": EXACT,
            "end": LAST,
            "attributes": {
                "text": "ü", "truth": true, "whole": i64::MIN, "double": 2.0, "nan": "NaN", "low": "-Infinity",
                "list": ["x", 1], "map": {"k": {"bytes": "00ff"}}, "nothing": null,
            },
            "events": [{"time": EXACT + 1, "name": "exception", "attributes": {"exception.type": "E"}}],
            "links": [{
                "trace_id": "07".repeat(16), "span_id": "08".repeat(8), "trace_state": "c=d",
                "attributes": {"why": "because"},
            }],
            "status": {"code": 2, "message": "failed"},
            "scope": {"name": "scope", "version": "1.2"},
            "resource": resource_as_json(),
        }),
        json!({
            "signal": "span",
            "trace_id": "fe".repeat(16),
            "span_id": "04".repeat(8),
            "parent_span_id": "",
            "trace_state": "",
            "flags": 0,
            "name": "",
            "kind": 0,
            "start": 0,
            "end": 0,
            "attributes": {},
            "events": [],
            "links": [],
            "status": {"code": 0, "message": ""},
            "scope": {"name": "", "version": ""},
            "resource": {},
        }),
    ]
}

/// A small span of each name.
pub fn spans_named(names: &[&str]) -> ExportTraceServiceRequest {
    let span = |name: &&str| Span {
        trace_id: vec![1; 16],
        span_id: fastrand::u64(1..).to_be_bytes().to_vec(),
        name: (*name).into(),
        ..Default::default()
    };
    let spans = names.iter().map(span).collect();
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            scope_spans: vec![ScopeSpans { spans, ..Default::default() }],
            ..Default::default()
        }],
    }
}

/// A metric of each kind; the first sum has two points.
pub fn metrics() -> ExportMetricsServiceRequest {
    let metric = |name: &str, data| Metric {
        name: name.into(),
        description: "What it is.".into(),
        unit: "s".into(),
        data: Some(data),
        ..Default::default()
    };
    let number = |value| NumberDataPoint {
        attributes: vec![pair("label", text("v"))],
        start_time_unix_nano: 1,
        time_unix_nano: EXACT,
        flags: 1,
        value,
        exemplars: vec![Exemplar {
            filtered_attributes: vec![pair("more", text("m"))],
            time_unix_nano: 9,
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            value: Some(exemplar::Value::AsDouble(0.5)),
        }],
    };
    let sum = Sum {
        data_points: vec![
            number(Some(number_data_point::Value::AsInt(i64::MAX))),
            number(Some(number_data_point::Value::AsDouble(1.5))),
        ],
        aggregation_temporality: 2,
        is_monotonic: true,
    };
    let gauge =
        Gauge { data_points: vec![number(Some(number_data_point::Value::AsDouble(f64::INFINITY))), number(None)] };
    let histogram = HistogramDataPoint {
        count: 3,
        sum: Some(4.5),
        bucket_counts: vec![1, 2],
        explicit_bounds: vec![0.25],
        min: Some(0.0),
        ..Default::default()
    };
    let exponential = ExponentialHistogramDataPoint {
        count: 6,
        scale: -3,
        zero_count: 1,
        zero_threshold: 0.125,
        positive: Some(Buckets { offset: -2, bucket_counts: vec![0, 5] }),
        max: Some(8.0),
        ..Default::default()
    };
    let summary = SummaryDataPoint {
        count: 2,
        sum: 3.0,
        quantile_values: vec![ValueAtQuantile { quantile: 0.5, value: 1.0 }],
        ..Default::default()
    };
    let metrics = vec![
        metric("sum", Data::Sum(sum)),
        metric("gauge", Data::Gauge(gauge)),
        metric("histogram", Data::Histogram(Histogram { data_points: vec![histogram], aggregation_temporality: 1 })),
        metric(
            "exponential",
            Data::ExponentialHistogram(ExponentialHistogram {
                data_points: vec![exponential],
                aggregation_temporality: 2,
            }),
        ),
        metric("summary", Data::Summary(Summary { data_points: vec![summary] })),
        Metric { name: "empty".into(), ..Default::default() },
    ];
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: resource(),
            scope_metrics: vec![ScopeMetrics { scope: scope(), metrics, ..Default::default() }],
            ..Default::default()
        }],
    }
}

/// What the points of [`metrics`] are.
pub fn points_as_json() -> Vec<Value> {
    let whole = |name: &str, kind: &str, temporality: i32, point: Value| {
        let mut whole = json!({
            "signal": "metric",
            "name": name,
            "unit": "s",
            "description": "What it is.",
            "type": kind,
            "temporality": temporality,
            "monotonic": name == "sum",
            "scope": {"name": "scope", "version": "1.2"},
            "resource": resource_as_json(),
            "attributes": {}, "start": 0, "time": 0, "flags": 0,
        });
        let fields = whole.as_object_mut().expect("it was just made");
        fields.extend(point.as_object().expect("it is an object").clone());
        whole
    };
    let number = |value: Value| {
        json!({
            "attributes": {"label": "v"}, "start": 1, "time": EXACT, "flags": 1, "value": value,
            "exemplars": [{
                "time": 9, "trace_id": "01".repeat(16), "span_id": "02".repeat(8), "value": 0.5,
                "attributes": {"more": "m"},
            }],
        })
    };
    vec![
        whole("sum", "sum", 2, number(json!(i64::MAX))),
        whole("sum", "sum", 2, number(json!(1.5))),
        whole("gauge", "gauge", 0, number(json!("Infinity"))),
        whole("gauge", "gauge", 0, number(Value::Null)),
        whole(
            "histogram",
            "histogram",
            1,
            json!({
                "exemplars": [], "count": 3, "sum": 4.5, "min": 0.0, "max": null, "bounds": [0.25], "counts": [1, 2],
            }),
        ),
        whole(
            "exponential",
            "exponential_histogram",
            2,
            json!({
                "exemplars": [], "count": 6, "sum": null, "min": null, "max": 8.0, "scale": -3, "zero_count": 1,
                "zero_threshold": 0.125, "positive": {"offset": -2, "counts": [0, 5]},
                "negative": {"offset": 0, "counts": []},
            }),
        ),
        whole("summary", "summary", 0, json!({"count": 2, "sum": 3.0, "quantiles": [[0.5, 1.0]]})),
    ]
}
