//! A client of each transport: generated stubs over tonic's channel, and hyper.
//!
//! One connection for each request; it must not retry, so that what a test sees is what the receiver did.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use prost::Message;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tonic::codec::CompressionEncoding;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use crate::harness::otlp::Transport;

/// Bytes of an answer that are read.
pub const MOST_ANSWER: usize = 4 << 20;

/// Time for one request, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// What came of a request.
#[derive(Debug, PartialEq)]
pub enum Answer {
    /// Success, as far as it goes.
    Ok { rejected: i64, message: String },
    /// An error of HTTP: its status, the code in its body, the header.
    HttpError { status: u16, code: Code, retry_after: Option<String> },
    /// An error of gRPC, with the seconds of its retry information.
    GrpcError { code: Code, retry_after: Option<String> },
    /// Success, with a body of at least so many bytes that is not read.
    Senseless(usize),
    /// No connection, or one that ended early.
    Broken(String),
}

impl Answer {
    /// Whether everything was taken.
    pub fn is_ok(&self) -> bool {
        matches!(self, Answer::Ok { rejected: 0, .. })
    }
}

/// The client.
#[derive(Clone)]
pub struct Client {
    transport: Transport,
    url: String,
    tls: rustls::ClientConfig,
    gzip: bool,
}

impl Client {
    /// One that trusts nobody.
    pub fn new(transport: Transport, url: String) -> Client {
        let tls = config(rustls::RootCertStore::empty(), None);
        Client { transport, url, tls, gzip: false }
    }

    /// One that packs bodies, or does not.
    pub fn packing(self, gzip: bool) -> Client {
        Client { gzip, ..self }
    }

    /// One that trusts this authority, and shows this certificate with its key.
    pub fn trusting(self, authority: &Path, certificate: Option<&[PathBuf; 2]>) -> Client {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(authority).expect("openssl wrote it")).expect("it is an authority");
        Client { tls: config(roots, certificate), ..self }
    }

    /// Sends spans.
    pub async fn spans(&self, sent: &ExportTraceServiceRequest) -> Answer {
        let answer = async {
            match self.transport {
                Transport::Http => {
                    let read = |body: &[u8]| {
                        let answer = ExportTraceServiceResponse::decode(body).ok()?;
                        Some(answer.partial_success.map(|part| (part.rejected_spans, part.error_message)))
                    };
                    self.http("/v1/traces", sent.encode_to_vec(), read).await
                }
                Transport::Grpc => {
                    let channel = self.channel().await?;
                    let mut stub = TraceServiceClient::new(channel);
                    if self.gzip {
                        stub = stub.send_compressed(CompressionEncoding::Gzip);
                    }
                    let answer = stub.export(labelled(sent.clone())).await;
                    Ok(grpc(answer, |answer| {
                        answer.partial_success.map(|part| (part.rejected_spans, part.error_message))
                    }))
                }
            }
        };
        Self::in_time(answer).await
    }

    /// Sends metrics.
    pub async fn metrics(&self, sent: &ExportMetricsServiceRequest) -> Answer {
        let answer = async {
            match self.transport {
                Transport::Http => {
                    let read = |body: &[u8]| {
                        let answer = ExportMetricsServiceResponse::decode(body).ok()?;
                        Some(answer.partial_success.map(|part| (part.rejected_data_points, part.error_message)))
                    };
                    self.http("/v1/metrics", sent.encode_to_vec(), read).await
                }
                Transport::Grpc => {
                    let channel = self.channel().await?;
                    let mut stub = MetricsServiceClient::new(channel);
                    if self.gzip {
                        stub = stub.send_compressed(CompressionEncoding::Gzip);
                    }
                    let answer = stub.export(labelled(sent.clone())).await;
                    Ok(grpc(answer, |answer| {
                        answer.partial_success.map(|part| (part.rejected_data_points, part.error_message))
                    }))
                }
            }
        };
        Self::in_time(answer).await
    }

    /// Sends a body over HTTP: the status, the header `Retry-After` and the body, or how much of it is too much.
    pub async fn post(
        &self,
        path: &str,
        kind: &str,
        body: Vec<u8>,
    ) -> Result<(u16, Option<String>, Result<Bytes, usize>), String> {
        let mut request = hyper::Request::post(format!("{}{path}", self.url))
            .header("content-type", kind)
            .header("x-of-the-test", "yes");
        let mut body = body;
        if self.gzip {
            let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            packer.write_all(&body).expect("it is memory");
            body = packer.finish().expect("it is memory");
            request = request.header("content-encoding", "gzip");
        }
        let request = request.body(Full::new(Bytes::from(body))).expect("it is a good request");
        let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
            .retry_canceled_requests(false)
            .build(self.connector("http/1.1"));
        let answer = client.request(request).await.map_err(|error| format!("{error:?}"))?;
        let status = answer.status().as_u16();
        let header = answer.headers().get("retry-after");
        let retry_after = header.map(|value| value.to_str().expect("it is ASCII").to_owned());
        let body = match Limited::new(answer.into_body(), MOST_ANSWER).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(MOST_ANSWER + 1),
            Err(error) => return Err(error.to_string()),
        };
        Ok((status, retry_after, body))
    }

    async fn http(
        &self,
        path: &str,
        body: Vec<u8>,
        read: impl Fn(&[u8]) -> Option<Option<(i64, String)>>,
    ) -> Result<Answer, String> {
        let (status, retry_after, body) = self.post(path, "application/x-protobuf", body).await?;
        Ok(match (status, body) {
            (_, Err(bytes)) => Answer::Senseless(bytes),
            (200, Ok(body)) => match read(&body) {
                None => Answer::Senseless(body.len()),
                Some(part) => {
                    let (rejected, message) = part.unwrap_or_default();
                    Answer::Ok { rejected, message }
                }
            },
            (status, Ok(body)) => {
                let said = tonic_types::Status::decode(body).expect("an error says google.rpc.Status");
                Answer::HttpError { status, code: Code::from_i32(said.code), retry_after }
            }
        })
    }

    async fn channel(&self) -> Result<Channel, String> {
        let endpoint = Endpoint::from_shared(self.url.clone()).expect("it is a URL");
        endpoint.connect_with_connector(self.connector("h2")).await.map_err(|error| format!("{error:?}"))
    }

    fn connector(&self, protocol: &str) -> HttpsConnector<HttpConnector> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let mut tls = self.tls.clone();
        tls.alpn_protocols = vec![protocol.into()];
        HttpsConnector::from((tcp, tls))
    }

    async fn in_time(answer: impl Future<Output = Result<Answer, String>>) -> Answer {
        let answer = tokio::time::timeout(PATIENCE, answer).await.expect("there is an answer in time");
        answer.unwrap_or_else(Answer::Broken)
    }
}

