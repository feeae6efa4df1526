//! The receiver's thread: its listeners, its connections and their TLS.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, oneshot};
use tokio_rustls::TlsAcceptor;

use super::record::{Record, Transport};
use super::{grpc, http};

/// Times that a port is asked for, and the pause between them.
const LOOKS: u32 = 100;
const LOOK: Duration = Duration::from_millis(10);

/// TLS for each transport: they differ in the protocol that they agree on.
#[derive(Clone)]
pub struct Tls {
    http: TlsAcceptor,
    grpc: TlsAcceptor,
}

impl Tls {
    /// From a configuration without protocols.
    pub fn new(config: rustls::ServerConfig) -> Tls {
        let speaking = |protocol: &str| {
            let mut config = config.clone();
            config.alpn_protocols = vec![protocol.into()];
            TlsAcceptor::from(Arc::new(config))
        };
        Tls { http: speaking("http/1.1"), grpc: speaking("h2") }
    }
}

/// The thread.
pub struct Running {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Running {
    /// Listens at both addresses when it returns.
    pub fn start(http: SocketAddr, grpc: SocketAddr, tls: Option<Tls>, record: &Arc<Record>) -> Running {
        let listeners = [http, grpc].map(|address| {
            let listener = bind(address);
            listener.set_nonblocking(true).expect("it is a socket");
            listener
        });
        let (stop, stopped) = oneshot::channel();
        let record = record.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("it is small");
            runtime.block_on(async {
                let [http, grpc] =
                    listeners.map(|listener| tokio::net::TcpListener::from_std(listener).expect("this is the runtime"));
                let (http_tls, grpc_tls) = tls.map(|tls| (tls.http, tls.grpc)).unzip();
                tokio::select! {
                    _ = stopped => {}
                    () = accept(http, Transport::Http, http_tls, &record) => {}
                    () = accept(grpc, Transport::Grpc, grpc_tls, &record) => {}
                }
            });
            // The runtime ends here, and with it every connection and every request that hangs.
        });
        Running { stop, thread }
    }

    /// Listens no more, and no connection is open, when it returns.
    pub fn end(self) {
        drop(self.stop);
        self.thread.join().expect("the receiver does not panic");
    }
}

/// Another test may look for a moment whether the port is free.
fn bind(address: SocketAddr) -> TcpListener {
    for _ in 0..LOOKS {
        if let Ok(listener) = TcpListener::bind(address) {
            return listener;
        }
        std::thread::park_timeout(LOOK);
    }
    panic!("port {} is taken", address.port());
}

async fn accept(
    listener: tokio::net::TcpListener,
    transport: Transport,
    tls: Option<TlsAcceptor>,
    record: &Arc<Record>,
) {
    loop {
        let (stream, _) = listener.accept().await.expect("there are files left for a connection");
        // An answer that waits for the client's acknowledgement would be the receiver's time in a bench.
        stream.set_nodelay(true).expect("it is a socket");
        let (tls, record) = (tls.clone(), record.clone());
        tokio::spawn(async move {
            match tls {
                None => converse(stream, transport, record).await,
                Some(tls) => {
                    // Who cannot agree with us is gone; that is what tests of bad certificates are about.
                    if let Ok(stream) = tls.accept(stream).await {
                        converse(stream, transport, record).await;
                    }
                }
            }
        });
    }
}

/// Answers until the client is gone, or a request says that the connection ends.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    transport: Transport,
    record: Arc<Record>,
) {
    let cut = Arc::new(Notify::new());
    let io = TokioIo::new(stream);
    let given = cut.clone();
    match transport {
        Transport::Http => {
            let service = service_fn(move |request| http::answer(request, record.clone(), given.clone()));
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(io, service);
            tokio::select! {
                _ = connection => {}
                () = cut.notified() => {}
            }
        }
        Transport::Grpc => {
            let service = service_fn(move |request| grpc::answer(request, record.clone(), given.clone()));
            let connection =
                hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(io, service);
            tokio::select! {
                _ = connection => {}
                () = cut.notified() => {}
            }
        }
    }
}
