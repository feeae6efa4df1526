//! A real Prometheus that scrapes one target, and what it answers to queries.
//!
//! Samples are taken from its HTTP API as it stored them; nothing is computed here that PromQL can compute.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde_json::Value;

use super::guard::{self, Folder, Process};
use super::{eventually, http, program};

/// Beginnings of names that other exporters gave, and dashboards know: promtool's taste in names is none of ours there.
const GIVEN_NAMES: [&str; 4] = ["pg_", "pgbouncer_", "redis_", "rowmetry_pg_"];
/// The end of a query for all time, in seconds since 1970: the year 2100.
const END_OF_TIME: i64 = 4_102_444_800;
/// Time that it has to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running Prometheus.
pub struct Prometheus {
    process: Process,
    address: SocketAddr,
    folder: Folder,
}

/// One stored sample: milliseconds since 1970, and the value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Milliseconds since 1970.
    pub at: i64,
    /// The value.
    pub value: f64,
}

/// One stored exemplar, with the labels of its series, `__name__` among them.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredExemplar {
    /// The labels of the series.
    pub series: BTreeMap<String, String>,
    /// The label `trace_id`; empty when there is none.
    pub trace_id: String,
    /// The label `span_id`; empty when there is none.
    pub span_id: String,
    /// Milliseconds since 1970.
    pub at: i64,
    /// The value.
    pub value: f64,
}

