//! Answers at the paths of a made-up application, as its script wrote them last.
//!
//! It prints what it was given. Nothing here reads a database or decides what an answer says.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::clients;

/// Clients at a time: Rowmetry, and whoever looks on.
const CLIENTS: usize = 16;

/// Time to send a request's headers; also the longest that a kept connection may idle.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// Time for a whole connection, so that a client that takes no reply does not hold its place for ever.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(600);

/// The longest that an answer lets one wait.
const LONGEST_DELAY: Duration = Duration::from_secs(10);

/// What is answered at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) status: u16,
    /// Its media type.
    pub(super) kind: String,
    pub(super) body: String,
    /// How long the application takes for it.
    pub(super) delay: Duration,
}

/// Answers by path.
type Pages = Mutex<BTreeMap<String, Page>>;

/// A server. It ends when this is dropped.
pub(super) struct PageServer {
    pages: Arc<Pages>,
    address: SocketAddr,
    listening: JoinHandle<()>,
}

impl PageServer {
    /// Starts it, without any page, at this address, or at a free loopback port.
    ///
    /// # Errors
    /// When it cannot be listened at.
    pub(super) async fn start(at: Option<SocketAddr>) -> io::Result<Self> {
        let listener = TcpListener::bind(at.unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))).await?;
        let address = listener.local_addr()?;
        let pages = Arc::default();
        let listening = tokio::spawn(listen(listener, Arc::clone(&pages)));
        Ok(PageServer { pages, address, listening })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What is answered at a path.
    #[cfg(test)]
    pub(super) fn page(&self, path: &str) -> Option<Page> {
        lock(&self.pages).get(path).cloned()
    }

    /// Answers this at the path from now on.
    pub(super) fn put(&self, path: &str, page: Page) {
        lock(&self.pages).insert(path.to_owned(), page);
    }
}

impl Drop for PageServer {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// Accepts clients. Those that are served end with it.
async fn listen(listener: TcpListener, pages: Arc<Pages>) {
    let serve = |stream| {
        let served = tokio::time::timeout(CONNECTION_TIMEOUT, serve(stream, Arc::clone(&pages)));
        async move { drop(served.await) }
    };
    clients::serve_each(listener, CLIENTS, serve).await;
}

async fn serve(stream: TcpStream, pages: Arc<Pages>) -> Result<(), hyper::Error> {
    let service = service_fn(move |request| answer(Arc::clone(&pages), request));
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

async fn answer(pages: Arc<Pages>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = reply(StatusCode::METHOD_NOT_ALLOWED, "text/plain", String::new());
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Ok(response);
    }
    let page = lock(&pages).get(request.uri().path()).cloned();
    let Some(page) = page else { return Ok(reply(StatusCode::NOT_FOUND, "text/plain", "Not Found".to_owned())) };
    tokio::time::sleep(page.delay.min(LONGEST_DELAY)).await;
    let status = StatusCode::from_u16(page.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Ok(reply(status, &page.kind, page.body))
}

fn reply(status: StatusCode, kind: &str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    if let Ok(kind) = HeaderValue::from_str(kind) {
        response.headers_mut().insert(CONTENT_TYPE, kind);
    }
    response
}

fn lock(pages: &Pages) -> std::sync::MutexGuard<'_, BTreeMap<String, Page>> {
    pages.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// The whole reply, without its date.
    async fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        stream.write_all(format!("{request} HTTP/1.0\r\n\r\n").as_bytes()).await.expect("it reads");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.expect("it answers");
        reply.split("\r\n").filter(|line| !line.starts_with("date:")).collect::<Vec<_>>().join("|")
    }

    fn page(status: u16, body: &str) -> Page {
        Page { status, kind: "application/json".into(), body: body.into(), delay: Duration::from_millis(1) }
    }

    #[tokio::test]
    async fn it_answers_what_was_put_last() {
        let server = PageServer::start(None).await.expect("loopback has free ports");
        server.put("/a", page(200, "{}"));
        server.put("/a", page(503, "{\"status\":1}"));
        server.put("/odd", page(7, "x"));
        let ill = "HTTP/1.0 503 Service Unavailable|content-type: application/json|content-length: 12||{\"status\":1}";
        assert_eq!(ask(server.address(), "GET /a?x=1").await, ill);
        assert_eq!(ask(server.address(), "HEAD /a").await, ill.trim_end_matches("{\"status\":1}"));
        assert!(ask(server.address(), "GET /odd").await.starts_with("HTTP/1.0 500"));
        assert!(ask(server.address(), "GET /b").await.starts_with("HTTP/1.0 404"));
        assert!(ask(server.address(), "POST /a").await.starts_with("HTTP/1.0 405"));
    }

    #[tokio::test]
    async fn it_ends_when_it_is_dropped() {
        let server = PageServer::start(None).await.expect("loopback has free ports");
        let address = server.address();
        drop(server);
        let ended = async {
            while TcpStream::connect(address).await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), ended).await.expect("it still listens");
    }
}
