//! The OTLP receivers of the tests themselves: all understand alike, and the one of Rust behaves as it is told.

mod client;
mod sample;

use std::time::{Duration, Instant};

use prost::Message;
use serde_json::Value;
use tonic::Code;

use self::client::{Answer, Client};
use self::sample::{metrics, points_as_json, spans, spans_as_json, spans_named};
use super::harness::certificates::Authority;
use super::harness::otlp::{Behaviour, OtlpReceiver, Signal, Transport};
use super::harness::otlp_python::OtlpPython;

const BOTH: [Transport; 2] = [Transport::Http, Transport::Grpc];
const SOON: Duration = Duration::from_secs(20);

/// How long an answer is awaited that must not come.
const MOMENT: Duration = Duration::from_millis(500);

#[tokio::test]
async fn all_receivers_understand_the_same() {
    let python = OtlpPython::start().await;
    for transport in BOTH {
        for gzip in [false, true] {
            let rust = OtlpReceiver::start();
            for url in [rust.url_of(transport), python.url_of(transport)] {
                let client = Client::new(transport, url).packing(gzip);
                assert_eq!(client.spans(&spans()).await, Answer::Ok { rejected: 0, message: String::new() });
                assert_eq!(client.metrics(&metrics()).await, Answer::Ok { rejected: 0, message: String::new() });
            }
            let received = rust.wait_for_spans(2, SOON).await;
            assert!(received.iter().all(|span| span.transport == transport));
            let canonical: Vec<Value> = received.iter().map(|span| span.canonical()).collect();
            assert_eq!(canonical, spans_as_json());
            let came = rust.wait_for_metrics(1, SOON).await;
            assert_eq!(came[0].points(), points_as_json());
            assert_eq!(came[0].transport, transport);

            let requests = rust.requests();
            let signals: Vec<_> = requests.iter().map(|request| (request.signal, request.items)).collect();
            assert_eq!(signals, [(Some(Signal::Traces), 2), (Some(Signal::Metrics), 7)]);
            for request in requests {
                assert_eq!(request.transport, transport);
                assert_eq!(request.encoding.as_deref(), gzip.then_some("gzip"));
                assert_eq!(request.headers["x-of-the-test"], "yes");
                let plain = if request.signal == Some(Signal::Traces) {
                    spans().encoded_len()
                } else {
                    metrics().encoded_len()
                };
                assert!(request.wire_bytes > 100 && (request.wire_bytes < plain) == gzip, "{}", request.wire_bytes);
            }
        }
    }
    // Twice over each transport.
    let came = python.wait_for_spans(8, SOON).await;
    assert_eq!(came, four_times(&spans_as_json()));
    assert_eq!(python.points(), four_times(&points_as_json()));
    assert_eq!(python.span_ids().into_iter().collect::<Vec<_>>(), sample::IDS);
}

#[tokio::test]
async fn requests_are_refused_as_told() {
    let retry = |text: &str| Some(text.to_owned());
    for transport in BOTH {
        let receiver = OtlpReceiver::start();
        let client = Client::new(transport, receiver.url_of(transport));
        for (behaviour, status, code, told) in [
            (Behaviour::Status { code: 503, retry_after: retry("7") }, 503, Code::Unavailable, retry("7")),
            (Behaviour::Status { code: 429, retry_after: None }, 429, Code::ResourceExhausted, None),
            (Behaviour::Status { code: 401, retry_after: None }, 401, Code::Unauthenticated, None),
            (Behaviour::Code { code: Code::Aborted, retry_after: None }, 503, Code::Aborted, None),
            (
                Behaviour::Code { code: Code::ResourceExhausted, retry_after: retry("2") },
                429,
                Code::ResourceExhausted,
                retry("2"),
            ),
            (Behaviour::RefuseSpansNamed("poison".into()), 400, Code::InvalidArgument, None),
            (Behaviour::TooLargeAbove(1), 413, Code::ResourceExhausted, None),
        ] {
            receiver.behave(behaviour.clone());
            let sent = spans_named(&["good", "poison"]);
            let expected = match transport {
                Transport::Http => Answer::HttpError { status, code, retry_after: told },
                Transport::Grpc => Answer::GrpcError { code, retry_after: told },
            };
            assert_eq!(client.spans(&sent).await, expected, "{behaviour:?}");
        }
        assert_eq!(receiver.span_count(), 0);
        assert_eq!(receiver.requests().len(), 7);
        receiver.behave(Behaviour::RefuseSpansNamed("poison".into()));
        assert!(client.spans(&spans_named(&["good"])).await.is_ok());
        receiver.behave(Behaviour::TooLargeAbove(1));
        assert!(client.spans(&spans_named(&["another"])).await.is_ok());
        receiver.behave(Behaviour::Accept);
        assert!(client.spans(&spans_named(&["poison", "x"])).await.is_ok());
        assert_eq!(names(&receiver), ["good", "another", "poison", "x"]);
    }
}

