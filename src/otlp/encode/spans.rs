//! Spans of rows as OTLP has them, with the application as their resource.
//!
//! The application is not us: its spans carry its own `service.name`, and the source that they were read from. Pure.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span};

use super::names;
use crate::config::OtlpSettings;
use crate::config::otlp::{GenAiNames, RowSpanSettings};
use crate::family::Micros;
use crate::span::{AttributeValue, SpanKind, SpanRecord};

/// Flags of a span (trace.proto): sampled.
const SAMPLED: u32 = 1;

/// The applications whose spans are sent, and how they are named.
#[derive(Debug, Clone)]
pub struct Applications {
    rows: RowSpanSettings,
    resource: Vec<(String, String)>,
    version: String,
}

/// Where a span comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Origin<'s> {
    /// The source.
    pub source: &'s str,
    /// The pack.
    pub pack: &'s str,
}

impl<'s> Origin<'s> {
    /// Of a collector's name in the state, `source/pack/collector`.
    pub fn of(collector: &'s str) -> Self {
        let mut parts = collector.splitn(3, '/');
        Origin { source: parts.next().unwrap_or_default(), pack: parts.next().unwrap_or_default() }
    }
}

impl Applications {
    /// `version` is ours.
    pub fn new(otlp: &OtlpSettings, rows: &RowSpanSettings, version: &str) -> Self {
        let resource = otlp.resource.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        Applications { rows: rows.clone(), resource, version: version.to_owned() }
    }

