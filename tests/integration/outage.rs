//! Whatever ails the database, `/metrics` answers at once, tells what is wrong, and everything else goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::harness::{Cluster, Database, Exporter, Scrape, Setup, http};
use super::tables::{events_truth, insert, make_events, make_orders, orders_truth};

/// Time in which every scrape must be answered, on a busy machine with an unoptimised binary.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Scrapes that are made at least.
const FEWEST_SCRAPES: usize = 20;

/// Scrapes all the time; the first slow or bad reply fails the test when it ends.
struct Scraper {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Result<(), String>>,
}

impl Scraper {
    fn of(exporter: &Exporter) -> Scraper {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, address) = (stop.clone(), exporter.setup.address);
        let task = tokio::spawn(async move {
            let mut scrapes = 0;
            let mut pace = tokio::time::interval(Duration::from_millis(50));
            // A trouble that was over soon is looked at a little longer.
            while !stopped.load(Ordering::Relaxed) || scrapes < FEWEST_SCRAPES {
                pace.tick().await;
                let reply = http::request(address, "GET", "/metrics", &[("Accept", "text/plain")], AT_ONCE).await?;
                if reply.status != 200 {
                    return Err(format!("/metrics says {}", reply.status));
                }
                Scrape::parse(&reply.text())?;
                scrapes += 1;
            }
            Ok(())
        });
        Scraper { stop, task }
    }

    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("it does not panic").unwrap_or_else(|e| panic!("{e}"));
    }
}

fn one_order(state: &str) -> String {
    format!("insert into orders (state) values ('{state}')")
}

/// Another order is counted, so that collector reads on.
async fn orders_go_on(exporter: &Exporter, database: &Database<'_>) {
    database.run(one_order("open")).await;
    exporter.settles_at_orders(database).await;
}

impl Exporter {
    async fn settles_at_orders(&self, database: &Database<'_>) {
        let truth = orders_truth(database).await;
        self.scrapes("orders go on", |scrape| truth.compare(scrape)).await;
    }

    async fn settles_at_events(&self, database: &Database<'_>) {
        let truth = events_truth(database).await;
        self.scrapes("events are counted", |scrape| truth.compare(scrape)).await;
    }
}

