//! What Rowmetry costs a database, a scraper and its host, each as a ratio to something measured in the same run.
//!
//! Absolute times are of the machine at hand; the ratios are what is aimed at. Figures are medians of several rounds, and
//! whatever is compared takes turns, so that a busy moment of the machine hits both. It prints one table and asserts no
//! time: a slow machine is no defect. What it does assert is that every answer was right.
//! `ROWMETRY_BENCH_ROWS` (5,000,000 unless set) is the size of the largest table.

#[allow(dead_code, unused_imports, reason = "the tests use more of the harness than the benches do")]
#[path = "../tests/integration"]
mod parts {
    pub mod harness;
}

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use parts::harness::guard::{self, Folder, Process};
use parts::harness::{Cluster, Database, Exporter, Scrape, Setup, eventually, http, program, test_file};

/// Sizes of the table whose reads are timed; those above `ROWMETRY_BENCH_ROWS` are left out.
const SIZES: [u64; 4] = [10_000, 100_000, 1_000_000, 5_000_000];
/// New rows for each timed read.
const NEW_ROWS: u64 = 1000;
/// Timed reads a size; the median counts.
const READS: usize = 15;
/// Size of the table without an index whose share of the database's time is watched.
const SHARE_ROWS: u64 = 100_000;
/// How long it is watched: several reads at the default share.
const SHARE_WATCH: Duration = Duration::from_secs(30);
/// Rows that catching up is timed with.
const BACKLOG: u64 = 1_000_000;
/// Rounds of whatever takes turns with its rival.
const ROUNDS: usize = 5;
/// Seconds that `wrk` asks for a page in one round.
const WRK_SECONDS: u32 = 3;
/// Time that any step may take.
const PATIENCE: Duration = Duration::from_secs(900);

#[tokio::main]
async fn main() {
    // `cargo test --benches` only wants to know that it builds.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let cluster = Cluster::private();
    let mut table = Table::default();
    memory(&cluster, &mut table).await;
    scrapes(&cluster, &mut table).await;
    catching_up(&cluster, &mut table).await;
    share(&cluster, &mut table).await;
    collection(&cluster, &mut table).await;
    table.print();
}

#[derive(Default)]
struct Table(Vec<[String; 4]>);

impl Table {
    fn row(&mut self, what: impl Into<String>, measured: impl Into<String>, ratio: impl Into<String>, aim: &str) {
        let row = [what.into(), measured.into(), ratio.into(), aim.into()];
        eprintln!("{}", row.join(" | "));
        self.0.push(row);
    }

    fn print(&self) {
        let head = ["what", "measured", "ratio", "aim"].map(String::from);
        let rows: Vec<&[String; 4]> = std::iter::once(&head).chain(&self.0).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
        let widths: Vec<usize> = (0..4).map(width).collect();
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        println!("\nOn {cores} cores; Postgres, the exporter and what asks it share them.");
        for row in rows {
            let cells: Vec<String> =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}", width = *width)).collect();
            println!("{}", cells.join("  ").trim_end());
        }
    }
}

/// Resident memory with both packs and nothing to do.
async fn memory(cluster: &Cluster, table: &mut Table) {
    let mut setup: Option<Setup> = None;
    let mut databases = Vec::new();
    for app in ["mentor", "promptcademy"] {
        let database = cluster.database().await;
        for script in [format!("{app}.sql"), format!("{app}_rows.sql")] {
            let text = std::fs::read_to_string(test_file("fixtures").join(script)).expect("the fixtures are there");
            database.run(text).await;
        }
        setup = Some(match setup {
            None => Setup::of(&database.url),
            Some(setup) => setup.source(app, &database.url),
        });
        databases.push(database);
    }
    let mut setup = setup.expect("there are two packs");
    setup.settings.remove("packs");
    let exporter = setup.start().await;
    for _ in 0..10 {
        exporter.reads_again().await;
    }
    let [resident, _] = exporter.process.resident_bytes();
    table.row("resident memory, both packs, no backlog", mebibytes(resident as f64), "", "under 40 MiB");
}