    /// One request with these spans, those that follow each other from one application in one group.
    pub fn request(&self, spans: &[(Origin<'_>, &SpanRecord)]) -> ExportTraceServiceRequest {
        let groups = spans.chunk_by(|(one, _), (other, _)| one == other);
        let resource_spans = groups.filter_map(|group| {
            let (origin, _) = group.first()?;
            let spans = group.iter().map(|(_, record)| encode(record, self.rows.gen_ai_names)).collect();
            let scope =
                InstrumentationScope { name: "rowmetry".into(), version: self.version.clone(), ..Default::default() };
            Some(ResourceSpans {
                resource: Some(self.resource(*origin)),
                scope_spans: vec![ScopeSpans { scope: Some(scope), spans, schema_url: String::new() }],
                schema_url: String::new(),
            })
        });
        ExportTraceServiceRequest { resource_spans: resource_spans.collect() }
    }

    fn resource(&self, origin: Origin<'_>) -> Resource {
        let service = self.rows.services.get(origin.pack).map_or(origin.pack, String::as_str);
        let own = [("service.name", service), ("rowmetry.source", origin.source)];
        let given = self.resource.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        // What the operator says of the application's own place goes first, but never its name: the variables name us.
        let given = given.filter(|(name, _)| !own.iter().any(|(own, _)| own == name) && !name.starts_with("service."));
        let attributes = own.into_iter().chain(given).map(|(name, value)| KeyValue {
            key: name.to_owned(),
            value: Some(text(value)),
            ..Default::default()
        });
        Resource { attributes: attributes.collect(), ..Default::default() }
    }
}

fn encode(record: &SpanRecord, generation: GenAiNames) -> Span {
    let error = record.error.iter().map(|error| ("error.type", text(error)));
    let own = record.attributes.iter().map(|(name, value)| (names::attribute(name, generation), any(value)));
    let attributes = own.chain(error).map(|(name, value)| KeyValue {
        key: name.to_owned(),
        value: Some(value),
        ..Default::default()
    });
    let code = if record.error.is_some() { StatusCode::Error } else { StatusCode::Unset };
    Span {
        trace_id: record.trace.0.to_vec(),
        span_id: record.span.0.to_vec(),
        parent_span_id: record.parent.map_or_else(Vec::new, |parent| parent.0.to_vec()),
        flags: SAMPLED,
        name: record.name.clone(),
        kind: kind(record.kind) as i32,
        start_time_unix_nano: nanos(record.start),
        end_time_unix_nano: nanos(record.end),
        attributes: attributes.collect(),
        status: Some(Status { message: String::new(), code: code as i32 }),
        ..Span::default()
    }
}

fn kind(kind: SpanKind) -> span::SpanKind {
    match kind {
        SpanKind::Internal => span::SpanKind::Internal,
        SpanKind::Server => span::SpanKind::Server,
        SpanKind::Client => span::SpanKind::Client,
        SpanKind::Producer => span::SpanKind::Producer,
        SpanKind::Consumer => span::SpanKind::Consumer,
    }
}

/// Nanoseconds since 1970; the collector lets nothing through that is before.
fn nanos(micros: Micros) -> u64 {
    u64::try_from(micros).unwrap_or_default().saturating_mul(1000)
}

fn any(value: &AttributeValue) -> AnyValue {
    let value = match value {
        AttributeValue::Flag(flag) => any_value::Value::BoolValue(*flag),
        AttributeValue::Integer(number) => any_value::Value::IntValue(*number),
        AttributeValue::Number(number) => any_value::Value::DoubleValue(*number),
        AttributeValue::Text(text) => any_value::Value::StringValue(text.clone()),
    };
    AnyValue { value: Some(value) }
}

fn text(text: &str) -> AnyValue {
    AnyValue { value: Some(any_value::Value::StringValue(text.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::{SpanId, TraceId};

    fn record(number: u8, error: Option<&str>) -> SpanRecord {
        SpanRecord {
            trace: TraceId([number; 16]),
            span: SpanId([number; 8]),
            parent: (number > 1).then_some(SpanId([1; 8])),
            name: format!("work {number}"),
            kind: SpanKind::Client,
            start: 1_795_229_598_123_456,
            end: 1_795_229_599_000_001,
            error: error.map(str::to_owned),
            attributes: vec![
                ("gen_ai.provider.name".into(), AttributeValue::Text("openai".into())),
                ("tokens".into(), AttributeValue::Integer(7)),
            ],
        }
    }

    #[test]
    fn spans_are_the_application_s_and_grouped_by_it() {
        let otlp = OtlpSettings {
            resource: [("deployment.environment.name", "production"), ("service.namespace", "monitoring")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            ..OtlpSettings::default()
        };
        let rows = RowSpanSettings {
            gen_ai_names: GenAiNames::V1_36,
            services: [("b".to_owned(), "b-web".to_owned())].into(),
            ..RowSpanSettings::default()
        };
        let (one, two, three) = (record(1, None), record(2, Some("timeout")), record(3, None));
        let spans = [
            (Origin::of("main/a/attempts"), &one),
            (Origin::of("main/a/builds"), &two),
            (Origin::of("main/b/calls/x"), &three),
        ];
        let request = Applications::new(&otlp, &rows, "1.2.3").request(&spans);
        let groups = &request.resource_spans;
        let resource = |group: &ResourceSpans| {
            let attributes = &group.resource.as_ref().expect("a resource").attributes;
            let value = |any: &AnyValue| match &any.value {
                Some(any_value::Value::StringValue(text)) => text.clone(),
                other => panic!("{other:?}"),
            };
            attributes.iter().map(|a| format!("{}={}", a.key, value(a.value.as_ref().expect("a value")))).collect()
        };
        let resources: Vec<Vec<String>> = groups.iter().map(resource).collect();
        assert_eq!(
            resources,
            [
                ["service.name=a", "rowmetry.source=main", "deployment.environment.name=production"],
                ["service.name=b-web", "rowmetry.source=main", "deployment.environment.name=production"],
            ]
        );
        let spans = &groups[0].scope_spans[0].spans;
        assert_eq!(spans.len(), 2);
        assert_eq!(spans[0].start_time_unix_nano, 1_795_229_598_123_456_000);
        assert_eq!(spans[0].end_time_unix_nano, 1_795_229_599_000_001_000);
        assert_eq!((spans[0].parent_span_id.len(), &*spans[1].parent_span_id), (0, &[1; 8][..]));
        let names = |span: &Span| span.attributes.iter().map(|a| a.key.clone()).collect::<Vec<_>>();
        assert_eq!(names(&spans[0]), ["gen_ai.system", "tokens"]);
        assert_eq!(names(&spans[1]), ["gen_ai.system", "tokens", "error.type"]);
        let code = |span: &Span| span.status.as_ref().map(|status| status.code);
        assert_eq!((code(&spans[0]), code(&spans[1])), (Some(0), Some(2)));
    }
}
