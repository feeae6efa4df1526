//! OTLP over gRPC: the services are tonic's, and only what tonic would not do on purpose is done by hand.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{HeaderMap, Request, Response};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use tokio::sync::Notify;
use tonic::body::Body;
use tonic::codec::CompressionEncoding::Gzip;
use tonic::codegen::Service;
use tonic::{Code, Status};

use super::behaviour::Verdict;
use super::http::{GARBAGE, MOST_BODY, PIECE, PIECES, metrics_response, trace_response};
use super::record::{ReceivedRequest, Record, Transport};

/// Answers one call.
pub async fn answer(
    request: Request<Incoming>,
    record: Arc<Record>,
    cut: Arc<Notify>,
) -> Result<Response<Body>, Infallible> {
    let (head, body) = request.into_parts();
    let received = ReceivedRequest::new(Transport::Grpc, &head);
    let path = received.path.clone();
    let wire_bytes = Arc::new(AtomicUsize::new(0));
    let instead = Arc::new(OnceLock::new());
    let counted = wire_bytes.clone();
    let body = body.map_frame(move |frame| {
        counted.fetch_add(frame.data_ref().map_or(0, Bytes::len), Ordering::Relaxed);
        frame
    });
    let call = Call { record, received, wire_bytes, instead: instead.clone(), cut };
    let request = Request::from_parts(head, body);
    let service = path.trim_start_matches('/').trim_end_matches("/Export");
    let answer = match service {
        "opentelemetry.proto.collector.trace.v1.TraceService" => {
            let mut server = TraceServiceServer::new(call).accept_compressed(Gzip).max_decoding_message_size(MOST_BODY);
            server.call(request).await?
        }
        "opentelemetry.proto.collector.metrics.v1.MetricsService" => {
            let mut server =
                MetricsServiceServer::new(call).accept_compressed(Gzip).max_decoding_message_size(MOST_BODY);
            server.call(request).await?
        }
        _ => {
            call.record.refuse(call.received);
            Status::unimplemented(format!("no {path}")).into_http()
        }
    };
    Ok(match instead.get() {
        None => answer,
        Some(instead) => answer.map(|_| instead.body()),
    })
}

/// An answer that tonic would not give.
#[derive(Clone, Copy)]
enum Instead {
    Garbage,
    HugeBody,
}

impl Instead {
    /// One message in gRPC's frame, and its good end.
    fn body(self) -> Body {
        let (piece, pieces) = match self {
            Instead::Garbage => (GARBAGE, 1),
            Instead::HugeBody => (PIECE, PIECES),
        };
        let mut prefix = BytesMut::new();
        prefix.put_u8(0);
        prefix.put_u32(u32::try_from(piece.len() * pieces).expect("it is less than 4 GiB"));
        let mut end = HeaderMap::new();
        end.insert(Status::GRPC_STATUS, (Code::Ok as i32).into());
        let frames = std::iter::once(Frame::data(prefix.freeze()))
            .chain((0..pieces).map(move |_| Frame::data(Bytes::from_static(piece))))
            .chain(std::iter::once(Frame::trailers(end)))
            .map(Ok::<_, Infallible>);
        Body::new(StreamBody::new(futures_util::stream::iter(frames)))
    }
}

/// The service for one call.
struct Call {
    record: Arc<Record>,
    received: ReceivedRequest,
    wire_bytes: Arc<AtomicUsize>,
    instead: Arc<OnceLock<Instead>>,
    cut: Arc<Notify>,
}

impl Call {
    fn received(&self) -> ReceivedRequest {
        let wire_bytes = self.wire_bytes.load(Ordering::Relaxed);
        ReceivedRequest { wire_bytes, at: Instant::now(), ..self.received.clone() }
    }

    /// How many are rejected and why.
    async fn obey(&self, verdict: Verdict) -> Result<(usize, String), Status> {
        match verdict {
            Verdict::Take { after, rejected, message } => {
                tokio::time::sleep(after).await;
                return Ok((rejected, message));
            }
            Verdict::Refuse(refusal) => return Err(refusal.grpc()),
            Verdict::Garbage => drop(self.instead.set(Instead::Garbage)),
            Verdict::HugeBody => drop(self.instead.set(Instead::HugeBody)),
            Verdict::Cut => {
                self.cut.notify_one();
                std::future::pending().await
            }
            Verdict::Hang => std::future::pending().await,
        }
        Ok((0, String::new()))
    }
}

#[tonic::async_trait]
impl TraceService for Call {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, Status> {
        let (rejected, message) = self.obey(self.record.take_spans(request.into_inner(), self.received())).await?;
        Ok(tonic::Response::new(trace_response(rejected, message)))
    }
}

#[tonic::async_trait]
impl MetricsService for Call {
    async fn export(
        &self,
        request: tonic::Request<ExportMetricsServiceRequest>,
    ) -> Result<tonic::Response<ExportMetricsServiceResponse>, Status> {
        let (rejected, message) = self.obey(self.record.take_metrics(request.into_inner(), self.received())).await?;
        Ok(tonic::Response::new(metrics_response(rejected, message)))
    }
}
