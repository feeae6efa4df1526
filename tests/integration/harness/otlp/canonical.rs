//! Spans and data points as JSON, in the form in which `tests/otlp_receiver.py` prints them too.
//!
//! Ids are lower-case hex, times are Unix nanoseconds, enumerations are their numbers, attributes are objects. A double
//! that JSON cannot say is the text `NaN`, `Infinity` or `-Infinity`; bytes are `{"bytes": hex}`.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogramDataPoint, HistogramDataPoint, NumberDataPoint, SummaryDataPoint, exemplar,
    number_data_point,
};
use serde_json::{Map, Value, json};

use super::record::{ReceivedMetrics, ReceivedSpan};

impl ReceivedSpan {
    /// The span as JSON.
    pub fn canonical(&self) -> Value {
        let span = &self.span;
        let events: Vec<Value> = span
            .events
            .iter()
            .map(|event| {
                json!({
                    "time": event.time_unix_nano,
                    "name": event.name,
                    "attributes": attributes(&event.attributes),
                })
            })
            .collect();
        let links: Vec<Value> = span
            .links
            .iter()
            .map(|link| {
                json!({
                    "trace_id": hex(&link.trace_id),
                    "span_id": hex(&link.span_id),
                    "trace_state": link.trace_state,
                    "attributes": attributes(&link.attributes),
                })
            })
            .collect();
        let status = span.status.clone().unwrap_or_default();
        json!({
            "signal": "span",
            "trace_id": hex(&span.trace_id),
            "span_id": hex(&span.span_id),
            "parent_span_id": hex(&span.parent_span_id),
            "trace_state": span.trace_state,
            "flags": span.flags,
            "name": span.name,
            "kind": span.kind,
            "start": span.start_time_unix_nano,
            "end": span.end_time_unix_nano,
            "attributes": attributes(&span.attributes),
            "events": events,
            "links": links,
            "status": {"code": status.code, "message": status.message},
            "scope": {"name": self.scope.0, "version": self.scope.1},
            "resource": *self.resource,
        })
    }
}

impl ReceivedMetrics {
    /// Each data point as JSON, with what its metric and its resource say.
    pub fn points(&self) -> Vec<Value> {
        points(&self.request)
    }
}

/// Each data point of a request.
pub fn points(request: &ExportMetricsServiceRequest) -> Vec<Value> {
    let mut found = Vec::new();
    for of_resource in &request.resource_metrics {
        let resource = of_resource.resource.as_ref().map(|resource| texts(&resource.attributes)).unwrap_or_default();
        for of_scope in &of_resource.scope_metrics {
            let scope = of_scope.scope.clone().unwrap_or_default();
            for metric in &of_scope.metrics {
                let (kind, temporality, monotonic, points) = match &metric.data {
                    Some(Data::Gauge(gauge)) => ("gauge", 0, false, of(&gauge.data_points, number)),
                    Some(Data::Sum(sum)) => {
                        ("sum", sum.aggregation_temporality, sum.is_monotonic, of(&sum.data_points, number))
                    }
                    Some(Data::Histogram(histogram)) => {
                        ("histogram", histogram.aggregation_temporality, false, of(&histogram.data_points, buckets))
                    }
                    Some(Data::ExponentialHistogram(histogram)) => (
                        "exponential_histogram",
                        histogram.aggregation_temporality,
                        false,
                        of(&histogram.data_points, exponential),
                    ),
                    Some(Data::Summary(summary)) => ("summary", 0, false, of(&summary.data_points, quantiles)),
                    None => continue,
                };
                for point in points {
                    let mut whole = json!({
                        "signal": "metric",
                        "name": metric.name,
                        "unit": metric.unit,
                        "description": metric.description,
                        "type": kind,
                        "temporality": temporality,
                        "monotonic": monotonic,
                        "scope": {"name": scope.name, "version": scope.version},
                        "resource": resource,
                    });
                    let fields = whole.as_object_mut().expect("it was just made");
                    fields.extend(point);
                    found.push(whole);
                }
            }
        }
    }
    found
}

/// Takes away the first so many data points.
pub fn without_points(request: &mut ExportMetricsServiceRequest, mut count: usize) {
    fn drop_first<T>(points: &mut Vec<T>, count: &mut usize) {
        let here = points.len().min(*count);
        points.drain(..here);
        *count -= here;
    }
    let scopes = request.resource_metrics.iter_mut().flat_map(|one| &mut one.scope_metrics);
    for metric in scopes.flat_map(|one| &mut one.metrics) {
        match &mut metric.data {
            Some(Data::Gauge(gauge)) => drop_first(&mut gauge.data_points, &mut count),
            Some(Data::Sum(sum)) => drop_first(&mut sum.data_points, &mut count),
            Some(Data::Histogram(histogram)) => drop_first(&mut histogram.data_points, &mut count),
            Some(Data::ExponentialHistogram(histogram)) => drop_first(&mut histogram.data_points, &mut count),
            Some(Data::Summary(summary)) => drop_first(&mut summary.data_points, &mut count),
            None => {}
        }
    }
}

