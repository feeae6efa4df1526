//! `/metrics` against nginx with the same bytes, as `wrk` sees both.

use std::time::Duration;

use tokio::process::Command;

use crate::parts::harness::guard::{self, Folder, Process};
use crate::parts::harness::{Cluster, Exporter, Setup, eventually, http, program};
use crate::table::{Table, middle};

/// Rounds, in each of which both are asked.
const ROUNDS: usize = 5;
/// Seconds that `wrk` asks for a page in one round.
const WRK_SECONDS: u32 = 2;

/// `/metrics` against nginx with the same bytes.
pub async fn scrapes(cluster: &Cluster, table: &mut Table) {
    for series in [100, 10_000, 100_000] {
        let database = cluster.database().await;
        database.run("create table many (id int)").await;
        let mut setup = Setup::of(&database.url)
            .with("limits", "{series_per_metric: 200000, snapshot_rows: 200000}")
            .sourced("interval", "1h");
        let pack = format!(
            "app: many\ntitle: Many\ndetect: [many]\ncollectors:\n  - name: many\n    snapshot:\n      sql: select 'tenant ' || n % 100 \
             as tenant, 'kind ' || n as kind, n * 1.25 as value from generate_series(1, {series}) n\n    metrics:\n      - {{gauge: \
             many_things, help: Things., value: value, labels: [tenant, kind], series_limit: 200000}}\n"
        );
        // The one query is for Postgres; the pack says so.
        let pack = pack.replace("sql: select", "sql:\n        sqlite: select 1\n        postgres: select");
        let file = setup.folder.write("many.yaml", pack);
        setup.settings.insert("packs".into(), format!("[\"{}\"]", file.display()));
        let exporter = setup.start().await;
        exporter.state("many", "ok").await;
        let body = exporter.get("/metrics", "text/plain").await.expect("it answers").body;
        let lines = String::from_utf8_lossy(&body).lines().filter(|line| line.starts_with("many_things{")).count();
        assert_eq!(lines, series, "the exporter shows all series");
        for (name, [ours, theirs]) in against_nginx(&exporter, &body).await {
            table.row(
                format!("/metrics {series} series, {} kB, {name}", body.len() / 1000),
                format!("{:.3} ms, nginx {:.3} ms", ours * 1e3, theirs * 1e3),
                format!("{:.2} of its time", ours / theirs),
                if series == 100_000 && name == "p99" { "1.5" } else { "" },
            );
        }
    }
}

/// Seconds that the exporter's page takes, and nginx to serve these bytes: at the median and at the 99th percentile.
pub async fn against_nginx(exporter: &Exporter, body: &[u8]) -> [(&'static str, [f64; 2]); 2] {
    let nginx = Nginx::serving(body).await;
    // In turn, so that a busy moment of the machine hits both.
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(latency(&format!("http://{}/metrics", exporter.setup.address)).await);
        theirs.push(latency(&format!("http://{}/metrics", nginx.address)).await);
    }
    let middles = |pick: usize| [middle(ours.iter().map(|l| l[pick])), middle(theirs.iter().map(|l| l[pick]))];
    [("p50", middles(0)), ("p99", middles(1))]
}

/// Latency at the median and the 99th percentile, in seconds, one request at a time.
async fn latency(url: &str) -> [f64; 2] {
    let output = Command::new(program("wrk"))
        .args(["-t1", "-c1", "--latency"])
        .arg(format!("-d{WRK_SECONDS}s"))
        .arg(url)
        .output()
        .await
        .expect("wrk runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!text.contains("Non-2xx") && !text.contains("Socket errors"), "{url}: {text}");
    ["50%", "99%"].map(|share| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(share)).unwrap_or_else(|| panic!("{text}"));
        let line = line.trim();
        let split = line.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(line.len());
        let unit = match &line[split..] {
            "us" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            unit => panic!("{unit} is no unit of wrk's"),
        };
        line[..split].parse::<f64>().expect("wrk prints numbers") * unit
    })
}

/// nginx with one file.
struct Nginx {
    address: std::net::SocketAddr,
    _process: Process,
    _folder: Folder,
}

impl Nginx {
    async fn serving(body: &[u8]) -> Nginx {
        let folder = Folder::new("nginx");
        let owner = guard::server_owner();
        folder.give_to(owner);
        folder.write("metrics", body);
        let address = std::net::SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, guard::free_port()));
        let temp: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|name| format!("{name}_temp_path {}/{name};\n", folder.path().display()))
            .collect();
        // One process: a worker would outlive its master when that is killed.
        let config = folder.write(
            "nginx.conf",
            format!(
                "daemon off; master_process off; pid {0}/pid; error_log {0}/errors;\nevents {{}}\nhttp {{\naccess_log off; \
                 sendfile on; tcp_nopush on; keepalive_requests 1000000; default_type 'text/plain; version=0.0.4';\n{temp}server \
                 {{ listen {address}; root {0}; }}\n}}\n",
                folder.path().display()
            ),
        );
        let mut command = guard::command_as(owner, program("nginx"), folder.path());
        command.arg("-c").arg(config).arg("-e").arg(folder.path().join("errors"));
        let process = Process::start(command, &folder.path().join("log"));
        eventually(Duration::from_secs(20), "nginx answers", async || {
            assert!(process.ended().is_none(), "nginx ended; see its errors");
            let reply = http::get(address, "/metrics", &[]).await?;
            if reply.body == body { Ok(()) } else { Err(format!("{} bytes", reply.body.len())) }
        })
        .await;
        Nginx { address, _process: process, _folder: folder }
    }
}
