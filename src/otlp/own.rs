//! Our own traces: OpenTelemetry's SDK and its exporter, over the same transport as everything else.
//!
//! They are worth less than what they tell of: what finds no room or no receiver is dropped and counted, and nobody waits for it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, USER_AGENT};
use opentelemetry::trace::TracerProvider;
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Compression, Protocol, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SdkTracer, SdkTracerProvider, Span, SpanData, SpanProcessor,
};
use opentelemetry_sdk::trace::{Sampler as SdkSampler, SpanExporter as Export};
use tokio::runtime::Handle;
use tonic::metadata::MetadataMap;

use super::transport::{Answer, BadEndpoint, Transport, USER_AGENT_TEXT};
use crate::config::otlp::{OtlpEndpoint, OtlpSettings, Sampler, TraceSettings};
use crate::source::http::credentials;
use crate::telemetry::metrics::{OwnSpans, SpanOutcome};
use crate::telemetry::traces;

/// Spans that may wait for the receiver, as many as OpenTelemetry's SDK keeps by itself; each is about a kilobyte.
const QUEUE: usize = 2048;

/// A batch that is not full is sent after so long. OpenTelemetry's default is as long.
const BATCH_TIME: Duration = Duration::from_secs(5);

/// Time that the last batch has to reach the receiver when the process ends.
const STOP_WITHIN: Duration = Duration::from_secs(3);

/// Characters of an error that are logged: it may hold a receiver's words.
const WORDS: usize = 200;

/// Our own traces, as they are sent.
pub struct OwnTraces {
    provider: SdkTracerProvider,
    spans: OwnSpans,
}

impl OwnTraces {
    /// Prepares to send our own traces, if the settings say so; connects nowhere yet. Must be called within a runtime that lives
    /// until [`OwnTraces::stop`] has returned.
    ///
    /// # Errors
    /// When the endpoint cannot be used as it is configured.
    pub fn start(settings: &OtlpSettings, version: &'static str) -> Result<Option<Self>, BadEndpoint> {
        let Some((to, sampler)) = settings.traces.as_ref().and_then(|to| Some((to, to.own?))) else { return Ok(None) };
        if to.propagate {
            traces::propagate();
        }
        let said = Said::default();
        let exporter = exporter(&to.endpoint, &said)?;
        Ok(Some(OwnTraces::over(exporter, said, settings, to, sampler, version)))
    }

    fn over<E: Export + 'static>(
        exporter: E,
        said: Said,
        settings: &OtlpSettings,
        to: &TraceSettings,
        sampler: Sampler,
        version: &'static str,
    ) -> Self {
        let (spans, waiting) = (OwnSpans::new(), Arc::new(AtomicUsize::new(0)));
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_max_export_batch_size(to.batch_spans.min(QUEUE))
            .with_scheduled_delay(BATCH_TIME)
            .build();
        let counted = Counted {
            inner: Arc::new(exporter),
            said,
            runtime: Handle::current(),
            // The SDK tries again for as long as an export may take; the last attempt has its own time.
            limit: to.endpoint.timeout * 2,
            spans: spans.clone(),
            waiting: waiting.clone(),
            failing: AtomicBool::new(false),
        };
        let inner = BatchSpanProcessor::builder(counted).with_batch_config(batches).build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(Bounded { inner, spans: spans.clone(), waiting })
            .with_sampler(sampled(sampler))
            .with_resource(resource(settings, version))
            .build();
        OwnTraces { provider, spans }
    }

    /// What makes spans of ours.
    pub fn tracer(&self) -> SdkTracer {
        self.provider.tracer("rowmetry")
    }

    /// What became of them.
    pub fn spans(&self) -> &OwnSpans {
        &self.spans
    }

    /// Sends what waits, within three seconds. It blocks, so it is not for the runtime's threads.
    pub fn stop(self) {
        if let Err(error) = self.provider.shutdown_with_timeout(STOP_WITHIN) {
            tracing::debug!(error = %words(&error), "the last of our own traces were not sent");
        }
    }
}

fn sampled(sampler: Sampler) -> SdkSampler {
    let root = match sampler.ratio {
        ratio if ratio >= 1.0 => SdkSampler::AlwaysOn,
        ratio if ratio > 0.0 => SdkSampler::TraceIdRatioBased(ratio),
        _ => SdkSampler::AlwaysOff,
    };
    if sampler.parent_based { SdkSampler::ParentBased(Box::new(root)) } else { root }
}

/// Who we are. What the operator says goes before what we say of ourselves.
fn resource(settings: &OtlpSettings, version: &'static str) -> Resource {
    let told = settings.resource.iter().map(|(name, value)| KeyValue::new(name.clone(), value.clone()));
    // Random, as OpenTelemetry has it for those who cannot tell where they run.
    let instance = format!("{:032x}", fastrand::u128(..));
    Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_attributes([KeyValue::new("service.version", version), KeyValue::new("service.instance.id", instance)])
        .with_attributes(told)
        .with_service_name(settings.service_name.clone())
        .build()
}