/// `/metrics` against nginx with the same bytes.
async fn scrapes(cluster: &Cluster, table: &mut Table) {
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
        let nginx = Nginx::serving(&body).await;
        // In turn, so that a busy moment of the machine hits both.
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            ours.push(latency(&format!("http://{}/metrics", exporter.setup.address)));
            theirs.push(latency(&format!("http://{}/metrics", nginx.address)));
        }
        for (name, pick) in [("p50", 0), ("p99", 1)] {
            let (ours, theirs) = (middle(ours.iter().map(|l| l[pick])), middle(theirs.iter().map(|l| l[pick])));
            table.row(
                format!("/metrics {series} series, {} kB, {name}", body.len() / 1000),
                format!("{:.3} ms, nginx {:.3} ms", ours * 1e3, theirs * 1e3),
                format!("{:.2} of its time", ours / theirs),
                if series == 100_000 && name == "p99" { "1.5" } else { "" },
            );
        }
    }
}

/// Time of a read of 1,000 new rows against the size of the table.
async fn collection(cluster: &Cluster, table: &mut Table) {
    let largest = std::env::var("ROWMETRY_BENCH_ROWS").ok().and_then(|rows| rows.parse().ok()).unwrap_or(5_000_000);
    let mut smallest_time = None;
    for size in SIZES.into_iter().filter(|size| *size <= largest) {
        // A database for each size, so that no size pays for the young rows of the one before.
        let database = cluster.database().await;
        events(&database, size).await;
        database.run("create index events_created on events (created_at)").await;
        database.run("create unique index on events (id)").await;
        database.run("vacuum analyze events").await;
        let setup = || Setup::of(&database.url).sourced("start", "now").sourced("interval", "500ms");
        let exporter = setup().start().await;
        let time = read_time(&exporter, &database).await;
        let ratio = time / *smallest_time.get_or_insert(time);
        table.row(
            format!("read of {NEW_ROWS} new rows, table of {size}, indexed"),
            format!("{:.1} ms", time * 1e3),
            format!("{ratio:.2} of the smallest"),
            "1.3",
        );
        drop(exporter);
        database.run("drop index events_created").await;
        let exporter = setup().sourced("busy_share", "0.01").start().await;
        let scrape = second_read(&exporter).await;
        let of = |name: &str| scrape.sum(name, &[("collector", "events")]);
        let (took, interval) = (of("rowmetry_collector_duration_seconds"), of("rowmetry_collector_interval_seconds"));
        table.row(
            format!("read, table of {size}, without an index"),
            format!("{:.1} ms with all waiting, then every {interval:.1} s", took * 1e3),
            "",
            "",
        );
        drop(exporter);
        database.run("drop table events").await;
    }
}

/// How busy a table without an index keeps the database, as Postgres itself says.
async fn share(cluster: &Cluster, table: &mut Table) {
    let database = cluster.database().await;
    events(&database, SHARE_ROWS).await;
    database.run("vacuum analyze events").await;
    let exporter = Setup::of(&database.url)
        .sourced("start", "now")
        .sourced("interval", "100ms")
        .sourced("busy_share", "0.01")
        .sourced("audit_interval", "0s")
        .start()
        .await;
    // A session accounts for its time late, at its end at the latest: what made the table is not to be counted.
    database.pool.close().await;
    // Nor is what does not recur: connecting and the first look.
    second_read(&exporter).await;
    // Our own questions are put to another database, which has its own account.
    let observer = cluster.database().await;
    let busy = async || {
        let sql = format!("select active_time / 1000 from pg_stat_database where datname = '{}'", database.name);
        observer.number(&sql).await
    };
    let (began, before) = (Instant::now(), busy().await);
    tokio::time::sleep(SHARE_WATCH).await;
    let (elapsed, after) = (began.elapsed().as_secs_f64(), busy().await);
    drop(exporter);
    table.row(
        format!("database busy, table of {SHARE_ROWS} without an index"),
        format!("{:.0} ms in {elapsed:.0} s", (after - before) * 1e3),
        format!("{:.4} of the time", (after - before) / elapsed),
        "0.01",
    );
}

