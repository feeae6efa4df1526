//! What the receiver does with a request, and what that is in HTTP's words and in gRPC's.
//!
//! The pairs of codes are those of the OTLP specification, "OTLP/gRPC Response" and "OTLP/HTTP Response".

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// How requests are answered.
#[derive(Debug, Clone, PartialEq)]
pub enum Behaviour {
    /// Taken.
    Accept,
    /// Taken at once, and answered when so much time has passed.
    Delay(Duration),
    /// Refused with this status of HTTP, or the gRPC code that means the same. `retry_after` is the value of the header;
    /// over gRPC it is a number of seconds, sent as `google.rpc.RetryInfo`, and left out if it is no number.
    Status { code: u16, retry_after: Option<String> },
    /// Refused with this code of gRPC, or the status of HTTP that means the same.
    Code { code: Code, retry_after: Option<String> },
    /// Taken but for the first so many spans or data points. None rejected and a message is a warning.
    Partial { rejected: usize, message: String },
    /// 400 or `INVALID_ARGUMENT` while a span of this name is in the request.
    RefuseSpansNamed(String),
    /// 500 or `INTERNAL` while a span of this name is in the request.
    FailAtSpansNamed(String),
    /// 413 or `RESOURCE_EXHAUSTED` for more spans or data points than this.
    TooLargeAbove(usize),
    /// Read whole, not taken and never answered.
    Hang,
    /// Not taken, and answered with success and a body that is no protobuf.
    Garbage,
    /// Not taken, and answered with success and more than anybody wants to read.
    HugeBody,
    /// Taken, and the connection closed without an answer.
    CutConnection,
}

/// What is done with one request.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// Success after a while, with what is rejected and why.
    Take { after: Duration, rejected: usize, message: String },
    /// An error.
    Refuse(Refusal),
    /// No answer.
    Hang,
    /// Success and nonsense.
    Garbage,
    /// Success and too much.
    HugeBody,
    /// The end of the connection.
    Cut,
}

/// An error in both languages.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// HTTP's status.
    pub status: u16,
    /// gRPC's code.
    pub code: Code,
    /// For a person.
    pub message: String,
    /// When to come again.
    pub retry_after: Option<String>,
}

impl Refusal {
    /// An error without a time to come again.
    pub fn new(status: u16, message: impl Into<String>) -> Refusal {
        Refusal { status, code: code_of(status), message: message.into(), retry_after: None }
    }

    /// As gRPC says it.
    pub fn grpc(&self) -> Status {
        let seconds = self.retry_after.as_ref().and_then(|text| text.parse().ok());
        match seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()) {
            Some(delay) => {
                Status::with_error_details(self.code, &self.message, ErrorDetails::with_retry_info(Some(delay)))
            }
            None => Status::new(self.code, &self.message),
        }
    }
}

impl Behaviour {
    /// What becomes of a request with so many items, and spans of these names; none when it lets the request pass.
    pub(super) fn judge<'a>(&self, items: usize, mut names: impl Iterator<Item = &'a str>) -> Option<Verdict> {
        Some(match self {
            Behaviour::Accept => return None,
            Behaviour::Delay(after) => Verdict::Take { after: *after, rejected: 0, message: String::new() },
            Behaviour::Status { code, retry_after } => Verdict::Refuse(Refusal {
                retry_after: retry_after.clone(),
                ..Refusal::new(*code, "the receiver was told to refuse")
            }),
            Behaviour::Code { code, retry_after } => Verdict::Refuse(Refusal {
                status: status_of(*code),
                code: *code,
                message: "the receiver was told to refuse".into(),
                retry_after: retry_after.clone(),
            }),
            Behaviour::Partial { rejected, message } => {
                Verdict::Take { after: Duration::ZERO, rejected: *rejected.min(&items), message: message.clone() }
            }
            Behaviour::RefuseSpansNamed(name) => {
                names.find(|one| one == name)?;
                Verdict::Refuse(Refusal::new(400, format!("a span is named {name}")))
            }
            Behaviour::FailAtSpansNamed(name) => {
                names.find(|one| one == name)?;
                Verdict::Refuse(Refusal::new(500, format!("a bug at spans named {name}")))
            }
            Behaviour::TooLargeAbove(most) if items <= *most => return None,
            Behaviour::TooLargeAbove(most) => {
                Verdict::Refuse(Refusal::new(413, format!("too large: {items} items are more than {most}")))
            }
            Behaviour::Hang => Verdict::Hang,
            Behaviour::Garbage => Verdict::Garbage,
            Behaviour::HugeBody => Verdict::HugeBody,
            Behaviour::CutConnection => Verdict::Cut,
        })
    }
}

fn code_of(status: u16) -> Code {
    match status {
        400 => Code::InvalidArgument,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::Unimplemented,
        408 => Code::DeadlineExceeded,
        413 | 429 => Code::ResourceExhausted,
        500 => Code::Internal,
        502..=504 => Code::Unavailable,
        _ => Code::Unknown,
    }
}

fn status_of(code: Code) -> u16 {
    match code {
        Code::Ok => 200,
        Code::InvalidArgument | Code::FailedPrecondition => 400,
        Code::Unauthenticated => 401,
        Code::PermissionDenied => 403,
        Code::NotFound | Code::Unimplemented => 404,
        Code::ResourceExhausted => 429,
        Code::Unknown | Code::Internal | Code::AlreadyExists => 500,
        // The codes after which the specification lets a client try again.
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => 503,
    }
}
