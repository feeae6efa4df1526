//! Redis over RESP: TCP, TLS and Unix sockets.
//!
//! One connection, made when it is first needed and again when it broke. Every command has a deadline, and none is repeated but
//! the one that found an idle connection closed. It only reads.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ErrorKind, FromRedisValue, IntoConnectionInfo,
    RedisConnectionInfo, RedisError, TlsCertificates,
};
use secrecy::{ExposeSecret, SecretString};
use tokio::io::AsyncReadExt;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::keyspace::refusal::Refusal;
use super::keyspace::{Keyspace, ScanPage, fields_of};
use super::spend::Spend;
use super::trace::Peer;
use crate::config::SourceSettings;
use crate::telemetry::{Failure, Reason};

/// By this name the server's operator finds us in CLIENT LIST.
const CLIENT_NAME: &str = "rowmetry";

/// A server that closes a new connection says why at once, if it does.
const LAST_WORDS_PATIENCE: Duration = Duration::from_millis(500);

/// No reason for closing a connection is longer.
const LAST_WORDS_BYTES: usize = 512;

/// Redis over RESP: TCP, TLS and Unix sockets.
pub struct RedisServer {
    name: String,
    spend: Spend,
    peer: Peer,
    client: Client,
    user: Option<String>,
    password: Option<SecretString>,
    database: i64,
    connect_timeout: Duration,
    answer_timeout: Duration,
    connection: Mutex<Option<MultiplexedConnection>>,
    epoch: AtomicU64,
    turn: Arc<Semaphore>,
    /// The connection of which it is known that its server has all keys.
    whole: AtomicU64,
}

/// Why a command brought nothing.
enum Trouble {
    /// The server refused it.
    Refused(Refusal),
    /// The connection was closed.
    Closed(Failure),
    /// Anything else.
    Failed(Failure),
}

impl RedisServer {
    /// Prepares it; nothing is connected yet.
    ///
    /// # Errors
    /// When the URL or the file of certificates cannot be understood.
    pub fn new(settings: &SourceSettings) -> Result<Self, Failure> {
        let amiss = |what: String| Failure::new(Reason::BadCredentials, what);
        let url = redis::parse_redis_url(settings.url.expose_secret());
        let url = url.ok_or_else(|| amiss("the Redis URL cannot be read".into()))?;
        if url.fragment() == Some("insecure") {
            return Err(amiss(
                "`#insecure` is not supported: name the server's own authority as `ca_file` in place of it".into(),
            ));
        }
        let info = url.into_connection_info();
        let info = info.map_err(|error| amiss(format!("the Redis URL cannot be used: {}", error.category())))?;
        let login = info.redis_settings().clone();
        // We log in ourselves: the driver would tell a full server from a wrong password no more.
        let info = info.set_redis_settings(RedisConnectionInfo::default().set_skip_set_lib_name());
        let is_tls = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
        let client = match &settings.ca_file {
            Some(file) if is_tls => {
                let pem = std::fs::read(file).map_err(|error| amiss(format!("`ca_file` cannot be read: {error}")))?;
                let certificates = TlsCertificates { client_tls: None, root_cert: Some(pem) };
                Client::build_with_tls(info, certificates)
            }
            _ => Client::open(info),
        };
        let client = client.map_err(|error| amiss(format!("`ca_file` cannot be used: {error}")))?;
        Ok(RedisServer {
            name: settings.name.clone(),
            spend: Spend::default(),
            peer: peer(client.get_connection_info().addr(), login.db()),
            client,
            user: login.username().map(str::to_owned),
            password: login.password().map(SecretString::from),
            database: login.db(),
            connect_timeout: settings.connect_timeout,
            answer_timeout: settings.statement_timeout,
            connection: Mutex::default(),
            epoch: AtomicU64::new(0),
            turn: Arc::new(Semaphore::new(1)),
            whole: AtomicU64::new(0),
        })
    }

