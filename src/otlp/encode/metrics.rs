//! Published families as OTLP has them.
//!
//! By OpenTelemetry's "Prometheus and OpenMetrics Compatibility", section "Prometheus Metric points to OTLP"
//! (<https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/>): names are not altered, so that one
//! query finds a metric however it came; the unit comes from the name; counters are monotonic sums; an info metric is a sum
//! that is not monotonic. It decides neither which points are sent nor since when they count, and reads no clock.

mod histogram;

use std::sync::Arc;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, DataPointFlags, ExponentialHistogram, Gauge, Histogram, Metric, NumberDataPoint,
    ResourceMetrics, ScopeMetrics, Sum, exemplar,
};
use opentelemetry_proto::tonic::resource::v1::Resource;

use crate::config::otlp::{HistogramForm, OtlpSettings, Temporality};
use crate::family::{Exemplar, Family, Kind, Labels, Micros, Value};

pub use histogram::joined;

/// The scope of every metric: who made OTLP of it.
const SCOPE: &str = "rowmetry";

/// `service.name` where the settings have none.
const SERVICE: &str = "rowmetry";

/// What all points of a family have in common.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    /// Name, as the text format prints it.
    pub name: Arc<str>,
    /// One line for people.
    pub help: Arc<str>,
    /// What kind of metric it is.
    pub kind: Kind,
    /// Whether its histograms have exponential buckets.
    pub exponential: bool,
}

/// One data point before it is encoded.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// The label set.
    pub labels: Labels,
    /// Since when it counts; not asked of gauges.
    pub start: Micros,
    /// The value; none tells that the series is no more.
    pub value: Option<Value>,
    /// A row that it counted.
    pub exemplar: Option<Exemplar>,
}

impl Head {
    /// The head of a family. Histograms are exponential only if every series has such buckets: a metric has one form.
    pub fn new(family: &Family, form: HistogramForm) -> Self {
        let native = |value: &Value| matches!(value, Value::Histogram(histogram) if histogram.native.is_some());
        Head {
            name: family.name.clone(),
            help: family.help.clone(),
            kind: family.kind,
            exponential: form == HistogramForm::Exponential
                && family.kind == Kind::Histogram
                && family.series.iter().all(|series| native(&series.value)),
        }
    }

    /// Whether its points count from a start, and so differ between the two temporalities. OpenTelemetry's delta preference
    /// leaves sums that are not monotonic cumulative, so info metrics stay as they are.
    pub fn counts(&self) -> bool {
        matches!(self.kind, Kind::Counter | Kind::Histogram)
    }

    /// The unit as UCUM writes it, from the suffix of the name; empty when it has none.
    fn unit(&self) -> &'static str {
        let stem = match self.kind {
            Kind::Counter => self.name.strip_suffix("_total").unwrap_or(&self.name),
            Kind::Gauge | Kind::Histogram | Kind::Info => &self.name,
        };
        match stem.rsplit('_').next() {
            Some("seconds") => "s",
            Some("bytes") => "By",
            Some("ratio") => "1",
            _ => "",
        }
    }

    /// What Prometheus calls its type; kept beside the data so that the way back loses nothing.
    fn prometheus_type(&self) -> &'static str {
        match self.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Info => "info",
        }
    }
}

