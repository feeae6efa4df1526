//! A server of keys within the program, for machines where no `redis-server` is installed: RESP2 and the few commands that
//! the demo writes with and Rowmetry reads with.
//!
//! It stands in for Redis in the demo alone, never in a test of what reads Redis. It is bounded in clients, keys and bytes.

mod command;
mod glob;
mod keyspace;
pub(super) mod wire;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::{Clock, clients};
use command::Server;
use wire::{Reply, read_command};

/// Clients at a time: the demo, Rowmetry, and whoever looks on.
const CLIENTS: usize = 32;

/// Bytes that a client may send before they make a command: as long as the longest that the demo sends, with room.
const COMMAND_BYTES: usize = 1024 * 1024;

/// Bytes that are read at once.
const READ_BYTES: usize = 16 * 1024;

/// A server on a free loopback port. It ends when this is dropped.
pub(super) struct RespServer {
    address: SocketAddr,
    listening: JoinHandle<()>,
}

impl RespServer {
    /// Starts it.
    ///
    /// # Errors
    /// When no loopback port can be listened at.
    pub(super) async fn start(clock: Clock) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let server = Arc::new(Mutex::new(Server::new(clock())));
        let listening = tokio::spawn(listen(listener, server, clock));
        Ok(RespServer { address, listening })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for RespServer {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// Accepts clients. Those that are served end with it.
async fn listen(listener: TcpListener, server: Arc<Mutex<Server>>, clock: Clock) {
    let serve = |stream| {
        let (server, clock) = (Arc::clone(&server), Arc::clone(&clock));
        async move {
            lock(&server).client_came();
            // A client that goes away in the middle of something is no matter.
            let _ = serve(stream, &server, &clock).await;
            lock(&server).client_went();
        }
    };
    clients::serve_each(listener, CLIENTS, serve).await;
}

async fn serve(mut stream: TcpStream, server: &Mutex<Server>, clock: &Clock) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut received, mut replies) = (Vec::new(), Vec::new());
    loop {
        let mut done = 0;
        loop {
            match read_command(&received[done..]) {
                Ok(Some((command, length))) => {
                    done += length;
                    lock(server).answer(&command, clock()).write(&mut replies);
                }
                Ok(None) => break,
                Err(error) => {
                    Reply::Error(format!("ERR {error}")).write(&mut replies);
                    return stream.write_all(&replies).await;
                }
            }
        }
        received.drain(..done);
        stream.write_all(&replies).await?;
        replies.clear();
        if received.len() > COMMAND_BYTES {
            return Ok(());
        }
        let before = received.len();
        received.resize(before + READ_BYTES, 0);
        let count = stream.read(&mut received[before..]).await?;
        received.truncate(before + count);
        if count == 0 {
            return Ok(());
        }
    }
}

fn lock(server: &Mutex<Server>) -> std::sync::MutexGuard<'_, Server> {
    server.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