    /// Asks, on the connection there is or a new one.
    async fn ask<T: FromRedisValue>(&self, doing: &str, command: &Cmd) -> Result<T, Trouble> {
        let held = self.connection.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let answer = match held {
            Some(mut held) => match self.send(doing, command, &mut held).await {
                // Servers, and what stands before them, close connections that were idle for long.
                Err(Trouble::Closed(_)) => self.ask_anew(doing, command).await,
                answer => answer,
            },
            None => self.ask_anew(doing, command).await,
        };
        if matches!(answer, Err(Trouble::Closed(_) | Trouble::Failed(_))) {
            self.keep(None);
        }
        answer
    }

    async fn ask_anew<T: FromRedisValue>(&self, doing: &str, command: &Cmd) -> Result<T, Trouble> {
        let mut connection = self.connect().await.map_err(Trouble::Failed)?;
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.keep(Some(connection.clone()));
        self.send(doing, command, &mut connection).await
    }

    fn keep(&self, connection: Option<MultiplexedConnection>) {
        *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = connection;
    }

    /// Sends one command and waits for its answer, but not for long.
    async fn send<T: FromRedisValue>(
        &self,
        doing: &str,
        command: &Cmd,
        connection: &mut MultiplexedConnection,
    ) -> Result<T, Trouble> {
        self.spend.add(1);
        match timeout(self.answer_timeout, command.query_async::<T>(connection)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(trouble(&error, doing)),
            Err(_) => Err(Trouble::Failed(Failure::new(
                Reason::Silent,
                format!(
                    "{doing}: no answer within {:?}; Redis or the way to it is stuck (`statement_timeout` is the limit)",
                    self.answer_timeout
                ),
            ))),
        }
    }

