//! What a drain's task makes of a delivery, as its sender is told; and which address shows what.

use rowmetry::config::logs::{DrainAuth, DrainKind, IntakeLimits};
use rowmetry::source::logs::{Parsed, Refusal};
use tokio::io::AsyncWriteExt as _;

use super::{Intakes, LINES, PATIENCE, Task, outcomes, send, soon};
use crate::harness::eventually;

#[tokio::test]
async fn a_sender_is_told_what_became_of_its_lines() {
    for (refusal, status, retry, fate) in [
        (Refusal::Full, "429", "1", "overloaded"),
        (Refusal::NotReady, "503", "5", "not_ready"),
        (Refusal::NotWritten, "503", "5", "not_written"),
        (Refusal::Stopped, "503", "5", "not_ready"),
    ] {
        let limits = IntakeLimits::default();
        let intakes = Intakes::start(DrainAuth::default(), limits, Some(Task::Refuses(refusal))).await;
        let reply = intakes.post(&[], LINES).await;
        assert_eq!(reply.status(), status, "{refusal:?}");
        assert!(reply.head.contains(&format!("\r\nretry-after: {retry}\r\n")), "{refusal:?}: {reply:?}");
        assert_eq!(intakes.fates().await, outcomes([(fate, 1)]), "{refusal:?}");
        assert!(intakes.is_empty(limits), "{refusal:?}");
    }
}

#[tokio::test]
async fn the_answer_waits_until_the_lines_are_counted() {
    let limits = IntakeLimits::default();
    let mut intakes = Intakes::start(DrainAuth::default(), limits, None).await;
    let mut waiting = intakes.waiting.take().expect("no task takes it");
    let counts = async {
        let delivery = soon(waiting.recv()).await.expect("it comes");
        assert_eq!(delivery.parsed.lines.len(), 3);
        assert!(delivery.position.is_none());
        assert!(delivery.room.is_some(), "its room goes with it");
        assert!(!intakes.is_empty(limits));
        assert_eq!(intakes.fates().await, outcomes([]), "no answer yet");
        delivery.answer.send(Ok(())).expect("somebody waits");
    };
    let (reply, ()) = tokio::join!(intakes.post(&[], LINES), counts);
    assert_eq!(reply.status(), "200");

    // Whoever goes away meanwhile takes nothing back.
    let mut stream = intakes.connect().await;
    let head = format!("POST /drains/app HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", LINES.len());
    stream.write_all(&[head.as_bytes(), LINES].concat()).await.expect("it reads");
    let delivery = soon(waiting.recv()).await.expect("it comes");
    drop(stream);
    // The server has seen that when it takes another on the same terms.
    assert_eq!(intakes.send("GET /healthz HTTP/1.1\r\n\r\n", b"").await.status(), "200");
    delivery.answer.send(Ok(())).expect("the request is waited for still");
    drop(delivery.room);
    eventually(PATIENCE, "it is counted", async || match intakes.fates().await {
        fates if fates == outcomes([("accepted", 2)]) => Ok(()),
        fates => Err(format!("{fates:?}")),
    })
    .await;
    assert!(waiting.try_recv().is_err(), "each was delivered once");

    // No task, and none that will come.
    drop(waiting);
    let reply = intakes.post(&[], LINES).await;
    assert_eq!(reply.status(), "503");
    assert_eq!(intakes.fates().await, outcomes([("accepted", 2), ("not_ready", 1)]));
}

#[tokio::test]
async fn more_than_can_wait_is_told_to_come_again() {
    let mut intakes = Intakes::start(DrainAuth::default(), IntakeLimits::default(), None).await;
    let mut waiting = intakes.waiting.take().expect("no task takes it");
    // As many as may wait do.
    let full = waiting.max_capacity();
    let deliveries: Vec<_> = (0..full)
        .map(|_| {
            let inlet = intakes.inlet.clone();
            tokio::spawn(async move { inlet.deliver(Parsed::default(), None, None).await })
        })
        .collect();
    eventually(PATIENCE, "all wait", async || match waiting.len() {
        waiting if waiting == full => Ok(()),
        waiting => Err(format!("{waiting} do")),
    })
    .await;
    let reply = intakes.post(&[], LINES).await;
    assert_eq!(reply.status(), "429", "{reply:?}");
    assert!(reply.head.contains("\r\nretry-after: 1\r\n"), "{reply:?}");
    assert_eq!(intakes.fates().await, outcomes([("overloaded", 1)]));
    soon(waiting.recv()).await.expect("one waits").answer.send(Ok(())).expect("for an answer");
    drop(waiting);
    assert_eq!(intakes.post(&[], LINES).await.status(), "503", "it is stopped");
    for delivery in deliveries {
        // The first was counted, the others came to nothing: none hangs.
        let _ = soon(delivery).await.expect("no panic");
    }
}