impl Prometheus {
    /// Scrapes the target every second. `features` go to `--enable-feature`.
    pub async fn scraping(target: SocketAddr, features: &[&str]) -> Prometheus {
        let folder = own_folder();
        let config = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n  - job_name: app\n    \
             static_configs: [{{targets: ['{target}']}}]\n"
        );
        let arguments: Vec<String> = features.iter().map(|feature| format!("--enable-feature={feature}")).collect();
        let prometheus = Prometheus::start(folder, &config, &arguments).await;
        // It is ready some seconds before its first scrape.
        eventually(PATIENCE, "Prometheus scrapes", async || prometheus.value("count(up)", None).await).await;
        prometheus
    }

    /// Scrapes nothing, and has the blocks that promtool makes of this text.
    pub async fn of_openmetrics(text: &[u8]) -> Prometheus {
        let folder = own_folder();
        let file = folder.write("past.om", text);
        let output = guard::command_as(guard::server_owner(), program("promtool"), folder.path())
            .args(["tsdb", "create-blocks-from", "openmetrics", "--quiet", "--max-block-duration=24h"])
            .arg(file)
            .arg(folder.path().join("data"))
            .output()
            .expect("promtool can be started");
        assert!(output.status.success(), "promtool: {}", String::from_utf8_lossy(&output.stderr));
        Prometheus::start(folder, "{}\n", &["--storage.tsdb.retention.time=10y".to_owned()]).await
    }

    /// Runs with a configuration and the files that it names, each beside it.
    pub async fn configured(config: &str, files: &[(String, String)]) -> Prometheus {
        let folder = own_folder();
        for (name, text) in files {
            folder.write(name, text);
        }
        Prometheus::start(folder, config, &["--enable-feature=exemplar-storage".to_owned()]).await
    }

    /// What its API answers to a GET, without the envelope.
    pub async fn api(&self, path: &str) -> Result<Value, String> {
        let reply: Value = serde_json::from_slice(&http::get(self.address, path, &[]).await?.body)
            .map_err(|e| format!("{path}: not JSON: {e}"))?;
        if reply["status"] == "success" { Ok(reply["data"].clone()) } else { Err(format!("{path}: {reply}")) }
    }

    async fn start(folder: Folder, config: &str, arguments: &[String]) -> Prometheus {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, guard::free_port()));
        let config = folder.write("prometheus.yml", config);
        let mut command = guard::command_as(guard::server_owner(), program("prometheus"), folder.path());
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .args(arguments);
        let process = Process::start(command, &folder.path().join("prometheus.log"));
        let prometheus = Prometheus { process, address, folder };
        eventually(PATIENCE, "Prometheus is ready", async || {
            assert!(prometheus.process.ended().is_none(), "it ended: {}", prometheus.log_text());
            let reply = http::get(address, "/-/ready", &[]).await?;
            if reply.status == 200 { Ok(()) } else { Err(reply.text()) }
        })
        .await;
        prometheus
    }

    /// An instant query at a time (milliseconds since 1970), or now.
    pub async fn query(&self, query: &str, at: Option<i64>) -> Result<Value, String> {
        let mut path = format!("/api/v1/query?query={}", http::encode(query));
        if let Some(at) = at {
            path.push_str(&format!("&time={}.{:03}", at / 1000, at % 1000));
        }
        let reply: Value = serde_json::from_slice(&http::get(self.address, &path, &[]).await?.body)
            .map_err(|e| format!("{query}: not JSON: {e}"))?;
        if reply["status"] == "success" {
            Ok(reply["data"]["result"].clone())
        } else {
            Err(format!("{query}: {reply}"))
        }
    }

    /// The one value that an instant query gives.
    pub async fn value(&self, query: &str, at: Option<i64>) -> Result<f64, String> {
        let result = self.query(query, at).await?;
        let values = result.as_array().map(Vec::as_slice).unwrap_or_default();
        match values {
            [one] => number(&one["value"][1]).ok_or_else(|| format!("{query}: {one}")),
            _ => Err(format!("{query}: {} series instead of one", values.len())),
        }
    }

    /// The stored samples of a series selector that matches one series.
    pub async fn samples(&self, selector: &str) -> Result<Vec<Sample>, String> {
        let result = self.query(&format!("{selector}[1h]"), None).await?;
        let [series] = result.as_array().map(Vec::as_slice).unwrap_or_default() else {
            return Err(format!("{selector}: not one series: {result}"));
        };
        let samples = series["values"].as_array().ok_or_else(|| format!("{selector}: no samples"))?;
        samples
            .iter()
            .map(|pair| {
                let seconds = pair[0].as_f64()?;
                // The API prints milliseconds as decimals of a second, so rounding gives them back.
                Some(Sample { at: (seconds * 1000.0).round() as i64, value: number(&pair[1])? })
            })
            .collect::<Option<_>>()
            .ok_or_else(|| format!("{selector}: odd samples"))
    }

    /// `increase()` from the first sample to the last one whose edges are those samples, so that nothing is
    /// extrapolated.
    pub async fn increase(&self, selector: &str) -> Result<f64, String> {
        let samples = self.samples(selector).await?;
        let (first, last) = (samples.first().ok_or("no sample")?, samples.last().ok_or("no sample")?);
        if first.at == last.at {
            return Err(format!("{selector}: one sample yet"));
        }
        self.value(&format!("increase({selector}[{}ms])", last.at - first.at), Some(last.at)).await
    }

    /// The exemplars of all time of the series that a query names, in the order of the series and their time. They are stored
    /// with the feature `exemplar-storage` alone.
    pub async fn query_exemplars(&self, query: &str) -> Result<Vec<StoredExemplar>, String> {
        let path = format!("/api/v1/query_exemplars?start=0&end={END_OF_TIME}&query={}", http::encode(query));
        let reply: Value = serde_json::from_slice(&http::get(self.address, &path, &[]).await?.body)
            .map_err(|e| format!("{query}: not JSON: {e}"))?;
        if reply["status"] != "success" {
            return Err(format!("{query}: {reply}"));
        }
        let mut stored = Vec::new();
        for found in reply["data"].as_array().into_iter().flatten() {
            let series: BTreeMap<String, String> =
                serde_json::from_value(found["seriesLabels"].clone()).map_err(|e| format!("{query}: {found}: {e}"))?;
            for exemplar in found["exemplars"].as_array().into_iter().flatten() {
                let label = |name: &str| exemplar["labels"][name].as_str().unwrap_or_default().to_string();
                let odd = || format!("{query}: {exemplar}");
                stored.push(StoredExemplar {
                    series: series.clone(),
                    trace_id: label("trace_id"),
                    span_id: label("span_id"),
                    // The API prints milliseconds as decimals of a second, so rounding gives them back.
                    at: (exemplar["timestamp"].as_f64().ok_or_else(odd)? * 1000.0).round() as i64,
                    value: number(&exemplar["value"]).ok_or_else(odd)?,
                });
            }
        }
        Ok(stored)
    }

    /// A metric about itself that has no labels.
    pub async fn own(&self, name: &str) -> Result<f64, String> {
        let text = http::get(self.address, "/metrics", &[]).await?.text();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        value.ok_or_else(|| format!("Prometheus tells of no {name}"))
    }

    /// What it logged.
    pub fn log_text(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("prometheus.log")).unwrap_or_default()
    }
}

