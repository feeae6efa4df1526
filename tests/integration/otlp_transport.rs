//! OTLP's transport against receivers: what arrives, and what each answer means.

mod http2;

use std::sync::Arc;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, number_data_point,
};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use rowmetry::config::otlp::{OtlpEndpoint, OtlpProtocol};
use rowmetry::otlp::{Answer, Transport};
use secrecy::SecretString;
use tonic::Code;
use url::Url;

use self::http2::Http2;
use super::harness::certificates::Authority;
use super::harness::eventually;
use super::harness::exporter::PATIENCE;
use super::harness::guard::free_port;
use super::harness::hostile::{self, Act, Hostile};
use super::harness::otlp::{Behaviour, OtlpReceiver, Transport as Way};

const BOTH: [OtlpProtocol; 2] = [OtlpProtocol::HttpProtobuf, OtlpProtocol::Grpc];

const SOON: Duration = Duration::from_secs(20);

/// A limit that a local answer keeps, and that a test can wait for.
const SHORT: Duration = Duration::from_millis(400);

fn spans(count: usize) -> ExportTraceServiceRequest {
    let span = |number: usize| Span {
        trace_id: vec![7; 16],
        span_id: (number as u64 + 1).to_be_bytes().to_vec(),
        name: "work".into(),
        ..Span::default()
    };
    let scope = ScopeSpans { spans: (0..count).map(span).collect(), ..ScopeSpans::default() };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { scope_spans: vec![scope], ..ResourceSpans::default() }],
    }
}

fn metrics(points: usize) -> ExportMetricsServiceRequest {
    let point = |number: usize| NumberDataPoint {
        value: Some(number_data_point::Value::AsInt(number as i64)),
        ..NumberDataPoint::default()
    };
    let gauge = Gauge { data_points: (0..points).map(point).collect() };
    let metric = Metric { name: "rows".into(), data: Some(Data::Gauge(gauge)), ..Metric::default() };
    let scope = ScopeMetrics { metrics: vec![metric], ..ScopeMetrics::default() };
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics { scope_metrics: vec![scope], ..ResourceMetrics::default() }],
    }
}

fn at(url: &str, protocol: OtlpProtocol) -> OtlpEndpoint {
    OtlpEndpoint { timeout: SOON, ..OtlpEndpoint::new(Url::parse(url).expect("a URL"), protocol) }
}

/// Where a receiver takes spans.
fn of(receiver: &OtlpReceiver, protocol: OtlpProtocol) -> OtlpEndpoint {
    match protocol {
        OtlpProtocol::HttpProtobuf => at(&format!("{}/v1/traces", receiver.http_url()), protocol),
        OtlpProtocol::Grpc => at(&receiver.grpc_url(), protocol),
    }
}

fn way(endpoint: &OtlpEndpoint) -> Transport {
    Transport::new(endpoint).expect("the endpoint is good")
}

fn why(answer: &Answer) -> &str {
    match answer {
        Answer::Later { why, .. }
        | Answer::TooLarge { why }
        | Answer::Refused { why }
        | Answer::Misconfigured { why } => why,
        answer => panic!("{answer:?} says nothing"),
    }
}

/// Panics unless it is "later", and gives its reason.
fn later(answer: Answer) -> String {
    assert!(matches!(answer, Answer::Later { after: None, .. }), "{answer:?}");
    why(&answer).to_owned()
}

/// Panics unless it is misconfigured, and gives its reason.
fn misconfigured(answer: Answer) -> String {
    assert!(matches!(answer, Answer::Misconfigured { .. }), "{answer:?}");
    why(&answer).to_owned()
}