/// Both tables, ten rows in each, and an exporter that has read them.
async fn both(database: &Database<'_>, url: &str) -> Exporter {
    make_events(database).await;
    make_orders(database).await;
    database.run(insert(10, "now()")).await;
    database.run(one_order("paid")).await;
    let setup = Setup::of(url)
        .sourced("packs", "[events, orders]")
        .sourced("statement_timeout", "700ms")
        .sourced("lock_timeout", "300ms")
        .sourced("connect_timeout", "1s");
    setup.start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_or_freezes() {
    let private = Cluster::private();
    let database = private.database().await;
    let other = Cluster::shared().database().await;
    make_events(&database).await;
    make_orders(&other).await;
    database.run(insert(10, "now()")).await;
    let exporter = Setup::of(&database.url)
        .sourced("packs", "[events]")
        .sourced("statement_timeout", "700ms")
        .sourced("connect_timeout", "1s")
        .source("other", &other.url)
        .sourced("packs", "[orders]")
        .start()
        .await;
    exporter.settles_at_events(&database).await;
    let scraper = Scraper::of(&exporter);
    for _ in 0..2 {
        let before = exporter.scrape().await.sum("events_total", &[]);
        private.stop();
        exporter.state("events", "unreachable").await;
        orders_go_on(&exporter, &other).await;
        never_less(&exporter, before).await;
        private.start();
        let database = private.open(&database.name).await;
        database.run(insert(7, "now()")).await;
        exporter.state("events", "ok").await;
        exporter.settles_at_events(&database).await;

        private.freeze();
        exporter
            .scrapes("a frozen server is told", |scrape| {
                let states = super::harness::exporter::states(scrape, "events");
                if states == ["timeout"] || states == ["unreachable"] { Ok(()) } else { Err(format!("{states:?}")) }
            })
            .await;
        orders_go_on(&exporter, &other).await;
        private.thaw();
        database.run(insert(5, "now()")).await;
        exporter.state("events", "ok").await;
        exporter.settles_at_events(&database).await;
    }
    scraper.end().await;
}

/// Absent is not zero: while a table cannot be read its series are as they were, or not there, and never lower.
async fn never_less(exporter: &Exporter, before: f64) {
    let scrape = exporter.scrape().await;
    let there = scrape.of("events_total", &[]).count();
    let now = scrape.sum("events_total", &[]);
    assert!(there == 0 || now >= before, "events_total was {before} and is {now}");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_down_when_the_exporter_starts() {
    let cluster = Cluster::private();
    let database = cluster.database().await;
    make_events(&database).await;
    database.run(insert(10, "now()")).await;
    cluster.stop();
    let exporter = Setup::of(&database.url).sourced("connect_timeout", "1s").spawn();
    let status = async |path: &str| exporter.get(path, "*/*").await.map(|reply| reply.status);
    super::harness::eventually(Duration::from_secs(20), "it lives", async || {
        if status("/healthz").await? == 200 { Ok(()) } else { Err("not healthy".into()) }
    })
    .await;
    let scraper = Scraper::of(&exporter);
    exporter
        .scrapes("the source is down", |scrape| match scrape.get("rowmetry_source_up", &[("source", "app")]) {
            Some(0.0) => Ok(()),
            up => Err(format!("rowmetry_source_up is {up:?}")),
        })
        .await;
    assert_eq!(exporter.scrape().await.of("events_total", &[]).count(), 0, "nothing is known, so nothing is shown");
    cluster.start();
    exporter.state("events", "ok").await;
    exporter.ready().await;
    exporter.settles_at_events(&cluster.open(&database.name).await).await;
    scraper.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_somebody_has_locked() {
    let database = Cluster::shared().database().await;
    let exporter = both(&database, &database.url).await;
    exporter.settles_at_events(&database).await;
    let scraper = Scraper::of(&exporter);
    let mut locker = database.pool.acquire().await.expect("a connection");
    let lock = "begin; lock table events in access exclusive mode; insert into events (kind) values ('a')";
    sqlx::raw_sql(lock).execute(&mut *locker).await.expect("nobody else locks");
    exporter.state("events", "timeout").await;
    let scrape = exporter.scrape().await;
    assert!(scrape.sum("rowmetry_collector_failures_total", &[("reason", "lock_timeout")]) > 0.0);
    orders_go_on(&exporter, &database).await;
    never_less(&exporter, 10.0).await;
    sqlx::raw_sql("commit").execute(&mut *locker).await.expect("it is open");
    exporter.state("events", "ok").await;
    exporter.settles_at_events(&database).await;
    scraper.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_takes_too_long() {
    let database = Cluster::shared().database().await;
    make_orders(&database).await;
    database.run("create view slow_view as select 1 as value from pg_sleep(100)").await;
    let exporter =
        Setup::of(&database.url).sourced("packs", "[orders, slow]").sourced("statement_timeout", "500ms").start().await;
    let scraper = Scraper::of(&exporter);
    exporter.state("slow_view", "timeout").await;
    orders_go_on(&exporter, &database).await;
    assert_eq!(exporter.scrape().await.get("slow_value", &[]), None);
    // Nothing that was given up stays behind in the server.
    super::harness::eventually(Duration::from_secs(20), "no query is left", async || {
        let old = "select count(*) from pg_stat_activity where datname = current_database() and state = 'active' \
                   and now() - query_start > interval '3 seconds'";
        match database.number(old).await {
            0.0 => Ok(()),
            left => Err(format!("{left} queries run on")),
        }
    })
    .await;
    database.run("create or replace view slow_view as select 7 as value").await;
    exporter.state("slow_view", "ok").await;
    assert_eq!(exporter.scrape().await.get("slow_value", &[]), Some(7.0));
    scraper.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_without_a_grant() {
    let database = Cluster::shared().database().await;
    let (role, url) = database.role("reader").await;
    make_orders(&database).await;
    database.run(format!("grant select on orders to {role}")).await;
    let exporter = both_made(&database, &url).await;
    let scraper = Scraper::of(&exporter);
    exporter.state("events", "forbidden").await;
    orders_go_on(&exporter, &database).await;
    assert_eq!(exporter.scrape().await.of("events_total", &[]).count(), 0, "unknown is not zero");
    database.run(format!("grant select on events to {role}")).await;
    exporter.state("events", "ok").await;
    exporter.settles_at_events(&database).await;
    database.run(format!("revoke select on events from {role}")).await;
    exporter.state("events", "forbidden").await;
    never_less(&exporter, 10.0).await;
    scraper.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_level_security_that_hides_rows() {
    let database = Cluster::shared().database().await;
    let (role, url) = database.role("reader").await;
    make_orders(&database).await;
    database.run(format!("grant select on orders to {role}")).await;
    let grants = format!("grant select on events to {role}; alter table events enable row level security");
    let exporter = both_made_with(&database, &url, &grants).await;
    let scraper = Scraper::of(&exporter);
    exporter.state("events", "rows_hidden").await;
    orders_go_on(&exporter, &database).await;
    assert_eq!(exporter.scrape().await.of("events_total", &[]).count(), 0, "hidden is not zero");
    database.run(format!("alter role {role} bypassrls")).await;
    exporter.state("events", "ok").await;
    exporter.settles_at_events(&database).await;
    database.run(format!("alter role {role} nobypassrls")).await;
    exporter.state("events", "rows_hidden").await;
    never_less(&exporter, 10.0).await;
    scraper.end().await;
}

async fn both_made(database: &Database<'_>, url: &str) -> Exporter {
    both_made_with(database, url, "select 1").await
}

/// `orders` is there; makes `events`, runs SQL, and starts an exporter as this role.
async fn both_made_with(database: &Database<'_>, url: &str, sql: &str) -> Exporter {
    make_events(database).await;
    database.run(insert(10, "now()")).await;
    database.run(one_order("paid")).await;
    database.run(sql).await;
    Setup::of(url).sourced("packs", "[events, orders]").start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_dropped_and_made_again() {
    let database = Cluster::shared().database().await;
    let exporter = both(&database, &database.url).await;
    exporter.settles_at_events(&database).await;
    let scraper = Scraper::of(&exporter);
    database.run("drop table events; drop table ledger; drop function keep").await;
    exporter.state("events", "absent").await;
    orders_go_on(&exporter, &database).await;
    never_less(&exporter, 10.0).await;
    make_events(&database).await;
    database.run("insert into events (kind, amount, seconds) select 'anew', 1, 1 from generate_series(1, 12)").await;
    exporter.state("events", "ok").await;
    exporter
        .scrapes("the new table's rows count", |scrape| match scrape.get("events_total", &[("kind", "anew")]) {
            Some(12.0) => Ok(()),
            value => Err(format!("{value:?}")),
        })
        .await;
    assert_eq!(exporter.reads_again().await.get("events_total", &[("kind", "anew")]), Some(12.0));
    scraper.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_is_wrong_until_it_is_changed() {
    let database = Cluster::shared().database().await;
    let (role, url) = database.role("reader").await;
    make_events(&database).await;
    database.run(insert(10, "now()")).await;
    database.run(format!("grant select on events to {role}; alter role {role} password 'another'")).await;
    let exporter = Setup::of(&url).sourced("packs", "[events]").start().await;
    let scraper = Scraper::of(&exporter);
    exporter.state("events", "unreachable").await;
    assert!(!exporter.log_text().contains(&format!("{role}:{role}")), "the log holds the password");
    database.run(format!("alter role {role} password '{role}'")).await;
    exporter.state("events", "ok").await;
    exporter.settles_at_events(&database).await;
    scraper.end().await;
}
