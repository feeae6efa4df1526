//! The demo: true metrics from nothing, and nothing left behind.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::harness::exporter::{BINARY, PATIENCE, states};
use super::harness::exposition::Scrape;
use super::harness::guard::{Folder, Process, command_as, free_port, signal};
use super::harness::otlp::OtlpReceiver;
use super::harness::prometheus::promtool_complaints;
use super::harness::{eventually, http};

struct Demo {
    process: Process,
    address: std::net::SocketAddr,
    folder: Folder,
}

impl Demo {
    fn start(duration: &str) -> Demo {
        Demo::start_in(duration, None)
    }

    /// Starts it where only these folders have programs.
    fn start_in(duration: &str, path: Option<&str>) -> Demo {
        let path = path.map(|path| ("PATH", path));
        Demo::start_with(duration, path.as_slice())
    }

    /// Starts it with these variables.
    fn start_with(duration: &str, variables: &[(&str, &str)]) -> Demo {
        let folder = Folder::new("demo");
        let temp = folder.path().join("temp");
        std::fs::create_dir(&temp).expect("the folder is ours");
        let address = std::net::SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, free_port()));
        let mut command = command_as(None, BINARY, folder.path());
        command
            .args(["demo", "--duration", duration, "--seed", "7", "--listen", &address.to_string()])
            .env("TMPDIR", &temp);
        command.envs(variables.iter().copied());
        let process = Process::start(command, &folder.path().join("demo.log"));
        Demo { process, address, folder }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("demo.log")).unwrap_or_default()
    }

    /// The lines that each drain has delivered so far, each once, as the demo's applications tell.
    fn delivered(&self) -> BTreeMap<String, f64> {
        let field = |line: &str, name: &str| {
            let (_, rest) = line.split_once(&format!(" {name}="))?;
            Some(rest.split_whitespace().next()?.trim_matches('"').to_string())
        };
        let log = self.log();
        let told = log.lines().filter(|line| line.contains("log lines were delivered"));
        told.filter_map(|line| Some((field(line, "drain")?, field(line, "lines")?.parse().ok()?))).collect()
    }

    /// Everything in its temp folder.
    fn left_behind(&self) -> Vec<std::path::PathBuf> {
        let temp = std::fs::read_dir(self.folder.path().join("temp")).expect("it was made");
        temp.flatten().map(|entry| entry.path()).collect()
    }

    /// The processes that it started, and those that they started.
    fn descendants(&self) -> Vec<(u32, String)> {
        let mut found = Vec::new();
        let mut parents = self.process.children();
        while let Some(id) = parents.pop() {
            let name = process_name(id).unwrap_or_default();
            let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
            parents.extend(children.split_whitespace().filter_map(|id| id.parse::<u32>().ok()));
            found.push((id, name));
        }
        found
    }

    async fn scrape(&self) -> Result<(Vec<u8>, Scrape), String> {
        assert!(self.process.ended().is_none(), "the demo ended: {}", self.log());
        let ready = http::get(self.address, "/readyz", &[]).await?;
        if ready.status != 200 {
            return Err(ready.text());
        }
        let body = http::get(self.address, "/metrics", &[("Accept", "text/plain")]).await?.body;
        let scrape = Scrape::parse(&String::from_utf8_lossy(&body))?;
        Ok((body, scrape))
    }
}

/// What is read beside the endpoints.
const SOURCES: [&str; 15] = [
    "coding_platform",
    "coding_platform-logs",
    "coding_platform-redis",
    "coding_platform-web",
    "mentor",
    "mentor-logs",
    "mentor-redis",
    "promptcademy",
    "promptcademy-logs",
    "promptcademy-postgres",
    "syncedup",
    "syncedup-logs",
    "syncedup-web",
    "voyager",
    "voyager-logs",
];

/// The drains.
const DRAINS: [&str; 6] = [
    "coding_platform-logs",
    "mentor-logs",
    "promptcademy-logs",
    "promptcademy-postgres",
    "syncedup-logs",
    "voyager-logs",
];