#[tokio::test]
async fn everything_arrives_with_its_headers_packed_or_not() {
    for protocol in BOTH {
        for gzip in [false, true] {
            let receiver = OtlpReceiver::start();
            let mut endpoint = of(&receiver, protocol);
            endpoint.gzip = gzip;
            endpoint.headers = vec![("x-tenant".into(), SecretString::from("seven"))];
            endpoint.url.set_username("us%40er").expect("it has a host");
            endpoint.url.set_password(Some("pass")).expect("it has a host");
            let transport = way(&endpoint);
            assert_eq!(transport.protocol(), protocol);
            assert_eq!(transport.traces(spans(50)).await, Answer::Accepted);
            assert_eq!(receiver.span_count(), 50);
            if protocol == OtlpProtocol::HttpProtobuf {
                endpoint.url.set_path("/v1/metrics");
            }
            assert_eq!(way(&endpoint).metrics(metrics(5)).await, Answer::Accepted);
            assert_eq!(receiver.metrics()[0].request, metrics(5));
            let requests = receiver.requests();
            assert_eq!(requests.len(), 2);
            for request in requests {
                let is_http = protocol == OtlpProtocol::HttpProtobuf;
                assert_eq!(request.transport, if is_http { Way::Http } else { Way::Grpc });
                assert_eq!(request.encoding.as_deref(), gzip.then_some("gzip"));
                assert_eq!(request.headers["x-tenant"], "seven");
                // us@er:pass
                assert_eq!(request.headers["authorization"], "Basic dXNAZXI6cGFzcw==");
                assert!(request.headers["user-agent"].starts_with("rowmetry/"), "{:?}", request.headers);
                assert_eq!(request.headers.contains_key("grpc-timeout"), !is_http);
            }
            let packed = receiver.requests()[0].wire_bytes;
            assert!((packed < 500) == gzip, "{packed}");
        }
    }
}

