//! A real Alertmanager with the file that is shipped, and a place where what it sends arrives.
//!
//! Of the shipped file, addresses and the files of secrets are replaced, and nothing else: what is tested is what an operator
//! gets.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::guard::{self, Folder, Process};
use super::{eventually, http, program};

/// Time that it has to start.
const PATIENCE: Duration = Duration::from_secs(60);
/// Where pages go in the shipped file.
const SHIPPED_PAGER: &str = "http://pager:9095/";
/// The folder of secrets in the shipped file.
const SHIPPED_SECRETS: &str = "/run/secrets/";
/// What pages bear as their token in the tests.
pub const PAGER_TOKEN: &str = "token-of-the-tests";

/// The folder of rules, of Alertmanager's file and of its templates.
pub fn alerts_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("alerts")
}

/// The shipped file's text.
pub fn shipped() -> String {
    std::fs::read_to_string(alerts_folder().join("alertmanager.yml")).expect("alerts/alertmanager.yml is there")
}

/// A running Alertmanager, by itself: it has no cluster.
pub struct Alertmanager {
    process: Process,
    address: SocketAddr,
    folder: Folder,
}

/// An alert as Alertmanager holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// `unprocessed`, `active` or `suppressed`.
    pub state: String,
    /// Whether others silence it.
    pub inhibited: bool,
    /// The receivers that its routes name.
    pub receivers: Vec<String>,
}

impl Alertmanager {
    /// Runs with the shipped file; pages go to `inbox` at `/page`, and chat messages at `/chat`.
    pub async fn shipped(inbox: &Inbox) -> Alertmanager {
        Alertmanager::start(&shipped(), inbox).await
    }

    /// Runs with a file's text that names the same receivers and secrets as the shipped one.
    pub async fn start(config: &str, inbox: &Inbox) -> Alertmanager {
        let folder = Folder::new("alertmanager");
        let secrets = format!("{}/", folder.path().display());
        folder.write("pager_token", PAGER_TOKEN);
        folder.write("chat_url", format!("http://{}/chat", inbox.address));
        let config = config.replace(SHIPPED_PAGER, &format!("http://{}/", inbox.address));
        let config = config.replace(SHIPPED_SECRETS, &secrets);
        let templates = folder.path().join("templates");
        std::fs::create_dir(&templates).expect("the folder is new");
        for entry in std::fs::read_dir(alerts_folder().join("templates")).expect("alerts/templates is there").flatten()
        {
            std::fs::copy(entry.path(), templates.join(entry.file_name())).expect("the folder is ours");
        }
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, guard::free_port()));
        let config = folder.write("alertmanager.yml", config);
        let mut command = guard::command_as(None, program("prometheus-alertmanager"), folder.path());
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--cluster.listen-address=");
        let process = Process::start(command, &folder.path().join("alertmanager.log"));
        let alertmanager = Alertmanager { process, address, folder };
        eventually(PATIENCE, "Alertmanager is ready", async || {
            assert!(alertmanager.process.ended().is_none(), "it ended: {}", alertmanager.log_text());
            let reply = http::get(address, "/-/ready", &[]).await?;
            if reply.status == 200 { Ok(()) } else { Err(reply.text()) }
        })
        .await;
        alertmanager
    }

    /// Where it listens, for a Prometheus that tells it of alerts.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Tells it of alerts that fire now, as Prometheus does. Each has the annotations that every shipped alert has.
    pub async fn fire_all(&self, alerts: impl IntoIterator<Item = &BTreeMap<String, String>>) {
        self.tell(alerts, None).await;
    }

    /// Tells it that alerts are over.
    pub async fn resolve_all(&self, alerts: impl IntoIterator<Item = &BTreeMap<String, String>>) {
        self.tell(alerts, Some(&jiff::Timestamp::now().to_string())).await;
    }

    async fn tell(&self, alerts: impl IntoIterator<Item = &BTreeMap<String, String>>, over: Option<&str>) {
        let alert = |labels: &BTreeMap<String, String>| {
            let mut alert = serde_json::json!({
                "labels": labels,
                "annotations": {
                    "summary": "Something is amiss",
                    "description": "3 <things> are amiss & <!channel> users notice.",
                    "runbook_url": "https://runbooks.example/app.md#amiss",
                    "dashboard_url": "https://grafana.example/d/rowmetry-app",
                },
                "generatorURL": "http://prometheus.example/graph",
            });
            if let Some(over) = over {
                alert["endsAt"] = over.into();
            }
            alert
        };
        let alerts: Vec<Value> = alerts.into_iter().map(alert).collect();
        let body = serde_json::to_vec(&alerts).expect("it is plain JSON");
        let headers = [("Content-Type", "application/json")];
        let reply = http::post(self.address, "/api/v2/alerts", &headers, &body).await.expect("Alertmanager answers");
        assert_eq!(reply.status, 200, "{}", reply.text());
    }

    /// The alerts that it holds.
    pub async fn alerts(&self) -> Result<Vec<Held>, String> {
        let reply = http::get(self.address, "/api/v2/alerts", &[]).await?;
        let alerts: Vec<Value> = serde_json::from_slice(&reply.body).map_err(|e| format!("{e}: {}", reply.text()))?;
        let held = |alert: &Value| {
            let names = |value: &Value| -> Vec<String> {
                let names = value.as_array().into_iter().flatten();
                names.filter_map(|receiver| Some(receiver["name"].as_str()?.to_owned())).collect()
            };
            Some(Held {
                labels: serde_json::from_value(alert["labels"].clone()).ok()?,
                state: alert["status"]["state"].as_str()?.to_owned(),
                inhibited: !alert["status"]["inhibitedBy"].as_array()?.is_empty(),
                receivers: names(&alert["receivers"]),
            })
        };
        alerts.iter().map(|alert| held(alert).ok_or_else(|| format!("odd alert: {alert}"))).collect()
    }

    /// What it logged.
    pub fn log_text(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("alertmanager.log")).unwrap_or_default()
    }
}

