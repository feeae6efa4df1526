//! What reading a table costs: a read against the table's size, catching up, and the share of the database's time.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::parts::harness::{Cluster, Database, Exporter, Scrape, Setup, eventually};
use crate::table::{Table, mebibytes, middle};

/// Sizes of the table whose reads are timed; those above `ROWMETRY_BENCH_ROWS` are left out.
const SIZES: [u64; 4] = [10_000, 100_000, 1_000_000, 5_000_000];
/// Rows of the largest table unless `ROWMETRY_BENCH_ROWS` says otherwise.
const LARGEST: u64 = 5_000_000;
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
/// Rounds of catching up and of its rival, in turn.
const ROUNDS: usize = 5;
/// Time that any step may take.
pub const PATIENCE: Duration = Duration::from_secs(900);

/// Rows of the largest table.
pub fn largest() -> u64 {
    std::env::var("ROWMETRY_BENCH_ROWS").ok().and_then(|rows| rows.parse().ok()).unwrap_or(LARGEST)
}

/// Time of a read of 1,000 new rows against the size of the table.
pub async fn collection(cluster: &Cluster, table: &mut Table) {
    let largest = largest();
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
pub async fn share(cluster: &Cluster, table: &mut Table) {
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
pub async fn catching_up(cluster: &Cluster, table: &mut Table) {
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
