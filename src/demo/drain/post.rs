//! Posts one body to a drain, with what shows that it may: signed as Vercel does, or with a token as Supabase is told to.
//!
//! One request, one connection. It tries nothing again.

use std::io::{self, Write as _};
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use sha1::Sha1;
use tokio::net::TcpStream;

use crate::config::DrainSettings;
use crate::config::logs::{DrainKind, VERCEL_SIGNATURE};

/// Time for an answer, as Supabase's drains wait for it; Vercel's time is not told.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Who takes what drains bring: a host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::demo) struct Receiver {
    pub(in crate::demo) host: String,
    pub(in crate::demo) port: u16,
}

/// Why a body was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotTaken {
    #[error("no answer in time")]
    Late,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Http(#[from] hyper::Error),
    #[error("{0}")]
    Request(#[from] hyper::http::Error),
    #[error("answered {0}")]
    Status(StatusCode),
}

impl NotTaken {
    /// Whether it is merely to be brought later, as it was told.
    pub(super) fn is_later(&self) -> bool {
        matches!(self, NotTaken::Status(StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS))
    }
}

/// Posts a body.
///
/// # Errors
/// When it is not answered 200 in time. It may have been counted even so.
pub(super) async fn post(to: &Receiver, drain: &DrainSettings, secret: &str, body: Bytes) -> Result<(), NotTaken> {
    let request = request(to, drain, secret, body)?;
    let status = tokio::time::timeout(ANSWER_WITHIN, exchange(to, request)).await.map_err(|_| NotTaken::Late)??;
    if status == StatusCode::OK { Ok(()) } else { Err(NotTaken::Status(status)) }
}

fn request(to: &Receiver, drain: &DrainSettings, secret: &str, body: Bytes) -> Result<Request<Full<Bytes>>, NotTaken> {
    let host = if to.host.contains(':') { format!("[{}]", to.host) } else { to.host.clone() };
    let request = Request::post(&drain.path).header(HOST, format!("{host}:{}", to.port));
    let request = match drain.kind {
        // Supabase's drains pack their bodies unless they are told not to.
        DrainKind::Supabase => request
            .header(CONTENT_TYPE, "application/json")
            .header(CONTENT_ENCODING, "gzip")
            .header(AUTHORIZATION, format!("Bearer {secret}"))
            .body(Full::from(packed(&body)?)),
        _ => request
            .header(CONTENT_TYPE, "application/x-ndjson")
            .header(VERCEL_SIGNATURE, signature(secret, &body))
            .body(Full::from(body)),
    };
    Ok(request?)
}

async fn exchange(to: &Receiver, request: Request<Full<Bytes>>) -> Result<StatusCode, NotTaken> {
    let stream = TcpStream::connect((to.host.as_str(), to.port)).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let answer = sender.send_request(request);
    tokio::pin!(connection, answer);
    tokio::select! {
        answer = &mut answer => Ok(answer?.status()),
        ended = &mut connection => {
            ended?;
            Ok(answer.await?.status())
        }
    }
}

fn packed(body: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body)?;
    encoder.finish()
}

/// The signature of a body ("Securing your Drains" of Vercel's documentation).
fn signature(secret: &str, body: &[u8]) -> String {
    let mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).expect("an HMAC takes a key of any length");
    mac.chain_update(body).finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_signed_as_vercel_does() {
        // HMAC-SHA-1 of RFC 2202, test case 2.
        let signed = signature("Jefe", b"what do ya want for nothing?");
        assert_eq!(signed, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
    }
}