/// The SDK's exporter over our transport. What it reads of OpenTelemetry's variables by itself was read before, with the file, so
/// each of them is said.
fn exporter(endpoint: &OtlpEndpoint, said: &Said) -> Result<SpanExporter, BadEndpoint> {
    let transport = Transport::new(endpoint)?;
    let built = match transport.channel() {
        None => {
            let uri = credentials::uri(&endpoint.url)
                .ok_or_else(|| BadEndpoint("the URL cannot be used; write http://host:4318/v1/traces".into()))?;
            let builder = SpanExporter::builder()
                .with_http()
                .with_protocol(Protocol::HttpBinary)
                .with_endpoint(uri.to_string())
                .with_timeout(endpoint.timeout)
                .with_http_client(SdkClient { transport, said: said.clone() });
            if endpoint.gzip { builder.with_compression(Compression::Gzip) } else { builder }.build()
        }
        Some(channel) => {
            let metadata = MetadataMap::from_headers(transport.headers().clone());
            let interceptor = move |mut request: tonic::Request<()>| {
                *request.metadata_mut() = metadata.clone();
                Ok(request)
            };
            let builder = SpanExporter::builder()
                .with_tonic()
                .with_protocol(Protocol::Grpc)
                .with_channel(channel)
                .with_timeout(endpoint.timeout)
                .with_interceptor(interceptor);
            if endpoint.gzip { builder.with_compression(Compression::Gzip) } else { builder }.build()
        }
    };
    built.map_err(|error| BadEndpoint(format!("our own traces cannot be sent: {error}")))
}

/// Sends the SDK's requests over our transport.
struct SdkClient {
    transport: Transport,
    said: Said,
}

/// What the last request came to, which the SDK does not pass on: why no answer came, or what the receiver refused of it.
type Said = Arc<Mutex<Option<Answer>>>;

impl std::fmt::Debug for SdkClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SdkClient")
    }
}

#[async_trait]
impl HttpClient for SdkClient {
    async fn send_bytes(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        // The SDK adds headers of its own and from the environment. What the file says goes before that, and was put
        // together already.
        let mut headers = self.transport.headers().clone();
        for name in [CONTENT_TYPE, CONTENT_ENCODING] {
            if let Some(value) = request.headers_mut().remove(&name) {
                headers.insert(name, value);
            }
        }
        headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(USER_AGENT_TEXT));
        *request.headers_mut() = headers;
        let answer = self.transport.send(request).await;
        let said = match &answer {
            Ok(response) => self.transport.meaning_of_traces(response),
            Err(unanswered) => Answer::Later { after: None, why: unanswered.to_string() },
        };
        *self.said.lock().unwrap_or_else(PoisonError::into_inner) = Some(said);
        Ok(answer?)
    }
}

/// An exporter whose spans are counted, and whose troubles are logged when they begin and when they end.
///
/// The SDK asks from a thread of its own where no runtime is, and waits as long as it takes. So the work is done on our runtime,
/// and has an end.
#[derive(Debug)]
struct Counted<E> {
    inner: Arc<E>,
    said: Said,
    runtime: Handle,
    limit: Duration,
    spans: OwnSpans,
    waiting: Arc<AtomicUsize>,
    failing: AtomicBool,
}

impl<E: Export + 'static> Export for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let (inner, limit) = (self.inner.clone(), self.limit);
        let sending = self.runtime.spawn(async move { tokio::time::timeout(limit, inner.export(batch)).await });
        let result = match sending.await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(OTelSdkError::Timeout(limit)),
            Err(error) if error.is_cancelled() => {
                Err(OTelSdkError::InternalFailure("the process ended before".to_owned()))
            }
            Err(_) => Err(OTelSdkError::InternalFailure("sending broke off".to_owned())),
        };
        // Only now is there room again: what is being sent is kept as long.
        self.waiting.fetch_sub(spans, Ordering::Relaxed);
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (failed, why) = match (&result, said) {
            (Ok(()), Some(Answer::Partial { rejected, message })) => {
                let rejected = rejected.min(spans as u64);
                (rejected, (rejected > 0).then(|| format!("{rejected} of {spans} spans were refused: {message}")))
            }
            (Ok(()), _) => (0, None),
            (Err(_), Some(answer)) if answer.why().is_some() => (spans as u64, answer.why().map(str::to_owned)),
            (Err(error), _) => (spans as u64, Some(words(error))),
        };
        self.spans.add(SpanOutcome::Sent, spans as u64 - failed);
        self.spans.add(SpanOutcome::Failed, failed);
        match why {
            None if self.failing.swap(false, Ordering::Relaxed) => tracing::info!("our own traces are accepted again"),
            Some(why) if !self.failing.swap(true, Ordering::Relaxed) => {
                tracing::warn!(error = %why, "our own traces are not accepted; they are dropped until they are");
            }
            _ => {}
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn shutdown(&self) -> OTelSdkResult {
        self.inner.shutdown()
    }

    fn set_resource(&mut self, resource: &Resource) {
        // It is said before anything is exported, while nobody else holds the exporter.
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.set_resource(resource);
        }
    }
}

/// The SDK's queue, with a count of what finds no room in it.
#[derive(Debug)]
struct Bounded {
    inner: BatchSpanProcessor,
    spans: OwnSpans,
    waiting: Arc<AtomicUsize>,
}

impl SpanProcessor for Bounded {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.inner.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if !span.span_context.is_sampled() {
            return;
        }
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= QUEUE {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.spans.add(SpanOutcome::Dropped, 1);
        } else {
            self.inner.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// An error on one line of bounded length.
fn words(error: &dyn std::error::Error) -> String {
    error.to_string().chars().take(WORDS).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests;
