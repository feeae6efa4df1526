//! Where an application's keys are: on a server of the demo's own, which ends it when it is gone, or on one that was given, which
//! is waited for.
//!
//! On a server that was given it touches no key but those whose names it wrote down there itself, in one sorted set.

use std::io;
use std::path::Path;

use secrecy::{ExposeSecret as _, SecretString};

use super::away::Away;
use super::key_server::{Kept, KeyServer};
use super::key_writer::{KeyRow, KeyWriter, Use};
use super::{Clock, DemoError};

/// What the names of the sorted sets begin with, each of which holds the names of one application's keys.
const REGISTER: &str = "rowmetry_demo:keys:";

/// An application's keys.
pub(super) enum KeyStore {
    /// On a server of the demo's own.
    Own(KeyWriter, KeyServer),
    /// On a server that was given.
    Given(Box<Given>),
}

/// A server that was given.
pub(super) struct Given {
    target: Target,
    register: String,
    clock: Clock,
    writer: Option<KeyWriter>,
    is_cleared: bool,
    server: Away,
}

/// A Redis and a database of it.
#[derive(Clone)]
struct Target {
    url: url::Url,
    host: String,
    port: u16,
    user: Vec<u8>,
    password: Vec<u8>,
    database: u32,
}

impl KeyStore {
    /// Starts a server of the demo's own.
    ///
    /// # Errors
    /// When no loopback port can be listened at.
    pub(super) async fn own(kept: Kept, folder: &Path, app: &str, clock: Clock) -> io::Result<Self> {
        let server = KeyServer::start(kept, folder, app, clock).await?;
        Ok(KeyStore::Own(KeyWriter::connect(server.address()).await?, server))
    }

    /// Uses a server that was given: the database of its URL, or the one so many behind it. What an earlier demo left there is removed
    /// once it answers.
    ///
    /// # Errors
    /// When the URL cannot be understood.
    pub(super) fn given(url: &SecretString, app: &str, offset: u32, clock: Clock) -> Result<Self, DemoError> {
        let target = Target::read(url, offset)?;
        let server = Away::new(format!("keys of {app}"));
        Ok(KeyStore::Given(Box::new(Given {
            target,
            register: format!("{REGISTER}{app}"),
            clock,
            writer: None,
            is_cleared: false,
            server,
        })))
    }

    /// Where the keys are, as a source's `url`.
    pub(super) fn url(&self) -> String {
        match self {
            KeyStore::Own(_, server) => format!("redis://{}", server.address()),
            KeyStore::Given(given) => given.target.url.to_string(),
        }
    }

    /// Uses some keys. On a server that was given and is away, nothing happens.
    ///
    /// # Errors
    /// When a server of the demo's own is gone, or refuses.
    pub(super) async fn use_keys(&mut self, how: Use, rows: &[KeyRow]) -> io::Result<()> {
        match self {
            KeyStore::Own(writer, _) => writer.use_keys(how, rows).await,
            KeyStore::Given(given) => {
                given.use_keys(how, rows).await;
                Ok(())
            }
        }
    }

    /// The connection to a server of the demo's own.
    #[cfg(test)]
    pub(super) fn writer(&mut self) -> &mut KeyWriter {
        match self {
            KeyStore::Own(writer, _) => writer,
            KeyStore::Given(_) => panic!("it was given"),
        }
    }
}

impl Given {
    async fn use_keys(&mut self, how: Use, rows: &[KeyRow]) {
        if self.writer.is_none() && !self.server.is_to_be_asked() {
            return;
        }
        match self.try_to(how, rows).await {
            Ok(()) => self.server.is_back(),
            Err(error) => {
                self.writer = None;
                self.server.is_away(&error);
            }
        }
    }

    async fn try_to(&mut self, how: Use, rows: &[KeyRow]) -> io::Result<()> {
        let Given { target, register, clock, writer, is_cleared, .. } = self;
        let writer = match writer {
            Some(writer) => writer,
            None => {
                let (user, password) = (&target.user, &target.password);
                let connected = KeyWriter::connect_to(&target.host, target.port, user, password, target.database);
                let mut connected = connected.await?;
                if !*is_cleared {
                    connected.forget_all(register, clock()).await?;
                    *is_cleared = true;
                }
                writer.insert(connected)
            }
        };
        writer.write_down(register, rows, clock()).await?;
        writer.use_keys(how, rows).await
    }
}

impl Target {
    fn read(url: &SecretString, offset: u32) -> Result<Self, DemoError> {
        let wrong = |reason: &str| DemoError::Url { option: "--redis-url", reason: reason.to_owned() };
        let mut url = url::Url::parse(url.expose_secret())
            .map_err(|_| wrong("it cannot be read; write redis://:password@host:6379/0"))?;
        if url.scheme() != "redis" {
            return Err(wrong("the traffic speaks to Redis without TLS alone; write redis://…"));
        }
        let first = match url.path().trim_matches('/') {
            "" => 0,
            number => number.parse::<u32>().map_err(|_| wrong("its path is the number of a database, such as /0"))?,
        };
        let database = first.saturating_add(offset);
        url.set_path(&database.to_string());
        let decoded = |part: &str| percent_encoding::percent_decode_str(part).collect::<Vec<u8>>();
        Ok(Target {
            host: url.host_str().unwrap_or("localhost").trim_matches(['[', ']']).to_owned(),
            port: url.port().unwrap_or(6379),
            user: decoded(url.username()),
            password: decoded(url.password().unwrap_or_default()),
            database,
            url,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_application_has_a_database_of_its_own() {
        let target = |url: &str, offset| Target::read(&url.to_owned().into(), offset);
        let told = target("redis://ana:s%20x@redis.example:6380/3", 2).expect("it is right");
        assert_eq!(
            (told.host.as_str(), told.port, told.user.as_slice(), told.password.as_slice(), told.database),
            ("redis.example", 6380, b"ana".as_slice(), b"s x".as_slice(), 5)
        );
        assert_eq!(told.url.as_str(), "redis://ana:s%20x@redis.example:6380/5");
        assert_eq!(target("redis://[::1]", 0).expect("it is right").host, "::1");
        for wrong in ["rediss://a", "redis://a/x", "a"] {
            assert!(target(wrong, 0).is_err(), "{wrong}");
        }
    }
}
