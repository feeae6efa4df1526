//! A minimal HTTP client: one request, one connection, the whole reply.
//!
//! It speaks HTTP/1.0 so that replies come in one piece; it must not grow into more.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What the server said.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body as sent.
    pub body: Vec<u8>,
}

impl Reply {
    /// The value of a header.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Time for one request where a test does not say.
const PATIENCE: Duration = Duration::from_secs(10);

/// GET.
pub async fn get(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Result<Reply, String> {
    request(address, "GET", path, headers, PATIENCE).await
}

/// One request without a body, answered within `patience` as a whole.
pub async fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    patience: Duration,
) -> Result<Reply, String> {
    exchange(address, method, path, headers, &[], patience).await
}

/// POST of a body.
pub async fn post(address: SocketAddr, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Reply, String> {
    let length = body.len().to_string();
    let headers: Vec<_> = headers.iter().copied().chain([("Content-Length", length.as_str())]).collect();
    exchange(address, "POST", path, &headers, body, PATIENCE).await
}

async fn exchange(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
    patience: Duration,
) -> Result<Reply, String> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        let mut head = format!("{method} {path} HTTP/1.0\r\nHost: {address}\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body).await?;
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).await?;
        Ok::<_, std::io::Error>(reply)
    };
    let reply = tokio::time::timeout(patience, exchange)
        .await
        .map_err(|_| format!("{method} {path}: no answer in {patience:?}"))?
        .map_err(|e| format!("{method} {path}: {e}"))?;
    parse(&reply).ok_or_else(|| format!("{method} {path}: not an HTTP reply of {} bytes", reply.len()))
}

fn parse(reply: &[u8]) -> Option<Reply> {
    let end = reply.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&reply[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_string()))
        .collect();
    let body = reply[end + 4..].to_vec();
    let announced = headers.iter().find(|(name, _)| name == "content-length");
    // A reply that was cut short is none.
    if announced.is_some_and(|(_, length)| length.parse() != Ok(body.len())) {
        return None;
    }
    Some(Reply { status, headers, body })
}

/// Percent-encodes a query value.
pub fn encode(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