#[tokio::test]
async fn answers_have_their_meaning_over_both() {
    let refused =
        |code: u16, retry_after: Option<&str>| Behaviour::Status { code, retry_after: retry_after.map(str::to_owned) };
    for protocol in BOTH {
        let receiver = OtlpReceiver::start();
        let transport = way(&of(&receiver, protocol));
        for (behaviour, wanted, says) in [
            (refused(503, Some("7")), "later 7s", "told to refuse"),
            (refused(503, None), "later", "told to refuse"),
            (refused(502, None), "later", ""),
            (refused(429, Some("86400")), "later 300s", ""),
            (refused(429, None), "later", ""),
            (refused(408, None), "later", ""),
            (refused(500, None), "later", ""),
            (Behaviour::Code { code: Code::Aborted, retry_after: Some("2".into()) }, "later 2s", ""),
            (refused(400, None), "refused", "told to refuse"),
            (refused(401, None), "misconfigured", "`headers`"),
            (refused(403, None), "misconfigured", "`headers`"),
            (refused(404, None), "misconfigured", "URL"),
            (Behaviour::TooLargeAbove(1), "too large", "2 items are more than 1"),
            (Behaviour::RefuseSpansNamed("work".into()), "refused", "a span is named work"),
            (Behaviour::Partial { rejected: 1, message: "too\nold".into() }, "partial 1 too old", ""),
            (Behaviour::Partial { rejected: 0, message: "beware".into() }, "accepted", ""),
            (Behaviour::Garbage, "accepted or later", ""),
            (Behaviour::HugeBody, "accepted", ""),
            (Behaviour::Accept, "accepted", ""),
        ] {
            receiver.behave(behaviour.clone());
            let answer = transport.traces(spans(2)).await;
            let is = match &answer {
                Answer::Accepted => "accepted".to_owned(),
                Answer::Partial { rejected, message } => format!("partial {rejected} {message}"),
                Answer::Later { after: Some(after), .. } => format!("later {}s", after.as_secs()),
                Answer::Later { after: None, .. } => "later".to_owned(),
                Answer::TooLarge { .. } => "too large".to_owned(),
                Answer::Refused { .. } => "refused".to_owned(),
                Answer::Misconfigured { .. } => "misconfigured".to_owned(),
            };
            assert!(wanted.split(" or ").any(|wanted| wanted == is), "{protocol:?} {behaviour:?}: {answer:?}");
            if !says.is_empty() {
                assert!(why(&answer).contains(says), "{protocol:?} {behaviour:?}: {answer:?}");
            }
        }
    }
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_awaited_no_longer_than_allowed() {
    for protocol in BOTH {
        let receiver = OtlpReceiver::start();
        let transport = way(&OtlpEndpoint { timeout: SHORT, ..of(&receiver, protocol) });
        receiver.behave(Behaviour::Hang);
        let began = Instant::now();
        let said = later(transport.traces(spans(1)).await);
        assert!(began.elapsed() >= SHORT && began.elapsed() < SOON, "{:?}", began.elapsed());
        assert!(said.contains("400ms") && said.contains("`timeout`"), "{said}");
        receiver.behave(Behaviour::CutConnection);
        let said = later(way(&of(&receiver, protocol)).traces(spans(1)).await);
        assert!(said.contains("connection ended without an answer"), "{said}");
        receiver.behave(Behaviour::Accept);
        assert_eq!(way(&of(&receiver, protocol)).traces(spans(1)).await, Answer::Accepted);
    }
}

#[tokio::test]
async fn a_receiver_that_was_away_is_found_again() {
    for protocol in BOTH {
        let receiver = OtlpReceiver::start();
        let transport = way(&of(&receiver, protocol));
        assert_eq!(transport.traces(spans(1)).await, Answer::Accepted);
        receiver.stop();
        // The first may still be sent into the connection that ends.
        later(transport.traces(spans(1)).await);
        let said = later(transport.traces(spans(1)).await);
        assert!(said.contains("connection refused; start the receiver"), "{said}");
        receiver.start_again();
        assert_eq!(transport.traces(spans(1)).await, Answer::Accepted);
        assert_eq!(receiver.span_count(), 2);
    }
}

#[tokio::test]
async fn own_authorities_and_certificates_are_used_over_both() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let [certificate, key] = ours.client("rowmetry");
    let strangers = other.client("rowmetry");
    for protocol in BOTH {
        let receiver = OtlpReceiver::start_tls(&ours, false);
        let plain = of(&receiver, protocol);
        let trusting = OtlpEndpoint { ca_file: Some(ours.file()), ..plain.clone() };
        assert_eq!(way(&trusting).traces(spans(1)).await, Answer::Accepted, "{protocol:?}");
        // Neither the public authorities nor another one vouch for it.
        for endpoint in [plain, OtlpEndpoint { ca_file: Some(other.file()), ..trusting.clone() }] {
            let said = later(way(&endpoint).traces(spans(1)).await);
            assert!(said.contains("no trusted connection") && said.contains("as the CA file"), "{said}");
        }
        let mut elsewhere = trusting.clone();
        elsewhere.url.set_host(Some("127.0.0.1")).expect("a host");
        let said = later(way(&elsewhere).traces(spans(1)).await);
        assert!(said.contains("the host's name"), "{said}");

        let strict = OtlpReceiver::start_tls(&ours, true);
        let nobody = OtlpEndpoint { ca_file: Some(ours.file()), ..of(&strict, protocol) };
        let known = OtlpEndpoint { client_certificate: Some((certificate.clone(), key.clone())), ..nobody.clone() };
        assert_eq!(way(&known).traces(spans(1)).await, Answer::Accepted, "{protocol:?}");
        let [certificate, key] = strangers.clone();
        let stranger = OtlpEndpoint { client_certificate: Some((certificate, key)), ..nobody.clone() };
        for endpoint in [nobody, stranger] {
            let said = later(way(&endpoint).traces(spans(1)).await);
            assert!(said.contains("client certificate"), "{said}");
        }
        assert_eq!((receiver.span_count(), strict.span_count()), (1, 1));
    }
}

