//! Where traces and metrics are sent by OTLP, and how: from the file, and from OpenTelemetry's own variables for what the
//! file does not say.
//!
//! Nothing here connects anywhere. Headers are secrets, and an endpoint may hold one: they do not print.

mod headers;
mod reading;
mod receiver;
mod resolve;
mod target;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::ConfigErrors;
use super::load::ENVIRONMENT;
use super::raw::RawOtlp;
use crate::yaml::Complaint;

pub(super) use reading::Place;
pub(super) use resolve::resolve;

/// What the variables alone ask to be sent, for those who have no file. `variable` looks up an environment variable.
///
/// # Errors
/// Everything that nothing can be sent with, each with its variable and a mend.
pub fn from_environment(variable: &dyn Fn(&str) -> Option<String>) -> Result<OtlpSettings, ConfigErrors> {
    let (settings, errors) = resolve(&RawOtlp::default(), variable);
    let complaint = |(place, message): (Place, String)| Complaint {
        file: ENVIRONMENT.into(),
        line: None,
        place: place.to_string(),
        message,
    };
    let complaints: Vec<Complaint> = errors.into_iter().map(complaint).collect();
    if complaints.is_empty() { Ok(settings) } else { Err(ConfigErrors(complaints)) }
}

/// What is sent by OTLP. Nothing, unless the operator says where to.
#[derive(Debug, Clone)]
pub struct OtlpSettings {
    /// `service.name` of what Rowmetry tells of itself.
    pub service_name: String,
    /// Attributes of every resource that is sent, `service.name` excepted.
    pub resource: BTreeMap<String, String>,
    /// Traces; none when they are sent nowhere.
    pub traces: Option<TraceSettings>,
    /// Metrics; none when they are not pushed.
    pub metrics: Option<PushSettings>,
    /// `OTEL_LOG_LEVEL`, if it is set: how much the log says of sending (`none`, `error`, `warn`, `info`, `debug` or `trace`) where
    /// nobody named a filter.
    pub log_level: Option<String>,
    /// Variables that were not understood, each with what applies in their place, and what is probably not
    /// meant. Told once, at the start; no secret is in them.
    pub warnings: Vec<String>,
}

/// How traces are sent.
#[derive(Debug, Clone)]
pub struct TraceSettings {
    /// Where to.
    pub endpoint: OtlpEndpoint,
    /// Spans made of rows; none when they are not made.
    pub rows: Option<RowSpanSettings>,
    /// Our own traces; none when they are not made.
    pub own: Option<Sampler>,
    /// Whether a scrape's `traceparent` is continued, and ours is sent along with requests.
    pub propagate: bool,
    /// Spans in one request at most.
    pub batch_spans: usize,
}

/// Spans made of rows.
#[derive(Debug, Clone, PartialEq)]
pub struct RowSpanSettings {
    /// Spans that may wait until the receiver accepts them; what comes beyond is dropped and counted.
    pub queue_limit: u64,
    /// Which names attributes of generative AI have.
    pub gen_ai_names: GenAiNames,
    /// `service.name` by pack, where it is not the pack's own name.
    pub services: BTreeMap<String, String>,
    /// Whether counters and histograms show exemplars of them.
    pub exemplars: bool,
}

/// The generations of OpenTelemetry's names for generative AI. Packs use those of `Latest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GenAiNames {
    /// What semantic-conventions-genai has today.
    #[default]
    Latest,
    /// The last that semantic-conventions had, 1.41.
    V1_41,
    /// 1.36, which most back ends that are not quite new know: `gen_ai.system`.
    V1_36,
}

/// Which of our own traces are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampler {
    /// The share of traces that are sent, 0 to 1.
    pub ratio: f64,
    /// Whether a trace that somebody else began is sent when they said so, and else by the ratio.
    pub parent_based: bool,
}

/// A receiver of OTLP, and how it is spoken to.
#[derive(Clone)]
pub struct OtlpEndpoint {
    /// Where requests go: for HTTP the whole URL (`http://localhost:4318/v1/traces`), for gRPC scheme, host and port. It may hold
    /// a secret, so it is not printed whole.
    pub url: url::Url,
    /// How.
    pub protocol: OtlpProtocol,
    /// Headers (HTTP) or metadata (gRPC) of every request; names are in lower case.
    pub headers: Vec<(String, SecretString)>,
    /// Whether requests are packed with gzip.
    pub gzip: bool,
    /// Time that one request may take.
    pub timeout: Duration,
    /// Certificates (PEM) that are trusted in place of the public ones.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate and its key (PEM), for receivers that ask for one.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
}

/// The two transports of OTLP that are spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OtlpProtocol {
    /// `http/protobuf`.
    #[default]
    HttpProtobuf,
    /// `grpc`.
    Grpc,
}

/// How metrics are pushed.
#[derive(Debug, Clone)]
pub struct PushSettings {
    /// Where to.
    pub endpoint: OtlpEndpoint,
    /// Time between two pushes.
    pub interval: Duration,
    /// Whether values are those since the start, or those since the last push.
    pub temporality: Temporality,
    /// Which form histograms have.
    pub histograms: HistogramForm,
    /// Data points in one request at most.
    pub batch_points: usize,
}

