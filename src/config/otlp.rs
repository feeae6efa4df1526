//! Where traces and metrics are sent by OTLP, and how: from the file, and from OpenTelemetry's own variables for what the
//! file does not say.
//!
//! Nothing here connects anywhere. Headers are secrets: they do not print.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

/// What is sent by OTLP. Nothing, unless the operator says where to.
#[derive(Debug, Clone, Default)]
pub struct OtlpSettings {
    /// `service.name` of what Rowmetry tells of itself.
    pub service_name: String,
    /// Attributes of every resource that is sent, `service.name` excepted.
    pub resource: BTreeMap<String, String>,
    /// Traces; none when they are sent nowhere.
    pub traces: Option<TraceSettings>,
    /// Metrics; none when they are not pushed.
    pub metrics: Option<PushSettings>,
    /// Variables that were not understood, each with what applies in their place. Told once, at the start.
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
#[derive(Debug, Clone)]
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
