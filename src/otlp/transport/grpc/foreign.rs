//! A look at every answer before gRPC's own reading of it: whether it is gRPC at all, and whether it can be read.
//!
//! It changes nothing of an answer that is as it should be.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http_body_util::BodyExt;
use hyper::header::CONTENT_TYPE;
use hyper::{HeaderMap, Request, Response, StatusCode};
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::transport::Channel;

/// A channel whose answers are looked at.
#[derive(Clone)]
pub(super) struct Checked(Channel);

/// An answer of something that does not speak gRPC.
#[derive(Debug)]
pub(super) struct Foreign {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
}

impl Checked {
    pub(super) fn new(channel: Channel) -> Self {
        Checked(channel)
    }
}

impl Service<Request<Body>> for Checked {
    type Response = Response<Body>;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answer = self.0.call(request);
        Box::pin(async move {
            let (mut head, body) = answer.await?.into_parts();
            if is_foreign(head.status, &head.headers) {
                return Err(Foreign { status: head.status, headers: head.headers }.into());
            }
            without_broken_details(&mut head.headers);
            let body = body.map_frame(|mut frame| {
                if let Some(trailers) = frame.trailers_mut() {
                    without_broken_details(trailers);
                }
                frame
            });
            Ok(Response::from_parts(head, Body::new(body)))
        })
    }
}

/// A receiver answers 200 and says all else in gRPC's own status; proxies answer in HTTP's.
fn is_foreign(status: StatusCode, headers: &HeaderMap) -> bool {
    let is_grpc = |value: &hyper::header::HeaderValue| value.as_bytes().starts_with(b"application/grpc");
    match headers.get(CONTENT_TYPE) {
        Some(kind) => !is_grpc(kind),
        None => status != StatusCode::OK,
    }
}

/// Takes out details that are no base64, since tonic panics at them.
fn without_broken_details(headers: &mut HeaderMap) {
    const DETAILS: &str = "grpc-status-details-bin";
    if headers.get_all(DETAILS).iter().any(|details| !is_base64(details.as_bytes())) {
        headers.remove(DETAILS);
    }
}

/// Whether these bytes are base64 (RFC 4648) as tonic reads it: with or without padding, and no stray bits at the end.
fn is_base64(text: &[u8]) -> bool {
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    let letters = &text[..text.len() - padding];
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let last = letters.last().copied().and_then(value).unwrap_or(0);
    let fits = match letters.len() % 4 {
        0 => padding == 0,
        2 => matches!(padding, 0 | 2) && last & 0b1111 == 0,
        3 => matches!(padding, 0 | 1) && last & 0b11 == 0,
        _ => false,
    };
    fits && letters.iter().all(|byte| value(*byte).is_some())
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP {} and no gRPC", self.status.as_u16())
    }
}

impl Error for Foreign {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_base64_as_tonic_does() {
        for good in ["", "Zg", "Zg==", "Zm8", "Zm8=", "Zm9v", "Zm9vYmFy", "+/+/"] {
            assert!(is_base64(good.as_bytes()), "{good}");
        }
        for bad in ["Z", "Zg=", "Zh==", "Zm9=", "Zm9v=", "Zm9v====", "Zm 8", "Zm-_", "=", "====", "Zm9vY", "\u{e4}xx"] {
            assert!(!is_base64(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn tells_grpc_from_what_stands_in_its_place() {
        let of = |status: u16, kind: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            if let Some(kind) = kind {
                headers.insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
            }
            is_foreign(StatusCode::from_u16(status).expect("a status"), &headers)
        };
        assert!(!of(200, Some("application/grpc")));
        assert!(!of(200, Some("application/grpc+proto")));
        assert!(!of(503, Some("application/grpc")));
        assert!(!of(200, None));
        assert!(of(502, None));
        assert!(of(200, Some("text/html")));
        assert!(of(413, Some("text/html")));
    }
}
