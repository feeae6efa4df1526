//! An OTLP server of the tests: HTTP/protobuf and gRPC on loopback ports, over TCP or TLS, which remembers what came.
//!
//! It runs on a thread of its own, so a test may block while it answers. It answers as it is told ([`Behaviour`]), and
//! must never record what it did not take: a count of spans is the truth that an exporter is measured by. Who asks for
//! what came after more of it came than is kept gets a panic, and never a part.

pub mod behaviour;
pub mod canonical;
mod grpc;
mod http;
mod record;
mod serve;

pub use behaviour::Behaviour;
pub use record::{ReceivedMetrics, ReceivedRequest, ReceivedSpan, Signal, Transport};

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::certificates::Authority;
use super::guard::free_port;
use super::wait::eventually;
use record::Record;
use serve::{Running, Tls};

/// The longest that the certificates of the tests are good.
const UNTIL: &str = "20991231235959Z";

/// The server. It ends when it is dropped, and can be stopped and started again.
pub struct OtlpReceiver {
    http: SocketAddr,
    grpc: SocketAddr,
    tls: Option<Tls>,
    record: Arc<Record>,
    running: Mutex<Option<Running>>,
}

impl OtlpReceiver {
    /// A server without TLS that accepts everything.
    pub fn start() -> OtlpReceiver {
        OtlpReceiver::new(None)
    }

    /// A server at `localhost` whose certificate is of this authority; it may ask clients for one of the same.
    pub fn start_tls(certificates: &Authority, require_client_certificate: bool) -> OtlpReceiver {
        let config = if require_client_certificate {
            certificates.server_for_clients("localhost", UNTIL)
        } else {
            certificates.server("localhost", UNTIL)
        };
        OtlpReceiver::new(Some(Tls::new(config)))
    }

    fn new(tls: Option<Tls>) -> OtlpReceiver {
        let http = free_port();
        let grpc = std::iter::repeat_with(free_port).find(|port| *port != http).expect("it never ends");
        let [http, grpc] = [http, grpc].map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let receiver = OtlpReceiver { http, grpc, tls, record: Arc::default(), running: Mutex::default() };
        receiver.start_again();
        receiver
    }

    /// Listens no more, and closes every connection: a client is refused.
    pub fn stop(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(running) = running {
            running.end();
        }
    }

    /// Listens again, on the same ports. What it recorded is kept.
    pub fn start_again(&self) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(running.is_none(), "it runs");
        *running = Some(Running::start(self.http, self.grpc, self.tls.clone(), &self.record));
    }

    /// The base URL of OTLP over HTTP; `/v1/traces` and `/v1/metrics` are below it.
    pub fn http_url(&self) -> String {
        self.url(self.http)
    }

    /// The URL of OTLP over gRPC.
    pub fn grpc_url(&self) -> String {
        self.url(self.grpc)
    }

    /// The URL of this transport.
    pub fn url_of(&self, transport: Transport) -> String {
        match transport {
            Transport::Http => self.http_url(),
            Transport::Grpc => self.grpc_url(),
        }
    }

    /// From now on every request is answered so.
    pub fn behave(&self, behaviour: Behaviour) {
        self.record.behave(&Signal::ALL, &behaviour, None);
    }

    /// So many requests of each signal are answered so, and all later ones accepted. A request that the behaviour lets
    /// pass is not counted.
    pub fn behave_times(&self, behaviour: Behaviour, times: u32) {
        self.record.behave(&Signal::ALL, &behaviour, Some(times));
    }

    /// Requests of this signal alone are answered so, the next few or all.
    pub fn behave_on(&self, signal: Signal, behaviour: Behaviour, times: Option<u32>) {
        self.record.behave(&[signal], &behaviour, times);
    }

    /// From now on spans are counted and their ids remembered, and nothing else of them: for benches.
    pub fn keep_only_counts(&self) {
        self.record.with(|state| state.only_counts = true);
    }

    /// The spans that were taken, in their order, as often as they came.
    pub fn spans(&self) -> Vec<ReceivedSpan> {
        self.record.with(|state| state.whole().spans.clone())
    }

    /// How many spans were taken; one that came twice counts twice.
    pub fn span_count(&self) -> u64 {
        self.record.with(|state| state.span_count)
    }

    /// The spans that were taken, each as `trace:span` in lower-case hex.
    pub fn span_ids(&self) -> BTreeSet<String> {
        self.record.with(|state| state.whole().ids.iter().map(|id| canonical::pair(&id[..16], &id[16..])).collect())
    }

    /// The requests with metrics that were taken.
    pub fn metrics(&self) -> Vec<ReceivedMetrics> {
        self.record.with(|state| state.whole().metrics.clone())
    }

    /// Every request that came whole, also those that were refused or not answered.
    pub fn requests(&self) -> Vec<ReceivedRequest> {
        self.record.with(|state| state.whole().requests.clone())
    }

    /// Forgets what came; behaviour stays.
    pub fn clear(&self) {
        self.record.with(record::State::forget);
    }

    /// Waits until so many spans were taken, and gives all that are kept.
    pub async fn wait_for_spans(&self, count: u64, deadline: Duration) -> Vec<ReceivedSpan> {
        let came = async || match self.span_count() {
            came if came >= count => Ok(()),
            came => Err(format!("{came} of {count}; {} requests", self.record.with(|state| state.requests.len()))),
        };
        eventually(deadline, "spans at the OTLP receiver", came).await;
        self.spans()
    }

    /// Waits until so many requests came, whatever became of them, and gives all.
    pub async fn wait_for_requests(&self, count: usize, deadline: Duration) -> Vec<ReceivedRequest> {
        let came = async || match self.requests() {
            requests if requests.len() >= count => Ok(requests),
            requests => Err(format!("{} of {count}", requests.len())),
        };
        eventually(deadline, "requests at the OTLP receiver", came).await
    }

    /// Waits until so many requests with metrics were taken, and gives all.
    pub async fn wait_for_metrics(&self, count: usize, deadline: Duration) -> Vec<ReceivedMetrics> {
        let came = async || match self.metrics() {
            metrics if metrics.len() >= count => Ok(metrics),
            metrics => Err(format!("{} of {count}", metrics.len())),
        };
        eventually(deadline, "metrics at the OTLP receiver", came).await
    }

    fn url(&self, address: SocketAddr) -> String {
        match self.tls {
            None => format!("http://{address}"),
            Some(_) => format!("https://localhost:{}", address.port()),
        }
    }
}

impl Drop for OtlpReceiver {
    fn drop(&mut self) {
        self.stop();
    }
}
