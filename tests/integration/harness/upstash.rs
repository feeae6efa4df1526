//! Upstash's REST as its documentation has it, in front of a real Redis: the one part that nobody can install.
//!
//! It takes the documented requests and no others, so that a client which asks otherwise fails. It can also misbehave.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use super::redis::Redis;

/// The token that is accepted.
pub const TOKEN: &str = "AYNgASQgYzI5-of-the-tests=";

/// Time between two bytes of an answer that comes slowly.
const DRIBBLE: Duration = Duration::from_millis(20);

/// How it answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Mood {
    /// As documented.
    Well,
    /// As documented, but texts are never encoded.
    Plain,
    /// With this status and body, whatever is asked.
    Says(u16, String),
    /// With half of an answer.
    Cut,
    /// One byte after the other.
    Slow,
    /// Never.
    Silent,
    /// With more than anybody wants to read.
    Huge,
    /// It closes each connection after its answer, and says nothing of it.
    Closing,
}

struct Inner {
    redis: redis::Client,
    tls: Option<Arc<rustls::ServerConfig>>,
    mood: Mutex<Mood>,
    /// Commands that are not available.
    missing: Vec<String>,
    commands: Mutex<Vec<String>>,
}

/// The stand-in; its threads end with the test run.
pub struct Upstash {
    /// Where it listens.
    pub address: SocketAddr,
    inner: Arc<Inner>,
}

impl Upstash {
    /// In front of a Redis; these commands are not available.
    pub fn before(redis: &Redis, missing: &[&str]) -> Upstash {
        Upstash::new(&redis.socket_url(0), missing, None)
    }

