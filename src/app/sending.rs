//! What is sent by OTLP while the program serves: spans of rows and pushed metrics, each a task of its own.
//!
//! It starts and ends them; what is sent, and when again, is theirs.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::OtlpSettings;
use crate::otlp::delivery::{Delivery, Sender};
use crate::otlp::encode::spans::Applications;
use crate::otlp::{SpanQueue, Transport};
use crate::state::State;
use crate::telemetry::metrics::Metrics;

/// The tasks that send.
pub(super) struct Sending {
    tasks: Vec<JoinHandle<()>>,
    stop: watch::Sender<bool>,
}

impl Sending {
    /// Starts what the settings ask for.
    ///
    /// # Errors
    /// When an endpoint cannot be used as it is configured.
    pub(super) fn start(
        otlp: &OtlpSettings,
        state: &Arc<State>,
        spans: Option<&Arc<SpanQueue>>,
        metrics: &Metrics,
    ) -> anyhow::Result<Self> {
        let (stop, told) = watch::channel(false);
        let mut tasks = Vec::new();
        if let (Some(traces), Some(queue)) = (&otlp.traces, spans)
            && let Some(rows) = &traces.rows
        {
            let transport = Transport::new(&traces.endpoint).context("spans of rows cannot be sent")?;
            let applications = Applications::new(otlp, rows, super::VERSION);
            let sender = Sender::new(transport, applications, metrics.delivery(), traces.batch_spans);
            tasks.push(tokio::spawn(Delivery::new(sender, state.clone(), queue.clone()).run(told)));
        }
        Ok(Sending { tasks, stop })
    }

    /// Ends them, within a time.
    pub(super) async fn stop(self, within: Duration) {
        self.stop.send_replace(true);
        for mut task in self.tasks {
            if tokio::time::timeout(within, &mut task).await.is_err() {
                task.abort();
            }
        }
    }
}