/// What counters and histograms tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Temporality {
    /// What was counted since the start.
    #[default]
    Cumulative,
    /// What was counted since the last push.
    Delta,
}

/// The two forms of a histogram in OTLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HistogramForm {
    /// Buckets with the bounds that the pack gives.
    #[default]
    Explicit,
    /// Exponential buckets.
    Exponential,
}

impl OtlpSettings {
    /// `service.name` unless the operator says otherwise.
    pub const SERVICE_NAME: &str = "rowmetry";

    /// What is sent and where to, for people: one line each, without a secret. None when nothing is sent.
    pub fn lines(&self) -> Vec<String> {
        let traces = self.traces.iter().map(|traces| {
            let what = match (&traces.rows, &traces.own) {
                (Some(_), Some(_)) => "spans of rows and Rowmetry's own traces",
                (Some(_), None) => "spans of rows",
                _ => "Rowmetry's own traces",
            };
            format!("{what} go to {}", traces.endpoint)
        });
        let metrics = self.metrics.iter().map(|push| {
            let every = crate::duration::format(push.interval);
            format!("metrics are pushed every {every} to {}", push.endpoint)
        });
        traces.chain(metrics).collect()
    }

    /// Everything that is sent and how, to be compared. It holds secrets, so it is never printed.
    pub fn fingerprint(&self) -> String {
        let endpoints = [self.traces.as_ref().map(|of| &of.endpoint), self.metrics.as_ref().map(|of| &of.endpoint)];
        let secrets: Vec<_> = endpoints
            .into_iter()
            .flatten()
            .map(|endpoint| {
                let headers = endpoint.headers.iter().map(|(name, value)| (name, value.expose_secret()));
                (endpoint.url.as_str(), headers.collect::<Vec<_>>())
            })
            .collect();
        format!("{:?} {:?} {:?} {:?} {secrets:?}", self.service_name, self.resource, self.traces, self.metrics)
    }
}

impl Default for OtlpSettings {
    fn default() -> Self {
        OtlpSettings {
            service_name: Self::SERVICE_NAME.to_owned(),
            resource: BTreeMap::new(),
            traces: None,
            metrics: None,
            log_level: None,
            warnings: Vec::new(),
        }
    }
}

impl Default for Sampler {
    /// OpenTelemetry's own default, `parentbased_always_on`.
    fn default() -> Self {
        Sampler { ratio: 1.0, parent_based: true }
    }
}

impl OtlpProtocol {
    /// The word that the specification has for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            OtlpProtocol::HttpProtobuf => "http/protobuf",
            OtlpProtocol::Grpc => "grpc",
        }
    }
}

impl OtlpSettings {
    /// Whether counters and histograms show exemplars of rows whose spans are sent.
    pub fn shows_exemplars(&self) -> bool {
        let rows = self.traces.as_ref().and_then(|traces| traces.rows.as_ref());
        rows.is_some_and(|rows| rows.exemplars)
    }
}

impl TraceSettings {
    /// Spans in one request unless the operator says otherwise; OpenTelemetry's own default.
    pub const BATCH_SPANS: usize = 512;
}

impl PushSettings {
    /// Time between two pushes unless the operator says otherwise; OpenTelemetry's own default.
    pub const INTERVAL: Duration = Duration::from_secs(60);
    /// Data points in one request: about half a megabyte, well below the 4 MiB that gRPC receivers take.
    pub const BATCH_POINTS: usize = 2000;
}

impl OtlpEndpoint {
    /// Time that one request may take unless the operator says otherwise; OpenTelemetry's own default.
    pub const TIMEOUT: Duration = Duration::from_secs(10);

    /// An endpoint with every default.
    pub fn new(url: url::Url, protocol: OtlpProtocol) -> Self {
        OtlpEndpoint {
            url,
            protocol,
            headers: Vec::new(),
            gzip: false,
            timeout: Self::TIMEOUT,
            ca_file: None,
            client_certificate: None,
        }
    }

    /// The URL for people: scheme, host, port and path. User, password and query may be secrets.
    pub fn shown(&self) -> String {
        let port = self.url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let path = if self.protocol == OtlpProtocol::Grpc { "" } else { self.url.path() };
        format!("{}://{}{port}{path}", self.url.scheme(), self.url.host_str().unwrap_or_default())
    }
}

impl fmt::Display for OtlpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gzip = if self.gzip { ", gzip" } else { "" };
        write!(f, "{} ({}{gzip})", self.shown(), self.protocol.as_str())
    }
}

impl fmt::Debug for OtlpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OtlpEndpoint")
            .field("url", &self.shown())
            .field("protocol", &self.protocol)
            .field("headers", &self.headers)
            .field("gzip", &self.gzip)
            .field("timeout", &self.timeout)
            .field("ca_file", &self.ca_file)
            .field("client_certificate", &self.client_certificate)
            .finish()
    }
}

impl Default for RowSpanSettings {
    fn default() -> Self {
        RowSpanSettings {
            queue_limit: 200_000,
            gen_ai_names: GenAiNames::default(),
            services: BTreeMap::new(),
            exemplars: true,
        }
    }
}

#[cfg(test)]
mod tests;
