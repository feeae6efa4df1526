//! `otlp` as the operator writes it: what is sent by OTLP, where to, and how.
//!
//! Words that are one of a few are an `enum` of the schema, so the shape admits no others.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema};
use secrecy::SecretString;
use serde::Deserialize;

use crate::duration::Text as Duration;

/// What is sent by OTLP. What is not written here is taken from OpenTelemetry's own variables (`OTEL_EXPORTER_OTLP_ENDPOINT` and
/// the like).
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("additionalProperties" = false), transform = defaults_of_all)]
pub struct RawOtlp {
    /// Where traces and metrics are sent to, and how.
    #[serde(flatten)]
    pub receiver: RawOtlpReceiver,
    /// `service.name` of what Rowmetry tells of itself. Spans of rows have that of their application.
    #[schemars(extend("default" = "rowmetry"))]
    pub service_name: Option<String>,
    /// Attributes of everything that is sent, such as `deployment.environment.name`.
    pub resource: BTreeMap<String, String>,
    /// Traces: spans made of rows, and Rowmetry's own.
    pub traces: RawOtlpTraces,
    /// Metrics that are pushed; `/metrics` has them anyway.
    pub metrics: RawOtlpMetrics,
}

/// A receiver of OTLP. In `otlp` it is for traces and metrics; `traces` and `metrics` may each say something else.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RawOtlpReceiver {
    /// The receiver's URL; naming one turns traces on. In `otlp` it is the base, to which HTTP adds `/v1/traces` and `/v1/metrics`;
    /// in `traces` and `metrics` it is the whole URL. For `grpc` it is `http://host:4317`, or `https://…`.
    #[schemars(with = "Option<String>")]
    pub endpoint: Option<SecretString>,
    /// How the receiver is spoken to: `http/protobuf` (by custom at port 4318) or `grpc` (4317).
    #[schemars(extend("enum" = ["http/protobuf", "grpc"]))]
    pub protocol: Option<String>,
    /// Headers (`grpc`: metadata) of every request, such as `authorization`. They are never shown.
    #[schemars(with = "Option<BTreeMap<String, String>>")]
    pub headers: Option<BTreeMap<String, SecretString>>,
    /// A file of headers, one `name: value` a line, such as a mounted secret; in place of `headers`.
    pub headers_file: Option<String>,
    /// Whether requests are packed: `gzip` or `none`.
    #[schemars(extend("enum" = ["gzip", "none"]))]
    pub compression: Option<String>,
    /// Time that one request may take.
    #[schemars(with = "Option<Duration>")]
    pub timeout: Option<String>,
    /// A file of certificates (PEM) that are trusted in place of the public ones.
    pub ca_file: Option<String>,
    /// Our own certificate (PEM), for receivers that ask for one.
    pub client_certificate_file: Option<String>,
    /// The key (PEM) of our own certificate.
    pub client_key_file: Option<String>,
}

/// Traces that are sent by OTLP.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("additionalProperties" = false))]
pub struct RawOtlpTraces {
    /// What is said of all, for traces alone.
    #[serde(flatten)]
    pub receiver: RawOtlpReceiver,
    /// Whether rows become spans, where their pack says how. Without it, they do once an endpoint is named.
    #[schemars(extend("default" = true))]
    pub rows: Option<bool>,
    /// Whether Rowmetry's own work is traced. Without it, it is once an endpoint is named.
    #[schemars(extend("default" = true))]
    pub own: Option<bool>,
    /// The share of Rowmetry's own traces that are sent, from 0 to 1. Spans of rows are all sent.
    #[schemars(range(min = 0, max = 1), extend("default" = 1.0))]
    pub sample_ratio: Option<f64>,
    /// Spans of rows that wait until the receiver accepts them; what comes beyond is dropped and counted.
    #[schemars(range(min = 1), extend("default" = 200_000))]
    pub queue_spans: Option<u32>,
    /// Spans in one request at most.
    #[schemars(range(min = 1, max = 10_000), extend("default" = 512))]
    pub batch_spans: Option<u32>,
    /// Which generation of OpenTelemetry's names for generative AI spans have: `latest`, `v1.41`, or `v1.36`, which most back ends
    /// know.
    #[schemars(extend("enum" = ["latest", "v1.41", "v1.36"], "default" = "latest"))]
    pub gen_ai_names: Option<String>,
    /// `service.name` of the spans of rows: pack, then name. Without it, the pack's own name.
    pub services: BTreeMap<String, String>,
    /// Whether counters and histograms show exemplars: the trace of a row that they counted.
    #[schemars(extend("default" = true))]
    pub exemplars: Option<bool>,
}

/// Metrics that are pushed by OTLP.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("additionalProperties" = false))]
pub struct RawOtlpMetrics {
    /// What is said of all, for metrics alone. An endpoint here turns pushing on.
    #[serde(flatten)]
    pub receiver: RawOtlpReceiver,
    /// Whether metrics are pushed. Without it, they are once an endpoint is named for them alone. `/metrics` is served either
    /// way.
    #[schemars(extend("default" = false))]
    pub push: Option<bool>,
    /// Time between two pushes.
    #[schemars(with = "Option<Duration>", extend("default" = "60s"))]
    pub interval: Option<String>,
    /// Whether values are those since the start (`cumulative`) or those since the last push (`delta`). `delta` does not tell what
    /// was counted between the last push and a restart, nor what was caught up after a downtime by a series that was there
    /// before it; and it tells twice what a push held whose answer was lost. Sums of `cumulative` are exact.
    #[schemars(extend("enum" = ["cumulative", "delta"], "default" = "cumulative"))]
    pub temporality: Option<String>,
    /// Whether histograms have the pack's buckets (`explicit`) or exponential ones (`exponential`).
    #[schemars(extend("enum" = ["explicit", "exponential"], "default" = "explicit"))]
    pub histograms: Option<String>,
}

/// The defaults of a receiver hold where nothing is said for all; for traces or metrics alone they are what is said for all.
fn defaults_of_all(schema: &mut Schema) {
    for (key, default) in [("protocol", "http/protobuf"), ("compression", "none"), ("timeout", "10s")] {
        if let Some(property) = schema.pointer_mut(&format!("/properties/{key}")).and_then(|of| of.as_object_mut()) {
            property.insert("default".into(), default.into());
        }
    }
}
