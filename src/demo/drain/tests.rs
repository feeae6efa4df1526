use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::config::logs::IntakeLimits;
use crate::source::logs::Parsed;
use crate::source::logs::body;

const START: Micros = 1_800_000_000_000_000;
const SECOND: Micros = 1_000_000;

impl Drain {
    /// Everything that was written by `now`, in batches, as it is read; and whether each batch holds what it says.
    pub(in crate::demo) fn read(&mut self, now: Micros) -> Vec<Parsed> {
        self.make_batches(now);
        let read = self.batches.drain(..).map(|batch| {
            let limits = IntakeLimits::default();
            let parsed =
                body::parse(self.settings.kind, &self.settings.fields, &limits, &batch.body).expect("it is readable");
            let found = (parsed.lines.len() as u64, parsed.continuations, parsed.unreadable);
            let text = String::from_utf8_lossy(&batch.body);
            assert_eq!(found, (batch.lines, batch.continuations, batch.unreadable), "{}: {text}", self.settings.name);
            parsed
        });
        read.collect()
    }
}

fn line(text: &str) -> Line {
    Line { level: "error".into(), text: text.into(), details: r#"{"sql_state_code": "42P17"}"#.into() }
}

/// A drain that has written so many lines, one a second.
fn written(writer: Writer, lines: i64) -> Drain {
    let mut drain = Drain::new("shop", writer, 1, None);
    for number in 1..=lines {
        drain.write(START + number * SECOND, line("Error: made up\n    at shop (/var/task/shop.js:1:2)"));
    }
    drain
}

#[test]
fn batches_hold_what_they_say() {
    for (writer, by_the_host) in [(Writer::Application, 7 * 3), (Writer::Postgres, 0)] {
        let mut drain = written(writer, 40);
        let (mut lines, mut continuations, mut unreadable) = (0, 0, 0);
        for second in 0..20 {
            for parsed in drain.read(START + second * SECOND) {
                assert_eq!(parsed.lines[0].time, Some(START + second * SECOND));
                assert_eq!(parsed.lines[0].level.map(crate::source::logs::line::Level::as_str), Some("error"));
                lines += parsed.lines.len();
                continuations += parsed.continuations;
                unreadable += parsed.unreadable;
            }
        }
        // What is to come is not told before its time.
        assert_eq!(lines, 19 + by_the_host, "{writer:?}");
        assert!(continuations > 2 && unreadable > 1, "{writer:?}: {continuations} {unreadable}");
    }
}

#[test]
fn what_cannot_be_delivered_has_a_bound() {
    let mut drain = written(Writer::Postgres, WAITING_LINES as i64 + 10);
    assert_eq!(drain.waiting.len(), WAITING_LINES);
    drain.make_batches(Micros::MAX);
    assert_eq!(drain.batches.len(), BATCHES);
    assert_eq!(drain.waiting.len(), WAITING_LINES - BATCHES * BATCH_RECORDS);
}

/// Requests that were received: the headers in lower case, and the body.
type Received = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

fn at(address: std::net::SocketAddr) -> Receiver {
    Receiver { host: address.ip().to_string(), port: address.port() }
}

/// Answers each request with the next of these, the last one for ever.
async fn receiver(answers: &'static [&'static str]) -> (Receiver, Received) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
    let address = listener.local_addr().expect("it listens");
    let received = Received::default();
    let kept = Arc::clone(&received);
    tokio::spawn(async move {
        for number in 0.. {
            let Ok((mut stream, _)) = listener.accept().await else { return };
            let mut bytes = Vec::new();
            let (headers, body) = loop {
                if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                    break (String::new(), Vec::new());
                }
                let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
                let headers = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
                let length = headers.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
                let length: usize = length.and_then(|length| length.parse().ok()).expect("it has a length");
                if bytes.len() >= end + 4 + length {
                    break (headers, bytes[end + 4..].to_vec());
                }
            };
            kept.lock().expect("no test panics with it").push((headers, body));
            let answer = answers[answers.len().min(number + 1) - 1];
            let _ = stream.write_all(format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n").as_bytes()).await;
        }
    });
    (at(address), received)
}

#[tokio::test]
async fn a_delivery_that_fails_is_tried_again() {
    let (address, received) = receiver(&["503 Service Unavailable", "200 OK"]).await;
    let mut drain = written(Writer::Application, 1);
    let progress = Progress::default();
    drain.deliver(&address, START, &progress).await;
    assert!(received.lock().expect("free").is_empty(), "nothing was written yet");
    drain.deliver(&address, START + SECOND, &progress).await;
    assert_eq!((drain.delivered(), progress.summary().lines), (Delivered::default(), 0));
    drain.deliver(&address, START + 2 * SECOND, &progress).await;
    assert_eq!((drain.delivered().lines, progress.summary().lines), (4, 4));
    let received = received.lock().expect("free");
    assert_eq!(received.len(), 2);
    assert_eq!(received[0], received[1], "the same request comes again");
    let (headers, body) = &received[0];
    assert!(headers.starts_with("post /drains/shop-logs http/1.1"), "{headers}");
    assert!(headers.contains("\r\nx-vercel-signature: ") && !headers.contains("authorization"), "{headers}");
    assert_eq!(body.iter().filter(|byte| **byte == b'\n').count(), 2, "a record a line");
}

#[tokio::test]
async fn some_batches_are_delivered_twice() {
    let (address, received) = receiver(&["200 OK"]).await;
    let mut drain = written(Writer::Postgres, 5);
    let progress = Progress::default();
    for second in 1..=4 {
        drain.deliver(&address, START + second * SECOND, &progress).await;
    }
    assert_eq!((drain.delivered().lines, drain.delivered().repeated), (4, 1));
    assert_eq!(progress.summary().lines, 4);
    let received = received.lock().expect("free");
    // The second comes again with the third.
    assert_eq!(received.len(), 5);
    assert_eq!(received[1], received[2]);
    let (headers, _) = &received[0];
    let token = format!("authorization: bearer {}", drain.secret);
    assert!(headers.contains(&token) && headers.contains("content-encoding: gzip"), "{headers}");
}

#[tokio::test]
async fn nobody_there_is_no_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
    let address = at(listener.local_addr().expect("it listens"));
    drop(listener);
    let mut drain = written(Writer::Application, 3);
    drain.deliver(&address, START + 9 * SECOND, &Progress::default()).await;
    assert_eq!(drain.delivered(), Delivered::default());
    assert_eq!(drain.batches.len(), 1);
}