    /// Makes a connection and logs in.
    async fn connect(&self) -> Result<MultiplexedConnection, Failure> {
        let late = |reason, what: &str| {
            Failure::new(reason, format!("{what} within {:?} (`connect_timeout`)", self.connect_timeout))
        };
        let began = Instant::now();
        // The driver's own limits are ours already.
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let connect = self.client.get_multiplexed_async_connection_with_config(&config);
        let connection = match timeout(self.connect_timeout, connect).await {
            Err(_) => {
                let mut failure = late(Reason::Unreachable, "no connection could be made");
                if self.is_tls() {
                    failure.message.push_str("; if the server does not speak TLS write redis:// in place of rediss://");
                }
                return Err(failure);
            }
            Ok(Err(error)) => return Err(self.not_connected(&error)),
            Ok(Ok(connection)) => connection,
        };
        let left = self.connect_timeout.saturating_sub(began.elapsed());
        match timeout(left, self.log_in(connection)).await {
            Err(_) => Err(late(Reason::Silent, "connected, but Redis did not answer")),
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(Trouble::Refused(refusal))) => Err(refusal.failure("connecting")),
            Ok(Err(Trouble::Failed(failure))) => Err(failure),
            Ok(Err(Trouble::Closed(failure))) => Err(self.last_words().await.unwrap_or(failure)),
        }
    }

    async fn log_in(&self, mut connection: MultiplexedConnection) -> Result<MultiplexedConnection, Trouble> {
        let is_fatal = |trouble: Trouble, doing: &str| match trouble {
            Trouble::Refused(refusal) => Trouble::Failed(refusal.failure(doing)),
            other => other,
        };
        if let Some(password) = &self.password {
            let mut auth = redis::cmd("AUTH");
            if let Some(user) = &self.user {
                auth.arg(user);
            }
            auth.arg(password.expose_secret());
            self.send::<()>("AUTH", &auth, &mut connection).await.map_err(|trouble| is_fatal(trouble, "AUTH"))?;
        }
        if self.database != 0 {
            let mut select = redis::cmd("SELECT");
            select.arg(self.database);
            self.send::<()>("SELECT", &select, &mut connection).await.map_err(|trouble| is_fatal(trouble, "SELECT"))?;
        }
        let mut name = redis::cmd("CLIENT");
        name.arg("SETNAME").arg(CLIENT_NAME);
        match self.send::<()>("CLIENT SETNAME", &name, &mut connection).await {
            // Not every user may, and not every service knows it: it is a courtesy.
            Err(Trouble::Refused(refusal)) if !refusal.failure("").reason.is_source_wide() => Ok(connection),
            Err(trouble) => Err(is_fatal(trouble, "connecting")),
            Ok(()) => Ok(connection),
        }
    }

    fn is_tls(&self) -> bool {
        matches!(self.client.get_connection_info().addr(), ConnectionAddr::TcpTls { .. })
    }

    fn not_connected(&self, error: &RedisError) -> Failure {
        let hint = if error.is_connection_refusal() {
            "nothing listens there; look at host and port"
        } else if self.is_tls() {
            "if the server does not speak TLS write redis:// in place of rediss://; if its certificate is of an authority of \
             your own, name that as `ca_file`"
        } else {
            "look at host and port"
        };
        Failure::new(Reason::Unreachable, format!("no connection could be made: {error}; {hint}"))
    }

    /// What a server says to those whom it does not let in, before it closes the connection: then the answer may be lost on
    /// the way of our command.
    async fn last_words(&self) -> Option<Failure> {
        let mut said = Vec::new();
        let listen = async {
            match self.client.get_connection_info().addr() {
                ConnectionAddr::Tcp(host, port) => {
                    let stream = tokio::net::TcpStream::connect((host.as_str(), *port)).await.ok()?;
                    stream.take(LAST_WORDS_BYTES as u64).read_to_end(&mut said).await.ok()
                }
                ConnectionAddr::Unix(path) => {
                    let stream = tokio::net::UnixStream::connect(path).await.ok()?;
                    stream.take(LAST_WORDS_BYTES as u64).read_to_end(&mut said).await.ok()
                }
                _ => None,
            }
        };
        // It ends when the server closes the connection, and is of no use when it does not.
        let _ = timeout(LAST_WORDS_PATIENCE.min(self.connect_timeout), listen).await;
        let text = String::from_utf8_lossy(&said);
        let refusal = text.lines().next()?.strip_prefix('-')?;
        Some(Refusal::of(refusal).failure("connecting"))
    }

    /// Fails where this is one of several nodes of a cluster: a scan would see a part of the keys, and take it for all.
    async fn see_whole(&self) -> Result<(), Failure> {
        let mut command = redis::cmd("CLUSTER");
        command.arg("INFO");
        let nodes = match self.ask::<Vec<u8>>("CLUSTER INFO", &command).await {
            Ok(text) => {
                let fields = fields_of(&String::from_utf8_lossy(&text));
                fields.iter().find(|(name, _)| name == "cluster_size").and_then(|(_, size)| size.parse::<u64>().ok())
            }
            // Without a cluster it is an error, and so it is for a user who may not ask.
            Err(Trouble::Refused(_)) => None,
            Err(Trouble::Closed(failure) | Trouble::Failed(failure)) => return Err(failure),
        };
        if nodes.is_some_and(|nodes| nodes > 1) {
            return Err(Failure::new(
                Reason::BadQuery,
                "this is one node of a Redis cluster and knows a part of the keys alone, so they cannot be counted here",
            ));
        }
        self.whole.store(self.epoch(), Ordering::Release);
        Ok(())
    }
}

fn peer(address: &ConnectionAddr, database: i64) -> Peer {
    let (address, port) = match address {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
            (Some(host.clone()), Some(*port))
        }
        ConnectionAddr::Unix(path) => (Some(path.display().to_string()), None),
        _ => (None, None),
    };
    Peer { system: "redis", namespace: database.to_string(), address, port }
}

impl Trouble {
    fn failure(self, doing: &str) -> Failure {
        match self {
            Trouble::Refused(refusal) => refusal.failure(doing),
            Trouble::Closed(failure) | Trouble::Failed(failure) => failure,
        }
    }
}

