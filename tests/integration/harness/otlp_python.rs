//! A second OTLP receiver, of software that Rowmetry's authors did not write: `tests/otlp_receiver.py`.
//!
//! It accepts everything. What it cannot decode it does not print.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use super::guard::{self, Folder, Process};
use super::otlp::Transport;
use super::test_file;
use super::wait::eventually;

/// Time for Python to load its libraries, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The receiver; killed when it is dropped.
pub struct OtlpPython {
    folder: Folder,
    http: u64,
    grpc: u64,
    _process: Process,
}

impl OtlpPython {
    /// Starts it; it listens when this returns.
    pub async fn start() -> OtlpPython {
        let python = concat!(env!("CARGO_MANIFEST_DIR"), "/target/venv/bin/python");
        assert!(std::path::Path::new(python).exists(), "there is no {python}; run tests/install.sh");
        let folder = Folder::new("otlp-python");
        let log = folder.path().join("log");
        let mut command = guard::command_as(None, python, folder.path());
        command.arg(test_file("otlp_receiver.py")).arg("--out").arg(folder.path().join("received"));
        let process = Process::start(command, &log);
        let ports = eventually(PATIENCE, "the Python receiver listens", async || {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            assert_eq!(process.ended(), None, "it ended: {said}");
            let line = said.split_inclusive('\n').find(|line| line.starts_with('{') && line.ends_with('\n'));
            line.and_then(|line| serde_json::from_str::<Value>(line).ok()).ok_or(said.clone())
        })
        .await;
        let port = |name: &str| ports[name].as_u64().expect("it prints both ports");
        OtlpPython { http: port("http"), grpc: port("grpc"), folder, _process: process }
    }

    /// The base URL of OTLP over HTTP.
    pub fn http_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.http)
    }

    /// The URL of OTLP over gRPC.
    pub fn grpc_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.grpc)
    }

    /// The URL of this transport.
    pub fn url_of(&self, transport: Transport) -> String {
        match transport {
            Transport::Http => self.http_url(),
            Transport::Grpc => self.grpc_url(),
        }
    }

    /// The spans so far, in the form of [`super::otlp::ReceivedSpan::canonical`].
    pub fn spans(&self) -> Vec<Value> {
        self.lines("span")
    }

    /// The data points so far, in the form of [`super::otlp::ReceivedMetrics::points`].
    pub fn points(&self) -> Vec<Value> {
        self.lines("metric")
    }

    /// The spans so far, each as `trace:span` in lower-case hex.
    pub fn span_ids(&self) -> BTreeSet<String> {
        let text = |value: &Value| value.as_str().expect("ids are texts").to_owned();
        self.spans().iter().map(|span| format!("{}:{}", text(&span["trace_id"]), text(&span["span_id"]))).collect()
    }

    /// Waits until so many spans came, and gives all.
    pub async fn wait_for_spans(&self, count: usize, deadline: Duration) -> Vec<Value> {
        let came = async || match self.spans() {
            spans if spans.len() >= count => Ok(spans),
            spans => Err(format!("{} of {count}", spans.len())),
        };
        eventually(deadline, "spans at the Python receiver", came).await
    }

    /// Whole lines about this signal; the last may not be written yet.
    fn lines(&self, signal: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.folder.path().join("received")).unwrap_or_default();
        text.split_inclusive('\n')
            .filter(|line| line.ends_with('\n'))
            .map(|line| serde_json::from_str::<Value>(line).expect("it prints JSON"))
            .filter(|line| line["signal"] == signal)
            .collect()
    }
}
