//! One receiver of OTLP, over HTTP or gRPC: a request out, and what the answer means.
//!
//! It neither queues nor repeats: what to do next is for whoever asked. No header that is sent occurs in a message.

mod connect;
mod grpc;
mod http;
mod pause;
mod trouble;
mod words;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use tonic::transport::Channel;

pub(super) use self::connect::USER_AGENT_TEXT;
use self::grpc::GrpcWay;
use self::http::HttpWay;
use self::words::Secrets;
use crate::config::otlp::{OtlpEndpoint, OtlpProtocol};

/// What a receiver's answer means.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// It has everything.
    Accepted,
    /// It has everything but so many items, which it will never take; they are not to be sent again.
    Partial {
        /// Items refused.
        rejected: u64,
        /// Its own words, cut and made safe to log.
        message: String,
    },
    /// Not now: send the same again, not before the pause that it asks for.
    Later {
        /// What it asks for.
        after: Option<Duration>,
        /// Why, for people.
        why: String,
    },
    /// It does not take a request of this size; smaller ones it may.
    TooLarge {
        /// Why, for people.
        why: String,
    },
    /// It will never take this request as it is.
    Refused {
        /// Why, for people.
        why: String,
    },
    /// It takes nothing from us as we are configured (credentials, path, protocol): keep everything, try again seldom.
    Misconfigured {
        /// Why and what mends it, for people.
        why: String,
    },
}

impl Answer {
    /// Why a request was not taken, for people.
    pub fn why(&self) -> Option<&str> {
        match self {
            Answer::Accepted | Answer::Partial { .. } => None,
            Answer::Later { why, .. }
            | Answer::TooLarge { why }
            | Answer::Refused { why }
            | Answer::Misconfigured { why } => Some(why),
        }
    }
}

/// The endpoint cannot be used as it is configured.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadEndpoint(pub String);

/// No whole answer came; the text says why and what mends it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unanswered(pub String);

/// A way to one receiver. Clones share its connections.
#[derive(Clone)]
pub struct Transport {
    way: Way,
    /// What the receiver said last while it took everything: told once, until it says something else.
    said: Arc<Mutex<String>>,
}

#[derive(Clone)]
enum Way {
    Http(Arc<HttpWay>),
    Grpc(Arc<GrpcWay>),
}

/// What a receiver says of a request that it took.
#[derive(Debug, Clone, PartialEq, Default)]
struct Taken {
    rejected: i64,
    message: String,
}

impl Transport {
    /// Prepares a way; connects nowhere yet. Must be called within a runtime.
    ///
    /// # Errors
    /// When a certificate cannot be read or a header cannot be sent; the message names the file or header.
    pub fn new(endpoint: &OtlpEndpoint) -> Result<Self, BadEndpoint> {
        let way = match endpoint.protocol {
            OtlpProtocol::HttpProtobuf => Way::Http(Arc::new(HttpWay::new(endpoint)?)),
            OtlpProtocol::Grpc => Way::Grpc(Arc::new(GrpcWay::new(endpoint)?)),
        };
        Ok(Transport { way, said: Arc::default() })
    }

    /// Sends spans.
    pub async fn traces(&self, request: ExportTraceServiceRequest) -> Answer {
        let answer = match &self.way {
            Way::Http(way) => way.export::<_, ExportTraceServiceResponse>(&request).await,
            Way::Grpc(way) => way.traces(request).await,
        };
        self.told(answer)
    }

    /// Sends metrics.
    pub async fn metrics(&self, request: ExportMetricsServiceRequest) -> Answer {
        let answer = match &self.way {
            Way::Http(way) => way.export::<_, ExportMetricsServiceResponse>(&request).await,
            Way::Grpc(way) => way.metrics(request).await,
        };
        self.told(answer)
    }

    /// How the receiver is spoken to.
    pub fn protocol(&self) -> OtlpProtocol {
        match self.way {
            Way::Http(_) => OtlpProtocol::HttpProtobuf,
            Way::Grpc(_) => OtlpProtocol::Grpc,
        }
    }

    /// Sends a request as it is, for an exporter that writes its own: nothing is added, and the endpoint's time limit and the
    /// bound on answers hold.
    ///
    /// # Errors
    /// When no whole answer came, or the receiver is spoken to by gRPC.
    pub async fn send(&self, request: hyper::Request<Bytes>) -> Result<hyper::Response<Bytes>, Unanswered> {
        match &self.way {
            Way::Http(way) => way.send(request).await,
            Way::Grpc(_) => Err(Unanswered("this receiver is spoken to by gRPC".into())),
        }
    }

    /// What an answer to spans that [`Transport::send`] brought means.
    pub fn meaning_of_traces(&self, response: &hyper::Response<Bytes>) -> Answer {
        match &self.way {
            Way::Http(way) => self.told(way.meaning::<ExportTraceServiceResponse>(response)),
            Way::Grpc(_) => Answer::Accepted,
        }
    }

    /// The connection, for an exporter that speaks gRPC itself; none over HTTP. It adds no header.
    pub fn channel(&self) -> Option<Channel> {
        match &self.way {
            Way::Http(_) => None,
            Way::Grpc(way) => Some(way.channel()),
        }
    }

    /// What is sent with every request beside its content: the configured headers, and the credentials of the URL.
    pub fn headers(&self) -> &hyper::HeaderMap {
        match &self.way {
            Way::Http(way) => way.headers(),
            Way::Grpc(way) => way.headers(),
        }
    }

    /// Words of a receiver that took everything go to the log, once.
    fn told(&self, answer: Answer) -> Answer {
        let Answer::Partial { rejected: 0, message } = answer else { return answer };
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if *said != message {
            tracing::warn!(receiver = %self.receiver(), said = message, "the OTLP receiver took everything and warns");
            *said = message;
        }
        Answer::Accepted
    }

    fn receiver(&self) -> &str {
        match &self.way {
            Way::Http(way) => way.receiver(),
            Way::Grpc(way) => way.receiver(),
        }
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("protocol", &self.protocol())
            .field("receiver", &self.receiver())
            .finish_non_exhaustive()
    }
}

impl Taken {
    /// What it means; [`Transport::told`] makes words without a rejected item into an entry of the log.
    fn answer(self, secrets: &Secrets) -> Answer {
        // A negative number of items has no meaning, and nothing is to be sent again in any case.
        let rejected = u64::try_from(self.rejected).unwrap_or(0);
        match (rejected, self.message.is_empty()) {
            (0, true) => Answer::Accepted,
            _ => Answer::Partial { rejected, message: secrets.safe(&self.message) },
        }
    }
}

impl From<ExportTraceServiceResponse> for Taken {
    fn from(response: ExportTraceServiceResponse) -> Self {
        let partial = response.partial_success.unwrap_or_default();
        Taken { rejected: partial.rejected_spans, message: partial.error_message }
    }
}

impl From<ExportMetricsServiceResponse> for Taken {
    fn from(response: ExportMetricsServiceResponse) -> Self {
        let partial = response.partial_success.unwrap_or_default();
        Taken { rejected: partial.rejected_data_points, message: partial.error_message }
    }
}

#[cfg(test)]
mod tests;