fn trouble(error: &RedisError, doing: &str) -> Trouble {
    match error.kind() {
        ErrorKind::Server(_) | ErrorKind::Extension => {
            Trouble::Refused(Refusal::with(error.code().unwrap_or("ERR"), error.detail().unwrap_or_default()))
        }
        ErrorKind::Io => Trouble::Closed(Failure::new(
            Reason::Unreachable,
            format!(
                "{doing}: the connection broke: {error}; a server that speaks TLS alone wants rediss:// in the URL"
            ),
        )),
        // What could not be understood may be anything: only its kind is told.
        kind => Trouble::Failed(Failure::new(
            Reason::BadReply,
            format!(
                "{doing}: the answer is not Redis' ({kind:?}); look at host and port, and at rediss:// where it speaks TLS"
            ),
        )),
    }
}

#[async_trait]
impl Keyspace for RedisServer {
    fn name(&self) -> &str {
        &self.name
    }

    fn database(&self) -> i64 {
        self.database
    }

    fn spend(&self) -> &Spend {
        &self.spend
    }

    fn peer(&self) -> &Peer {
        &self.peer
    }

    fn turn(&self) -> &Arc<Semaphore> {
        &self.turn
    }

    fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    async fn scan(&self, cursor: &str, matching: &str, count: u32) -> Result<ScanPage, Failure> {
        if cursor == "0" && (self.epoch() == 0 || self.whole.load(Ordering::Acquire) != self.epoch()) {
            self.see_whole().await?;
        }
        let mut command = redis::cmd("SCAN");
        command.arg(cursor).arg("MATCH").arg(matching).arg("COUNT").arg(count);
        let (cursor, keys) = self.ask("SCAN", &command).await.map_err(|trouble| trouble.failure("SCAN"))?;
        Ok(ScanPage { cursor, keys })
    }

    async fn numbers(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<u64>>, Failure> {
        let mut command = redis::cmd("MGET");
        command.arg(keys);
        let values: Vec<Option<Vec<u8>>> =
            self.ask("MGET", &command).await.map_err(|trouble| trouble.failure("MGET"))?;
        let number = |value: Option<Vec<u8>>| std::str::from_utf8(&value?).ok()?.parse().ok();
        Ok(values.into_iter().map(number).collect())
    }

    async fn size(&self) -> Result<u64, Failure> {
        self.ask("DBSIZE", &redis::cmd("DBSIZE")).await.map_err(|trouble| trouble.failure("DBSIZE"))
    }

    async fn info(&self, sections: &[String]) -> Result<Vec<(String, String)>, Failure> {
        let mut fields = Vec::new();
        // Several at once are understood from Redis 7 on; none means the usual ones.
        let each = sections.iter().map(|section| Some(section.as_str()));
        for section in each.chain(sections.is_empty().then_some(None)) {
            let mut command = redis::cmd("INFO");
            command.arg(section);
            match self.ask::<Vec<u8>>("INFO", &command).await {
                Ok(text) => fields.extend(fields_of(&String::from_utf8_lossy(&text))),
                Err(Trouble::Refused(refusal)) if refusal.is_unsupported() => {}
                Err(trouble) => return Err(trouble.failure("INFO")),
            }
        }
        Ok(fields)
    }

    async fn ping(&self) -> Result<f64, Failure> {
        let ping = redis::cmd("PING");
        let epoch = self.epoch();
        let mut began = Instant::now();
        let mut answer = self.ask::<redis::Value>("PING", &ping).await;
        if answer.is_ok() && self.epoch() != epoch {
            // The time that it took to connect is none of Redis' own.
            began = Instant::now();
            answer = self.ask("PING", &ping).await;
        }
        answer.map(|_| began.elapsed().as_secs_f64()).map_err(|trouble| trouble.failure("PING"))
    }
}

#[cfg(test)]
mod tests;