fn labelled<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-of-the-test", "yes".parse().expect("it is ASCII"));
    request
}

fn grpc<T>(answer: Result<tonic::Response<T>, Status>, part: impl Fn(T) -> Option<(i64, String)>) -> Answer {
    let status = match answer {
        Ok(answer) => {
            let (rejected, message) = part(answer.into_inner()).unwrap_or_default();
            return Answer::Ok { rejected, message };
        }
        Err(status) => status,
    };
    let said = status.message();
    // tonic's words for a message above its limit, and for one that it cannot decode.
    if status.code() == Code::OutOfRange && said.contains("decoded message length too large") {
        return Answer::Senseless(MOST_ANSWER + 1);
    }
    if status.code() == Code::Internal && said.contains("failed to decode Protobuf message") {
        return Answer::Senseless(0);
    }
    if std::error::Error::source(&status).is_some() {
        return Answer::Broken(format!("{status:?}"));
    }
    let delay = status.get_details_retry_info().and_then(|info| info.retry_delay);
    Answer::GrpcError { code: status.code(), retry_after: delay.map(|delay| delay.as_secs_f64().to_string()) }
}

fn config(roots: rustls::RootCertStore, certificate: Option<&[PathBuf; 2]>) -> rustls::ClientConfig {
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_root_certificates(roots);
    match certificate {
        None => config.with_no_client_auth(),
        Some([certificate, key]) => {
            let certificate = CertificateDer::from_pem_file(certificate).expect("openssl wrote it");
            let key = PrivateKeyDer::from_pem_file(key).expect("openssl wrote it");
            config.with_client_auth_cert(vec![certificate], key).expect("they belong together")
        }
    }
}
