//! A TCP relay between a client and a server: it can be moved to another server, and it can fall silent.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What it does with bytes.
#[derive(Clone, Copy, PartialEq)]
struct Mode {
    server: SocketAddr,
    /// Connections of earlier numbers are closed.
    number: u64,
    silent: bool,
}

/// The relay; it ends when it is dropped.
pub struct Relay {
    /// Where it listens.
    pub address: SocketAddr,
    mode: Arc<watch::Sender<Mode>>,
    task: tokio::task::JoinHandle<()>,
}

impl Relay {
    /// A relay to a server.
    pub async fn to(server: SocketAddr) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let mode = Arc::new(watch::Sender::new(Mode { server, number: 0, silent: false }));
        let given = mode.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, given.subscribe()));
            }
        });
        Relay { address, mode, task }
    }

    /// Closes all connections; new ones go to another server.
    pub fn move_to(&self, server: SocketAddr) {
        self.mode.send_modify(|mode| *mode = Mode { server, number: mode.number + 1, silent: false });
    }

    /// Closes all connections.
    pub fn cut(&self) {
        self.mode.send_modify(|mode| mode.number += 1);
    }

    /// Carries nothing any more, and closes nothing.
    pub fn fall_silent(&self) {
        self.mode.send_modify(|mode| mode.silent = true);
    }

    /// Carries on.
    pub fn speak(&self) {
        self.mode.send_modify(|mode| mode.silent = false);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(client: TcpStream, mut mode: watch::Receiver<Mode>) {
    let of = *mode.borrow();
    let Ok(server) = TcpStream::connect(of.server).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let there = tokio::spawn(copy(from_client, to_server, mode.clone()));
    let back = tokio::spawn(copy(from_server, to_client, mode.clone()));
    let (stop_there, stop_back) = (there.abort_handle(), back.abort_handle());
    tokio::select! {
        _ = mode.wait_for(|now| now.number != of.number) => {}
        _ = there => {}
        _ = back => {}
    }
    stop_there.abort();
    stop_back.abort();
}

async fn copy(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut mode: watch::Receiver<Mode>,
) {
    let mut bytes = vec![0; 64 << 10];
    loop {
        let Ok(read) = from.read(&mut bytes).await else { return };
        if read == 0 || mode.wait_for(|mode| !mode.silent).await.is_err() || to.write_all(&bytes[..read]).await.is_err()
        {
            return;
        }
    }
}