/// A trace id and a span id as one name.
pub fn pair(trace: &[u8], span: &[u8]) -> String {
    format!("{}:{}", hex(trace), hex(span))
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Attributes as texts; what is no text is JSON.
pub fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |value: Value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    attributes.iter().map(|one| (one.key.clone(), text(any(one.value.as_ref())))).collect()
}

/// Attributes as an object.
pub fn attributes(attributes: &[KeyValue]) -> Value {
    attributes.iter().map(|one| (one.key.clone(), any(one.value.as_ref()))).collect::<Map<_, _>>().into()
}

fn any(value: Option<&AnyValue>) -> Value {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Any::StringValue(text)) => json!(text),
        Some(Any::BoolValue(truth)) => json!(truth),
        Some(Any::IntValue(number)) => json!(number),
        Some(Any::DoubleValue(number)) => double(*number),
        Some(Any::ArrayValue(array)) => array.values.iter().map(|one| any(Some(one))).collect(),
        Some(Any::KvlistValue(list)) => attributes(&list.values),
        Some(Any::BytesValue(bytes)) => json!({ "bytes": hex(bytes) }),
        // An index into a table that traces and metrics do not have.
        Some(Any::StringValueStrindex(_)) | None => Value::Null,
    }
}

fn double(number: f64) -> Value {
    match number {
        _ if number.is_finite() => json!(number),
        _ if number.is_nan() => json!("NaN"),
        _ if number > 0.0 => json!("Infinity"),
        _ => json!("-Infinity"),
    }
}

fn maybe(number: Option<f64>) -> Value {
    number.map_or(Value::Null, double)
}

fn doubles(numbers: &[f64]) -> Value {
    numbers.iter().copied().map(double).collect()
}

fn of<T>(points: &[T], one: impl Fn(&T) -> Value) -> Vec<Map<String, Value>> {
    let fields = |point: &T| match one(point) {
        Value::Object(fields) => fields,
        other => panic!("a point is an object: {other}"),
    };
    points.iter().map(fields).collect()
}

fn number(point: &NumberDataPoint) -> Value {
    let value = match point.value {
        Some(number_data_point::Value::AsDouble(number)) => double(number),
        Some(number_data_point::Value::AsInt(number)) => json!(number),
        None => Value::Null,
    };
    json!({
        "attributes": attributes(&point.attributes),
        "start": point.start_time_unix_nano,
        "time": point.time_unix_nano,
        "flags": point.flags,
        "exemplars": exemplars(&point.exemplars),
        "value": value,
    })
}

fn buckets(point: &HistogramDataPoint) -> Value {
    json!({
        "attributes": attributes(&point.attributes),
        "start": point.start_time_unix_nano,
        "time": point.time_unix_nano,
        "flags": point.flags,
        "exemplars": exemplars(&point.exemplars),
        "count": point.count,
        "sum": maybe(point.sum),
        "min": maybe(point.min),
        "max": maybe(point.max),
        "bounds": doubles(&point.explicit_bounds),
        "counts": point.bucket_counts,
    })
}

fn exponential(point: &ExponentialHistogramDataPoint) -> Value {
    let side = |buckets: &Option<Buckets>| {
        let buckets = buckets.clone().unwrap_or_default();
        json!({"offset": buckets.offset, "counts": buckets.bucket_counts})
    };
    json!({
        "attributes": attributes(&point.attributes),
        "start": point.start_time_unix_nano,
        "time": point.time_unix_nano,
        "flags": point.flags,
        "exemplars": exemplars(&point.exemplars),
        "count": point.count,
        "sum": maybe(point.sum),
        "min": maybe(point.min),
        "max": maybe(point.max),
        "scale": point.scale,
        "zero_count": point.zero_count,
        "zero_threshold": double(point.zero_threshold),
        "positive": side(&point.positive),
        "negative": side(&point.negative),
    })
}

fn quantiles(point: &SummaryDataPoint) -> Value {
    let quantiles: Vec<Value> =
        point.quantile_values.iter().map(|one| json!([double(one.quantile), double(one.value)])).collect();
    json!({
        "attributes": attributes(&point.attributes),
        "start": point.start_time_unix_nano,
        "time": point.time_unix_nano,
        "flags": point.flags,
        "count": point.count,
        "sum": double(point.sum),
        "quantiles": quantiles,
    })
}

fn exemplars(exemplars: &[Exemplar]) -> Vec<Value> {
    let one = |exemplar: &Exemplar| {
        let value = match exemplar.value {
            Some(exemplar::Value::AsDouble(number)) => double(number),
            Some(exemplar::Value::AsInt(number)) => json!(number),
            None => Value::Null,
        };
        json!({
            "time": exemplar.time_unix_nano,
            "trace_id": hex(&exemplar.trace_id),
            "span_id": hex(&exemplar.span_id),
            "value": value,
            "attributes": attributes(&exemplar.filtered_attributes),
        })
    };
    exemplars.iter().map(one).collect()
}