#[tokio::test]
async fn a_part_is_rejected_as_told() {
    for transport in BOTH {
        let receiver = OtlpReceiver::start();
        let client = Client::new(transport, receiver.url_of(transport));
        receiver.behave_times(Behaviour::Partial { rejected: 2, message: "too old".into() }, 1);
        let rejected = Answer::Ok { rejected: 2, message: "too old".into() };
        assert_eq!(client.spans(&spans_named(&["a", "b", "c"])).await, rejected);
        assert_eq!(names(&receiver), ["c"]);
        assert_eq!(client.metrics(&metrics()).await, rejected);
        assert_eq!(receiver.metrics()[0].points(), points_as_json()[2..]);
        assert_eq!(client.spans(&spans_named(&["d"])).await, Answer::Ok { rejected: 0, message: String::new() });
        assert_eq!(receiver.span_count(), 2);
    }
}

#[tokio::test]
async fn behaviour_is_of_a_signal_and_ends_after_so_many_requests() {
    let receiver = OtlpReceiver::start();
    let client = Client::new(Transport::Http, receiver.http_url());
    receiver.behave_on(Signal::Traces, Behaviour::RefuseSpansNamed("poison".into()), Some(1));
    assert!(client.metrics(&metrics()).await.is_ok());
    assert!(client.spans(&spans_named(&["good"])).await.is_ok(), "it passes, and is not counted");
    assert!(!client.spans(&spans_named(&["poison"])).await.is_ok());
    assert!(client.spans(&spans_named(&["poison"])).await.is_ok());
    assert_eq!(names(&receiver), ["good", "poison"]);

    receiver.clear();
    assert_eq!((receiver.spans().len(), receiver.span_count(), receiver.requests().len()), (0, 0, 0));
    receiver.keep_only_counts();
    assert!(client.spans(&spans()).await.is_ok());
    assert!(client.spans(&spans()).await.is_ok());
    assert_eq!((receiver.spans().len(), receiver.span_count()), (0, 4), "what comes twice counts twice");
    assert_eq!(receiver.span_ids().into_iter().collect::<Vec<_>>(), sample::IDS);
}

#[tokio::test]
async fn what_is_not_otlp_is_refused() {
    let receiver = OtlpReceiver::start();
    let http = Client::new(Transport::Http, receiver.http_url());
    for (path, kind, body, status) in [
        ("/v1/logs", "application/x-protobuf", vec![], 404),
        ("/v1/traces", "application/json", b"{}".to_vec(), 415),
        ("/v1/traces", "application/x-protobuf", vec![0xff; 9], 400),
    ] {
        let (answered, ..) = http.post(path, kind, body).await.expect("it is answered");
        assert_eq!(answered, status, "{path} {kind}");
    }
    for transport in BOTH {
        let client = Client::new(transport, receiver.url_of(transport));
        for (trace, span) in [(vec![1; 15], vec![1; 8]), (vec![1; 16], vec![0; 8]), (vec![], vec![1; 8])] {
            let mut sent = spans_named(&["a"]);
            let bad = &mut sent.resource_spans[0].scope_spans[0].spans[0];
            (bad.trace_id, bad.span_id) = (trace, span);
            assert!(!client.spans(&sent).await.is_ok());
        }
    }
    assert_eq!((receiver.span_count(), receiver.requests().len()), (0, 9));
}

