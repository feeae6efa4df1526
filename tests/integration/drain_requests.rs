//! Requests to drains over real sockets: who may bring lines, how much, in which packing, and what each is answered and
//! counted as.

mod access;
mod bounds;
mod counted;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rowmetry::config::logs::{DrainAuth, DrainKind, IntakeLimits, RecordFields};
use rowmetry::config::{DrainSettings, WebSettings};
use rowmetry::pack::Stream;
use rowmetry::source::logs::{Delivery, Inlet, Inlets, Parsed, Refusal};
use rowmetry::store::{Board, Store};
use rowmetry::telemetry::Metrics;
use rowmetry::web::{Intake, Serves, WebState, serve};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// Nothing here takes long; a test that waits so long for anything has failed.
const PATIENCE: Duration = Duration::from_secs(20);
/// Three lines, which every kind of drain that takes JSON can read.
const LINES: &[u8] =
    b"{\"id\":\"1\",\"message\":\"a\"}\n{\"id\":\"2\",\"message\":\"b\"}\n{\"id\":\"3\",\"message\":\"c\"}\n";

/// What the drain's task does with what it is given.
#[derive(Clone, Copy)]
enum Task {
    Counts,
    Refuses(Refusal),
}

/// A server with one drain, and a task that stands in for the drain's own.
struct Intakes {
    address: SocketAddr,
    metrics: SocketAddr,
    inlet: Inlet,
    inlets: Arc<Inlets>,
    counted: Arc<Mutex<Vec<Parsed>>>,
    /// What comes to the drain, where no task takes it.
    waiting: Option<mpsc::Receiver<Delivery>>,
    // Dropped with the test's runtime at the latest.
    _servers: [tokio::task::JoinHandle<std::io::Result<()>>; 2],
}

/// A reply: its head in lower case.
#[derive(Debug)]
struct Reply {
    head: String,
    body: Vec<u8>,
}

impl Intakes {
    async fn start(auth: DrainAuth, limits: IntakeLimits, task: Option<Task>) -> Self {
        Intakes::of_kind(DrainKind::Http, auth, limits, task).await
    }

    async fn of_kind(kind: DrainKind, auth: DrainAuth, limits: IntakeLimits, task: Option<Task>) -> Self {
        let metrics = Arc::new(Metrics::new("1.2.3"));
        let settings = Arc::new(DrainSettings {
            name: "app".into(),
            kind,
            path: "/drains/app".into(),
            auth,
            file: None,
            fields: RecordFields::default(),
            streams: vec![Stream::Application],
            database: None,
            packs: None,
            skip: Vec::new(),
        });
        let (inlet, mut receiver) = Inlet::new(settings, metrics.drain("app", true));
        let inlets = Arc::new(Inlets::new(limits.waiting_bytes));
        inlets.open(inlet.clone());
        let counted = Arc::new(Mutex::new(Vec::new()));
        let waiting = match task {
            None => Some(receiver),
            Some(task) => {
                let counted = counted.clone();
                tokio::spawn(async move {
                    while let Some(delivery) = receiver.recv().await {
                        let outcome = match task {
                            Task::Counts => Ok(()),
                            Task::Refuses(refusal) => Err(refusal),
                        };
                        if outcome.is_ok() {
                            counted.lock().expect("no test panics with it").push(delivery.parsed);
                        }
                        // The client may be gone.
                        let _ = delivery.answer.send(outcome);
                    }
                });
                None
            }
        };
        let intake = Intake::new(inlets.clone(), limits);
        let (address, first) = listen(&metrics, intake.clone(), Serves::Drains).await;
        let (shown, second) = listen(&metrics, intake, Serves::AllButDrains).await;
        Intakes { address, metrics: shown, inlet, inlets, counted, waiting, _servers: [first, second] }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("it listens")
    }

    /// Sends a body with its length and these headers, a line each.
    async fn post(&self, headers: &[&str], body: &[u8]) -> Reply {
        let mut lines: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        lines.push_str(&format!("Content-Length: {}\r\n", body.len()));
        self.send(&format!("POST /drains/app HTTP/1.1\r\n{lines}\r\n"), body).await
    }

    /// Sends a head and whatever follows on a connection of its own, and reads the reply meanwhile.
    async fn send(&self, head: &str, body: &[u8]) -> Reply {
        send(self.address, head, body).await
    }