/// What log lines tell: every family of the packs' `logs` collectors. `promptcademy_ai_runs_total` has `never_ended` only once the time is
/// over that a host lets a run take, which is longer than a test.
const OF_LINES: [&str; 32] = [
    "coding_log_lines_total",
    "coding_cache_requests_total",
    "coding_cache_family_requests_total",
    "coding_logged_events_total",
    "mentor_log_lines_total",
    "mentor_actions_total",
    "mentor_action_duration_seconds",
    "mentor_action_errors_total",
    "mentor_cron_runs_total",
    "mentor_cron_last_ok_timestamp_seconds",
    "mentor_cron_last_duration_seconds",
    "mentor_email_failures_total",
    "promptcademy_ai_runs_total",
    "promptcademy_ai_run_duration_seconds",
    "promptcademy_ai_run_tokens_total",
    "promptcademy_ai_run_cost_usd_total",
    "promptcademy_ai_runs_in_flight",
    "promptcademy_ai_provider_errors_total",
    "promptcademy_postgres_errors_total",
    "syncedup_log_events_total",
    "syncedup_job_retries_total",
    "syncedup_worker_run_duration_seconds",
    "syncedup_worker_items_succeeded_total",
    "syncedup_worker_items_failed_total",
    "syncedup_worker_last_complete_timestamp_seconds",
    "syncedup_logged_transcription_jobs",
    "voyager_log_lines_total",
    "voyager_ai_calls_total",
    "voyager_ai_calls_started_total",
    "voyager_ai_tokens_total",
    "voyager_rate_limit_hits_total",
    "voyager_auth_events_total",
];

/// The name of a process that runs.
fn process_name(id: u32) -> Option<String> {
    std::fs::read_to_string(format!("/proc/{id}/comm")).ok().map(|name| name.trim().to_string())
}

/// Those that still run.
fn running(processes: &[(u32, String)]) -> Vec<&(u32, String)> {
    processes.iter().filter(|(id, name)| process_name(*id).as_ref() == Some(name)).collect()
}

