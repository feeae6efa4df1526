//! Several exporters that share one configuration: each source is read by exactly one of them.

use std::collections::BTreeMap;

use super::harness::{Cluster, Exporter, Setup, eventually};
use super::tables::{insert, make_events, make_orders};

/// Four sources, each with a table of its own, for an exporter that reads its part of them.
fn setup(urls: &[(&str, String)], shard: &str) -> Setup {
    let mut setup = Setup::of("");
    setup.sources.clear();
    for (name, url) in urls {
        setup = setup.source(name, url);
    }
    setup.arguments = vec!["--shard".into(), shard.into()];
    setup
}

#[tokio::test(flavor = "multi_thread")]
async fn each_row_is_counted_by_exactly_one_exporter() {
    let cluster = Cluster::shared();
    let (events, orders, jobs, odd) =
        (cluster.database().await, cluster.database().await, cluster.database().await, cluster.database().await);
    make_events(&events).await;
    make_orders(&orders).await;
    jobs.run(
        "create table jobs (id int primary key, updated_at timestamptz default now(), state text, seconds float8)",
    )
    .await;
    odd.run(
        "create table odd (code text, part int, at timestamptz default now(), kind text, primary key (code, part))",
    )
    .await;
    let urls = [("a", &events), ("b", &orders), ("c", &jobs), ("d", &odd)].map(|(name, of)| (name, of.url.clone()));
    let exporters = [setup(&urls, "1/2").start().await, setup(&urls, "2/2").start().await];
    for n in 0..10 {
        events.run(insert(3, "now()")).await;
        orders.run("insert into orders (state) values ('open')").await;
        jobs.run(format!("insert into jobs (id, state, seconds) values ({n}, 'done', 1)")).await;
        odd.run(format!("insert into odd (code, part, kind) values ('x', {n}, 'k')")).await;
    }
    let wanted = [("events_total", 30.0), ("orders_total", 10.0), ("jobs_finished_total", 10.0), ("odd_total", 10.0)];
    let counts = async || -> Result<Vec<BTreeMap<&str, f64>>, String> {
        let mut counts = Vec::new();
        for exporter in &exporters {
            let scrape = exporter.try_scrape().await?;
            counts.push(wanted.iter().map(|(name, _)| (*name, scrape.sum(name, &[]))).collect());
        }
        Ok(counts)
    };
    let all = eventually(super::harness::exporter::PATIENCE, "all rows are counted", async || {
        let counts = counts().await?;
        let sum = |name: &str| counts.iter().map(|of| of[name]).sum::<f64>();
        if wanted.iter().all(|(name, rows)| sum(name) >= *rows) { Ok(counts) } else { Err(format!("{counts:?}")) }
    })
    .await;
    for exporter in &exporters {
        exporter.reads_again().await;
    }
    let again = counts().await.expect("both answer");
    assert_eq!(all, again, "nothing more comes");
    for (name, rows) in wanted {
        let mut of: Vec<f64> = again.iter().map(|counts| counts[name]).collect();
        of.sort_by(f64::total_cmp);
        assert_eq!(of, [0.0, rows], "{name}: {again:?}");
    }
    for exporter in &exporters {
        // Else a source's series would be named by who else is read beside it, and none could tell whose they are.
        let scrape = exporter.scrape().await;
        for (name, _) in wanted {
            assert!(scrape.of(name, &[]).all(|(series, _)| series.contains("source=\"")), "{name}");
        }
        let sources = scrape.of("rowmetry_source_up", &[]).count();
        assert!((1..=3).contains(&sources), "both have work: {sources}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_without_sources_says_so_and_serves() {
    let database = Cluster::shared().database().await;
    make_events(&database).await;
    let urls = [("a", database.url.clone())];
    let exporters: [Exporter; 2] = [setup(&urls, "1/2").start().await, setup(&urls, "2/2").start().await];
    let empty: Vec<bool> =
        exporters.iter().map(|exporter| exporter.log_text().contains("has none of the 1 sources")).collect();
    assert_eq!(empty.iter().filter(|empty| **empty).count(), 1, "{empty:?}");
    for (exporter, empty) in exporters.iter().zip(empty) {
        let sources = exporter.scrape().await.of("rowmetry_source_up", &[]).count();
        assert_eq!(sources, usize::from(!empty));
    }
}