#[tokio::test]
async fn a_key_is_read_in_each_of_its_forms_and_must_fit() {
    let ours = Authority::new("ours");
    let [certificate, key] = ours.client("rowmetry");
    let receiver = OtlpReceiver::start_tls(&ours, true);
    let endpoint = |key: &std::path::Path| OtlpEndpoint {
        ca_file: Some(ours.file()),
        client_certificate: Some((certificate.clone(), key.to_owned())),
        ..of(&receiver, OtlpProtocol::HttpProtobuf)
    };
    let openssl = |arguments: &[&str]| {
        let made = std::process::Command::new("openssl").args(arguments).output().expect("openssl can be started");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    };
    let pkcs1 = key.with_extension("pkcs1");
    let text = |path: &std::path::Path| path.to_str().expect("it is text").to_owned();
    openssl(&["rsa", "-in", &text(&key), "-traditional", "-out", &text(&pkcs1)]);
    assert!(std::fs::read_to_string(&pkcs1).expect("openssl wrote it").contains("BEGIN RSA PRIVATE KEY"));
    for key in [&key, &pkcs1] {
        assert_eq!(way(&endpoint(key)).traces(spans(1)).await, Answer::Accepted);
    }
    // A SEC1 key of an elliptic curve, whose certificate signs itself: it is read, and is a stranger's.
    let (sec1, own) = (key.with_extension("sec1"), key.with_extension("own.pem"));
    openssl(&["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", &text(&sec1)]);
    openssl(&["req", "-x509", "-key", &text(&sec1), "-subj", "/CN=x", "-out", &text(&own)]);
    assert!(std::fs::read_to_string(&sec1).expect("openssl wrote it").contains("BEGIN EC PRIVATE KEY"));
    let mut stranger = endpoint(&sec1);
    stranger.client_certificate = Some((own, sec1.clone()));
    assert!(Transport::new(&stranger).is_ok());

    let encrypted = key.with_extension("encrypted");
    openssl(&["pkcs8", "-topk8", "-in", &text(&key), "-passout", "pass:s3cret", "-out", &text(&encrypted)]);
    for (bad, wanted) in [(&sec1, "belong together"), (&encrypted, "not encrypted"), (&certificate, "private key")] {
        let said = Transport::new(&endpoint(bad)).expect_err("it does not fit").to_string();
        assert!(said.contains(wanted) && said.contains(&text(bad)), "{said}");
    }
}

#[tokio::test]
async fn a_port_that_speaks_something_else_is_told() {
    let ours = Authority::new("ours");
    let (plain, tls) = (OtlpReceiver::start(), OtlpReceiver::start_tls(&ours, false));
    let port = |url: String| Url::parse(&url).expect("a URL").port().expect("it has one");
    let [http, grpc] = [plain.http_url(), plain.grpc_url()].map(port);
    let [http_tls, grpc_tls] = [tls.http_url(), tls.grpc_url()].map(port);
    for (protocol, url, wanted) in [
        (OtlpProtocol::HttpProtobuf, format!("http://localhost:{grpc}/v1/traces"), "`protocol: grpc`"),
        (OtlpProtocol::Grpc, format!("http://localhost:{http}"), "`protocol: http/protobuf`"),
        (OtlpProtocol::HttpProtobuf, format!("http://localhost:{http_tls}/v1/traces"), "write https://"),
        (OtlpProtocol::Grpc, format!("http://localhost:{grpc_tls}"), "write https://"),
        (OtlpProtocol::HttpProtobuf, format!("https://localhost:{http}/v1/traces"), "write http://"),
        (OtlpProtocol::Grpc, format!("https://localhost:{grpc}"), "write http://"),
        (OtlpProtocol::Grpc, format!("https://localhost:{http_tls}"), "`protocol: http/protobuf`"),
        (OtlpProtocol::HttpProtobuf, format!("https://localhost:{grpc_tls}/v1/traces"), "`protocol: grpc`"),
    ] {
        let endpoint = OtlpEndpoint { ca_file: Some(ours.file()), ..at(&url, protocol) };
        let said = later(way(&endpoint).traces(spans(1)).await);
        assert!(said.contains(wanted), "{protocol:?} {url}: {said}");
    }
    for protocol in BOTH {
        let nobody = format!("http://127.0.0.1:{}/", free_port());
        let said = later(way(&at(&nobody, protocol)).traces(spans(1)).await);
        assert!(said.contains("connection refused"), "{said}");
        let said = later(way(&at("http://nothing.invalid:4317/", protocol)).traces(spans(1)).await);
        assert!(said.contains("no address"), "{said}");
    }
    assert_eq!(plain.span_count() + tls.span_count(), 0);
}

