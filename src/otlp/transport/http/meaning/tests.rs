use std::time::Duration;

use hyper::header::{DATE, HeaderValue, RETRY_AFTER};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsPartialSuccess, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceResponse};

use super::*;

const PROTOBUF: &str = "application/x-protobuf";
const HTML: &str = "text/html; charset=utf-8";

fn meaning(status: u16, headers: &[(HeaderName, &'static str)], body: &[u8]) -> Answer {
    let mut sent = HeaderMap::new();
    sent.insert("authorization", HeaderValue::from_static("Bearer s3cret"));
    let secrets = Secrets::new(&sent, &Url::parse("http://host/").expect("a URL"));
    let headers = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect();
    let reply = Reply { status: StatusCode::from_u16(status).expect("a status"), headers: &headers, body };
    if reply.status.is_success() {
        reply.success::<ExportTraceServiceResponse>(&secrets)
    } else {
        refusal(&reply, &secrets)
    }
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

fn why(answer: Answer) -> String {
    match answer {
        Answer::Later { why, .. }
        | Answer::TooLarge { why }
        | Answer::Refused { why }
        | Answer::Misconfigured { why } => why,
        answer => panic!("{answer:?} says nothing"),
    }
}

#[test]
fn each_status_has_its_meaning() {
    for (wanted, statuses) in [
        ("accepted", vec![200, 201, 202, 204, 299]),
        ("later", vec![408, 425, 429, 500, 502, 503, 504, 507, 520, 599]),
        ("too large", vec![413]),
        ("refused", vec![400, 409, 418, 422, 451]),
        (
            "misconfigured",
            vec![
                300, 301, 302, 304, 307, 308, 401, 402, 403, 404, 405, 406, 407, 410, 411, 415, 421, 426, 431, 501,
                505, 700, 999,
            ],
        ),
    ] {
        for status in statuses {
            assert_eq!(kind(&meaning(status, &[], b"")), wanted, "{status}");
        }
    }
}

#[test]
fn a_pause_is_kept_to_where_asking_again_helps() {
    for status in [429, 502, 503, 504, 500] {
        let answer = meaning(status, &[(RETRY_AFTER, "7")], b"");
        assert_eq!(answer, Answer::Later { after: Some(Duration::from_secs(7)), why: format!("HTTP {status}") });
    }
    let date = [(RETRY_AFTER, "Sun, 06 Nov 1994 08:50:07 GMT"), (DATE, "Sun, 06 Nov 1994 08:49:37 GMT")];
    let answer = meaning(503, &date, b"");
    assert_eq!(answer, Answer::Later { after: Some(Duration::from_secs(30)), why: "HTTP 503".into() });
    assert_eq!(meaning(503, &[], b""), Answer::Later { after: None, why: "HTTP 503".into() });
}

#[test]
fn a_success_may_be_partial() {
    let partial = |rejected_spans, message: &str| {
        let partial = ExportTracePartialSuccess { rejected_spans, error_message: message.into() };
        ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec()
    };
    let told = |rejected, message: &str| Answer::Partial { rejected, message: message.into() };
    let protobuf = [(CONTENT_TYPE, PROTOBUF)];
    for (body, wanted) in [
        (Vec::new(), Answer::Accepted),
        (partial(0, ""), Answer::Accepted),
        (partial(3, "too old\r\nfor s3cret"), told(3, "too old for …")),
        (partial(3, ""), told(3, "")),
        (partial(0, "slow down"), told(0, "slow down")),
        (partial(-1, ""), Answer::Accepted),
        (b"\xff\xff nonsense".to_vec(), Answer::Accepted),
    ] {
        assert_eq!(meaning(200, &protobuf, &body), wanted, "{body:?}");
    }
    let json = [(CONTENT_TYPE, "application/json")];
    for (body, wanted) in [
        ("{}", Answer::Accepted),
        ("nonsense", Answer::Accepted),
        (r#"{"partialSuccess":{"rejectedSpans":"2","errorMessage":"old"}}"#, told(2, "old")),
        (r#"{"partialSuccess":{"rejectedDataPoints":4}}"#, told(4, "")),
        (r#"{"partialSuccess":null}"#, Answer::Accepted),
    ] {
        assert_eq!(meaning(200, &json, body.as_bytes()), wanted, "{body}");
    }
    let points = ExportMetricsPartialSuccess { rejected_data_points: 9, error_message: String::new() };
    let points = ExportMetricsServiceResponse { partial_success: Some(points) };
    assert_eq!(Taken::from(points).answer(&Secrets::default()), told(9, ""));
}

#[test]
fn a_page_for_people_is_no_receiver() {
    let page = b"<!doctype html><title>Sign in</title>";
    for status in [200, 204, 400, 422] {
        let said = why(meaning(status, &[(CONTENT_TYPE, HTML)], page));
        assert!(said.contains("page for people") && said.contains("mend the URL"), "{said}");
        assert!(!said.contains("Sign in"), "{said}");
    }
    assert_eq!(kind(&meaning(400, &[], page)), "misconfigured");
    // What is in the way for a time shows pages too.
    for status in [429, 502, 503] {
        assert_eq!(why(meaning(status, &[(CONTENT_TYPE, HTML)], page)), format!("HTTP {status}"));
    }
    assert_eq!(kind(&meaning(413, &[(CONTENT_TYPE, HTML)], page)), "too large");
}

#[test]
fn a_port_for_tls_that_is_spoken_to_in_the_clear_says_so() {
    for (kind_of, body) in [
        ("text/plain", "Client sent an HTTP request to an HTTPS server.\n"),
        (HTML, "<html><head><title>400 The plain HTTP request was sent to HTTPS port</title></head></html>"),
    ] {
        let said = why(meaning(400, &[(CONTENT_TYPE, kind_of)], body.as_bytes()));
        assert!(said.contains("write https://"), "{said}");
    }
}

#[test]
fn the_receivers_words_are_shown_and_no_secret() {
    let status = RpcStatus { message: "span 3: bad\nname, Bearer s3cret".into(), ..RpcStatus::default() };
    for (kind_of, body) in [
        (PROTOBUF, status.encode_to_vec()),
        ("application/json; charset=utf-8", br#"{"code":3,"message":"span 3: bad\nname, s3cret"}"#.to_vec()),
        ("application/json", br#"{"error":{"message":"span 3: bad name, s3cret"}}"#.to_vec()),
        ("text/plain", b"span 3: bad\tname, s3cret".to_vec()),
    ] {
        assert_eq!(why(meaning(400, &[(CONTENT_TYPE, kind_of)], &body)), "HTTP 400; it says: span 3: bad name, …");
    }
    assert_eq!(why(meaning(400, &[], b"\xff\xfe")), "HTTP 400");
    let longest = why(meaning(400, &[], &vec![b'x'; 60_000]));
    assert!(longest.len() < 250, "{}", longest.len());
}

#[test]
fn what_is_amiss_with_us_comes_with_its_mend() {
    for (status, mend) in
        [(401, "`headers`"), (403, "`headers`"), (404, "/v1/traces"), (405, "POST"), (415, "compression"), (501, "URL")]
    {
        let said = why(meaning(status, &[], b"no"));
        assert!(said.starts_with(&format!("HTTP {status}; it says: no: ")) && said.contains(mend), "{said}");
    }
    let to = |location| why(meaning(308, &[(LOCATION, location)], b""));
    assert_eq!(
        to("https://u:p@other:4318/v1/traces?key=s3cret#x"),
        "HTTP 308: it points to https://other:4318/v1/traces; write the receiver's own URL"
    );
    for location in ["/v1/traces/", "mailto:me@host", ""] {
        assert!(to(location).contains("it points elsewhere"), "{location}");
    }
}
