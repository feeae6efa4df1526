//! Why a request to a drain was refused: its status, what it counts as, and what the sender is told.
//!
//! A message says what to do next, and repeats nothing of the request.

use hyper::StatusCode;
use hyper::header::{ACCEPT_ENCODING, ALLOW, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};

use crate::config::logs::DrainKind;
use crate::source::logs::Refusal;
use crate::source::logs::body::Unreadable;
use crate::telemetry::metrics::RequestFate;

/// Why a request was refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    /// It asks for something that is not done here.
    #[error("Lines are brought by POST.")]
    Method,
    /// It has no token, or a wrong one; the header where it belongs.
    #[error("The header {0} does not hold this drain's token.")]
    Token(String),
    /// It is not signed, or wrongly; the header where the signature belongs.
    #[error("The header {0} does not hold the signature of this body.")]
    Signature(String),
    /// Its body is too large; in bytes.
    #[error("The body has more than {limit} bytes{}. Send less at a time.", if *.unpacked { " when it is unpacked" } else { "" })]
    TooLarge {
        /// The bound.
        limit: usize,
        /// Whether it is that of unpacked bytes.
        unpacked: bool,
    },
    /// Its body is packed in a way that is not known.
    #[error("The body may be packed by gzip, once, or not at all (Content-Encoding).")]
    Packing,
    /// Its body is of a type that is not read.
    #[error("{}", types(*.0))]
    Type(DrainKind),
    /// Its body did not come in time.
    #[error("The body did not come in time. Send less at a time.")]
    Slow,
    /// Its sender went away.
    #[error("The sender went away before the body had come.")]
    Gone,
    /// Its body breaks the rules of HTTP.
    #[error("The body breaks the rules of HTTP (Transfer-Encoding).")]
    Framing,
    /// Its body cannot be unpacked.
    #[error("The body is no whole gzip, although Content-Encoding says so.")]
    BrokenGzip,
    /// Nothing in its body can be read.
    #[error("Nothing could be read: {0}.")]
    Unreadable(Unreadable),
    /// There is no memory for it now.
    #[error("Too much waits to be counted. Send it again later.")]
    NoRoom,
    /// Its lines were not counted.
    #[error("It was not counted: {0}.")]
    Delivery(Refusal),
    /// Its lines were not counted in time, and may be later.
    #[error("It was not counted in time. Send it again later; what is counted by then does not count twice.")]
    Late,
}

impl Refused {
    /// The status of the answer. Senders bring again what was refused by 429 and 503, some also by 408, and nothing else.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Refused::Method => StatusCode::METHOD_NOT_ALLOWED,
            Refused::Token(_) => StatusCode::UNAUTHORIZED,
            Refused::Signature(_) => StatusCode::FORBIDDEN,
            Refused::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Refused::Packing | Refused::Type(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Refused::Slow | Refused::Gone => StatusCode::REQUEST_TIMEOUT,
            Refused::Framing | Refused::BrokenGzip | Refused::Unreadable(_) => StatusCode::BAD_REQUEST,
            Refused::NoRoom | Refused::Delivery(Refusal::Full) => StatusCode::TOO_MANY_REQUESTS,
            Refused::Delivery(Refusal::NotReady | Refusal::NotWritten | Refusal::Stopped) | Refused::Late => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    /// What it counts as.
    pub(super) fn fate(&self) -> RequestFate {
        match self {
            Refused::Token(_) => RequestFate::BadToken,
            Refused::Signature(_) => RequestFate::BadSignature,
            Refused::TooLarge { .. } => RequestFate::TooLarge,
            Refused::Method | Refused::Packing | Refused::Type(_) => RequestFate::Unsupported,
            Refused::Slow | Refused::Gone => RequestFate::TimedOut,
            Refused::Framing | Refused::BrokenGzip | Refused::Unreadable(_) => RequestFate::Unreadable,
            Refused::NoRoom | Refused::Delivery(Refusal::Full) => RequestFate::Overloaded,
            Refused::Delivery(Refusal::NotReady | Refusal::Stopped) => RequestFate::NotReady,
            Refused::Delivery(Refusal::NotWritten) | Refused::Late => RequestFate::NotWritten,
        }
    }

    /// The header of the answer that goes with its status. Times are in seconds: room comes again in moments, while a start or
    /// a disk takes longer.
    pub(super) fn header(&self) -> Option<(HeaderName, &'static str)> {
        match self.status() {
            StatusCode::METHOD_NOT_ALLOWED => Some((ALLOW, "GET, HEAD, POST, PUT")),
            StatusCode::UNAUTHORIZED => Some((WWW_AUTHENTICATE, "Bearer")),
            StatusCode::UNSUPPORTED_MEDIA_TYPE if matches!(self, Refused::Packing) => {
                Some((ACCEPT_ENCODING, "gzip, identity"))
            }
            StatusCode::TOO_MANY_REQUESTS => Some((RETRY_AFTER, "1")),
            StatusCode::SERVICE_UNAVAILABLE => Some((RETRY_AFTER, "5")),
            _ => None,
        }
    }

    /// Whether the sender did not show that it may.
    pub(super) fn is_about_access(&self) -> bool {
        matches!(self, Refused::Token(_) | Refused::Signature(_))
    }

    /// Whether its body may not have been read to the end.
    pub(super) fn leaves_body(&self) -> bool {
        !matches!(
            self,
            Refused::BrokenGzip
                | Refused::Unreadable(_)
                | Refused::Delivery(_)
                | Refused::Late
                | Refused::TooLarge { unpacked: true, .. }
        )
    }
}

/// What is read, for who sent something else.
fn types(kind: DrainKind) -> &'static str {
    match kind {
        DrainKind::Otlp => "Send OTLP as protobuf or JSON (Content-Type: application/x-protobuf or application/json).",
        _ => "Send JSON, JSON lines or plain lines; MessagePack, protobuf and forms are not read.",
    }
}