/// The scrape after a second read: the first one connects, and fills the caches of the database's session.
async fn second_read(exporter: &Exporter) -> Scrape {
    let at = |scrape: &Scrape| scrape.sum("rowmetry_collector_last_success_timestamp_seconds", &[]);
    let first = at(&exporter.state("events", "ok").await);
    eventually(PATIENCE, "a second read", async || {
        let scrape = exporter.try_scrape().await?;
        if at(&scrape) > first { Ok(scrape) } else { Err("still the first".into()) }
    })
    .await
}

/// The median of how long the read took that counted the new rows.
async fn read_time(exporter: &Exporter, database: &Database<'_>) -> f64 {
    let mut times = Vec::new();
    for _ in 0..READS {
        let counted = exporter.scrape().await.sum("events_total", &[]);
        database.run(rows(NEW_ROWS, "now()")).await;
        let scrape = exporter
            .scrapes("the new rows are counted", |scrape| {
                let now = scrape.sum("events_total", &[]);
                if now == counted + NEW_ROWS as f64 { Ok(()) } else { Err(format!("{now}")) }
            })
            .await;
        times.push(scrape.sum("rowmetry_collector_duration_seconds", &[("collector", "events")]));
    }
    middle(times)
}

/// Rows a second when a million wait, against `\copy` of the same columns.
async fn catching_up(cluster: &Cluster, table: &mut Table) {
    let database = cluster.database().await;
    events(&database, BACKLOG).await;
    database.run("create index on events (created_at); alter table events add primary key (id)").await;
    database.run("vacuum analyze events").await;
    let copy = || {
        let began = Instant::now();
        let status = cluster
            .client("psql")
            .args(["-q", "-X", "-d", &database.name])
            .args(["-c", "\\copy (select id, created_at, kind, amount, seconds from events) to stdout"])
            .stdout(Stdio::null())
            .status();
        assert!(status.expect("psql runs").success());
        began.elapsed().as_secs_f64()
    };
    let catch_up = async || {
        let began = Instant::now();
        let exporter = Setup::of(&database.url).sourced("audit_interval", "0s").spawn();
        eventually(PATIENCE, "all rows are counted", async || {
            let counted = exporter.try_scrape().await?.sum("events_total", &[]);
            if counted == BACKLOG as f64 { Ok(()) } else { Err(format!("{counted}")) }
        })
        .await;
        let [_, peak] = exporter.process.resident_bytes();
        (began.elapsed().as_secs_f64(), peak as f64)
    };
    copy();
    let (mut copies, mut catches, mut peaks) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        copies.push(copy());
        let (seconds, peak) = catch_up().await;
        catches.push(seconds);
        peaks.push(peak);
    }
    let (copy, catch_up) = (middle(copies), middle(catches));
    let rate = |seconds: f64| BACKLOG as f64 / seconds;
    table.row(
        format!("catching up with {BACKLOG} rows, start-up included"),
        format!("{:.0} rows/s, \\copy {:.0} rows/s", rate(catch_up), rate(copy)),
        format!("{:.2} of its time", catch_up / copy),
        "2",
    );
    table.row("resident memory at its peak, catching up", mebibytes(middle(peaks)), "", "");
}

/// A table of events that happened before the look-back, without an index.
async fn events(database: &Database<'_>, count: u64) {
    database
        .run("create table events (id uuid, created_at timestamptz, kind text, amount numeric, seconds float8)")
        .await;
    database.run(rows(count, "now() - interval '2 days' + n * interval '10 ms'")).await;
}

fn rows(count: u64, time: &str) -> String {
    format!(
        "insert into events select gen_random_uuid(), {time}, (array['a', 'b', 'c'])[1 + n % 3], n * 0.01, \
         (n % 48) / 8.0 from generate_series(1, {count}) n"
    )
}

fn mebibytes(bytes: f64) -> String {
    format!("{:.1} MiB", bytes / f64::from(1 << 20))
}

fn middle(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Latency at the median and the 99th percentile, in seconds, one request at a time.
fn latency(url: &str) -> [f64; 2] {
    let output = Command::new(program("wrk"))
        .args(["-t1", "-c1", "--latency"])
        .arg(format!("-d{WRK_SECONDS}s"))
        .arg(url)
        .output()
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