fn collectors(scrape: &Scrape) -> Vec<String> {
    let label = |series: &str| Some(series.split("collector=\"").nth(1)?.split('"').next()?.to_string());
    let mut names: Vec<String> =
        scrape.of("rowmetry_collector_state", &[]).filter_map(|(series, _)| label(series)).collect();
    names.sort();
    names.dedup();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn it_shows_live_metrics_of_every_pack_and_ends_clean() {
    let demo = Demo::start("25s");
    let first = eventually(PATIENCE, "the demo is ready and every collector succeeded", async || {
        let (body, scrape) = demo.scrape().await?;
        let bad: Vec<String> = collectors(&scrape)
            .into_iter()
            .filter(|name| states(&scrape, name).iter().any(|state| state != "ok"))
            .collect();
        if collectors(&scrape).len() > 10 && bad.is_empty() {
            Ok((body, scrape))
        } else {
            Err(format!("{bad:?} are not ok"))
        }
    })
    .await;
    assert!(collectors(&first.1).len() > 10, "{:?}", collectors(&first.1));
    for source in SOURCES {
        let collectors = first.1.of("rowmetry_collector_state", &[("source", source)]).count();
        assert_ne!(collectors, 0, "nothing reads {source}");
    }
    assert_eq!(promtool_complaints(&first.0), "");
    assert!(demo.log().contains(&format!("http://{}", demo.address)), "it prints no URL: {}", demo.log());
    let rows = |scrape: &Scrape| scrape.sum("rowmetry_collector_rows_total", &[]);
    eventually(PATIENCE, "traffic is counted", async || {
        let (_, scrape) = demo.scrape().await?;
        if rows(&scrape) > rows(&first.1) { Ok(()) } else { Err(format!("{} rows", rows(&scrape))) }
    })
    .await;
    let started = demo.descendants();
    assert!(started.iter().any(|(_, name)| name == "redis-server"), "it uses what is installed: {started:?}");
    let status = demo.process.wait(PATIENCE).expect("--duration ends it");
    assert!(status.success(), "{status}: {}", demo.log());
    assert_eq!(demo.left_behind(), Vec::<std::path::PathBuf>::new());
    assert_eq!(running(&started), Vec::<&(u32, String)>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_is_counted_once_and_tells_all_that_lines_tell() {
    let demo = Demo::start_with("10m", &[("RUST_LOG", "info,rowmetry::demo=debug")]);
    let packs = rowmetry::pack::builtin().expect("the built-in packs pass lint");
    let of_lines = packs.iter().flat_map(|pack| &pack.collectors).filter(|collector| collector.logs.is_some());
    let names: BTreeSet<&str> = of_lines.flat_map(|collector| &collector.metrics).map(|metric| metric.name()).collect();
    assert_eq!(names, BTreeSet::from(OF_LINES));
    eventually(PATIENCE, "all that lines tell has data", async || {
        let (_, scrape) = demo.scrape().await?;
        let tells = |family: &&str| {
            let count = format!("{family}_count");
            [*family, &count].into_iter().any(|name| scrape.of(name, &[]).any(|(_, value)| value > 0.0))
        };
        let missing: Vec<&str> = OF_LINES.into_iter().filter(|family| !tells(family)).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("no data for {missing:?}")) }
    })
    .await;
    eventually(PATIENCE, "as many lines are counted as were delivered, and some of them came twice", async || {
        let before = demo.delivered();
        let (_, scrape) = demo.scrape().await?;
        let after = demo.delivered();
        if before != after {
            return Err("a batch is on its way".into());
        }
        let lines = |outcome: &str| {
            let sum = |drain: &str| {
                let labels = [("source", drain), ("outcome", outcome)];
                (drain.to_string(), scrape.sum("rowmetry_drain_lines_total", &labels))
            };
            DRAINS.into_iter().map(sum).collect::<BTreeMap<String, f64>>()
        };
        let mut counted = lines("counted");
        for (drain, unmatched) in lines("unmatched") {
            *counted.entry(drain).or_default() += unmatched;
        }
        // What was delivered is counted for good.
        for (drain, delivered) in &before {
            assert!(counted[drain] >= *delivered, "{drain}: {} of {delivered} lines are counted", counted[drain]);
        }
        let repeated = lines("repeated");
        if before != counted {
            return Err(format!("{before:?} were delivered, {counted:?} are counted"));
        }
        match repeated.iter().find(|(_, repeated)| **repeated == 0.0) {
            Some((drain, _)) => Err(format!("no line of {drain} came twice")),
            None => Ok(()),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_leaves_nothing_behind_when_it_is_interrupted() {
    for signal in ["INT", "TERM"] {
        let demo = Demo::start("10m");
        eventually(PATIENCE, "the demo is ready", async || demo.scrape().await.map(drop)).await;
        let started = demo.descendants();
        assert!(!started.is_empty(), "it uses what is installed");
        demo.process.signal(signal);
        let status =
            demo.process.wait(Duration::from_secs(20)).unwrap_or_else(|| panic!("SIG{signal} does not end it"));
        assert!(status.success(), "SIG{signal}: {status}: {}", demo.log());
        assert_eq!(demo.left_behind(), Vec::<std::path::PathBuf>::new(), "SIG{signal}");
        assert_eq!(running(&started), Vec::<&(u32, String)>::new(), "SIG{signal}");
        assert!(!demo.log().contains("broke off"), "SIG{signal}: {}", demo.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_process_outlives_a_demo_that_is_killed() {
    let demo = Demo::start("10m");
    eventually(PATIENCE, "the demo is ready", async || demo.scrape().await.map(drop)).await;
    let started = demo.descendants();
    assert!(!started.is_empty(), "it uses what is installed");
    demo.process.kill();
    eventually(PATIENCE, "what it started ends too", async || match running(&started).as_slice() {
        [] => Ok(()),
        left => Err(format!("{left:?} still run")),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_needs_nothing_installed() {
    let demo = Demo::start_in("10m", Some("/nowhere"));
    let scrape = eventually(PATIENCE, "every collector succeeded", async || {
        let (_, scrape) = demo.scrape().await?;
        let names = collectors(&scrape);
        let bad: Vec<&String> =
            names.iter().filter(|name| states(&scrape, name).iter().any(|state| state != "ok")).collect();
        if bad.is_empty() { Ok(scrape) } else { Err(format!("{bad:?} are not ok")) }
    })
    .await;
    assert!(collectors(&scrape).len() > 10, "{:?}", collectors(&scrape));
    assert_eq!(demo.descendants(), Vec::<(u32, String)>::new(), "it starts no program");
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_that_cannot_go_on_ends_it_with_an_error() {
    let demo = Demo::start("10m");
    eventually(PATIENCE, "the demo is ready", async || demo.scrape().await.map(drop)).await;
    let servers: Vec<u32> =
        demo.descendants().into_iter().filter(|(_, name)| name == "redis-server").map(|(id, _)| id).collect();
    signal("KILL", &servers);
    let status = demo.process.wait(PATIENCE).expect("it ends by itself");
    assert!(!status.success(), "{}", demo.log());
    assert!(demo.log().contains("see that nobody ended its redis-server"), "{}", demo.log());
    assert_eq!(demo.left_behind(), Vec::<std::path::PathBuf>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn its_traces_go_where_the_variables_say() {
    let receiver = OtlpReceiver::start();
    let demo = Demo::start_with("10m", &[("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.http_url())]);
    eventually(PATIENCE, "every application and we ourselves are traced", async || {
        assert!(demo.process.ended().is_none(), "the demo ended: {}", demo.log());
        let services: BTreeSet<String> =
            receiver.spans().iter().filter_map(|span| span.resource.get("service.name").cloned()).collect();
        let wanted = ["coding_platform", "mentor", "promptcademy", "rowmetry", "syncedup", "voyager"];
        let missing: Vec<_> = wanted.into_iter().filter(|name| !services.contains(*name)).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("no span of {missing:?}")) }
    })
    .await;
}