/// One metric with these points, as of `now`.
pub fn metric<'p>(
    head: &Head,
    temporality: Temporality,
    points: impl Iterator<Item = &'p Point>,
    now: Micros,
) -> Metric {
    let aggregation_temporality = match temporality {
        Temporality::Delta if head.counts() => AggregationTemporality::Delta,
        Temporality::Delta | Temporality::Cumulative => AggregationTemporality::Cumulative,
    } as i32;
    let data = match head.kind {
        Kind::Gauge => {
            // A gauge counts from no start.
            let since_nothing = |point| NumberDataPoint { start_time_unix_nano: 0, ..number(point, now) };
            Data::Gauge(Gauge { data_points: points.map(since_nothing).collect() })
        }
        Kind::Counter | Kind::Info => Data::Sum(Sum {
            data_points: points.map(|point| number(point, now)).collect(),
            aggregation_temporality,
            is_monotonic: head.kind == Kind::Counter,
        }),
        Kind::Histogram if head.exponential => Data::ExponentialHistogram(ExponentialHistogram {
            data_points: points.map(|point| histogram::exponential(point, now)).collect(),
            aggregation_temporality,
        }),
        Kind::Histogram => Data::Histogram(Histogram {
            data_points: points.map(|point| histogram::explicit(point, now)).collect(),
            aggregation_temporality,
        }),
    };
    Metric {
        name: head.name.to_string(),
        description: head.help.to_string(),
        unit: head.unit().to_owned(),
        metadata: vec![text("prometheus.type", head.prometheus_type())],
        data: Some(data),
    }
}

/// A request with these metrics of one resource.
pub fn request(resource: &Resource, version: &str, metrics: Vec<Metric>) -> ExportMetricsServiceRequest {
    let scope = InstrumentationScope { name: SCOPE.to_owned(), version: version.to_owned(), ..Default::default() };
    let scope_metrics = vec![ScopeMetrics { scope: Some(scope), metrics, schema_url: String::new() }];
    let resource = Some(resource.clone());
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics { resource, scope_metrics, schema_url: String::new() }],
    }
}

/// The resource of metrics: this exporter, as `instance` tells it from others. What the operator says goes before.
pub fn resource(settings: &OtlpSettings, instance: &str, version: &str) -> Resource {
    let name = if settings.service_name.is_empty() { SERVICE } else { &settings.service_name };
    let own = [("service.name", name), ("service.instance.id", instance), ("service.version", version)];
    let said = |key: &str| key != "service.name" && settings.resource.contains_key(key);
    let own = own.into_iter().filter(|(key, _)| !said(key));
    let others = settings.resource.iter().filter(|(key, _)| *key != "service.name");
    let attributes = own.chain(others.map(|(key, value)| (key.as_str(), value.as_str())));
    Resource { attributes: attributes.map(|(key, value)| text(key, value)).collect(), ..Default::default() }
}

fn number(point: &Point, now: Micros) -> NumberDataPoint {
    let value = match &point.value {
        Some(Value::Number(value)) => Some(*value),
        Some(Value::Histogram(_)) | None => None,
    };
    NumberDataPoint {
        attributes: attributes(&point.labels),
        start_time_unix_nano: nanos(point.start.min(now)),
        time_unix_nano: nanos(now),
        exemplars: point.exemplar.iter().map(exemplar).collect(),
        flags: flags(value.is_none()),
        value: value.map(Number::AsDouble),
    }
}

/// A point without a value says so: receivers then show that the series ended.
fn flags(gone: bool) -> u32 {
    if gone { DataPointFlags::NoRecordedValueMask as u32 } else { 0 }
}

fn exemplar(exemplar: &Exemplar) -> opentelemetry_proto::tonic::metrics::v1::Exemplar {
    opentelemetry_proto::tonic::metrics::v1::Exemplar {
        filtered_attributes: Vec::new(),
        time_unix_nano: nanos(exemplar.time),
        span_id: exemplar.span.span.0.to_vec(),
        trace_id: exemplar.span.trace.0.to_vec(),
        value: Some(exemplar::Value::AsDouble(exemplar.value)),
    }
}

fn attributes(labels: &Labels) -> Vec<KeyValue> {
    labels.pairs().map(|(name, value)| text(name, value)).collect()
}

fn text(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(Any::StringValue(value.to_owned())) }),
        ..Default::default()
    }
}

/// OTLP counts in nanoseconds since 1970 and knows nothing before.
fn nanos(micros: Micros) -> u64 {
    u64::try_from(micros).unwrap_or(0).saturating_mul(1000)
}

#[cfg(test)]
mod tests;
