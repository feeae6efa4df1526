//! The exporter is killed at random moments, again and again, while writers commit late and out of order.
//!
//! Every scrape is watched: no counter goes back. In the end every row has been counted exactly once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::harness::{Cluster, Database, Scrape, Setup};
use super::tables::{events_truth, make_events};

/// Deaths that the promise is tested with.
const DEATHS: usize = 200;
/// Writers at a time.
const WRITERS: u64 = 4;
/// Longest time from the start, or from the first reply, to the death.
const LONGEST_LIFE: Duration = Duration::from_millis(500);
/// What a slow machine may take for it all.
const DEADLINE: Duration = Duration::from_secs(600);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_deaths_under_writers_lose_and_repeat_nothing() {
    let seed = std::env::var("ROWMETRY_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| fastrand::u64(..));
    eprintln!("ROWMETRY_TEST_SEED={seed} repeats the choices of this run");
    let mut random = fastrand::Rng::with_seed(seed);
    let database = Cluster::shared().database().await;
    make_events(&database).await;
    let setup = Setup::of(&database.url).sourced("interval", "100ms").sourced("page_rows", "100");

    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..WRITERS)
        .map(|number| {
            let mut random = fastrand::Rng::with_seed(seed.wrapping_add(number + 1));
            let (pool, stop) = (database.pool.clone(), stop.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let script = transaction(&mut random);
                    sqlx::raw_sql(sqlx::AssertSqlSafe(script)).execute(&pool).await.expect("the script is good SQL");
                }
            })
        })
        .collect();

    let began = Instant::now();
    let mut watch = Watch::default();
    let (mut answered, mut grown) = (0, 0);
    for death in 0..DEATHS {
        let exporter = setup.spawn();
        let life = LONGEST_LIFE.mul_f64(random.f64());
        // Half of the lives end at any moment from the start on, the other half some time after they first answer.
        let mut end = (death % 2 == 0).then(|| Instant::now() + life);
        let before = watch.total();
        let mut replies = 0;
        let mut pace = tokio::time::interval(Duration::from_millis(10));
        while end.is_none_or(|end| Instant::now() < end) {
            pace.tick().await;
            if let Ok(scrape) = exporter.try_scrape().await {
                watch.see(&scrape);
                replies += 1;
                end.get_or_insert_with(|| Instant::now() + life);
            }
            assert!(began.elapsed() < DEADLINE, "death {death} after {:?}: {}", began.elapsed(), exporter.log_text());
        }
        exporter.kill();
        answered += usize::from(replies > 0);
        grown += usize::from(watch.total() > before);
    }
    let time = began.elapsed();
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.expect("no writer panicked");
    }
    let truth = events_truth(&database).await;
    let exporter = setup.start().await;
    watch.see(&exporter.scrape().await);
    watch.see(&exporter.settles_at(&truth).await);
    let rows = rows_of(&database).await;
    eprintln!(
        "{DEATHS} deaths in {time:?}: {answered} lives answered, {grown} counted, {} scrapes, {rows} rows",
        watch.scrapes
    );
    assert!(answered >= DEATHS / 2 && grown >= DEATHS / 4 && rows > 1000.0, "the deaths came too early to mean much");
}

async fn rows_of(database: &Database<'_>) -> f64 {
    database.number("select count(*) from ledger").await
}

/// A transaction as an application might make it, and worse: it stays open for a while, its rows' times lie back, parts
/// of it are rolled back, or all of it.
fn transaction(random: &mut fastrand::Rng) -> String {
    let mut insert = || {
        format!(
            "insert into events (created_at, kind, amount, seconds) select clock_timestamp() - interval '{} ms', '{}', \
             {}, {} from generate_series(1, {});",
            random.u32(0..20_000),
            random.choice(["a", "b", "c"]).unwrap_or("a"),
            f64::from(random.u32(0..100_000)) / 100.0,
            f64::from(random.u32(0..64)) / 8.0,
            random.u32(1..8),
        )
    };
    let (first, second, third) = (insert(), insert(), insert());
    let hold = if random.u8(0..4) == 0 { random.f64() } else { random.f64() * 0.05 };
    let end = if random.u8(0..5) == 0 { "rollback" } else { "commit" };
    match random.u8(0..3) {
        0 => format!("begin; {first} select pg_sleep({hold}); {second} {end}"),
        1 => format!("begin; {first} savepoint s; {second} select pg_sleep({hold}); rollback to s; {third} {end}"),
        _ => format!("begin; savepoint s; {first} release s; select pg_sleep({hold}); {end}; {second}"),
    }
}

/// The highest value that each series was ever seen at.
#[derive(Default)]
struct Watch {
    highest: BTreeMap<String, f64>,
    scrapes: usize,
}

impl Watch {
    fn see(&mut self, scrape: &Scrape) {
        self.scrapes += 1;
        for (series, value) in scrape.series.iter().filter(|(series, _)| series.starts_with("events_")) {
            // Sums grow as well: no amount and no duration of this test is negative.
            let highest = self.highest.entry(series.clone()).or_insert(*value);
            assert!(*value >= *highest, "{series} went back from {highest} to {value}");
            *highest = *value;
        }
    }

    fn total(&self) -> f64 {
        self.highest.iter().filter(|(series, _)| series.starts_with("events_total")).map(|(_, value)| value).sum()
    }
}

#[test]
#[should_panic(expected = "went back")]
fn a_counter_that_goes_back_is_seen() {
    let mut watch = Watch::default();
    for value in [1, 2, 1] {
        let text = format!("# TYPE events_total counter\nevents_total {value}\n");
        watch.see(&Scrape::parse(&text).expect("it is good"));
    }
}
