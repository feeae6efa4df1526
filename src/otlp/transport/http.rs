//! OTLP over HTTP, in protobuf: a POST out, bounded in time and in what is read of the answer.
//!
//! It follows no redirect and goes through no proxy: the configured address is what is asked.

mod meaning;

use std::io::{Read, Write};
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, USER_AGENT};
use hyper::{HeaderMap, Method, Request, Response, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use prost::Message;
use tokio::time::{Instant, timeout_at};

pub(super) use self::meaning::{Reply, refusal};
use super::trouble::Spoken;
use super::words::Secrets;
use super::{Answer, BadEndpoint, Taken, Unanswered, connect, trouble};
use crate::config::otlp::OtlpEndpoint;
use crate::source::http::credentials;

/// Bytes of an answer that are read, as sent and when inflated. A receiver has little to say: a count and a sentence.
const ANSWER_LIMIT: usize = 64 << 10;

/// Bytes of an answer's head; servers seldom send more than 16 KiB.
const HEAD_LIMIT: usize = 64 << 10;

/// Idle connections are closed after so long, before receivers and what stands before them do (usually 60 s).
const IDLE: Duration = Duration::from_secs(45);

/// A receiver that is spoken to by HTTP.
pub(super) struct HttpWay {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    uri: Uri,
    receiver: String,
    headers: HeaderMap,
    secrets: Secrets,
    gzip: bool,
    limit: Duration,
    spoken: Spoken,
}

/// What came of a body, and whether that is all of it.
struct Came {
    bytes: Vec<u8>,
    is_whole: bool,
}

impl HttpWay {
    pub(super) fn new(endpoint: &OtlpEndpoint) -> Result<Self, BadEndpoint> {
        let headers = connect::headers(endpoint)?;
        let uri = credentials::uri(&endpoint.url)
            .ok_or_else(|| BadEndpoint("the URL cannot be used; write http://host:4318/v1/traces".into()))?;
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .http1_max_buf_size(HEAD_LIMIT)
            .build(connect::connector(endpoint)?);
        Ok(HttpWay {
            client,
            uri,
            receiver: endpoint.url.origin().ascii_serialization(),
            secrets: Secrets::new(&headers, &endpoint.url),
            headers,
            gzip: endpoint.gzip,
            limit: endpoint.timeout,
            spoken: Spoken::to(endpoint),
        })
    }

    pub(super) fn receiver(&self) -> &str {
        &self.receiver
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Sends a request of OTLP; `R` is what its answer is written as.
    pub(super) async fn export<Q: Message, R: Message + Default + Into<Taken>>(&self, request: &Q) -> Answer {
        let (response, came) = match self.exchange(self.request(request.encode_to_vec())).await {
            Ok(response) => response.into_parts(),
            Err(Unanswered(why)) => return Answer::Later { after: None, why },
        };
        let body = if came.is_whole { inflated(&response.headers, came.bytes) } else { Some(came.bytes) };
        let body = body.unwrap_or_default();
        self.reply::<R>(Reply { status: response.status, headers: &response.headers, body: &body })
    }

    /// Sends a request that is whole already.
    pub(super) async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Unanswered> {
        let response = self.exchange(request.map(Full::new)).await?;
        if !response.body().is_whole {
            return Err(Unanswered(format!("the answer broke off, or has more than {ANSWER_LIMIT} bytes")));
        }
        Ok(response.map(|came| Bytes::from(came.bytes)))
    }

    /// What an answer means whose body is whole; `R` is what it is written as.
    pub(super) fn meaning<R: Message + Default + Into<Taken>>(&self, response: &Response<Bytes>) -> Answer {
        let body = inflated(response.headers(), response.body().to_vec()).unwrap_or_default();
        self.reply::<R>(Reply { status: response.status(), headers: response.headers(), body: &body })
    }

    fn reply<R: Message + Default + Into<Taken>>(&self, reply: Reply<'_>) -> Answer {
        if reply.status.is_success() { reply.success::<R>(&self.secrets) } else { refusal(&reply, &self.secrets) }
    }

    fn request(&self, mut body: Vec<u8>) -> Request<Full<Bytes>> {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(connect::USER_AGENT_TEXT));
        headers.extend(self.headers.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        if self.gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            body = packed(&body);
        }
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = headers;
        request
    }

    /// An answer begins within the time limit, or there is none. What of its body does not come in time, or beyond the
    /// bound, is left: the head has said what matters.
    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Response<Came>, Unanswered> {
        let deadline = Instant::now() + self.limit;
        let began = timeout_at(deadline, self.client.request(request)).await;
        let response = began
            .map_err(|_| Unanswered(trouble::late(self.limit)))?
            .map_err(|error| Unanswered(trouble::unanswered(&error, self.spoken)))?;
        let (head, mut body) = response.into_parts();
        let mut bytes = Vec::new();
        let is_whole = timeout_at(deadline, read(&mut body, &mut bytes)).await.unwrap_or(false);
        Ok(Response::from_parts(head, Came { bytes, is_whole }))
    }
}

/// Reads as much as may be, and says whether that is all.
async fn read(body: &mut Incoming, into: &mut Vec<u8>) -> bool {
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return false };
        if let Ok(data) = frame.into_data() {
            let room = ANSWER_LIMIT - into.len();
            into.extend_from_slice(&data[..data.len().min(room)]);
            if data.len() > room {
                return false;
            }
        }
    }
    true
}

fn packed(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    encoder.write_all(body).and_then(|()| encoder.finish()).expect("writing to memory cannot fail")
}

/// A body without its packing; none when it has another, or more than is read. Nothing of the kind is asked for, but
/// proxies pack unasked.
fn inflated(headers: &HeaderMap, body: Vec<u8>) -> Option<Vec<u8>> {
    let packing = headers.get(CONTENT_ENCODING).map(|value| value.as_bytes().to_ascii_lowercase());
    match packing.as_deref() {
        None | Some(b"" | b"identity") => Some(body),
        Some(b"gzip" | b"x-gzip") => {
            let mut plain = Vec::new();
            let room = ANSWER_LIMIT as u64 + 1;
            MultiGzDecoder::new(body.as_slice()).take(room).read_to_end(&mut plain).ok()?;
            (plain.len() <= ANSWER_LIMIT).then_some(plain)
        }
        Some(_) => None,
    }
}
