use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderValue, RETRY_AFTER};
use tonic::metadata::MetadataMap;
use tonic_types::{ErrorDetails, StatusExt};

use super::*;

fn meaning(status: &Status) -> Answer {
    of(status, &Secrets::default())
}

fn kind(answer: &Answer) -> &'static str {
    match answer {
        Answer::Accepted => "accepted",
        Answer::Partial { .. } => "partial",
        Answer::Later { .. } => "later",
        Answer::TooLarge { .. } => "too large",
        Answer::Refused { .. } => "refused",
        Answer::Misconfigured { .. } => "misconfigured",
    }
}

#[test]
fn each_code_has_its_meaning() {
    for (wanted, codes) in [
        (
            "later",
            vec![
                Code::Cancelled,
                Code::DeadlineExceeded,
                Code::Aborted,
                Code::OutOfRange,
                Code::Unavailable,
                Code::DataLoss,
                Code::ResourceExhausted,
                Code::Unknown,
                Code::Internal,
            ],
        ),
        ("refused", vec![Code::InvalidArgument, Code::FailedPrecondition, Code::AlreadyExists]),
        ("misconfigured", vec![Code::Unauthenticated, Code::PermissionDenied, Code::Unimplemented, Code::NotFound]),
    ] {
        for code in codes {
            let answer = meaning(&Status::new(code, "no\nway"));
            assert_eq!(kind(&answer), wanted, "{code:?}");
            assert!(format!("{answer:?}").contains(&format!("{}; it says: no way", name(code))), "{answer:?}");
        }
    }
}

#[test]
fn a_pause_is_kept_to_where_asking_again_helps() {
    let details = ErrorDetails::with_retry_info(Some(Duration::from_secs(9)));
    for code in [Code::Unavailable, Code::ResourceExhausted] {
        let status = Status::with_error_details(code, "message too large, or quota", details.clone());
        let why = format!("{}; it says: message too large, or quota", name(code));
        assert_eq!(meaning(&status), Answer::Later { after: Some(Duration::from_secs(9)), why });
    }
    let garbage = Status::with_details(Code::Unavailable, "", b"\xff\xff"[..].into());
    assert_eq!(meaning(&garbage), Answer::Later { after: None, why: "UNAVAILABLE".into() });
}

#[test]
fn receivers_say_that_a_request_is_too_large_in_words_of_their_own() {
    for (code, message) in [
        (Code::ResourceExhausted, "grpc: received message larger than max (5000000 vs. 4194304)"),
        (Code::ResourceExhausted, "grpc: received message after decompression larger than max (6 vs. 4)"),
        (Code::ResourceExhausted, "Received message larger than max (6 vs. 4)"),
        (Code::ResourceExhausted, "gRPC message exceeds maximum size 4194304: 5000000"),
        (Code::OutOfRange, "Error, decoded message length too large: found 6 bytes, the limit is: 4194304 bytes"),
        (Code::OutOfRange, "Error, decoded message length too large: found 6 bytes, the limit is: 65536 bytes"),
    ] {
        let mut status = Status::new(code, message);
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/grpc"));
        *status.metadata_mut() = MetadataMap::from_headers(headers);
        assert_eq!(kind(&meaning(&status)), "too large", "{message}");
    }
    for message in ["ingestion rate limit of the tenant", "quota of the day", ""] {
        assert_eq!(kind(&meaning(&Status::resource_exhausted(message))), "later", "{message}");
    }
    let ours = "Error, decoded message length too large: found 67108864 bytes, the limit is: 65536 bytes";
    assert_eq!(meaning(&Status::out_of_range(ours)), Answer::Accepted);
}

#[test]
fn what_speaks_no_grpc_is_judged_by_its_status() {
    let foreign = |status: u16| {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_static("4"));
        meaning(&Status::from_error(Box::new(Foreign {
            status: StatusCode::from_u16(status).expect("a status"),
            headers,
        })))
    };
    for (status, wanted) in [
        (200, "misconfigured"),
        (400, "misconfigured"),
        (404, "misconfigured"),
        (413, "too large"),
        (429, "later"),
        (502, "later"),
    ] {
        assert_eq!(kind(&foreign(status)), wanted, "{status}");
    }
    assert_eq!(foreign(503), Answer::Later { after: Some(Duration::from_secs(4)), why: "HTTP 503".into() });
    assert!(format!("{:?}", foreign(404)).contains("4317"));
}
