//! Replies: a status, headers and a body of a few parts whose length is known.
//!
//! Parts are shared, never copied.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{Response, StatusCode};

/// Bytes in a few parts.
#[derive(Debug, Default)]
pub(super) struct Parts(VecDeque<Bytes>);

impl Parts {
    /// A body of these parts.
    pub(super) fn new(parts: impl IntoIterator<Item = Bytes>) -> Self {
        Parts(parts.into_iter().filter(|part| !part.is_empty()).collect())
    }

    fn left(&self) -> u64 {
        self.0.iter().map(|part| part.len() as u64).sum()
    }
}

impl Body for Parts {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|part| Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left())
    }
}

/// A reply of one part.
pub(super) fn reply(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Parts> {
    let mut response = Response::new(Parts::new([body.into()]));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// A reply for people and scripts.
pub(super) fn plain(status: StatusCode, text: impl Into<Bytes>) -> Response<Parts> {
    reply(status, "text/plain; charset=utf-8", text)
}
