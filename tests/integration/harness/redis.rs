//! Real Redis servers, each private to its test, on a free port and a Unix socket. Nothing is written to disk.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::{Client, Connection, FromRedisValue};

use super::certificates::Authority;
use super::guard::{self, Folder, Process};
use super::program;

/// Time that a server has to start or stop, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The tests' own password, where a server has one.
pub const PASSWORD: &str = "s3cret-of-the-tests";

/// A Redis server.
pub struct Redis {
    folder: Folder,
    port: u16,
    arguments: Vec<String>,
    server: Mutex<Option<Process>>,
}

impl Redis {
    /// A running server without password.
    pub fn new() -> Redis {
        Redis::with(&[])
    }

    /// A running server with further arguments (`--requirepass`, `x`).
    pub fn with(arguments: &[&str]) -> Redis {
        let redis = Redis {
            folder: Folder::new("redis"),
            port: guard::free_port(),
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            server: Mutex::default(),
        };
        redis.start();
        redis
    }

    /// A running server that speaks TLS alone, with a certificate for `localhost` of this authority.
    pub fn tls(authority: &Authority) -> Redis {
        authority.server("localhost", "20991231235959Z");
        let file = |name: &str| authority.file().with_file_name(name).display().to_string();
        let port = guard::free_port();
        let redis = Redis {
            folder: Folder::new("redis"),
            port,
            arguments: ["--tls-port", &port.to_string(), "--tls-auth-clients", "no"]
                .into_iter()
                .map(str::to_owned)
                .chain(["--tls-cert-file".into(), file("server.pem"), "--tls-key-file".into(), file("server.key")])
                .collect(),
            server: Mutex::default(),
        };
        redis.start();
        redis
    }

    /// Starts the server, empty, and waits until it answers.
    pub fn start(&self) {
        let mut server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(server.is_none(), "the server runs already");
        let mut command = guard::command_as(None, program("redis-server"), self.folder.path());
        let is_tls = self.arguments.iter().any(|argument| argument == "--tls-port");
        let port = if is_tls { 0 } else { self.port };
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--enable-debug-command", "yes"]);
        command.args(["--port", &port.to_string(), "--unixsocket", &self.socket().display().to_string()]);
        command.args(&self.arguments);
        let log = self.folder.path().join("redis.log");
        let process = Process::start(command, &log);
        let began = Instant::now();
        while Client::open(self.socket_url(0)).and_then(|client| client.get_connection()).is_err() {
            let text = || std::fs::read_to_string(&log).unwrap_or_default();
            assert!(process.ended().is_none(), "redis-server ended: {}", text());
            assert!(began.elapsed() < PATIENCE, "redis-server does not answer: {}", text());
        }
        *server = Some(process);
    }

    /// Stops the server; its clients lose their connections, and what it held is gone.
    pub fn stop(&self) {
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner).take().expect("the server runs");
        server.signal("TERM");
        assert!(server.wait(PATIENCE).is_some(), "redis-server does not stop");
    }

    /// Sends the server's process a signal by name.
    pub fn signal(&self, name: &str) {
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        server.as_ref().expect("the server runs").signal(name);
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// Its URL for a user.
    pub fn url_of(&self, user: &str, password: &str) -> String {
        format!("redis://{user}:{password}@{}", self.address())
    }

    /// The URL of its Unix socket, for a logical database.
    pub fn socket_url(&self, database: u8) -> String {
        let password = if self.arguments.iter().any(|argument| argument == "--requirepass") { PASSWORD } else { "" };
        let password = if password.is_empty() { String::new() } else { format!("&pass={password}") };
        format!("redis+unix://{}?db={database}{password}", self.socket().display())
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    /// A connection for the test's own use, with every right.
    pub fn connection(&self) -> Connection {
        let client = Client::open(self.socket_url(0)).expect("it is a good URL");
        client.get_connection().expect("the server runs")
    }

    /// Runs one command, its words parted by spaces.
    pub fn run(&self, command: &str) {
        let _: redis::Value = self.ask(command);
    }

    /// Runs one command and gives its answer.
    pub fn ask<T: FromRedisValue>(&self, command: &str) -> T {
        let mut words = command.split(' ');
        let mut built = redis::cmd(words.next().unwrap_or_default());
        words.for_each(|word| {
            built.arg(word);
        });
        built.query(&mut self.connection()).unwrap_or_else(|e| panic!("{command}: {e}"))
    }

    /// Sets keys, all to the same value.
    pub fn set(&self, keys: impl IntoIterator<Item = String>, value: &str) {
        let mut pipeline = redis::pipe();
        for key in keys {
            pipeline.set(key, value).ignore();
        }
        pipeline.exec(&mut self.connection()).expect("the server runs");
    }

    /// Sets one key for so many seconds.
    pub fn set_for(&self, key: &str, value: &str, seconds: u64) {
        let mut command = redis::cmd("SET");
        command.arg(key).arg(value).arg("EX").arg(seconds);
        command.exec(&mut self.connection()).unwrap_or_else(|e| panic!("SET {key}: {e}"));
    }

    /// Makes so many other keys.
    pub fn populate(&self, keys: usize, prefix: &str) {
        self.run(&format!("DEBUG POPULATE {keys} {prefix} 8"));
    }

    /// What the server counted of each command: calls, and microseconds of one on average.
    pub fn commands(&self) -> BTreeMap<String, (u64, f64)> {
        let text: String = self.ask("INFO commandstats");
        let lines = text.lines().filter_map(|line| line.strip_prefix("cmdstat_")?.split_once(':'));
        let part = |parts: &str, name: &str| -> f64 {
            let found = parts.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
            found.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {parts}"))
        };
        lines
            .map(|(name, parts)| (name.to_owned(), (part(parts, "calls") as u64, part(parts, "usec_per_call"))))
            .collect()
    }

    /// Microseconds of one command at some percentiles, in the server's own words (`p50=…,p99=…,p99.9=…`).
    pub fn percentiles(&self, command: &str) -> String {
        let text: String = self.ask("INFO latencystats");
        let start = format!("latency_percentiles_usec_{command}:");
        let told = text.lines().find_map(|line| line.strip_prefix(start.as_str()));
        told.unwrap_or_else(|| panic!("no {start} in {text}")).trim().to_owned()
    }

    /// How often a command was run.
    pub fn calls(&self, command: &str) -> u64 {
        self.commands().get(command).map_or(0, |(calls, _)| *calls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_runs_and_counts_its_commands() {
        let redis = Redis::with(&["--requirepass", PASSWORD]);
        redis.populate(1000, "other");
        redis.set((0..5).map(|n| format!("online:a:{n}")), "x");
        assert_eq!(redis.ask::<u64>("DBSIZE"), 1005);
        assert_eq!(redis.calls("set"), 5);
        assert!(redis.percentiles("set").starts_with("p50="));
        redis.stop();
        redis.start();
        assert_eq!(redis.ask::<u64>("DBSIZE"), 0);
    }
}
