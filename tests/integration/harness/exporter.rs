//! The exporter under test: the real binary, its configuration, its state directory and its replies.
//!
//! Tests see what an operator sees: HTTP, signals, the log, exit codes and the state directory.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

use super::exposition::Scrape;
use super::guard::{self, Folder, Process};
use super::http::{self, Reply};
use super::truth::Truth;
use super::{eventually, test_file};

/// The binary.
pub const BINARY: &str = env!("CARGO_BIN_EXE_rowmetry");
/// Time that anything may take on a busy machine before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// One series a state; 1 for the state in force.
const STATE: &str = "rowmetry_collector_state";
/// End of the last successful run.
const LAST_SUCCESS: &str = "rowmetry_collector_last_success_timestamp_seconds";
/// Time between two runs.
const INTERVAL: &str = "rowmetry_collector_interval_seconds";
/// Collectors with a longer interval, in seconds, are not waited for.
const OFTEN: f64 = 5.0;

/// What an exporter is started with. It outlives the exporter, so that it can be started again.
#[derive(Clone)]
pub struct Setup {
    /// Holds the configuration, the log and, unless told otherwise, the state.
    pub folder: Arc<Folder>,
    /// Where it listens.
    pub address: SocketAddr,
    /// Top-level settings: key and YAML value.
    pub settings: BTreeMap<String, String>,
    /// Settings of each source: key and YAML value.
    pub sources: Vec<BTreeMap<String, String>>,
    /// Further arguments.
    pub arguments: Vec<String>,
    /// Environment variables: name and value.
    pub variables: BTreeMap<String, String>,
}

impl Setup {
    /// One source `app` at this URL that counts every row of the tests' own packs, read often.
    pub fn of(url: &str) -> Setup {
        let folder = Arc::new(Folder::new("exporter"));
        let packs = test_file("integration/packs");
        let settings = BTreeMap::from([
            ("state_dir".into(), format!("\"{}\"", folder.path().join("state").display())),
            ("zero_first".into(), "0s".into()),
            ("packs".into(), format!("[\"{}\"]", packs.display())),
        ]);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, guard::free_port()));
        Setup { folder, address, settings, sources: Vec::new(), arguments: Vec::new(), variables: BTreeMap::new() }
            .source("app", url)
    }

    /// Adds a source.
    pub fn source(mut self, name: &str, url: &str) -> Setup {
        self.sources.push(BTreeMap::from([
            ("name".into(), name.into()),
            ("url".into(), format!("\"{url}\"")),
            ("interval".into(), "250ms".into()),
            ("start".into(), "all".into()),
            // Tests that are about share budgets say so; the others want every read.
            ("busy_share".into(), "1.0".into()),
            ("connect_timeout".into(), "2s".into()),
            // The server's own figures are tested by themselves; elsewhere they would only keep the server busy.
            ("skip".into(), "[postgres]".into()),
        ]));
        self
    }

    /// Sets a top-level setting.
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Setup {
        self.settings.insert(key.into(), value.into());
        self
    }

    /// Sets a setting of the source that was added last.
    pub fn sourced(mut self, key: &str, value: impl Into<String>) -> Setup {
        self.sources.last_mut().expect("there is always one").insert(key.into(), value.into());
        self
    }

    /// Lets the source that was added last tell the server's own figures too, as it does for an operator.
    pub fn with_server(mut self) -> Setup {
        self.sources.last_mut().expect("there is always one").remove("skip");
        self
    }

    /// No source at all: lines of logs are taken in, as `logs` says in YAML on one line.
    pub fn of_logs(logs: &str) -> Setup {
        let mut setup = Setup::of("");
        setup.sources.clear();
        setup.with("logs", logs)
    }

    /// The state directory.
    pub fn state_dir(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// The configuration file's text.
    pub fn yaml(&self) -> String {
        let mut yaml = format!("listen: {}\n", self.address);
        for (key, value) in &self.settings {
            yaml.push_str(&format!("{key}: {value}\n"));
        }
        if !self.sources.is_empty() {
            yaml.push_str("sources:\n");
        }
        for source in &self.sources {
            for (index, (key, value)) in source.iter().enumerate() {
                yaml.push_str(&format!("  {} {key}: {value}\n", if index == 0 { "-" } else { " " }));
            }
        }
        yaml
    }

    /// Writes the configuration file and gives its path.
    pub fn write(&self) -> PathBuf {
        self.folder.write("rowmetry.yaml", self.yaml())
    }

    /// The command, in an environment of its own.
    pub fn command(&self, verb: &[&str]) -> Command {
        let config = self.write();
        let mut command = guard::command_as(None, BINARY, self.folder.path());
        command.args(verb).arg("--config").arg(config).args(&self.arguments).envs(&self.variables);
        command
    }

    /// Starts the exporter and does not wait for anything.
    pub fn spawn(&self) -> Exporter {
        let log = self.folder.path().join("rowmetry.log");
        let process = Process::start(self.command(&["serve"]), &log);
        Exporter { setup: self.clone(), process, log }
    }

    /// Starts the exporter and waits until it is ready.
    pub async fn start(&self) -> Exporter {
        let exporter = self.spawn();
        exporter.ready().await;
        exporter
    }
}

