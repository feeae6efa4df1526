//! What a failed call means (OTLP specification, "OTLP/gRPC Response").
//!
//! Pure. Beside the codes that the specification has repeated, `UNKNOWN` and `INTERNAL` are "later", since what a receiver could
//! not take for reasons of its own costs nothing to keep; so is `RESOURCE_EXHAUSTED` that tells neither of a size nor of a
//! pause.

use std::error::Error;

use tonic::{Code, Status};

use super::super::http::{Reply, refusal};
use super::super::words::Secrets;
use super::super::{Answer, pause, trouble};
use super::ANSWER_LIMIT;
use super::foreign::Foreign;
use crate::config::otlp::OtlpProtocol;
use crate::source::http::trouble::chain;

/// Words of receivers for a request that is too large: Go's, tonic's, C++'s and Java's.
const SIZE_WORDS: [&str; 5] = ["larger than max", "too large", "exceeds maximum", "exceeds the limit", "message size"];

/// What a status other than OK means.
pub(super) fn of(status: &Status, secrets: &Secrets) -> Answer {
    if let Some(cause) = status.source() {
        return unanswered(cause, secrets);
    }
    if is_long_answer(status) {
        // It said OK before it said so much.
        return Answer::Accepted;
    }
    let after = pause::retry_info(status.details());
    let why = secrets.said(name(status.code()), status.message());
    let misconfigured = |mend: &str| Answer::Misconfigured { why: format!("{why}: {mend}") };
    match status.code() {
        Code::ResourceExhausted | Code::OutOfRange if after.is_none() && tells_of_size(status.message()) => {
            Answer::TooLarge { why }
        }
        Code::Ok
        | Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss
        | Code::ResourceExhausted
        | Code::Unknown
        | Code::Internal => Answer::Later { after, why },
        Code::InvalidArgument | Code::FailedPrecondition | Code::AlreadyExists => Answer::Refused { why },
        Code::Unauthenticated | Code::PermissionDenied => misconfigured("it wants other credentials; mend `headers`"),
        Code::Unimplemented | Code::NotFound => misconfigured(
            "it does not take this signal, or not packed with gzip; mend the URL (the port of OTLP over gRPC is usually \
             4317), or set `compression: none`",
        ),
    }
}

/// Why there is no status of the receiver's.
fn unanswered(cause: &(dyn Error + 'static), secrets: &Secrets) -> Answer {
    if let Some(Foreign { status, headers }) = chain(cause).find_map(|cause| cause.downcast_ref()) {
        let reply = Reply { status: *status, headers, body: &[] };
        return match refusal(&reply, secrets) {
            Answer::Refused { why } | Answer::Misconfigured { why } => Answer::Misconfigured {
                why: format!("{why}; what answers there speaks no gRPC, whose port is usually 4317"),
            },
            answer => answer,
        };
    }
    Answer::Later { after: None, why: trouble::unanswered(cause, OtlpProtocol::Grpc) }
}

/// Whether we did not read the answer for its length. A receiver that did not read our request says it in the same words,
/// with its own bound, and in an answer that has headers.
fn is_long_answer(status: &Status) -> bool {
    status.code() == Code::OutOfRange
        && status.metadata().is_empty()
        && status.message().ends_with(&format!("the limit is: {ANSWER_LIMIT} bytes"))
}

fn tells_of_size(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    SIZE_WORDS.iter().any(|words| message.contains(words))
}

/// As gRPC writes it.
fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests;
