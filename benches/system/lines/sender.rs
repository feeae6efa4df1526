//! Sends what was made before, as cheaply as it can: connections are kept, and a request is one write.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::traffic::Traffic;

/// The pause of who is told to come again later.
const PAUSE: Duration = Duration::from_millis(5);
/// Bytes of an answer at most.
const ANSWER: usize = 4096;

/// What sending came to.
pub struct Sent {
    /// Seconds from the first request to the last answer.
    pub seconds: f64,
    /// Seconds that each request took until it was answered, sorted.
    pub answers: Vec<f64>,
    /// Requests that were told to come again later, and did.
    pub again: usize,
}

/// Sends all requests, each connection the next that nobody has sent.
pub async fn send(address: SocketAddr, traffic: &Arc<Traffic>, connections: usize) -> Sent {
    let mut streams = Vec::new();
    for _ in 0..connections {
        let stream = TcpStream::connect(address).await.expect("the exporter listens");
        stream.set_nodelay(true).expect("it is connected");
        streams.push(stream);
    }
    let next = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let sending: Vec<_> = streams
        .into_iter()
        .map(|stream| {
            let (next, traffic) = (next.clone(), traffic.clone());
            tokio::spawn(async move { send_some(stream, &next, &traffic).await })
        })
        .collect();
    let (mut answers, mut again) = (Vec::new(), 0);
    for sending in sending {
        let (its, refused) = sending.await.expect("it sends until all is sent");
        answers.extend(its);
        again += refused;
    }
    let seconds = began.elapsed().as_secs_f64();
    answers.sort_by(f64::total_cmp);
    Sent { seconds, answers, again }
}

async fn send_some(mut stream: TcpStream, next: &AtomicUsize, traffic: &Traffic) -> (Vec<f64>, usize) {
    let (mut answers, mut again) = (Vec::new(), 0);
    while let Some(request) = traffic.requests.get(next.fetch_add(1, Ordering::Relaxed)) {
        let began = Instant::now();
        loop {
            stream.write_all(request).await.expect("the connection holds");
            match answer(&mut stream).await {
                200 => break,
                429 | 503 => again += 1,
                status => panic!("a request was answered with {status}"),
            }
            tokio::time::sleep(PAUSE).await;
        }
        answers.push(began.elapsed().as_secs_f64());
    }
    (answers, again)
}

/// Reads one answer to its end, and tells its status.
async fn answer(stream: &mut TcpStream) -> u16 {
    let mut read = Vec::with_capacity(ANSWER);
    loop {
        let more = stream.read_buf(&mut read).await.expect("the connection holds");
        assert!(more > 0 && read.len() < ANSWER, "an answer was cut, or is too long");
        let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = std::str::from_utf8(&read[..end]).expect("headers are text").to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.map_or(0, |length| length.trim().parse().expect("it is a number"));
        if read.len() >= end + 4 + length {
            return head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("an answer has a status");
        }
    }
}