#[tokio::test]
async fn answers_can_be_missing_late_or_senseless() {
    for transport in BOTH {
        let receiver = OtlpReceiver::start();
        let client = Client::new(transport, receiver.url_of(transport));

        receiver.behave_times(Behaviour::Hang, 1);
        let sent = spans_named(&["hangs"]);
        let mut answer = Box::pin(client.spans(&sent));
        until_it_came(&receiver, 1, answer.as_mut()).await;
        assert!(tokio::time::timeout(MOMENT, answer.as_mut()).await.is_err(), "it is not answered");
        drop(answer);
        assert_eq!(receiver.span_count(), 0);

        receiver.behave_times(Behaviour::Delay(MOMENT), 1);
        let (began, sent) = (Instant::now(), spans_named(&["late"]));
        let mut answer = Box::pin(client.spans(&sent));
        until_it_came(&receiver, 2, answer.as_mut()).await;
        assert_eq!(names(&receiver), ["late"], "it is taken before it is answered");
        assert!(answer.await.is_ok());
        assert!(began.elapsed() >= MOMENT);

        receiver.behave_times(Behaviour::CutConnection, 1);
        assert!(matches!(client.spans(&spans_named(&["cut"])).await, Answer::Broken(_)));
        assert_eq!(names(&receiver), ["late", "cut"]);

        receiver.behave_times(Behaviour::Garbage, 1);
        assert!(matches!(client.spans(&spans_named(&["garbage"])).await, Answer::Senseless(_)));
        receiver.behave_times(Behaviour::HugeBody, 1);
        let huge = client.spans(&spans_named(&["huge"])).await;
        assert!(matches!(huge, Answer::Senseless(bytes) if bytes > client::MOST_ANSWER), "{huge:?}");

        assert!(client.spans(&spans_named(&["good"])).await.is_ok());
        assert_eq!(names(&receiver), ["late", "cut", "good"]);
        assert_eq!(receiver.requests().len(), 6);
    }
}

#[tokio::test]
async fn an_outage_closes_what_is_open_and_ends_on_the_same_ports() {
    for transport in BOTH {
        let receiver = OtlpReceiver::start();
        let url = receiver.url_of(transport);
        let client = Client::new(transport, url.clone());
        assert!(client.spans(&spans_named(&["before"])).await.is_ok());
        receiver.behave_times(Behaviour::Hang, 1);
        let sent = spans_named(&["open"]);
        let (open, ()) = tokio::join!(client.spans(&sent), async {
            receiver.wait_for_requests(2, SOON).await;
            receiver.stop();
        });
        assert!(matches!(open, Answer::Broken(_)), "{open:?}");
        assert!(matches!(client.spans(&spans_named(&["during"])).await, Answer::Broken(_)));
        receiver.start_again();
        assert_eq!(receiver.url_of(transport), url);
        assert!(client.spans(&spans_named(&["after"])).await.is_ok());
        assert_eq!(names(&receiver), ["before", "after"]);

        drop(receiver);
        assert!(matches!(client.spans(&spans_named(&["dropped"])).await, Answer::Broken(_)));
    }
}

#[tokio::test]
async fn tls_asks_for_trust_and_for_a_certificate_where_told() {
    let (own, other) = (Authority::new("own"), Authority::new("other"));
    let (known, stranger) = (own.client("known"), other.client("stranger"));
    for (asks, with, accepted) in
        [(false, None, true), (true, None, false), (true, Some(&known), true), (true, Some(&stranger), false)]
    {
        let receiver = OtlpReceiver::start_tls(&own, asks);
        for transport in BOTH {
            let client = Client::new(transport, receiver.url_of(transport));
            let trusting = client.clone().trusting(&own.file(), with);
            assert_eq!(trusting.spans(&spans_named(&["a"])).await.is_ok(), accepted, "{transport:?} {asks} {with:?}");
            let distrusting = client.trusting(&other.file(), with);
            assert!(matches!(distrusting.spans(&spans_named(&["b"])).await, Answer::Broken(_)));
        }
        assert_eq!(receiver.span_count(), if accepted { 2 } else { 0 });
    }
}

/// Waits until so many requests came, the last without an answer.
async fn until_it_came(receiver: &OtlpReceiver, requests: usize, answer: impl Future<Output = Answer>) {
    tokio::select! {
        answer = answer => panic!("it is answered already: {answer:?}"),
        _ = receiver.wait_for_requests(requests, SOON) => {}
    }
}

fn names(receiver: &OtlpReceiver) -> Vec<String> {
    receiver.spans().into_iter().map(|received| received.span.name).collect()
}

fn four_times(lines: &[Value]) -> Vec<Value> {
    [lines; 4].concat()
}