    /// How many requests there were of each outcome.
    async fn fates(&self) -> BTreeMap<String, u64> {
        self.series("rowmetry_drain_requests_total{").await.into_iter().filter(|(_, value)| *value > 0).collect()
    }

    /// Bytes that the drain brought.
    async fn bytes(&self) -> u64 {
        self.series("rowmetry_drain_bytes_total{").await.into_values().sum()
    }

    /// Values by their `outcome`.
    async fn series(&self, begin: &str) -> BTreeMap<String, u64> {
        let reply = send(self.metrics, "GET /metrics HTTP/1.1\r\n\r\n", b"").await;
        let text = String::from_utf8(reply.body).expect("UTF-8");
        let values = text.lines().filter(|line| line.starts_with(begin)).map(|line| {
            let (labels, value) = line.rsplit_once(' ').expect("a value");
            let outcome = labels.split("outcome=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
            (outcome.to_owned(), value.parse().expect("a whole number"))
        });
        values.collect()
    }

    /// Deliveries that were counted, and lines in them.
    fn counted(&self) -> (usize, usize) {
        let counted = self.counted.lock().expect("no test panics with it");
        (counted.len(), counted.iter().map(|parsed| parsed.lines.len()).sum())
    }

    /// Whether all room is free.
    fn is_empty(&self, limits: IntakeLimits) -> bool {
        self.inlets.take_room(limits.waiting_bytes).is_some()
    }
}

impl Reply {
    fn status(&self) -> &str {
        self.head.strip_prefix("http/1.1 ").and_then(|rest| rest.get(..3)).unwrap_or("none")
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

async fn listen(
    metrics: &Arc<Metrics>,
    intake: Intake,
    serves: Serves,
) -> (SocketAddr, tokio::task::JoinHandle<std::io::Result<()>>) {
    let store = Arc::new(Store::new(metrics.clone()));
    let clock = Arc::new(|| 1_700_000_000_000_000);
    let settings = WebSettings::default();
    let web = WebState::new(store, Arc::new(Board::new()), metrics.clone(), settings, None, "1.2.3", clock);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it listens");
    let web = Arc::new(web.with_intake(intake, serves));
    (address, tokio::spawn(serve(listener, web, std::future::pending())))
}

async fn send(address: SocketAddr, head: &str, body: &[u8]) -> Reply {
    let stream = TcpStream::connect(address).await.expect("it listens");
    let head = head.replacen("\r\n", "\r\nHost: x\r\nConnection: close\r\n", 1);
    let (mut read, mut write) = stream.into_split();
    let writes = async {
        // A server that refuses need not take all.
        let _ = write.write_all(head.as_bytes()).await;
        let _ = write.write_all(body).await;
        write
    };
    let (reply, _write) = soon(async { tokio::join!(read_reply(&mut read), writes) }).await;
    reply
}

/// Reads one reply, and not further.
async fn read_reply(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Reply {
    let mut received = Vec::new();
    loop {
        if let Some(reply) = whole(&received) {
            return reply;
        }
        let length = soon(stream.read_buf(&mut received)).await.expect("the connection is in order");
        assert_ne!(length, 0, "the connection ended too early: {:?}", String::from_utf8_lossy(&received));
    }
}

/// Reads one reply, and the end of the connection after it.
async fn read_to_end(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Reply {
    let reply = read_reply(stream).await;
    let mut rest = Vec::new();
    soon(stream.read_to_end(&mut rest)).await.expect("the server ends the connection in order");
    assert_eq!(rest, b"", "nothing follows");
    reply
}

/// A reply, once all of it is there.
fn whole(received: &[u8]) -> Option<Reply> {
    let end = received.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = String::from_utf8(received[..end].to_vec()).expect("heads are ASCII").to_lowercase();
    // Only the answer to HEAD may go without.
    let length = head.split("\r\ncontent-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()).unwrap_or("0");
    let length: usize = length.parse().expect("a number");
    let body = received.get(end..end + length)?.to_vec();
    Some(Reply { head, body })
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it ends in good time")
}

fn outcomes<const N: usize>(of: [(&str, u64); N]) -> BTreeMap<String, u64> {
    of.into_iter().map(|(outcome, requests)| (outcome.to_owned(), requests)).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory takes all");
    encoder.finish().expect("memory takes all")
}