/// Answers when it has read the whole request.
fn having_read(answer: Vec<u8>) -> Act {
    Arc::new(move |head, wire| {
        let length =
            head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        let mut read = 0;
        while read < body.len() {
            match wire.read(&mut body[read..]) {
                Ok(0) => return,
                Ok(more) => read += more,
                Err(_) => {}
            }
        }
        let _ = wire.write_all(&answer).and_then(|()| wire.flush());
    })
}

#[tokio::test]
async fn what_no_receiver_says_is_understood_over_http() {
    const PAGE: &str = "Content-Type: text/html\r\n";
    // It closes after each answer, and says so: else the next request may be under way when it does.
    let closing = |head: &str| format!("Connection: close\r\n{head}");
    let answer = |status: &str, head: &str, body: &str| having_read(hostile::bytes(status, &closing(head), body));
    let server = Hostile::plain(answer("200 OK", "", ""));
    let mut endpoint = at(&server.url("/v1/traces"), OtlpProtocol::HttpProtobuf);
    endpoint.headers = vec![("authorization".into(), SecretString::from("Bearer s3cret-token"))];
    let transport = way(&endpoint);
    assert_eq!(transport.traces(spans(1)).await, Answer::Accepted);
    for (act, wanted) in [
        (answer("200 OK", PAGE, "<html>Sign in</html>"), "page for people"),
        (answer("302 Found", "Location: https://login.example/x?y=z\r\n", ""), "points to https://login.example/x;"),
        (answer("407 Proxy Authentication Required", "", ""), "`headers`"),
        (answer("405 Method Not Allowed", PAGE, "<html>no</html>"), "mend the path"),
        (answer("403 Forbidden", "", "token s3cret-token is not known"), "it says: token … is not known"),
    ] {
        server.acts(act);
        let said = misconfigured(transport.traces(spans(1)).await);
        assert!(said.contains(wanted) && !said.contains("s3cret"), "{said}");
    }
    // The head of a success has said what matters, whatever becomes of its body.
    let endless = hostile::bytes("200 OK", &closing("Content-Type: application/x-protobuf\r\n"), vec![0xff; 1 << 20]);
    let broken_off = b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n\x0a".to_vec();
    for act in [endless, broken_off] {
        server.acts(having_read(act));
        assert_eq!(transport.traces(spans(1)).await, Answer::Accepted);
    }
    for (act, wanted) in [
        (b"SSH-2.0-OpenSSH_9.6\r\n".to_vec(), "no HTTP/1.1"),
        (Vec::new(), "without an answer"),
        (b"HTTP/1.1 20".to_vec(), "without an answer"),
        ([b"HTTP/1.1 200 OK\r\n".to_vec(), b"X: y\r\n".repeat(100_000)].concat(), "no HTTP/1.1"),
    ] {
        server.acts(having_read(act));
        let said = later(transport.traces(spans(1)).await);
        assert!(said.contains(wanted), "{said}");
    }
    // A body that never ends costs no more than the time limit.
    let transport = way(&OtlpEndpoint { timeout: SHORT, ..endpoint.clone() });
    server.acts(hostile::drip("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"));
    assert_eq!(transport.traces(spans(1)).await, Answer::Accepted);
    server.acts(hostile::drip(""));
    // On a busy machine so short a limit may end a connection that is still being made, which is told in other words.
    eventually(PATIENCE, "a receiver that says nothing is told", async || {
        let said = later(transport.traces(spans(1)).await);
        if said.contains("`timeout`") { Ok(()) } else { Err(said) }
    })
    .await;
}