/// A running exporter. When a test fails, its log is printed.
pub struct Exporter {
    /// What it was started with.
    pub setup: Setup,
    /// The process.
    pub process: Process,
    log: PathBuf,
}

impl Exporter {
    /// Waits until `/readyz` says 200.
    pub async fn ready(&self) {
        eventually(PATIENCE, "/readyz", async || {
            let reply = self.get("/readyz", "*/*").await?;
            if reply.status == 200 { Ok(()) } else { Err(format!("{}: {}", reply.status, reply.text())) }
        })
        .await;
    }

    /// GET with an `Accept` header.
    pub async fn get(&self, path: &str, accept: &str) -> Result<Reply, String> {
        if let Some(status) = self.process.ended() {
            panic!("the exporter ended with {status}");
        }
        http::get(self.setup.address, path, &[("Accept", accept)]).await
    }

    /// POST of a body.
    pub async fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Reply, String> {
        http::post(self.setup.address, path, headers, body).await
    }

    /// The text exposition, read.
    pub async fn try_scrape(&self) -> Result<Scrape, String> {
        let reply = self.get("/metrics", "text/plain").await?;
        if reply.status != 200 {
            return Err(format!("/metrics says {}", reply.status));
        }
        Ok(Scrape::parse(&reply.text()).unwrap_or_else(|e| panic!("/metrics is not the text format: {e}")))
    }

    /// The text exposition, read; panics when there is none.
    pub async fn scrape(&self) -> Scrape {
        self.try_scrape().await.unwrap_or_else(|e| panic!("{e}"))
    }

    /// Waits until a scrape is as the test wants it.
    pub async fn scrapes(&self, what: &str, wanted: impl Fn(&Scrape) -> Result<(), String>) -> Scrape {
        eventually(PATIENCE, what, async || {
            let scrape = self.try_scrape().await?;
            wanted(&scrape).map(|()| scrape)
        })
        .await
    }

    /// Waits until every collector that reads often succeeded twice more, so that what is there now has been read.
    pub async fn reads_again(&self) -> Scrape {
        let seldom = |scrape: &Scrape, key: &str| {
            let interval = scrape.series.get(&key.replacen(LAST_SUCCESS, INTERVAL, 1));
            interval.is_some_and(|interval| *interval > OFTEN)
        };
        let successes = |scrape: &Scrape| -> BTreeMap<String, f64> {
            let all = scrape.of(LAST_SUCCESS, &[]);
            all.filter(|(key, _)| !seldom(scrape, key)).map(|(key, at)| (key.into(), at)).collect()
        };
        let mut before = successes(&self.scrape().await);
        assert!(!before.is_empty(), "no collector ever succeeded");
        for _ in 0..2 {
            let now = self
                .scrapes("every collector reads again", |scrape| {
                    match before.iter().find(|(key, at)| scrape.series.get(*key).is_none_or(|now| now <= at)) {
                        None => Ok(()),
                        Some((key, at)) => Err(format!("{key} is still {at}")),
                    }
                })
                .await;
            before = successes(&now);
        }
        self.scrape().await
    }

    /// Waits until the series are the truth, and checks that they stay so when everything is read again.
    pub async fn settles_at(&self, truth: &Truth) -> Scrape {
        self.scrapes("the series equal the SQL truth", |scrape| truth.compare(scrape)).await;
        let again = self.reads_again().await;
        truth.compare(&again).unwrap_or_else(|e| panic!("the series were the truth and left it: {e}"));
        again
    }

    /// Waits until a collector is in this state, and only in this one.
    pub async fn state(&self, collector: &str, wanted: &str) -> Scrape {
        let what = format!("{collector} is {wanted}");
        self.scrapes(&what, |scrape| {
            let states = states(scrape, collector);
            if states == [wanted] { Ok(()) } else { Err(format!("its states are {states:?}")) }
        })
        .await
    }

    /// SIGKILL.
    pub fn kill(&self) {
        self.process.kill();
    }

    /// SIGTERM; how it ended.
    pub fn terminate(&self) -> ExitStatus {
        self.process.signal("TERM");
        self.process.wait(PATIENCE).expect("SIGTERM ends the exporter")
    }

    /// What it logged.
    pub fn log_text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until the log says something.
    pub async fn logs(&self, text: &str) {
        eventually(PATIENCE, &format!("the log says {text:?}"), async || {
            if self.log_text().contains(text) { Ok(()) } else { Err("it does not".into()) }
        })
        .await;
    }
}

/// The states that a collector (by its name in the pack) is in, each once, over all sources and packs.
pub fn states(scrape: &Scrape, collector: &str) -> Vec<String> {
    let labels = [("collector", collector)];
    let on = scrape.of(STATE, &labels).filter(|(_, value)| *value == 1.0);
    let mut states: Vec<String> =
        on.filter_map(|(key, _)| Some(key.split("state=\"").nth(1)?.split('"').next()?.to_string())).collect();
    states.sort();
    states.dedup();
    states
}

impl Drop for Exporter {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log_text();
            let tail: Vec<&str> = log.lines().rev().take(60).collect();
            eprintln!("--- the exporter's log, its end:");
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}
