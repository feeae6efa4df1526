//! A small HTTP server for the demo's own desks (`control`, `pager`): whole bodies, bounded, and an answer at once.
//!
//! It knows no path. Nobody can make it hold more than its bounds.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, ORIGIN};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::clients;

/// Clients at a time.
const CLIENTS: usize = 16;

/// Bytes of a body; a page of Alertmanager with hundreds of alerts is shorter.
const BODY_BYTES: usize = 2 << 20;

/// Time to send a request's headers; also the longest that a kept connection may idle.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// Time for a whole connection.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(600);

/// Time for a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// A request with its whole body.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) path: String,
    /// What stands behind `Bearer` in its authorization.
    pub(super) token: Option<String>,
    /// Whether a page of some site sent it.
    pub(super) is_of_a_site: bool,
    pub(super) body: Bytes,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) kind: &'static str,
    pub(super) body: String,
}

impl Answer {
    /// Words.
    pub(super) fn text(status: StatusCode, words: impl Into<String>) -> Self {
        Answer { status, kind: "text/plain; charset=utf-8", body: words.into() }
    }

    /// Something as JSON.
    pub(super) fn json(value: &impl serde::Serialize) -> Self {
        match serde_json::to_string(value) {
            Ok(body) => Answer { status: StatusCode::OK, kind: "application/json", body },
            Err(error) => Answer::text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        }
    }
}

/// What answers.
pub(super) type Desk = Arc<dyn Fn(&Asked) -> Answer + Send + Sync>;

/// A server that ends when this is dropped.
pub(super) struct HttpServer {
    address: SocketAddr,
    listening: JoinHandle<()>,
}

impl HttpServer {
    /// Starts it.
    ///
    /// # Errors
    /// When the address cannot be listened at.
    pub(super) async fn start(at: SocketAddr, desk: Desk) -> io::Result<Self> {
        let listener = TcpListener::bind(at).await?;
        let address = listener.local_addr()?;
        Ok(HttpServer { address, listening: tokio::spawn(listen(listener, desk)) })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn listen(listener: TcpListener, desk: Desk) {
    let serve = |stream| {
        let served = tokio::time::timeout(CONNECTION_TIMEOUT, serve(stream, Arc::clone(&desk)));
        async move { drop(served.await) }
    };
    clients::serve_each(listener, CLIENTS, serve).await;
}

async fn serve(stream: TcpStream, desk: Desk) -> Result<(), hyper::Error> {
    let service = service_fn(move |request| answer(Arc::clone(&desk), request));
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

async fn answer(desk: Desk, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let header = |name| head.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let token =
        header(AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer ")).map(|token| token.trim().to_owned());
    let is_of_a_site = header(ORIGIN).is_some();
    let answer = match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, BODY_BYTES).collect()).await {
        Err(_) => Answer::text(StatusCode::REQUEST_TIMEOUT, "the body did not come in time\n"),
        Ok(Err(_)) => Answer::text(StatusCode::PAYLOAD_TOO_LARGE, "the body cannot be read, or is too long\n"),
        Ok(Ok(body)) => desk(&Asked {
            method: head.method,
            path: head.uri.path().to_owned(),
            token,
            is_of_a_site,
            body: body.to_bytes(),
        }),
    };
    let mut response = Response::new(Full::from(answer.body));
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(answer.kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'"));
    Ok(response)
}