#[tokio::test]
async fn what_no_receiver_says_is_understood_over_grpc() {
    const GRPC: (&str, &str) = ("content-type", "application/grpc");
    let server = Http2::start().await;
    let transport = way(&at(&server.url(), OtlpProtocol::Grpc));
    for (status, headers, wanted) in [
        (200, vec![("content-type", "text/html")], "Misconfigured"),
        (404, vec![("content-type", "text/html")], "Misconfigured"),
        (401, vec![], "Misconfigured"),
        (413, vec![("content-type", "text/html")], "TooLarge"),
        (502, vec![("content-type", "text/html")], "Later { after: None"),
        (503, vec![("retry-after", "3")], "Later { after: Some(3s)"),
        (200, vec![GRPC, ("grpc-status", "3")], "Refused"),
        (200, vec![GRPC, ("grpc-status", "14"), ("grpc-status-details-bin", "AA")], "Later { after: None"),
        // These are no base64.
        (200, vec![GRPC, ("grpc-status", "14"), ("grpc-status-details-bin", "%%%")], "Later { after: None"),
        (200, vec![GRPC, ("grpc-status", "3"), ("grpc-message", "%ff%fe")], "Later { after: None"),
        (200, vec![GRPC, ("grpc-status", "99")], "Later { after: None"),
        (200, vec![GRPC, ("grpc-status", "x")], "Later { after: None"),
    ] {
        server.answers(status, &headers, &[]);
        let answer = format!("{:?}", transport.traces(spans(1)).await);
        assert!(answer.starts_with(wanted), "{status} {headers:?}: {answer}");
    }
    for details in ["%%%", "A", "AA=A"] {
        server.answers(200, &[GRPC], &[("grpc-status", "14"), ("grpc-status-details-bin", details)]);
        let said = later(transport.traces(spans(1)).await);
        assert_eq!(said, "UNAVAILABLE");
    }
}

#[tokio::test]
async fn an_exporter_of_its_own_may_send_over_the_same_way() {
    let receiver = OtlpReceiver::start();
    let transport = way(&of(&receiver, OtlpProtocol::HttpProtobuf));
    let request = |path: &str| {
        let body = prost::Message::encode_to_vec(&spans(3)).into();
        hyper::Request::post(format!("{}{path}", receiver.http_url()))
            .header("content-type", "application/x-protobuf")
            .body(body)
            .expect("a request")
    };
    let response = transport.send(request("/v1/traces")).await.expect("it answers");
    assert_eq!((response.status().as_u16(), receiver.span_count()), (200, 3));
    assert!(!receiver.requests()[0].headers.contains_key("user-agent"));
    assert_eq!(transport.send(request("/nowhere")).await.expect("it answers").status(), 404);
    receiver.behave(Behaviour::HugeBody);
    let said = transport.send(request("/v1/traces")).await.expect_err("it is too much").to_string();
    assert!(said.contains("65536"), "{said}");
    assert!(transport.channel().is_none());

    receiver.behave(Behaviour::Accept);
    let transport = way(&of(&receiver, OtlpProtocol::Grpc));
    assert!(transport.send(request("/v1/traces")).await.is_err());
    let channel = transport.channel().expect("it speaks gRPC");
    let mut client =
        opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient::new(channel);
    client.export(spans(2)).await.expect("it is taken");
    assert_eq!(receiver.span_count(), 5);
}