/// One message that arrived.
#[derive(Debug, Clone)]
pub struct Message {
    /// `/page` or `/chat`.
    pub path: String,
    /// The header `Authorization`; empty when there was none.
    pub authorization: String,
    /// The body.
    pub body: Value,
}

impl Message {
    /// The labels of the page's alerts that are in this state (`firing`, `resolved`).
    pub fn alerts(&self, status: &str) -> Vec<BTreeMap<String, String>> {
        let alerts = self.body["alerts"].as_array().into_iter().flatten();
        let of_status = alerts.filter(|alert| alert["status"] == status);
        of_status.filter_map(|alert| serde_json::from_value(alert["labels"].clone()).ok()).collect()
    }
}

/// Takes every message that is posted to it, and keeps them.
pub struct Inbox {
    address: SocketAddr,
    messages: Arc<Mutex<Vec<Message>>>,
}

impl Inbox {
    /// An empty one on a free port.
    pub async fn open() -> Inbox {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("there is a free port");
        let address = listener.local_addr().expect("it is bound");
        let messages: Arc<Mutex<Vec<Message>>> = Arc::default();
        let kept = Arc::clone(&messages);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let kept = Arc::clone(&kept);
                tokio::spawn(async move {
                    if let Some(message) = take(stream).await {
                        kept.lock().unwrap_or_else(PoisonError::into_inner).push(message);
                    }
                });
            }
        });
        Inbox { address, messages }
    }

    /// What came to this path, in the order of coming.
    pub fn at(&self, path: &str) -> Vec<Message> {
        let messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        messages.iter().filter(|message| message.path == path).cloned().collect()
    }

    /// Waits for a page that tells of these labels, `firing` or `resolved`; all the labels that it has.
    pub async fn page(&self, deadline: Duration, status: &str, wanted: &[(&str, &str)]) -> BTreeMap<String, String> {
        let fits = |labels: &BTreeMap<String, String>| {
            wanted.iter().all(|(name, value)| labels.get(*name).is_some_and(|has| has == value))
        };
        eventually(deadline, &format!("a page says {status} of {wanted:?}"), async || {
            let told: Vec<_> = self.at("/page").iter().flat_map(|message| message.alerts(status)).collect();
            told.iter().find(|labels| fits(labels)).cloned().ok_or_else(|| format!("{told:?}"))
        })
        .await
    }
}

/// Reads one request and answers it.
async fn take(mut stream: TcpStream) -> Option<Message> {
    let mut request = Vec::new();
    let head_end = loop {
        if let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut request).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&request[..head_end]).into_owned();
    let header = |name: &str| {
        let lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
        lines.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned()).next()
    };
    let length: usize = header("content-length")?.parse().ok()?;
    while request.len() < head_end + 4 + length {
        if stream.read_buf(&mut request).await.ok()? == 0 {
            return None;
        }
    }
    let reply = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nok";
    let _ = stream.write_all(reply.as_bytes()).await;
    Some(Message {
        path: head.split(' ').nth(1)?.to_owned(),
        authorization: header("authorization").unwrap_or_default(),
        body: serde_json::from_slice(&request[head_end + 4..head_end + 4 + length]).ok()?,
    })
}
