//! OTLP over HTTP/1.1 as protobuf, as a collector speaks it.

use std::convert::Infallible;
use std::io::Read;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{Request, Response};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;
use tokio::sync::Notify;

use super::behaviour::{Refusal, Verdict};
use super::record::{ReceivedRequest, Record, Transport};

/// Bytes of a body, before and after it is unpacked.
pub const MOST_BODY: usize = 64 << 20;

/// What is no protobuf.
pub const GARBAGE: &[u8] = b"<html><body>Please sign in.</body></html>";

/// A piece of a body that is too large, and how many there are: 64 MiB.
pub const PIECE: &[u8] = &[b' '; 64 << 10];
pub const PIECES: usize = 1024;

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// Answers one request.
pub async fn answer(request: Request<Incoming>, record: Arc<Record>, cut: Arc<Notify>) -> Result<Answer, Infallible> {
    let (head, body) = request.into_parts();
    let mut received = ReceivedRequest::new(Transport::Http, &head);
    let body = match Limited::new(body, MOST_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => {
            record.refuse(received);
            return Ok(refuse(&Refusal::new(413, "the body is too large, or ended early")));
        }
    };
    received.wire_bytes = body.len();
    received.at = Instant::now();
    let message = match message(&received, head.method.as_str(), &body) {
        Ok(message) => message,
        Err(refusal) => {
            record.refuse(received);
            return Ok(refuse(&refusal));
        }
    };
    let (verdict, traces) = match message {
        Sent::Traces(sent) => (record.take_spans(sent, received), true),
        Sent::Metrics(sent) => (record.take_metrics(sent, received), false),
    };
    Ok(match verdict {
        Verdict::Take { after, rejected, message } => {
            tokio::time::sleep(after).await;
            success(if traces {
                trace_response(rejected, message).encode_to_vec()
            } else {
                metrics_response(rejected, message).encode_to_vec()
            })
        }
        Verdict::Refuse(refusal) => refuse(&refusal),
        Verdict::Garbage => success(GARBAGE),
        Verdict::HugeBody => {
            let pieces = (0..PIECES).map(|_| Ok(Frame::data(Bytes::from_static(PIECE))));
            whole(200, StreamBody::new(futures_util::stream::iter(pieces)).boxed_unsync())
        }
        Verdict::Cut => {
            cut.notify_one();
            std::future::pending().await
        }
        Verdict::Hang => std::future::pending().await,
    })
}

/// The answer to a request with spans.
pub fn trace_response(rejected: usize, error_message: String) -> ExportTraceServiceResponse {
    let rejected_spans = i64::try_from(rejected).expect("it fits in memory");
    let partial = ExportTracePartialSuccess { rejected_spans, error_message };
    ExportTraceServiceResponse { partial_success: (partial != Default::default()).then_some(partial) }
}

/// The answer to a request with metrics.
pub fn metrics_response(rejected: usize, error_message: String) -> ExportMetricsServiceResponse {
    let rejected_data_points = i64::try_from(rejected).expect("it fits in memory");
    let partial = ExportMetricsPartialSuccess { rejected_data_points, error_message };
    ExportMetricsServiceResponse { partial_success: (partial != Default::default()).then_some(partial) }
}

enum Sent {
    Traces(ExportTraceServiceRequest),
    Metrics(ExportMetricsServiceRequest),
}

fn message(request: &ReceivedRequest, method: &str, body: &[u8]) -> Result<Sent, Refusal> {
    if method != "POST" {
        return Err(Refusal::new(405, "only POST"));
    }
    if request.headers.get("content-type").is_none_or(|kind| kind != "application/x-protobuf") {
        return Err(Refusal::new(415, "only application/x-protobuf"));
    }
    let body = match request.encoding.as_deref() {
        None => body.to_vec(),
        Some("gzip") => unpack(body)?,
        Some(other) => return Err(Refusal::new(415, format!("no encoding {other}"))),
    };
    let bad = |error: prost::DecodeError| Refusal::new(400, error.to_string());
    match request.path.as_str() {
        "/v1/traces" => ExportTraceServiceRequest::decode(&*body).map(Sent::Traces).map_err(bad),
        "/v1/metrics" => ExportMetricsServiceRequest::decode(&*body).map(Sent::Metrics).map_err(bad),
        path => Err(Refusal::new(404, format!("no {path}"))),
    }
}

fn unpack(body: &[u8]) -> Result<Vec<u8>, Refusal> {
    let mut unpacked = Vec::new();
    let limit = u64::try_from(MOST_BODY).expect("it is small") + 1;
    flate2::read::GzDecoder::new(body)
        .take(limit)
        .read_to_end(&mut unpacked)
        .map_err(|error| Refusal::new(400, error.to_string()))?;
    if unpacked.len() > MOST_BODY {
        return Err(Refusal::new(413, "the body is too large when it is unpacked"));
    }
    Ok(unpacked)
}

fn success(body: impl Into<Bytes>) -> Answer {
    whole(200, Full::new(body.into()).boxed_unsync())
}

fn refuse(refusal: &Refusal) -> Answer {
    let status =
        tonic_types::Status { code: refusal.code as i32, message: refusal.message.clone(), details: Vec::new() };
    let mut answer = whole(refusal.status, Full::new(status.encode_to_vec().into()).boxed_unsync());
    if let Some(retry_after) = &refusal.retry_after {
        let value = retry_after.parse().expect("tests give what fits in a header");
        answer.headers_mut().insert(hyper::header::RETRY_AFTER, value);
    }
    answer
}

fn whole(status: u16, body: UnsyncBoxBody<Bytes, Infallible>) -> Answer {
    Response::builder()
        .status(status)
        .header(hyper::header::CONTENT_TYPE, "application/x-protobuf")
        .body(body)
        .expect("tests give good statuses")
}
