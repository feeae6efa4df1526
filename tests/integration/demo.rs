//! The demo: true metrics from nothing, and nothing left behind.

use std::time::Duration;

use super::harness::exporter::{BINARY, PATIENCE, states};
use super::harness::exposition::Scrape;
use super::harness::guard::{Folder, Process, command_as, free_port};
use super::harness::prometheus::promtool_complaints;
use super::harness::{eventually, http};

struct Demo {
    process: Process,
    address: std::net::SocketAddr,
    folder: Folder,
}

impl Demo {
    fn start(duration: &str) -> Demo {
        let folder = Folder::new("demo");
        let temp = folder.path().join("temp");
        std::fs::create_dir(&temp).expect("the folder is ours");
        let address = std::net::SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, free_port()));
        let mut command = command_as(None, BINARY, folder.path());
        command
            .args(["demo", "--duration", duration, "--seed", "7", "--listen", &address.to_string()])
            .env("TMPDIR", &temp);
        let process = Process::start(command, &folder.path().join("demo.log"));
        Demo { process, address, folder }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("demo.log")).unwrap_or_default()
    }

    /// Everything in its temp folder.
    fn left_behind(&self) -> Vec<std::path::PathBuf> {
        let temp = std::fs::read_dir(self.folder.path().join("temp")).expect("it was made");
        temp.flatten().map(|entry| entry.path()).collect()
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
    assert_eq!(promtool_complaints(&first.0), "");
    assert!(demo.log().contains(&format!("http://{}", demo.address)), "it prints no URL: {}", demo.log());
    let rows = |scrape: &Scrape| scrape.sum("rowmetry_collector_rows_total", &[]);
    eventually(PATIENCE, "traffic is counted", async || {
        let (_, scrape) = demo.scrape().await?;
        if rows(&scrape) > rows(&first.1) { Ok(()) } else { Err(format!("{} rows", rows(&scrape))) }
    })
    .await;
    let status = demo.process.wait(PATIENCE).expect("--duration ends it");
    assert!(status.success(), "{status}: {}", demo.log());
    assert_eq!(demo.left_behind(), Vec::<std::path::PathBuf>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_leaves_nothing_behind_when_it_is_interrupted() {
    for signal in ["INT", "TERM"] {
        let demo = Demo::start("10m");
        eventually(PATIENCE, "the demo is ready", async || demo.scrape().await.map(drop)).await;
        demo.process.signal(signal);
        let status =
            demo.process.wait(Duration::from_secs(20)).unwrap_or_else(|| panic!("SIG{signal} does not end it"));
        assert!(status.success(), "SIG{signal}: {status}: {}", demo.log());
        assert_eq!(demo.left_behind(), Vec::<std::path::PathBuf>::new(), "SIG{signal}");
    }
}