    /// In front of a Redis as this URL knows it, over TLS where there is a certificate.
    pub fn new(url: &str, missing: &[&str], tls: Option<rustls::ServerConfig>) -> Upstash {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let inner = Arc::new(Inner {
            redis: redis::Client::open(url).expect("it is a good URL"),
            tls: tls.map(Arc::new),
            mood: Mutex::new(Mood::Well),
            missing: missing.iter().map(|command| (*command).to_owned()).collect(),
            commands: Mutex::default(),
        });
        let given = inner.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let inner = given.clone();
                std::thread::spawn(move || inner.serve(client));
            }
        });
        Upstash { address, inner }
    }

    /// From now on it answers like this.
    pub fn mood(&self, mood: Mood) {
        *self.inner.mood.lock().unwrap_or_else(PoisonError::into_inner) = mood;
    }

    /// The commands that it was asked for, in their order: the first word of each.
    pub fn commands(&self) -> Vec<String> {
        self.inner.commands.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// One request.
struct Request {
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Inner {
    fn serve(&self, client: TcpStream) {
        match &self.tls {
            None => self.converse(client),
            Some(config) => {
                let connection = rustls::ServerConnection::new(config.clone()).expect("the configuration is good");
                self.converse(rustls::StreamOwned::new(connection, client));
            }
        }
    }

    /// Answers one request after the other, until the client is gone.
    fn converse(&self, stream: impl Read + Write) {
        let mut stream = BufReader::new(stream);
        while let Some(request) = read(&mut stream) {
            let mood = self.mood.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let (status, body) = match &mood {
                Mood::Says(status, body) => (*status, body.clone()),
                mood => {
                    let (status, body) = self.answer(&request, *mood == Mood::Plain);
                    (status, body.to_string())
                }
            };
            let length = if mood == Mood::Huge { 64 << 20 } else { body.len() };
            let head =
                format!("HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n");
            let out = stream.get_mut();
            let whole = format!("{head}{body}");
            let sent = match mood {
                Mood::Silent => return drop(stream.read_to_end(&mut Vec::new())),
                Mood::Cut => {
                    let _ = out.write_all(&whole.as_bytes()[..head.len() + body.len() / 2]).and_then(|()| out.flush());
                    return;
                }
                Mood::Slow => whole.as_bytes().iter().try_for_each(|byte| {
                    std::thread::park_timeout(DRIBBLE);
                    out.write_all(&[*byte]).and_then(|()| out.flush())
                }),
                Mood::Huge => out.write_all(head.as_bytes()).and_then(|()| {
                    let much = [b' '; 1 << 16];
                    (0..length / much.len()).try_for_each(|_| out.write_all(&much))
                }),
                _ => out.write_all(whole.as_bytes()).and_then(|()| out.flush()),
            };
            if sent.is_err() || mood == Mood::Closing {
                return;
            }
        }
    }

    fn answer(&self, request: &Request, plain: bool) -> (u16, Value) {
        let header =
            |name: &str| request.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value);
        if header("authorization") != format!("Bearer {TOKEN}") {
            return (401, json!({"error": "WRONGPASS invalid or missing auth token"}));
        }
        let encoded = header("upstash-encoding") == "base64" && !plain;
        let Ok(body) = serde_json::from_slice::<Value>(&request.body) else {
            return (400, json!({"error": "ERR failed to parse command"}));
        };
        match (request.path.as_str(), body.as_array()) {
            ("/", Some(command)) => match self.run(command, encoded) {
                Ok(result) => (200, json!({ "result": result })),
                Err(error) => (400, json!({ "error": error })),
            },
            ("/pipeline", Some(commands)) => {
                let answers = commands.iter().map(|command| {
                    let run = command.as_array().ok_or("ERR failed to parse pipeline request".to_owned());
                    match run.and_then(|command| self.run(command, encoded)) {
                        Ok(result) => json!({ "result": result }),
                        Err(error) => json!({ "error": error }),
                    }
                });
                (200, answers.collect())
            }
            _ => (400, json!({"error": "ERR failed to parse command"})),
        }
    }

    fn run(&self, command: &[Value], encoded: bool) -> Result<Value, String> {
        let word = |word: &Value| word.as_str().map_or_else(|| word.to_string(), str::to_owned);
        let words: Vec<String> = command.iter().map(word).collect();
        let name = words.first().ok_or("ERR empty command")?.to_uppercase();
        self.commands.lock().unwrap_or_else(PoisonError::into_inner).push(name.clone());
        if self.missing.contains(&name) {
            return Err(format!(
                "ERR Command is not available: '{name}'. See https://upstash.com/docs/redis/overall/rediscompatibility for details"
            ));
        }
        let mut asked = redis::cmd(&name);
        words[1..].iter().for_each(|word| {
            asked.arg(word);
        });
        let answer = self.redis.get_connection().and_then(|mut connection| asked.query(&mut connection));
        answer
            .map(|answer| told(&answer, encoded))
            .map_err(|e| format!("{} {}", e.code().unwrap_or("ERR"), e.detail().unwrap_or_default()))
    }
}

fn told(answer: &redis::Value, encoded: bool) -> Value {
    let text = |bytes: &[u8]| {
        if encoded { Value::String(base64(bytes)) } else { Value::String(String::from_utf8_lossy(bytes).into_owned()) }
    };
    match answer {
        redis::Value::Nil => Value::Null,
        redis::Value::Int(number) => json!(number),
        redis::Value::Okay => json!("OK"),
        redis::Value::BulkString(bytes) => text(bytes),
        redis::Value::SimpleString(simple) => text(simple.as_bytes()),
        redis::Value::Array(items) => items.iter().map(|item| told(item, encoded)).collect(),
        other => panic!("no answer of RESP2: {other:?}"),
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for digit in 0..4 {
            let shown = digit <= three.len();
            text.push(if shown { DIGITS[(bits >> (18 - 6 * digit) & 63) as usize] as char } else { '=' });
        }
    }
    text
}

/// The next request; none when the client is gone, or asks otherwise than documented.
fn read(stream: &mut BufReader<impl Read>) -> Option<Request> {
    let mut line = || {
        let mut text = String::new();
        stream.read_line(&mut text).ok().filter(|length| *length > 0).map(|_| text.trim_end().to_owned())
    };
    let first = line()?;
    let path = first.strip_prefix("POST ")?.strip_suffix(" HTTP/1.1")?.to_owned();
    let mut headers = Vec::new();
    loop {
        let header = line()?;
        let Some((name, value)) = header.split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length")?.1.parse().ok()?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(Request { path, headers, body })
}
