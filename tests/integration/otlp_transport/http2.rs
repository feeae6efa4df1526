//! A server of HTTP/2 that answers what no library of gRPC would.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::StreamBody;
use hyper::body::{Frame, Incoming};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Status, headers and trailers.
type Answer = (StatusCode, HeaderMap, HeaderMap);

/// The server; it ends when it is dropped.
pub struct Http2 {
    port: u16,
    answer: Arc<Mutex<Answer>>,
    accepting: JoinHandle<()>,
}

impl Http2 {
    /// A server that answers 200 and nothing else.
    pub async fn start() -> Http2 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("there is a port");
        let port = listener.local_addr().expect("it listens").port();
        let answer: Arc<Mutex<Answer>> = Arc::default();
        let given = answer.clone();
        let accepting = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("there are files left for a connection");
                let given = given.clone();
                let service = service_fn(move |_: Request<Incoming>| {
                    let (status, headers, trailers) = given.lock().unwrap_or_else(PoisonError::into_inner).clone();
                    let end = (!trailers.is_empty()).then(|| Ok::<Frame<Bytes>, Infallible>(Frame::trailers(trailers)));
                    let mut response = Response::new(StreamBody::new(futures_util::stream::iter(end)));
                    *response.status_mut() = status;
                    *response.headers_mut() = headers;
                    std::future::ready(Ok::<_, Infallible>(response))
                });
                tokio::spawn(
                    hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Http2 { port, answer, accepting }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// From now on it answers so.
    pub fn answers(
        &self,
        status: u16,
        headers: &[(&'static str, &'static str)],
        trailers: &[(&'static str, &'static str)],
    ) {
        let map = |pairs: &[(&'static str, &'static str)]| -> HeaderMap {
            pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
        };
        let status = StatusCode::from_u16(status).expect("a status");
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = (status, map(headers), map(trailers));
    }
}

impl Drop for Http2 {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
