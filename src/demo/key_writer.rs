//! Writes the demo's keys: a few commands over RESP2, the same to whichever server keeps them.
//!
//! It is a writer alone; Rowmetry reads keys through a source of its own and knows nothing of this.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::resp::wire::{Reply, read_reply, write_command};
use crate::family::Micros;

/// Time for commands to be answered: the server is on this machine and has little to do.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Names of keys in one command.
const NAMES_AT_ONCE: usize = 500;

/// Bytes that are read at once.
const READ_BYTES: usize = 16 * 1024;

/// How a key is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// It is set, and begins its time anew.
    Set,
    /// It counts up to a limit, from its first use to the end of its time, as a rate limiter's does.
    Count,
    /// It is read, and set when it was not there, as a cache does.
    Cache,
    /// It goes.
    Delete,
}

/// A key to be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyRow {
    pub(super) key: String,
    /// What it is set to, or the limit.
    pub(super) value: String,
    /// How long it lives.
    pub(super) seconds: i64,
}

/// A connection to a server.
pub(super) struct KeyWriter {
    stream: TcpStream,
    received: Vec<u8>,
}

impl KeyWriter {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens there.
    pub(super) async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(KeyWriter { stream, received: Vec::new() })
    }

    /// Connects to a database of a server, which may want a user or a password.
    ///
    /// # Errors
    /// When nobody answers there, or refuses.
    pub(super) async fn connect_to(
        host: &str,
        port: u16,
        user: &[u8],
        password: &[u8],
        database: u32,
    ) -> io::Result<Self> {
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "the keys' server does not answer");
        let stream = tokio::time::timeout(ANSWER_WITHIN, TcpStream::connect((host, port))).await.map_err(late)??;
        stream.set_nodelay(true)?;
        let mut writer = KeyWriter { stream, received: Vec::new() };
        if !user.is_empty() {
            writer.tell(&[b"AUTH", user, password]).await?;
        } else if !password.is_empty() {
            writer.tell(&[b"AUTH", password]).await?;
        }
        writer.tell(&[b"SELECT", database.to_string().as_bytes()]).await?;
        Ok(writer)
    }

    /// Writes the names of keys down in a register.
    ///
    /// # Errors
    /// When the server does not answer in time, or refuses.
    pub(super) async fn write_down(&mut self, register: &str, rows: &[KeyRow], now: Micros) -> io::Result<()> {
        let seconds = now / 1_000_000;
        let ends: Vec<String> = rows.iter().map(|row| seconds.saturating_add(row.seconds).to_string()).collect();
        for (rows, ends) in rows.chunks(NAMES_AT_ONCE).zip(ends.chunks(NAMES_AT_ONCE)) {
            let names = rows.iter().zip(ends).flat_map(|(row, end)| [end.as_bytes(), row.key.as_bytes()]);
            self.tell(&[b"ZADD".as_slice(), register.as_bytes()].into_iter().chain(names).collect::<Vec<_>>()).await?;
        }
        self.strike_out(register, now).await
    }

    /// Strikes those out of a register whose time is over: they are no keys any more, and one of that name is somebody else's.
    async fn strike_out(&mut self, register: &str, now: Micros) -> io::Result<()> {
        let over = format!("({}", now / 1_000_000);
        self.tell(&[b"ZREMRANGEBYSCORE", register.as_bytes(), b"-inf", over.as_bytes()]).await
    }

    /// Deletes the keys whose names a register holds, and it.
    ///
    /// # Errors
    /// When the server does not answer in time, or refuses.
    pub(super) async fn forget_all(&mut self, register: &str, now: Micros) -> io::Result<()> {
        self.strike_out(register, now).await?;
        let register = register.as_bytes();
        let last = (NAMES_AT_ONCE - 1).to_string();
        loop {
            let mut told = self.ask(&[&[b"ZRANGE", register, b"0", last.as_bytes()]]).await?;
            let names: Vec<Vec<u8>> = match told.pop() {
                Some(Reply::Array(names)) => names.into_iter().filter_map(text).collect(),
                Some(Reply::Error(error)) => return Err(io::Error::other(error)),
                _ => Vec::new(),
            };
            if names.is_empty() {
                return Ok(());
            }
            let names = || names.iter().map(Vec::as_slice);
            self.tell(&[b"DEL".as_slice()].into_iter().chain(names()).collect::<Vec<_>>()).await?;
            self.tell(&[b"ZREM".as_slice(), register].into_iter().chain(names()).collect::<Vec<_>>()).await?;
        }
    }

    /// Sends a command that is to succeed.
    async fn tell(&mut self, command: &[&[u8]]) -> io::Result<()> {
        match self.ask(&[command]).await?.pop() {
            Some(Reply::Error(error)) => Err(io::Error::other(error)),
            _ => Ok(()),
        }
    }

    /// Uses some keys.
    ///
    /// # Errors
    /// When the server does not answer in time, or refuses.
    pub(super) async fn use_keys(&mut self, how: Use, rows: &[KeyRow]) -> io::Result<()> {
        let replies = match how {
            Use::Set => self.set(rows.iter()).await?,
            Use::Delete => self.each(rows.iter(), |row| vec![b"DEL".to_vec(), row.key.clone().into()]).await?,
            Use::Cache => {
                let found = self.get(rows).await?;
                let missed = rows.iter().zip(&found).filter(|(_, found)| **found == Reply::Bulk(None));
                self.set(missed.map(|(row, _)| row)).await?
            }
            Use::Count => {
                let found = self.get(rows).await?;
                let counts = rows.iter().zip(found.iter().map(count));
                // What is refused at the limit is not counted.
                let open: Vec<(&KeyRow, u64)> =
                    counts.filter(|(row, count)| *count < row.value.parse().unwrap_or(0)).collect();
                let mut replies = self
                    .each(open.iter().map(|(row, _)| *row), |row| vec![b"INCR".to_vec(), row.key.clone().into()])
                    .await?;
                let new = open.iter().filter(|(_, count)| *count == 0).map(|(row, _)| *row);
                let expire =
                    |row: &KeyRow| vec![b"EXPIRE".to_vec(), row.key.clone().into(), row.seconds.to_string().into()];
                replies.extend(self.each(new, expire).await?);
                replies
            }
        };
        match replies.into_iter().find(|reply| matches!(reply, Reply::Error(_))) {
            Some(Reply::Error(error)) => Err(io::Error::other(error)),
            _ => Ok(()),
        }
    }

    /// Sends commands at once and waits for the reply of each.
    ///
    /// # Errors
    /// When they do not come in time.
    pub(super) async fn ask(&mut self, commands: &[&[&[u8]]]) -> io::Result<Vec<Reply>> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let mut sent = Vec::new();
        commands.iter().for_each(|command| write_command(&mut sent, command));
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "the keys' server does not answer");
        tokio::time::timeout(ANSWER_WITHIN, self.exchange(&sent, commands.len())).await.map_err(late)?
    }

    async fn exchange(&mut self, sent: &[u8], wanted: usize) -> io::Result<Vec<Reply>> {
        // Whatever an exchange that failed has left is of no use.
        self.received.clear();
        self.stream.write_all(sent).await?;
        let mut replies = Vec::new();
        while replies.len() < wanted {
            if let Some((reply, length)) = read_reply(&self.received).map_err(io::Error::other)? {
                self.received.drain(..length);
                replies.push(reply);
                continue;
            }
            let before = self.received.len();
            self.received.resize(before + READ_BYTES, 0);
            let count = self.stream.read(&mut self.received[before..]).await?;
            self.received.truncate(before + count);
            if count == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the keys' server is gone"));
            }
        }
        Ok(replies)
    }

    async fn get(&mut self, rows: &[KeyRow]) -> io::Result<Vec<Reply>> {
        self.each(rows.iter(), |row| vec![b"GET".to_vec(), row.key.clone().into()]).await
    }

    async fn set(&mut self, rows: impl Iterator<Item = &KeyRow>) -> io::Result<Vec<Reply>> {
        let set = |row: &KeyRow| {
            let (key, value, seconds) = (row.key.clone(), row.value.clone(), row.seconds.to_string());
            vec![b"SET".to_vec(), key.into(), value.into(), b"EX".to_vec(), seconds.into()]
        };
        self.each(rows, set).await
    }

    async fn each<'a>(
        &mut self,
        rows: impl Iterator<Item = &'a KeyRow>,
        command: impl Fn(&KeyRow) -> Vec<Vec<u8>>,
    ) -> io::Result<Vec<Reply>> {
        let commands: Vec<Vec<Vec<u8>>> = rows.map(command).collect();
        let commands: Vec<Vec<&[u8]>> =
            commands.iter().map(|parts| parts.iter().map(Vec::as_slice).collect()).collect();
        let commands: Vec<&[&[u8]]> = commands.iter().map(Vec::as_slice).collect();
        self.ask(&commands).await
    }
}