/// A folder that Prometheus may write to.
fn own_folder() -> Folder {
    let folder = Folder::new("prometheus");
    folder.give_to(guard::server_owner());
    folder
}

/// Runs `promtool check metrics`; its complaints.
pub fn promtool_complaints(text: &[u8]) -> String {
    use std::io::Write;
    let mut child = std::process::Command::new(program("promtool"))
        .args(["check", "metrics"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("promtool can be started");
    child.stdin.take().expect("it is piped").write_all(text).expect("promtool reads all of it");
    let output = child.wait_with_output().expect("it is our child");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // 3 is the status of a text that can be read and whose names are not to promtool's taste.
    let style_alone = output.status.code() == Some(3);
    let ours = |line: &&str| !(style_alone && GIVEN_NAMES.iter().any(|prefix| line.starts_with(prefix)));
    let ours: Vec<&str> = said.lines().filter(ours).collect();
    let fine = output.status.success() || style_alone;
    if fine && ours.is_empty() { String::new() } else { format!("{}: {}", output.status, ours.join("\n")) }
}

fn number(value: &Value) -> Option<f64> {
    match value.as_str()? {
        "+Inf" => Some(f64::INFINITY),
        "NaN" => Some(f64::NAN),
        text => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn the_increase_between_its_own_samples_is_exact() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let target = listener.local_addr().expect("it is bound");
        let count = Arc::new(AtomicU64::new(0));
        let shown = count.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let body = format!("# TYPE seen_total counter\nseen_total {}\n", shown.load(Ordering::Relaxed));
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close\r\n";
                let reply = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
                let _ = stream.write_all(reply.as_bytes()).await;
            }
        });
        let prometheus = Prometheus::scraping(target, &[]).await;
        eventually(PATIENCE, "the zero is stored", async || prometheus.samples("seen_total").await).await;
        let mut truth = 0;
        for step in [7, 1, 4242, 1, 13] {
            truth += step;
            count.store(truth, Ordering::Relaxed);
            eventually(PATIENCE, "the increase is exact", async || match prometheus.increase("seen_total").await? {
                value if value == truth as f64 => Ok(()),
                value => Err(format!("{value}, in truth {truth}")),
            })
            .await;
        }
    }

    #[test]
    fn promtool_tells_bad_from_good() {
        assert_eq!(promtool_complaints(b"# HELP a_total A.\n# TYPE a_total counter\na_total 1\n"), "");
        assert_ne!(promtool_complaints(b"# TYPE a_total counter\na_total 1\n"), "");
        assert_ne!(promtool_complaints(b"# TYPE a_total counter\na_total one\n"), "");
        assert_ne!(promtool_complaints(b"# HELP a A.\n# TYPE a counter\na 1\n"), "");
        let given =
            b"# HELP pg_x X.\n# TYPE pg_x counter\npg_x 1\n# HELP b_total B.\n# TYPE b_total counter\nb_total 1\n";
        assert_eq!(promtool_complaints(given), "");
        assert_ne!(promtool_complaints(b"# HELP pg_x X.\n# TYPE pg_x counter\npg_x one\n"), "");
    }
}
