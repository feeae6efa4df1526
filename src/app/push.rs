//! Starts and ends the pushing of metrics by OTLP.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::Settings;
use crate::family::Micros;
use crate::otlp::Transport;
use crate::otlp::push::{self, LAST_PUSH_WITHIN, Push, UNDER_WAY_WITHIN};
use crate::schedule::clock;
use crate::store::Store;
use crate::telemetry::Metrics;

/// Metrics that are pushed.
pub(super) struct Pushing {
    task: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

impl Pushing {
    /// Pushes once more and ends.
    pub(super) async fn stop(mut self) {
        self.stop.send_replace(true);
        if tokio::time::timeout(UNDER_WAY_WITHIN + LAST_PUSH_WITHIN, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

/// Begins to push metrics, if the settings say so. `address` is where we serve, `process_start` when the process began:
/// before any source was read.
///
/// # Errors
/// When the receiver's settings cannot be used.
pub(super) fn start_push(
    settings: &Settings,
    store: Arc<Store>,
    metrics: Arc<Metrics>,
    address: SocketAddr,
    process_start: Micros,
) -> anyhow::Result<Option<Pushing>> {
    let Some(how) = settings.otlp.metrics.clone() else { return Ok(None) };
    let transport = Transport::new(&how.endpoint).context("metrics cannot be pushed by OTLP")?;
    let instance = instance(address);
    tracing::info!(interval = ?how.interval, instance, "pushing metrics by OTLP");
    let push = Push::new(how, &settings.otlp, &instance, super::VERSION, store, metrics, Arc::new(clock::now));
    let (stop, told) = watch::channel(false);
    let task = tokio::spawn(push::run(push, transport, process_start, told));
    Ok(Some(Pushing { task, stop }))
}

/// What tells this exporter from others, by where it serves: `service.instance.id` unless the operator says otherwise.
pub fn instance(address: SocketAddr) -> String {
    instance_at(address, std::fs::read_to_string(HOST_NAME).ok())
}

/// Where Linux tells the host's name.
const HOST_NAME: &str = "/proc/sys/kernel/hostname";

/// `host:port`, as OpenTelemetry's compatibility with Prometheus asks for: what we listen at, under the host's name where the
/// address is the same on every host.
fn instance_at(address: SocketAddr, host_name: Option<String>) -> String {
    let host_name = host_name.as_deref().map(str::trim).filter(|name| !name.is_empty());
    match host_name {
        Some(name) if address.ip().is_unspecified() || address.ip().is_loopback() => {
            format!("{name}:{}", address.port())
        }
        _ => address.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_told_from_those_of_other_hosts() {
        let name = |address: &str, host: Option<&str>| {
            instance_at(address.parse().expect("an address"), host.map(str::to_owned))
        };
        assert_eq!(name("0.0.0.0:9750", Some("web-1\n")), "web-1:9750");
        assert_eq!(name("[::1]:9750", Some("web-1\n")), "web-1:9750");
        assert_eq!(name("10.0.0.7:9750", Some("web-1\n")), "10.0.0.7:9750");
        assert_eq!(name("0.0.0.0:9750", Some("\n")), "0.0.0.0:9750");
        assert_eq!(name("0.0.0.0:9750", None), "0.0.0.0:9750");
    }
}
