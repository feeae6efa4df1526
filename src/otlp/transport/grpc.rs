//! OTLP over gRPC: a unary call out, bounded in time and in what is read of the answer.
//!
//! Its connections are made like those of HTTP, so both have one TLS; nothing of TLS is configured here.

mod foreign;
mod meaning;

use std::future::Future;
use std::time::Duration;

use hyper::{HeaderMap, Uri};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use tokio::time::timeout;
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};

use self::foreign::Checked;
use super::words::Secrets;
use super::{Answer, BadEndpoint, Taken, connect, trouble};
use crate::config::otlp::OtlpEndpoint;
use crate::source::http::credentials;

/// Bytes of an answer that are read. A receiver has little to say: a count and a sentence.
const ANSWER_LIMIT: usize = 64 << 10;

/// Bytes of an answer's headers or trailers; a status with all its details has a few kilobytes.
const HEAD_LIMIT: u32 = 64 << 10;

/// A receiver that is spoken to by gRPC.
pub(super) struct GrpcWay {
    channel: Channel,
    receiver: String,
    headers: HeaderMap,
    secrets: Secrets,
    gzip: bool,
    limit: Duration,
}

impl GrpcWay {
    pub(super) fn new(endpoint: &OtlpEndpoint) -> Result<Self, BadEndpoint> {
        let headers = connect::headers(endpoint)?;
        let amiss = || BadEndpoint("the URL cannot be used; write http://host:4317".into());
        let uri: Uri = credentials::uri(&endpoint.url).ok_or_else(amiss)?;
        let channel = Endpoint::from_shared(uri.to_string())
            .and_then(|channel| channel.user_agent(connect::USER_AGENT_TEXT))
            .map_err(|_| amiss())?
            // Also a handshake that does not end must not hold up every later request.
            .connect_timeout(endpoint.timeout)
            .http2_max_header_list_size(HEAD_LIMIT)
            .connect_with_connector_lazy(connect::connector(endpoint)?);
        Ok(GrpcWay {
            channel,
            receiver: endpoint.url.origin().ascii_serialization(),
            secrets: Secrets::new(&headers, &endpoint.url),
            headers,
            gzip: endpoint.gzip,
            limit: endpoint.timeout,
        })
    }

    pub(super) fn receiver(&self) -> &str {
        &self.receiver
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    pub(super) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    pub(super) async fn traces(&self, request: ExportTraceServiceRequest) -> Answer {
        let mut client = TraceServiceClient::new(Checked::new(self.channel()))
            .max_decoding_message_size(ANSWER_LIMIT)
            .accept_compressed(CompressionEncoding::Gzip);
        if self.gzip {
            client = client.send_compressed(CompressionEncoding::Gzip);
        }
        self.answer(client.export(self.request(request))).await
    }

    pub(super) async fn metrics(&self, request: ExportMetricsServiceRequest) -> Answer {
        let mut client = MetricsServiceClient::new(Checked::new(self.channel()))
            .max_decoding_message_size(ANSWER_LIMIT)
            .accept_compressed(CompressionEncoding::Gzip);
        if self.gzip {
            client = client.send_compressed(CompressionEncoding::Gzip);
        }
        self.answer(client.export(self.request(request))).await
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        *request.metadata_mut() = MetadataMap::from_headers(self.headers.clone());
        // The receiver may as well give up when we do.
        request.set_timeout(self.limit);
        request
    }

    async fn answer<R: Into<Taken>>(&self, call: impl Future<Output = Result<Response<R>, Status>>) -> Answer {
        match timeout(self.limit, call).await {
            Ok(Ok(response)) => response.into_inner().into().answer(&self.secrets),
            Ok(Err(status)) => meaning::of(&status, &self.secrets),
            Err(_) => Answer::Later { after: None, why: trouble::late(self.limit) },
        }
    }
}