#[tokio::test]
async fn each_address_shows_what_it_is_for() {
    let intakes = Intakes::start(DrainAuth::default(), IntakeLimits::default(), Some(Task::Counts)).await;
    for path in ["/", "/metrics", "/readyz", "/api/status", "/-/reload", "/drains/another", "/drains", "/drains/app/"] {
        for method in ["GET", "POST"] {
            let reply = intakes.send(&format!("{method} {path} HTTP/1.1\r\nContent-Length: 0\r\n\r\n"), b"").await;
            assert_eq!(reply.status(), "404", "{method} {path}");
            assert_eq!(reply.text(), "There is no drain here.\n");
        }
    }
    assert_eq!(intakes.send("GET /healthz HTTP/1.1\r\n\r\n", b"").await.status(), "200");
    let head = format!("POST /drains/app HTTP/1.1\r\nContent-Length: {}\r\n\r\n", LINES.len());
    assert_eq!(send(intakes.metrics, &head, LINES).await.status(), "404");
    assert_eq!(send(intakes.metrics, "GET /metrics HTTP/1.1\r\n\r\n", b"").await.status(), "200");
    assert_eq!(intakes.fates().await, outcomes([]), "none came to the drain");

    // A drain that is closed is gone at once.
    assert_eq!(intakes.send(&head, LINES).await.status(), "200");
    intakes.inlets.close("app");
    assert_eq!(intakes.send(&head, LINES).await.status(), "404");
}

#[tokio::test]
async fn what_is_empty_is_welcome() {
    for kind in [DrainKind::Http, DrainKind::Supabase, DrainKind::Vercel] {
        let limits = IntakeLimits::default();
        let intakes = Intakes::of_kind(kind, DrainAuth::default(), limits, Some(Task::Counts)).await;
        // Supabase tests a connection with an empty list, packed as all its lists are.
        let packed = super::gzip(b"[]");
        for (headers, body) in [(&[][..], &b"[]"[..]), (&[], b"{}"), (&[], b""), (&["Content-Encoding: gzip"], &packed)]
        {
            assert_eq!(intakes.post(headers, body).await.status(), "200", "{kind:?}: {body:?}");
        }
        assert_eq!(intakes.fates().await, outcomes([("accepted", 4)]));
        assert_eq!(intakes.counted().0, 0, "{kind:?}: nothing was there to be counted");
    }
}

#[tokio::test]
async fn otlp_is_answered_in_its_own_form() {
    let limits = IntakeLimits::default();
    let intakes = Intakes::of_kind(DrainKind::Otlp, DrainAuth::default(), limits, Some(Task::Counts)).await;
    // ResourceLogs{ScopeLogs{LogRecord{body: "x"}, LogRecord{}}}: the second says nothing.
    let protobuf = b"\x0a\x0b\x12\x09\x12\x05\x2a\x03\x0a\x01x\x12\x00";
    let record = r#"{"body":{"stringValue":"x"}}"#;
    let json = |records: &str| format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{records}]}}]}}]}}"#);
    let (as_protobuf, as_json) = ("Content-Type: application/x-protobuf", "Content-Type: application/json");

    let reply = intakes.post(&[as_json], json(record).as_bytes()).await;
    assert_eq!((reply.status(), reply.text().as_str()), ("200", "{}"));
    assert!(reply.head.contains("\r\ncontent-type: application/json\r\n"), "{reply:?}");
    let reply = intakes.post(&[as_json], json(&format!("{record},{{}}")).as_bytes()).await;
    assert_eq!(reply.status(), "200");
    assert!(reply.text().contains(r#""rejectedLogRecords":"1""#), "{reply:?}");

    let reply = intakes.post(&[as_protobuf], protobuf).await;
    assert_eq!(reply.status(), "200", "{reply:?}");
    assert!(reply.head.contains("\r\ncontent-type: application/x-protobuf\r\n"), "{reply:?}");
    assert!(reply.body.starts_with(b"\x0a") && reply.body[2..4] == *b"\x08\x01", "one was rejected: {reply:?}");
    assert_eq!(intakes.counted(), (3, 3));
    let reply = intakes.post(&[as_protobuf], b"").await;
    assert_eq!((reply.status(), reply.body.len()), ("200", 0), "an empty request is a success");

    let reply = intakes.post(&[as_protobuf], b"\x0a\xff").await;
    assert_eq!(reply.status(), "400");
    assert!(reply.head.contains("\r\ncontent-type: application/x-protobuf\r\n"), "{reply:?}");
    assert_eq!(reply.body[0], 0x12, "a google.rpc.Status with its message: {reply:?}");
    let reply = intakes.post(&[as_json], b"nonsense").await;
    assert_eq!(reply.status(), "400");
    assert!(reply.text().starts_with(r#"{"message":"Nothing could be read: "#), "{reply:?}");
    assert_eq!(intakes.post(&["Content-Type: text/plain"], LINES).await.status(), "415");
    assert_eq!(intakes.post(&[], LINES).await.status(), "415");
    let fates = intakes.fates().await;
    assert_eq!(fates, outcomes([("accepted", 4), ("unreadable", 2), ("unsupported", 2)]));
}