/// The bytes of a text.
fn text(reply: Reply) -> Option<Vec<u8>> {
    match reply {
        Reply::Bulk(text) => text,
        _ => None,
    }
}

/// What a counter holds; 0 where there is none.
fn count(reply: &Reply) -> u64 {
    match reply {
        Reply::Bulk(Some(text)) => std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::resp::RespServer;
    use super::*;

    fn row(key: &str, value: &str, seconds: i64) -> KeyRow {
        KeyRow { key: key.into(), value: value.into(), seconds }
    }

    async fn told(writer: &mut KeyWriter, command: &[&str]) -> Reply {
        let parts: Vec<&[u8]> = command.iter().map(|part| part.as_bytes()).collect();
        writer.ask(&[&parts]).await.expect("it answers").remove(0)
    }

    #[tokio::test]
    async fn keys_are_used_as_applications_do() {
        let server = RespServer::start(Arc::new(|| 1_800_000_000_000_000)).await.expect("it starts");
        let mut writer = KeyWriter::connect(server.address()).await.expect("it listens");
        writer.use_keys(Use::Set, &[row("a", "1", 90), row("b", "2", 60)]).await.expect("set");
        assert_eq!(told(&mut writer, &["TTL", "b"]).await, Reply::Integer(60));
        writer.use_keys(Use::Delete, &[row("b", "", 0)]).await.expect("delete");
        assert_eq!(
            told(&mut writer, &["MGET", "a", "b"]).await,
            Reply::Array(vec![Reply::text("1"), Reply::Bulk(None)])
        );
        // A cache reads first, and leaves what it found as it was.
        writer.use_keys(Use::Cache, &[row("a", "9", 30), row("c", "3", 30)]).await.expect("cache");
        assert_eq!(
            told(&mut writer, &["MGET", "a", "c"]).await,
            Reply::Array(vec![Reply::text("1"), Reply::text("3")])
        );
        assert_eq!(told(&mut writer, &["TTL", "a"]).await, Reply::Integer(90));
        // A limiter counts to its limit and no further, and its time runs from the first.
        for expected in ["1", "2", "3", "3"] {
            writer.use_keys(Use::Count, &[row("limit", "3", 120)]).await.expect("count");
            assert_eq!(told(&mut writer, &["GET", "limit"]).await, Reply::text(expected));
        }
        assert_eq!(told(&mut writer, &["TTL", "limit"]).await, Reply::Integer(120));
        let error = writer.use_keys(Use::Set, &[row("a", "1", 0)]).await.expect_err("no time is refused");
        assert!(error.to_string().contains("invalid expire time"), "{error}");
    }

    #[tokio::test]
    async fn a_server_that_is_gone_is_an_error() {
        let server = RespServer::start(Arc::new(|| 0)).await.expect("it starts");
        let mut writer = KeyWriter::connect(server.address()).await.expect("it listens");
        drop(server);
        assert!(writer.use_keys(Use::Set, &[row("a", "1", 1)]).await.is_err());
    }
}
