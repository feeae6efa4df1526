//! An HTTP server that answers as it is told, however bad the answer is, over TCP or TLS, and remembers what it was asked.
//!
//! It is written by hand because no server library sends what is wrong on purpose.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustls::{ServerConnection, StreamOwned};

use super::guard::free_port;

/// Time between two pieces of a slow answer.
const PACE: Duration = Duration::from_millis(50);

/// A connection, whatever carries it.
pub trait Wire: Read + Write {}
impl<T: Read + Write> Wire for T {}

/// What the server does with a request; when it returns, the connection ends.
pub type Act = Arc<dyn Fn(&str, &mut dyn Wire) + Send + Sync>;

/// One request.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The head, as it came.
    pub head: String,
    /// When it had come.
    pub at: Instant,
}

#[derive(Default)]
struct Log {
    asked: Mutex<Vec<Asked>>,
    open: AtomicUsize,
    most_open: AtomicUsize,
}

/// The server. It ends when it is dropped, and can be stopped and started again.
pub struct Hostile {
    /// Where it listens.
    pub address: SocketAddr,
    act: Arc<Mutex<Act>>,
    tls: Option<Arc<rustls::ServerConfig>>,
    log: Arc<Log>,
    running: Mutex<Option<(Arc<AtomicBool>, JoinHandle<()>)>>,
}

impl Hostile {
    /// A server that speaks plain HTTP.
    pub fn plain(act: Act) -> Hostile {
        Hostile::new(act, None)
    }

    /// A server that speaks TLS.
    pub fn tls(act: Act, config: rustls::ServerConfig) -> Hostile {
        Hostile::new(act, Some(Arc::new(config)))
    }

    fn new(act: Act, tls: Option<Arc<rustls::ServerConfig>>) -> Hostile {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let act = Arc::new(Mutex::new(act));
        let server = Hostile { address, act, tls, log: Arc::default(), running: Mutex::default() };
        server.start();
        server
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://localhost:{}{path}", self.address.port())
    }

    /// From now on requests are answered so.
    pub fn acts(&self, act: Act) {
        *self.act.lock().unwrap_or_else(PoisonError::into_inner) = act;
    }

    /// What it was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.log.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The most connections that were open at a time. A client may have its answer and connect again before the last is closed.
    pub fn most_open(&self) -> usize {
        self.log.most_open.load(Ordering::SeqCst)
    }

    /// Listens again.
    pub fn start(&self) {
        let listener = TcpListener::bind(self.address).expect("the port is ours");
        let stopped = Arc::new(AtomicBool::new(false));
        let (stop, act, tls, log) = (stopped.clone(), self.act.clone(), self.tls.clone(), self.log.clone());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let act = act.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let (tls, log) = (tls.clone(), log.clone());
                std::thread::spawn(move || {
                    let open = log.open.fetch_add(1, Ordering::SeqCst) + 1;
                    log.most_open.fetch_max(open, Ordering::SeqCst);
                    serve(stream, tls, &act, &log);
                    log.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some((stopped, thread));
    }

    /// Listens no more.
    pub fn stop(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((stopped, thread)) = running {
            stopped.store(true, Ordering::SeqCst);
            // The listener waits for a connection.
            drop(TcpStream::connect(self.address));
            thread.join().expect("the listener does not panic");
        }
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.stop();
    }
}

fn serve(stream: TcpStream, tls: Option<Arc<rustls::ServerConfig>>, act: &Act, log: &Log) {
    stream.set_read_timeout(Some(PACE)).expect("it is a socket");
    let mut wire: Box<dyn Wire> = match tls {
        None => Box::new(stream),
        Some(config) => {
            Box::new(StreamOwned::new(ServerConnection::new(config).expect("the configuration is good"), stream))
        }
    };
    let Some(head) = head(&mut *wire) else { return };
    let asked = Asked { head: head.clone(), at: Instant::now() };
    log.asked.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
    act(&head, &mut *wire);
}

fn head(wire: &mut dyn Wire) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match wire.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            Err(error) if is_early(&error) && head.first().is_none_or(u8::is_ascii_uppercase) => {}
            // What is no request gets an answer too, once it has come.
            Err(error) if is_early(&error) => {
                let _ = wire.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
                return None;
            }
            _ => return None,
        }
    }
    String::from_utf8(head).ok()
}

fn is_early(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Waits for a moment; false when the other side has gone.
fn pace(wire: &mut dyn Wire) -> bool {
    let mut byte = [0];
    match wire.read(&mut byte) {
        Ok(read) => read > 0,
        Err(error) => is_early(&error),
    }
}

/// Sends just this.
pub fn raw(bytes: impl Into<Vec<u8>>) -> Act {
    let bytes = bytes.into();
    Arc::new(move |_, wire| {
        // The other side may well have had enough before the end.
        let _ = wire.write_all(&bytes).and_then(|()| wire.flush());
    })
}

/// A whole answer: status line, further head lines, body.
pub fn answer(status: &str, head: &str, body: impl AsRef<[u8]>) -> Act {
    raw(bytes(status, head, body))
}

/// The bytes of a whole answer.
pub fn bytes(status: &str, head: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut bytes = format!("HTTP/1.1 {status}\r\n{head}Content-Length: {}\r\n\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// A JSON answer.
pub fn json(status: &str, body: &str) -> Act {
    answer(status, "Content-Type: application/json\r\n", body)
}

/// Sends the beginning, then a byte at a time of what never ends.
pub fn drip(beginning: &str) -> Act {
    let beginning = beginning.to_owned();
    Arc::new(move |_, wire| {
        if wire.write_all(beginning.as_bytes()).and_then(|()| wire.flush()).is_err() {
            return;
        }
        while pace(wire) && (beginning.is_empty() || wire.write_all(b" ").and_then(|()| wire.flush()).is_ok()) {}
    })
}

/// How many requests wait for their answers.
#[derive(Default)]
pub struct Waiting {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Waiting {
    /// The most at a time.
    pub fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

/// Answers after a moment.
pub fn slowly(act: Act, waiting: Arc<Waiting>) -> Act {
    Arc::new(move |head, wire| {
        let now = waiting.now.fetch_add(1, Ordering::SeqCst) + 1;
        waiting.most.fetch_max(now, Ordering::SeqCst);
        let waits = pace(wire) && pace(wire);
        waiting.now.fetch_sub(1, Ordering::SeqCst);
        if waits {
            act(head, wire);
        }
    })
}
